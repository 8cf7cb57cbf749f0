"""What a scale costs in an FPGA: a sum of 16 bits times a scale of 8 bits, or shifted by one of eight powers of two.

One such circuit follows every filter's sum where a network of signs or of ternary weights has real scales.
"""

import pandas as pd

from fewbits import evidence
from fewbits.fpga.synthesis import Synthesis, synthesize

_PORTS = "input wire clk, input wire signed [15:0] sum, input wire [{width}:0] scale, output reg signed [23:0] y"
_MODULE = "module {name} ({ports});\n  always @(posedge clk) y <= {value};\nendmodule\n"
SOURCES = {
    "scale_by_product.v": _MODULE.format(
        name="scale_by_product", ports=_PORTS.format(width=7), value="sum * $signed({1'b0, scale})"
    ),
    # The exponent says how far to shift: 0 … 7.
    "scale_by_shift.v": _MODULE.format(
        name="scale_by_shift", ports=_PORTS.format(width=2), value="$signed({{8{sum[15]}}, sum}) <<< scale"
    ),
    # Where every filter has a circuit of its own, its shift is known and is only wiring.
    "scale_by_wires.v": _MODULE.format(
        name="scale_by_wires", ports=_PORTS.format(width=0), value="$signed({{8{sum[15]}}, sum}) <<< 5"
    ),
}
NAMES = {
    "product by 8 bits": "scale_by_product",
    "shift by 3 bits": "scale_by_shift",
    "fixed shift": "scale_by_wires",
}


def scale_circuit(name: str) -> Synthesis:
    """The circuit ``name`` of `NAMES`, of look-up tables alone."""
    return synthesize(NAMES[name], sources=SOURCES, dsp=False)


def record_scales() -> pd.DataFrame:
    """Synthesize the three circuits and store ``binary_scales.csv``."""
    found = {name: scale_circuit(name) for name in NAMES}
    rows = [{"circuit": name, "LUT": one.luts, "packed_LUT": one.packed_luts} for name, one in found.items()]
    evidence.write_rows("binary_scales", pd.DataFrame(rows))
    return pd.DataFrame(rows)
