// Show one point after the other, keep its label in the browser, and write the CSV.
(() => {
  const data = JSON.parse(document.getElementById("data").textContent);
  const { points, classes, words } = data;
  const $ = (id) => document.getElementById(id);
  const say = (text, values = {}) => text.replace(/\{(\w+)\}/g, (_, name) => values[name] ?? "");
  const levels = ["", "sure", "likely", "guess"];
  const answers = Object.fromEntries(points.map((p) => [p.id, { label: p.label, confidence: p.confidence, remarks: p.remarks }]));
  const size = points.length, map = data.map, id = data.header.indexOf("id");
  let date = 0;
  let at = 0;
  let kind = data.kinds[0];
  let kept = true;

  try {
    const before = JSON.parse(localStorage.getItem(data.store) ?? "{}");
    for (const own of before.own ?? []) points.push({ ...own, own: true, images: [], series: [] }), answers[own.id] = { label: "", confidence: "", remarks: "" };
    for (const [id, answer] of Object.entries(before.answers ?? {})) if (id in answers) answers[id] = answer;
    at = Math.min(Math.max(before.at ?? 0, 0), points.length - 1);
  } catch { kept = false; }

  function keep() {
    try {
      const own = points.slice(size).map(({ id, lon, lat, x, y, at }) => ({ id, lon, lat, x, y, at }));
      localStorage.setItem(data.store, JSON.stringify({ at, answers, own }));
      kept = true;
    } catch { kept = false; }
  }

  const count = () => points.filter((p) => answers[p.id].label).length;
  const tell = (text) => { $("said").textContent = text; };

  function element(name, attributes = {}, text = "") {
    const made = document.createElementNS(name === "svg" || element.svg ? "http://www.w3.org/2000/svg" : "http://www.w3.org/1999/xhtml", name);
    for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
    if (text) made.textContent = text;
    return made;
  }

  // Longitude, latitude, x and y of a place on the map: means of the four known places around it.
  function coordinates([right, down]) {
    const last = map.nodes - 1, col = Math.min(Math.floor(right * last), last - 1), row = Math.min(Math.floor(down * last), last - 1);
    const [a, b] = [right * last - col, down * last - row], first = row * map.nodes + col;
    return map.grid.map((value) => (1 - b) * ((1 - a) * value[first] + a * value[first + 1])
      + b * ((1 - a) * value[first + map.nodes] + a * value[first + map.nodes + 1]));
  }

  // The place of the middle of the pixel that holds a place.
  const middle = (share, length) => {
    const count = Math.round(length / map.pixel);
    return (Math.min(Math.max(Math.floor(share * count), 0), count - 1) + 0.5) / count;
  };

  function add(place) {
    const own = [middle(place[0], map.wide), middle(place[1], map.high)];
    const near = points.findIndex((p) => Math.hypot((p.at[0] - own[0]) * map.wide, (p.at[1] - own[1]) * map.high) < map.pixel / 2);
    if (near >= 0) return go(near);
    const [lon, lat, x, y] = coordinates(own), id = Math.max(0, ...points.map((p) => p.id)) + 1;
    points.push({ id, lon: Number(lon.toFixed(8)), lat: Number(lat.toFixed(8)), x: x.toFixed(3), y: y.toFixed(3), at: own, own: true, images: [], series: [] });
    answers[id] = { label: "", confidence: "", remarks: "" };
    go(points.length - 1);
    tell(say(words.added, { id }));
  }

  function remove() {
    const { id, own } = points[at];
    if (!own) return;
    points.splice(at, 1);
    delete answers[id];
    go(at);
    tell(say(words.removed, { id }));
  }

  function draw() {
    const wide = 1000, high = Math.round(wide * map.high / map.wide), one = map.ground[date];
    $("ground").style.maxWidth = `${Math.min(520, Math.max(260, 0.45 * innerHeight * wide / high))}px`; // beside the answers
    element.svg = true;
    const text = say(one ? words.map : words.plain, { n: points.length, day: one?.day });
    const svg = element("svg", { viewBox: `0 0 ${wide} ${high}`, role: "img", "aria-label": text });
    if (one) svg.append(element("image", { href: one[kind], width: wide, height: high, preserveAspectRatio: "none", style: "image-rendering:pixelated" }));
    const shown = $("ground").clientWidth || 480, unit = wide / shown; // of the drawing, in a pixel of the screen
    for (const ring of [0, 1]) svg.append(element("circle", { class: "ring", "data-ring": ring, r: 12 * unit, cx: points[at].at[0] * wide, cy: points[at].at[1] * high }));
    points.forEach((point, i) => {
      const colour = classes.find((known) => known.key === answers[point.id].label)?.colour ?? "#ffffff";
      svg.append(element("circle", { "data-point": i, r: 6 * unit, cx: point.at[0] * wide, cy: point.at[1] * high, style: `fill:${colour}` }));
    });
    element.svg = false;
    svg.addEventListener("click", (event) => {
      const box = svg.getBoundingClientRect(), click = [(event.clientX - box.left) / box.width, (event.clientY - box.top) / box.height];
      const far = points.map((p) => Math.hypot((p.at[0] - click[0]) * box.width, (p.at[1] - click[1]) * box.height));
      const nearest = far.indexOf(Math.min(...far));
      if (far[nearest] <= 12) go(nearest); else if (one) add(click);
    });
    $("ground").replaceChildren(svg);
  }

  // Of the ground, what lies around a place that has no images of its own.
  function crops(point) {
    return map.ground.map((one) => {
      const figure = element("figure"), frame = element("div");
      const wide = map.wide / map.side, high = map.high / map.side; // sizes of the ground in those of the crop
      const place = `width:${100 * wide}%;height:${100 * high}%;left:${100 * (0.5 - point.at[0] * wide)}%;top:${100 * (0.5 - point.at[1] * high)}%`;
      const crop = element("div", { class: "crop" });
      crop.append(element("img", { src: one[kind], style: place, alt: say(words.image, { kind: words[kind], day: one.day }) }));
      frame.append(crop);
      const mark = `${Math.max(100 * data.box, 6)}%`;
      frame.append(element("i", { style: `width:${mark};height:${mark}`, "aria-hidden": "true" }));
      figure.append(frame, element("figcaption", {}, one.day));
      return figure;
    });
  }

  function images(point) {
    if (point.own) return $("images").replaceChildren(...crops(point));
    $("images").replaceChildren(...point.images.map((one) => {
      const figure = element("figure"), frame = element("div");
      const size = `${Math.max(100 * data.box, 6)}%`;
      frame.append(element("img", { src: one[kind], alt: say(words.image, { kind: words[kind], day: one.day }) }));
      frame.append(element("i", { style: `width:${size};height:${size}`, "aria-hidden": "true" }));
      figure.append(frame, element("figcaption", {}, one.day));
      return figure;
    }));
    if (!point.images.length) $("images").append(element("p", { class: "quiet" }, words.noimages));
  }

  function chart(point) {
    $("series").replaceChildren(...point.series.map(([, day, value]) => {
      const row = element("tr");
      row.append(element("td", {}, day), element("td", {}, value.toFixed(2)));
      return row;
    }));
    $("dashes").hidden = !point.series.length || !point.images.length;
    if (!point.series.length) return $("chart").replaceChildren(element("p", { class: "quiet" }, words.noseries));
    const wide = Math.min(Math.max($("chart").clientWidth, 300), 760), high = 210, left = 42, low = 24, top = 26, days = point.series.map(([date]) => Date.parse(date));
    const values = point.series.map(([, , value]) => value);
    const first = Math.min(...days), last = Math.max(...days, first + 864e5);
    const x = (day) => left + ((day - first) / (last - first)) * (wide - left - 8);
    const y = (value) => high - low - ((Math.min(Math.max(value, -0.2), 1) + 0.2) / 1.2) * (high - low - top);
    const names = { first: point.series[0][1], last: point.series.at(-1)[1], low: Math.min(...values).toFixed(2), high: Math.max(...values).toFixed(2) };
    element.svg = true;
    const svg = element("svg", { viewBox: `0 0 ${wide} ${high}`, role: "img", "aria-label": say(words.chart, names) });
    for (const value of [0, 0.5, 1]) {
      svg.append(element("line", { class: "grid", x1: left, x2: wide, y1: y(value), y2: y(value) }), element("text", { x: 4, y: y(value) + 4 }, value.toFixed(1)));
    }
    for (const one of point.images) {
      const at = x(Date.parse(one.date));
      svg.append(element("line", { class: "seen", x1: at, x2: at, y1: top, y2: high - low }));
    }
    svg.append(element("polyline", { class: "line", points: days.map((day, i) => `${x(day)},${y(values[i])}`).join(" ") }));
    days.forEach((day, i) => svg.append(element("circle", { class: "dot", cx: x(day), cy: y(values[i]), r: 3 })));
    svg.append(element("text", { x: left, y: high - 6 }, names.first), element("text", { x: wide - 8, y: high - 6, "text-anchor": "end" }, names.last));
    svg.append(element("text", { x: 4, y: 13 }, words.axis));
    element.svg = false;
    $("chart").replaceChildren(svg);
  }

  function show(focus = false) {
    const point = points[at], answer = answers[point.id];
    $("where").textContent = say(words.point, { i: at + 1, n: points.length });
    $("place").textContent = `${point.lat.toFixed(6)}, ${point.lon.toFixed(6)}${point.own ? ` · ${words.own}` : ""}`;
    $("remove").hidden = !point.own;
    draw();
    images(point);
    chart(point);
    document.querySelectorAll("[data-class]").forEach((button) => {
      const own = button.dataset.class;
      button.setAttribute("aria-pressed", String(own ? own === answer.label : Boolean(answer.unsure)));
    });
    document.querySelectorAll("[data-kind]").forEach((button) => button.setAttribute("aria-pressed", String(button.dataset.kind === kind)));
    $("confidence").value = levels.includes(answer.confidence) ? answer.confidence : "";
    $("remarks").value = answer.remarks;
    $("progress").max = points.length;
    $("progress").value = count();
    $("done").textContent = say(words.done, { n: count(), all: points.length });
    $("before").disabled = at === 0;
    $("after").disabled = at === points.length - 1;
    if (focus) $("where").focus();
  }

  // Show the images of the point where a person has scrolled past them, as to the answers on a phone.
  function reveal() {
    if ($("images").getBoundingClientRect().top < 0) $("where").scrollIntoView();
  }

  function go(to) {
    at = Math.min(Math.max(to, 0), points.length - 1);
    keep();
    show();
    reveal();
  }

  const unanswered = ({ id }) => !answers[id].label && !answers[id].unsure;

  function open() {
    const order = points.map((_, i) => (at + 1 + i) % points.length);
    const next = order.find((i) => unanswered(points[i]));
    if (next === undefined) tell(words.all); else go(next);
  }

  function label(key) {
    const { id } = points[at];
    answers[id].label = key;
    answers[id].unsure = !key; // kept in the browser alone: in the CSV the label is empty
    keep();
    const name = classes.find((one) => one.key === key)?.name;
    const text = key ? say(words.labelled, { name, id }) : say(words.cleared, { id });
    const end = !points.some(unanswered) ? words.all : kept ? words.saved : words.unsaved;
    if (at < points.length - 1) at += 1;
    keep();
    show();
    reveal();
    tell(`${text}. ${end}`);
  }

  function csv() {
    const cell = (text) => (/[",\r\n]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text);
    const mine = ["label", "confidence", "remarks"].map((name) => [name, data.header.indexOf(name)]);
    const own = points.slice(size).map((point) => data.own.map((cell, i) => String(point[data.header[i]] ?? cell)));
    const lines = [...data.rows, ...own].map((row) => {
      const own = [...row], answer = answers[row[id]];
      for (const [name, column] of mine) own[column] = answer[name];
      return own.map(cell).join(",");
    });
    return `${[data.header.join(","), ...lines].join("\n")}\n`;
  }

  function download() {
    const link = element("a", { href: URL.createObjectURL(new Blob([csv()], { type: "text/csv" })), download: "sample.csv" });
    document.body.append(link);
    link.click();
    link.remove();
    setTimeout(() => URL.revokeObjectURL(link.href), 60000);
    tell(say(words.done, { n: count(), all: points.length }));
  }

  function colours() {
    kind = data.kinds[(data.kinds.indexOf(kind) + 1) % data.kinds.length];
    show();
  }

  function sure(value) {
    answers[points[at].id].confidence = value;
    keep();
    $("confidence").value = value;
  }

  document.querySelectorAll("[data-class]").forEach((button) => button.addEventListener("click", () => label(button.dataset.class)));
  document.querySelectorAll("[data-kind]").forEach((button) => button.addEventListener("click", () => { kind = button.dataset.kind; show(); }));
  map.ground.forEach((one, i) => $("date").append(element("option", { value: i }, one.day)));
  $("date")?.addEventListener("change", (event) => { date = Number(event.target.value); draw(); });
  $("remove").addEventListener("click", remove);
  $("map").addEventListener("toggle", draw);
  $("map").open = matchMedia("(min-width: 601px)").matches;
  $("before").addEventListener("click", () => go(at - 1));
  $("after").addEventListener("click", () => go(at + 1));
  $("open").addEventListener("click", open);
  $("download").addEventListener("click", download);
  $("confidence").addEventListener("change", (event) => sure(event.target.value));
  $("remarks").addEventListener("input", (event) => { answers[points[at].id].remarks = event.target.value; keep(); });
  document.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey || ["INPUT", "SELECT"].includes(event.target.tagName)) return;
    const pressed = classes.find((one) => one.press === event.key);
    const does = { 0: () => label(""), ArrowLeft: () => go(at - 1), ArrowRight: () => go(at + 1), n: open, s: download, a: colours };
    does.c = () => sure(levels[(levels.indexOf(answers[points[at].id].confidence) + 1) % levels.length]);
    const act = pressed ? () => label(pressed.key) : does[event.key];
    if (!act) return;
    event.preventDefault();
    act();
  });
  addEventListener("resize", () => { chart(points[at]); draw(); });
  keep();
  show();
  tell(kept ? words.saved : words.unsaved);
})();
