"""Figures of rounding without training: a marker for each form, a line of numbers for each grid, errors by block."""

import matplotlib

matplotlib.use("Agg")

import pandas as pd
import pytest
import torch

from fewbits import plots
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
    # A pale line joins what one grid reaches.
    assert {tuple(line.get_xdata()) for line in axes.lines if line.get_color() == plots.PALE} == {(66, 66), (40, 60)}
    points = {tuple(line.get_xdata()) for container in axes.containers for line in container.lines[:1]}
    assert points == {(40.0,), (60.0,), (66.0,)}


def test_markers_that_would_hide_each_other_are_one_above_the_other():
    near = pd.concat([ROWS, ROWS.iloc[[1]].assign(form="AdaRound", accuracy=60.5)], ignore_index=True)
    axes, _ = figures.grids_and_forms(near).axes
    heights = {round(float(container.lines[0].get_ydata()[0]), 1) for container in axes.containers}
    assert heights == {0.0, 1.0, 0.7}  # float; two forms on the row; AdaRound above it


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


def test_steps_of_gptq_round_one_weight_a_panel_and_move_the_later_ones():
    states = torch.tensor([[0.7, 0.6, 0.4], [1.0, 0.4, 0.5], [1.0, 0.0, 0.7], [1.0, 0.0, 1.0]])
    figure = figures.steps_of_gptq(states, torch.tensor([1.0, 1.0, 0.0]), (0.27, 0.37))
    assert [axes.get_title(loc="left") for axes in figure.axes] == [
        "round weight 1\n",
        "round weight 2\n",
        "round weight 3\nerror 0.27",
        "or all to the nearest\nerror 0.37",
    ]

    def at(axes, marker: str, color: str) -> list[tuple[float, float]]:
        lines = [line for line in axes.lines if (line.get_marker(), line.get_markerfacecolor()) == (marker, color)]
        return [(line.get_xdata()[0], pytest.approx(line.get_ydata()[0])) for line in lines]

    dark, blue = plots.NEUTRALS[3], plots.NEUTRALS[0]
    assert [at(axes, "s", dark) for axes in figure.axes] == [[(0, 1)], [(1, 0)], [(2, 1)], [(0, 1), (1, 1), (2, 0)]]
    assert [at(axes, "o", blue) for axes in figure.axes] == [[(1, 0.4), (2, 0.5)], [(2, 0.7)], [], []]
    assert [len(at(axes, "s", plots.PALE)) for axes in figure.axes] == [0, 1, 2, 0]
    assert {text.get_text() for text in figure.axes[0].texts} >= {"1", "0.4", "0.5"}


def test_errors_by_column_are_named_with_their_last_value():
    figure = figures.error_by_column({"nearest": torch.tensor([0.0, 1, 6.58]), "GPTQ": torch.tensor([0.0, 0.5, 2.72])})
    (axes,) = figure.axes
    assert {"nearest point: 6.6 %", "GPTQ: 2.7 %"} == {text.get_text() for text in axes.texts}
    assert axes.get_xlim() == (0, 2)


def test_levels_of_grids_are_relative_to_the_largest():
    figure = figures.points_of_grids(
        {"integers": torch.tensor([-2.0, 2.0, 0.0, 1.0, 1.0]), "powers": torch.tensor([4.0])}
    )
    (axes,) = figure.axes
    assert [[path[0, 0] for path in ticks.get_segments()] for ticks in axes.collections] == [[-1, 0, 0.5, 1], [1]]


def test_arrows_lead_from_the_given_order_to_large_inputs_first():
    rows = [
        ("a", 0.01, "given", 30),
        ("a", 0.01, "activation", 60),
        ("a", 0.1, "given", 40),
        ("a", 0.1, "activation", 50),
    ]
    rows += [("a", 0.01, "rescale", 35)]
    figure = figures.orders(pd.DataFrame(rows, columns=["grid", "damping", "setting", "accuracy"]))
    (axes,) = figure.axes
    arrows = [(text.xyann[0], text.xy[0]) for text in axes.texts]
    assert arrows == [(30, 60), (40, 50)]
    diamonds = [line.get_xdata()[0] for line in axes.lines if line.get_marker() == "D" and len(line.get_xdata())]
    assert diamonds[0] == 35
    assert len(diamonds) == 2  # the other is NaN and draws nothing
