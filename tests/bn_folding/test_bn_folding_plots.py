"""Figures of the chapter on folding: what they draw is what they are given."""

import matplotlib

matplotlib.use("Agg")

import pandas as pd
import pytest
import torch

from fewbits.plots import bn_folding as figures
from fewbits.plots.theme import COLORS, NEUTRALS

pytestmark = pytest.mark.usefixtures("book_theme")


def dots(axis, color) -> list[list[float]]:
    return [line.get_ydata().tolist() for line in axis.lines if line.get_color() == color]


def test_channel_ranges_are_in_steps_of_the_grid_of_their_layer():
    # The widest channel of a layer is at 7 steps of -7 ... 7; a range of 1/16 of it is 7/16, less than half a step.
    networks = {"net": ([torch.tensor([1.0, 4.0])], [torch.tensor([8.0, 0.5, 4.0])])}
    axis = figures.channel_ranges_by_layer(networks, bits=4).axes[0]
    assert dots(axis, NEUTRALS[0]) == [[1.75, 7.0]]
    every, circled = dots(axis, NEUTRALS[1])
    assert every == [7.0, 0.4375, 3.5]
    assert circled == [0.4375]
    places = [line.get_xdata() for line in axis.lines if line.get_color() in NEUTRALS[:2]]
    assert max(places[0]) < 1 < min(places[1])
    (band,) = axis.patches
    assert (band.get_y(), band.get_height()) == (0, 0.5)
    assert axis.get_yticks().tolist() == list(range(8))


def test_a_range_of_exactly_half_a_step_is_not_lost():
    networks = {"net": ([torch.tensor([14.0, 1.0])], [torch.tensor([14.0, 1.0])])}
    axis = figures.channel_ranges_by_layer(networks, bits=4).axes[0]
    assert len(dots(axis, NEUTRALS[1])) == 1


def test_accuracy_by_spread_has_a_dot_a_layer_and_labels_where_asked():
    rows = [("a", 1.5, 3.0, 95.0, ""), ("a", 6.0, 12.0, 60.0, "layer 2"), ("b", 2.0, 128.0, 97.0, "layer 6")]
    frame = pd.DataFrame(rows, columns=["network", "median", "narrowest", "accuracy", "label"])
    figure = figures.accuracy_by_spread(frame)
    for axis, column in zip(figure.axes, figures.SPREADS, strict=True):
        assert [line.get_xydata().tolist() for line in axis.lines] == [
            frame.loc[frame.network == network, [column, "accuracy"]].to_numpy().tolist() for network in "ab"
        ]
        assert [text.get_text() for text in axis.texts] == ["layer 2", "layer 6"]
        assert axis.get_xlabel() == figures.SPREADS[column]
    assert [text.get_text() for text in figure.legends[0].get_texts()] == ["a", "b"]


def test_points_lost_have_a_line_for_each_seed():
    rows = [
        (
            "net",
            form,
            scales,
            bits,
            seed,
            90.0 - (form == "folded") * (scales == "per tensor") * (seed + 1) * (8 - bits),
        )
        for form in ("unfolded", "folded")
        for scales in ("per channel", "per tensor")
        for bits in (4, 8)
        for seed in (0, 1)
    ]
    rows += [("net", "unfolded", "float", 32, seed, 95.0) for seed in (0, 1)]
    frame = pd.DataFrame(rows, columns=["network", "form", "scales", "bits", "seed", "accuracy"])
    (axis,) = figures.points_lost_by_folding(frame).axes
    lines = {color: dots(axis, COLORS[color]) for color in ("ptq", "ptq per tensor")}
    assert lines == {"ptq": [[0, 0], [0, 0]], "ptq per tensor": [[4, 0], [8, 0]]}
    assert axis.get_xticks().tolist() == [4, 8]
    assert axis.get_xscale() == "linear"
