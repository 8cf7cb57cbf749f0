// The pure arithmetic of the widgets against `fewbits`: tests/test_widgets.py writes the vectors and names their file.
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import test from "node:test";

import "../../book/_static/widgets/quantizers.js";
import "../../book/_static/widgets/few_bits.js";
import "../../book/_static/widgets/few_bits_data.js";
import "../../book/_static/widgets/folding.js";
import "../../book/_static/widgets/folding_data.js";
import "../../book/_static/widgets/mixer_accuracy.js";
import "../../book/_static/widgets/mixer_data.js";
import "../../book/_static/widgets/seeds.js";
import "../../book/_static/widgets/seeds_data.js";
import "../../book/_static/widgets/map.js";
import "../../book/_static/widgets/map_data.js";
import "../../book/_static/widgets/inq_run.js";
import "../../book/_static/widgets/inq_schedule.js";
import "../../book/_static/widgets/latency.js";
import "../../book/_static/widgets/network_159k.js";
import "../../book/_static/widgets/accelerator_data.js";
import "../../book/_static/widgets/array.js";
import "../../book/_static/widgets/shift_adder.js";

const vectors = JSON.parse(readFileSync(process.env.FEWBITS_VECTORS, "utf-8"));
const { array, fewBits, folding, map, mixer, seeds, quantizers: q, shiftAdder, latency, inqSchedule, data } = globalThis.fewbits;

/** Equal to 1e-12 of the larger one. */
function close(found, expected, words) {
  const limit = 1e-12 * Math.max(Math.abs(found), Math.abs(expected));
  assert.ok(Math.abs(found - expected) <= limit, `${words}: ${found}, expected ${expected}`);
}

const MAKE = {
  uniform: (x, { bits, clip }) => q.uniform(bits, clip),
  binary: (x) => q.binary(x),
  ternary: (x, { ratio }) => q.ternary(x, ratio),
  inq: (x, { bits, n1 }) => q.inq(bits, n1),
  logarithmic: (x, { bits, fsr }) => q.logarithmic(bits, fsr),
};

for (const [method, cases] of Object.entries(vectors.quantizers)) {
  test(`${method}: ${cases.length} tensors`, () => {
    assert.ok(cases.length > 0);
    for (const { x, settings, exact, values, levels, mean_square } of cases) {
      const quantizer = MAKE[method](x, settings);
      const words = `${method} ${JSON.stringify(settings)}`;
      values.forEach((value, i) => {
        const found = quantizer.apply(x[i]);
        if (exact) assert.equal(found + 0, value + 0, `${words} of ${x[i]}`); // + 0: one zero
        else close(found, value, `${words} of ${x[i]}`);
      });
      if (exact) assert.deepEqual(quantizer.levels, levels, `levels of ${words}`);
      close(q.measure(x, quantizer).meanSquare, mean_square, `error of ${words}`);
    }
  });
}

test("the first page: weights of the neuron, probabilities, answers", () => {
  data.few_bits_data.states.forEach((state, i) => {
    const { weights, chances, answers } = vectors.few_bits[i];
    assert.deepEqual(fewBits.weightsOf(state, data.few_bits_data).map((w) => w + 0), weights.map((w) => w + 0));
    state.logits.forEach((logits, k) => {
      fewBits.probabilities(logits).forEach((chance, digit) => close(chance, chances[k][digit], `digit ${k}`));
      assert.equal(fewBits.answer(logits), answers[k]);
    });
  });
});

test("accuracy of given bits, measured or estimated", () => {
  for (const { bits, measured, share } of vectors.mixer) {
    const found = mixer.accuracy(data.mixer_data, bits);
    assert.equal(found.measured, measured);
    close(found.share, share, bits.join(" "));
  }
});

test("folded channels on one grid and on their own", () => {
  for (const { bits, power, per_channel, weights, dead } of vectors.folding) {
    const channels = folding.foldedWeights(data.folding_data, power);
    const found = folding.round(channels, bits, per_channel);
    assert.deepEqual(found.dead, dead);
    found.rounded.flat().forEach((w, i) => close(w, weights.flat()[i], `${bits} bits, 2^${power}, weight ${i}`));
  }
});

