// Cycles of the filter-wise processor, as `fewbits.mixed_precision.Processor` counts them, and the other two prices of a
// bit. A layer is {filters, weights_per_filter, output_positions}; all its filters have the same number of bits here.
(function () {
  "use strict";

  const PROCESSOR = {
    lanes: 32,
    columns: 32,
    digit_bits: 1,
    load_bits: 64,
    store_bits: 64,
    activation_bits: 8,
    fill: 16,
    setup: 256,
  };

  /** Time of the last stored output if loading, computing and storing overlap; see `_overlapped` in Python. */
  function overlapped(times, tiles) {
    let ready = 0;
    let leaving = 0;
    let loaded = 0;
    const emptied = [0, 0];
    times.forEach(({ load, compute, full, last }, group) => {
      loaded = Math.max(loaded, emptied[group % 2]) + load;
      const start = Math.max(ready, loaded);
      const step = Math.max(compute, full);
      let computed = start + compute;
      ready = Math.max(computed, ready + leaving);
      if (tiles > 1) {
        computed = ready + (tiles - 2) * step + compute;
        ready += (tiles - 1) * step;
      }
      emptied[group % 2] = computed;
      leaving = last;
    });
    return ready + leaving;
  }

  /** Cycles of one layer for one image. `processor` holds what differs from PROCESSOR. */
  function layerCycles(layer, bits, processor = {}) {
    const p = { ...PROCESSOR, ...processor };
    const tiles = Math.ceil(layer.output_positions / p.lanes);
    const inLastTile = layer.output_positions - (tiles - 1) * p.lanes;
    const times = [];
    for (let first = 0; first < layer.filters; first += p.columns) {
      const filters = Math.min(p.columns, layer.filters - first);
      const store = (positions) => Math.ceil((filters * positions * p.activation_bits) / p.store_bits);
      times.push({
        load: Math.ceil((layer.weights_per_filter * filters * bits) / p.load_bits),
        compute: layer.weights_per_filter * Math.ceil(bits / p.digit_bits) + p.fill,
        full: store(Math.min(p.lanes, layer.output_positions)),
        last: store(inLastTile),
      });
    }
    return p.setup + overlapped(times, tiles);
  }

  /** Size in bits, MACs × bits, and cycles of each layer: a list of {size, work, cycles}. */
  function prices(layers, bits, processor = {}) {
    return layers.map((layer, i) => {
      const size = layer.filters * layer.weights_per_filter * bits[i];
      return { size, work: size * layer.output_positions, cycles: layerCycles(layer, bits[i], processor) };
    });
  }

  /** Sums over the layers. */
  function total(list) {
    const sum = (key) => list.reduce((all, each) => all + each[key], 0);
    return { size: sum("size"), work: sum("work"), cycles: sum("cycles") };
  }

  /** Which layers hold half of `key` ("size" or "work"), counted from the largest: a list of booleans. */
  function heaviest(layers, key) {
    const shares = prices(layers, layers.map(() => 1)).map((price) => price[key]);
    const half = shares.reduce((a, b) => a + b) / 2;
    const order = shares.map((_, i) => i).sort((i, j) => shares[j] - shares[i] || i - j);
    const chosen = shares.map(() => false);
    let sum = 0;
    for (const i of order) {
      if (sum >= half) break;
      chosen[i] = true;
      sum += shares[i];
    }
    return chosen;
  }

  globalThis.fewbits ??= {};
  fewbits.latency = { PROCESSOR, layerCycles, prices, total, heaviest };
})();
