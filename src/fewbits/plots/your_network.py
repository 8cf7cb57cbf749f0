"""The figure of a network of your own: accuracy against the bytes of its file (see `fewbits.plots`)."""

from collections.abc import Mapping

import matplotlib.pyplot as plt
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, MaxNLocator, NullFormatter

from fewbits.plots.theme import COLORS, MARKERS, SMALL, WIDTH, text_color


def accuracy_by_file(
    points: Mapping[str, tuple[float, int]],
    styles: Mapping[str, tuple[str, tuple[float, float]]],
    *,
    title: str = "One network, every method: accuracy and bytes on disk",
) -> Figure:
    """Test accuracy against the size of the file, on a logarithmic axis; each marker has its name beside it.

    Args:
        points: by name, test accuracy in percent and bytes.
        styles: by the same names, a name in `COLORS` for colour and marker, and where the label starts, in points from
            the marker: it goes to the left if the first number is negative.
    Raises:
        ValueError: a name has no style, or a size is not positive.
    """
    if missing := [name for name in points if name not in styles]:
        raise ValueError(f"styles lack {missing}")
    figure, axes = plt.subplots(figsize=(WIDTH, 4.2))
    for name, (accuracy, size) in points.items():
        if size <= 0:
            raise ValueError(f"{name}: bytes must be positive, got {size}")
        style, offset = styles[name]
        axes.plot(size / 1000, accuracy, color=COLORS[style], marker=MARKERS[style], linestyle="none")
        axes.annotate(
            name,
            (size / 1000, accuracy),
            offset,
            textcoords="offset points",
            va="center",
            ha="left" if offset[0] >= 0 else "right",
            color=text_color(COLORS[style]),
            fontsize=SMALL,
        )
    axes.set_xscale("log")
    axes.margins(x=0.1, y=0.1)
    axes.xaxis.set_major_formatter(FuncFormatter(lambda size, _: f"{size:g}"))
    axes.xaxis.set_minor_formatter(NullFormatter())
    axes.set_xticks([8, 10, 16, 25, 50, 100])
    axes.yaxis.set_major_locator(MaxNLocator(steps=[1, 5, 10]))
    axes.set(xlabel="file (kB, logarithmic)", ylabel="test accuracy (%)")
    figure.suptitle(title, x=0.01, ha="left")
    return figure
