"""Figures of the chapter on MobileOne (see `fewbits.plots`)."""

from collections.abc import Mapping

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import FuncFormatter, LogLocator, NullLocator
from torch import Tensor

from fewbits.plots.forest import Row, draw_reference, draw_rows, forest, forest_height
from fewbits.plots.labels import End, label_ends
from fewbits.plots.theme import COLORS, GRID, NEUTRAL_MARKERS, NEUTRALS, SIGN_MAP, SMALL, WIDTH, ink_on

NETWORKS = {"mobilenet": "MobileNet-V1", "mobileone": "MobileOne"}


def kernels(branches: Mapping[str, Tensor], total: Tensor, *, title: str = "Branches add up to one kernel") -> Figure:
    """The kernel of every branch, and the one that is their sum, in the colours of `SIGN_MAP`.

    Args:
        branches: by name, (H, W) kernels as they count in the sum.
        total: (H, W), shown after the equals sign.
    """
    panels = [*branches.items(), ("merged kernel", total)]
    figure, axes = plt.subplots(1, len(panels), figsize=(WIDTH, 1.9), squeeze=False)
    largest = max(kernel.abs().max().item() for _, kernel in panels)
    for index, (axis, (name, kernel)) in enumerate(zip(axes.flat, panels, strict=True)):
        values = kernel.detach().double().numpy()
        drawn = axis.imshow(values, cmap=SIGN_MAP, vmin=-largest, vmax=largest)
        for (row, column), value in np.ndenumerate(values):
            red, green, blue, _ = drawn.cmap(drawn.norm(value))
            ink = ink_on((red, green, blue))
            text = f"{value + 0.0:.2f}".replace("-", "−") if value else "0"
            axis.text(column, row, text, ha="center", va="center", fontsize=SMALL, color=ink)
        axis.set_title(name, fontsize=SMALL)
        axis.set(xticks=[], yticks=[])
        axis.spines[:].set(visible=True, color=GRID)
        if index:
            sign = "=" if index == len(branches) else "+"
            axis.text(-0.13, 0.5, sign, transform=axis.transAxes, ha="center", va="center")
    figure.suptitle(title, x=0.01, ha="left")
    return figure


def accuracy_through_inq(
    runs: pd.DataFrame,
    stages: pd.DataFrame,
    paper: Mapping[str, tuple[float, float]],
    *,
    title: str = "MobileOne starts higher and loses more",
) -> Figure:
    """Test accuracy of each run at every step of INQ, a panel a network; at the end the points that it has lost.

    Args:
        runs: one row a run and form; columns ``network``, ``seed``, ``form`` ("float", "inq"), ``accuracy`` (percent).
        stages: one row a run and stage; columns ``network``, ``seed``, ``stage``, ``fraction``, ``frozen``, ``trained``
            (percent; NaN after the last stage).
        paper: by network, the paper's accuracy before and after INQ.
    """
    figure, axes = plt.subplots(1, len(paper), figsize=(WIDTH, 3.6), sharey=True, squeeze=False)
    fractions = sorted(stages.fraction.unique())
    ends: list[list[End]] = []
    for axis, (network, (before, after)) in zip(axes.flat, paper.items(), strict=True):
        first = runs[(runs.network == network) & (runs.form == "float")].set_index("seed").accuracy
        ends.append([])
        for (seed, start), marker in zip(first.items(), NEUTRAL_MARKERS, strict=False):
            rows = stages[(stages.network == network) & (stages.seed == seed)].sort_values("stage")
            y = np.r_[start, rows[["frozen", "trained"]].to_numpy().flatten()[:-1]]
            # A freezing is drawn at its tick, the training after it half-way to the next.
            x = np.r_[0, np.arange(2, len(y) + 1) / 2]
            style = {"color": COLORS["inq"], "marker": marker}
            axis.plot(x, y, linewidth=1, markersize=4, **style)
            axis.plot(0, start, marker=marker, color=COLORS["float"], markersize=4, linestyle="none")
            ends[-1].append(End(x[-1], y[-1], f"−{start - y[-1]:.1f}", style))
        hollow = {"marker": "o", "color": COLORS["paper"], "markerfacecolor": "white"}
        axis.plot([0, len(fractions)], [before, after], linestyle="none", zorder=4, **hollow)
        ends[-1].append(End(len(fractions), after, f"paper −{before - after:.1f}", hollow))
        axis.set_xticks(range(len(fractions) + 1), ["float", *(f"{100 * fraction:g} %" for fraction in fractions)])
        axis.set(
            xlim=(-0.3, len(fractions) + 0.15),
            ylim=(0, 72),
            xlabel="frozen at the ticks, then trained",
            title=NETWORKS[network],
        )
    axes[0, 0].set_ylabel("test accuracy (%)")
    figure.suptitle(title, x=0.01, ha="left")
    for axis, names in zip(axes.flat, ends, strict=True):
        label_ends(axis, names)
    return figure


