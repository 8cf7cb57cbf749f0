"""The claims of the experiment ``fpga_gates``: Table 2 of Yokota et al. (2024) against rows of circuit ``layer``.

Ours are counts of Yosys before packing, of layers that hold their weights and biases in registers: 1,312 shift-adders
of INQ's 8 exponents, and 1,312 IEEE-754 multipliers of which 52 are made of LUTs. The article names no tool; a report
of the vendor's, which is likely, counts after packing, with floating-point units that are tuned for the chip. A count
agrees within 10 % of the paper's, a saving within 10 points: bounds that were set before any layer here was
synthesized. Layers with cheaper floating-point units have claims of their own, with bounds older than their rows.
"""

from collections.abc import Mapping
from typing import Any

import pandas as pd

from fewbits import evidence
from fewbits.evidence import Claim, departure, own_claim, paper_claim, part
from fewbits.fpga.synthesis import ZCU102

# Table 2 of the paper.
PAPER = {
    "shift": {"LUT": 218_964, "LUTRAM": 0, "FF": 137_951, "DSP": 0, "BRAM": 172},
    "float": {"LUT": 362_930, "LUTRAM": 43_648, "FF": 433_702, "DSP": 2_520, "BRAM": 172},
}
FLOATS = {"float": "IEEE 754", "float, truncating": "truncating", "float, fused": "fused"}
FIRST = "1885a6439800c7a6852bbd1661b940ace67b04be"  # has the bounds of all claims about the table
SECOND = "5f143c9630864bff42dddc8550bdfc5d2f808d32"  # has the bounds of the claims about other units, adders and clocks
OTHERWISE = ("shift, list of cases", "shift, negation by choice")
SLUGS = {"shift": "proposed", "float": "float"}
WORDS = {"shift": "shifts", "float": "float32 multipliers"}

TOOL = "Yosys counts, before packing; the article names no tool, and a vendor's counts after packing."
CODE = "The article shows no code: the circuits are ours."
HELD = "Weights and biases are in flip-flops here; the article does not say where it keeps them."
UNITS = "The floating-point units are ours, written to be read; a vendor's are tuned for the chip."
SPARE = "52 of our 1,312 multipliers are made of LUTs; the article does not say what it does where DSPs end."
DEPARTS = {"shift": [TOOL, CODE, HELD], "float": [TOOL, CODE, HELD, UNITS, SPARE]}


