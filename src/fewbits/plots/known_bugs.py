"""The figures of the known bugs: numbers without and with a bug (see `fewbits.plots`)."""

from collections.abc import Mapping, Sequence

import matplotlib.pyplot as plt
from matplotlib.figure import Figure

from fewbits.plots.theme import COLORS, NEUTRALS, WIDTH, text_color


def right_and_wrong(
    values: Mapping[str, tuple[Sequence[float], Sequence[float], Sequence[float]]],
    *,
    xlabels: Sequence[str],
    goals: Sequence[float | None],
    title: str,
) -> Figure:
    """Numbers without a bug (filled) and with it (hollow), a panel for each bug.

    Args:
        values: by the title of the panel, where the numbers are on the axis, then those without and with the bug.
        xlabels: of the panels.
        goals: where the numbers of a panel should be in the end: a dashed line, or None.
    """
    figure, axes = plt.subplots(1, len(values), figsize=(WIDTH, 2.8), squeeze=False)
    for axis, (name, (x, right, wrong)), xlabel, goal in zip(axes.flat, values.items(), xlabels, goals, strict=True):
        if goal is not None:
            axis.axhline(goal, color=COLORS["paper"], linewidth=1, linestyle=(0, (4, 3)), zorder=1)
        for word, shown, colour, face in (
            ("wrong", wrong, NEUTRALS[1], "white"),
            ("right", right, NEUTRALS[0], NEUTRALS[0]),
        ):
            axis.plot(x, shown, color=colour, marker="o", markerfacecolor=face)
            # Named where the two differ most, on the side away from the other.
            at = max(range(len(x)), key=lambda k: (abs(right[k] - wrong[k]), k))
            up = shown[at] > (right if word == "wrong" else wrong)[at]
            side = "right" if at > 0 else "left"
            axis.annotate(
                word, (x[at], shown[at]), (0, 6 if up else -15), textcoords="offset points", ha=side,
                color=text_color(colour),
            )  # fmt: skip
        axis.margins(y=0.25)
        axis.set(title=name, xlabel=xlabel)
    figure.suptitle(title, x=0.01, ha="left")
    return figure