ORDERS = {
    "float": "float",
    "folded first": "merged, then INQ",
    "branches": "INQ on the branches",
    "merged": "… then merged",
    "rounded": "… and rounded again",
    "corrected": "… and statistics corrected",
}


def accuracy_by_order(frame: pd.DataFrame, *, title: str = "INQ before merging, or after") -> Figure:
    """A row for each order of merging and INQ: accuracy by seed, and the share of weights on the grid.

    Args:
        frame: one row a seed and form; columns ``form`` (keys of `ORDERS`), ``accuracy`` (percent), ``on_grid``.
    """
    rows = []
    for form, name in ORDERS.items():
        runs = frame[frame.form == form]
        method = "float" if form == "float" else "inq"
        rows.append(Row(name, list(runs.accuracy), method=method, note=f"{100 * runs.on_grid.mean():.0f} %"))
    return forest({"": rows}, xlabel="test accuracy (%)", title=title, reference="float", note="on the grid")


KINDS = ("full", "depthwise", "pointwise", "linear")


def _power(value: float, _: int = 0) -> str:
    """A power of two as a number or a fraction: "8", "1/2"."""
    return f"{value:g}" if value >= 1 else f"1/{1 / value:g}"


def largest_weights(frame: pd.DataFrame, *, title: str = "The largest weight of each layer") -> Figure:
    """A panel a network, a dot a layer in the order of the layers; the marker tells its kind, the largest is labelled.

    Args:
        frame: one row a layer and network; columns ``network``, ``kind`` (of `KINDS`) and ``largest`` (magnitude).
    """
    networks = list(dict.fromkeys(frame.network))
    figure, axes = plt.subplots(1, len(networks), figsize=(WIDTH, 3.0), sharey=True, squeeze=False)
    for axis, network in zip(axes.flat, networks, strict=True):
        rows = frame[frame.network == network].reset_index(drop=True)
        for kind, marker, colour in zip(KINDS, NEUTRAL_MARKERS, NEUTRALS, strict=True):
            chosen = rows[rows.kind == kind]
            axis.plot(chosen.index + 1, chosen.largest, marker, color=colour, markersize=4.5, linestyle="none")
        if rows.largest.max() == frame.largest.max():
            place = int(rows.largest.idxmax())
            axis.annotate(
                f"{rows.largest[place]:.0f}",
                (place + 1, rows.largest[place]),
                (-6, 0),
                textcoords="offset points",
                ha="right",
                va="center",
            )
        axis.set_yscale("log", base=2)
        axis.yaxis.set_major_locator(LogLocator(2, numticks=12))
        axis.yaxis.set_major_formatter(FuncFormatter(_power))
        axis.yaxis.set_minor_locator(NullLocator())
        axis.grid(axis="y", color=GRID, linewidth=0.8)
        axis.set_axisbelow(True)
        axis.set(xlabel="layer", title=network)
    axes[0, 0].set_ylabel("largest magnitude")
    handles = [
        Line2D([], [], marker=marker, color=colour, linestyle="none", markersize=4.5, label=kind)
        for kind, marker, colour in zip(KINDS, NEUTRAL_MARKERS, NEUTRALS, strict=True)
    ]
    figure.legend(handles=handles, loc="outside lower center", ncols=len(KINDS), handletextpad=0.2)
    figure.suptitle(title, x=0.01, ha="left")
    return figure


FORMS = {"as trained": "as trained", "constants folded": "constants folded", "aligned": "scales aligned"}
CORRECTIONS = {"all": "rounded", "means": "means corrected", "corrected": "means and variances corrected"}


