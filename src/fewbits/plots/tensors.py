"""Figures of what a quantizer does to numbers: curves, histograms, small tensors (see `fewbits.plots`)."""

from collections.abc import Callable, Mapping

import matplotlib.pyplot as plt
import numpy as np
import seaborn as sns
import torch
from matplotlib.colors import Normalize
from matplotlib.figure import Figure
from torch import Tensor

from fewbits.plots.theme import COLORS, NAMES, PALE, SIGN_MAP, SMALL, WIDTH, ink_on


def _array(values: Tensor) -> np.ndarray:
    return torch.as_tensor(values).detach().cpu().double().numpy()


def staircase(
    quantize: Callable[[Tensor], Tensor] | Mapping[str, Callable[[Tensor], Tensor]],
    low: float,
    high: float,
    *,
    points: int = 2001,
    method: str = "uniform",
    title: str = "From input to output",
) -> Figure:
    """Input against output of one quantizer or of several side by side, and the error below.

    The dotted line is the identity; what lies between it and the staircase is the error.

    Args:
        quantize: maps a (points,) float32 tensor to one of the same shape; or several, by name. A name in `COLORS`
            gives the colour. A quantizer that derives its scale from its input sees the line from ``low`` to ``high``.
        low, high: first and last input, ``low < high``.
        points: inputs drawn, evenly spaced.
        method: name in `COLORS`, for the colour of quantizers whose own name is none.
    Returns:
        Figure with two rows (output, error) and a column per quantizer.
    """
    quantizers = quantize if isinstance(quantize, Mapping) else {"": quantize}
    x = torch.linspace(low, high, points)
    figure, axes = plt.subplots(
        2,
        len(quantizers),
        figsize=(WIDTH, 4.2),
        sharex=True,
        sharey="row",
        squeeze=False,
        height_ratios=[2, 1],
    )
    for (name, function), (output, error) in zip(quantizers.items(), axes.T, strict=True):
        colour = COLORS.get(name, COLORS[method])
        with torch.no_grad():
            y = function(x)
        difference = _array(y - x)
        output.plot(x, x, color=COLORS["paper"], linestyle=":", linewidth=1, label="identity")
        output.fill_between(x, x, _array(y), color=colour, alpha=0.2, linewidth=0)
        output.plot(x, _array(y), color=colour, label="quantized")
        output.set_title(NAMES.get(name, name))
        error.axhline(0, color=COLORS["paper"], linestyle=":", linewidth=1)
        error.fill_between(x, 0, difference, color=colour, alpha=0.2, linewidth=0)
        error.plot(x, difference, color=colour, linewidth=1)
        error.set_title(f"root mean square error {np.sqrt(np.mean(difference**2)):.3g}")
        error.set_xlabel("input")
    axes[0, 0].set_ylabel("output")
    axes[1, 0].set_ylabel("error: output − input")
    axes[0, 0].legend(loc="upper left")
    figure.suptitle(title, x=0.01, ha="left")
    return figure


def weight_histogram(
    weight: Tensor,
    levels: Tensor | None = None,
    *,
    quantized: Tensor | None = None,
    method: str = "uniform",
    title: str = "Latent weights",
) -> Figure:
    """Histogram of latent weights; with levels, also a line at each and the share of the weights that it takes.

    Args:
        weight: any shape, floating point.
        levels: (k,) values of the quantizer; each weight counts for the nearest (the upper one on a tie).
        quantized: shape of ``weight``: what the quantizer makes of it. Needed instead of ``levels`` where it does not
            round to the nearest level (a threshold, a random draw).
        method: name in `COLORS`, for the colour of levels and shares.
    Returns:
        Figure with one panel, or two with levels.
    Raises:
        ValueError: both ``levels`` and ``quantized`` are given, or ``quantized`` has another shape than ``weight``.
    """
    if levels is not None and quantized is not None:
        raise ValueError("give levels or quantized, not both")
    if quantized is not None and quantized.shape != weight.shape:
        raise ValueError(f"quantized has shape {tuple(quantized.shape)}, weight {tuple(weight.shape)}")
    weights = _array(weight).ravel()
    with_levels = levels is not None or quantized is not None
    figure, axes = plt.subplots(
        1 + with_levels, 1, figsize=(WIDTH, 3.8 if with_levels else 2.6), sharex=True, squeeze=False
    )
    histogram = axes[0, 0]
    histogram.hist(weights, bins=80, color=PALE, linewidth=0)
    histogram.set(ylabel="number of weights", title="Before quantization")
    if with_levels:
        if quantized is not None:
            values, counts = np.unique(_array(quantized), return_counts=True)
        elif levels is not None:
            values = np.unique(_array(levels))
            nearest = np.digitize(weights, (values[1:] + values[:-1]) / 2)
            counts = np.bincount(nearest, minlength=len(values))
        shares = 100 * counts / weights.size
        colour = COLORS[method]
        share = axes[1, 0]
        # Many levels would hide the histogram: then they are short ticks along its foot.
        height = 1 if len(values) <= 32 else 0.05
        for value in values:
            histogram.axvline(value, ymax=height, color=colour, linewidth=1)
        histogram.set_title(f"Before quantization; {len(values)} levels as lines")
        share.vlines(values, 0, shares, color=colour, linewidth=4 if len(values) <= 9 else 1.5)
        share.set(ylabel="share of weights (%)", title="After quantization: the share at each level")
        share.set_ylim(0, 1.2 * shares.max())
        if len(values) <= 9:
            for value, percent in zip(values, shares, strict=True):
                share.annotate(f"{percent:.1f} %", (value, percent), (0, 3), textcoords="offset points", ha="center")
    axes[-1, 0].set_xlabel("weight")
    figure.suptitle(title, x=0.01, ha="left")
    return figure


