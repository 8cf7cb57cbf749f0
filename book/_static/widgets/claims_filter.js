// Which claims a reader wants to see. A claim is {id, text, word, kind, scale}; an id is "chapter/name".
(function () {
  "use strict";

  const chapterOf = (id) => id.split("/")[0];

  /** True if the claim has one of the words, the chapter, kind and scale ("" is any), and holds every term in any case. */
  function matches(claim, { words, chapter, kind, scale, terms }) {
    const text = `${claim.id} ${claim.text}`.toLowerCase();
    return (
      words.has(claim.word) &&
      (chapter === "" || chapterOf(claim.id) === chapter) &&
      (kind === "" || claim.kind === kind) &&
      (scale === "" || claim.scale === scale) &&
      terms.toLowerCase().split(/\s+/).every((term) => text.includes(term))
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
