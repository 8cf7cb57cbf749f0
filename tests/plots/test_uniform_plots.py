"""Figures of the chapter on uniform grids: what they draw."""

import matplotlib

matplotlib.use("Agg")

import matplotlib.pyplot as plt
import pandas as pd
import pytest
import torch
from matplotlib.text import Text

from fewbits import evidence, plots
from fewbits.plots import uniform as figures

pytestmark = pytest.mark.usefixtures("book_theme")


def texts(figure) -> set[str]:
    return {text.get_text() for text in figure.findobj(Text)}


def test_each_kind_of_data_is_named_at_the_end_of_its_line():
    figure = figures.signal_to_noise([2, 4, 6], {"flat": [6.0, 22.0, 35.0], "bell": [0.3, 14.0, 27.0]})
    (axes,) = figure.axes
    assert list(axes.lines[1].get_ydata()) == [0.3, 14.0, 27.0]
    assert {"flat", "bell", "6 dB per bit"} <= texts(figure)
    # The line beside the data rises by 6.02 dB for each bit.
    x, y = axes.lines[2].get_data()
    assert (y[-1] - y[0]) / (x[-1] - x[0]) == pytest.approx(6.02)
    plt.close(figure)


def test_a_dot_marks_the_minimum_of_each_curve_and_symbols_lie_on_it():
    clips = torch.linspace(1, 5, 41, dtype=torch.float64)
    errors = {bits: (clips - best).square() + 0.01 for bits, best in ((2, 2.0), (4, 4.0))}
    rules = {bits: {"max": 5.0, "entropy": 3.0} for bits in errors}
    figure = figures.error_by_clip(torch.rand(1000) * 5, clips, errors, rules)
    below = figure.axes[1]
    minima = [line.get_xdata()[0] for line in below.lines if line.get_marker() == "o"]
    assert minima == pytest.approx([2.0, 4.0])
    assert {"best clip 2.0", "best clip 4.0", "2 bits", "4 bits", "max", "entropy"} <= texts(figure)
    for marker, clip in (("s", 5.0), ("D", 3.0)):
        drawn = [line for line in below.lines if line.get_marker() == marker and len(line.get_xdata()) == 1]
        heights = [line.get_ydata()[0] for line in drawn]
        assert heights == pytest.approx([(clip - best) ** 2 + 0.01 for best in (2.0, 4.0)])
    plt.close(figure)


def test_gains_are_differences_within_a_network():
    rows = [(2, "max", 0, 80.0), (2, "max", 1, 90.0), (2, "entropy", 0, 83.0), (2, "entropy", 1, 90.5)]
    frame = pd.DataFrame(rows, columns=["bits", "calibration", "seed", "accuracy"])
    figure = figures.gains_of_clipping(frame)
    (axes,) = figure.axes
    dots = next(line for line in axes.lines if line.get_marker() == ".")
    assert sorted(dots.get_ydata()) == [0.5, 3.0]
    median = next(line for line in axes.lines if line.get_label() == "entropy")
    assert median.get_ydata()[0] == 1.75
    plt.close(figure)


def test_points_lost_are_paired_and_bits_fall_to_the_right():
    frame = evidence.rows("uniform_bits")
    figure = figures.points_lost(frame)
    (axes,) = figure.axes
    float_mean = frame.loc[frame.method == "float", "accuracy"].mean()
    for method in ("ptq", "ptq per tensor", "qat"):
        line = next(line for line in axes.lines if line.get_marker() == plots.MARKERS[method])
        means = frame[frame.method == method].groupby("bits").accuracy.mean()
        assert list(line.get_ydata()) == pytest.approx(list(float_mean - means))
    left, right = axes.get_xlim()
    assert left > right
    top, bottom = axes.get_ylim()[::-1]
    assert top < 0 < bottom
    assert {"PTQ", "QAT", "PTQ, per tensor"} <= texts(figure)
    # A network of another seed is no reference.
    with pytest.raises(KeyError):
        figures.points_lost(frame[~((frame.method == "float") & (frame.seed == 0))])
    plt.close("all")


def test_a_row_for_each_layer_and_part():
    frame = evidence.rows("uniform_layers")
    figure = figures.sensitivity_of_layers(frame)
    (axes,) = figure.axes
    names = [label.get_text() for label in axes.get_yticklabels()]
    assert names == ["float", *(f"weights of layer {n}" for n in (1, 2, 3)), *(f"outputs of layer {n}" for n in (1, 2))]
    plt.close(figure)
