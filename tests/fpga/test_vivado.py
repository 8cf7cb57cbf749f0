"""The report of the vendor's tool is read as it is written, and its script names circuits that are there."""

import re

import pytest
from tool_files import ROOT

from fewbits.experiments.fpga_gates.run import CIRCUITS
from fewbits.fpga.synthesis import ZCU102, rtl
from fewbits.fpga.vivado import read_utilization

# The form of a report for an UltraScale+ chip; the counts are made up.
REPORT = """
| Device       : xczu9eg-ffvb1156-2-e

1. CLB Logic
------------
+----------------------------+--------+-------+------------+-----------+-------+
|          Site Type         |  Used  | Fixed | Prohibited | Available | Util% |
+----------------------------+--------+-------+------------+-----------+-------+
| CLB LUTs*                  | 198765 |     0 |          0 |    274080 | 72.52 |
|   LUT as Logic             | 198700 |     0 |          0 |    274080 | 72.50 |
|   LUT as Memory            |     65 |     0 |          0 |    144000 |  0.05 |
|     LUT as Shift Register  |     65 |     0 |            |           |       |
| CLB Registers              | 150432 |     0 |          0 |    548160 | 27.44 |
|   Register as Flip Flop    | 150430 |     0 |          0 |    548160 | 27.44 |
|   Register as Latch        |      2 |     0 |          0 |    548160 |  0.00 |
| CARRY8                     |  13120 |     0 |          0 |     34260 | 38.30 |
+----------------------------+--------+-------+------------+-----------+-------+
* Warning! The Final LUT count, after physical optimizations and full implementation, is typically lower.

3. BLOCKRAM
| Block RAM Tile    |  1.5 |     0 |          0 |       912 |  0.16 |

4. ARITHMETIC
| DSPs      |    0 |     0 |          0 |      2520 |  0.00 |

7. Primitives
| CARRY8   | 999 |                 CLB |
"""


def test_a_report_is_read():
    assert read_utilization(REPORT) == {
        "LUT": 198_765, "LUTRAM": 65, "FF": 150_430, "CARRY8": 13_120, "DSP": 0, "BRAM": 1.5,
    }  # fmt: skip
    assert read_utilization(REPORT.replace("198765", "198,765"))["LUT"] == 198_765


def test_another_text_is_refused():
    with pytest.raises(ValueError, match="no row 'CLB LUTs' or 'Slice LUTs'"):
        read_utilization("| Device : xczu9eg |")
    with pytest.raises(ValueError, match="no row 'DSPs'"):
        read_utilization(REPORT.replace("| DSPs ", "| Blocks "))


def test_the_script_is_short_and_names_what_there_is():
    script = (ROOT / "tools" / "vivado.tcl").read_text("utf-8")
    commands = [line for line in script.splitlines() if line and not line.startswith("#")]
    assert len(commands) <= 20
    assert "-part xczu9eg" in script
    assert ZCU102["LUT"] == 274_080
    header = rtl()["stored_layer.v"]
    recorded = {design: parameters for circuit, design, _, _, parameters, _ in CIRCUITS if circuit == "layer"}
    names = {"shift": "shift", "float": "float", "truncating": "float, truncating", "fused": "float, fused"}
    generics = dict(re.findall(r"set generics\((\w+)\) \{(.*)\}", script))
    assert generics.keys() == names.keys()
    for design, generic in generics.items():
        settings = {name: int(value) for name, value in (setting.split("=") for setting in generic.split())}
        assert all(f"parameter {name} =" in header for name in settings)
        assert settings == {"FLOAT": 0} | ({"KIND": 0} if design == "float" else {}) | recorded[names[design]]
    assert re.search(r"-top (\w+)", script)[1] + ".v" in rtl()
