"""Figures of rounding without training: a marker for each form, a line of numbers for each grid, errors by block."""

import matplotlib

matplotlib.use("Agg")

import pandas as pd
import pytest
import torch

from fewbits.compensation import MXQuantizer
from fewbits.plots import compensation as figures

pytestmark = pytest.mark.usefixtures("book_theme")

ROWS = pd.DataFrame(
    {
        "grid": ["uniform 4", "uniform 4", "float"],
        "form": ["nearest", "GPTQ", "trained"],
        "accuracy": [40.0, 60.0, 66.0],
        "low": [38.0, 59.0, 65.0],
        "high": [42.0, 61.0, 67.0],
        "bytes": [90_000.0, 90_000.0, 636_944.0],
        "tables": [48.0, 48.0, float("nan")],
        "seconds": [0.2, 25.0, 2400.0],
    }
)


def test_each_form_has_its_marker_and_each_grid_its_numbers():
    figure = figures.grids_and_forms(ROWS)
    axes, side = figure.axes
    assert [label.get_text() for label in axes.get_yticklabels()] == ["float", "uniform, 4 bits"]
    assert [text.get_text() for text in side.texts if text.get_va() == "center"] == [
        "637",
        "90",
        "–",
        "48",
        "40",
        "0.42",
    ]
    assert [text.get_text() for text in figure.legends[0].get_texts()] == ["nearest point", "GPTQ", "trained"]
    points = {tuple(line.get_xdata()) for container in axes.containers for line in container.lines[:1]}
    assert points == {(40.0,), (60.0,), (66.0,)}


def test_an_unknown_form_is_refused():
    with pytest.raises(ValueError, match="no marker for"):
        figures.grids_and_forms(ROWS.assign(form="guessed"))


def test_errors_are_those_of_the_forms():
    x = torch.tensor([1.0, 2.0, 40.0, 1.0])
    rounded = MXQuantizer(block=2)(x)
    figure = figures.errors_in_blocks(x, {"MX": rounded})
    above, below = figure.axes
    assert [patch.get_height() for patch in above.patches] == [1, 2, 40, 1]
    assert [patch.get_height() for patch in below.patches] == (rounded - x).abs().tolist()
    assert above.get_ylabel() == "|w|"
