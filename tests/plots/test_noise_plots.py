"""Figures of chance in training: what they draw of the tables they are given."""

import matplotlib

matplotlib.use("Agg")

import pandas as pd
import pytest

from fewbits.plots import noise as figures

pytestmark = pytest.mark.usefixtures("book_theme")

METHODS = ("float", "binary", "2-bit")


def words(axes) -> list[str]:
    return [text.get_text() for text in axes.texts]


def test_runs_that_part_have_a_line_for_each_kind_of_weights():
    rows = [(method, step, 10.0 ** -(8 - place)) for place, method in enumerate(METHODS) for step in (2, 1)]
    axes = figures.runs_part(pd.DataFrame(rows, columns=["method", "step", "distance"]))
    assert [line.get_xydata().tolist() for line in axes.lines[:3]] == [
        [[1, 10.0 ** -(8 - place)], [2, 10.0 ** -(8 - place)]] for place in range(3)
    ]
    assert set(METHODS) <= set(words(axes))
    assert axes.get_yscale() == "log"


def test_settings_are_dark_where_they_differ_from_the_first():
    newest = "AVX-512 with Intel DL Boost and bfloat16 support"
    rows = [("2 threads", 2, "AVX2", newest, "OFF"), ("1 thread", 1, "AVX2", newest, "OFF")]
    rows += [("oneDNN: SSE4.1", 2, "AVX2", "SSE4.1", "OFF")]
    figure = figures.settings_tried(pd.DataFrame(rows, columns=["setting", "threads", "aten", "onednn", "mkl"]))
    (axes,) = figure.axes
    assert words(axes)[:4] == ["2", "AVX2", "AVX-512, bfloat16", "OFF"]
    dark = [text.get_text() for text, cell in zip(axes.texts, axes.patches, strict=True) if text.get_color() == "white"]
    assert dark == ["1", "SSE4.1"]
    assert [label.get_text() for label in axes.get_yticklabels()] == ["2 threads", "1 thread", "oneDNN: SSE4.1"]


def test_of_several_pairs_the_largest_distance_is_drawn():
    rows = [
        (precision, method, pooling, seed, 1e-9 * (seed + 1), 1e-3 * (seed + 1))
        for precision in ("float32", "float64")
        for method in METHODS
        for pooling in ("maximum", "average")
        for seed in (0, 1)
    ]
    columns = ["precision", "method", "pooling", "seed", "step 1", "step 8"]
    figure = figures.pooled_runs(pd.DataFrame(rows, columns=columns))
    titles = [axes.get_title("left") for axes in figure.axes]
    assert titles == ["maximum, float64", "average, float64", "maximum, float32", "average, float32"]
    for axes in figure.axes:
        for line in axes.lines[:3]:
            assert line.get_xydata().tolist() == [[1, 2e-9], [8, 2e-3]]


def test_each_row_of_a_spread_has_its_runs_and_its_range():
    seeds = pd.DataFrame(
        [
            ("constant", method, seed, 90.0 + place + seed / 2)
            for place, method in enumerate(METHODS)
            for seed in range(4)
        ],
        columns=["recipe", "method", "seed", "accuracy"],
    )
    settings = pd.DataFrame(
        [("constant", method, seed, 80.0 + k + seed) for method in METHODS for seed in (0, 1) for k in (0, 3)],
        columns=["recipe", "method", "seed", "accuracy"],
    )
    (axes,) = figures.spread(seeds, settings).axes
    labels = [label.get_text() for label in axes.get_yticklabels()]
    assert labels[:3] == ["float: 4 seeds", "float: seed 0, 2 settings", "float: seed 1, 2 settings"]
    assert words(axes) == ["1.5", "3.0", "3.0"] * 3 + ["range"]
    dots = [list(line.get_xdata()) for line in axes.lines if line.get_marker() == "o"]
    assert dots[:3] == [[90, 90.5, 91, 91.5], [80, 83], [81, 84]]


def test_seeds_needed_are_written_at_their_points():
    axes = figures.seeds_for_gain((0.5, 1.0), {"float": (32, 9), "2-bit": (547, 138)}, usual=6)
    assert {"32", "9", "547", "138", "6 seeds", "float", "2-bit"} <= set(words(axes))
    assert axes.lines[0].get_xydata().tolist() == [[0.5, 32], [1, 9]]
    assert [6, 6] in [list(line.get_ydata()) for line in axes.lines]
