"""The rules of figures, shown on good figures and on figures that break one rule each."""

import inspect
import io
import pkgutil
import re
import shutil
import subprocess
import sys
from importlib import import_module
from pathlib import Path

import matplotlib.pyplot as plt
import nbformat
import numpy as np
import pytest
from figure_rules import faults, struck_through, watch
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from nbformat import v4
from tool_files import tool

from fewbits import plots

ROOT = Path(__file__).resolve().parents[1]
notebooks = tool("notebooks")


def good() -> tuple[Figure, Axes]:
    """A figure with lines, markers, bars, text, a picture and a map of signs."""
    figure, (left, right) = plt.subplots(1, 2, figsize=(plots.WIDTH, 3))
    left.plot([2, 4, 8], [80, 90, 95], color=plots.COLORS["twn"], marker=plots.MARKERS["twn"])
    left.bar([2, 4, 8], [10, 20, 30], color=(plots.NEUTRALS[1], 0.4))
    left.scatter([3, 5], [50, 60], c=plots.shades(2))
    left.annotate("TWN", (3, 40), color=plots.text_color(plots.COLORS["twn"]), fontsize=plots.SMALL)
    left.set(xlabel="bits", ylabel="accuracy (%)", title="Accuracy")
    right.imshow(np.linspace(-1, 1, 12).reshape(3, 4), cmap=plots.SIGN_MAP)
    right.axis("off")
    return figure, left


BAD = {
    "is 5 inches wide": lambda figure, axes: figure.set_figwidth(5),
    "has 6 points": lambda figure, axes: axes.annotate("tiny", (5, 70), fontsize=6),
    "is set in DejaVu Serif": lambda figure, axes: axes.annotate("foreign", (5, 70), family="DejaVu Serif"),
    "line has the colour #ff00ff": lambda figure, axes: axes.plot([2, 8], [0, 1], color="#ff00ff"),
    "rectangle has the colour #00ff00": lambda figure, axes: axes.bar([5], [5], color="lime", alpha=0.5),
    "pathcollection has the colour #0000ff": lambda figure, axes: axes.scatter([5], [5], color="blue"),
    "text 'loud' has the colour #ff0000": lambda figure, axes: axes.annotate("loud", (5, 70), color="red"),
    "colour map 'viridis'": lambda figure, axes: figure.axes[1].images[0].set_cmap("viridis"),
    "'outside' is cut off": lambda figure, axes: figure.text(0.99, 0.5, "outside"),
    "'TWN' and 'over it' overlap": lambda figure, axes: axes.annotate("over it", (3, 42)),
    "'first tick' and 'second tick' overlap": lambda figure, axes: axes.set_xticks(
        [2, 2.3], ["first tick", "second tick"]
    ),
    "bits are logarithms already": lambda figure, axes: axes.set_xscale("log", base=2),
}


@pytest.fixture
def theme():
    """As ``book_theme``, for figures that break rules."""
    with plt.rc_context():
        plots.use_theme()
        yield
        plt.close("all")


@pytest.mark.parametrize("fault", BAD)
def test_each_fault_is_noticed_and_only_it(theme, fault):
    figure, axes = good()
    assert faults(figure) == []
    BAD[fault](figure, axes)
    found = faults(figure)
    assert [one for one in found if fault in one], found
    assert len(found) == 1


def test_lines_and_bars_through_words_are_noticed(theme):
    figure, axes = plt.subplots()
    axes.plot([0, 10], [0, 10])
    axes.bar([2], [8], 3)
    place = {"ha": "center", "va": "center"}
    axes.annotate("on the line", (5, 5), **place)
    axes.annotate("at the end of a bar", (2, 8), **place)
    axes.annotate("with an outline", (9, 9), path_effects=plots.OUTLINE, **place)
    axes.annotate("free", (8, 2), **place)
    assert struck_through(figure) == ["on the line", "at the end of a bar"]


def test_what_is_not_drawn_is_no_fault(theme):
    figure, axes = good()
    axes.annotate("hidden", (3, 40), fontsize=3, color="red").set_visible(False)
    axes.plot([2], [1], color="red", linestyle="none")
    axes.set_xlim(1.5, 8.5)  # ticks outside are not drawn
    axes.annotate("apart", (3, 40), (5, 70), arrowprops={"arrowstyle": "-"})  # only its arrow touches "TWN"
    hidden = figure.add_axes((0, 0, 0.1, 0.1))
    hidden.axis("off")
    assert faults(figure) == []


def test_every_function_that_draws_is_checked():
    """A run of the chapters checks what they show, and the fixture ``book_theme`` what the tests draw."""
    tests = [path for path in (ROOT / "tests").rglob("test_*.py") if "book_theme" in path.read_text("utf-8")]
    files = [*(ROOT / "book" / "text").glob("*.md"), *tests]
    text = "\n".join(path.read_text("utf-8") for path in files)
    drawing = {
        name
        for info in pkgutil.iter_modules(plots.__path__, "fewbits.plots.")
        for name, function in inspect.getmembers(import_module(info.name), inspect.isfunction)
        if function.__module__ == info.name and not name.startswith("_")
        if inspect.signature(function).return_annotation in (Figure, Axes)
    }
    assert len(drawing) > 40
    assert sorted(name for name in drawing if not re.search(rf"\b{name}\(", text)) == []


SHOW = """
import matplotlib.pyplot as plt
from fewbits import plots
plots.use_theme()
_, axes = plt.subplots(figsize=(plots.WIDTH, 2))
axes.plot([2, 4], [1, 2], color={})
plt.show()
"""


def test_watching_a_figure_does_not_change_its_picture(theme):
    def picture(watched: bool) -> bytes:
        figure, (left, right) = plt.subplots(1, 2, figsize=(plots.WIDTH, 3))  # whose layout moves when drawn again
        left.imshow(np.ones((3, 3)), cmap="Greys")
        right.imshow(np.ones((3, 5)), cmap="Greys")
        figure.suptitle("Two")
        if watched:
            watch(figure)
        figure.canvas.print_figure(buffer := io.BytesIO())
        return buffer.getvalue()

    assert picture(watched=True) == picture(watched=False)


@pytest.fixture(scope="module")
def report(tmp_path_factory) -> str:
    """What nbval, with the book's conftest.py, says of a notebook with a good figure and of one with a bad one."""
    folder = tmp_path_factory.mktemp("copy") / "book"
    for file in ("book/conftest.py", "tests/figure_rules.py", "tests/matplotlibrc"):
        (folder.parent / file).parent.mkdir(exist_ok=True)
        shutil.copy(ROOT / file, folder.parent / file)
    for name, colour in {"good": "plots.NEUTRALS[0]", "bad": "'#ff00ff'"}.items():
        notebook = v4.new_notebook(cells=[v4.new_code_cell(SHOW.format(colour))])
        notebooks.execute(notebook, folder)
        notebooks.strip(notebook)
        nbformat.write(notebook, folder / f"{name}.ipynb")
    command = [sys.executable, "-m", "pytest", "-rA", "-p", "no:cacheprovider", "--nbval", "--nbval-current-env"]
    return subprocess.run([*command, "--color=no", "."], cwd=folder, capture_output=True, text=True, check=False).stdout


def test_a_run_of_the_notebooks_checks_their_figures(report):
    assert "PASSED good.ipynb::Cell 0" in report.replace("./", "")
    assert "FAILED bad.ipynb::Cell 0" in report.replace("./", "")
    assert "figure: line has the colour #ff00ff" in report
