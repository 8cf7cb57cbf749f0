"""Notebooks of the book: from the text twin to the executed notebook, and the guards that keep both honest.

    python tools/notebooks.py refresh [chapter ...]   book/text/<chapter>.md -> executed book/<chapter>.ipynb
    python tools/notebooks.py sync [chapter ...]      bring twin and notebook together; the one saved last wins
    python tools/notebooks.py strip [chapter ...]     remove what an editor leaves in the metadata of the notebook
    python tools/notebooks.py check [chapter ...]     run all guards

Without a chapter: all of them. A guard is a function that takes a notebook and returns a list of problems in words.
"""

import argparse
import ast
import json
import os
import re
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import jupytext
import nbformat
from jupytext.cli import jupytext as run_jupytext
from nbclient import NotebookClient
from nbclient.exceptions import CellExecutionError, CellTimeoutError, DeadKernelError
from nbformat import NotebookNode

ROOT = Path(__file__).resolve().parent.parent
BOOK = ROOT / "book"
RESULTS = ROOT / "data" / "results"

MAX_LINES = 20  # of a code cell
MAX_COLUMNS = 92  # of a line of code: what fits between both sidebars on a window of 1280 pixels
MAX_WORDS = 2500  # of a chapter's text
MIN_COMPARED = 0.7  # share of the code cells with output that nbval compares

# All metadata that a stored notebook has: what the page, the tests and the kernel need. Everything else is noise.
NOTEBOOK_METADATA = {
    "kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"},
    "language_info": {"name": "python", "pygments_lexer": "ipython3"},
}
CELL_METADATA = ("tags", "mystnb")

# What nbval understands as "do not compare", as a tag or as a comment in the cell.
IGNORED = ("nbval-ignore-output", "nbval-skip")
# Output that nevertheless nobody compares: nbval skips both, and book/conftest.py adds PNG only.
NEVER_COMPARED = {"image/jpeg", "application/vnd.jupyter.widget-view+json"}

MACHINE_TRACES = {
    "absolute path": r"(?<![\w.~-])/(?:home|root|Users|work|tmp|usr|opt|var|mnt|srv|private)/|\b[A-Z]:\\",
    "timestamp": r"\b\d{4}-\d\d-\d\d[T ]\d\d:\d\d|\b(?:Mon|Tue|Wed|Thu|Fri|Sat|Sun) \w{3} +\d+ \d\d:\d\d",
    "progress bar or elapsed time": r"\d\d:\d\d<|\d(?:it/s|s/it)\b",
    "memory address": r"\bat 0x[0-9a-fA-F]+",
}
GLUE_ROLE = re.compile(r"\{glue(?::\w*)?\}`([^`]+)`")
GLUE_DIRECTIVE = re.compile(r"\{glue(?::\w*)?\}[ \t]+(\S+)")


class NotebookError(Exception):
    """A notebook could not be executed; the message says which cell failed and why."""


# --- From text to notebook --------------------------------------------------------------------------------------------


def chapters(book: Path = BOOK) -> list[str]:
    """Names of all chapters that have a text twin."""
    return sorted(path.stem for path in (book / "text").glob("*.md"))


def refresh(chapter: str, book: Path = BOOK, timeout: int = 600) -> None:
    """Execute the text twin of a chapter in a fresh kernel and store the result as ``book/<chapter>.ipynb``.

    Raises:
        NotebookError: a cell failed or took longer than ``timeout`` seconds. The stored notebook stays as it was.
    """
    notebook = jupytext.read(book / "text" / f"{chapter}.md", fmt="md:myst")
    strip(notebook)
    execute(notebook, book, timeout)
    strip(notebook)
    write(notebook, book / f"{chapter}.ipynb")


