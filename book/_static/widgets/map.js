// The map of methods: which ones lose few enough points, and which of them is cheapest. Needs seeds.js.
(function () {
  "use strict";

  const { interval, word } = fewbits.seeds;
  const KEPT = { all: () => true, own: ({ own }) => own, eight: ({ own }) => !own };

  /**
   * The methods that have a price, cheapest first: {name, price, lost, mean, half, word}.
   *
   * `activations` is "all", "own" or "eight" (bits). The word says whether the method loses at most `limit` points.
   * Without runs that differ there is no doubt: then the interval is a point.
   */
  function rows(map, { price, activations, limit }, factors) {
    return map.methods
      .filter((method) => KEPT[activations](method) && method.prices[price] !== undefined)
      .map(({ name, prices, lost }) => {
        const found = interval(lost, factors);
        return { name, price: prices[price], lost, ...found, word: word({ mean: -found.mean, half: found.half }, -limit) };
      })
      .sort((a, b) => a.price - b.price || a.mean - b.mean);
  }

  /** The cheapest methods that surely lose no more than the limit; several if they cost the same. */
  function cheapest(list) {
    const sure = list.filter((row) => row.word === "holds");
    return sure.filter((row) => row.price === sure[0].price);
  }

  globalThis.fewbits ??= {};
  fewbits.map = { rows, cheapest };
})();
