// How far n seeds decide: the 95 % interval of a mean difference, and the word that follows from it.
(function () {
  "use strict";

  /** {mean, half} of Student's interval; `factors` holds t for two values, three, …. */
  function interval(values, factors) {
    const mean = values.reduce((sum, x) => sum + x, 0) / values.length;
    const variance = values.reduce((sum, x) => sum + (x - mean) ** 2, 0) / (values.length - 1);
    return { mean, half: factors[values.length - 2] * Math.sqrt(variance / values.length) };
  }

  /** "holds" if the whole interval is at or above the border, "does not hold" if all of it is below. */
  function word({ mean, half }, border) {
    const slack = 1e-9 * Math.max(1, Math.abs(mean - half), Math.abs(mean + half)); // not by the last bit of a float
    if (border - slack <= mean - half) return "holds";
    return mean + half < border - slack ? "does not hold" : "undecided";
  }

  /** The order of `count` seeds in the given draw: as recorded in draw 0, mixed in the others. */
  function order(count, draw) {
    const places = Array.from({ length: count }, (_, k) => k);
    if (draw === 0) return places;
    let state = Math.imul(draw, 2654435761);
    for (let k = count - 1; k > 0; k -= 1) {
      state = (Math.imul(state, 1664525) + 1013904223) >>> 0; // Numerical Recipes' generator
      const other = Math.floor((state / 2 ** 32) * (k + 1));
      [places[k], places[other]] = [places[other], places[k]];
    }
    return places;
  }

  globalThis.fewbits ??= {};
  fewbits.seeds = { interval, word, order };
})();
