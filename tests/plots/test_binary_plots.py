"""Figures of the chapter on binary networks: what they draw and what they refuse."""

from itertools import pairwise

import matplotlib

matplotlib.use("Agg")

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
import torch
from matplotlib.colors import to_rgba
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


def test_each_bar_of_the_ladder_leads_from_the_mean_before_to_the_mean_after(small):
    figure = figures.ladder(small, figures.LADDER)
    (axes,) = figure.axes
    assert [label.get_text() for label in axes.get_yticklabels()] == list(figures.LADDER.values())[1:]
    means = [small.loc[small.method == key, "accuracy"].mean() for key in figures.LADDER]
    assert [bar.get_x() for bar in axes.patches] == pytest.approx(means[1:-1])
    assert [bar.get_x() + bar.get_width() for bar in axes.patches] == pytest.approx(means[2:])
    gains = [bar.get_facecolor() == to_rgba(plots.NEGATIVE) for bar in axes.patches]
    assert gains == [after > before for before, after in pairwise(means[1:])]
    # What is written is the mean difference of the seeds that both have, as the claim on output normalization has it.
    (claim,) = [claim for claim in evidence.load("binary") if claim["id"] == "binary/output-norm"]
    assert f"+{np.mean(claim['parts'][0]['values']):.1f}" in {text.get_text() for text in axes.texts}
    plt.close(figure)


def test_effects_are_differences_seed_by_seed_around_zero(small):
    figure = figures.effects(small)
    drawn = [
        line.get_xdata()[0]
        for axes in figure.axes
        for line in axes.lines
        if line.get_marker() in plots.MARKERS.values()
    ]
    assert len(drawn) == sum(map(len, figures.CHANGES.values())) == 18
    claims = {claim["id"]: np.mean(claim["parts"][0]["values"]) for claim in evidence.load("binary") if claim["parts"]}
    names = [name for changes in figures.CHANGES.values() for name in changes]
    by_name = dict(zip(names, drawn, strict=True))
    assert by_name["a scale for each filter"] == pytest.approx(claims["binary/scale-of-weights"])
    assert by_name["both by shifts"] == pytest.approx(-claims["binary/shifts-are-free"])
    assert by_name["α and K powers of two"] == pytest.approx(claims["binary/shift-scales"])
    # Signs of a stochastic network are a column of its rows, not a method.
    runs = small[small.method == "binaryconnect stochastic"].set_index("seed").accuracy_quantized
    base = small[small.method == "binaryconnect"].set_index("seed").accuracy
    assert by_name["random draws, tested with signs"] == pytest.approx((runs - base).mean())
    plt.close(figure)


def test_a_row_without_runs_is_refused(small):
    with pytest.raises(ValueError, match="no row of 'binarynet, bare'"):
        figures.ladder(small[small.method == "float"], figures.LADDER)
    with pytest.raises(ValueError, match="no row of 'binarynet, 32 units'"):
        figures.accuracy_by_memory(small[small.method == "float"])
    with pytest.raises(ValueError, match="no row of 'binaryconnect, scale'"):
        figures.effects(small[small.method == "binaryconnect"])


def test_two_runs_of_a_method_with_one_seed_are_refused(small):
    twice = pd.concat([small, small[small.method == "binarynet"].head(1)])
    with pytest.raises(ValueError, match="two rows of 'binarynet' with the same seed"):
        figures.ladder(twice, figures.LADDER)
