// A formula wider than the page, as on a phone, is set as much smaller as it must be; custom.css uses --fb-fit.
// What would be too small to be read scrolls. The keyboard stops at those only: MathJax makes it stop at each letter.
(function () {
  "use strict";

  const SMALLEST = 0.55;

  function fit() {
    for (const formula of document.querySelectorAll('article mjx-container[display="true"]')) {
      formula.style.removeProperty("--fb-fit");
      const { clientWidth, scrollWidth } = formula;
      if (clientWidth === 0 || scrollWidth <= clientWidth) continue; // in a closed fold, or narrow enough
      // One pixel less: sizes are rounded to whole pixels.
      formula.style.setProperty("--fb-fit", Math.max(SMALLEST, (clientWidth - 1) / scrollWidth).toFixed(3));
    }
    for (const formula of document.querySelectorAll("article mjx-container")) {
      const scrolls = formula.hasAttribute("display") && formula.scrollWidth > formula.clientWidth + 1;
      formula.tabIndex = scrolls ? 0 : -1;
    }
  }

  addEventListener("load", async () => {
    await window.MathJax?.startup?.promise;
    await document.fonts.ready;
    fit();
    addEventListener("resize", fit);
    document.addEventListener("toggle", fit, true); // a fold was opened
  });
})();
