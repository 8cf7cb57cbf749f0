"""Figures of results: accuracy against bits, and all claims with their words (see `fewbits.plots`)."""

from collections.abc import Mapping
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from fewbits.evidence import OWN_WORDS, SYMBOLS, WORDS, Claim, interval
from fewbits.plots.labels import End, label_ends
from fewbits.plots.theme import COLORS, MARKERS, NAMES, WIDTH, WORD_COLORS

_PAPER_DASHES = (0, (3, 2))
_PAPER_LINE: dict[str, Any] = {
    "linestyle": _PAPER_DASHES,
    "linewidth": 0.8,
    "markerfacecolor": "white",
    "markersize": 5.5,
    "zorder": 2.5,
}


def accuracy_by_bits(
    frame: pd.DataFrame,
    paper: pd.DataFrame | None = None,
    *,
    title: str = "Accuracy by bits",
    xlabel: str = "weight bits",
    ylabel: str = "test accuracy (%)",
) -> Axes:
    """Mean accuracy of each method against its bits, with the 95 % interval over seeds.

    Args:
        frame: one row a run, columns ``method`` (a name in `COLORS`), ``bits``, ``seed`` and ``accuracy`` (in the unit
            of ``ylabel``). The rows of method ``float`` become a dashed line across the figure.
        paper: the same columns without ``seed``, one row a reported value: hollow markers on thin dashed lines, and
            the paper's ``float`` as one such line across the figure.
    Raises:
        ValueError: a method has no colour, or all rows are ``float``.
    """
    paper = frame.iloc[:0] if paper is None else paper
    methods = list(dict.fromkeys([*frame["method"], *paper["method"]]))
    unknown = sorted(set(methods) - set(COLORS))
    if unknown:
        raise ValueError(f"no colour for {unknown}; the methods are {', '.join(COLORS)}")
    quantized = [method for method in methods if method != "float"]
    if not quantized:
        raise ValueError("frame has no row of a quantized method")
    all_bits = sorted({*frame.loc[frame["method"] != "float", "bits"], *paper.loc[paper["method"] != "float", "bits"]})
    _, axes = plt.subplots(figsize=(WIDTH, 3.6))

    def at(method: str, bits: pd.Series) -> np.ndarray:
        """Bits, each shifted by about a hundredth of the axis, which keeps the error bars of several methods apart."""
        present = [set(frame.loc[frame["method"] == name, "bits"]) for name in quantized]
        rank = quantized.index(method)
        before = np.array([sum(bit in those for those in present[:rank]) for bit in bits])
        after = np.array([sum(bit in those for those in present[rank + 1 :]) for bit in bits])
        return np.asarray(bits) + 0.011 * (all_bits[-1] - all_bits[0]) * (before - after) / 2

    labels: list[End] = []
    for method in quantized:
        style: dict[str, Any] = {"color": COLORS[method], "marker": MARKERS[method]}
        here = frame[frame["method"] == method].groupby("bits")["accuracy"].apply(lambda runs: interval(list(runs)))
        there = paper[paper["method"] == method].sort_values("bits")
        if len(there) > 0:
            axes.plot(at(method, there["bits"]), there["accuracy"], **style, **_PAPER_LINE)
            end = at(method, there["bits"])[-1], there["accuracy"].iloc[-1]
        if len(here) > 0:
            mean, half = np.array(list(here)).T
            # A single seed has no interval (NaN): matplotlib draws the marker alone.
            axes.errorbar(at(method, here.index), mean, yerr=half, capsize=2.5, elinewidth=1, zorder=3, **style)
            end = at(method, here.index)[-1], mean[-1]
        labels.append(End(*end, NAMES[method], style))
    # Bits are logarithms already: the axis is linear.
    axes.set_xticks(all_bits, [f"{bits:g}" for bits in all_bits])
    margin = 0.05 * (all_bits[-1] - all_bits[0] or 1)
    axes.set_xlim(all_bits[0] - margin, all_bits[-1] + margin)
    for value in paper.loc[paper["method"] == "float", "accuracy"]:
        axes.axhline(value, color=COLORS["paper"], linestyle=_PAPER_DASHES, linewidth=0.8, zorder=2)
        labels.append(End(all_bits[-1], value, f"float, paper {value:.1f}", {"color": COLORS["paper"]}))
    if "float" in set(frame["method"]):
        mean, half = interval(list(frame.loc[frame["method"] == "float", "accuracy"]))
        axes.axhline(mean, color=COLORS["float"], linestyle=(0, (6, 3)), linewidth=1.2, zorder=2)
        axes.axhspan(mean - half, mean + half, color=COLORS["float"], alpha=0.1, linewidth=0)
        labels.append(End(all_bits[-1], mean, f"float {mean:.1f}", {"color": COLORS["float"]}))
    handles = [Line2D([], [], color=COLORS["float"], marker="o", label="here: mean and 95 % interval over seeds")]
    if len(paper) > 0:
        handles.append(Line2D([], [], color=COLORS["paper"], marker="o", label="paper", **_PAPER_LINE))
    axes.legend(handles=handles, loc="best")
    axes.set_title(title, fontweight="bold")
    axes.set(xlabel=xlabel, ylabel=ylabel)
    label_ends(axes, labels)
    return axes


