// Facts that need no Python: worked by hand, or true of any input.
import assert from "node:assert/strict";
import test from "node:test";

import "../../book/_static/widgets/quantizers.js";
import "../../book/_static/widgets/few_bits.js";
import "../../book/_static/widgets/seeds.js";
import "../../book/_static/widgets/latency.js";
import "../../book/_static/widgets/shift_adder.js";
import "../../book/_static/widgets/claims_filter.js";

const { fewBits, seeds, quantizers: q, shiftAdder, latency, claims } = globalThis.fewbits;
const EIGHT = [0.9, -0.5, 0.3, -0.1, 0.2, -0.7, 0.05, 0.62];

test("ties go to the even integer", () => {
  assert.deepEqual([-2.5, -1.5, -0.5, 0.5, 1.5, 2.5, 0.49999999999999994].map(q.roundHalfEven), [-2, -2, 0, 0, 2, 2, 0]);
});

test("frexp takes a number apart and back", () => {
  for (const x of [1, 0.75, 3, 1e-300, 5e-324, Number.MAX_VALUE, 2 ** -1022, 1 - 2 ** -53, 1 + 2 ** -52]) {
    const [mantissa, exponent] = q.frexp(x);
    assert.ok(mantissa >= 0.5 && mantissa < 1);
    assert.equal(mantissa * 2 * 2 ** (exponent - 1), x);
  }
});

test("the eight weights of the chapters, by hand", () => {
  const three = q.uniform(3, 0.9);
  assert.deepEqual(EIGHT.map((w) => Math.round(three.apply(w) / 0.3)), [3, -2, 1, 0, 1, -2, 0, 2]);
  assert.deepEqual(EIGHT.map(q.inq(4, 0).apply), [1, -0.5, 0.25, -0.125, 0.25, -0.5, 0, 0.5]);
});

test("a level is its own image, and every image is a level", () => {
  const all = [q.uniform(4, 1), q.binary(EIGHT), q.ternary(EIGHT), q.inq(5, 0), q.logarithmic(4, 1)];
  for (const quantizer of all) {
    assert.deepEqual(quantizer.levels.map(quantizer.apply), quantizer.levels);
    assert.deepEqual([...quantizer.levels].sort((a, b) => a - b), quantizer.levels);
    for (const w of EIGHT) assert.ok(quantizer.levels.includes(quantizer.apply(w) + 0));
  }
});

test("nothing lost and everything lost", () => {
  const kept = q.measure([1, -1], q.binary([1, -1]));
  assert.deepEqual(kept, { meanSquare: 0, decibels: Infinity, used: 2, zeros: 0 });
  assert.equal(q.measure([1, -1], q.ternary([1, -1], 2)).zeros, 1);
});

test("probabilities of logits that an exponential cannot hold, and bins with both ends", () => {
  assert.deepEqual(fewBits.probabilities([1000, 1000]), [0.5, 0.5]);
  assert.equal(fewBits.answer([1, 3, 3]), 1);
  assert.deepEqual(fewBits.histogram([-1, -0.4, 0, 0.4, 1], 1, 4), [1, 1, 2, 1]);
});

test("every draw has all seeds, the first in their order, and draws differ", () => {
  assert.deepEqual(seeds.order(4, 0), [0, 1, 2, 3]);
  const draws = Array.from({ length: 20 }, (_, turn) => seeds.order(10, turn));
  for (const draw of draws) assert.deepEqual([...draw].sort((a, b) => a - b), draws[0]);
  assert.equal(new Set(draws.map(String)).size, 20);
  assert.ok(new Set(draws.map(([first]) => first)).size >= 6);
});

test("a border at the end of an interval is inside", () => {
  assert.equal(seeds.word({ mean: 1, half: 1 }, 0), "holds");
  assert.equal(seeds.word({ mean: 0, half: 1 }, 0), "undecided");
  assert.equal(seeds.word({ mean: -2, half: 1 }, 0), "does not hold");
});

test("a right shift rounds down, and the sign comes last", () => {
  const half = 0b00111; // +2^-1 at n1 = 0
  assert.equal(shiftAdder.product(-1n, half), -1n);
  assert.equal(shiftAdder.product(1n, half), 0n);
  assert.equal(shiftAdder.product(-1n, half + 16), 1n);
});

test("the 33rd bit", () => {
  const least = -(2n ** 31n);
  const minusOne = 0b11000;
  assert.equal(shiftAdder.product(least, minusOne, 0, { overflow: "wrap" }), least);
  assert.equal(shiftAdder.product(least, minusOne, 0, { overflow: "saturate" }), 2n ** 31n);
  assert.deepEqual(shiftAdder.add(0n, 2n ** 31n, "saturate"), { exact: 2n ** 31n, sum: 2n ** 31n - 1n, overflow: true });
});

test("numbers out of range are limited, infinities too", () => {
  assert.equal(shiftAdder.encode(1e300), 2n ** 31n - 1n);
  assert.equal(shiftAdder.encode(-Infinity), -(2n ** 31n));
});

test("half of the weights and half of the MACs lie in different layers", () => {
  const layers = [
    { filters: 1, weights_per_filter: 1, output_positions: 100 },
    { filters: 1, weights_per_filter: 50, output_positions: 1 },
  ];
  assert.deepEqual(latency.heaviest(layers, "work"), [true, false]);
  assert.deepEqual(latency.heaviest(layers, "size"), [false, true]);
});

test("claims are filtered by word, chapter, kind, scale and terms", () => {
  const list = [
    { id: "inq/a", text: "MobileNet-V1 in float", word: "reproduced", kind: "paper", scale: "full" },
    { id: "inq/b", text: "MobileOne in float", word: "cited", kind: "paper", scale: "" },
    { id: "vector/file", text: "the file in bits", word: "reproduced", kind: "own", scale: "notebook" },
  ];
  const all = { words: new Set(["reproduced", "cited"]), chapter: "", kind: "", scale: "", terms: "" };
  const ids = (wanted) => list.filter((each) => claims.matches(each, { ...all, ...wanted })).map(({ id }) => id);
  assert.deepEqual(ids({}), ["inq/a", "inq/b", "vector/file"]);
  assert.deepEqual(ids({ words: new Set(["cited"]) }), ["inq/b"]);
  assert.deepEqual(ids({ words: new Set() }), []);
  assert.deepEqual(ids({ chapter: "inq" }), ["inq/a", "inq/b"]);
  assert.deepEqual(ids({ kind: "own" }), ["vector/file"]);
  assert.deepEqual(ids({ scale: "full" }), ["inq/a"]);
  assert.deepEqual(ids({ terms: "  FLOAT mobile " }), ["inq/a", "inq/b"]);
  assert.deepEqual(ids({ terms: "vector/" }), ["vector/file"]);
  assert.deepEqual(ids({ terms: "float", chapter: "vector" }), []);
  assert.deepEqual(claims.counts(list, (each) => each.word), [["reproduced", 2], ["cited", 1]]);
});