def execute(notebook: NotebookNode, folder: Path, timeout: int = 600) -> None:
    """Run all cells in ``folder``, in place, up to the first error. Raises as `refresh` does."""
    client = NotebookClient(
        notebook,
        timeout=timeout,
        kernel_name="python3",
        resources={"metadata": {"path": str(folder)}},
        record_timing=False,  # timestamps in the metadata
        coalesce_streams=True,  # how a print is cut into messages depends on timing
        extra_arguments=["--log-level=ERROR"],  # else each kernel warns that its (local) connection is not encrypted
    )
    try:
        client.execute()
    except CellExecutionError as error:
        index = next(i for i, cell in enumerate(notebook.cells) if problems_in_outputs(cell))
        message = f"{place(notebook, index)}:\n\n{notebook.cells[index].source}\n\n{error.ename}: {error.evalue}"
        raise NotebookError(message) from error
    except (CellTimeoutError, DeadKernelError) as error:
        raise NotebookError(str(error)) from error


def strip(notebook: NotebookNode) -> None:
    """Remove, in place, all metadata but `NOTEBOOK_METADATA` and `CELL_METADATA`; number the cells' ids by position.

    So an edit changes few lines, and executing the same text twice gives the same file.
    """
    kept = {"mystnb": notebook.metadata.mystnb} if "mystnb" in notebook.metadata else {}
    notebook.metadata = nbformat.from_dict(NOTEBOOK_METADATA | kept)
    notebook.nbformat, notebook.nbformat_minor = 4, 5
    for index, cell in enumerate(notebook.cells):
        cell.id = f"cell-{index:03d}"
        cell.metadata = nbformat.from_dict({key: cell.metadata[key] for key in CELL_METADATA if cell.metadata.get(key)})


def write(notebook: NotebookNode, path: Path) -> None:
    """Store a notebook atomically: whoever reads ``path`` meanwhile sees the old file or the new one, never a half."""
    nbformat.validate(notebook)
    handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.stem}-", suffix=".tmp")
    try:
        with os.fdopen(handle, "w", encoding="utf-8") as file:
            file.write(nbformat.writes(notebook).rstrip("\n") + "\n")
        Path(temporary).chmod(0o644)
        Path(temporary).replace(path)
    except BaseException:
        Path(temporary).unlink()
        raise


def strip_file(path: Path) -> None:
    """`strip` a stored notebook; a clean file is left alone, with its time of change."""
    notebook = nbformat.read(path, as_version=4)
    if volatile_metadata(notebook):
        strip(notebook)
        write(notebook, path)


def sync(chapter: str, book: Path = BOOK) -> None:
    """Bring a notebook and its twin together; of two that differ the one saved last wins.

    Outputs of unchanged cells are kept. Changed cells have none until `refresh`, and the guards will say so.
    """
    notebook, text = book / f"{chapter}.ipynb", book / "text" / f"{chapter}.md"
    both = notebook.exists() and text.exists()
    if both and not out_of_sync(nbformat.read(notebook, as_version=4), jupytext.read(text, fmt="md:myst")):
        return
    run_jupytext(["--quiet", "--sync", str(notebook if notebook.exists() else text)])
    strip_file(notebook)


# --- Guards -----------------------------------------------------------------------------------------------------------


def place(notebook: NotebookNode, index: int) -> str:
    """How a problem names a cell: its position and its first line."""
    first = notebook.cells[index].source.strip().partition("\n")[0]
    return f"cell {index} ({first[:60]})"


def code_cells(notebook: NotebookNode) -> Iterator[tuple[str, NotebookNode]]:
    """All code cells that hold code, each with its `place`."""
    for index, cell in enumerate(notebook.cells):
        if cell.cell_type == "code" and cell.source.strip():
            yield place(notebook, index), cell


def mime_types(cell: NotebookNode) -> set[str]:
    """What the outputs of a code cell hold; printed text counts as ``text/plain``."""
    return {mime for output in cell.outputs for mime in output.get("data", {"text/plain": ""})}


def is_ignored(cell: NotebookNode) -> bool:
    """Whether a tag or a comment tells nbval not to compare the outputs of this cell."""
    comments = {line.strip().lstrip("# ").lower().replace("_", "-") for line in cell.source.splitlines() if "#" in line}
    return any(mark in cell.metadata.get("tags", []) or mark in comments for mark in IGNORED)


def is_compared(cell: NotebookNode) -> bool:
    """Whether a test run compares the outputs of this cell: text by nbval, PNG figures by book/conftest.py."""
    return not is_ignored(cell) and not mime_types(cell) <= NEVER_COMPARED


