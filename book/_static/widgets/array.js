// What an array of the accelerator costs, from its recorded counts: shares of the chip, and speed at a clock.
(function () {
  "use strict";

  /** Images a second, and microseconds of one image. */
  function speed(cycles, megahertz) {
    return { images: Math.floor((megahertz * 1e6) / cycles), microseconds: cycles / megahertz };
  }

  /** Percent of the chip by resource. */
  const shares = (counts, chip) =>
    Object.fromEntries(Object.keys(chip).map((name) => [name, (100 * counts[name]) / chip[name]]));

  globalThis.fewbits ??= {};
  fewbits.array = { speed, shares };
})();
