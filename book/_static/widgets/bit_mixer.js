// Widget: bits for each layer of the network of 159,236 parameters, what they cost in three currencies, and accuracy.
(function () {
  "use strict";

  const { el, button, select, slider, output, number } = fewbits.ui;
  const { prices, total, heaviest } = fewbits.latency;
  const { accuracy } = fewbits.mixer;

  const PROCESSORS = {
    default: ["32 lanes, 32 columns", {}],
    columns: ["8 lanes, 128 columns", { lanes: 8, columns: 128 }],
    lanes: ["128 lanes, 8 columns", { lanes: 128, columns: 8 }],
    slow: ["memory of 8 bits a cycle", { load_bits: 8, store_bits: 8 }],
    slower: ["memory of 1 bit a cycle", { load_bits: 1, store_bits: 1 }],
  };
  const CURRENCIES = [
    ["size", "size", (bits) => `${number(bits / 8000, 4)} kB`],
    ["work", "MACs × bits", (bits) => `${number(bits / 1e6, 4)} million`],
    ["cycles", "cycles", (cycles) => `${number(cycles)}`],
  ];

  fewbits.widgets["bit-mixer"] = function (root) {
    root.setAttribute("aria-label", "Bits for each layer");
    const layers = fewbits.data.network_159k;
    const data = fewbits.data.mixer_data;
    const options = Object.entries(PROCESSORS).map(([key, [text]]) => [key, text]);
    const processor = select("processor", options, update);
    const all = slider("all layers", { min: 2, max: 8, value: 8 }, () => {
      set(layers.map(() => Number(all.input.value)));
    });
    const half = (key) => () => set(heaviest(layers, key).map((chosen) => (chosen ? 4 : 8)));
    const presets = el(
      "div",
      { class: "fb-controls" },
      button("8 bits", () => set(layers.map(() => 8))),
      button("4 bits for half the weights", half("size")),
      button("4 bits for half the MACs", half("work")),
    );
    const heads = CURRENCIES.map(([key, name]) => el("span", {}, el("span", { class: `fb-swatch fb-${key}` }), name));
    const sliders = layers.map((layer) => slider(layer.name, { min: 2, max: 8, value: 8 }, update));
    const bars = layers.map(() => CURRENCIES.map(([key]) => el("div", { class: `fb-share fb-${key}` })));
    const lines = sliders.map(({ node }, i) => {
      node.append(el("div", { class: "fb-shares", "aria-hidden": "true" }, ...bars[i]));
      return node;
    });
    const said = output();
    const scale = el("span", {});
    const key = el("div", { class: "fb-key", "aria-hidden": "true" }, "cost of each layer: ", ...heads, scale);
    root.append(
      el("div", { class: "fb-controls" }, processor.node, all.node),
      presets,
      el("div", { class: "fb-head" }, said, key),
      el("div", { class: "fb-layers" }, ...lines),
    );

    function set(bits) {
      sliders.forEach(({ input }, i) => (input.value = bits[i]));
      update();
    }

    function update() {
      const chosen = PROCESSORS[processor.input.value][1];
      const bits = sliders.map(({ input }) => Number(input.value));
      const now = prices(layers, bits, chosen);
      const eight = prices(layers, layers.map(() => 8), chosen);
      const [sum, whole] = [total(now), total(eight)];
      // One scale for all bars: the share of the whole network's cost at 8 bits.
      const share = (price, currency) => price[currency] / whole[currency];
      const most = Math.max(...eight.flatMap((price) => CURRENCIES.map(([each]) => share(price, each))));
      sliders.forEach(({ show }, i) => {
        show(String(bits[i]));
        CURRENCIES.forEach(([each], k) => (bars[i][k].style.width = `${(100 * share(now[i], each)) / most}%`));
      });
      scale.textContent = `full width: ${number(100 * most, 2)} % of the network’s cost at 8 bits`;
      all.show(new Set(bits).size === 1 ? String(bits[0]) : "mixed");
      if (new Set(bits).size === 1) all.input.value = bits[0];
      const parts = CURRENCIES.map(([key, name, say]) => {
        const share = `${number((100 * sum[key]) / whole[key])} %`;
        return el("span", { class: "fb-total" }, `${name} `, el("strong", {}, say(sum[key])), ` (${share})`);
      });
      const found = accuracy(data, bits);
      const percent = `${found.measured ? "" : "about "}${(100 * found.share).toFixed(found.measured ? 1 : 0)} %`;
      const off = `off by ${number(data.off, 2)} points on average of ${data.drawn} random choices of 3 to 8 bits`;
      const how = found.measured ? `measured on ${data.images} test images` : `estimated from single layers, ${off}`;
      const exact = `in float ${((100 * data.float) / data.images).toFixed(1)} %`;
      const right = el("strong", {}, percent);
      const score = el("span", { class: "fb-total" }, "accuracy ", right, ` (${how}; ${exact})`);
      said.replaceChildren(score, " ", ...parts.flatMap((part) => [part, " "]));
    }

    update();
  };
})();
