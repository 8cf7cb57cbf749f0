"""Figures of the network on photographs: every answer has its bar, every method its row."""

import pandas as pd
import pytest
import torch
from figure_rules import struck_through

from fewbits.experiments.real_network.methods import METHODS
from fewbits.plots import COLORS
from fewbits.plots import real_network as figures
from fewbits.plots.theme import NEUTRALS


def test_bars_are_the_five_largest_probabilities():
    images = {"a": torch.zeros(3, 8, 8, dtype=torch.uint8), "b": torch.ones(3, 8, 8, dtype=torch.uint8)}
    answers = {"float": torch.eye(7)[:2] * 0.4 + 0.1, "4 bits": torch.arange(14.0).view(2, 7) / 100}
    figure = figures.five_most_likely(images, answers, ["a name with over nineteen letters", *"bcdefg"])
    assert len(figure.axes) == 6
    last = figure.axes[5]
    assert [bar.get_width() for bar in last.patches] == pytest.approx([0.13, 0.12, 0.11, 0.10, 0.09])
    assert [text.get_text() for text in last.texts] == list("gfedc")
    assert figure.axes[1].texts[0].get_text() == "a name with over n…"
    # The first answer of the first network, wherever it stands: here at the top of the first row, and nowhere else.
    bold = [(axes, text.get_text()) for axes in figure.axes for text in axes.texts if text.get_fontweight() == "bold"]
    assert bold == [(figure.axes[1], "a name with over n…"), (figure.axes[4], "b")]
    assert struck_through(figure) == []


def test_each_method_has_its_row_in_the_order_of_the_table():
    table = pd.DataFrame({"method": ["MXFP4", "NVFP4"], "change": [-3.0, -1.0]})
    table = table.assign(low=table.change - 1, high=table.change + 2, bytes=[2.4e6, 2.6e6])
    figure = figures.changes_of_methods(table)
    (axes,) = figure.axes
    assert [label.get_text() for label in axes.get_yticklabels()] == ["MXFP4", "NVFP4"]
    assert [text.get_text() for text in axes.texts] == ["2.4 MB", "2.6 MB", "file"]
    with pytest.raises(ValueError, match="no look for 'magic'"):
        figures.changes_of_methods(table.assign(method="magic"))


def test_every_method_of_the_experiment_has_a_look():
    looks = [figures.look_of(method) for method in set(METHODS) - {"float"}]
    assert {look.get("method", "float") for look in looks} <= set(COLORS)
    assert {look.get("color", NEUTRALS[0]) for look in looks} <= set(NEUTRALS)


def test_layers_keep_their_place():
    table = pd.DataFrame({"layer": list("abc"), "kind": ["dense", "depthwise", "linear"], "loss": [1.0, 3.0, 2.0]})
    figure = figures.loss_of_layers(table.assign(float_loss=0.5))
    places = {bar.get_x() + bar.get_width() / 2: bar.get_height() for bar in figure.axes[0].patches}
    assert places == pytest.approx({1.0: 0.5, 2.0: 2.5, 3.0: 1.5})