def unexecuted_cells(notebook: NotebookNode) -> list[str]:
    """nbval runs a cell that was never executed, and compares nothing."""
    return [f"{where}: not executed" for where, cell in code_cells(notebook) if cell.execution_count is None]


def execution_order(notebook: NotebookNode) -> list[str]:
    """A notebook as stored must be one run from top to bottom."""
    counts = [cell.execution_count for _, cell in code_cells(notebook) if cell.execution_count is not None]
    return (
        [] if counts == list(range(1, len(counts) + 1)) else [f"cells were executed in the order {counts}, not 1 … n"]
    )


def problems_in_outputs(cell: NotebookNode) -> list[str]:
    """Errors stored in the outputs of a cell."""
    return [f"{o.ename}: {o.evalue}" for o in cell.get("outputs", []) if o.output_type == "error"]


def stored_errors(notebook: NotebookNode) -> list[str]:
    """An error that belongs to the text is caught and printed, so that nbval compares its message."""
    return [f"{where}: stored error {p}" for where, cell in code_cells(notebook) for p in problems_in_outputs(cell)]


def out_of_sync(notebook: NotebookNode, twin: NotebookNode) -> list[str]:
    """Cells of the notebook and of its text twin must agree in kind, source, tags and figure metadata."""
    for index, (ours, theirs) in enumerate(zip(notebook.cells, twin.cells, strict=False)):
        for what, one, other in (
            ("kind", ours.cell_type, theirs.cell_type),
            ("source", ours.source.strip(), theirs.source.strip()),
            *((key, ours.metadata.get(key) or None, theirs.metadata.get(key) or None) for key in CELL_METADATA),
        ):
            if one != other:
                return [f"{place(notebook, index)}: {what} differs from the text twin (run `make notebooks`)"]
    if len(notebook.cells) != len(twin.cells):
        return [f"{len(notebook.cells)} cells, but {len(twin.cells)} in the text twin (run `make notebooks`)"]
    return []


def volatile_metadata(notebook: NotebookNode) -> list[str]:
    """Metadata that `strip` would remove: kernels, widget state, times, folded cells, random ids."""
    clean = nbformat.from_dict(json.loads(json.dumps(notebook)))
    strip(clean)
    problems = []
    if notebook.metadata != clean.metadata:
        problems.append(f"notebook metadata {sorted(notebook.metadata)} is not what `strip` leaves")
    for index, (cell, tidy) in enumerate(zip(notebook.cells, clean.cells, strict=True)):
        extra = sorted(set(cell.metadata) - set(tidy.metadata))
        if extra or cell.get("id") != tidy.id:
            what = f"metadata {extra}" if extra else f"id {cell.get('id')!r} (not {tidy.id!r})"
            problems.append(f"{place(notebook, index)}: {what}")
    return problems


def output_texts(cell: NotebookNode) -> Iterator[str]:
    """Everything readable in the outputs of a cell: text and metadata, not the bytes of pictures."""
    for output in cell.outputs:
        yield output.get("text", "")
        yield json.dumps(output.get("metadata", {}), ensure_ascii=False)
        for mime, data in output.get("data", {}).items():
            if not mime.startswith("image/") or mime == "image/svg+xml":
                yield data if isinstance(data, str) else json.dumps(data, ensure_ascii=False)


def machine_traces(notebook: NotebookNode) -> list[str]:
    """Outputs and metadata must not tell where and when the notebook was executed."""
    texts = [("notebook metadata", json.dumps(notebook.metadata))]
    texts += [(where, json.dumps(cell.metadata)) for where, cell in code_cells(notebook)]
    texts += [(where, text) for where, cell in code_cells(notebook) for text in output_texts(cell)]
    return [
        f"{where}: {what} {match.group()!r}"
        for where, text in texts
        for what, pattern in MACHINE_TRACES.items()
        if (match := re.search(pattern, text))
    ]


def uncompared_outputs(notebook: NotebookNode) -> list[str]:
    """At least `MIN_COMPARED` of the code cells with output must be compared by a test run."""
    shown = [(where, cell) for where, cell in code_cells(notebook) if cell.outputs]
    loose = [where for where, cell in shown if not is_compared(cell)]
    if len(shown) - len(loose) >= MIN_COMPARED * len(shown):
        return []
    share = f"{len(shown) - len(loose)} of {len(shown)} cells with output are compared"
    return [f"{share}, under {MIN_COMPARED:.0%}; not compared: {', '.join(loose)}"]


