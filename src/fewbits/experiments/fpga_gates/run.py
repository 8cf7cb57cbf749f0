"""Resources of a separable convolution on the FPGA of the ZCU102: shifts against multipliers.

Table 2 of Yokota et al. (2024). Circuits of ``fewbits.fpga`` are synthesized with Yosys: processing elements, columns
of 32 multipliers, and whole layers with 1,312 that hold their weights and biases in registers. A circuit whose row is
recorded is not synthesized again, so the run can be stopped at any time; ``--again`` does those of ``--circuit`` once
more. Written are ``data/results/fpga_gates_resources.csv`` and the claims, ``fpga_gates.json``.
"""

import time

import pandas as pd

from fewbits import evidence
from fewbits.core import container
from fewbits.experiments.common import codes_path, merge_rows, recorded
from fewbits.experiments.fpga_gates.claims import make_claims
from fewbits.fpga.synthesis import WIDE, hard_wired, rtl, synthesize

COLUMNS = [
    *("circuit", "design", "multipliers", "LUT", "fair_LUT", "aggressive_LUT"),
    *("LUTRAM", "FF", "DSP", "CARRY8", "seconds"),
]
FIXED = {"SHIFT": 0}
FLOAT = {"FLOAT": 1, "SOFT": 52}  # the ZCU102 has DSPs for 1,260 multipliers of 1,312
TABLES = ("resources", "adders", "timing")
WIDTHS = (8, 16, 24, 32)
# Two other ways to write a line of shift_multiply.v: each computes the same. One lists the eight shifts and lets the
# tool choose among them; one makes both s and -s, and chooses.
_CASES = "\n".join(f"            {e}: moved = largest >>> {8 - e};" for e in range(1, 9))
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
LAYER = {"flatten": False}
# Elements have INQ's 8 exponents; WIDE ones take all 15 that a field of 5 bits has.
# circuit, design, multipliers, module, its parameters, options of `synthesize`
CIRCUITS = [
    ("PE", "shift", 1, "shift_pe", {}, {}),
    ("PE", "shift, 15 exponents", 1, "shift_pe", WIDE, {}),
    ("PE", "shift, saturating", 1, "shift_pe", {"SATURATE": 1}, {}),
    ("PE", "fixed", 1, "fixed_pe", {}, {}),
    ("PE", "fixed, no DSP", 1, "fixed_pe", {}, {"dsp": False}),
    ("PE", "float", 1, "float_pe", {}, {}),
    ("PE", "float, truncating", 1, "truncating_pe", {}, {}),
    ("column", "shift", 32, "pointwise", {}, {}),
    ("column", "hard-wired", 32, "hard_wired", {}, {}),
    ("layer", "shift", 1312, "stored_layer", {}, LAYER),
    ("layer", "float", 1312, "stored_layer", FLOAT, LAYER),
    ("layer", "float, truncating", 1312, "stored_layer", FLOAT | {"KIND": 1}, LAYER),
    ("layer", "float, fused", 1312, "stored_layer", FLOAT | {"KIND": 2}, LAYER),
    ("layer", "shift, 15 exponents", 1312, "stored_layer", WIDE, LAYER),
    ("layer", "shift, list of cases", 1312, "stored_layer", {}, LAYER),
    ("layer", "shift, negation by choice", 1312, "stored_layer", {}, LAYER),
    ("layer", "fixed", 1312, "stored_layer", FIXED, LAYER),
    *((f"multiplier {width}", "shift", 1, "shift_multiply", {"WIDTH": width}, {}) for width in WIDTHS),
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
    parser.add_argument("--circuit", nargs="*", default=[], help="only these: PE, column, layer, multiplier 8, …")
    parser.add_argument("--again", action="store_true", help="synthesize what is recorded too")


def run(options, command: str) -> None:
    """Synthesize what is missing, then write table and claims."""
    evidence.code_version()
    chosen = [entry for entry in CIRCUITS if not options.circuit or entry[0] in options.circuit]
    for entry in chosen:
        table = recorded("fpga_gates_resources", COLUMNS)
        if options.again or not ((table.circuit == entry[0]) & (table.design == entry[1])).any():
            count_circuit(*entry, command)
    tables = {name: recorded(f"fpga_gates_{name}", []) for name in TABLES}
    wall = float(tables["resources"]["seconds"].sum())
    evidence.record("fpga_gates", make_claims(tables), command=command, wall_s=wall)


def count_circuit(
    circuit: str, design: str, multipliers: int, top: str, parameters: dict, settings: dict, command: str
) -> None:
    """Synthesize one circuit and write its row."""
    started = time.perf_counter()
    sources = rtl()
    if design == "hard-wired":
        sources = hard_wired(trained_codes())
    elif design in REWRITTEN:
        sources = rewritten(design)
    found = synthesize(top, parameters, sources=sources, **settings)
    row = {"circuit": circuit, "design": design, "multipliers": multipliers, **found.counts()}
    row |= {"fair_LUT": found.fair_luts, "aggressive_LUT": found.aggressive_luts, "CARRY8": found.carry8}
    seconds = round(time.perf_counter() - started, 1)
    new = pd.DataFrame([row | {"seconds": seconds}])[COLUMNS]
    print(new.to_string(index=False, header=False), flush=True)
    merge_rows("fpga_gates_resources", evidence.stamped(new, command, seconds), ["circuit", "design"])


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
