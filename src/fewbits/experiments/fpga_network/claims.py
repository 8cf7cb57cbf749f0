"""The claims of the experiment ``fpga_network``: bounds set before anything was measured on the accelerator.

The clock of an UltraScale+ chip is an assumption, as no open tool places and routes for it: `CLOCK_HZ`.
"""

from collections.abc import Mapping
from typing import Any

import pandas as pd

from fewbits import evidence
from fewbits.evidence import Claim, own_claim, part
from fewbits.fpga.synthesis import ZCU102

CLOCK_HZ = 200_000_000  # assumed
SIZES = (128, 256, 512, 1024, 1312)
MOST_CYCLES = {1024: 17_500, 1312: 12_000}
IMAGES = 1000  # test images that the simulation must equal bit for bit
MARGIN = 0.5  # points of accuracy that 16 bits may cost
TEN_ODD = ("yokota2024", "Sec. 3.2", "ten-odd times the resources of one layer")
BANDS = "ecf3c20ff186de1c9cf461c56875764c4c9f3fcd"  # the commit that set all bounds, before any run
ASSUMED = f"A clock of {CLOCK_HZ // 1_000_000} MHz is assumed."


def make_claims(tables: Mapping[str, pd.DataFrame]) -> list[Claim]:
    """What follows from the tables ``fpga_network_<name>``: "resources", "simulation" and "accuracy".

    A part is empty as long as its table has no rows.
    """
    return [
        fits(tables["resources"]),
        equal(tables["simulation"]),
        images_per_second(tables["simulation"]),
        accuracy(tables["accuracy"]),
    ]


def fits(table: pd.DataFrame) -> Claim:
    """The largest share of the chip that any array takes, by resource; empty as long as an array is missing."""
    table = table if set(SIZES) <= set(table.shift_adders) else table.iloc[:0]
    parts = []
    for resource in ("LUT", "FF", "BRAM"):
        shares = 100 * table[resource].astype(float) / ZCU102[resource]
        values = [round(float(shares.max()), 1)] if len(table) else []
        row = table.iloc[[int(shares.argmax())]] if len(table) else table
        parts.append(part(values, name=resource, high=100, **_size("%"), **_origins(row)))
    most = table.tail(1)
    dsps = [int(table.DSP.max())] if len(table) else []
    parts.append(part(dsps, name="DSP", high=0, **_size(""), **_origins(most)))
    return own_claim(
        "fpga_network/whole-network-fits",
        "All of MobileOne with INQ fits on the ZCU102 as one accelerator of 128 to 1,312 shift-adders, with no DSP",
        *parts,
        scale="full",
        band_commit=BANDS,
        paper=TEN_ODD,
        reason="Counts of Yosys before packing, memories included. The largest of five arrays; nothing is placed.",
    )


def equal(table: pd.DataFrame) -> Claim:
    """How many images have logits that differ in any bit."""
    parts = []
    for elements in MOST_CYCLES:
        row = table[table.shift_adders == elements]
        about: dict[str, Any] = {"type": "count", "runs": [f"{elements:,} shift-adders"] if len(row) else []}
        values = [int((row.images - row.equal).iloc[0])] if len(row) else []
        parts.append(part(values, name=f"{elements} differ", unit="images", high=0, **about, **_origins(row)))
        counted = [int(row.images.iloc[0])] if len(row) else []
        parts.append(part(counted, name=f"{elements} simulated", unit="images", low=IMAGES, **about, **_origins(row)))
    return own_claim(
        "fpga_network/whole-network-equal",
        f"The accelerator in Verilator and ShiftAdderNet agree in every bit of the logits of {IMAGES:,} test images of "
        "CIFAR-100",
        *parts,
        scale="full",
        band_commit=BANDS,
    )


def images_per_second(table: pd.DataFrame) -> Claim:
    """Images a second at the assumed clock, from the cycles that were simulated."""
    parts = []
    for elements, most in MOST_CYCLES.items():
        row = table[table.shift_adders == elements]
        values = [int(CLOCK_HZ / row.cycles.iloc[0])] if len(row) else []
        about: dict[str, Any] = {"type": "count", "runs": ["simulation"] if len(row) else []}
        low = int(CLOCK_HZ / most)
        parts.append(part(values, name=str(elements), unit="images/s", low=low, **about, **_origins(row)))
    cycles = ", ".join(f"{int(row.cycles):,} with {int(row.shift_adders):,}" for row in table.itertuples())
    return own_claim(
        "fpga_network/whole-network-images-per-second",
        "An image takes at most 17,500 cycles on 1,024 shift-adders and 12,000 on 1,312",
        *parts,
        scale="full",
        band_commit=BANDS,
        reason=f"{ASSUMED} Cycles: {cycles}." if cycles else ASSUMED,
    )


def accuracy(table: pd.DataFrame) -> Claim:
    """What 16 bits cost, on all test images, over the float networks that were quantized."""
    rows = table[table.form == "Q6.10"] if len(table) else table
    values = [float(value) for value in rows.change] if len(rows) else []
    runs = [int(seed) for seed in rows.seed] if len(rows) else []
    found = part(values, unit="pt", runs=runs, low=-MARGIN, high=MARGIN, **_origins(rows))
    return own_claim(
        "fpga_network/accuracy-16-bits",
        f"Numbers of 16 bits (Q6.10, wrapping) change the accuracy of the whole network by {MARGIN} points at most",
        found,
        scale="full",
        band_commit=BANDS,
        independent="float networks, trained from different seeds",
    )


def _size(unit: str) -> dict[str, Any]:
    return {"type": "size", "unit": unit, "runs": None}


def _origins(rows: pd.DataFrame) -> dict[str, Any]:
    """``origins`` for the values of a part that come from ``rows``, if they say which run."""
    found = evidence.origins(rows) if len(rows) else []
    return {"origins": found} if found and None not in found else {}
