"""Figures of time: against the size of the weights, and against MACs × bits (see `fewbits.plots`)."""

from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator

from fewbits.plots.theme import COLORS, WIDTH

# Kind of a layer, as in the table ``mixed_precision_latency_layers`` -> colour and marker.
KINDS = {
    "first": (COLORS["binarynet"], "s"),
    "3×3": (COLORS["uniform"], "o"),
    "1×1": (COLORS["inq"], "D"),
    "depthwise": (COLORS["twn"], "^"),
    "linear": (COLORS["sasaki"], "v"),
}
_METRICS = {"weight_bits_total": "weight data size (bits)", "macs_bits": "MACs × bits"}


def _scaled(values: pd.Series, label: str) -> tuple[pd.Series, str]:
    """Values in thousands, millions or thousand millions, and a label that says so, so that ticks are short."""
    power = next((power for power in (9, 6, 3) if values.max() >= 10**power), 0)
    if power == 0:
        return values.astype(float), label
    times = f"10{str(power).translate(str.maketrans('369', '³⁶⁹'))}"
    scaled = label.replace(" (", f" ({times} ") if "(" in label else f"{label} ({times})"
    return values.astype(float) / 10**power, scaled


def _times(frame: pd.DataFrame) -> tuple[pd.Series, str]:
    """The time of each row and its axis label: milliseconds where they were measured, else cycles."""
    if "milliseconds" in frame and frame["milliseconds"].notna().all():
        return frame["milliseconds"].astype(float), "time (ms)"
    if "cycles" in frame and frame["cycles"].notna().all():
        return _scaled(frame["cycles"], "time (cycles)")
    raise ValueError("frame must have milliseconds in every row, or cycles in every row")


def _r(x: pd.Series, y: pd.Series) -> str:
    return f"r = {np.corrcoef(x.astype(float), y.astype(float))[0, 1]:.2f}"


def _panels(title: str) -> tuple[Figure, tuple[Axes, Axes]]:
    figure, axes = plt.subplots(1, 2, figsize=(WIDTH, 3.4), sharey=True)
    figure.suptitle(title, x=0.01, ha="left")
    return figure, tuple(axes)


def time_of_layers(frame: pd.DataFrame, *, title: str = "Which number predicts the time of a layer?") -> Figure:
    """Time against weight data size (left) and against MACs × bits (right), one marker a layer and width.

    The narrowest width has hollow markers; a thin line joins the widths of a layer. Pearson's r stands above each
    panel, for the points drawn.

    Args:
        frame: rows of the table ``mixed_precision_latency_layers`` of one network, backend and batch size: ``layer``,
            ``kind``, ``bits`` (two widths), ``weight_bits_total``, ``macs_bits``, and ``milliseconds`` or ``cycles``.
    Raises:
        ValueError: a kind has no colour, or neither time is there for every row.
    """
    unknown = sorted(set(frame["kind"]) - set(KINDS))
    if unknown:
        raise ValueError(f"no colour for {unknown}; the kinds are {', '.join(KINDS)}")
    times, label = _times(frame)
    figure, panels = _panels(title)
    narrow = frame["bits"].min()
    for axes, (metric, name) in zip(panels, _METRICS.items(), strict=True):
        sizes, xlabel = _scaled(frame[metric], name)
        for _, its_rows in frame.groupby("layer", sort=False):
            rows = its_rows.sort_values("bits").index
            axes.plot(sizes[rows], times[rows], color="#b8c0c8", linewidth=0.7, zorder=1)
        for place, (kind, bits) in frame[["kind", "bits"]].iterrows():
            colour, marker = KINDS[kind]
            face = "white" if bits == narrow else colour
            axes.plot(sizes[place], times[place], marker, color=colour, markerfacecolor=face, clip_on=False)
        axes.set(xlabel=xlabel, title=_r(sizes, times), xlim=(0, None), ylim=(0, None))
        axes.xaxis.set_major_locator(MaxNLocator(5))
    panels[0].set_ylabel(label)
    handles = [
        Line2D([], [], linestyle="none", color=KINDS[kind][0], marker=KINDS[kind][1], label=kind)
        for kind in KINDS
        if kind in set(frame["kind"])
    ]
    for bits in sorted(set(frame["bits"])):
        face = "white" if bits == narrow else COLORS["paper"]
        style: dict[str, Any] = {"color": COLORS["paper"], "markerfacecolor": face, "marker": "o", "linestyle": "none"}
        handles.append(Line2D([], [], label=f"{bits} bits", **style))
    figure.legend(handles=handles, loc="outside lower center", ncols=len(handles), columnspacing=1.2, handletextpad=0.3)
    return figure


def time_of_allocations(frame: pd.DataFrame, *, title: str = "Which number predicts the time of a network?") -> Figure:
    """The same two panels for whole networks, one point a random allocation of bits, and Pearson's r.

    Args:
        frame: rows of the table ``mixed_precision_latency_allocations`` of one network, backend and scope:
            ``weight_bits_total``, ``macs_bits``, and ``milliseconds`` or ``cycles``.
    Raises:
        ValueError: neither time is there for every row.
    """
    times, label = _times(frame)
    figure, panels = _panels(title)
    for axes, (metric, name) in zip(panels, _METRICS.items(), strict=True):
        sizes, xlabel = _scaled(frame[metric], name)
        axes.plot(sizes, times, "o", color=COLORS["uniform"], markersize=3, alpha=0.4, markeredgewidth=0)
        axes.set(xlabel=xlabel, title=_r(sizes, times))
    panels[0].set_ylabel(label)
    return figure
