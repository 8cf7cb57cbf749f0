// What the figure of the first page computes: the weights of one neuron on a grid, and an answer from logits.
(function () {
  "use strict";

  const { uniform, binary, largest } = fewbits.quantizers;

  /** The neuron's weights in a state: rounded here from those of the float network, or as they were trained. */
  function weightsOf(state, data) {
    if (state.trained) return Array.from(state.weights, (place) => state.levels[Number(place)]);
    const weights = data.weights.map(Math.fround);
    if (state.bits === 32) return weights;
    return weights.map((state.bits === 1 ? binary(weights) : uniform(state.bits, largest(weights))).apply);
  }

  /** Softmax: logits to probabilities. */
  function probabilities(logits) {
    const most = Math.max(...logits);
    const powers = logits.map((logit) => Math.exp(logit - most));
    const sum = powers.reduce((all, each) => all + each, 0);
    return powers.map((power) => power / sum);
  }

  /** The answer: the first of the largest. */
  const answer = (logits) => logits.indexOf(Math.max(...logits));

  /** How many weights are in each of `count` bins of equal width from -reach to reach, ends included. */
  function histogram(weights, reach, count) {
    const bins = new Array(count).fill(0);
    for (const w of weights) bins[Math.min(count - 1, Math.floor(((w + reach) / (2 * reach)) * count))] += 1;
    return bins;
  }

  globalThis.fewbits ??= {};
  fewbits.fewBits = { weightsOf, probabilities, answer, histogram };
})();
