// Widget: a quantizer or two beside each other, their staircases, and what they make of a tensor of weights.
(function () {
  "use strict";

  const { el, svg, select, slider, output, number, linear, ticks, onWidth } = fewbits.ui;
  const q = fewbits.quantizers;
  const percent = (x) => `${Math.round(100 * x)} %`;

  // Of each method: its name, the bits it can have, and the one setting that is not a number of bits. The setting runs
  // from low to high and starts at `start`; all three may depend on the weights.
  const METHODS = {
    uniform: {
      name: "uniform",
      bits: [2, 8],
      setting: () => ({ label: "clip", min: 0.1, max: 1, step: 0.02, value: 1 }),
      say: (k, weights) => `± ${number(k * q.largest(weights))}`,
      make: (weights, bits, k) => q.uniform(bits, k * q.largest(weights)),
    },
    binary: {
      name: "binary",
      bits: [1, 1],
      setting: () => ({ label: "scale / mean|w|", min: 0.2, max: 2, step: 0.05, value: 1 }),
      say: (k) => number(k),
      make: (weights, bits, k) => q.binary(weights, k),
    },
    ternary: {
      name: "ternary (TWN)",
      bits: [2, 2],
      setting: () => ({ label: "threshold / mean|w|", min: 0, max: 2, step: 0.05, value: 0.7 }),
      say: (k) => number(k),
      make: (weights, bits, k) => q.ternary(weights, k),
    },
    inq: {
      name: "powers of two (INQ)",
      bits: [2, 7],
      setting: (weights) => around("largest exponent", q.largestExponent(weights)),
      say: (k) => number(k),
      make: (weights, bits, k) => q.inq(bits, k),
    },
    logarithmic: {
      name: "logarithmic",
      bits: [2, 8],
      setting: (weights) => around("largest exponent", q.fullScale(weights) - 1),
      say: (k) => number(k),
      make: (weights, bits, k) => q.logarithmic(bits, k + 1),
    },
  };
  const around = (label, value) => ({ label, min: value - 3, max: value + 1, step: 1, value });

  const DATA = { trained: "640 weights of a trained layer", eight: "the eight weights of the chapter" };
  const MARGIN = { left: 44, right: 10 };
  const STAIRS = { top: 8, bottom: 206 };
  const BARS = { top: 232, bottom: 302 };

  function draw(width, weights, quantizer, summary) {
    const reach = 1.15 * q.largest(weights);
    const x = linear(-reach, reach, MARGIN.left, width - MARGIN.right);
    const y = linear(-reach, reach, STAIRS.bottom, STAIRS.top);
    const chart = svg("svg", { width, height: 344, viewBox: `0 0 ${width} 344`, role: "img", "aria-label": summary });
    const line = (x1, y1, x2, y2, name) => chart.append(svg("line", { x1, y1, x2, y2, class: name }));
    const text = (at, down, words, anchor = "middle") =>
      chart.append(svg("text", { x: at, y: down, "text-anchor": anchor }, words));

    for (const tick of ticks(-reach, reach, width < 420 ? 4 : 8)) {
      line(x(tick), BARS.bottom, x(tick), BARS.bottom + 4, "fb-axis");
      text(x(tick), BARS.bottom + 17, number(tick));
    }
    for (const tick of ticks(-reach, reach, 5)) {
      line(MARGIN.left, y(tick), width - MARGIN.right, y(tick), "fb-grid");
      text(MARGIN.left - 5, y(tick) + 4, number(tick), "end");
    }
    line(x(-reach), y(-reach), x(reach), y(reach), "fb-diagonal");
    text(MARGIN.left + 6, STAIRS.top + 12, "quantized weight", "start");
    text(MARGIN.left + 6, BARS.top + 2, "bars: weights, lines: levels", "start");
    text((MARGIN.left + width - MARGIN.right) / 2, 340, "weight");

    const bins = new Array(41).fill(0);
    for (const w of weights) bins[Math.min(40, Math.floor(((w + reach) / (2 * reach)) * 41))] += 1;
    const most = Math.max(...bins);
    bins.forEach((count, k) => {
      const left = x(-reach + (2 * reach * k) / 41);
      const height = ((BARS.bottom - BARS.top - 10) * count) / most;
      const wide = (x(reach) - x(-reach)) / 41 - 1;
      chart.append(svg("rect", { x: left, y: BARS.bottom - height, width: wide, height, class: "fb-bar" }));
    });
    for (const level of quantizer.levels) {
      if (Math.abs(level) <= reach) line(x(level), BARS.top + 8, x(level), BARS.bottom, "fb-level");
    }
    line(MARGIN.left, BARS.bottom, width - MARGIN.right, BARS.bottom, "fb-axis");

    let path = "";
    let before = NaN;
    for (let pixel = Math.ceil(x(-reach)); pixel <= x(reach); pixel += 0.5) {
      const level = quantizer.apply(-reach + ((pixel - x(-reach)) / (x(reach) - x(-reach))) * 2 * reach);
      const down = y(Math.min(Math.max(level, -reach), reach)).toFixed(1);
      path += before === down ? "" : `${path ? `H${pixel}V` : `M${pixel} `}${down}`;
      before = down;
    }
    chart.append(svg("path", { d: `${path}H${x(reach)}`, class: "fb-stairs" }));
    return chart;
  }

  /** Controls, picture and words of one quantizer: {node, controls, update()}. `which` tells two of them apart. */
  function side(which, weights, first) {
    const none = first ? [] : [["", "nothing"]];
    const methods = Object.entries(METHODS).map(([key, each]) => [key, each.name]);
    const method = select(first ? "method" : "beside it", [...none, ...methods], reset);
    const bits = slider(`bits${which}`, { min: 2, max: 8, value: 4 }, update);
    const setting = slider("clip", { min: 0, max: 1, value: 1 }, update);
    const picture = el("div", { class: "fb-picture" });
    const words = output();
    const node = el("div", {}, el("div", { class: "fb-controls" }, bits.node, setting.node), picture, words);
    let width = 0;

    function reset() {
      node.hidden = !method.input.value;
      if (node.hidden) return;
      const chosen = METHODS[method.input.value];
      const { label, ...range } = chosen.setting(weights());
      setting.label.textContent = `${label}${which}`;
      Object.assign(setting.input, range);
      const [fewest, most] = chosen.bits;
      const wanted = Math.min(Math.max(Number(bits.input.value), fewest), most);
      Object.assign(bits.input, { min: fewest, max: most, disabled: fewest === most });
      bits.input.value = wanted;
      update();
    }

    function update() {
      if (node.hidden) return;
      const chosen = METHODS[method.input.value];
      const count = Number(bits.input.value);
      const value = Number(setting.input.value);
      const quantizer = chosen.make(weights(), count, value);
      const { meanSquare, decibels, used, zeros } = q.measure(weights(), quantizer);
      bits.show(String(count));
      setting.show(chosen.say(value, weights()));
      const summary =
        `${chosen.name}, ${count} ${count === 1 ? "bit" : "bits"}: ` +
        `${quantizer.levels.length} levels, ${used} in use. ` +
        `${percent(zeros)} of the weights become 0. ` +
        `Mean squared error ${number(meanSquare)}, signal to noise ${number(decibels)} dB.`;
      words.textContent = summary[0].toUpperCase() + summary.slice(1);
      if (width) picture.replaceChildren(draw(width, weights(), quantizer, `Staircase and histogram. ${summary}`));
    }

    onWidth(picture, (now) => {
      width = now;
      update();
    });
    reset();
    return { node, method, reset };
  }

  fewbits.widgets.explorer = function (root) {
    root.setAttribute("aria-label", "Quantizer explorer");
    const data = select("weights", Object.entries(DATA), () => sides.forEach(({ reset }) => reset()));
    const weights = () => fewbits.data.explorer_data[data.input.value];
    const sides = [side("", weights, true), side(" beside", weights, false)];
    root.append(
      el("div", { class: "fb-controls" }, data.node, ...sides.map(({ method }) => method.node)),
      el("div", { class: "fb-sides" }, ...sides.map(({ node }) => node)),
    );
  };
})();