# Titles of chapters in a figure, by the first half of their claims' ids.
CHAPTERS = {
    "uniform": "Uniform grids",
    "binary": "Binary",
    "ternary": "Ternary",
    "low_bitwidth": "Low bit widths",
    "learned_step": "Learned steps",
    "logarithmic": "Logarithmic",
    "inq": "INQ",
    "mobileone": "MobileOne",
    "mixed_precision": "Mixed precision",
    "vector": "Shared weights",
    "bn_folding": "BN folding",
    "compensation": "Compensation",
    "integer": "Integers only",
    "bitwise": "Bit operations",
    "fpga": "Shift-adders",
    "fpga_gates": "Gates",
    "fpga_network": "One chip",
    "real_network": "Real network",
    "method_map": "Map of methods",
    "noise": "Noise",
}


def claims_at_a_glance(
    claims: list[Claim], chapters: Mapping[str, str] = CHAPTERS, *, title: str = "The claims at a glance"
) -> Figure:
    """One row a chapter, one symbol a claim, by its word: what papers claim on the left, our own findings on the right.

    Args:
        claims: at least one, with words.
        chapters: the title of each chapter by the first half of its claims' ids, in the order of the rows.
    Raises:
        ValueError: a claim's chapter has no title.
    """
    missing = sorted({claim["id"].split("/")[0] for claim in claims} - set(chapters))
    if missing:
        raise ValueError(f"chapters: no title for {missing}")
    panels = {"paper": ("claims of papers", list(WORDS)), "own": ("our own findings", list(OWN_WORDS))}
    found = {
        kind: [
            sorted((c["word"] for c in claims if c["kind"] == kind and c["id"].split("/")[0] == name), key=words.index)
            for name in chapters
        ]
        for kind, (_, words) in panels.items()
    }
    widths = [max(4, *map(len, rows)) for rows in found.values()]
    figure, both = plt.subplots(
        1, 2, sharey=True, figsize=(WIDTH, 1.4 + 0.25 * len(chapters)), width_ratios=[width + 1 for width in widths]
    )
    for axes, (kind, (heading, words)), width in zip(both, panels.items(), widths, strict=True):
        for row, said in enumerate(found[kind]):
            for place, word in enumerate(said, start=1):
                axes.text(place, row, SYMBOLS[word], **_symbol(word))
        handles = [
            Line2D([], [], linestyle="none", marker="o", markersize=7, color=WORD_COLORS[word], label=label)
            for word in words
            if (count := sum(said.count(word) for said in found[kind]))
            for label in [f"{SYMBOLS[word]} {word}: {count}"]
        ]
        axes.legend(handles=handles, loc="upper left", bbox_to_anchor=(0, -0.06), ncols=2 if kind == "paper" else 1)
        axes.set(xlim=(0, width + 1), ylim=(len(chapters) - 0.5, -0.5), xticks=[])
        axes.set_xlabel(heading, loc="left")
        axes.xaxis.set_label_position("top")
        axes.tick_params(length=0)
        axes.spines[["left", "bottom"]].set_visible(False)
    both[0].set_yticks(range(len(chapters)), list(chapters.values()))
    both[0].set_ylabel("chapter")
    figure.suptitle(title, x=0.01, ha="left")
    return figure


def _symbol(word: str) -> dict[str, Any]:
    """How the symbol of a word is drawn: white, in a disc of its colour."""
    disc = {"boxstyle": "circle,pad=0.12", "facecolor": WORD_COLORS[word], "linewidth": 0}
    return {"color": "white", "fontweight": "bold", "fontsize": 7, "ha": "center", "va": "center", "bbox": disc}
