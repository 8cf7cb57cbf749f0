// Widget: choose a price and how many points may be lost, and see which methods are left.
(function () {
  "use strict";

  const { el, svg, select, slider, output, number, linear, ticks, onWidth } = fewbits.ui;
  const { rows, cheapest } = fewbits.map;

  const ROW = 19;
  const TOP = 44;
  const NAMES = 196; // pixels of the methods' names; fewer on a phone
  const PRICE = 58;
  const CLASSES = { holds: "fb-holds", "does not hold": "fb-fails", undecided: "fb-open" };
  const SIGNS = { holds: "●", "does not hold": "−", undecided: "?" };
  const SAID = { holds: "at most so much", "does not hold": "more", undecided: "undecided" };
  const unitOf = (count) => (count === 1 ? "point" : "points");
  const points = (x) => `${x.toFixed(2).replace("-", "−")}`;

  /** A row a method: its name, its price, and the interval of the points that it loses. */
  function draw(width, list, limit, words, summary) {
    const narrow = width < 480;
    const [names, size] = narrow ? [132, 10] : [NAMES, 12];
    const ends = list.flatMap(({ mean, half }) => [mean - half, mean + half]);
    const [low, high] = [Math.min(0, ...ends), Math.max(limit, ...ends)];
    const x = linear(low, high, names + PRICE + 8, width - 10);
    const height = TOP + ROW * list.length + 34;
    const chart = svg("svg", { width, height, viewBox: `0 0 ${width} ${height}`, role: "img", "aria-label": summary });
    const text = (at, down, said, anchor, name = "", style = null) =>
      chart.append(svg("text", { x: at, y: down, "text-anchor": anchor, class: name, style }, said));
    const line = (x1, y1, x2, y2, name) => chart.append(svg("line", { x1, y1, x2, y2, class: name }));

    for (const tick of ticks(low, high, narrow ? 3 : 6)) {
      line(x(tick), 26, x(tick), height - 34, "fb-grid");
      text(x(tick), height - 20, number(tick), "middle");
    }
    text((x(low) + x(high)) / 2, height - 4, narrow ? "points lost" : "points lost against float32", "middle");
    line(x(limit), 16, x(limit), height - 34, "fb-border");
    text(Math.min(Math.max(x(limit), names + PRICE + 50), width - 54), 11, `at most ${number(limit)}`, "middle");
    text(names + PRICE - 6, 32, narrow ? words.split(" ")[0] : words, "end", "", `font-size: ${size}px`);
    list.forEach((row, k) => {
      const y = TOP + ROW * k;
      const name = `${CLASSES[row.word]} fb-last`;
      text(2, y + 4, `${SIGNS[row.word]} ${row.name}`, "start", `fb-words ${CLASSES[row.word]}`, `font-size: ${size}px`);
      text(names + PRICE - 6, y + 4, number(row.price), "end");
      line(x(row.mean - row.half), y, x(row.mean + row.half), y, `fb-range ${name}`);
      chart.append(svg("circle", { cx: x(row.mean), cy: y, r: 4, class: `fb-mean ${name}` }));
    });
    return chart;
  }

  fewbits.widgets.map = function (root) {
    root.setAttribute("aria-label", "The map of methods");
    const { t, maps } = fewbits.data.map_data;
    const network = select("network", maps.map(({ title }, k) => [String(k), title]), prices);
    const price = select("price", maps[0].prices, update);
    const activations = select(
      "activations",
      [["all", "any"], ["eight", "8 bits"], ["own", "as few as the method has"]],
      update,
    );
    const limit = slider("points to lose", { min: 0, max: 5, step: 0.1, value: 1 }, update);
    const controls = [network.node, price.node, activations.node, limit.node].slice(maps.length > 1 ? 0 : 1);
    const picture = el("div", { class: "fb-picture" });
    const words = output();
    root.append(el("div", { class: "fb-controls" }, ...controls), picture, words);
    let width = 0;

    /** Another network may have other prices. */
    function prices() {
      const before = price.input.value;
      const offered = maps[Number(network.input.value)].prices;
      price.input.replaceChildren(...offered.map(([value, text]) => el("option", { value }, text)));
      price.input.value = offered.some(([value]) => value === before) ? before : offered[0][0];
      update();
    }

    function update() {
      const map = maps[Number(network.input.value)];
      const most = Number(limit.input.value);
      const unit = map.prices.find(([key]) => key === price.input.value)[1];
      const list = rows(map, { price: price.input.value, activations: activations.input.value, limit: most }, t);
      const sure = cheapest(list);
      limit.show(`${number(most)} at most`);
      const counts = Object.entries(SAID)
        .map(([word, said]) => [list.filter((row) => row.word === word).length, SIGNS[word], said])
        .filter(([count]) => count)
        .map(([count, sign, said]) => `${sign} ${said}: ${count}`);
      const answer = sure.length
        ? `${sure.map(({ name, mean, half }) => `${name} (${points(mean)} ± ${points(half)} points)`).join(" and ")}` +
          `, ${number(sure[0].price)} ${unit}`
        : "none";
      const summary = `${counts.join("; ")}. Cheapest of those that lose at most ${number(most)} ${unitOf(most)}: `;
      words.replaceChildren(summary, el("strong", {}, answer), ".");
      if (width) picture.replaceChildren(draw(width, list, most, unit, `${summary}${answer}.`));
    }

    onWidth(picture, (now) => {
      width = now;
      update();
    });
    price.input.value = "luts";
    prices();
  };
})();