def svg_outputs(notebook: NotebookNode) -> list[str]:
    """An SVG differs with every run (random ids), so nbval would fail: use PNG."""
    return [
        f"{where}: SVG output, use PNG"
        for where, cell in code_cells(notebook)
        if "image/svg+xml" in mime_types(cell) or any("<svg" in text for text in output_texts(cell))
    ]


def trailing_semicolons(notebook: NotebookNode) -> list[str]:
    """A trailing ``;`` hides an output from the page but not from nbval: end with ``plt.show()``."""
    return [
        f"{where}: ends in ';', which nbval does not know; end with plt.show()"
        for where, cell in code_cells(notebook)
        if re.search(r";\s*(#[^\n]*)?\Z", cell.source.rstrip())
    ]


def long_cells(notebook: NotebookNode) -> list[str]:
    """A cell that a reader takes in at a glance has at most `MAX_LINES` lines."""
    counts = [(where, len(cell.source.strip().splitlines())) for where, cell in code_cells(notebook)]
    return [f"{where}: {count} lines of code, over {MAX_LINES}" for where, count in counts if count > MAX_LINES]


def wide_cells(notebook: NotebookNode) -> list[str]:
    """Code wider than the page is cut off, and a reader has to scroll: at most `MAX_COLUMNS` characters."""
    widths = [(where, max(map(len, cell.source.splitlines()))) for where, cell in code_cells(notebook)]
    return [
        f"{where}: line of {width} characters, over {MAX_COLUMNS}" for where, width in widths if width > MAX_COLUMNS
    ]


def sliced_sources(notebook: NotebookNode) -> list[str]:
    """Code of the package is shown by ``show_source``: whole functions, short enough to read, that fit on the page.

    Slices of a source string, chosen by what its lines happen to say, show something else once the source changes.
    """
    problems = []
    for where, cell in code_cells(notebook):
        if "getsource" in cell.source:
            problems.append(f"{where}: show whole functions with fewbits.plots.show_source")
        if "show_source(" not in cell.source:
            continue
        for text in (o["data"]["text/plain"] for o in cell.outputs if "text/plain" in o.get("data", {})):
            for function in text.split("\n\n\n"):
                lines = function.splitlines()
                if len(lines) > MAX_LINES:
                    problems.append(f"{where}: shows a function of {len(lines)} lines, over {MAX_LINES}")
                if (width := max(map(len, lines))) > MAX_COLUMNS:
                    problems.append(f"{where}: shows a line of {width} characters, over {MAX_COLUMNS}")
    return problems


def word_count(notebook: NotebookNode) -> int:
    """Words of the markdown cells; a word holds a letter or a digit."""
    text = " ".join(cell.source for cell in notebook.cells if cell.cell_type == "markdown")
    return sum(any(map(str.isalnum, word)) for word in text.split())


def long_chapter(notebook: NotebookNode) -> list[str]:
    """A chapter is read in one sitting: at most `MAX_WORDS` words."""
    count = word_count(notebook)
    return [f"{count} words of text, over {MAX_WORDS}"] if count > MAX_WORDS else []


def glued_keys(notebook: NotebookNode) -> set[str]:
    """Keys that the cells of the notebook have glued."""
    names = (o.get("metadata", {}).get("scrapbook", {}).get("name") for _, c in code_cells(notebook) for o in c.outputs)
    return {name for name in names if name}


def used_keys(notebook: NotebookNode) -> set[str]:
    """Keys that the text of the notebook pastes from itself (``page.ipynb::key`` is another page's business)."""
    text = "\n".join(cell.source for cell in notebook.cells if cell.cell_type == "markdown")
    keys = {key for pattern in (GLUE_ROLE, GLUE_DIRECTIVE) for key in pattern.findall(text)}
    return {key.partition(":")[0] for key in keys if "::" not in key}


