// Widget: size of the array and clock of the accelerator for a whole network, and what follows from them.
(function () {
  "use strict";

  const { el, select, slider, output, number } = fewbits.ui;
  const { speed, shares } = fewbits.array;

  fewbits.widgets.accelerator = function (root) {
    root.setAttribute("aria-label", "Size of the array and clock");
    const { arrays, chip } = fewbits.data.accelerator_data;
    const options = arrays.map(({ shift_adders }, i) => [String(i), number(shift_adders)]);
    const size = select("shift-adders", options, update);
    const clock = slider("clock in MHz", { min: 50, max: 400, step: 10, value: 200 }, update);
    const bars = Object.keys(chip).map((name) => {
      const bar = el("div", { class: "fb-share fb-work" });
      const row = el("div", { class: "fb-row" }, el("div", {}, name), el("div", { "aria-hidden": "true" }, bar));
      return { name, bar, row };
    });
    const said = output();
    root.append(
      el("div", { class: "fb-controls" }, size.node, clock.node),
      el("div", { class: "fb-rows" }, ...bars.map(({ row }) => row)),
      said,
    );

    function update() {
      const array = arrays[Number(size.input.value)];
      const megahertz = Number(clock.input.value);
      clock.show(`${megahertz} MHz`);
      const { images, microseconds } = speed(array.cycles, megahertz);
      const used = shares(array.counts, chip);
      for (const { name, bar } of bars) bar.style.width = `${used[name]}%`;
      const parts = bars.map(({ name }) => `${name} ${used[name].toFixed(1)} %`);
      said.textContent =
        `${number(array.cycles)} cycles: ${number(images)} images a second, ${number(microseconds)} µs for one. ` +
        `Of the chip: ${parts.join(", ")}.`;
    }

    update();
  };
})();
