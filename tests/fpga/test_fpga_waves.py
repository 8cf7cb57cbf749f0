"""Waves are what the circuit holds; the figures of chapter fpga_gates draw what they are given."""

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
    assert [text.get_text() for text in axis.texts] == [str(value) for values in found.values() for value in values]
    assert [label.get_text() for label in axis.get_yticklabels()] == list(found)


@pytest.mark.usefixtures("book_theme")
def test_bars_carry_their_numbers():
    figure = figures.utilization_of_layers({"LUT": {"shift": (80.4, 70.2), "float": (132.4, 251.1)}})
    assert {text.get_text() for text in figure.axes[0].texts} == {"80", "70", "132", "251"}


@pytest.mark.usefixtures("book_theme")
def test_lines_show_the_table():
    table = evidence.rows("fpga_gates_resources")
    figure = figures.luts_by_width(table)
    lines = [line.get_ydata().tolist() for line in figure.axes[0].lines]
    rows = table[table.circuit.str.startswith("multiplier")]
    assert lines == [rows[rows.design == design].LUT.tolist() for design in ("fixed, no DSP", "shift")]
    # A multiplier of twice the width costs about four times as much, a shifter about twice.
    assert 3.5 < lines[0][3] / lines[0][1] < 4.5
    assert 1.5 < lines[1][3] / lines[1][1] < 2.5
    assert figures.processing_element().axes
