// What the widgets share: native controls with labels, and drawing in SVG.
(function () {
  "use strict";

  const SVG = "http://www.w3.org/2000/svg";
  let count = 0;

  function fill(element, attributes, children) {
    for (const [name, value] of Object.entries(attributes)) {
      if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
      else if (value !== null && value !== false) element.setAttribute(name, value);
    }
    element.append(...children);
    return element;
  }

  /** An HTML element; attributes "onclick" and the like are listeners. */
  const el = (tag, attributes = {}, ...children) => fill(document.createElement(tag), attributes, children);

  /** An SVG element. */
  const svg = (tag, attributes = {}, ...children) => fill(document.createElementNS(SVG, tag), attributes, children);

  const button = (text, onclick) => el("button", { type: "button", class: "fb-button", onclick }, text);

  /** A labelled select: {node, input}. `options` is a list of [value, text]. */
  function select(label, options, onchange) {
    const id = `fb-${(count += 1)}`;
    const choices = options.map(([value, text]) => el("option", { value }, text));
    const input = el("select", { id, onchange }, ...choices);
    return { node: el("div", { class: "fb-control" }, el("label", { for: id }, label), input), input };
  }

  /** A labelled slider: {node, input, label, show}. `show(text)` says its value beside it and to screen readers. */
  function slider(label, { min, max, step = 1, value }, oninput) {
    const id = `fb-${(count += 1)}`;
    const input = el("input", { id, type: "range", min, max, step, value, oninput });
    const name = el("label", { for: id }, label);
    const reading = el("span", { class: "fb-reading", "aria-hidden": "true" });
    const show = (text) => {
      reading.textContent = text;
      input.setAttribute("aria-valuetext", text);
    };
    show(String(value));
    return { node: el("div", { class: "fb-control" }, name, input, reading), input, label: name, show };
  }

  /** A labelled box to tick: {node, input}. */
  function checkbox(label, onchange) {
    const id = `fb-${(count += 1)}`;
    const input = el("input", { id, type: "checkbox", onchange });
    return { node: el("div", { class: "fb-control" }, input, el("label", { for: id }, label)), input };
  }

  /** Radio buttons in a fieldset: {node, value()}. */
  function radios(legend, options, onchange) {
    const name = `fb-${(count += 1)}`;
    const labels = options.map(([value, text], i) => {
      const input = el("input", { type: "radio", name, value, onchange, checked: i === 0 ? "" : null });
      return el("label", {}, input, ` ${text}`);
    });
    const node = el("fieldset", { class: "fb-control fb-radios" }, el("legend", {}, legend), ...labels);
    return { node, value: () => node.querySelector(":checked").value };
  }

  /** Where the result stands in words; screen readers read it out when it changes. */
  const output = () => el("output", { class: "fb-output", "aria-live": "polite" });

  /** A number for people: three significant digits, a real minus sign. */
  function number(x, digits = 3) {
    if (x === 0) return "0";
    const large = Math.abs(x) >= 10 ** digits;
    const text = large ? Math.round(x).toLocaleString("en") : String(Number(x.toPrecision(digits)));
    return text.replace("-", "−");
  }

  /** Maps [a, b] to [c, d]. */
  const linear = (a, b, c, d) => (x) => c + ((x - a) / (b - a)) * (d - c);

  /** Round numbers that divide low … high into about `count` parts. */
  function ticks(low, high, count) {
    const raw = (high - low) / count;
    const power = 10 ** Math.floor(Math.log10(raw));
    const step = power * [1, 2, 5, 10].find((nice) => nice * power >= raw);
    const list = [];
    for (let k = Math.ceil(low / step); k * step <= high; k += 1) list.push(k * step);
    return list;
  }

  /** Calls draw(width) now and whenever the width of `node` changes. */
  function onWidth(node, draw) {
    let width = 0;
    new ResizeObserver(([entry]) => {
      const now = Math.floor(entry.contentRect.width);
      if (now && now !== width) draw((width = now));
    }).observe(node);
  }

  globalThis.fewbits ??= {};
  fewbits.ui = { el, svg, button, select, slider, checkbox, radios, output, number, linear, ticks, onWidth };
  fewbits.widgets ??= {};
})();
