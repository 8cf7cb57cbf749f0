// Widget: INQ on one layer of a small network, step by step, from a recorded run.
(function () {
  "use strict";

  const { el, svg, button, slider, output, number, linear, onWidth } = fewbits.ui;
  const { inq } = fewbits.quantizers;

  const LEFT = 44;
  const WEIGHTS = { top: 10, bottom: 250 };
  const SCORE = { top: 302, bottom: 392, low: 90 }; // the axis of accuracy begins at 90 %
  const HEIGHT = 434;

  function words({ phase, stage, weights, frozen, chosen, accuracy }, previous) {
    const count = frozen.filter(Boolean).length;
    const all = weights.length;
    const score = accuracy === null ? "" : ` The network is right on ${number(accuracy)} % of the test images.`;
    if (phase === "trained") return `Trained: all ${all} weights of the layer are free.${score}`;
    if (phase === "partition") {
      const free = all - count;
      return `Stage ${stage}, partition: of ${free} free weights, the ${chosen.length} largest are chosen (ringed).`;
    }
    if (phase === "freeze") {
      return `Stage ${stage}, freeze: the chosen go to 0 or the nearest ± 2^k. Frozen: ${count} of ${all}.${score}`;
    }
    const moved = Math.max(...weights.map((w, i) => Math.abs(w - previous.weights[i])));
    return (
      `Stage ${stage}, retrain: ${all - count} free weights move, by up to ${number(moved, 2)}; ` +
      `${count} frozen ones do not.${score}`
    );
  }

  /** The fixed parts and the dots; returns {chart, show(index)}. */
  function draw(width, run, list) {
    const most = Math.max(...list.flatMap((step) => step.weights.map(Math.abs)));
    const x = linear(0, run.weights.length - 1, LEFT + 8, width - 12);
    const y = linear(-1.1 * most, 1.1 * most, WEIGHTS.bottom, WEIGHTS.top);
    const chart = svg("svg", { width, height: HEIGHT, viewBox: `0 0 ${width} ${HEIGHT}`, role: "img" });
    const text = (at, down, content, anchor = "start") =>
      chart.append(svg("text", { x: at, y: down, "text-anchor": anchor }, content));

    const power = (level) => {
      const size = Math.abs(level);
      return `${level < 0 ? "−" : ""}${size === 0 || size >= 1 ? size : `1/${1 / size}`}`;
    };
    for (const level of inq(run.bits, run.n1).levels) {
      chart.append(svg("line", { x1: LEFT, x2: width - 4, y1: y(level), y2: y(level), class: "fb-level fb-faint" }));
      if (level === 0 || Math.abs(level) > 0.2) text(LEFT - 5, y(level) + 4, power(level), "end");
    }
    text(width / 2, WEIGHTS.bottom + 16, "weights, sorted once by their value", "middle");

    const rank = [];
    const sorted = run.weights.map((_, i) => i).sort((i, j) => run.weights[i] - run.weights[j]);
    sorted.forEach((i, place) => (rank[i] = place));
    const radius = width < 420 ? 2.2 : 3;
    const dots = run.weights.map(() => svg("circle", { r: radius }));
    chart.append(...dots);

    const scored = list.flatMap((step, i) => (step.accuracy === null ? [] : [[i, step.accuracy]]));
    const along = linear(0, list.length - 1, LEFT + 8, width - 12);
    const highest = 2 * Math.ceil(Math.max(...scored.map(([, value]) => value)) / 2);
    const score = linear(SCORE.low, highest, SCORE.bottom, SCORE.top);
    const shown = (value) => score(Math.max(value, SCORE.low));
    for (let value = SCORE.low; value <= highest; value += 2) {
      chart.append(svg("line", { x1: LEFT, x2: width - 4, y1: score(value), y2: score(value), class: "fb-grid" }));
      text(LEFT - 5, score(value) + 4, String(value), "end");
    }
    text(width / 2, HEIGHT - 4, `test accuracy after each step (%), from ${SCORE.low} up`, "middle");
    const path = svg("path", { class: "fb-stairs fb-score" });
    const now = svg("circle", { r: 4.5, class: "fb-now" });
    const labels = svg("g");
    chart.append(path, now, labels);

    function show(index) {
      const step = list[index];
      const chosen = new Set(step.chosen);
      dots.forEach((dot, i) => {
        const ringed = step.phase === "partition" && chosen.has(i);
        dot.setAttribute("class", `fb-dot${step.frozen[i] ? " fb-frozen" : ""}${ringed ? " fb-ringed" : ""}`);
        dot.style.transform = `translate(${x(rank[i])}px, ${y(step.weights[i])}px)`;
      });
      const past = scored.filter(([i]) => i <= index);
      path.setAttribute("d", past.map(([i, value], k) => `${k ? "L" : "M"}${along(i)} ${shown(value)}`).join(""));
      const label = ([i, value], k) => {
        const under = scored.slice(Math.max(k - 1, 0), k + 2).every(([, near]) => near >= value) && k > 0;
        const words = value < SCORE.low ? `↓ ${value}` : String(value);
        const anchor = i === 0 ? "start" : i > list.length - 2 ? "end" : "middle";
        return svg("text", { x: along(i), y: shown(value) + (under ? 16 : -7), "text-anchor": anchor }, words);
      };
      labels.replaceChildren(...past.map(label));
      const [last, value] = past.at(-1);
      now.setAttribute("cx", along(last));
      now.setAttribute("cy", shown(value));
      chart.setAttribute("aria-label", `The weights of the layer. ${words(step, list[index - 1])}`);
    }
    return { chart, show };
  }

  fewbits.widgets["inq-stepper"] = function (root) {
    root.setAttribute("aria-label", "INQ, step by step");
    const run = fewbits.data.inq_run;
    const list = fewbits.inqSchedule.steps(run);
    const position = slider("step", { min: 0, max: list.length - 1, value: 0 }, update);
    const move = (by) => () => {
      position.input.value = Number(position.input.value) + by;
      update();
    };
    const back = button("Back", move(-1));
    const next = button("Next step", move(1));
    const picture = el("div", { class: "fb-picture" });
    const said = output();
    const key = el(
      "div",
      { class: "fb-key", "aria-hidden": "true" },
      el("span", {}, el("span", { class: "fb-swatch fb-a" }), "free"),
      el("span", {}, el("span", { class: "fb-swatch fb-b" }), "frozen"),
    );
    root.append(el("div", { class: "fb-controls" }, back, next, position.node, key), picture, said);
    let show = () => {};

    function update() {
      const index = Number(position.input.value);
      const { phase, stage } = list[index];
      position.show(stage ? `${stage}: ${phase}` : phase);
      said.textContent = words(list[index], list[index - 1]);
      show(index);
    }

    onWidth(picture, (width) => {
      const drawn = draw(width, run, list);
      show = drawn.show;
      picture.replaceChildren(drawn.chart);
      update();
    });
    update();
  };
})();
