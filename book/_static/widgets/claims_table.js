// Claims with ids, a table in a fold for each chapter, get controls above them: words, chapter, kind, scale, terms. Rows
// that do not match are hidden, and so are folds without a row. While claims are left out, the other folds are open.
(function () {
  "use strict";

  const { ui, claims } = fewbits;
  // In the order of fewbits.evidence.
  const WORDS = [
    ...["reproduced", "carries over", "undecided", "does not carry over", "not reproduced", "cited"],
    ...["holds", "does not hold"],
  ];

  function start(folds) {
    const titles = new Map(); // of chapters
    const rows = folds.flatMap((fold) => [...fold.querySelectorAll("table.claims > tbody > tr")]).map((row) => ({
      row,
      badge: row.querySelector(".verdict"),
      id: row.querySelector(".claim-id").textContent,
      text: row.textContent,
      word: row.querySelector(".verdict").textContent.replace(/^[^a-z]+/, "").trim(),
      kind: row.dataset.kind,
      scale: row.dataset.scale,
    }));
    for (const fold of folds) {
      const id = fold.querySelector(".claim-id").textContent;
      titles.set(claims.chapterOf(id), fold.querySelector("summary > strong").textContent);
    }
    const found = claims.counts(rows, (each) => each.word);
    found.sort(([one], [other]) => WORDS.indexOf(one) - WORDS.indexOf(other));
    const boxes = found.map(([word, count]) => {
      const input = ui.el("input", { type: "checkbox", value: word, checked: "", onchange: show });
      const badge = rows.find((each) => each.word === word).badge.cloneNode(true);
      return { input, node: ui.el("label", {}, input, " ", badge, ` (${count})`) };
    });
    /** A choice of one value of a key, or of all. */
    function choice(name, key, said = (value) => value) {
      const found = claims.counts(rows, key).filter(([value]) => value !== "");
      return ui.select(name, [["", "all"], ...found.map(([value, count]) => [value, `${said(value)} (${count})`])], show);
    }
    const chapter = choice("chapter", (each) => claims.chapterOf(each.id), (id) => titles.get(id));
    const kind = choice("kind", (each) => each.kind, (value) => (value === "own" ? "our own" : "of a paper"));
    const scale = choice("scale", (each) => each.scale);
    const terms = ui.el("input", { type: "search", "aria-label": "search", placeholder: "search", oninput: show });
    const output = ui.output();

    function show() {
      const wanted = {
        words: new Set(boxes.filter(({ input }) => input.checked).map(({ input }) => input.value)),
        chapter: chapter.input.value,
        kind: kind.input.value,
        scale: scale.input.value,
        terms: terms.value,
      };
      let count = 0;
      for (const each of rows) {
        each.row.hidden = !claims.matches(each, wanted);
        count += !each.row.hidden;
      }
      for (const fold of folds) {
        fold.hidden = !fold.querySelector("tbody > tr:not([hidden])");
        fold.open = count < rows.length;
      }
      output.textContent = `${count} of ${rows.length} claims are shown.`;
    }

    const words = ui.el("fieldset", { class: "fb-control fb-radios" }, ui.el("legend", {}, "word"));
    words.append(...boxes.map(({ node }) => node));
    const root = ui.el("div", { class: "fb-live fb-filter", role: "group", "aria-label": "Filter the claims" });
    root.append(ui.el("div", { class: "fb-controls" }, words, chapter.node, kind.node, scale.node, terms), output);
    show();
    folds[0].before(root);
  }

  fewbits.widgets.claims = start;
})();
