"""The guards of tools/notebooks.py: each passes a good notebook and rejects a bad one, and the book passes them all."""

import copy
import json
import shutil
from pathlib import Path

import jupytext
import nbformat
import pytest
from nbformat import v4
from tool_files import tool

ROOT = Path(__file__).resolve().parents[2]
notebooks = tool("notebooks")

CHAPTERS = sorted({*notebooks.chapters(), *(path.stem for path in (ROOT / "book").glob("*.ipynb"))})
PNG = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="


def printed(text):
    return v4.new_output("stream", name="stdout", text=text)


def shown(data, metadata=None):
    return v4.new_output("display_data", data=data, metadata=metadata or {})


def code(source, *outputs, tags=(), **mystnb):
    metadata = {key: value for key, value in {"tags": list(tags), "mystnb": mystnb}.items() if value}
    return v4.new_code_cell(source, outputs=list(outputs), metadata=metadata)


def glued(key):
    return shown({"application/papermill.record/text/plain": "'0.3'"}, {"scrapbook": {"name": key}})


def notebook(*cells):
    """A notebook as `refresh` stores it: executed in order, stripped."""
    built = v4.new_notebook()
    built.cells = [copy.deepcopy(cell) for cell in cells]
    for count, cell in enumerate((cell for cell in built.cells if cell.cell_type == "code"), start=1):
        cell.execution_count = count
    notebooks.strip(built)
    return built


GOOD = notebook(
    v4.new_markdown_cell("# A chapter\n\nIt is {glue:text}`uniform/drop` here, {glue:text}`uniform/drop.paper` there."),
    code("evidence.glue_claims('uniform')", glued("uniform/drop"), glued("uniform/drop.paper")),
    code("print(1 + 1)\nurl", printed("2\nsee https://example.org/home/page and src/fewbits on 2026-01-31\n")),
    code("plt.plot([1, 2])\nplt.show()", shown({"image/png": PNG, "text/plain": "<Figure>"}), image={"alt": "A line."}),
    code("loss = fit()\nassert loss < 1", printed("0.8137\n"), tags=["nbval-ignore-output"]),
)


@pytest.fixture
def records(tmp_path):
    """A folder of results that holds the one claim of `GOOD`."""
    (tmp_path / "uniform.json").write_text(json.dumps([{"id": "uniform/drop"}]), "utf-8")
    return tmp_path


def test_good_notebook_passes_every_guard(records):
    for guard in notebooks.GUARDS:
        arguments = (GOOD, records) if guard is notebooks.unrecorded_claims else (GOOD,)
        assert guard(*arguments) == []


def test_null_execution_count_is_rejected():
    bad = copy.deepcopy(GOOD)
    bad.cells[2].execution_count = None
    assert notebooks.unexecuted_cells(bad) == ["cell 2 (print(1 + 1)): not executed"]


def test_execution_out_of_order_is_rejected():
    bad = copy.deepcopy(GOOD)
    bad.cells[1].execution_count, bad.cells[2].execution_count = 2, 1
    assert notebooks.execution_order(bad)
    bad.cells[1].execution_count, bad.cells[2].execution_count = 1, 7
    assert notebooks.execution_order(bad)


def test_stored_error_is_rejected():
    error = v4.new_output("error", ename="ValueError", evalue="bits", traceback=[])
    assert "ValueError: bits" in notebooks.stored_errors(notebook(code("quantize()", error)))[0]


@pytest.mark.parametrize("change", ["source", "tags", "alt", "kind", "number"])
def test_notebook_that_differs_from_its_text_is_rejected(change):
    twin = jupytext.reads(jupytext.writes(GOOD, fmt="md:myst"), fmt="md:myst")
    assert notebooks.out_of_sync(GOOD, twin) == []
    if change == "source":
        twin.cells[2].source = "print(1 + 2)"
    elif change == "tags":
        del twin.cells[4].metadata["tags"]
    elif change == "alt":
        twin.cells[3].metadata["mystnb"]["image"]["alt"] = "Another line."
    elif change == "kind":
        twin.cells[2] = v4.new_markdown_cell(twin.cells[2].source)
    else:
        twin.cells.append(v4.new_code_cell("print(3)"))
    assert notebooks.out_of_sync(GOOD, twin)


@pytest.mark.parametrize(
    "key", ["execution", "collapsed", "ExecuteTime", "jupyter", "id", "widgets", "kernelspec", "language_info"]
)
def test_volatile_metadata_is_rejected_and_stripped(key):
    bad = copy.deepcopy(GOOD)
    if key == "widgets":
        bad.metadata["widgets"] = {"application/vnd.jupyter.widget-state+json": {}}
    elif key == "kernelspec":
        bad.metadata.kernelspec["display_name"] = "my environment"
    elif key == "language_info":
        bad.metadata.language_info["version"] = "3.12.1"
    elif key == "id":
        bad.cells[2].id = "8f3a2c1d"
    else:
        bad.cells[2].metadata[key] = {"iopub.execute_input": "2026-01-31T10:00:00Z"}
    assert len(notebooks.volatile_metadata(bad)) == 1
    notebooks.strip(bad)
    assert bad == GOOD


