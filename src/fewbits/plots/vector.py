"""Figures of shared weights: clusters on a line, files by stage, starts of k-means, a mixture in training."""

from collections.abc import Mapping, Sequence

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator
from torch import Tensor

from fewbits.evidence import interval
from fewbits.plots.theme import COLORS, MARKERS, SMALL, WIDTH, text_color
from fewbits.vector import assign, squared_error

# Start of k-means -> name in COLORS, so that the four are told apart everywhere in the same way.
INIT_STYLES = {"linear": "k-means", "density": "ttq", "random": "inq", "optimal": "float"}
STAGE_LABELS = {
    "float": "float32",
    "pruned": "pruned",
    "shared": "shared",
    "fine-tuned": "fine-tuned",
    "huffman": "Huffman",
    "argmax": "soft sharing",
}


def clusters(
    x: Tensor, codebooks: Mapping[str, Tensor], *, title: str = "Which numbers should share a value?"
) -> Figure:
    """Numbers on a line, once for each codebook: ticks for the numbers, a marker for each centroid, bars to its own.

    Args:
        x: (n,) floating point, n <= 40.
        codebooks: label -> ascending centroids.
    """
    figure, axes = plt.subplots(figsize=(WIDTH, 0.8 + 0.62 * len(codebooks)))
    colours = [COLORS["uniform"], COLORS["inq"]]
    for row, (label, centroids) in enumerate(codebooks.items()):
        index = assign(x, centroids)
        for j, centroid in enumerate(centroids.tolist()):
            own, colour = x[index == j].tolist(), colours[j % 2]
            axes.plot([min([*own, centroid]), max([*own, centroid])], [row, row], color=colour, linewidth=4, alpha=0.35)
            axes.plot(own, [row] * len(own), "|", color=colour, markersize=14, markeredgewidth=1.6)
            axes.plot(centroid, row, "v", color=colour, markersize=7)
        error = squared_error(x, centroids)
        axes.annotate(f"{label}: squared error {error:.2f}", (float(x.min()), row), (0, 11), textcoords="offset points")
    axes.set(ylim=(len(codebooks) - 0.5, -0.75), yticks=[], xlabel="weight")
    axes.spines["left"].set_visible(False)
    figure.suptitle(title, x=0.01, ha="left")
    return figure


def bytes_by_stage(
    runs: pd.DataFrame,
    names: Mapping[str, str],
    stages: Sequence[str] = ("float", "pruned", "shared", "huffman", "argmax"),
    *,
    title: str = "The file, stage by stage",
) -> Figure:
    """Bytes of each stage as horizontal bars on a logarithmic axis, with the factor to float32 and the test error.

    Args:
        runs: columns ``network``, ``stage``, ``seed``, ``bytes`` and ``accuracy`` (percent).
        names: network in ``runs`` -> title of its panel.
        stages: from the top; those that a network lacks are left out.
    """
    figure, panels = plt.subplots(1, len(names), figsize=(WIDTH, 0.9 + 0.36 * len(stages)), sharey=True, squeeze=False)
    for axes, (network, name) in zip(panels.flat, names.items(), strict=True):
        of_network = runs[runs.network == network]
        whole = of_network[of_network.stage == "float"].bytes.mean()
        for row, stage in enumerate(stages):
            found = of_network[of_network.stage == stage]
            if found.empty:
                continue
            style = {"float": "float", "argmax": "soft weight-sharing"}.get(stage, "deep compression")
            size = found.bytes.mean()
            axes.barh(row, size, color=COLORS[style], height=0.62)
            error = 100 - found.accuracy.mean()
            label = f"{size / 1000:.0f} kB, {whole / size:.0f}×, error {error:.2f} %"
            inside = size > whole / 4
            axes.annotate(
                label,
                (size, row),
                (-4 if inside else 4, 0),
                textcoords="offset points",
                va="center",
                ha="right" if inside else "left",
                color="white" if inside else text_color(COLORS[style]),
            )
        axes.set(xscale="log", xlabel="bytes", title=name, ylim=(len(stages) - 0.5, -0.5), xlim=(3000, 3 * whole))
        axes.tick_params(axis="y", length=0)
    panels[0, 0].set_yticks(range(len(stages)), [STAGE_LABELS[stage] for stage in stages])
    panels[0, 0].set_ylabel("stage")
    figure.suptitle(title, x=0.01, ha="left")
    return figure


def inits_by_bits(inits: pd.DataFrame, *, title: str = "Does the better codebook make the better network?") -> Figure:
    """Three panels against bits: error over the least one, accuracy before and after tuning; intervals over seeds.

    Args:
        inits: columns ``init`` (a key of `INIT_STYLES`), ``bits``, ``seed``, ``error``, ``before`` and ``after``.
    """
    figure, panels = plt.subplots(1, 3, figsize=(WIDTH, 3.0))
    least = inits[inits.init == "optimal"].set_index(["seed", "bits"])["error"]
    inits = inits.assign(error=inits["error"] / least.loc[list(zip(inits.seed, inits.bits, strict=True))].to_numpy())
    columns = {
        "error": "squared error / least error",
        "before": "accuracy before tuning (%)",
        "after": "accuracy after tuning (%)",
    }
    for axes, (column, label) in zip(panels, columns.items(), strict=True):
        for place, (init, style) in enumerate(INIT_STYLES.items()):
            grouped = inits[inits.init == init].groupby("bits")[column].apply(lambda runs: interval(list(runs)))
            mean, half = np.array(list(grouped)).T
            # Shifted by a few hundredths of a bit, so that intervals do not hide each other.
            bits = grouped.index.to_numpy() + 0.06 * (place - 1.5)
            axes.errorbar(bits, mean, yerr=half, color=COLORS[style], marker=MARKERS[style], capsize=2, label=init)
        axes.set(xlabel="index bits", ylabel=label, xticks=sorted(inits.bits.unique()))
    panels[2].legend(loc="lower right")
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
    figure, panels = plt.subplots(2, columns, figsize=(WIDTH, 3.8), sharex=True, sharey=True)
    width = float(np.diff(sorted(histogram.left.unique())[:2])[0])
    reach = 1.15 * max(mixture["mean"].abs().max(), 1e-3)
    top = 2 * histogram["count"].max()  # of all steps: the bar at 0 grows
    for axes, step in zip(panels.flat, steps, strict=False):
        bars, parts = histogram[histogram.step == step], mixture[mixture.step == step]
        axes.bar(bars.left, bars["count"], width, align="edge", color="#b8c0c8", linewidth=0)
        others = parts[parts.component > 0]
        colour = COLORS["soft weight-sharing"]
        axes.plot(others["mean"], [1.5] * len(others), "^", color=colour, markersize=5)
        for centre, spread in zip(others["mean"], others["std"], strict=True):
            axes.plot([centre - spread, centre + spread], [1.5, 1.5], color=colour, linewidth=1)
        zero = parts[parts.component == 0]["std"].item()
        axes.annotate(f"σ at 0: {zero:.4f}", (0.03, 0.88), xycoords="axes fraction", fontsize=SMALL)
        axes.xaxis.set_major_locator(MaxNLocator(4))
        axes.set(yscale="log", ylim=(0.8, top), xlim=(-reach, reach), title=f"step {step}")
    for axes in panels.flat[len(steps) :]:
        axes.set_visible(False)
    for axes in panels[-1]:
        axes.set_xlabel("weight")
    for axes in panels[:, 0]:
        axes.set_ylabel("weights per bin")
    figure.suptitle(title, x=0.01, ha="left")
    return figure
