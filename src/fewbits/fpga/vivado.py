"""Reads what the vendor's tool reports, so that whoever has it can settle the comparison (``tools/vivado.tcl``)."""

import re

_ROWS = {
    "LUT": ("CLB LUTs", "Slice LUTs"),
    "LUTRAM": ("LUT as Memory",),
    "FF": ("Register as Flip Flop",),
    "CARRY8": ("CARRY8",),
    "DSP": ("DSPs",),
    "BRAM": ("Block RAM Tile",),
}


def read_utilization(report: str) -> dict[str, float]:
    """Counts of a report of Vivado's ``report_utilization``.

    Args:
        report: its text. A row is ``| CLB LUTs* | 1234 | …``: a name, a star if a note belongs to it, the count. A name
            that occurs again in a later table is read where it comes first.
    Returns:
        LUT (with those used as memory), LUTRAM, FF, CARRY8, DSP and BRAM, in blocks of 36 kbit.
    Raises:
        ValueError: a row is missing.

    Source: own (format of a report)
    """
    rows = re.findall(r"^\|\s*([A-Za-z][\w /]*?)\*?\s*\|\s*([\d,.]+)\s*\|", report, re.MULTILINE)
    counts: dict[str, float] = {}
    for name, names in _ROWS.items():
        found = [count for row, count in rows if row in names]
        if not found:
            raise ValueError(f"report has no row {' or '.join(map(repr, names))}: is it of report_utilization?")
        counts[name] = float(found[0].replace(",", ""))
    return counts