def before_after(
    x: Tensor,
    y: Tensor,
    codes: Tensor | None = None,
    *,
    decimals: int = 2,
    names: tuple[str, str, str] = ("before", "after", "codes"),
    title: str = "Before and after",
) -> Figure:
    """The numbers of a small tensor before and after quantization, in one colour scale centred at 0.

    Args:
        x, y: (columns,) or (rows, columns), the same shape. Vectors are drawn one below the other, matrices side by
            side. At most 16 numbers across the page, and 16 rows.
        codes: integers of the same shape, drawn as a third panel without colour: codes have no unit.
        decimals: digits after the point in x and y.
        names: what the panels are called.
    Raises:
        ValueError: shapes differ, there are more than two dimensions, or the numbers would not fit the page.
    """
    panels = [panel for panel in (x, y, codes) if panel is not None]
    if any(panel.shape != x.shape for panel in panels) or not 1 <= x.ndim <= 2:
        raise ValueError(f"x, y and codes must share a shape of 1 or 2 dimensions: {[tuple(p.shape) for p in panels]}")
    arrays = [np.atleast_2d(_array(panel)) for panel in panels]
    rows, columns = arrays[0].shape
    stacked = rows == 1
    across = columns if stacked else columns * len(panels)
    if across > 16 or rows > 16:
        raise ValueError(f"{rows} × {columns} numbers in {len(panels)} panels do not fit the page: show a part")
    figure, axes = plt.subplots(
        len(panels) if stacked else 1,
        1 if stacked else len(panels),
        figsize=(WIDTH, 0.5 + (0.55 * len(panels) if stacked else 0.5 + 0.33 * rows)),
        squeeze=False,
    )
    bound = max(np.abs(arrays[0]).max(), np.abs(arrays[1]).max()) or 1.0
    palette, norm = SIGN_MAP, Normalize(-bound, bound)
    for index, (axis, array) in enumerate(zip(axes.flat, arrays, strict=True)):
        is_codes = index == 2
        colours = np.ones((rows, columns, 4)) if is_codes else palette(norm(array))
        axis.imshow(colours, aspect="auto")
        for row, column in np.ndindex(rows, columns):
            # Adding 0.0 turns −0 into 0.
            number = round(float(array[row, column]), decimals) + 0.0
            text = f"{number:.0f}" if is_codes else f"{number:.{decimals}f}"
            red, green, blue, _ = colours[row, column]
            ink = ink_on((red, green, blue))
            axis.text(column, row, text.replace("-", "−"), ha="center", va="center", color=ink, fontsize=SMALL)
        axis.set(xticks=range(columns), xlabel="column", yticks=range(rows), ylabel="row", title=names[index])
        if stacked:
            axis.set(xlabel="index", yticks=[], title="")
            axis.set_ylabel(names[index], rotation=0, ha="right", va="center")
        axis.tick_params(length=0)
        axis.label_outer()
        axis.set_xticks(np.arange(1, columns) - 0.5, minor=True)
        axis.set_yticks(np.arange(1, rows) - 0.5, minor=True)
        axis.grid(which="minor", color=PALE if is_codes else "white", linewidth=1)
        axis.tick_params(which="minor", length=0)
        sns.despine(ax=axis, left=not is_codes, bottom=not is_codes, top=not is_codes, right=not is_codes)
    figure.colorbar(plt.cm.ScalarMappable(norm, palette), ax=axes, label="value", fraction=0.04, pad=0.02)
    figure.suptitle(title, x=0.01, ha="left")
    return figure
