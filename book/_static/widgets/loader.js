// Turns the static pictures of a page into interactive figures, and gives the page of all claims its filter.
//
// A chapter holds a figure with the classes "fb-widget" and "fb-<name>". Its picture is what print, JupyterLab and
// browsers without JavaScript show. Here the scripts of that widget are loaded, and the widget takes the place of the
// picture.
//
// These are classic scripts that add to one global object, not ES modules: browsers refuse to load modules from
// file://, and the book must work when its pages are opened from disk. Files without "document" in them are pure
// arithmetic; the tests in tests/widgets run them in node.
(function () {
  "use strict";

  const SCRIPTS = {
    "few-bits": ["quantizers.js", "few_bits_data.js", "few_bits.js", "ui.js", "few_bits_figure.js"],
    explorer: ["quantizers.js", "explorer_data.js", "ui.js", "explorer.js"],
    folding: ["quantizers.js", "folding_data.js", "folding.js", "ui.js", "folding_figure.js"],
    seeds: ["seeds_data.js", "seeds.js", "ui.js", "seeds_figure.js"],
    map: ["map_data.js", "seeds.js", "map.js", "ui.js", "map_figure.js"],
    "inq-stepper": ["quantizers.js", "inq_run.js", "inq_schedule.js", "ui.js", "inq_stepper.js"],
    adder: ["shift_adder.js", "ui.js", "adder.js"],
    "bit-mixer": ["network_159k.js", "mixer_data.js", "mixer_accuracy.js", "latency.js", "ui.js", "bit_mixer.js"],
    accelerator: ["accelerator_data.js", "array.js", "ui.js", "accelerator.js"],
  };
  const FILTER = ["claims_filter.js", "ui.js", "claims_table.js"];
  const here = new URL(".", document.currentScript.src);
  const loaded = new Map();

  function load(file) {
    if (!loaded.has(file)) {
      loaded.set(
        file,
        new Promise((resolve, reject) => {
          const script = document.createElement("script");
          script.src = new URL(file, here).href;
          script.onload = resolve;
          script.onerror = () => reject(new Error(`cannot load ${script.src}`));
          document.head.append(script);
        }),
      );
    }
    return loaded.get(file);
  }

  /** The styles of the widgets, before the first of them is shown. */
  function style() {
    const sheet = document.createElement("link");
    sheet.rel = "stylesheet";
    sheet.href = new URL("widgets.css", here).href;
    const done = new Promise((resolve) => (sheet.onload = sheet.onerror = resolve));
    document.head.append(sheet);
    return done;
  }

  async function start(figure, styled) {
    const name = Object.keys(SCRIPTS).find((each) => figure.classList.contains(`fb-${each}`));
    if (!name) throw new Error(`figure ${figure.id} names no widget: ${figure.className}`);
    for (const file of SCRIPTS[name]) await load(file);
    await styled;
    const root = document.createElement("div");
    root.className = "fb-live";
    root.setAttribute("role", "group");
    figure.prepend(root);
    fewbits.widgets[name](root);
    figure.classList.add("fb-on"); // hides the picture: last, so that it stays if anything above fails
  }

  async function filter(folds) {
    for (const file of FILTER) await load(file);
    fewbits.widgets.claims(folds);
  }

  function startAll() {
    const failed = (error) => console.error(error);
    const figures = [...document.querySelectorAll("figure.fb-widget")];
    const folds = [...document.querySelectorAll("details.claims-chapter")];
    const styled = figures.length || folds.length ? style() : null;
    figures.forEach((figure) => start(figure, styled).catch(failed));
    if (folds.length) filter(folds).catch(failed);
  }

  if (document.readyState === "loading") document.addEventListener("DOMContentLoaded", startAll);
  else startAll();
})();
