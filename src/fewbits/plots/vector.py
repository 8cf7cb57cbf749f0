"""Figures of shared weights: clusters, starts of k-means, files, a mixture in training (see `fewbits.plots`)."""

from collections.abc import Mapping

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from matplotlib.ticker import MaxNLocator
from torch import Tensor

from fewbits.evidence import interval
from fewbits.plots.forest import forest_height
from fewbits.plots.labels import End, label_ends
from fewbits.plots.theme import COLORS, GRID, MARKERS, NEUTRAL_MARKERS, NEUTRALS, PALE, WIDTH, text_color
from fewbits.vector import assign, squared_error

# Start of k-means, beside the linear one -> colour and marker.
INIT_STYLES = {
    "density": (NEUTRALS[0], NEUTRAL_MARKERS[0]),
    "random": (NEUTRALS[2], NEUTRAL_MARKERS[2]),
    "optimal": (COLORS["k-means"], MARKERS["k-means"]),
}
# Stage of a file -> its name, and the method whose colour it has.
STAGES = {
    "float": ("float32", "float"),
    "pruned": ("pruned", "deep compression"),
    "shared": ("shared", "deep compression"),
    "huffman": ("Huffman-coded", "deep compression"),
    "argmax": ("soft weight-sharing", "soft weight-sharing"),
}


def clusters(
    x: Tensor, codebooks: Mapping[str, Tensor], *, title: str = "Which numbers should share a value?"
) -> Figure:
    """Numbers on a line, once for each codebook: ticks for the numbers, a marker for each centroid, bars to its own.

    Args:
        x: (n,) floating point, n <= 40.
        codebooks: label -> ascending centroids. One that no number uses is hollow.
    """
    figure, axes = plt.subplots(figsize=(WIDTH, 0.9 + 0.72 * len(codebooks)))
    colour = COLORS["k-means"]
    for row, (label, centroids) in enumerate(codebooks.items()):
        index = assign(x, centroids)
        axes.plot(x, [row] * len(x), "|", color=COLORS["float"], markersize=14, markeredgewidth=1.6)
        for j, centroid in enumerate(centroids.tolist()):
            own = x[index == j].tolist()
            if len(own) > 1:
                span = [min([*own, centroid]), max([*own, centroid])]
                axes.plot(span, [row, row], color=colour, linewidth=7, alpha=0.3, solid_capstyle="butt")
            face = colour if own else "white"
            axes.plot(centroid, row + 0.02, "v", color=colour, markerfacecolor=face, markersize=8, zorder=3)
            number = f"{centroid:.2f}" if own else f"{centroid:.2f}, unused"
            axes.annotate(
                number.replace("-", "−"),
                (centroid, row),
                (0, -17),
                textcoords="offset points",
                ha="center",
                va="center",
                color=text_color(colour),
            )
        error = squared_error(x, centroids)
        axes.annotate(
            f"{label}: squared error {error:.2f}", (float(x.min()), row), (-4, 16), textcoords="offset points"
        )
    axes.set(ylim=(len(codebooks) - 0.4, -0.75), yticks=[], xlabel="weight")
    axes.margins(x=0.04)
    axes.spines["left"].set_visible(False)
    figure.suptitle(title, x=0.01, ha="left")
    return figure