def accuracy_after_correction(
    frame: pd.DataFrame, *, title: str = "What 5 bits leave, and what corrected statistics bring back"
) -> Figure:
    """A panel a network, a row a form: accuracy rounded at once, and with corrected statistics.

    Args:
        frame: one row a network, seed and form; columns ``network``, ``form`` (keys of `FORMS`), ``float``, and the
            keys of `CORRECTIONS` (all in percent).
    """
    figure, axes = plt.subplots(1, len(NETWORKS), figsize=(WIDTH, 2.3), sharey=True, sharex=True, squeeze=False)
    for axis, (network, title_of_panel) in zip(axes.flat, NETWORKS.items(), strict=True):
        rows = frame[frame.network == network]
        axis.axvline(rows.float.mean(), color=COLORS["float"], linestyle=(0, (4, 3)), linewidth=1)
        for height, form in enumerate(FORMS):
            chosen = rows[rows.form == form]
            means = [chosen[column].mean() for column in CORRECTIONS]
            axis.plot([means[0], means[-1]], [height] * 2, color=GRID, linewidth=3, zorder=0)
            for column, mean, marker, colour in zip(CORRECTIONS, means, NEUTRAL_MARKERS, NEUTRALS, strict=False):
                axis.plot(chosen[column], [height] * len(chosen), "|", color=colour, markersize=9, alpha=0.6)
                axis.plot(mean, height, marker, color=colour, linestyle="none", markersize=6)
        axis.set(xlabel="test accuracy (%)", title=title_of_panel)
        axis.set_yticks(range(len(FORMS)), list(FORMS.values()))
        axis.tick_params(axis="y", length=0)
        axis.spines["left"].set_visible(False)
    axes[0, 0].set(ylim=(len(FORMS) - 0.5, -0.5), xlim=(0, None))
    handles = [
        Line2D([], [], marker=marker, color=colour, linestyle="none", label=name)
        for name, marker, colour in zip(CORRECTIONS.values(), NEUTRAL_MARKERS, NEUTRALS, strict=False)
    ]
    handles.append(Line2D([], [], color=COLORS["float"], linestyle=(0, (4, 3)), linewidth=1, label="float"))
    figure.legend(handles=handles, loc="outside lower center", ncols=4, handletextpad=0.4)
    figure.suptitle(title, x=0.01, ha="left")
    return figure


RECIPES = {
    ("mobilenet", "plain"): "MobileNet-V1",
    ("mobilenet", "aligned"): "MobileNet-V1, aligned",
    ("mobileone", "plain"): "MobileOne",
    ("mobileone", "bn-kept"): "MobileOne, normalization kept",
    ("mobileone", "bn-kept+re-estimated"): "… its statistics anew",
    ("mobileone", "mean-only"): "MobileOne, mean subtracted",
    ("mobileone", "aligned"): "MobileOne, aligned",
    ("mobileone", "aligned+distilled"): "MobileOne, aligned, teacher",
    ("mobileone", "mean-only+aligned+distilled"): "MobileOne, all three",
}


_LEFT = 0.25  # points: the left end of a logarithmic axis


def points_lost(frame: pd.DataFrame, paper: float, *, title: str = "What 5-bit INQ costs, by recipe") -> Figure:
    """A row for each network and recipe: the points that each run has lost, beside what the paper's MobileOne lost.

    Args:
        frame: one row a run; columns ``network``, ``variant`` (keys of `RECIPES`), ``lost`` (percentage points).
        paper: points that the paper's MobileOne lost.
    """
    groups = {key: list(rows.lost) for key, rows in frame.groupby(["network", "variant"])}
    rows = [Row(name, groups[key], method="inq") for key, name in RECIPES.items() if key in groups]
    figure, axis = plt.subplots(figsize=(WIDTH, forest_height(len(rows))))
    draw_rows(axis, rows)
    draw_reference(axis, rows, paper)
    axis.annotate(f"paper's MobileOne {paper:.2f}", (paper, -0.6), (4, 0), textcoords="offset points", va="bottom")
    # Logarithmic, as one interval is as wide as all other rows together; one that goes on below 0 has an arrow.
    for place, row in enumerate(rows):
        if row.low_mean_high[0] <= _LEFT:
            axis.plot(1.08 * _LEFT, place, "<", color=COLORS["inq"], markersize=8)
    ticks = [2.0**exponent for exponent in range(-1, 5)]
    axis.set(xlabel="points of test accuracy lost", xscale="log", xlim=(_LEFT, 30))
    axis.set_xticks(ticks, [f"{tick:g}" for tick in ticks])
    axis.xaxis.set_minor_locator(NullLocator())
    figure.suptitle(title, x=0.01, ha="left")
    return figure


def step_times(frame: pd.DataFrame, *, title: str = "The time of a training step") -> Figure:
    """A row for each form of a training step, with the range over the rounds of the race, and its seconds.

    Args:
        frame: one row a form; columns ``form``; ``ratio``, ``low``, ``high`` to the form whose ratio is 1; ``seconds``;
            ``threads`` and ``device``, the same in all rows.
    """
    frame = frame.sort_values("ratio")
    names = {"merged": "merged branches"}
    rows = [
        Row(names.get(row.form, row.form), ends=(row.low, row.ratio, row.high), note=f"{row.seconds:.2f} s")
        for row in frame.itertuples()
    ]
    threads = int(frame.threads.iloc[0])
    machine = f"{frame.device.iloc[0]}, {threads} thread{'s' * (threads != 1)}".replace("(R)", "")
    return forest(
        {machine: rows}, xlabel="time, merged branches = 1", title=title, reference="merged branches", note="time"
    )