def make_claims(tables: Mapping[str, pd.DataFrame]) -> list[Claim]:
    """What follows from the tables ``fpga_gates_<name>`` ("resources", "adders", "timing"), without words.

    A claim about rows that are not there yet has no values.
    """
    table = tables["resources"]
    layer = table[table.circuit == "layer"].set_index("design")
    claims = []
    if set(PAPER) <= set(layer.index):
        for design in PAPER:
            claims += [_luts(layer, design), _flip_flops(layer, design)]
        claims += [*_blocks(layer), _lutram(layer), _fits(layer), *_savings(layer)]
    return [*claims, *_units(layer), *_adders(tables["adders"]), *_timing(tables["timing"])]


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
    reason = f"Packed fairly {int(row.fair_LUT):,}, aggressively {int(row.aggressive_LUT):,}."
    if design == "shift":
        others = [
            f"{int(layer.loc[name, 'LUT']):,} as {name.split(', ')[1]}" for name in OTHERWISE if name in layer.index
        ]
        reason += f" Written otherwise: {', '.join(others)}." if others else ""
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
    ours, printed = int(layer.loc[design, "FF"]), PAPER[design]["FF"]
    return paper_claim(
        f"fpga_gates/ff-{SLUGS[design]}",
        f"The layer's 1,312 {WORDS[design]} in parallel take as many flip-flops as in the paper, within 10 %",
        ("yokota2024", "Table 2", printed),
        part([ours], type="size", runs=["netlist"], **_within(printed), **_origins(layer, design)),
        scale="full",
        departs=DEPARTS[design],
        band_commit=FIRST,
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
        about = _saving(resource) | {"runs": ["two netlists"], **_origins(layer, "shift", "float")}
        claims.append(
            paper_claim(
                f"fpga_gates/{resource.lower()}-saving",
                f"Shifts save the share of the {words} that the paper has, within 10 points",
                ("yokota2024", "Table 2", about["paper"], "%"),
                part([_saved(shift, multiply)], **about),
                scale="full",
                departs=[*DEPARTS["shift"], UNITS, SPARE],
                headline=True,
                band_commit=FIRST if resource == "FF" else "",
            )
        )
    return claims


def _saving(resource: str) -> dict[str, Any]:
    printed = round(100 * (1 - PAPER["shift"][resource] / PAPER["float"][resource]), 1)
    band: dict[str, Any] = {"low": printed - 10, "high": printed + 10, "paper": printed, "margin": 10}
    return {"unit": "%", "type": "size"} | band


def _units(layer: pd.DataFrame) -> list[Claim]:
    """What other floating-point units make of the comparison; LUTs are packed fairly."""
    there = [design for design in FLOATS if design in layer.index] if "shift" in layer.index else []
    packed = {design: int(layer.loc[design, "fair_LUT"]) for design in there}
    printed = PAPER["float"]["LUT"]
    about: dict[str, Any] = {"type": "size"}
    if len(there) == len(FLOATS):
        smallest, largest = min(packed, key=lambda d: packed[d]), max(packed, key=lambda d: packed[d])
        fewest = part(
            [packed[smallest]], name="fewest", runs=[smallest], high=printed, **about, **_origins(layer, smallest)
        )
        most = part([packed[largest]], name="most", runs=[largest], low=printed, **about, **_origins(layer, largest))
    else:
        fewest = part([], name="fewest", runs=[], high=printed, **about)
        most = part([], name="most", runs=[], low=printed, **about)
    claims = [
        own_claim(
            "fpga_gates/float-band",
            "The paper's LUTs for float32 lie between those of three ways to do floating point, packed fairly",
            fewest,
            most,
            scale="full",
            paper=("yokota2024", "Table 2", printed),
            band_commit=SECOND,
        )
    ]
    for design, slug in (("float, truncating", "truncating"), ("float, fused", "fused")):
        band = {key: value for key, value in _saving("LUT").items() if key not in ("paper", "margin")}
        saved = [_saved(int(layer.loc["shift", "fair_LUT"]), packed[design])] if design in packed else []
        origin = _origins(layer, "shift", design) if saved else {}
        claims.append(
            own_claim(
                f"fpga_gates/lut-saving-{slug}",
                f"Against {slug} floating point, shifts save the paper's share of the LUTs, within 10 points",
                part(saved, runs=["two netlists"] * len(saved), **band, **origin),
                scale="full",
                paper=("yokota2024", "Table 2", _saving("LUT")["paper"], "%"),
                band_commit=SECOND,
            )
        )
    return claims


def _adders(table: pd.DataFrame) -> list[Claim]:
    """Weights as wires: what sharing saves, and whether powers of two still pay."""
    shared = table.set_index(["form", "seed"]) if len(table) else None
    seeds = sorted(set(table.seed)) if len(table) else []
    forms = set(table.form) if len(table) else set()

    def ratios(above: tuple[str, str], below: tuple[str, str]) -> tuple[list[float], dict[str, Any]]:
        if shared is None or not {above[0], below[0]} <= forms:
            return [], {"runs": []}
        found = [float(shared.loc[(above[0], s), above[1]] / shared.loc[(below[0], s), below[1]]) for s in seeds]
        origins = evidence.origins(table[table.form == above[0]].sort_values("seed"))
        return [round(ratio, 4) for ratio in found], {"runs": seeds, "origins": origins}

    claims = []
    for slug, statement, above, below, high in (
        ("adder-graph-saving",
         "Shared sums leave at most three quarters of the adders of a layer of wired INQ weights",
         ("INQ", "shared"), ("INQ", "adders"), 0.75),
        ("adders-inq-against-8-bits",
         "With sums shared, wired INQ weights take fewer adders than uniform 8-bit weights",
         ("INQ", "shared"), ("uniform, 8 bits", "shared"), 1.0),
        ("adders-inq-against-4-bits",
         "With sums shared, wired INQ weights take fewer adders than uniform 4-bit weights",
         ("INQ", "shared"), ("uniform, 4 bits", "shared"), 1.0),
    ):  # fmt: skip
        values, about = ratios(above, below)
        claims.append(
            own_claim(
                f"fpga_gates/{slug}",
                statement,
                part(values, high=high, unit="×", **about),
                scale="full",
                independent="MobileOne networks, trained from float to INQ from different seeds",
                band_commit=SECOND,
            )
        )
    return claims


def _timing(table: pd.DataFrame) -> list[Claim]:
    """Clocks after place and route, shift against the others, a ratio for each placement."""
    claims = []
    for slug, other in (("fixed", "fixed-point multiplier"), ("float", "float32 multiplier and adder (IEEE 754)")):
        ratios: list[float] = []
        about: dict[str, Any] = {"runs": []}
        if len(table) and {"shift", slug} <= set(table[table.circuit == "PE"].design):
            clocks = table[table.circuit == "PE"].pivot(index="seed", columns="design", values="MHz")
            both = clocks[["shift", slug]].dropna()
            ratios, about["runs"] = [round(ratio, 3) for ratio in both["shift"] / both[slug]], list(both.index)
            rows = table[(table.circuit == "PE") & (table.design == slug) & table.seed.isin(both.index)]
            about["origins"] = evidence.origins(rows.sort_values("seed"))
        claims.append(
            own_claim(
                f"fpga_gates/fmax-shift-over-{slug}",
                f"After place and route a shift element runs at a higher clock than one with a {other}",
                part(ratios, low=1.0, unit="×", **about),
                scale="full",
                independent="placements from different seeds of one netlist each",
                band_commit=SECOND,
            )
        )
    return claims


def _saved(shift: int, multiply: int) -> float:
    return round(100 * (1 - shift / multiply), 1)
