"""Notebooks for Colab: each with a first cell that fetches the book and installs what a clean runtime lacks.

Colab opens a notebook by itself, without the package and the records that it reads. ``python tools/colab.py ADDRESS
FOLDER`` writes copies of all notebooks with such a cell; the workflow that publishes the book puts them on the branch
``colab``, and the button of each page opens the one there (tools/launch_buttons.py). Versions that Colab has are kept,
so that nothing is replaced that its kernel has loaded already.
"""

import sys
from pathlib import Path

import nbformat
from nbformat import NotebookNode

ROOT = Path(__file__).parents[1]
BRANCH = "colab"
# The extra ``book`` without what builds pages: servers and editors might replace what Colab itself runs on.
EXTRAS = "onnx,fpga,data,photographs"
PACKAGES = "hypothesis matplotlib myst-nb pandas seaborn"


def first_cell(address: str) -> str:
    """What the first cell runs: a clone of ``address``, its package, and its place among the modules."""
    return (
        "# Colab starts without this book: fetch it and install what is missing.\n"
        f"!test -d few-bits || git clone --quiet --depth 1 {address} few-bits\n"
        f"%pip install --quiet './few-bits[{EXTRAS}]' {PACKAGES}\n"
        "import sys\n"
        'sys.path.insert(0, "few-bits/src")  # so that the records are found'
    )


def for_colab(notebook: NotebookNode, address: str) -> NotebookNode:
    """A copy of a notebook that begins with `first_cell`; its outputs stay."""
    cell = nbformat.v4.new_code_cell(first_cell(address), id="colab")
    copy = nbformat.from_dict(notebook)
    copy.cells = [cell, *copy.cells]
    return copy


def write_all(address: str, folder: Path) -> list[Path]:
    """Write a copy of each notebook of the book for Colab; the files."""
    folder.mkdir(parents=True, exist_ok=True)
    written = []
    for path in sorted((ROOT / "book").glob("*.ipynb")):
        nbformat.write(for_colab(nbformat.read(path, 4), address), folder / path.name)
        written.append(folder / path.name)
    return written


if __name__ == "__main__":
    for name in write_all(sys.argv[1], Path(sys.argv[2])):
        print(name)
