// Unpack Plotly's script from the page, draw the figures, and draw them again when the theme changes.
(async () => {
  const bytes = Uint8Array.from(atob(document.getElementById("plotly").textContent), (c) => c.charCodeAt(0));
  const unpacked = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("gzip"));
  const script = document.createElement("script");
  script.textContent = await new Response(unpacked).text();
  document.head.append(script);

  const language = JSON.parse(document.getElementById("config").textContent);
  const theme = matchMedia("(prefers-color-scheme:dark)");
  // Figures are made in the colours of a light page; on a dark one these stand for them.
  const dark = {
    "#22303c": "#e4eaee", "#dfe4e8": "#33404a", "#000000": "#e4eaee", "#5a6872": "#a3b0ba", "#ffffff": "#192127",
    "#0072b2": "#5fb2ea", "#cfe3f1": "#1f3f5a", "#8bbcdc": "#265a80", "#3f8abf": "#2b6ea0", "#0b4f8a": "#2f80bd",
    "#6d6d6d": "#a3b0ba", "#0b6e4f": "#4fc69a",
  };

  function draw(plot) {
    let text = plot.nextElementSibling.textContent;
    if (theme.matches) text = text.replace(/#[0-9a-f]{6}/gi, (c) => dark[c.toLowerCase()] ?? c);
    const { data, layout } = JSON.parse(text);
    Object.assign(layout, { paper_bgcolor: "transparent", plot_bgcolor: "transparent", dragmode: false });
    for (const key of Object.keys(layout).filter((k) => /^yaxis/.test(k) && layout[k].gridcolor === "white")) {
      layout[key].gridcolor = "transparent";
    }
    const config = { responsive: true, displayModeBar: false, ...language };
    plot.style.height = `${layout.height}px`;
    return window.Plotly.react(plot, data, layout, config).then(() => {
      // On a phone a legend needs more lines: the figure grows by them, so that its axes keep their height.
      const legend = window.innerWidth < 600 ? plot._fullLayout.legend?._height ?? 0 : 0;
      if (legend <= 60) return;
      const height = Math.round(layout.height + legend - 60);
      plot.style.height = `${height}px`;
      return window.Plotly.relayout(plot, { height });
    });
  }

  const plots = [...document.querySelectorAll(".plot")];
  const visible = (plot) => plot.offsetWidth > 0;
  const all = () => plots.filter(visible).forEach(draw);
  document.querySelectorAll("details.model").forEach((model) => model.addEventListener("toggle", all));
  theme.addEventListener("change", all);
  all();
})();
