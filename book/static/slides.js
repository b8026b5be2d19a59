// Slides of the labs: starts reveal.js, and draws a Plotly figure when its slide is shown, larger than in the lab.
(() => {
  "use strict";
  const WIDTH = 1168, HEIGHT = 506, OF_A_MENU = 48; // of the place for a figure, px
  const TYPE = 1.35; // how many times larger than in the lab, at least 13 × 1.35 px
  const SMALLEST = 13, LEAST_ZOOM = 1.05;

  const waiting = new Map(); // element → draws its figure
  const drawNow = window.Plotly?.newPlot;
  if (drawNow) {
    window.Plotly.newPlot = (target, data, layout, config) =>
      new Promise((done) => {
        const plot = typeof target === "string" ? document.getElementById(target) : target;
        const high = HEIGHT - (plot.closest(".arset-knob") ? OF_A_MENU : 0);
        // A figure that is tall in the lab needs the room for its panels: it grows less, and only its type grows fully.
        const zoom = Math.min(TYPE, Math.max(LEAST_ZOOM, high / (layout.height ?? HEIGHT)));
        const grow = (size) => (Math.max(size, SMALLEST) * TYPE) / zoom;
        waiting.set(plot, () => {
          const size = { autosize: false, width: WIDTH / zoom, height: high / zoom };
          Object.assign(plot.style, { width: `${size.width}px`, height: `${size.height}px`, zoom });
          drawNow(plot, large(data, grow), { ...large(layout, grow), ...size },
            { ...config, responsive: false, displayModeBar: false }).then(done);
        });
      });
  }

  function large(part, grow) {
    if (Array.isArray(part)) return typeof part[0] === "object" ? part.map((one) => large(one, grow)) : part;
    if (part === null || typeof part !== "object") return part;
    return Object.fromEntries(Object.entries(part).map(([key, value]) =>
      [key, /font$/.test(key) && value?.size ? { ...value, size: grow(value.size) } : large(value, grow)]));
  }

  function drawOn(slide) {
    for (const plot of slide.querySelectorAll(".plotly-graph-div")) {
      waiting.get(plot)?.();
      waiting.delete(plot);
    }
    slide.querySelectorAll(".shown > table").forEach(shrink);
  }

  window.startSlides = () => {
    const deck = window.Reveal;
    const onPaper = /print-pdf/.test(location.search);
    for (const picture of document.querySelectorAll(".arset-wipe")) fit(picture);
    deck.on("ready", ({ currentSlide }) => drawOn(onPaper ? document : currentSlide));
    deck.on("slidechanged", ({ currentSlide }) => drawOn(currentSlide));
    deck.initialize({
      width: 1280, height: 720, margin: 0, center: false, hash: true, controls: true, progress: true, slideNumber: "c/t",
      transition: "none", backgroundTransition: "none", pdfSeparateFragments: false,
    });
  };

  // A table with many words takes smaller type, but none under 18 px.
  function shrink(table) {
    for (let size = 23; size >= 18 && table.offsetHeight > HEIGHT; size--) table.style.fontSize = `${size}px`;
  }

  // Two pictures over one another keep their proportions, as wide as the place for them is high.
  function fit(picture) {
    const image = picture.querySelector("img[alt]:not(.over)");
    const set = () => {
      const room = HEIGHT - 170; // without menu, slider and legend
      picture.style.width = `${Math.min(WIDTH, (room * image.naturalWidth) / image.naturalHeight)}px`;
    };
    image.complete ? set() : image.addEventListener("load", set);
  }
})();