@pytest.mark.parametrize(
    ("kind", "text"),
    [
        ("absolute path", "saved in " + "/" + "home/reader/book/x.png"),
        ("absolute path", "file://" + "/" + "work/main/book"),
        ("absolute path", "C:" + "\\Users\\reader"),
        ("timestamp", "done at 2026-01-31 10:15"),
        ("timestamp", "Sat Jan 31 10:15:02 2026"),
        ("progress bar", "100%|████| 10/10 [00:03<00:00,  3.31it/s]"),
        ("memory address", "<function round at 0x7f3e5c0d1b80>"),
    ],
)
@pytest.mark.parametrize("place", ["printed", "shown", "metadata"])
def test_traces_of_the_machine_are_rejected(kind, text, place):
    outputs = {
        "printed": printed(text),
        "shown": shown({"text/html": f"<p>{text}</p>"}),
        "metadata": shown({"text/plain": "1"}, {"note": text}),
    }
    assert kind in notebooks.machine_traces(notebook(code("run()", outputs[place])))[0]


def test_too_few_compared_cells_are_rejected():
    strict, loose = (
        code("print(2)", printed("2\n")),
        code("fit()\nassert ok", printed("0.81\n"), tags=["nbval-ignore-output"]),
    )
    assert notebooks.uncompared_outputs(notebook(*[strict] * 7, *[loose] * 3)) == []
    assert "6 of 9 cells" in notebooks.uncompared_outputs(notebook(*[strict] * 6, *[loose] * 3))[0]


@pytest.mark.parametrize(
    ("cell", "compared"),
    [
        (code("print(2)", printed("2\n")), True),
        (code("plt.show()", shown({"image/png": PNG, "text/plain": "<Figure>"})), True),
        (code("plt.show()", shown({"image/jpeg": PNG})), False),
        (code("widget", shown({"application/vnd.jupyter.widget-view+json": {}})), False),
        (code("fit()", printed("0.8\n"), tags=["nbval-ignore-output"]), False),
        (code("fit()", printed("0.8\n"), tags=["nbval-skip"]), False),
        (code("# NBVAL_IGNORE_OUTPUT\nfit()", printed("0.8\n")), False),
    ],
)
def test_what_counts_as_compared(cell, compared):
    assert notebooks.is_compared(cell) == compared


def test_svg_is_rejected():
    assert notebooks.svg_outputs(notebook(code("draw()", shown({"image/svg+xml": "<svg/>"}))))
    assert notebooks.svg_outputs(notebook(code("draw()", shown({"text/html": "<svg width='3'></svg>"}))))


@pytest.mark.parametrize("source", ["plt.plot([1, 2]);", "plt.plot([1, 2]);  # no output\n"])
def test_trailing_semicolon_is_rejected(source):
    assert notebooks.trailing_semicolons(notebook(code(source)))


def test_long_cell_is_rejected():
    assert notebooks.long_cells(notebook(code("\n".join(["x = 1"] * 20)))) == []
    assert "21 lines" in notebooks.long_cells(notebook(code("\n".join(["x = 1"] * 21))))[0]


def test_wide_cell_is_rejected():
    assert notebooks.wide_cells(notebook(code("x" * notebooks.MAX_COLUMNS))) == []
    assert "93 characters" in notebooks.wide_cells(notebook(code("x = 1\n" + "x" * 93)))[0]


def test_sliced_sources_are_rejected():
    def rejected(source, *outputs):
        return notebooks.sliced_sources(notebook(code(source, *outputs)))

    short = "def f():\n    return 1"
    twenty = "def f():\n" + "    x = 1\n" * 19
    assert not rejected("plots.show_source(f, g)", shown({"text/plain": f"{short}\n\n\n{twenty}"}))
    assert "over 20" in rejected("plots.show_source(f, g)", shown({"text/plain": f"{short}\n\n\n{twenty}    y = 1"}))[0]
    assert not rejected("show_source(f)", shown({"text/plain": "x" * 92}))
    assert "over 92" in rejected("show_source(f)", shown({"text/plain": "x" * 93}))[0]
    assert "whole functions" in rejected("print(inspect.getsource(f).split()[2])", printed("x"))[0]


def test_long_chapter_is_rejected():
    text = v4.new_markdown_cell("word " * 2500 + "| – |")
    assert notebooks.long_chapter(notebook(text)) == []
    assert "2501 words" in notebooks.long_chapter(notebook(text, v4.new_markdown_cell("more")))[0]


@pytest.mark.parametrize(
    "text", ["{glue:text}`accuracy`", "{glue:text}`accuracy:.2f`", "{glue}`accuracy`", "```{glue:figure} accuracy\n```"]
)
def test_pasted_key_that_no_cell_glues_is_rejected(text):
    page = v4.new_markdown_cell(text)
    assert notebooks.unglued_keys(notebook(page, code("glue('accuracy', 0.9)", glued("accuracy")))) == []
    assert "'accuracy'" in notebooks.unglued_keys(notebook(page))[0]


