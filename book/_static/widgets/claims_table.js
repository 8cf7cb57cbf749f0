// A table of claims with ids gets controls above it: verdicts, chapter, words. Rows that do not match are hidden.
(function () {
  "use strict";

  const { ui, claims } = fewbits;

  function start(table) {
    const rows = [...table.tBodies[0].rows].map((row) => ({
      row,
      id: row.querySelector(".claim-id").textContent,
      text: row.textContent,
      verdict: row.querySelector(".verdict").textContent.replace(/^\W+/, "").trim(),
    }));
    const boxes = claims.counts(rows, (each) => each.verdict).sort().map(([verdict, count]) => {
      const input = ui.el("input", { type: "checkbox", value: verdict, checked: "", onchange: show });
      return { input, node: ui.el("label", {}, input, ` ${verdict} (${count})`) };
    });
    const chapters = claims.counts(rows, (each) => claims.chapterOf(each.id));
    const chapter = ui.select(
      "chapter",
      [["", "all"], ...chapters.map(([name, count]) => [name, `${name} (${count})`])],
      show,
    );
    const words = ui.el("input", { type: "search", "aria-label": "words", placeholder: "words", oninput: show });
    const output = ui.output();

    function show() {
      const wanted = {
        verdicts: new Set(boxes.filter(({ input }) => input.checked).map(({ input }) => input.value)),
        chapter: chapter.input.value,
        words: words.value,
      };
      let count = 0;
      for (const each of rows) {
        each.row.hidden = !claims.matches(each, wanted);
        count += !each.row.hidden;
      }
      output.textContent = `${count} of ${rows.length} claims are shown.`;
    }

    const verdicts = ui.el("fieldset", { class: "fb-control fb-radios" }, ui.el("legend", {}, "verdict"));
    verdicts.append(...boxes.map(({ node }) => node));
    const root = ui.el("div", { class: "fb-live fb-filter", role: "group", "aria-label": "Filter the claims" });
    root.append(ui.el("div", { class: "fb-controls" }, verdicts, chapter.node, words), output);
    show();
    table.parentElement.before(root);
  }

  fewbits.widgets.claims = start;
})();
