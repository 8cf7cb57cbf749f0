"""A figure that compares methods: error, accuracy and bytes in one (see `fewbits.plots`)."""

from collections.abc import Mapping, Sequence

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.figure import Figure

from fewbits.evidence import interval
from fewbits.plots.theme import COLORS, MARKERS, WIDTH, text_color


def error_accuracy_bytes(
    points: Sequence[Mapping],
    *,
    title: str = "Six papers: error of the weights, accuracy, bytes",
    xlabel: str = "relative squared error of the weights",
) -> Figure:
    """Test accuracy against the relative squared error of the weights; the area of a marker grows with its bytes.

    Args:
        points: one mapping a method: ``label``, ``method`` (a name in `COLORS`), ``error`` (squared error over squared
            weights, > 0), ``accuracies`` (percent, one a seed), ``bytes``, and ``offset`` (pt), where its label starts
            seen from the marker: it goes to the left if the first number is negative.
    """
    figure, axes = plt.subplots(figsize=(WIDTH, 3.9))
    top = max(point["bytes"] for point in points)
    for point in points:
        mean, half = interval(point["accuracies"])
        colour = COLORS[point["method"]]
        axes.errorbar(point["error"], mean, yerr=half, color=colour, capsize=2.5, linewidth=1, zorder=2)
        axes.scatter(
            point["error"], mean, s=170 * point["bytes"] / top, color=colour, marker=MARKERS[point["method"]], zorder=3
        )
        label = f"{point['label']}\n{point['bytes'] / 1000:.1f} kB"
        axes.annotate(
            label,
            (point["error"], mean),
            point["offset"],
            textcoords="offset points",
            va="center",
            ha="left" if point["offset"][0] >= 0 else "right",
            color=text_color(colour),
        )
    errors = np.array([point["error"] for point in points])
    axes.set(xlabel=xlabel, ylabel="test accuracy (%)", xlim=(0, 1.3 * errors.max()))
    figure.suptitle(title, x=0.01, ha="left")
    return figure
