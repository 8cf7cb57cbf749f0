"""Figures of time: against the size of the weights, and against MACs × bits (see `fewbits.plots`)."""

from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator

from fewbits.plots.forest import Row, forest
from fewbits.plots.theme import COLORS, NEUTRALS, PALE, WIDTH, text_color

# Kind of a layer, as in the table ``mixed_precision_latency_layers`` -> colour and marker.
KINDS = {
    "first": (NEUTRALS[1], "s"),
    "3×3": (NEUTRALS[0], "o"),
    "1×1": (NEUTRALS[2], "D"),
    "depthwise": (NEUTRALS[3], "^"),
    "linear": (NEUTRALS[1], "v"),
}
KIND_NAMES = {"first": "first convolution", "linear": "linear layer"}
_METRICS = {"weight_bits_total": "size of the weights (bits)", "macs_bits": "MACs × bits"}
WEAK, STRONG = 0.5, 0.8  # where the records call a correlation weak or strong


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
        return frame["milliseconds"].astype(float), "time of a layer (ms)"
    if "cycles" in frame and frame["cycles"].notna().all():
        return _scaled(frame["cycles"], "time of a layer (cycles)")
    raise ValueError("frame must have milliseconds in every row, or cycles in every row")


def time_of_layers(frame: pd.DataFrame, *, title: str = "Which number predicts the time of a layer?") -> Figure:
    """Time against weight size (left) and against MACs × bits (right), one marker a layer and width.

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
    figure, panels = plt.subplots(1, 2, figsize=(WIDTH, 3.5), sharey=True)
    narrow = frame["bits"].min()
    for axes, (metric, name) in zip(panels, _METRICS.items(), strict=True):
        sizes, xlabel = _scaled(frame[metric], name)
        for _, its_rows in frame.groupby("layer", sort=False):
            rows = its_rows.sort_values("bits").index
            axes.plot(sizes[rows], times[rows], color=PALE, linewidth=0.9, zorder=1)
        for place, (kind, bits) in frame[["kind", "bits"]].iterrows():
            colour, marker = KINDS[kind]
            face = "white" if bits == narrow else colour
            axes.plot(sizes[place], times[place], marker, color=colour, markerfacecolor=face, clip_on=False, zorder=3)
        r = np.corrcoef(sizes, times)[0, 1]
        axes.set(xlabel=xlabel, title=f"r = {r:.2f}", xlim=(0, None), ylim=(0, None))
        axes.xaxis.set_major_locator(MaxNLocator(5))
    panels[0].set_ylabel(label)
    handles = [
        Line2D([], [], linestyle="none", color=KINDS[kind][0], marker=KINDS[kind][1], label=KIND_NAMES.get(kind, kind))
        for kind in KINDS
        if kind in set(frame["kind"])
    ]
    for bits in sorted(set(frame["bits"])):
        face = "white" if bits == narrow else COLORS["paper"]
        style: dict[str, Any] = {"color": COLORS["paper"], "markerfacecolor": face, "marker": "o", "linestyle": "none"}
        handles.append(Line2D([], [], label=f"{bits} bits", **style))
    figure.legend(handles=handles, loc="outside lower center", ncols=len(handles), columnspacing=1.2, handletextpad=0.3)
    figure.suptitle(title, x=0.01, ha="left")
    return figure


def correlations(frame: pd.DataFrame, *, title: str = "Which number predicts time?") -> Figure:
    """Pearson's r of time with MACs × bits (filled) and with weight size (hollow), a row for each name.

    Args:
        frame: rows of the table ``mixed_precision_latency_correlations`` with a column ``name``; rows of both metrics
            for each name.
    """
    styles = {"MACs×bits": (NEUTRALS[3], "o", False), "weight size": (NEUTRALS[2], "D", True)}
    rows = [
        Row(row.name, ends=(row.pearson_low, row.pearson, row.pearson_high), color=colour, marker=marker, hollow=hollow)
        for row in frame.sort_values("metric").set_index("name", drop=False).loc[frame.name.unique()].itertuples(False)
        for colour, marker, hollow in [styles[row.metric]]
    ]
    figure = forest({"": rows}, xlabel="Pearson's r with time, 95 % interval", title=title)
    axes = figure.axes[0]
    for r, text, side in ((WEAK, "weak", "right"), (STRONG, "strong", "left")):
        axes.axvline(r, color=COLORS["paper"], linestyle=(0, (4, 3)), linewidth=1, zorder=1)
        axes.annotate(
            f"{text} " if side == "right" else f" {text}",
            (r, 1.0),
            xycoords=axes.get_xaxis_transform(),
            ha=side,
            va="bottom",
            color=text_color(COLORS["paper"]),
        )
    handles = [
        Line2D([], [], linestyle="none", color=c, marker=m, markerfacecolor="white" if hollow else c, label=label)
        for label, (c, m, hollow) in zip(("MACs × bits", "size of the weights"), styles.values(), strict=True)
    ]
    figure.legend(handles=handles, loc="outside lower center", ncols=2, columnspacing=1.2, handletextpad=0.3)
    axes.set_xlim(min(-0.02, axes.get_xlim()[0]), 1.02)
    return figure
