// The schedule of INQ on one tensor: partition, freeze, and what training made of the rest (recorded).
(function () {
  "use strict";

  const { inq, roundHalfEven } = fewbits.quantizers;

  /** Indices that are frozen next: the largest free magnitudes, until round(fraction · n) are frozen. */
  function partition(weights, frozen, fraction) {
    const free = weights.map((_, i) => i).filter((i) => !frozen[i]);
    free.sort((i, j) => Math.abs(weights[j]) - Math.abs(weights[i]) || i - j);
    const already = weights.length - free.length;
    return free.slice(0, roundHalfEven(fraction * weights.length) - already);
  }

  /** All pictures of a run, in order: {phase, stage, weights, frozen, chosen, accuracy or null}. */
  function steps(run) {
    const { apply } = inq(run.bits, run.n1);
    let weights = run.weights;
    let frozen = weights.map(() => false);
    const list = [{ phase: "trained", stage: 0, weights, frozen, chosen: [], accuracy: run.accuracy }];
    run.stages.forEach((stage, index) => {
      const number = index + 1;
      const chosen = partition(weights, frozen, stage.fraction);
      list.push({ phase: "partition", stage: number, weights, frozen, chosen, accuracy: null });
      const now = new Set(chosen);
      weights = weights.map((w, i) => (now.has(i) ? apply(w) : w));
      frozen = frozen.map((was, i) => was || now.has(i));
      list.push({ phase: "freeze", stage: number, weights, frozen, chosen, accuracy: stage.frozen });
      if (!stage.weights) return;
      weights = stage.weights;
      list.push({ phase: "retrain", stage: number, weights, frozen, chosen: [], accuracy: stage.trained });
    });
    return list;
  }

  fewbits.inqSchedule = { partition, steps };
})();
