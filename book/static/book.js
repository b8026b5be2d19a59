// The book's own behaviour: the cover's slider, and Plotly figures that follow the theme and the page's width.
(() => {
  "use strict";

  function slider(cover) {
    const [scene, labels] = cover.querySelectorAll("img.cover-layer");
    if (!scene || !labels) return;
    const set = (value) => cover.style.setProperty("--cut", `${value}%`);
    const range = Object.assign(document.createElement("input"), { type: "range", min: 0, max: 100, value: 50 });
    range.setAttribute("aria-label", "Slide between the satellite scene and its labels");
    range.addEventListener("input", () => set(range.value));
    const line = Object.assign(document.createElement("div"), { className: "cover-line" });
    const tags = [["left", "scene"], ["right", "labels"]].map(([side, text]) =>
      Object.assign(document.createElement("span"), { className: `cover-tag ${side}`, textContent: `${text} · simulated` }));
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

  // Lines drawn in the light theme's ink would vanish on the dark paper.
  const INK = "#22303c", PALE = "#dbe4e0";
  function repaint(plot, dark) {
    const [from, to] = dark ? [INK, PALE] : [PALE, INK];
    const found = plot.data.flatMap((trace, i) => (trace.line?.color === from ? [i] : []));
    if (found.length) window.Plotly.restyle(plot, { "line.color": to }, found);
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

  window.addEventListener("load", () => {
    menus();
    document.querySelectorAll(".cover").forEach(slider);
    // A figure drawn before the page had its final shape, or while hidden, takes its width when it gets one.
    const fit = new ResizeObserver((entries) => entries.forEach(({ target, contentRect }) => {
      if (contentRect.width) window.Plotly.Plots.resize(target);
    }));
    plots().forEach((plot) => Promise.resolve(dress(plot)).then(() => fit.observe(plot)));
    new MutationObserver(() => plots().forEach(dress)).observe(document.documentElement, { attributes: true, attributeFilter: ["data-theme"] });
  });
})();