def unglued_keys(notebook: NotebookNode) -> list[str]:
    """A number that the text pastes must come from a cell of the same notebook."""
    return [
        f"text uses the glued key {key!r}, which no cell glues" for key in used_keys(notebook) - glued_keys(notebook)
    ]


def unrecorded_claims(notebook: NotebookNode, results: Path = RESULTS) -> list[str]:
    """A glued claim, ``<chapter>/<name>`` with or without ``.suffix``, must have a record in ``data/results``."""
    problems = []
    for claim in sorted({key.partition(".")[0] for key in glued_keys(notebook) if "/" in key}):
        records = results / f"{claim.partition('/')[0]}.json"
        known = {record["id"] for record in json.loads(records.read_text("utf-8"))} if records.exists() else set()
        if claim not in known:
            problems.append(f"glued claim {claim!r} has no record in {records.name}")
    return problems


def figures_without_alt(notebook: NotebookNode) -> list[str]:
    """A picture needs a text for those who cannot see it: cell metadata ``mystnb.image.alt`` (see CONTRIBUTING.md)."""
    return [
        f"{where}: picture without mystnb.image.alt"
        for where, cell in code_cells(notebook)
        if any(mime.startswith("image/") for mime in mime_types(cell))
        and not cell.metadata.get("mystnb", {}).get("image", {}).get("alt", "").strip()
    ]


def ignored_without_assert(notebook: NotebookNode) -> list[str]:
    """A cell whose output is not compared (live training) must end in an ``assert`` that a wrong method would miss."""
    problems = []
    for where, cell in code_cells(notebook):
        if is_ignored(cell):
            statements = ast.parse(cell.source).body
            if not statements or not isinstance(statements[-1], ast.Assert):
                problems.append(f"{where}: output is not compared, and the cell does not end in an assert")
    return problems


GUARDS = (
    unexecuted_cells,
    execution_order,
    stored_errors,
    volatile_metadata,
    machine_traces,
    uncompared_outputs,
    svg_outputs,
    trailing_semicolons,
    long_cells,
    wide_cells,
    sliced_sources,
    long_chapter,
    unglued_keys,
    unrecorded_claims,
    figures_without_alt,
    ignored_without_assert,
)


def check(chapter: str, book: Path = BOOK) -> list[str]:
    """All problems of one chapter, by all guards."""
    path, text = book / f"{chapter}.ipynb", book / "text" / f"{chapter}.md"
    missing = [f"{chapter}: {file.name} is missing" for file in (path, text) if not file.exists()]
    if missing:
        return missing
    notebook = nbformat.read(path, as_version=4)
    problems = out_of_sync(notebook, jupytext.read(text, fmt="md:myst"))
    problems += [problem for guard in GUARDS for problem in guard(notebook)]
    return [f"{chapter}: {problem}" for problem in problems]


# --- Command line -----------------------------------------------------------------------------------------------------


def main() -> int:
    """Run one of the commands; the exit status is 1 if a notebook failed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("command", choices=("refresh", "sync", "strip", "check"))
    parser.add_argument("chapter", nargs="*", help="e.g. uniform; default: all")
    parser.add_argument("--timeout", type=int, default=600, help="seconds for one cell (default: 600)")
    arguments = parser.parse_args()

    known = sorted({*chapters(), *(path.stem for path in BOOK.glob("*.ipynb"))})
    unknown = set(arguments.chapter) - set(known)
    if unknown:
        parser.error(f"no chapter {', '.join(sorted(unknown))}; there are {', '.join(known)}")

    failed = False
    for chapter in arguments.chapter or known:
        if arguments.command == "check":
            problems = check(chapter)
            failed |= bool(problems)
            print("\n".join(problems) or f"{chapter}: fine")
        elif arguments.command == "refresh":
            print(f"{chapter}: ", end="", flush=True)
            try:
                refresh(chapter, timeout=arguments.timeout)
                print("executed")
            except NotebookError as error:
                failed = True
                print(f"failed, the stored notebook is unchanged\n{error}", file=sys.stderr)
        elif arguments.command == "sync":
            sync(chapter)
        else:
            strip_file(BOOK / f"{chapter}.ipynb")
    return int(failed)


if __name__ == "__main__":
    sys.exit(main())
