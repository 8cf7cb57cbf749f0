// Widget: draw seeds one by one, and see the interval shrink and the verdict change.
(function () {
  "use strict";

  const { el, svg, button, select, slider, output, number, linear, ticks, onWidth } = fewbits.ui;
  const { interval, word, order } = fewbits.seeds;

  const LEFT = 8;
  const ROW = 20;
  const TOP = 58;
  const NAMES = {
    float: "float weights",
    binary: "binary weights",
    "2-bit": "2-bit weights",
    "float, rounded to 4 bits": "the same weights rounded to 4 bits",
  };
  const CLASSES = { holds: "fb-holds", "does not hold": "fb-fails", undecided: "fb-open" };
  const SIGNS = { holds: "●", "does not hold": "−", undecided: "?" };
  const points = (x) => `${x.toFixed(Math.abs(x) < 10 ? 2 : 1).replace("-", "−")}`;

  /** The dots of the seeds that are drawn, and a row for each number of seeds from two on. */
  function draw(width, all, drawn, factors, border, summary) {
    const spread = Math.max(...all) - Math.min(...all, border);
    const [low, high] = [Math.min(...all, border) - 0.5 * spread, Math.max(...all, border) + 0.5 * spread];
    const height = TOP + ROW * (all.length - 1) + 34;
    const x = linear(low, high, LEFT + 74, width - 14);
    const inside = (value) => Math.min(Math.max(x(value), x(low)), x(high));
    const chart = svg("svg", { width, height, viewBox: `0 0 ${width} ${height}`, role: "img", "aria-label": summary });
    const line = (x1, y1, x2, y2, name) => chart.append(svg("line", { x1, y1, x2, y2, class: name }));
    const text = (at, down, words, anchor = "middle", name = "") =>
      chart.append(svg("text", { x: at, y: down, "text-anchor": anchor, class: name }, words));

    for (const tick of ticks(low, high, width < 420 ? 4 : 8)) {
      line(x(tick), 26, x(tick), height - 34, "fb-grid");
      text(x(tick), height - 20, number(tick));
    }
    text((x(low) + x(high)) / 2, height - 4, "difference of accuracy (points)");
    line(x(border), 14, x(border), height - 34, "fb-border");
    text(x(border), 11, `asked: at least ${number(border)}`);
    text(LEFT, 38, "each seed", "start");
    for (const value of drawn) chart.append(svg("circle", { cx: x(value), cy: 34, r: 4, class: "fb-dot fb-seed" }));

    for (let count = 2; count <= drawn.length; count += 1) {
      const found = interval(drawn.slice(0, count), factors);
      const said = word(found, border);
      const y = TOP + ROW * (count - 2);
      const [first, last] = [found.mean - found.half, found.mean + found.half];
      const name = `${CLASSES[said]}${count === drawn.length ? " fb-last" : ""}`;
      text(LEFT, y + 4, `${SIGNS[said]} ${count} seeds`, "start", `fb-words ${name}`);
      line(inside(first), y, inside(last), y, `fb-range ${name}`);
      chart.append(svg("circle", { cx: inside(found.mean), cy: y, r: 4, class: `fb-mean ${name}` }));
      if (first < low) chart.append(svg("path", { d: `M${x(low)} ${y}l8 -5v10z`, class: `fb-mean ${name}` }));
      if (last > high) chart.append(svg("path", { d: `M${x(high)} ${y}l-8 -5v10z`, class: `fb-mean ${name}` }));
    }
    return chart;
  }

  fewbits.widgets.seeds = function (root) {
    root.setAttribute("aria-label", "Seeds and verdicts");
    const { t, comparisons } = fewbits.data.seeds_data;
    const said = ({ first, second, recipe }) => `${NAMES[first]} against ${NAMES[second]} (${recipe} rate)`;
    const question = select("compared", comparisons.map((each, k) => [String(k), said(each)]), reset);
    const count = slider("seeds", { min: 2, max: 10, value: 2 }, update);
    const border = slider("at least", { min: -5, max: 15, step: 0.5, value: 0 }, update);
    const again = button("Other seeds first", () => {
      turn += 1;
      update();
    });
    const picture = el("div", { class: "fb-picture" });
    const words = output();
    root.append(el("div", { class: "fb-controls" }, question.node, count.node, border.node, again), picture, words);
    let width = 0;
    let turn = 0;

    function reset() {
      const chosen = comparisons[Number(question.input.value)];
      count.input.max = chosen.differences.length;
      const small = Math.max(...chosen.differences) < 2;
      Object.assign(border.input, small ? { min: -0.5, max: 1, step: 0.05 } : { min: -5, max: 15, step: 0.5 });
      border.input.value = chosen.border;
      turn = 0;
      update();
    }

    function update() {
      const chosen = comparisons[Number(question.input.value)];
      const places = order(chosen.differences.length, turn);
      const drawn = places.slice(0, Number(count.input.value)).map((k) => chosen.differences[k]);
      const asked = Number(border.input.value);
      count.show(String(drawn.length));
      border.show(`${number(asked)} points better`);
      const found = interval(drawn, t);
      const verdict = word(found, asked);
      const summary =
        `${drawn.length} seeds: ${NAMES[chosen.first]} are better than ${NAMES[chosen.second]} by ` +
        `${points(found.mean)} ± ${points(found.half)} points. Asked for at least ${number(asked)}: `;
      words.replaceChildren(summary, el("strong", {}, `${SIGNS[verdict]} ${verdict}`), ".");
      if (width) picture.replaceChildren(draw(width, chosen.differences, drawn, t, asked, `${summary} ${verdict}.`));
    }

    onWidth(picture, (now) => {
      width = now;
      update();
    });
    reset();
  };
})();
