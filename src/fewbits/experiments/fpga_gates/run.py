"""Resources of a separable convolution on the FPGA of the ZCU102: shifts against multipliers.

Table 2 of Yokota et al. (2024). Every circuit of ``fewbits.fpga`` is synthesized with Yosys: processing elements,
columns of 32 multipliers, and whole layers with 1,312. A circuit whose row is recorded is not synthesized again, so the
run can be stopped at any time; ``--again`` starts over. Written are ``data/results/fpga_gates_resources.csv``
and the claims about the table, ``fpga_gates.json``.
"""

import time

import pandas as pd

from fewbits import evidence
from fewbits.core import container
from fewbits.experiments.common import codes_path, recorded
from fewbits.experiments.fpga_gates.claims import make_claims
from fewbits.fpga.synthesis import WIDE, hard_wired, rtl, synthesize

COLUMNS = ["circuit", "design", "multipliers", "LUT", "packed_LUT", "LUTRAM", "FF", "DSP", "CARRY4", "seconds"]
FIXED = {"SHIFT": 0}
WIDTHS = (8, 16, 24, 32)
# Two other ways to write a line of shift_multiply.v: each computes the same. One lists the 16 shifts and lets the tool
# choose among them; one makes both s and -s, and chooses.
_CASES = "\n".join(f"            {e}: moved = largest >>> {15 - e};" for e in range(1, 16))
REWRITTEN = {
    "shift, list of cases": (
        "wire signed [WIDTH-1:0] moved = largest >>> distance;",
        f"""reg signed [WIDTH-1:0] moved;
    always @(*)
        case (exponent)
{_CASES}
            default: moved = 0;
        endcase""",
    ),
    "shift, negation by choice": ("flipped + negative", "negative ? -shifted : shifted"),
}
# Table 2 is compared with elements of all 15 exponents that a field of 5 bits has; INQ's 8 are rows of their own.
# circuit, design, multipliers, module, its parameters, options of `synthesize`
CIRCUITS = [
    ("PE", "shift", 1, "shift_pe", WIDE, {}),
    ("PE", "shift, INQ", 1, "shift_pe", {}, {}),
    ("PE", "shift, saturating", 1, "shift_pe", WIDE | {"SATURATE": 1}, {}),
    ("PE", "fixed", 1, "fixed_pe", {}, {}),
    ("PE", "fixed, no DSP", 1, "fixed_pe", {}, {"dsp": False}),
    ("PE", "float", 1, "float_pe", {}, {}),
    ("PE", "float, no DSP", 1, "float_pe", {}, {"dsp": False}),
    ("column", "shift", 32, "pointwise", WIDE, {}),
    ("column", "shift, INQ", 32, "pointwise", {}, {}),
    ("column", "hard-wired", 32, "hard_wired", {}, {}),
    ("column", "fixed", 32, "pointwise", FIXED, {"flatten": False}),
    ("column", "float", 32, "float_pointwise", {}, {"flatten": False}),
    ("layer", "shift", 1312, "layer", WIDE, {"flatten": False}),
    ("layer", "shift, INQ", 1312, "layer", {}, {"flatten": False}),
    ("layer", "shift, list of cases", 1312, "layer", WIDE, {"flatten": False}),
    ("layer", "shift, negation by choice", 1312, "layer", WIDE, {"flatten": False}),
    ("layer", "fixed", 1312, "layer", FIXED, {"flatten": False}),
    ("layer", "float", 1312, "float_layer", {}, {"flatten": False}),
    *((f"multiplier {width}", "shift", 1, "shift_multiply", WIDE | {"WIDTH": width}, {}) for width in WIDTHS),
    *(
        (
            f"multiplier {width}",
            "fixed, no DSP",
            1,
            "fixed_multiply",
            {"WIDTH": width, "FRACTION": width // 2},
            {"dsp": False},
        )
        for width in WIDTHS
    ),
]


def add_arguments(parser) -> None:
    """Options of ``python -m fewbits.experiments fpga_gates``."""
    parser.add_argument("--again", action="store_true", help="synthesize what is recorded too")


def run(options, command: str) -> None:
    """Synthesize what is missing, then write table and claims."""
    evidence.code_version()
    table = pd.DataFrame(columns=COLUMNS) if options.again else recorded("fpga_gates_resources", COLUMNS)
    for circuit, design, multipliers, top, parameters, settings in CIRCUITS:
        if ((table.circuit == circuit) & (table.design == design)).any():
            continue
        started = time.perf_counter()
        sources = rtl()
        if design == "hard-wired":
            sources = hard_wired(trained_codes())
        elif design in REWRITTEN:
            sources = rewritten(design)
        found = synthesize(top, parameters, sources=sources, **settings)
        row = {"circuit": circuit, "design": design, "multipliers": multipliers, **found.counts()}
        row |= {"packed_LUT": found.packed_luts + found.memory_luts, "CARRY4": found.cells["CARRY4"]}
        seconds = round(time.perf_counter() - started, 1)
        new = pd.DataFrame([row | {"seconds": seconds}])[COLUMNS]
        print(new.to_string(index=False, header=False), flush=True)
        table = pd.concat([table, evidence.stamped(new, command, seconds)], ignore_index=True)
        evidence.write_rows("fpga_gates_resources", table)
    evidence.record("fpga_gates", make_claims(table), command=command, wall_s=float(table["seconds"].sum()))


def rewritten(design: str) -> dict[str, str]:
    """The circuits with one line of ``shift_multiply.v`` written as one would perhaps write it first.

    Args:
        design: key of ``REWRITTEN``.
    Raises:
        ValueError: the file no longer has the line.
    """
    sources, (line, other) = rtl(), REWRITTEN[design]
    text = sources["shift_multiply.v"]
    if line not in text:
        raise ValueError(f"shift_multiply.v no longer has {line!r}")
    return sources | {"shift_multiply.v": text.replace(line, other)}


def trained_codes(count: int = 32) -> list[int]:
    """INQ codes of a trained filter: the first ``count`` of a pointwise filter of chapter ``inq``."""
    codes = container.load_codes(codes_path("inq-small-5-bit"))["features.12.weight"]
    return codes.values.flatten()[:count].tolist()
