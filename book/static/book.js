// The book's own behaviour: the cover's slider, and Plotly figures that follow the theme and the page's width.
(() => {
  "use strict";
  const words = JSON.parse(document.getElementById("book-words").textContent);
  const make = (tag, properties = {}) => Object.assign(document.createElement(tag), properties);
  const say = (text, values) => text.replace(/\{(\w+)\}/g, (_, key) => values[key]);

  function slider(cover) {
    const [scene, labels] = cover.querySelectorAll("img.cover-layer");
    if (!scene || !labels) return;
    const set = (value) => cover.style.setProperty("--cut", `${value}%`);
    const range = make("input", { type: "range", min: 0, max: 100, value: 50 });
    range.setAttribute("aria-label", words.slide);
    range.addEventListener("input", () => set(range.value));
    const line = make("div", { className: "cover-line" });
    const tags = [["left", words.scene], ["right", words.labels]].map(([side, text]) =>
      make("span", { className: `cover-tag ${side}`, textContent: text }));
    const shape = () => scene.naturalWidth && cover.style.setProperty("--cover-ratio", `${scene.naturalWidth} / ${scene.naturalHeight}`);
    scene.complete ? shape() : scene.addEventListener("load", shape);
    cover.append(line, ...tags, range);
    cover.classList.add("ready");
    set(50);
  }

  // A figure's own light colours, kept so that they can come back.
  const light = new WeakMap();

  function axes(layout) {
    return Object.keys(layout).filter((key) => /^[xy]axis\d*$/.test(key));
  }

  // Lines, symbols and outlines of the light theme that are too dark to be seen on the dark paper are drawn lighter:
  // mixed with white until their contrast with the paper is 3:1 (WCAG 2.2, 1.4.11). A bar has an outline: 1.6:1 do.
  const PAPER = [24, 34, 37], ENOUGH = 3, OF_BARS = 1.6;
  function luminance(colour) {
    const [r, g, b] = colour.map((v) => (v / 255 <= 0.04045 ? v / 255 / 12.92 : ((v / 255 + 0.055) / 1.055) ** 2.4));
    return 0.2126 * r + 0.7152 * g + 0.0722 * b;
  }
  function lighter(colour, enough) {
    const names = { black: "#000000" };
    const digits = /^#([0-9a-f]{6})$/i.exec(names[colour] ?? colour)?.[1];
    if (!digits) return colour;
    const dark = [0, 2, 4].map((i) => parseInt(digits.slice(i, i + 2), 16));
    for (let share = 0; share <= 1; share += 0.05) {
      const mixed = dark.map((v) => Math.round(v + (255 - v) * share));
      if ((luminance(mixed) + 0.05) / (luminance(PAPER) + 0.05) >= enough) return `rgb(${mixed.join(",")})`;
    }
    return "rgb(255,255,255)";
  }

  // Trace and property → its own colour, kept so that it can come back.
  const PARTS = ["line.color", "marker.color", "marker.line.color", "error_x.color", "error_y.color", "textfont.color"];
  const own = new WeakMap();
  const part = (trace, path) => path.split(".").reduce((at, key) => at?.[key], trace);
  function repaint(plot, dark) {
    if (!own.has(plot)) own.set(plot, new Map());
    const kept = own.get(plot);
    plot.data.forEach((trace, i) => {
      const wanted = {};
      for (const path of PARTS) {
        const enough = path === "marker.color" && trace.type === "bar" ? OF_BARS : ENOUGH;
        // A trace without a colour of its own has one from the figure's list.
        const given = part(trace, path) ?? (/^(line|marker)\.color$/.test(path) ? part(plot._fullData[i], path) : undefined);
        const key = `${i} ${path}`;
        if (dark && given !== undefined && !kept.has(key)) {
          const pale = Array.isArray(given) ? given.map((one) => (typeof one === "string" ? lighter(one, enough) : one)) : lighter(given, enough);
          if (JSON.stringify(pale) !== JSON.stringify(given)) {
            kept.set(key, given);
            wanted[path] = Array.isArray(pale) ? [pale] : pale;
          }
        } else if (!dark && kept.has(key)) {
          wanted[path] = Array.isArray(kept.get(key)) ? [kept.get(key)] : kept.get(key);
          kept.delete(key);
        }
      }
      if (Object.keys(wanted).length) window.Plotly.restyle(plot, wanted, [i]);
    });
  }

  function dress(plot) {
    const dark = document.documentElement.dataset.theme === "dark";
    if (!light.has(plot)) {
      if (!dark) return; // drawn light already
      const kept = { paper_bgcolor: plot.layout.paper_bgcolor ?? "white", plot_bgcolor: plot.layout.plot_bgcolor ?? "white",
                     "font.color": plot.layout.font?.color ?? "#22303c" };
      for (const key of axes(plot._fullLayout)) {
        for (const part of ["gridcolor", "linecolor", "zerolinecolor", "tickcolor"]) kept[`${key}.${part}`] = plot._fullLayout[key][part];
      }
      (plot.layout.updatemenus ?? []).forEach((menu, i) => {
        kept[`updatemenus[${i}].bgcolor`] = menu.bgcolor ?? "white";
        kept[`updatemenus[${i}].bordercolor`] = menu.bordercolor ?? "#dfe4e8";
      });
      (plot.layout.annotations ?? []).forEach((note, i) => {
        for (const part of ["font.color", "arrowcolor", "bgcolor"]) {
          const colour = part === "font.color" ? note.font?.color : note[part];
          if (colour) kept[`annotations[${i}].${part}`] = colour;
        }
      });
      light.set(plot, kept);
    }
    const kept = light.get(plot);
    repaint(plot, dark);
    if (!dark) return window.Plotly.relayout(plot, kept);
    const css = getComputedStyle(document.documentElement);
    const [paper, ink, grid] = ["--plot-paper", "--plot-ink", "--plot-grid"].map((name) => css.getPropertyValue(name).trim());
    const wanted = (key) => (/bgcolor$/.test(key) ? paper : /(grid|zeroline|border)color$/.test(key) ? grid : ink);
    return window.Plotly.relayout(plot, Object.fromEntries(Object.keys(kept).map((key) => [key, wanted(key)])));
  }

  // On a phone a legend needs more lines than where the figure was made: the figure grows by them, so that its axes keep
  // their height and titles do not cover each other.
  const LEGEND = 60; // px, of a legend on a wide page
  const tall = new WeakMap();
  function fitTo(plot, width) {
    if (!tall.has(plot)) tall.set(plot, plot._fullLayout.height);
    const legend = width < 600 ? plot._fullLayout.legend?._height ?? 0 : 0;
    const height = tall.get(plot) + Math.max(0, Math.round(legend) - LEGEND);
    if (height === plot._fullLayout.height) return;
    plot.parentElement.style.height = `${height}px`; // it has the height of the wide figure
    window.Plotly.relayout(plot, { height });
  }

  // Plotly draws menus and sliders that a keyboard cannot reach: the page has its own in their place.
  function offerControls(plot) {
    const figure = plot.closest("figure") ?? plot, name = figure.getAttribute("aria-label") ?? "";
    const use = ({ method, args }) => method !== "skip" && window.Plotly[method](plot, ...structuredClone(args));
    const hidden = {};
    plot._fullLayout.updatemenus?.forEach((menu, i) => {
      if (!menu.visible) return;
      const select = make("select", { className: "figure-menu" });
      select.setAttribute("aria-label", name);
      menu.buttons.forEach(({ label }) => select.append(make("option", { textContent: label })));
      select.selectedIndex = menu.active;
      select.addEventListener("change", () => use(menu.buttons[select.selectedIndex]));
      hidden[`updatemenus[${i}].visible`] = false;
      figure.before(select);
    });
    plot._fullLayout.sliders?.forEach((slider, i) => {
      if (!slider.visible) return;
      const range = make("input", { type: "range", min: 0, max: slider.steps.length - 1, value: slider.active });
      const box = make("div", { className: "figure-slider" }), shown = make("output", {});
      const tell = () => {
        shown.textContent = `${slider.currentvalue.prefix ?? ""}${slider.steps[range.value].label}`;
        range.setAttribute("aria-valuetext", shown.textContent);
      };
      range.setAttribute("aria-label", name);
      range.addEventListener("input", () => { tell(); use(slider.steps[range.value]); });
      tell();
      box.append(range, shown);
      hidden[`sliders[${i}].visible`] = false;
      figure.after(box);
    });
    return Object.keys(hidden).length ? window.Plotly.relayout(plot, hidden) : Promise.resolve();
  }

  // The numbers of a figure as a table, made when a reader opens it: for those who cannot see the figure, and to copy.
  const MOST_ROWS = 500;
  function numbersOf(plot) {
    const rows = [], shown = (value) => (typeof value === "number" ? Number(value.toPrecision(5)).toString() : value ?? "");
    const axis = (name) => plot.layout[name]?.title?.text;
    for (const trace of plot._fullData) {
      const name = trace.name && !/^trace \d+$/.test(trace.name) ? trace.name : "";
      if (trace.visible !== true) continue;
      const [xs, ys] = [trace.x ?? [], trace.y ?? []].map((values) => Array.from(values));
      if (trace.type === "heatmap" || trace.type === "contour") {
        const z = Array.from(trace.z ?? [], (row) => Array.from(row));
        if (trace.opacity === 0 || z.length * (z[0]?.length ?? 0) > 2500) continue; // a picture
        z.forEach((row, i) => row.forEach((value, j) => rows.push([shown(ys[i] ?? i), shown(xs[j] ?? j), shown(value)])));
      } else if (trace.type === "box") {
        for (const part of ["lowerfence", "q1", "median", "q3", "upperfence"]) {
          Array.from(trace[part] ?? []).forEach((value, i) => rows.push([`${name} ${part}`.trim(), shown(xs[i] ?? i), shown(value)]));
        }
      } else {
        xs.forEach((x, i) => x !== null && rows.push([name, shown(x), shown(ys[i])]));
      }
    }
    return { rows, heads: [words.series, axis("xaxis2") ?? axis("xaxis") ?? "x", axis("yaxis") ?? "y"] };
  }
  function offerNumbers(plot) {
    const details = make("details", { className: "figure-data" });
    details.append(make("summary", { textContent: words.dataOfFigure }));
    details.addEventListener("toggle", () => {
      if (!details.open || details.children.length > 1) return;
      const { rows, heads } = numbersOf(plot), box = make("div", { className: "arset-table figure-numbers", tabIndex: 0 });
      const label = plot.closest("figure")?.getAttribute("aria-label") ?? "";
      box.setAttribute("role", "region");
      box.setAttribute("aria-label", say(words.dataOf, { name: label }));
      const table = make("table"), head = make("tr"), body = make("tbody");
      const note = rows.length > MOST_ROWS ? ` ${say(words.firstRows, { most: MOST_ROWS, count: rows.length })}` : rows.length ? "" : ` ${words.pictures}`;
      table.append(make("caption", { textContent: `${label}${note}` }), make("thead"), body);
      heads.forEach((text) => head.append(make("th", { textContent: text, scope: "col" })));
      table.tHead.append(head);
      rows.slice(0, MOST_ROWS).forEach((row) => {
        const line = make("tr");
        row.forEach((text) => line.append(make("td", { textContent: text })));
        body.append(line);
      });
      box.append(table);
      details.append(box);
    });
    (plot.closest("figure") ?? plot).after(details);
  }

  function plots() {
    return window.Plotly ? [...document.querySelectorAll(".js-plotly-plot")].filter((plot) => plot._fullLayout) : [];
  }

  // The theme wires its menu buttons to the first of each kind, in the bar that this book hides: pass clicks on.
  function menus() {
    for (const [kind, id] of [["primary", "pst-primary-sidebar"], ["secondary", "pst-secondary-sidebar"]]) {
      const [wired, ...others] = document.querySelectorAll(`.${kind}-toggle`);
      const sidebar = document.getElementById(id);
      if (!wired || wired.closest(".bd-header-article") || !sidebar) continue;
      others.forEach((button) => button.addEventListener("click", () => {
        const { left, right } = sidebar.getBoundingClientRect();
        if (window.innerWidth < 1200 && (right <= 0 || left >= window.innerWidth || left === right)) wired.click();
      }));
    }
  }

  // What the theme leaves out: names of buttons and boxes for screen readers, and boxes that scroll by keyboard.
  function name() {
    document.querySelectorAll(".search-button-field, details.hide summary").forEach((one) => one.removeAttribute("aria-label"));
    document.querySelectorAll(".citation-list[role=list]").forEach((one) => one.removeAttribute("role")); // its entries are none
    document.querySelectorAll("summary:has(> .toctree-toggle)").forEach((one) => {
      const page = one.closest("li")?.querySelector("a")?.textContent.trim() ?? "";
      one.setAttribute("aria-label", say(words.pagesUnder, { page }));
    });
    document.querySelectorAll("figure.arset-figure:has(> img), .cell_output pre, .bench, .house, .rooms").forEach((one) => {
      if (one.scrollWidth > one.clientWidth) one.tabIndex = 0;
    });
  }

  // The way to the same page in another language leads to the section that is read, and is offered, once, to readers
  // whose browser prefers that language.
  function languages() {
    const links = [...document.querySelectorAll("a.language-switch")];
    for (const link of links) {
      const page = link.getAttribute("href");
      link.addEventListener("click", () => {
        const read = [...document.querySelectorAll(".bd-article section[id]")].filter((one) => one.getBoundingClientRect().top < 140).pop();
        const number = read && [read, ...read.querySelectorAll(":scope > span[id]")].map((one) => one.id).find((id) => /^section-\d+$/.test(id));
        link.href = link.dataset.samePage !== undefined && number && number !== "section-0" ? `${page}#${number}` : page;
      });
    }
    const first = (navigator.languages ?? [navigator.language])[0]?.slice(0, 2);
    const wanted = links.find((link) => link.hreflang === first);
    const key = "course-language-offered";
    if (!wanted || document.documentElement.lang.slice(0, 2) === first || stored(key)) return;
    const box = make("div", { className: "language-offer", lang: first });
    const close = make("button", { type: "button", textContent: wanted.dataset.close });
    const way = make("a", { href: wanted.getAttribute("href"), textContent: wanted.textContent });
    for (const one of [way, close]) one.addEventListener("click", () => { store(key); box.remove(); });
    box.append(`${wanted.dataset.offer} `, way, close);
    document.querySelector(".bd-article-container")?.prepend(box);
  }
  // A browser may refuse to keep anything.
  function stored(key) { try { return localStorage.getItem(key); } catch { return "yes"; } }
  function store(key) { try { localStorage.setItem(key, "yes"); } catch { /* offered again next time */ } }

  window.addEventListener("load", () => {
    languages();
    menus();
    name();
    document.querySelectorAll(".cover").forEach(slider);
    // A figure drawn before the page had its final shape, or while hidden, takes its width when it gets one.
    const fit = new ResizeObserver((entries) => entries.forEach(({ target, contentRect }) => {
      if (contentRect.width) window.Plotly.Plots.resize(target).then(() => fitTo(target, contentRect.width));
    }));
    plots().forEach(offerNumbers);
    plots().forEach((plot) => Promise.resolve(dress(plot)).then(() => offerControls(plot)).then(() => fit.observe(plot)));
    new MutationObserver(() => plots().forEach(dress)).observe(document.documentElement, { attributes: true, attributeFilter: ["data-theme"] });
  });
})();
