// Search over the sections of the book (sections.js), ranked by lunr. Works without a server.
(() => {
  "use strict";
  const MOST = 40, AROUND = 110; // results shown; characters on each side of the first hit

  // The language of the page. Lunr stems English by itself, other languages bring their stemmer (book/vendor.py); there
  // a word is found with its accents and without them.
  const LANGUAGE = document.documentElement.lang.slice(0, 2);
  const plain = (text) => text.normalize("NFD").replace(/\p{M}/gu, "");
  const accented = { es: (word) => word.replace(/([cs])ion$/, "$1ión") }; // on which the stemmer relies
  function stemmer() {
    const { lunr } = window, own = lunr[LANGUAGE];
    if (!own) return lunr.stemmer;
    const mend = accented[LANGUAGE] ?? ((word) => word);
    const folded = (token) => own.stemmer(token.update((word) => mend(plain(word)))).update(plain);
    lunr.Pipeline.registerFunction(folded, `stemmer without accents ${LANGUAGE}`);
    return folded;
  }
  const trimmer = (token) => token.update((word) => word.replace(/^[^\p{L}\p{N}]+|[^\p{L}\p{N}]+$/gu, ""));

  function sections() {
    return window.courseSections.map(([address, page, heading, text, weight], id) => ({ id, address, page, heading, text, weight }));
  }

  function indexOf(all) {
    return window.lunr(function () {
      const { lunr } = window, own = lunr[LANGUAGE];
      if (own) {
        lunr.Pipeline.registerFunction(trimmer, "trimmer of all letters");
        const stem = stemmer();
        for (const [pipeline, steps] of [[this.pipeline, [trimmer, own.stopWordFilter, stem]], [this.searchPipeline, [trimmer, stem]]]) {
          pipeline.reset();
          pipeline.add(...steps);
        }
      }
      this.ref("id");
      this.field("heading", { boost: 4 });
      this.field("page", { boost: 1 });
      this.field("text");
      all.forEach((one) => this.add(one, { boost: one.weight }));
    });
  }

  // Sections that have all words stand first; one that has them beside each other counts double.
  function find(index, all, asked) {
    const { lunr } = window;
    const words = lunr.tokenizer(asked).map(String).filter(Boolean);
    if (!words.length) return [];
    const known = words.filter((word) => index.pipeline.runString(word).length); // "the" and "of" are not in the index
    const search = (presence) => index.query((query) => known.forEach((word) => {
      query.term(word, { presence });
      if (word.length > 2 && presence !== lunr.Query.presence.REQUIRED) {
        query.term(window.lunr[LANGUAGE] ? plain(word) : word, { wildcard: lunr.Query.wildcard.TRAILING, usePipeline: false, boost: 0.3 });
      }
    }));
    let hits = search(lunr.Query.presence.REQUIRED);
    if (!hits.length) hits = search(lunr.Query.presence.OPTIONAL);
    const phrase = asked.trim().toLowerCase();
    return hits
      .map(({ ref, score }) => {
        const one = all[ref];
        const together = known.length > 1 && `${one.heading} ${one.text}`.toLowerCase().includes(phrase);
        return { one, score: together ? 2 * score : score };
      })
      .sort((a, b) => b.score - a.score)
      .map(({ one }) => one);
  }

  // The words asked for, as they stand in the text: each word that begins with the stem.
  function marker(asked) {
    const { lunr } = window, stem = stemmer(), any = { a: "[aá]", e: "[eé]", i: "[ií]", o: "[oó]", u: "[uúü]", n: "[nñ]" };
    const stems = lunr.tokenizer(asked).map((token) => stem(token).toString().replace(/[.*+?^${}()|[\]\\]/g, "\\$&"))
      .map((one) => (lunr[LANGUAGE] ? one.replace(/[aeioun]/g, (letter) => any[letter]) : one.replace(/i$/, "[iy]")))
      .filter((one) => one.length > 1);
    return stems.length ? new RegExp(`(?<![\\p{L}\\p{N}])(?:${stems.join("|")})[\\p{L}\\p{N}]*`, "giu") : null;
  }

  function excerpt(text, pattern, phrase) {
    const beside = text.toLowerCase().indexOf(phrase);
    const at = beside >= 0 ? beside : pattern ? text.search(pattern) : 0;
    let from = Math.max(0, at - AROUND), to = Math.min(text.length, at + 2 * AROUND);
    if (from) from = text.indexOf(" ", from) + 1;
    if (to < text.length) to = Math.max(text.lastIndexOf(" ", to), from);
    return `${from ? "… " : ""}${text.slice(from, to)}${to < text.length ? " …" : ""}`;
  }

  function marked(element, text, pattern) {
    let last = 0;
    for (const hit of pattern ? text.matchAll(pattern) : []) {
      element.append(text.slice(last, hit.index), Object.assign(document.createElement("mark"), { textContent: hit[0] }));
      last = hit.index + hit[0].length;
    }
    element.append(text.slice(last));
    return element;
  }

  function show(place, hits, asked) {
    const make = (tag, properties) => Object.assign(document.createElement(tag), properties);
    const words = place.dataset;
    const count = hits.length > MOST ? words.more.replace("{most}", MOST) : hits.length === 1 ? words.one : words.found;
    place.replaceChildren(make("p", {
      className: "search-count", role: "status",
      textContent: hits.length ? count.replace("{count}", hits.length) : words.none,
    }));
    const list = make("ol", { className: "search-hits" }), pattern = marker(asked);
    for (const { address, page, heading, text } of hits.slice(0, MOST)) {
      const item = make("li", {}), link = make("a", { href: address });
      marked(link, heading || page, pattern);
      item.append(link);
      if (heading) item.append(make("span", { className: "search-page", textContent: page }));
      item.append(marked(make("p", {}), excerpt(text, pattern, asked.trim().toLowerCase()), pattern));
      list.append(item);
    }
    place.append(list);
  }

  window.addEventListener("load", () => {
    const place = document.getElementById("course-hits");
    const asked = new URLSearchParams(location.search).get("q") ?? "";
    document.querySelectorAll("form.bd-search input[type=search]").forEach((input) => { input.value = asked; });
    if (!asked.trim()) return;
    const all = sections();
    show(place, find(indexOf(all), all, asked), asked);
  });
})();