test("the map of methods", () => {
  for (const { map: number, wanted, rows, cheapest } of vectors.map) {
    const found = map.rows(data.map_data.maps[number], wanted, data.map_data.t);
    const said = JSON.stringify(wanted);
    assert.deepEqual(found.map(({ name, price, word }) => [name, price, word]), rows.map(({ name, price, word }) => [name, price, word]), said);
    rows.forEach(({ mean, half, name }, k) => {
      assert.ok(Math.abs(found[k].mean - mean) < 1e-9, `${name} ${said}`);
      close(found[k].half, half, `${name} ${said}`);
    });
    assert.deepEqual(map.cheapest(found).map(({ name }) => name), cheapest, said);
  }
});

test("intervals of seeds and their words", () => {
  for (const { values, border, mean, half, word } of vectors.seeds) {
    const found = seeds.interval(values, data.seeds_data.t);
    close(found.mean, mean, "mean");
    close(found.half, half, "half-width");
    assert.equal(seeds.word(found, border), word, `${values} and ${border}`);
  }
});

test("codes of INQ and its largest exponent", () => {
  for (const { x, bits, n1, codes } of vectors.inq_codes) {
    assert.equal(q.largestExponent(x), n1);
    assert.deepEqual(x.map(q.inq(bits, n1).code), codes);
  }
});

test("full scale range", () => {
  for (const { x, fsr } of vectors.full_scales) assert.equal(q.fullScale(x), fsr);
});

test("partition", () => {
  for (const { x, frozen, fraction, chosen } of vectors.partitions) {
    const found = inqSchedule.partition(x, frozen, fraction);
    assert.deepEqual(found.sort((a, b) => a - b), chosen);
  }
});

test("the recorded run: the browser freezes what Python froze", () => {
  const steps = inqSchedule.steps(data.inq_run);
  assert.deepEqual(steps.map(({ phase }) => phase), vectors.run.phases);
  steps.filter(({ phase }) => phase === "freeze").forEach((step, i) => {
    assert.deepEqual(step.frozen, vectors.run.frozen[i]);
    assert.deepEqual(step.weights, vectors.run.weights[i]);
  });
});

test("shift-adder, bit for bit", () => {
  for (const { x, code, n1, bits, overflow, width, total, product, sum } of vectors.shift_adder) {
    const term = shiftAdder.product(BigInt(x), code, n1, { bits, overflow, width });
    assert.equal(String(term), product, `${x} times field ${code}, n1 ${n1}, ${overflow}`);
    const found = shiftAdder.add(BigInt(total), term, overflow, width);
    assert.equal(String(found.sum), sum);
    assert.equal(found.overflow, BigInt(total) + term !== found.sum);
  }
});

test("fixed point", () => {
  for (const { real, integer, decoded, bits } of vectors.fixed_point) {
    assert.equal(String(shiftAdder.encode(real)), integer);
    assert.equal(shiftAdder.decode(BigInt(integer)), decoded);
    assert.equal(shiftAdder.toBits(BigInt(integer)), bits);
  }
});

test("prices of random bits on random layers and processors", () => {
  for (const { layers, bits, processor, cycles, size, work } of vectors.latency) {
    const found = latency.prices(layers, bits, processor);
    assert.deepEqual(found.map((price) => price.cycles), cycles, JSON.stringify({ layers, bits, processor }));
    assert.deepEqual([latency.total(found).size, latency.total(found).work], [size, work]);
  }
});

test("the network of the book", () => {
  const { cycles, size, work } = vectors.network;
  assert.deepEqual(latency.total(latency.prices(data.network_159k, data.network_159k.map(() => 8))), { size, work, cycles });
});

test("the accelerator: cycles, images a second, shares of the chip", () => {
  const { arrays, chip } = data.accelerator_data;
  for (const { shift_adders, cycles, megahertz, images, shares } of vectors.accelerator) {
    const each = arrays.find((one) => one.shift_adders === shift_adders);
    assert.equal(each.cycles, cycles);
    assert.equal(array.speed(each.cycles, megahertz).images, images);
    for (const [name, share] of Object.entries(array.shares(each.counts, chip))) close(share, shares[name], name);
  }
});
