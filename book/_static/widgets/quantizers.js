// Five quantizers of the book, in float64: the same numbers as `fewbits`, which the tests hold them to.
// A quantizer here has `apply(x)`, a number to its level, and `levels`, ascending.
(function () {
  "use strict";

  /** The nearest integer, a tie to the even one, as torch.round does it. */
  function roundHalfEven(x) {
    const below = Math.floor(x);
    const rest = x - below;
    if (rest !== 0.5) return rest < 0.5 ? below : below + 1;
    return below % 2 === 0 ? below : below + 1;
  }

  const clamp = (x, low, high) => Math.min(Math.max(x, low), high);
  const largest = (weights) => weights.reduce((most, w) => Math.max(most, Math.abs(w)), 0);
  const mean = (numbers) => (numbers.length ? numbers.reduce((sum, x) => sum + x, 0) / numbers.length : 0);

  /** [mantissa in [1/2, 1), exponent] of a positive number, exact. */
  function frexp(x) {
    let exponent = Math.min(Math.floor(Math.log2(x)), 1023) + 1; // the logarithm is rounded: this may be off by one
    let mantissa = x / 2 ** (exponent - 1) / 2;
    if (mantissa >= 1) [mantissa, exponent] = [mantissa / 2, exponent + 1];
    if (mantissa < 0.5) [mantissa, exponent] = [mantissa * 2, exponent - 1];
    return [mantissa, exponent];
  }

  /** Both signs of ascending positive levels, with or without 0 between them. */
  function mirrored(positive, zero = true) {
    return [...positive.map((level) => -level).reverse(), ...(zero ? [0] : []), ...positive];
  }

  // --- The quantizers -----------------------------------------------------------------------------------------------

  /** UniformQuantizer(bits) with the range -clip … clip: 2^bits - 1 levels. */
  function uniform(bits, clip) {
    const most = 2 ** (bits - 1) - 1;
    const scale = clip > 0 ? clip / most : 1;
    const positive = Array.from({ length: most }, (_, k) => (k + 1) * scale);
    const apply = (x) => clamp(roundHalfEven(x / scale), -most, most) * scale + 0; // + 0: no negative zero
    return { apply, levels: mirrored(positive), scale };
  }

  /** XnorWeights: the sign times a scale; `factor` 1 gives the scale of least squares, mean|w|. */
  function binary(weights, factor = 1) {
    const scale = factor * mean(weights.map(Math.abs));
    return { apply: (x) => (x >= 0 ? scale : -scale), levels: mirrored([scale], false), scale };
  }

  /** TWN(ratio): 0 up to ratio · mean|w|, beyond it ± the mean of the magnitudes there. */
  function ternary(weights, ratio = 0.7) {
    const magnitudes = weights.map(Math.abs);
    const threshold = ratio * mean(magnitudes);
    const scale = mean(magnitudes.filter((m) => m > threshold));
    const apply = (x) => (Math.abs(x) > threshold ? Math.sign(x) * scale : 0);
    return { apply, levels: scale ? mirrored([scale]) : [0], scale, threshold };
  }

  /** n1 of INQ: the exponent of the power of two nearest to the largest magnitude. */
  function largestExponent(weights) {
    const most = largest(weights);
    if (most === 0) return 0;
    const [mantissa, exponent] = frexp(most);
    return exponent - (mantissa < 0.75 ? 1 : 0);
  }

  /** InqQuantizer(bits, n1): 0 or ± 2^n2 … 2^n1, nearest on the linear scale, ties away from 0. */
  function inq(bits, n1) {
    const count = 2 ** (bits - 2);
    const n2 = n1 + 1 - count;
    const powers = Array.from({ length: count }, (_, k) => 2 ** (n2 + k));
    const magnitudes = [0, ...powers];
    /** The field e: how many borders the magnitude has reached. */
    const exponentField = (x) => powers.filter((power, k) => Math.abs(x) >= (magnitudes[k] + power) / 2).length;
    const code = (x) => exponentField(x) + (x < 0 && exponentField(x) > 0 ? 2 ** (bits - 1) : 0);
    const apply = (x) => (exponentField(x) ? Math.sign(x) * magnitudes[exponentField(x)] : 0);
    return { apply, code, levels: mirrored(powers), n1, n2 };
  }

  /** round(log2|x|); -Infinity for 0. The border √½ is irrational: there are no ties. */
  function logRound(x) {
    if (x === 0) return -Infinity;
    const [mantissa, exponent] = frexp(Math.abs(x));
    return exponent - 1 + (mantissa >= Math.SQRT1_2 ? 1 : 0);
  }

  /** The full scale range of LogQuantizer: one above the rounded logarithm of the largest magnitude. */
  function fullScale(weights) {
    return largest(weights) === 0 ? 1 : logRound(largest(weights)) + 1;
  }

  /** LogQuantizer(bits), base 2, signed: 0 or ± a power of two up to 2^(fsr - 1), nearest on the logarithmic scale. */
  function logarithmic(bits, fsr) {
    const size = 2 ** (bits - 1);
    const first = fsr - size; // the exponent of field 0, which stands for 0
    const field = (x) => clamp(logRound(x) - first, 0, size - 1);
    const apply = (x) => (field(x) ? Math.sign(x) * 2 ** (first + field(x)) : 0);
    const powers = Array.from({ length: size - 1 }, (_, k) => 2 ** (first + 1 + k));
    return { apply, levels: mirrored(powers), fsr };
  }

  // --- What is lost -------------------------------------------------------------------------------------------------

  /** Error of a quantizer on weights: mean square, signal to noise in decibels, levels in use, share of zeros. */
  function measure(weights, quantizer) {
    const quantized = weights.map(quantizer.apply);
    const meanSquare = mean(weights.map((w, i) => (quantized[i] - w) ** 2));
    return {
      meanSquare,
      decibels: 10 * Math.log10(mean(weights.map((w) => w * w)) / meanSquare),
      used: new Set(quantized).size,
      zeros: quantized.filter((q) => q === 0).length / weights.length,
    };
  }

  globalThis.fewbits ??= {};
  fewbits.quantizers = {
    roundHalfEven,
    frexp,
    largest,
    uniform,
    binary,
    ternary,
    largestExponent,
    inq,
    logRound,
    fullScale,
    logarithmic,
    measure,
  };
})();
