// The shift-adder of yokota2024, bit for bit as `fewbits.fpga.shift_adder`. Integers are BigInt: a sum on its way to
// the overflow has more than 32 bits.
(function () {
  "use strict";

  /** {negative, shift} of a weight's field: places to the right, or to the left if below 0. null: the weight is 0. */
  function shiftOf(code, n1 = 0, bits = 5) {
    const e = code & ((1 << (bits - 1)) - 1);
    if (e === 0) return null;
    const n2 = n1 + 1 - 2 ** (bits - 2);
    return { negative: code >> (bits - 1) === 1, shift: -(n2 + e - 1) };
  }

  const wrap = (value, width = 32) => BigInt.asIntN(width, value);

  function saturate(value, width = 32) {
    const half = 1n << BigInt(width - 1);
    if (value < -half) return -half;
    return value > half - 1n ? half - 1n : value;
  }

  const fit = (value, overflow, width = 32) => (overflow === "wrap" ? wrap : saturate)(value, width);

  /** x moved by the weight's shift, before the sign: BigInt's >> rounds down, as an arithmetic shift does. */
  function shifted(x, code, n1 = 0, bits = 5) {
    const field = shiftOf(code, n1, bits);
    if (field === null) return 0n;
    return field.shift >= 0 ? x >> BigInt(field.shift) : x << BigInt(-field.shift);
  }

  /** One product as it goes into the adder: "wrap" keeps the low bits, "saturate" all of them. */
  function product(x, code, n1 = 0, { bits = 5, overflow = "wrap", width = 32 } = {}) {
    const moved = shifted(x, code, n1, bits);
    const term = shiftOf(code, n1, bits)?.negative ? -moved : moved;
    return overflow === "wrap" ? wrap(term, width) : term;
  }

  /** The sum after one more product: {exact, sum, overflow}, exact being what does not fit if `overflow` is true. */
  function add(total, term, overflow = "wrap", width = 32) {
    const exact = total + term;
    const sum = fit(exact, overflow, width);
    return { exact, sum, overflow: sum !== exact };
  }

  /** A real number as a fixed-point integer: the nearest, a tie up; beyond the range the nearest end. */
  function encode(real, fraction = 16, width = 32) {
    const scaled = real * 2 ** fraction;
    const whole = Math.floor(scaled);
    const half = 2 ** (width - 1); // limited before BigInt, which refuses infinities
    return saturate(BigInt(Math.min(Math.max(whole + (scaled - whole >= 0.5 ? 1 : 0), -half), half)), width);
  }

  /** The real number that a fixed-point integer of up to 53 bits stands for, exact. */
  const decode = (value, fraction = 16) => Number(value) / 2 ** fraction;

  /** Two's complement, the sign first: a string of `width` characters. */
  const toBits = (value, width = 32) => BigInt.asUintN(width, value).toString(2).padStart(width, "0");

  globalThis.fewbits ??= {};
  fewbits.shiftAdder = { shiftOf, shifted, product, add, fit, wrap, saturate, encode, decode, toBits };
})();
