// Widget: one processing element of the circuit. Set an activation and the five bits of a weight; add; overflow.
(function () {
  "use strict";

  const { el, button, slider, radios, output, number } = fewbits.ui;
  const { shiftOf, shifted, product, add, wrap, encode, decode, toBits } = fewbits.shiftAdder;

  const WIDTH = 32;
  const FRACTION = 16;
  const FIELD = [16, 8, 4, 2, 1];
  const START = 0b10110; // -1/4

  /** For people: five decimals tell any two numbers of Q16.16 apart. */
  const real = (value) => String(Number(decode(value).toFixed(5))).replace("-", "−");

  /** 32 cells; `mark(i)` names a class for the bit i places from the left. */
  function cells(value, mark = () => "") {
    const bits = [...toBits(value, WIDTH)];
    const spans = bits.map((bit, i) => {
      const space = i === FRACTION ? " fb-point" : i % 4 === 0 && i ? " fb-gap" : "";
      return el("span", { class: `fb-bit ${mark(i)}${space}` }, bit);
    });
    return el("div", { class: "fb-bits", "aria-hidden": "true" }, ...spans);
  }

  const row = (label, value, note = "", mark) =>
    el("div", { class: "fb-row" }, el("div", {}, el("strong", {}, label), ` ${note}`), cells(value, mark));

  const places = (n) => `${n} ${n === 1 ? "place" : "places"}`;

  fewbits.widgets.adder = function (root) {
    root.setAttribute("aria-label", "Shift-adder");
    const id = "fb-activation";
    const activation = el("input", { id, type: "number", step: "any", value: "-5.8", oninput: update });
    const entry = el("div", { class: "fb-control" }, el("label", { for: id }, "activation"), activation);
    const boxes = FIELD.map((weight, i) => {
      const name = i ? `e, bit of ${weight}` : "sign bit";
      const checked = START & weight ? "" : null;
      return el("input", { type: "checkbox", "aria-label": name, checked, onchange: update });
    });
    const field = el(
      "fieldset",
      { class: "fb-control fb-field" },
      el("legend", {}, "weight: sign, then e"),
      ...boxes.map((box) => el("label", {}, box, el("span", { class: "fb-box", "aria-hidden": "true" }))),
    );
    const n1 = slider("n1 of the layer", { min: -3, max: 3, value: 0 }, update);
    const overflow = radios("a sum that does not fit", [["wrap", "wraps"], ["saturate", "saturates"]], update);
    const step = button("Add to the sum", commit);
    const clear = button("Clear the sum", () => {
      total = 0n;
      update();
    });
    const rows = el("div", { class: "fb-rows" });
    const said = output();
    root.append(
      el("div", { class: "fb-controls" }, entry, field, n1.node, overflow.node),
      rows,
      el("div", { class: "fb-controls" }, step, clear),
      said,
    );
    let total = 0n;

    const code = () => FIELD.reduce((sum, weight, i) => sum + (boxes[i].checked ? weight : 0), 0);

    /** Everything that the circuit makes of the controls, or null while the activation is no number. */
    function compute() {
      if (activation.value === "" || !Number.isFinite(Number(activation.value))) return null;
      const x = encode(Number(activation.value), FRACTION, WIDTH);
      const options = { overflow: overflow.value(), width: WIDTH };
      const moved = shifted(x, code(), Number(n1.input.value));
      const term = product(x, code(), Number(n1.input.value), options);
      return { x, moved, term, ...add(total, term, options.overflow, WIDTH) };
    }

    function commit() {
      const result = compute();
      if (!result) return;
      total = result.sum;
      update();
      said.textContent =
        `Added ${real(result.term)}. The sum is ${real(total)}.` +
        (result.overflow ? ` Overflow: ${real(result.exact)} does not fit, so it ${overflow.value()}s.` : "");
    }

    function update() {
      boxes.forEach((box) => (box.nextSibling.textContent = box.checked ? "1" : "0"));
      n1.show(number(Number(n1.input.value)));
      const result = compute();
      step.disabled = !result;
      if (!result) {
        said.textContent = "The activation must be a number.";
        return;
      }
      const meaning = shiftOf(code(), Number(n1.input.value));
      const { x, moved, term, exact } = result;
      const list = [row("activation", x, `= ${real(x)}, Q16.16`)];
      if (meaning) {
        const { negative, shift } = meaning;
        const weight = `${negative ? "−" : "+"}${shift > 0 ? `1/${2 ** shift}` : 2 ** -shift}`;
        const lost = shift > 0 ? toBits(x, WIDTH).slice(-shift) : "";
        const note =
          shift > 0 ? `${places(shift)} to the right` : shift < 0 ? `${places(-shift)} to the left` : "by no place";
        const fresh = (i) => ((shift > 0 ? i < shift : i >= WIDTH + shift) ? "fb-new" : "");
        list.push(row("shifted", moved, lost ? `${note}; lost: ${lost}` : note, fresh));
        const wide = wrap(term, WIDTH) === term ? "" : ", too large for 32 bits";
        list.push(row("product", term, `= ${real(term)}${wide}`));
        said.textContent = `Weight ${weight}: shift ${note}${negative ? ", then negate" : ""}. Product ${real(term)}; `;
      } else {
        list.push(row("product", 0n, "e = 0: the weight is 0"));
        said.textContent = "Weight 0: no shift, product 0; ";
      }
      list.push(row("sum", total, `= ${real(total)}`));
      list.push(row("next sum", result.sum, `= ${real(result.sum)}`, () => (result.overflow ? "fb-new" : "")));
      said.textContent += result.overflow
        ? `overflow: the sum would be ${real(exact)} and ${overflow.value()}s to ${real(result.sum)}.`
        : `the sum would be ${real(result.sum)}.`;
      rows.replaceChildren(...list);
    }

    update();
  };
})();