def test_key_of_another_page_is_left_to_that_page():
    assert notebooks.unglued_keys(notebook(v4.new_markdown_cell("{glue:text}`uniform.ipynb::uniform/drop:s`"))) == []


@pytest.mark.parametrize("key", ["uniform/gain", "uniform/gain.paper", "ternary/drop"])
def test_glued_claim_without_record_is_rejected(key, records):
    assert notebooks.unrecorded_claims(notebook(code("glue()", glued(key))), records)


@pytest.mark.parametrize("figure", [{}, {"image": {"alt": " "}}, {"figure": {"caption": "A line."}}])
def test_figure_without_alt_text_is_rejected(figure):
    bad = notebook(code("plt.show()", shown({"image/png": PNG}), **figure))
    assert "mystnb.image.alt" in notebooks.figures_without_alt(bad)[0]


@pytest.mark.parametrize("source", ["loss = fit()", "assert True\nloss = fit()"])
def test_training_cell_without_assert_is_rejected(source):
    assert notebooks.ignored_without_assert(notebook(code(source, tags=["nbval-ignore-output"])))


# --- The pipeline -----------------------------------------------------------------------------------------------------

TEXT = """---
kernelspec:
  display_name: Python 3
  language: python
  name: python3
---

# A chapter

```{code-cell} ipython3
import matplotlib.pyplot as plt
print("one", flush=True)
print("two")
```

```{code-cell} ipython3
---
mystnb:
  image:
    alt: "A line: up."
---
plt.plot([1, 2])
plt.show()
```
"""


@pytest.fixture
def book(tmp_path):
    """A book of one chapter, ``sample``."""
    (tmp_path / "book" / "text").mkdir(parents=True)
    (tmp_path / "book" / "text" / "sample.md").write_text(TEXT, "utf-8")
    shutil.copy(ROOT / "jupytext.toml", tmp_path)
    return tmp_path / "book"


def test_refresh_twice_gives_the_same_file_and_a_notebook_that_passes(book):
    notebooks.refresh("sample", book)
    first = (book / "sample.ipynb").read_bytes()
    notebooks.refresh("sample", book)
    assert (book / "sample.ipynb").read_bytes() == first
    assert notebooks.check("sample", book) == []
    assert sorted(path.name for path in book.iterdir()) == ["sample.ipynb", "text"]


def test_failing_cell_leaves_the_stored_notebook_and_is_named(book):
    (book / "sample.ipynb").write_text("as before", "utf-8")
    (book / "text" / "sample.md").write_text(TEXT.replace("[1, 2]", "missing"), "utf-8")
    with pytest.raises(notebooks.NotebookError, match=r"(?s)cell 2 \(plt.plot\(missing\)\).*NameError: name 'missing'"):
        notebooks.refresh("sample", book)
    assert (book / "sample.ipynb").read_text("utf-8") == "as before"


def test_endless_cell_is_stopped(book):
    (book / "text" / "sample.md").write_text(TEXT.replace('print("two")', "while True: pass"), "utf-8")
    with pytest.raises(notebooks.NotebookError, match="timed out"):
        notebooks.refresh("sample", book, timeout=1)


def test_sync_goes_both_ways_and_keeps_outputs(book):
    notebooks.sync("sample", book)
    assert "sample: cell 1 (import matplotlib.pyplot as plt): not executed" in notebooks.check("sample", book)
    notebooks.refresh("sample", book)

    text = book / "text" / "sample.md"
    text.write_text(text.read_text("utf-8").replace("# A chapter", "# Another chapter"), "utf-8")
    assert notebooks.check("sample", book) != []
    notebooks.sync("sample", book)
    assert notebooks.check("sample", book) == []

    stored = nbformat.read(book / "sample.ipynb", as_version=4)
    stored.cells[1].source += "\n"
    stored.cells[0].source = "# A third chapter"
    stored.cells[1].metadata["collapsed"] = True
    nbformat.write(stored, book / "sample.ipynb")
    notebooks.sync("sample", book)
    assert "# A third chapter" in text.read_text("utf-8")
    assert 'alt: "A line: up."' in text.read_text("utf-8") or "alt: 'A line: up.'" in text.read_text("utf-8")
    assert notebooks.check("sample", book) == []


# --- The book ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("chapter", CHAPTERS)
def test_chapter_passes_all_guards(chapter):
    assert notebooks.check(chapter) == []


def test_figures_are_shown_whatever_backend_the_environment_asks_for(tmp_path, monkeypatch):
    """Clusters and containers set MPLBACKEND, which the kernel inherits; a backend chosen in the notebook stays."""
    monkeypatch.setenv("MPLBACKEND", "Agg")
    start = "import matplotlib\nimport matplotlib.pyplot as plt\nfrom fewbits import plots"
    draw = "plt.plot([1, 2])\nplt.show()"
    for choice, right in (("", True), ("matplotlib.use('svg')", False)):
        drawn = notebook(code(start), code(f"{choice}\nplots.use_theme()"), code(draw))
        notebooks.execute(drawn, tmp_path)
        assert any("image/png" in output.get("data", {}) for output in drawn.cells[2].outputs) is right
