"""Figures of results: accuracy against bits, and all claims with their words (see `fewbits.plots`)."""

from collections.abc import Mapping
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch, Rectangle

from fewbits.evidence import Claim, interval
from fewbits.evidence.display import TITLES
from fewbits.plots.labels import End, label_ends
from fewbits.plots.theme import COLORS, GRID, MARKERS, NAMES, WIDTH, WORD_COLORS

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


# What the words of a claim come down to; pale words are those of a smaller scale, or of another departure.
_OUTCOMES = {
    "hold": ("reproduced", "carries over", "holds"),
    "open": ("undecided", "cited"),
    "fail": ("not reproduced", "does not carry over", "does not hold"),
}
_PALE = ("carries over", "does not carry over", "cited")


def claims_at_a_glance(
    claims: list[Claim],
    chapters: Mapping[str, str] = TITLES,
    *,
    title: str = "What became of the claims, one mark each",
) -> Figure:
    """One row a chapter, one mark a claim: those of papers on the left, our own findings on the right.

    Each side has three columns, for claims that hold, that are open and that fail, with their number at the head.

    Args:
        claims: as :func:`fewbits.evidence.load_all` returns them.
        chapters: title of each chapter, from the top, by the first half of the claims' ids.
    Raises:
        ValueError: a claim belongs to no chapter.
    """
    if unknown := sorted({claim["id"].split("/")[0] for claim in claims} - set(chapters)):
        raise ValueError(f"chapters has no title for {unknown}")
    panels = {"paper": "Claims of papers", "own": "Our own findings"}
    words = {
        (kind, name, outcome): sorted(
            (c["word"] for c in claims if c["kind"] == kind and c["id"].split("/")[0] == name and c["word"] in those),
            key=those.index,
        )
        for kind in panels
        for name in chapters
        for outcome, those in _OUTCOMES.items()
    }
    # A column is as wide as its longest row; the number at its head needs room for three.
    widths = {
        (kind, outcome): max(9, *(len(words[kind, name, outcome]) for name in chapters)) + 1
        for kind in panels
        for outcome in _OUTCOMES
    }
    sides = [sum(widths[kind, outcome] for outcome in _OUTCOMES) for kind in panels]
    figure, both = plt.subplots(
        1, 2, sharey=True, figsize=(WIDTH, 1.6 + 0.2 * len(chapters)), width_ratios=sides, squeeze=False
    )
    for axes, side, (kind, heading) in zip(both.flat, sides, panels.items(), strict=True):
        start = 0
        for outcome in _OUTCOMES:
            count = sum(len(words[kind, name, outcome]) for name in chapters)
            axes.text(start, -0.8, f"{count} {outcome}", va="bottom")
            for row, name in enumerate(chapters):
                for place, word in enumerate(words[kind, name, outcome]):
                    axes.add_patch(Rectangle((start + place, row - 0.32), 0.74, 0.64, snap=False, **_mark(word)))
            start += widths[kind, outcome]
        axes.set(xlim=(-0.1, side), ylim=(len(chapters) - 0.5, -1.6), xticks=[])
        axes.set_xlabel(heading, loc="left", fontweight="bold")
        axes.xaxis.set_label_position("top")
        axes.tick_params(length=0)
        axes.spines[["left", "bottom"]].set_visible(False)
        for row in range(len(chapters)):
            axes.axhline(row + 0.5, color=GRID, linewidth=0.6, zorder=0)
    both[0, 0].set_yticks(range(len(chapters)), list(chapters.values()))
    known = [word for word in WORD_COLORS if any(word in said for said in words.values())]
    handles = [Patch(label=word, **_mark(word)) for word in known]
    figure.legend(handles=handles, loc="outside lower right", ncols=4, handlelength=0.8, handleheight=0.8)
    figure.suptitle(title, x=0.01, ha="left")
    return figure


def _mark(word: str) -> dict[str, Any]:
    """How the mark of a word is filled."""
    colour = WORD_COLORS[word]
    pale = word in _PALE
    return {"facecolor": (colour, 0.3 if pale else 1.0), "edgecolor": colour, "linewidth": 0.7 if pale else 0}
