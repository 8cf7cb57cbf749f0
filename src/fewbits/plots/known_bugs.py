"""The figure of the known bugs: what training does to one number, without and with a bug (see `fewbits.plots`)."""

from collections.abc import Mapping, Sequence

import matplotlib.pyplot as plt
from matplotlib.figure import Figure

from fewbits.plots.theme import COLORS, NEUTRALS, WIDTH, text_color


def right_and_wrong(
    paths: Mapping[str, tuple[Sequence[float], Sequence[float]]],
    goals: Mapping[str, float],
    *,
    title: str = "Two bugs of training",
) -> Figure:
    """One number after each step of training: without the bug (filled) and with it (hollow), a panel for each bug.

    Args:
        paths: by the title of the panel, the values without and with the bug.
        goals: by the same titles, where the number should be at the end: a dashed line.
    """
    figure, axes = plt.subplots(1, len(paths), figsize=(WIDTH, 2.8), squeeze=False)
    for axis, (name, (right, wrong)) in zip(axes.flat, paths.items(), strict=True):
        axis.axhline(goals[name], color=COLORS["paper"], linewidth=1, linestyle=(0, (4, 3)), zorder=1)
        for word, values, colour, face in (
            ("right", right, NEUTRALS[0], NEUTRALS[0]),
            ("wrong", wrong, NEUTRALS[1], "white"),
        ):
            steps = range(1, len(values) + 1)
            axis.plot(steps, values, color=colour, marker="o", markerfacecolor=face)
            up = values[-1] >= (right if word == "wrong" else wrong)[-1]
            at = (steps[-1], values[-1])
            place = (0, 6 if up else -15)
            axis.annotate(word, at, place, textcoords="offset points", ha="right", color=text_color(colour))
        axis.margins(y=0.25)
        axis.set(title=name, xlabel="training step", xticks=range(1, len(right) + 1))
    figure.suptitle(title, x=0.01, ha="left")
    return figure
