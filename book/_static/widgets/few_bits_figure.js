// Widget of the first page: one network, six numbers of bits for its weights, and what becomes of its answers.
(function () {
  "use strict";

  const { el, svg, select, slider, checkbox, output, number } = fewbits.ui;
  const { weightsOf, probabilities, answer, histogram } = fewbits.fewBits;
  const SIDE = 28;
  const BINS = 57;
  const percent = (x) => `${(100 * x).toFixed(1)} %`;
  const kilobytes = (bytes) => `${(bytes / 1000).toFixed(bytes < 99950 ? 1 : 0)} kB`;

  /** 28 × 28 values in [-1, 1] as squares: the sign chooses the class, the magnitude how dense it is. */
  function image(values, plus, minus) {
    const shades = new Map();
    values.forEach((value, i) => {
      const shade = Math.round(Math.abs(value) * 255) / 255;
      if (shade === 0) return;
      const key = `${value > 0 ? plus : minus} ${shade}`;
      shades.set(key, `${shades.get(key) ?? ""}M${i % SIDE} ${Math.floor(i / SIDE)}h1v1h-1z`);
    });
    const picture = svg("svg", { viewBox: `0 0 ${SIDE} ${SIDE}`, class: "fb-pixels", "aria-hidden": "true" });
    for (const [key, d] of shades) {
      const [name, shade] = key.split(" ");
      picture.append(svg("path", { d, class: name, "fill-opacity": shade }));
    }
    return picture;
  }

  /** How the neuron's weights lie: bars from -reach to reach, negative ones in the colour of their sign. */
  function weightBars(weights, reach) {
    const bins = histogram(weights, reach, BINS);
    const most = Math.max(...bins);
    const chart = svg("svg", { viewBox: `0 0 ${BINS} 40`, preserveAspectRatio: "none", "aria-hidden": "true" });
    bins.forEach((count, k) => {
      const height = (39 * count) / most;
      const middle = (BINS - 1) / 2;
      const name = k < middle ? "fb-minus" : k > middle ? "fb-plus" : "fb-ink";
      chart.append(svg("rect", { x: k + 0.1, y: 40 - height, width: 0.8, height, class: name }));
    });
    chart.append(svg("line", { x1: 0, x2: BINS, y1: 40, y2: 40, class: "fb-axis" }));
    return chart;
  }

  /** A name, and below it which colour is which sign. */
  function key(name) {
    const sign = (text, of) => el("span", {}, el("span", { class: `fb-swatch fb-of-${of}` }), text);
    return el("span", {}, name, el("span", { class: "fb-signs" }, sign("positive", "plus"), sign("negative", "minus")));
  }

  /** What the rounding to 2 bits or 1 does to the neuron: two grids, the one with 0, the other without. */
  function grid(state, weights) {
    if (state.trained || state.bits > 2) return "";
    if (state.bits === 1) {
      return "Each weight becomes plus or minus the mean magnitude of its neuron: another grid than at 2 bits, not a part of it.";
    }
    const zeros = weights.filter((w) => w === 0).length / weights.length;
    return `Each weight becomes 0 or, with its sign, the largest magnitude of its neuron; here ${percent(zeros)} become 0.`;
  }

  fewbits.widgets["few-bits"] = function (root) {
    root.setAttribute("aria-label", "One network with fewer and fewer bits");
    const data = fewbits.data.few_bits_data;
    const all = data.states.filter((state) => !state.trained).map((state) => state.bits);
    const stateOf = (bits, trained) =>
      data.states.find((state) => state.bits === bits && state.trained === trained) ??
      data.states.find((state) => state.bits === bits);
    const shareOf = (state) => percent(state.correct / data.images);

    /** The cells of accuracy, empty where no such network is stored. */
    function shares(trained) {
      const share = (state) => (state.trained === trained ? shareOf(state) : "");
      return all.map((bits) => el("td", {}, share(stateOf(bits, trained))));
    }

    // --- The table: a column for each number of bits, and the slider below it. ------------------------------------
    const place = slider("bits of each weight", { min: 0, max: all.length - 1, value: 4 }, update);
    const pictures = all.map(() => el("td", {}));
    const sizes = all.map(() => el("td", {}));
    const rows = [
      ["bits", all.map((bits) => el("th", { scope: "col" }, String(bits)))],
      [key(`${data.weights.length} weights of one neuron`), pictures],
      ["size of the network", sizes],
      ["digits right, weights rounded after training", shares(false)],
      ["digits right, trained with so few bits", shares(true)],
    ];
    const choose = (k) => () => {
      place.input.value = k;
      update();
    };
    for (const [, cells] of rows) cells.forEach((cell, k) => cell.addEventListener("click", choose(k)));
    const lines = rows.map(([name, cells]) => el("tr", {}, el("th", { scope: "row" }, name), ...cells));
    const table = el("table", { class: "fb-columns" }, el("tbody", {}, ...lines));

    // --- The digit, the weights, the answer. -----------------------------------------------------------------------
    const names = data.digits.map((_, k) => String(k));
    const digit = select("digit", names.map((name) => [name, name]), update);
    digit.input.value = "9";
    const trained = checkbox("trained with 2 or 1 bits", update);
    const why = el("span", { id: `${trained.input.id}-why`, class: "fb-why" }); // why the box cannot be ticked
    trained.input.setAttribute("aria-describedby", why.id);
    trained.node.append(why);
    const seen = el("div", { class: "fb-seen" });
    const lying = el("div", { class: "fb-lying" });
    const bars = data.digits.map((_, k) => {
      const bar = el("span", { class: "fb-chance" });
      return { bar, node: el("div", {}, el("span", { class: "fb-tall" }, bar), String(k)) };
    });
    const chances = el("div", { class: "fb-chances" }, ...bars.map(({ node }) => node));
    const panel = (name, ...content) =>
      el("div", { class: "fb-panel", "aria-hidden": "true" }, ...content, el("small", {}, name));
    const said = output();
    root.append(
      table,
      el("div", { class: "fb-under" }, place.node),
      el("div", { class: "fb-controls" }, digit.node, trained.node),
      el(
        "div",
        { class: "fb-panels" },
        panel("image", seen),
        panel("weights of the neuron", lying),
        panel("how sure it is of each digit", chances),
      ),
      said,
    );

    function update() {
      const k = Number(place.input.value);
      const label = Number(digit.input.value);
      const states = all.map((bits) => stateOf(bits, trained.input.checked));
      const state = states[k];
      states.forEach((each, i) => {
        const weights = weightsOf(each, data);
        const reach = Math.max(...weights.map(Math.abs));
        pictures[i].replaceChildren(image(weights.map((w) => w / reach), "fb-plus", "fb-minus"));
        sizes[i].textContent = kilobytes(each.bytes);
      });
      for (const [, cells] of rows) cells.forEach((cell, i) => cell.classList.toggle("fb-chosen", i === k));
      rows[3][1].forEach((cell, i) => cell.classList.toggle("fb-shown", !states[i].trained));
      rows[4][1].forEach((cell, i) => cell.classList.toggle("fb-shown", states[i].trained));
      place.show(`${state.bits} ${state.bits === 1 ? "bit" : "bits"}`);

      const weights = weightsOf(state, data);
      lying.replaceChildren(weightBars(weights, Math.max(...weights.map(Math.abs)) * (1 + 1 / BINS)));
      seen.replaceChildren(image(data.digits[label].map((pixel) => pixel / 255), "fb-ink", "fb-ink"));
      const sure = probabilities(state.logits[label]);
      const found = answer(state.logits[label]);
      bars.forEach(({ bar, node }, i) => {
        bar.style.height = `${100 * sure[i]}%`;
        node.className = i === label ? "fb-right" : i === found ? "fb-wrong" : "";
      });

      trained.input.disabled = state.bits > 2;
      why.textContent =
        state.bits === 32
          ? "This is the network trained with 32 bits."
          : state.bits > 2
            ? `No network was trained with ${state.bits} bits.`
            : "";
      const smaller = states[0].bytes / state.bytes;
      const how = state.bits === 32 ? "as trained" : state.trained ? "trained with them" : "rounded after training";
      said.replaceChildren(
        `${state.bits} ${state.bits === 1 ? "bit" : "bits"} for each weight, ${how}: `,
        el("strong", {}, kilobytes(state.bytes)),
        state.bits === 32 ? "" : `, ${number(smaller)} times smaller`,
        "; ",
        el("strong", {}, shareOf(state)),
        ` of ${data.images.toLocaleString("en")} test digits are right. The network takes this ${label} for a `,
        el("strong", {}, String(found)),
        ` (${Math.round(100 * sure[found])} % sure)${found === label ? "." : ", which is wrong."} `,
        grid(state, weights),
      );
    }

    update();
  };
})();
