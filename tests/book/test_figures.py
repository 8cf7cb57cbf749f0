"""A test run of the notebooks compares numbers and figures: shown on notebooks that were tampered with."""

import base64
import copy
import io
import re
import shutil
import subprocess
import sys
from pathlib import Path

import matplotlib.pyplot as plt
import nbformat
import numpy as np
import pytest
from nbformat import v4
from PIL import Image, ImageFilter
from tool_files import load, tool

ROOT = Path(__file__).resolve().parents[2]


comparison = load(ROOT / "book" / "conftest.py")
notebooks = tool("notebooks")

BITS = np.arange(2, 9)
ACCURACY = np.array([60, 88, 94, 96, 97, 97.2, 97.3])


def curves(move=0.0, line_width=1.5):
    """A figure as a chapter draws it; ``move`` shifts one point of one of the two curves, in points of accuracy."""
    figure, axes = plt.subplots(figsize=(6.4, 3.6))
    moved = ACCURACY + 1
    moved[1] += move
    axes.plot(BITS, ACCURACY, marker="o", label="PTQ", linewidth=line_width)
    axes.plot(BITS, moved, marker="s", label="QAT", linewidth=line_width)
    axes.set(xlabel="bits", ylabel="accuracy [%]", ylim=(50, 102), title="Accuracy against bits")
    axes.legend()
    buffer = io.BytesIO()
    figure.savefig(buffer, bbox_inches="tight")
    plt.close(figure)
    return Image.open(buffer).convert("RGBA")


def shifted(picture):
    """The picture one pixel further right, on white."""
    result = Image.new("RGBA", picture.size, "white")
    result.paste(picture, (1, 0))
    return result


def grained(picture):
    """The picture with grey levels that are off by up to three."""
    grain = np.random.default_rng(0).integers(-3, 4, np.asarray(picture).shape)
    return Image.fromarray((np.asarray(picture).astype(int) + grain).clip(0, 255).astype(np.uint8), "RGBA")


ALIKE = {
    "the same": lambda: curves(),
    "edges softened": lambda: Image.blend(curves(), curves().filter(ImageFilter.GaussianBlur(0.6)), 0.5),
    "grain": lambda: grained(curves()),
    "one pixel to the right": lambda: shifted(curves()),
    "lines 5 % thicker": lambda: curves(line_width=1.575),
}
DIFFERENT = {
    "one point moved by 6 % of the axis": lambda: curves(move=3),
    "one point moved down by 10 %": lambda: curves(move=-5),
    "no figure": lambda: None,
    "another size": lambda: curves().resize((400, 300)),
}


@pytest.mark.parametrize("name", ALIKE)
def test_noise_of_rendering_passes(name):
    assert comparison.figure_difference(curves(), ALIKE[name]()) is None


@pytest.mark.parametrize("name", DIFFERENT)
def test_changed_figure_is_noticed(name):
    assert comparison.figure_difference(curves(), DIFFERENT[name]())
    assert comparison.figure_difference(DIFFERENT[name](), curves())


# --- nbval with book/conftest.py --------------------------------------------------------------------------------------


def png(picture):
    """A picture as a notebook stores it."""
    buffer = io.BytesIO()
    picture.save(buffer, "PNG")
    return base64.b64encode(buffer.getvalue()).decode()


DRAW = "import matplotlib.pyplot as plt\nplt.plot([2, 4, 8], [{}, 0.94, 0.97])\nplt.ylim(0.5, 1)\nplt.show()"


@pytest.fixture(scope="module")
def outcomes(tmp_path_factory):
    """Stores one executed notebook in several versions, runs nbval over them; (version, cell) -> outcome."""
    folder = tmp_path_factory.mktemp("book")
    shutil.copy(ROOT / "book" / "conftest.py", folder)

    good = v4.new_notebook(cells=[v4.new_code_cell("print(round(2 / 3, 4))"), v4.new_code_cell(DRAW.format(0.6))])
    other = v4.new_notebook(cells=[v4.new_code_cell(DRAW.format(0.8))])
    for notebook in (good, other):
        notebooks.execute(notebook, folder)
        notebooks.strip(notebook)

    versions = {
        name: copy.deepcopy(good) for name in ("good", "number", "moved", "noise", "ignored", "missing", "empty")
    }
    figure = {name: version.cells[1].outputs[0].data for name, version in versions.items()}
    versions["number"].cells[0].outputs[0].text = "0.6666\n"
    figure["moved"]["image/png"] = figure["ignored"]["image/png"] = other.cells[0].outputs[0].data["image/png"]
    versions["ignored"].cells[1].metadata["tags"] = ["nbval-ignore-output"]
    figure["noise"]["image/png"] = png(shifted(comparison.figures(good.cells[1].outputs)[0]))
    del figure["missing"]["image/png"]
    for cell in versions["empty"].cells:
        cell.execution_count, cell.outputs = None, []
    for name, version in versions.items():
        nbformat.write(version, folder / f"{name}.ipynb")

    command = [sys.executable, "-m", "pytest", "-rA", "-p", "no:cacheprovider", "--nbval", "--nbval-current-env"]
    run = subprocess.run([*command, "--color=no", "."], cwd=folder, capture_output=True, text=True, check=False)
    found = re.findall(r"^(PASSED|FAILED) (?:\./)?(\w+)\.ipynb::Cell (\d)", run.stdout, re.MULTILINE)
    assert len(found) == 2 * len(versions), run.stdout + run.stderr
    return {(name, int(cell)): outcome for outcome, name, cell in found}


@pytest.mark.parametrize(
    ("version", "cell", "outcome"),
    [
        ("good", 0, "PASSED"),
        ("good", 1, "PASSED"),
        ("number", 0, "FAILED"),
        ("moved", 1, "FAILED"),
        ("noise", 1, "PASSED"),
        ("ignored", 1, "PASSED"),
        ("missing", 1, "FAILED"),
        # What nbval alone does not notice: tests/test_notebook_guards.py rejects a notebook without execution counts.
        ("empty", 0, "PASSED"),
        ("empty", 1, "PASSED"),
    ],
)
def test_nbval_on_a_version_of_a_notebook(outcomes, version, cell, outcome):
    assert outcomes[version, cell] == outcome
