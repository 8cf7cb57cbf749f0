// Widget: drag the factor gamma / sigma of one channel, and see what a common scale leaves of the others.
(function () {
  "use strict";

  const { el, svg, slider, checkbox, output, number, linear, ticks, onWidth } = fewbits.ui;
  const { foldedWeights, round, right } = fewbits.folding;

  const LEFT = 40;
  const TOP = 22;
  const BOTTOM = 250;
  const HEIGHT = 290;
  const times = (power) => (power < 0 ? `1/${2 ** -power}` : String(2 ** power));

  function draw(width, data, channels, { rounded, steps, dead }, perChannel, summary) {
    const reach = 1.08 * Math.max(...channels.flat().map(Math.abs));
    const x = linear(-0.5, data.channels - 0.5, LEFT, width - 4);
    const y = linear(-reach, reach, BOTTOM, TOP);
    const half = (x(1) - x(0)) / 2;
    const size = { width, height: HEIGHT, viewBox: `0 0 ${width} ${HEIGHT}` };
    const chart = svg("svg", { ...size, role: "img", "aria-label": summary });
    const text = (at, down, words, more = {}) =>
      chart.append(svg("text", { x: at, y: down, "text-anchor": "middle", ...more }, words));

    for (const tick of ticks(-reach, reach, 5)) text(LEFT - 5, y(tick) + 4, number(tick), { "text-anchor": "end" });
    text(LEFT - 30, 12, "folded weight", { "text-anchor": "start" });
    channels.forEach((weights, i) => {
      // Levels of the grid: where they are closer than two pixels, they are left out.
      const shown = Math.abs(y(steps[i]) - y(0)) < 2 ? [] : Array.from({ length: 257 }, (_, k) => (k - 128) * steps[i]);
      const end = Math.max(...rounded[i].map(Math.abs), perChannel ? 0 : reach);
      for (const level of shown.filter((each) => Math.abs(each) <= end * (1 + 1e-9))) {
        const [x1, x2, y1] = [x(i) - half, x(i) + half, y(level)];
        chart.append(svg("line", { x1, x2, y1, y2: y1, class: "fb-grid fb-rung" }));
      }
      weights.forEach((w) => chart.append(svg("circle", { cx: x(i) - half / 2.6, cy: y(w), r: 2, class: "fb-real" })));
      const name = dead[i] ? "fb-dead" : i === data.dragged ? "fb-dragged" : "fb-kept";
      rounded[i].forEach((w) =>
        chart.append(svg("circle", { cx: x(i) + half / 2.6, cy: y(w), r: 2.6, class: name })),
      );
      text(x(i), BOTTOM + 14, dead[i] ? "✗" : "", { class: "fb-dead" });
      if (width > 420 || i % 2) text(x(i), BOTTOM + 30, String(i), i === data.dragged ? { class: "fb-dragged" } : {});
    });
    return chart;
  }

  fewbits.widgets.folding = function (root) {
    root.setAttribute("aria-label", "One wide channel and a common scale");
    const data = fewbits.data.folding_data;
    const powers = data.powers;
    const range = { min: powers[0], max: powers.at(-1), value: 0 };
    const power = slider(`γ/σ of channel ${data.dragged}, times`, range, update);
    const choices = [...data.bits].sort((one, other) => one - other);
    const bits = slider("bits", { min: 0, max: choices.length - 1, value: choices.indexOf(4) }, update);
    const perChannel = checkbox("one scale for each channel", update);
    const picture = el("div", { class: "fb-picture" });
    const said = output();
    const key = el(
      "div",
      { class: "fb-key", "aria-hidden": "true" },
      "a column for each channel: left its folded weights, right what rounding leaves; ✗: nothing but zeros",
    );
    root.append(el("div", { class: "fb-controls" }, power.node, bits.node, perChannel.node), key, picture, said);
    let width = 0;

    function update() {
      const chosen = Number(power.input.value);
      const count = choices[Number(bits.input.value)];
      const each = perChannel.input.checked;
      power.show(times(chosen));
      bits.show(String(count));
      const channels = foldedWeights(data, chosen);
      const result = round(channels, count, each);
      const zeros = result.dead.filter(Boolean).length;
      const common = `one scale for the layer, its step ${number(result.steps[0])}`;
      const scale = each ? "one scale for each channel" : common;
      const empty = `${zeros || "None"} of ${data.channels} channels ${zeros < 2 ? "holds" : "hold"} nothing but zeros`;
      const summary = `${count} bits, ${scale}. ${empty}. `;
      const share = (found) => `${((100 * found) / data.images).toFixed(1)} %`;
      said.replaceChildren(
        summary,
        "With this layer rounded, ",
        el("strong", {}, share(right(data, count, chosen, each))),
        ` of ${data.images.toLocaleString("en")} test digits are right; `,
        `without rounding ${share(data.float)}, whatever the factor.`,
      );
      const label = `Weights of every channel. ${summary}`;
      if (width) picture.replaceChildren(draw(width, data, channels, result, each, label));
    }

    onWidth(picture, (now) => {
      width = now;
      update();
    });
    update();
  };
})();
