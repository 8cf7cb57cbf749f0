"""Figures of learned step sizes: what the output does when the step grows (see `fewbits.plots`)."""

from collections.abc import Mapping

import matplotlib.pyplot as plt
from matplotlib.figure import Figure
from torch import Tensor

from fewbits.plots.theme import COLORS, WIDTH, text_color

_DASHES = ("-", (0, (4, 2)), (0, (1.5, 1.5)))


def slopes_by_step(
    x: Tensor,
    y: Tensor,
    slopes: Mapping[str, tuple[str, Tensor]],
    *,
    title: str = "How the output answers to a larger step",
) -> Figure:
    """The staircase above, and below it the slope of each output by the step, for up to three rules.

    Args:
        x: (n,) sorted, in steps.
        y: (n,) outputs, in steps.
        slopes: by label, a name in `COLORS` and the slopes (n,). The first is drawn solid and widest, under the others.
    Raises:
        ValueError: more than three rules, or a tensor of another shape than ``x``.
    """
    if len(slopes) > len(_DASHES):
        raise ValueError(f"slopes holds {len(slopes)} rules, at most {len(_DASHES)} can be told apart")
    if any(values.shape != x.shape for values in (y, *(values for _, values in slopes.values()))):
        raise ValueError("y and all slopes need the shape of x")
    figure, (above, below) = plt.subplots(2, 1, figsize=(WIDTH, 4.4), sharex=True, height_ratios=[1, 1.5])
    inputs, outputs = x.numpy(), y.detach().numpy()
    above.plot(inputs, inputs, color=COLORS["paper"], linewidth=0.8, linestyle=(0, (4, 3)))
    above.plot(inputs, outputs, color=COLORS["lsq"])
    above.set(ylabel="output / s", ylim=(outputs.min() - 0.6, outputs.max() + 0.6))
    below.axhline(0, color=COLORS["paper"], linewidth=0.6)
    for (label, (style, values)), dashes in zip(slopes.items(), _DASHES, strict=False):
        width = 2.4 if dashes == "-" else 1.3
        below.plot(inputs, values.numpy(), color=COLORS[style], linestyle=dashes, linewidth=width, label=label)
    legend = below.legend(loc="upper left", handlelength=3.2)
    for text, (style, _) in zip(legend.get_texts(), slopes.values(), strict=True):
        text.set_color(text_color(COLORS[style]))
    below.set(xlabel="v / s", ylabel="slope of the output by s")
    figure.suptitle(title, x=0.01, ha="left")
    return figure
