"""The claims of the experiment ``fpga_gates``: Table 2 of Yokota et al. (2024) against rows of circuit ``layer``.

Ours are counts of Yosys before packing. The article names no tool; a report of the vendor's, which is likely, counts
after packing, with floating-point units that are tuned for the chip. A count agrees within 10 % of the paper's, a
saving within 10 points: bounds that were set before any layer here was synthesized.
"""

from typing import Any

import pandas as pd

from fewbits import evidence
from fewbits.evidence import Claim, departure, paper_claim, part
from fewbits.fpga.synthesis import ZCU102

# Table 2 of the paper.
PAPER = {
    "shift": {"LUT": 218_964, "LUTRAM": 0, "FF": 137_951, "DSP": 0, "BRAM": 172},
    "float": {"LUT": 362_930, "LUTRAM": 43_648, "FF": 433_702, "DSP": 2_520, "BRAM": 172},
}
WEIGHTS, BIASES = 32 * 9 + 32 * 32, 32 + 32  # of the layer
STORED = {"shift": 5 * WEIGHTS + 32 * BIASES, "float": 32 * (WEIGHTS + BIASES)}  # bits
ELSEWHERE = "from all weights and biases elsewhere to all of them in flip-flops"
ONE = "one netlist; the ends of the interval are two places for its weights and biases"
SLUGS = {"shift": "proposed", "float": "float"}
WORDS = {"shift": "shifts", "float": "float32 multipliers"}

TOOL = "Yosys counts, before packing; the article names no tool, and a vendor's counts after packing."
CODE = "The article shows no code: the circuits are ours."
INPUTS = "Weights and biases are inputs of our circuit; the article does not say where it keeps them."
MANY = "Our shift-adders take the 15 exponents that a field of 5 bits has; INQ writes 8."
UNITS = "The floating-point units are ours, written to be read; a vendor's are tuned for the chip."
SPARE = "Our 1,312 multipliers take 2 DSPs each, 104 more than there are; none is made of LUTs."
DEPARTS = {"shift": [TOOL, CODE, INPUTS, MANY], "float": [TOOL, CODE, INPUTS, UNITS, SPARE]}


def make_claims(table: pd.DataFrame) -> list[Claim]:
    """What follows from the table ``fpga_gates_resources``, without words."""
    layer = table[table.circuit == "layer"].set_index("design")
    claims = []
    for design in PAPER:
        claims += [_luts(layer, design), _flip_flops(layer, design)]
    return [*claims, *_blocks(layer), _lutram(layer), _fits(layer), *_savings(layer)]


def _origins(layer: pd.DataFrame, *designs: str) -> dict[str, Any]:
    """``origins`` for a part of one value that comes from the rows of ``designs``: that of the last."""
    origin = evidence.origins(layer.loc[list(designs)])[-1]
    return {} if origin is None else {"origins": [origin]}


def _within(printed: int) -> dict[str, Any]:
    """Band and margin of a count of the paper's: 10 % of it."""
    margin = 0.1 * printed
    return {"low": printed - margin, "high": printed + margin, "paper": printed, "margin": margin}


def _luts(layer: pd.DataFrame, design: str) -> Claim:
    row, printed = layer.loc[design], PAPER[design]["LUT"]
    reason = f"Packing may leave {int(row.packed_LUT):,}."
    if design == "shift":
        names = [name for name in layer.index if name.startswith("shift, ") and name != "shift, INQ"]
        others = ", ".join(f"{int(layer.loc[name, 'LUT']):,} as {name.split(', ')[1]}" for name in names)
        reason += f" Written otherwise: {others}. With INQ's 8 exponents: {int(layer.loc['shift, INQ', 'LUT']):,}."
    return paper_claim(
        f"fpga_gates/lut-{SLUGS[design]}",
        f"The layer's 1,312 {WORDS[design]} in parallel take as many LUTs as in the paper, within 10 %",
        ("yokota2024", "Table 2", printed),
        part([int(row.LUT)], type="size", runs=["netlist"], **_within(printed), **_origins(layer, design)),
        scale="full",
        departs=DEPARTS[design],
        reason=reason,
    )


