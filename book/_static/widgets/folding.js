// The figure of the folded channels: one layer, its factors gamma / sigma, one of them multiplied, and the rounding.
(function () {
  "use strict";

  const { uniform, largest } = fewbits.quantizers;

  /** The folded weights: a list for each channel; the factor of the dragged channel is multiplied by 2^power. */
  function foldedWeights(data, power) {
    const each = data.weights.length / data.channels;
    return data.factors.map((factor, channel) => {
      const times = factor * (channel === data.dragged ? 2 ** power : 1);
      return data.weights.slice(channel * each, (channel + 1) * each).map((w) => Math.fround(w) * times);
    });
  }

  /** What rounding leaves: {rounded, steps, dead}, a step for each channel, dead channels having only zeros. */
  function round(channels, bits, perChannel) {
    const widest = largest(channels.flat());
    const grids = channels.map((weights) => uniform(bits, perChannel ? largest(weights) : widest));
    const rounded = channels.map((weights, i) => weights.map(grids[i].apply));
    return {
      rounded,
      steps: grids.map((grid) => grid.scale),
      dead: rounded.map((weights) => weights.every((w) => w === 0)),
    };
  }

  /** How many test digits the network gets right with this layer rounded. */
  function right(data, bits, power, perChannel) {
    return perChannel ? data.channel[bits] : data.tensor[bits][data.powers.indexOf(power)];
  }

  globalThis.fewbits ??= {};
  fewbits.folding = { foldedWeights, round, right };
})();
