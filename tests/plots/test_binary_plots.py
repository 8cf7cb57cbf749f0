"""Figures of the chapter on binary networks: what they draw and what they refuse."""

import matplotlib

matplotlib.use("Agg")

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
import torch
from matplotlib.text import Text

from fewbits import evidence, plots
from fewbits.plots import binary as figures

pytestmark = pytest.mark.usefixtures("book_theme")


@pytest.fixture(scope="module")
def small() -> pd.DataFrame:
    runs = evidence.rows("binary_runs")
    return runs[runs.data == "mnist5k"]


def lines_with_marker(axes, marker: str) -> list:
    return [line for line in axes.lines if line.get_marker() == marker and len(line.get_xdata()) > 0]


def test_memory_is_that_of_the_weights_and_accuracy_the_mean(small):
    figure = figures.accuracy_by_memory(small)
    (axes,) = figure.axes
    for method, bits in (("binarynet", 1), ("float", 32)):
        curve = lines_with_marker(axes, plots.MARKERS[method])[0]
        # 784-32-32-32-10, counted by hand: 25,088 + 1,024 + 1,024 + 320 weights.
        assert curve.get_xdata()[0] == pytest.approx(27_456 * bits / 8000)
        mean = small.loc[small.method == f"{method}, 512 units", "accuracy"].mean()
        assert curve.get_ydata()[-1] == pytest.approx(mean)
    texts = [text.get_text() for text in figure.findobj(Text)]
    assert {"BinaryNet", "float", "512"} <= set(texts)
    plt.close(figure)


def test_outermost_bins_carry_their_share():
    latent = torch.cat([torch.full((30,), -1.0), torch.full((10,), 1.0), torch.zeros(60)])
    figure = figures.latent_weights([latent])
    (axes,) = figure.axes
    heights = [bar.get_height() for bar in axes.patches]
    assert len(heights) == 41
    assert (heights[0], heights[20], heights[40]) == pytest.approx((30, 60, 10))
    assert {"30 %", "10 %"} <= {text.get_text() for text in axes.texts}
    plt.close(figure)


def test_the_error_of_an_output_is_relative_to_the_first():
    exact = torch.tensor([[[[2.0, 0.0]], [[0.0, 1.0]]]])
    figure = figures.filter_outputs({"real": exact, "zero": torch.zeros_like(exact), "double": 2 * exact})
    titles = [axes.get_title(loc="left") for axes in figure.axes[:3]]
    assert titles == ["real", "zero\nerror 1.00", "double\nerror 1.00"]
    assert {image.get_clim() for axes in figure.axes[:3] for image in axes.images} == {(-2, 2)}
    plt.close(figure)


def test_input_scales_name_mean_and_deviation():
    k = torch.tensor([0.9, 1.0, 1.1])
    figure = figures.input_scales({"layer 2": k})
    assert "layer 2: mean 1.00, standard deviation 10% of it" in {text.get_text() for text in figure.axes[0].texts}
    plt.close(figure)


@pytest.mark.parametrize("names", ["LADDER", "CHANGES", "SHIFTED_SCALES"])
def test_rows_have_readable_names_and_the_means_of_their_runs(small, names):
    table = getattr(figures, names)
    figure = figures.accuracy_rows(small, table, method="binarynet", title="rows")
    (axes,) = figure.axes
    assert [label.get_text() for label in axes.get_yticklabels()] == list(table.values())
    assert not {"bwn", "binarynet", "xnor-net"} & set(table.values())
    means = [small.loc[small.method == key, "accuracy"].mean() for key in table]
    drawn = [line.get_xdata()[0] for line in axes.lines if line.get_marker() in plots.MARKERS.values()]
    assert drawn == pytest.approx(means)
    plt.close(figure)


def test_a_row_without_runs_is_refused(small):
    with pytest.raises(ValueError, match="no row of 'binarynet, bare'"):
        figures.accuracy_rows(small[small.method == "float"], figures.LADDER, method="binarynet", title="rows")
    with pytest.raises(ValueError, match="no row of 'binarynet, 32 units'"):
        figures.accuracy_by_memory(small[small.method == "float"])
    with pytest.raises(ValueError, match="no row such as"):
        figures.shifts_by_rate(small[small.method == "float"])


def test_stochastic_weights_and_their_signs_are_two_rows(small):
    figure = figures.rules_and_draws(small)
    (axes,) = figure.axes
    drawn = small[small.method == "binaryconnect stochastic"]
    triangles = [line.get_xdata()[0] for line in lines_with_marker(axes, plots.MARKERS["binaryconnect"])]
    assert triangles == pytest.approx([drawn.accuracy.mean(), drawn.accuracy_quantized.mean()])
    plt.close(figure)


def test_each_rate_has_a_panel_on_one_axis_and_batch_statistics_are_hollow(small):
    figure = figures.shifts_by_rate(small)
    assert len(figure.axes) == 3
    assert len({axes.get_xlim() for axes in figure.axes}) == 1
    for rate, axes in zip((7, 8, 9), figure.axes, strict=True):
        hollow = [line for line in axes.lines if line.get_marker() == "o" and line.get_markerfacecolor() == "white"]
        batch = [
            small.loc[small.method == f"shift BN, {kind}AdaMax, 2^-{rate}", "accuracy_batch"].mean()
            for kind in ("", "shift ")
        ]
        assert [line.get_xdata()[0] for line in hollow] == pytest.approx(batch)
        low, high = axes.get_xlim()
        assert all(low <= x <= high for line in axes.lines for x in np.asarray(line.get_xdata()) if x > 1)
    plt.close(figure)
