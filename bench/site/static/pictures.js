"use strict";

/* Pictures are drawn by Vega, with its expressions interpreted: nothing is evaluated as code. Those in view come first,
   then all others while nothing else is to do, so that a print has them; those in a closed fold wait for it to open. */
(() => {
  const INK = "currentColor";
  const ERRORS = 1; // of Vega's log levels: warnings say nothing to a reader

  /** The suite's theme with text and lines in the page's own colour: light, dark and print need no other picture. */
  const config = (theme) => {
    const inked = { labelColor: INK, titleColor: INK };
    const lines = { domainColor: INK, domainOpacity: 0.5, tickColor: INK, tickOpacity: 0.5, gridColor: INK, gridOpacity: 0.14 };
    return {
      ...theme,
      axis: { ...theme.axis, ...inked, ...lines },
      legend: { ...theme.legend, ...inked },
      header: { ...theme.header, ...inked },
      title: { ...theme.title, color: INK, subtitleColor: INK },
      text: { ...theme.text, color: INK },
      rule: { ...theme.rule, color: INK },
    };
  };

  const OPTIONS = {
    ast: true,
    logLevel: ERRORS,
    mode: "vega-lite",
    renderer: "svg",
    actions: false,
    defaultStyle: false,
    tooltip: { disableDefaultStyle: true, theme: "sweepmark" },
  };

  /** As wide as there is room, for a picture whose height follows from its rows: told so itself, Vega-Lite does the
      same, but puts a warning on the console. */
  const widened = ({ width, ...compiled }) => {
    const room = `isFinite(containerSize()[0]) ? containerSize()[0] : ${width}`;
    const signal = { name: "width", init: room, on: [{ update: room, events: "window:resize" }] };
    return { ...compiled, autosize: { type: "fit-x", contains: "padding" }, signals: [signal, ...(compiled.signals ?? [])] };
  };
  const fitted = (specification) => specification.height?.step && specification.width === "container"
    ? [{ ...specification, width: 200 }, { patch: widened }] : [specification, {}];

  /** A button that saves what is drawn: black on nothing, whatever the page's colours are. */
  const offerToSave = (figure, view) => {
    const title = figure.querySelector("h3").textContent;
    const button = sweepmark.element("button", { type: "button", class: "save", "aria-label": `Save “${title}” as SVG` }, "save as SVG");
    button.addEventListener("click", async () => {
      const address = URL.createObjectURL(new Blob([await view.toSVG()], { type: "image/svg+xml" }));
      sweepmark.element("a", { href: address, download: `sweepmark-${figure.dataset.picture}.svg` }).click();
      setTimeout(() => URL.revokeObjectURL(address), 60_000);
    });
    figure.querySelector("button.save")?.remove();
    figure.append(button);
  };

  const say = (figure, text) => {
    figure.querySelector(".drawing").replaceChildren(sweepmark.element("p", { class: "note" }, text));
    figure.dataset.drawn = "none";
  };

  /** Draw these rows; `several`: of more than one run. */
  const draw = async (figure, rows, several = false) => {
    const name = figure.dataset.picture;
    if (!rows || rows.length === 0) return say(figure, "There is nothing to draw: the records hold no such data.");
    const root = sweepmark.root();
    await Promise.all([sweepmark.load(`${root}static/vega.js`), sweepmark.load(`${root}static/specifications.js`)]);
    const known = sweepmark.data.get("specifications");
    const drawing = figure.querySelector(".drawing");
    const specification = { ...(several ? known.several : known.one)[name], datasets: { rows } };
    figure.finalize?.();
    const [plain, widen] = fitted(specification);
    const result = await vegaEmbed(drawing, plain, { ...OPTIONS, ...widen, config: config(known.theme) });
    figure.finalize = result.finalize;
    drawing.querySelector("svg.marks")?.setAttribute("aria-label", figure.querySelector("h3").textContent);
    offerToSave(figure, result.view);
    figure.dataset.drawn = "yes";
    return undefined;
  };

  /** Rows as the figure names them: a script, a key in it, and a part of what is there. */
  const drawOwn = async (figure) => {
    const { source, key, part, picture } = figure.dataset;
    try {
      await sweepmark.load(source);
      await draw(figure, sweepmark.data.get(key)?.[part]?.[picture]);
    } catch (error) {
      say(figure, `The picture cannot be drawn: ${error.message}.`);
    }
  };

  const figures = new Set(document.querySelectorAll("figure.picture[data-source]:not([data-source=''])"));

  /** Once each. */
  const drawFirst = (figure) => {
    seen.unobserve(figure);
    return figures.delete(figure) ? drawOwn(figure) : undefined;
  };

  const seen = new IntersectionObserver((entries) => {
    for (const { isIntersecting, target } of entries) if (isIntersecting) drawFirst(target);
  }, { rootMargin: "300px" });
  for (const figure of figures) seen.observe(figure);

  const idle = window.requestIdleCallback ?? ((go) => setTimeout(go, 50));
  const drawRest = async () => {
    const next = [...figures].find((figure) => !figure.closest("details:not([open])"));
    if (next) await drawFirst(next);
    if (next) idle(drawRest);
  };
  window.addEventListener("load", () => idle(drawRest));

  sweepmark.draw = draw;
})();