def _flip_flops(layer: pd.DataFrame, design: str) -> Claim:
    ours, printed, stored = int(layer.loc[design, "FF"]), PAPER[design]["FF"], STORED[design]
    counted = part(
        [ours],
        type="estimate",
        runs=["netlist"],
        interval=[ours, ours + stored],
        method=ELSEWHERE,
        **_within(printed),
        **_origins(layer, design),
    )
    return paper_claim(
        f"fpga_gates/ff-{SLUGS[design]}",
        f"The layer's 1,312 {WORDS[design]} in parallel take as many flip-flops as in the paper, within 10 %",
        ("yokota2024", "Table 2", printed),
        counted,
        scale="full",
        independent=ONE,
        departs=DEPARTS[design],
        reason=f"Weights and biases are {stored:,} bits more.",
    )


def _blocks(layer: pd.DataFrame) -> list[Claim]:
    shift, multiply = layer.loc["shift"], layer.loc["float"]
    none: dict[str, Any] = {
        "type": "size",
        "runs": ["netlist"],
        "high": 0,
        "paper": 0,
        "margin": 0,
        **_origins(layer, "shift"),
    }
    printed = PAPER["float"]["DSP"]
    every = part(
        [int(multiply.DSP)],
        type="size",
        runs=["netlist"],
        low=ZCU102["DSP"],
        paper=printed,
        margin=0.1 * printed,
        **_origins(layer, "float"),
    )
    return [
        paper_claim(
            "fpga_gates/dsp-proposed",
            "The layer's 1,312 shifts in parallel take no DSP and no LUTRAM",
            ("yokota2024", "Table 2", 0),
            part([int(shift.DSP)], name="DSP", **none),
            part([int(shift.LUTRAM)], name="LUTRAM", **none),
            scale="full",
            departs=DEPARTS["shift"],
        ),
        paper_claim(
            "fpga_gates/dsp-float",
            "The layer's 1,312 float32 multipliers in parallel take every DSP of the ZCU102",
            ("yokota2024", "Table 2", printed),
            every,
            scale="full",
            departs=DEPARTS["float"],
        ),
    ]


def _lutram(layer: pd.DataFrame) -> Claim:
    ours, printed = int(layer.loc["float", "LUTRAM"]), PAPER["float"]["LUTRAM"]
    return paper_claim(
        "fpga_gates/lutram-float",
        "The layer's 1,312 float32 multipliers in parallel take as many LUTs for memory as in the paper, within 10 %",
        ("yokota2024", "Table 2", printed),
        part([ours], type="size", runs=["netlist"], **_within(printed), **_origins(layer, "float")),
        scale="full",
        departs=DEPARTS["float"],
    )


def _fits(layer: pd.DataFrame) -> Claim:
    use = {design: 100 * int(layer.loc[design, "LUT"]) / ZCU102["LUT"] for design in PAPER}
    about: dict[str, Any] = {"type": "size", "unit": "%", "runs": ["netlist"]}
    return paper_claim(
        "fpga_gates/fits",
        "The layer's LUTs fit on the ZCU102 with shifts, and not with float32 multipliers",
        ("yokota2024", "Table 2", "78.89 % and 132.41 %"),
        part([use["shift"]], name="shifts", high=100, **about, **_origins(layer, "shift")),
        part([use["float"]], name="multipliers", low=100, **about, **_origins(layer, "float")),
        scale="full",
        departs=[*DEPARTS["shift"], UNITS, departure("Nothing is placed and routed.")],
    )


def _savings(layer: pd.DataFrame) -> list[Claim]:
    claims = []
    for resource, words in (("LUT", "LUTs"), ("FF", "flip-flops")):
        shift, multiply = (int(layer.loc[design, resource]) for design in PAPER)
        printed = round(100 * (1 - PAPER["shift"][resource] / PAPER["float"][resource]), 1)
        about: dict[str, Any] = {"unit": "%", "low": printed - 10, "high": printed + 10, "paper": printed, "margin": 10}
        about |= {"type": "size", "runs": ["two netlists"], **_origins(layer, "shift", "float")}
        if resource == "FF":
            ends = [
                _saved(shift + ours, multiply + theirs)
                for ours in (0, STORED["shift"])
                for theirs in (0, STORED["float"])
            ]
            about |= {"type": "estimate", "interval": [min(ends), max(ends)], "method": ELSEWHERE}
        claims.append(
            paper_claim(
                f"fpga_gates/{resource.lower()}-saving",
                f"Shifts save the share of the {words} that the paper has, within 10 points",
                ("yokota2024", "Table 2", printed, "%"),
                part([_saved(shift, multiply)], **about),
                scale="full",
                independent=ONE if resource == "FF" else "",
                departs=[*DEPARTS["shift"], UNITS, SPARE],
                headline=True,
            )
        )
    return claims


def _saved(shift: int, multiply: int) -> float:
    return round(100 * (1 - shift / multiply), 1)
