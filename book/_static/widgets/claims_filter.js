// Which claims a reader wants to see. A claim is {id, text, verdict}; an id is "chapter/name".
(function () {
  "use strict";

  const chapterOf = (id) => id.split("/")[0];

  /** True if the claim has one of the verdicts, is of the chapter ("" is any), and holds every word in any case. */
  function matches(claim, { verdicts, chapter, words }) {
    const text = `${claim.id} ${claim.text}`.toLowerCase();
    return (
      verdicts.has(claim.verdict) &&
      (chapter === "" || chapterOf(claim.id) === chapter) &&
      words.toLowerCase().split(/\s+/).every((word) => text.includes(word))
    );
  }

  /** [value, how many] of key(claim), in the order in which they first occur. */
  function counts(claims, key) {
    const found = new Map();
    for (const claim of claims) found.set(key(claim), (found.get(key(claim)) ?? 0) + 1);
    return [...found];
  }

  globalThis.fewbits ??= {};
  fewbits.claims = { matches, counts, chapterOf };
})();
