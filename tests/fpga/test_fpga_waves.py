"""Waves are what the circuit holds; the figures of chapter fpga_gates draw what they are given."""

import pandas as pd
import pytest

from fewbits import evidence
from fewbits.fpga import waves
from fewbits.fpga.netlist import Netlist
from fewbits.fpga.synthesis import WIDE, synthesize
from fewbits.plots import fpga_gates as figures


@pytest.fixture(scope="module")
def found():
    inputs = {"start": [1, 0, 0, 0, 0], "x": [-93, 40, 0, 0, 0], "code": [29, 12, 0, 0, 0]}
    wires = {
        "x": ("x", True),
        "shifted": ("multiply.shifted", True),
        "product": ("accumulate.term", True),
        "sum": ("sum", True),
    }
    return waves.record(Netlist(synthesize("shift_pe", WIDE)), inputs, wires)


def test_pipeline_by_hand(found):
    # -93 / 4 rounded down is -24, times -1; 40 / 8 is 5.
    assert found == {
        "x": [-93, 40, 0, 0, 0],
        "shifted": [0, -24, 5, 0, 0],
        "product": [0, 0, 24, 5, 0],
        "sum": [0, 0, 0, 24, 29],
    }


def test_unknown_wire_is_refused():
    with pytest.raises(ValueError, match="no wire of the netlist: 'nothing'"):
        waves.record(Netlist(synthesize("bias_relu")), {"sum": [1], "bias": [0]}, {"?": ("nothing", False)})


@pytest.mark.usefixtures("book_theme")
def test_waveform_has_a_box_a_number(found):
    figure = figures.waveform(found)
    (axis,) = figure.axes
    assert [text.get_text() for text in axis.texts] == [
        str(value).replace("-", "−") for values in found.values() for value in values
    ]
    assert [label.get_text() for label in axis.get_yticklabels()] == list(found)


@pytest.mark.usefixtures("book_theme")
def test_every_design_stands_beside_the_paper_s_count_of_its_kind():
    rows = {"LUT": [700_000, 190_000], "fair_LUT": [500_000, 170_000], "aggressive_LUT": [480_000, 160_000]}
    rows |= {"LUTRAM": [18_000, 0], "FF": [490_000, 150_000]}
    layers = pd.DataFrame(rows, index=["float, fused", "shift"])
    paper = {
        kind: {"LUT": value, "LUTRAM": 1000, "FF": 2000} for kind, value in (("float", 362_930), ("shift", 218_964))
    }
    axis = figures.designs_against_paper(layers, paper).axes[0]
    spans = [list(line.get_xdata()) for line in axis.lines]
    assert spans == [[362.93] * 2, [480, 700], [500], [218.964] * 2, [160, 190], [170]]
    names = [label.get_text() for label in axis.get_yticklabels()]
    assert names == ["float, fused", "shift"]


@pytest.mark.usefixtures("book_theme")
def test_savings_are_quotients_of_one_packing():
    rows = {"LUT": [200, 50], "fair_LUT": [100, 40], "aggressive_LUT": [80, 40]}
    axis = figures.savings(pd.DataFrame(rows, index=["float", "shift"]), 40.0, 10).axes[0]
    drawn = [line.get_xdata()[0] for line in axis.lines if line.get_marker() != "None"]
    assert drawn == pytest.approx([75, 60, 50])
    assert axis.patches[0].get_x() == 30
    assert axis.patches[0].get_width() == 20
    assert [label.get_text() for label in axis.get_yticklabels()] == ["against float, IEEE"]


@pytest.mark.usefixtures("book_theme")
def test_a_floor_plan_has_a_square_a_look_up_table():
    axis = figures.floor_plan({"many": 1665.2, "few": 3.25}).axes[0]
    areas = [square.get_width() * square.get_height() / 0.84**2 for square in axis.patches]
    assert len(areas) == 1666 + 4
    assert sum(areas[:1666]) == pytest.approx(1665.2)
    assert sum(areas[1666:]) == pytest.approx(3.25)
    assert [text.get_text() for text in axis.texts] == ["many\n1,665 LUTs", "few\n3.2 LUTs"]
    assert axis.get_aspect() == 1


@pytest.mark.usefixtures("book_theme")
def test_adders_are_drawn_for_each_network():
    rows = {"form": ["INQ", "INQ", "8 bits"], "adders": [9, 8, 20], "shared": [5, 6, 10]}
    axis = figures.adders(pd.DataFrame(rows | {"accuracy": [60.0, 62.0, float("nan")]})).axes[0]
    drawn = {line.get_markerfacecolor(): [] for line in axis.lines}
    for line in axis.lines:
        drawn[line.get_markerfacecolor()] += line.get_xdata().tolist()
    assert sorted(drawn.values()) == [[5, 6, 10], [9, 8, 20]]
    assert "61.0 %" in [text.get_text() for text in axis.texts]


@pytest.mark.usefixtures("book_theme")
def test_lines_show_the_table():
    table = evidence.rows("fpga_gates_resources")
    figure = figures.luts_by_width(table)
    shift, multiply = [line.get_ydata().tolist() for line in figure.axes[0].lines if len(line.get_xdata()) > 1]
    lines = [multiply, shift]
    rows = table[table.circuit.str.startswith("multiplier")]
    rows = rows.sort_values("circuit", key=lambda names: names.str.split().str[-1].astype(int))
    assert lines == [rows[rows.design == design].LUT.tolist() for design in ("fixed, no DSP", "shift")]
    # A multiplier of twice the width costs about four times as much, a shifter about twice.
    assert 3.5 < lines[0][3] / lines[0][1] < 4.5
    assert 1.5 < lines[1][3] / lines[1][1] < 2.5
    assert figures.processing_element().axes
