"""Figures of the accelerator: the time table is the machine's, and points lie where the tables say."""

import matplotlib

matplotlib.use("Agg")

import pandas as pd
import pytest

from fewbits.fpga.accelerator import WAIT
from fewbits.plots import fpga_network as figures

pytestmark = pytest.mark.usefixtures("book_theme")


def test_the_time_table_has_the_cycles_of_the_machine():
    assert sum(cycles for _, cycles in figures.STAGES) == WAIT
    bars = figures.time_table(2).axes[0].patches
    assert len(bars) == 2 * WAIT
    assert max(bar.get_x() + bar.get_width() for bar in bars) == WAIT + 1


def test_blocks_are_all_named():
    words = " ".join(text.get_text() for text in figures.blocks().axes[0].texts).replace("\n", " ")
    for name in ("image memory", "feature memory", "windows", "array", "weight memory", "logits"):
        assert name in words


def test_bars_are_cycles_and_shares():
    axis = figures.cycles_by_layer(["a", "b"], [100, 40], [0.5, 0.25]).axes[0]
    assert [bar.get_width() for bar in axis.patches] == [100, 40, 50, 10]
    assert [text.get_text() for text in axis.texts] == ["50 %", "25 %"]


def test_points_and_lines_of_the_area():
    table = pd.DataFrame({"shift_adders": [128, 1312], "LUT": [20_000, 90_000], "images_per_s": [1_500, 16_000]})
    axis = figures.area_against_speed(table, 218_964, 274_080).axes[0]
    assert axis.lines[0].get_xydata().tolist() == [[20, 1.5], [90, 16]]
    assert [line.get_xdata()[0] for line in axis.lines[1:]] == [218.964, 274.08]
    assert {"128", "1,312"} <= {text.get_text() for text in axis.texts}
