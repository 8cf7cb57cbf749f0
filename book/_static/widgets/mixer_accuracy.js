// Accuracy of the network with given bits for each layer: measured where that was done, else an estimate.
(function () {
  "use strict";

  /**
   * {share, measured}: the share of images right, 0 … 1. If it was not measured, it is the float network's share times
   * what each layer keeps of it when it alone is rounded; `data.single[i][k]` counts for `data.bits[k]` bits of layer i.
   */
  function accuracy(data, bits) {
    const measured = data.measured[bits.join(" ")];
    if (measured !== undefined) return { share: measured / data.images, measured: true };
    const kept = bits.map((count, i) => data.single[i][data.bits.indexOf(count)] / data.float);
    return { share: kept.reduce((all, each) => all * each, data.float / data.images), measured: false };
  }

  globalThis.fewbits ??= {};
  fewbits.mixer = { accuracy };
})();