def nested_files(
    runs: pd.DataFrame, names: Mapping[str, str], *, title: str = "The file after each stage, drawn to scale"
) -> Figure:
    """Bytes of each stage as the area of a square, one inside the other, on one scale for all networks.

    Beside each square are its bytes, the factor to float32 and the test error.

    Args:
        runs: columns ``network``, ``stage`` (a key of `STAGES`; others are left out), ``seed``, ``bytes`` and
            ``accuracy`` (percent).
        names: network in ``runs`` -> title of its panel.
    """
    means = runs[runs.network.isin(names)].groupby(["network", "stage"])[["bytes", "accuracy"]].mean()
    largest = float(np.sqrt(means.bytes.max()))
    figure, panels = plt.subplots(1, len(names), figsize=(WIDTH, WIDTH / max(len(names), 2) + 0.3), squeeze=False)
    for axes, (network, name) in zip(panels.flat, names.items(), strict=True):
        found = means.loc[network]
        whole = found.bytes["float"]
        drawn = [stage for stage in STAGES if stage in found.index]
        for place, stage in enumerate(drawn):
            label, style = STAGES[stage]
            side, colour = float(np.sqrt(found.bytes[stage])), COLORS[style]
            axes.add_patch(
                Rectangle((0, 0), side, side, facecolor=colour, alpha=0.1, linewidth=0, zorder=1 + place / 10)
            )
            axes.add_patch(Rectangle((0, 0), side, side, fill=False, edgecolor=colour, linewidth=1.3, zorder=2))
            times = f", {whole / found.bytes[stage]:.0f}×" if stage != "float" else ""
            error = 100 - found.accuracy[stage]
            # The corners are on the diagonal; the labels of the small squares in a column beside them.
            inside = (0.03 * largest, 0.985 * side) if place == 0 else (0.4 * largest, (0.78 - 0.16 * place) * largest)
            axes.annotate(
                f"{label}\n{found.bytes[stage] / 1000:,.0f} kB{times}\nerror {error:.2f} %",
                (side, side),
                inside,
                va="top",
                color=text_color(colour),
                linespacing=1.05,
                arrowprops={"arrowstyle": "-", "color": colour, "linewidth": 0.7, "relpos": (0, 0.5)}
                if place
                else None,
                zorder=3,
            )
        axes.set(xlim=(-0.01 * largest, 1.01 * largest), ylim=(-0.01 * largest, 1.01 * largest), title=name)
        axes.set_aspect("equal")
        axes.set_axis_off()
    figure.suptitle(title, x=0.01, ha="left")
    return figure


def against_linear_start(
    inits: pd.DataFrame, *, title: str = "Does the better codebook make the better network?"
) -> Figure:
    """Paired differences from the linear start, one row for each width and start, with 95 % intervals over seeds.

    Three panels: squared error (in percent of that of the linear start), accuracy before and after tuning (in points).
    An interval that does not fit ends in an arrow.

    Args:
        inits: columns ``init`` ("linear" and the keys of `INIT_STYLES`), ``bits``, ``seed``, ``error``, ``before`` and
            ``after``.
    """
    pairs = inits.merge(inits[inits.init == "linear"], on=["seed", "bits"], suffixes=("", "_linear"))
    differences = {
        "squared error\n(% above the linear start)": 100 * (pairs["error"] / pairs["error_linear"] - 1),
        "accuracy before fine-tuning\n(points above it)": pairs["before"] - pairs["before_linear"],
        "accuracy after fine-tuning\n(points above it)": pairs["after"] - pairs["after_linear"],
    }
    widths = sorted(pairs.bits.unique())
    rows = [(bits, init) for bits in widths for init in INIT_STYLES]
    places = [place + 0.6 * (place // len(INIT_STYLES)) for place in range(len(rows))]
    figure, panels = plt.subplots(1, 3, figsize=(WIDTH, forest_height(len(rows)) + 0.4), sharey=True)
    for axes, (label, values) in zip(panels, differences.items(), strict=True):
        found = [interval(list(values[(pairs.bits == bits) & (pairs.init == init)])) for bits, init in rows]
        reach = 1.25 * max(abs(mean) for mean, _ in found)
        reach = max(reach, 1.1 * float(np.median([abs(mean) + half for mean, half in found]))) or 1.0
        axes.axvline(0, color=COLORS["paper"], linestyle=(0, (4, 3)), linewidth=1, zorder=1)
        for place, (_, init), (mean, half) in zip(places, rows, found, strict=True):
            colour, marker = INIT_STYLES[init]
            axes.axhline(place, color=GRID, linewidth=0.8, zorder=0)
            low, high = max(mean - half, -reach), min(mean + half, reach)
            axes.plot([low, high], [place, place], color=colour, linewidth=1.2, zorder=2)
            for end, true, arrow in ((low, mean - half, "<"), (high, mean + half, ">")):
                axes.plot(end, place, arrow if end != true else "|", color=colour, markersize=5, clip_on=False)
            axes.plot(mean, place, marker, color=colour, zorder=3)
        axes.set(xlabel=label, xlim=(-1.04 * reach, 1.04 * reach), ylim=(places[-1] + 0.6, -0.6))
        axes.xaxis.set_major_locator(MaxNLocator(4, symmetric=True))
        axes.tick_params(axis="y", length=0)
        axes.spines["left"].set_visible(False)
    names = {"optimal": "optimum"}
    panels[0].set_yticks(places, [f"{bits} bits, {names.get(init, init)}" for bits, init in rows])
    figure.suptitle(title, x=0.01, ha="left")
    return figure


def file_sizes(
    sizes: Mapping[str, float], bound: float, *, title: str = "One network, coded in several ways"
) -> Figure:
    """Bytes of files as dots, one row each, beside a line at a bound.

    Args:
        sizes: by name, bytes.
        bound: of a coder that treats the weights as independent, in bytes.
    """
    figure, axes = plt.subplots(figsize=(WIDTH, forest_height(len(sizes))))
    for row, size in enumerate(sizes.values()):
        axes.plot([bound / 1000, size / 1000], [row, row], color=PALE, linewidth=2, zorder=1)
        axes.plot(size / 1000, row, "o", color=COLORS["deep compression"], markersize=7, zorder=3)
        below = size < bound
        axes.annotate(
            f"{size / 1000:.1f} kB",
            (size / 1000, row),
            (-8 if below else 8, 0),
            textcoords="offset points",
            ha="right" if below else "left",
            va="center",
        )
    axes.axvline(bound / 1000, color=COLORS["paper"], linestyle=(0, (4, 3)), linewidth=1, zorder=2)
    axes.annotate(
        f"bound for independent weights, {bound / 1000:.1f} kB",
        (bound / 1000, -0.75),
        (5, 0),
        textcoords="offset points",
        va="center",
        color=text_color(COLORS["paper"]),
    )
    axes.set_yticks(range(len(sizes)), list(sizes))
    axes.tick_params(axis="y", length=0)
    axes.set(ylim=(len(sizes) - 0.4, -1.1), xlabel="file (kB)")
    axes.margins(x=0.2)
    axes.spines["left"].set_visible(False)
    figure.suptitle(title, x=0.01, ha="left")
    return figure


def small_network(frame: pd.DataFrame, *, title: str = "MobileNet: few bits cost points, pruning costs more") -> Figure:
    """Left accuracy against the file for each share of kept weights, right other sizes in percent of the file.

    Args:
        frame: the table ``vector_mobilenet``: ``keep``, ``bits`` (32 is float), ``accuracy``, ``bytes``, and bytes in
            ``xz of indices`` and ``entropy``. Rows of fewer than 30 % are arrows at the lower edge.
    """
    figure, (left, right) = plt.subplots(1, 2, figsize=(WIDTH, 3.4), width_ratios=(1.5, 1))
    whole = frame[frame.bits == 32].iloc[0]
    shared = frame[frame.bits < 32].sort_values("bits")
    left.axhline(whole.accuracy, color=COLORS["float"], linestyle=(0, (6, 3)), linewidth=1.2)
    left.annotate(
        f"float, {whole.bytes / 1000:.0f} kB",
        (0, whole.accuracy),
        (4, 4),
        xycoords=left.get_yaxis_transform(),
        textcoords="offset points",
    )
    shown = shared[shared.accuracy > 30]
    bottom = shown.accuracy.min() - 4
    styles = {1.0: (COLORS["deep compression"], "s"), 0.7: (NEUTRALS[2], "D")}
    ends = []
    for keep, rows in shown.groupby("keep", sort=False):
        colour, marker = styles[keep]
        left.plot(rows.bytes / 1000, rows.accuracy, marker=marker, color=colour)
        for row in rows.itertuples():
            above = keep == 1
            left.annotate(
                f"{row.bits}",
                (row.bytes / 1000, row.accuracy),
                (-8, 6) if above else (8, -6),
                textcoords="offset points",
                ha="center",
                va="center",
                color=text_color(colour),
            )
        off = shared[(shared.keep == keep) & (shared.accuracy <= 30)]
        for row in off.itertuples():
            left.plot(row.bytes / 1000, bottom + 0.8, marker="v", color=colour, markersize=7)
            left.annotate(
                f"{row.bits} bits:\n{row.accuracy:.0f} %",
                (row.bytes / 1000, bottom + 0.8),
                (-6, 5) if keep == 1 else (6, 5),
                textcoords="offset points",
                ha="right" if keep == 1 else "left",
                color=text_color(colour),
            )
        last = rows.iloc[-1]
        name = "all weights kept" if keep == 1 else f"{keep:.0%} kept".replace("%", " %")
        ends.append(End(last.bytes / 1000, last.accuracy, name, {"color": colour, "marker": marker}))
    left.set(xlabel="file (kB)", ylabel="test accuracy (%)", ylim=(bottom, whole.accuracy + 2))
    left.set_xlim(shared.bytes.min() / 1000 - 30, shared.bytes.max() / 1000 + 8)
    for end in ends:
        left.annotate(
            end.text,
            (end.x, end.y),
            (0, -13),
            textcoords="offset points",
            ha="right",
            va="center",
            color=text_color(end.style["color"]),
        )
    rows = shared[shared.keep == 1]
    ends = []
    for column, name, colour, marker in (
        ("xz of indices", "xz", NEUTRALS[1], "o"),
        ("entropy", "bound", COLORS["paper"], "^"),
    ):
        ratio = 100 * rows[column] / rows.bytes
        right.plot(rows.bits, ratio, marker=marker, color=colour)
        ends.append(End(rows.bits.iloc[-1], ratio.iloc[-1], name, {"color": colour, "marker": marker}))
    right.axhline(100, color=COLORS["deep compression"], linewidth=1.2)
    right.annotate(
        "our file",
        (1, 100),
        (0, 4),
        xycoords=right.get_yaxis_transform(),
        textcoords="offset points",
        ha="right",
        color=text_color(COLORS["deep compression"]),
    )
    right.set(xlabel="index bits", ylabel="size (% of our file)", xticks=list(rows.bits))
    label_ends(right, ends)
    figure.suptitle(title, x=0.01, ha="left")
    return figure


def gap_widths(sizes: Mapping[str, Mapping[int, float]], *, title: str = "How wide should a gap be?") -> Figure:
    """Bytes of gaps and indices against the bits of a gap, one line for each way to code them, with its minimum.

    Args:
        sizes: name -> bits of a gap -> bytes.
    """
    figure, axes = plt.subplots(figsize=(WIDTH, 3.0))
    ends = []
    for (name, by_width), colour, marker in zip(
        sizes.items(), (NEUTRALS[0], COLORS["deep compression"]), ("o", "s"), strict=False
    ):
        widths, kilobytes = list(by_width), [size / 1000 for size in by_width.values()]
        axes.plot(widths, kilobytes, marker=marker, color=colour)
        best = min(by_width, key=by_width.__getitem__)
        axes.annotate(
            f"{best} bits: {by_width[best] / 1000:.1f} kB",
            (best, by_width[best] / 1000),
            (0, 12 if marker == "o" else -12),
            textcoords="offset points",
            ha="center",
            va="center",
            color=text_color(colour),
        )
        ends.append(End(widths[-1], kilobytes[-1], name, {"color": colour, "marker": marker}))
    axes.set(xlabel="bits of a gap", ylabel="gaps and indices (kB)")
    axes.margins(y=0.14)
    label_ends(axes, ends)
    figure.suptitle(title, x=0.01, ha="left")
    return figure


def mixture_in_training(
    mixture: pd.DataFrame, histogram: pd.DataFrame, *, title: str = "Soft weight-sharing, step by step"
) -> Figure:
    """Small multiples: the weights as a histogram on a logarithmic axis, each component as a line at its mean.

    Args:
        mixture: columns ``step``, ``component``, ``mixing``, ``mean``, ``std``.
        histogram: columns ``step``, ``left`` (edge of a bin) and ``count``.
    """
    steps = sorted(mixture.step.unique())
    columns = -(-len(steps) // 2)
    figure, panels = plt.subplots(2, columns, figsize=(WIDTH, 3.9), sharex=True, sharey=True)
    width = float(np.diff(sorted(histogram.left.unique())[:2])[0])
    reach = 1.15 * max(mixture["mean"].abs().max(), 1e-3)
    top = 8 * histogram["count"].max()  # of all steps: the bar at 0 grows; above it is room for a label
    for axes, step in zip(panels.flat, steps, strict=False):
        bars, parts = histogram[histogram.step == step], mixture[mixture.step == step]
        axes.bar(bars.left, bars["count"], width, align="edge", color=PALE, linewidth=0)
        others = parts[parts.component > 0]
        colour = COLORS["soft weight-sharing"]
        axes.plot(others["mean"], [1.5] * len(others), "^", color=colour, markersize=5)
        for centre, spread in zip(others["mean"], others["std"], strict=True):
            axes.plot([centre - spread, centre + spread], [1.5, 1.5], color=colour, linewidth=1)
        zero = parts[parts.component == 0]["std"].item()
        axes.annotate(f"σ at 0: {zero:.4f}", (0.02, 0.88), xycoords="axes fraction")
        axes.xaxis.set_major_locator(MaxNLocator(4))
        axes.set(yscale="log", ylim=(0.8, top), xlim=(-reach, reach), title=f"step {step:,}")
    for axes in panels.flat[len(steps) :]:
        axes.set_visible(False)
    for axes in panels[-1]:
        axes.set_xlabel("weight")
    for axes in panels[:, 0]:
        axes.set_ylabel("weights per bin")
    figure.suptitle(title, x=0.01, ha="left")
    return figure
