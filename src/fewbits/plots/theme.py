"""The theme of the figures: colours, markers, sizes (see `fewbits.plots`)."""

import os
import sys

import matplotlib
import numpy as np
import seaborn as sns
from matplotlib.colors import to_rgb
from matplotlib.typing import ColorType

# Found by search: methods that share a figure differ for normal, protanope and deuteranope eyes, and every colour has a
# contrast of 3 : 1 on white (tests/test_plots.py holds both). The marker says the same a second time.
STYLES = {
    "float": ("#212121", "h"),
    "uniform": ("#0072b2", "o"),
    "ptq": ("#cc6677", "s"),
    "ptq per tensor": ("#882255", "D"),
    "qat": ("#c0392b", "^"),
    "binaryconnect": ("#115678", "<"),
    "binarynet": ("#221178", ">"),
    "xnor-net": ("#17a1a1", "X"),
    "twn": ("#45a117", "d"),
    "ttq": ("#1d1dc9", "v"),
    "exact ternary": ("#22672e", "p"),
    "dorefa": ("#8c564b", "P"),
    "qnn": ("#8a8420", "s"),
    "lsq": ("#a000e0", "^"),
    "log2": ("#b5651d", "v"),
    "log-sqrt2": ("#661100", "^"),
    "inq": ("#dd6e0f", "D"),
    "uhlich": ("#332288", "*"),
    "nakata": ("#b07d0a", "<"),
    "sasaki": ("#d1495b", ">"),
    "k-means": ("#6f7d1f", "d"),
    "deep compression": ("#1b4f72", "s"),
    "soft weight-sharing": ("#3d93d0", "p"),
    "paper": ("#737373", "o"),
}
COLORS = {method: colour for method, (colour, _) in STYLES.items()}
MARKERS = {method: marker for method, (_, marker) in STYLES.items()}
# Of the words of `fewbits.evidence`, in their order.
WORD_COLORS = {
    "reproduced": "#1a7a3c",
    "carries over": "#4a7a1a",
    "undecided": "#5a6372",
    "does not carry over": "#b05a00",
    "not reproduced": "#b3202c",
    "cited": "#70757f",
    "holds": "#2a5ca8",
    "does not hold": "#6b3fa0",
}

WIDTH = 7.0
SMALL = 8


def use_theme() -> None:
    """Apply the book's theme to matplotlib: set ``plt.rcParams`` for all figures that are drawn from now on.

    In a Jupyter kernel figures are shown in the page, even where the environment variable ``MPLBACKEND`` asks for
    another backend, as on clusters and in containers. A backend that the notebook has chosen itself stays.
    """
    _show_in_page()
    sns.set_theme(
        context="paper",
        style="ticks",
        palette=[COLORS[name] for name in ("uniform", "inq", "binarynet", "xnor-net", "qat", "nakata", "float")],
        # DejaVu Sans comes with matplotlib, so that text has the same size on every machine.
        font="DejaVu Sans",
        rc={
            "figure.dpi": 144,
            "savefig.dpi": 144,
            "figure.figsize": (WIDTH, 3.2),
            "figure.facecolor": "white",
            "figure.constrained_layout.use": True,
            "axes.spines.top": False,
            "axes.spines.right": False,
            "axes.titlelocation": "left",
            "axes.titlesize": 9,
            "figure.titlesize": 9,
            "figure.titleweight": "bold",
            "axes.labelsize": 9,
            "font.size": SMALL,
            "xtick.labelsize": SMALL,
            "ytick.labelsize": SMALL,
            "legend.fontsize": SMALL,
            "legend.frameon": False,
            "lines.linewidth": 1.4,
            "lines.markersize": 5,
            "axes.linewidth": 0.8,
            "xtick.major.width": 0.8,
            "ytick.major.width": 0.8,
        },
    )


def _show_in_page() -> None:
    asked = os.environ.get("MPLBACKEND", "")
    shell = sys.modules["IPython"].get_ipython() if "IPython" in sys.modules else None
    if shell is not None and hasattr(shell, "kernel") and asked and _same_backend(matplotlib.get_backend(), asked):
        shell.enable_matplotlib("inline")


def _same_backend(one: str, other: str) -> bool:
    names = [name.lower().removeprefix("module://") for name in (one, other)]
    return names[0] == names[1] and names[0] not in ("inline", "matplotlib_inline.backend_inline")


def contrast(first: ColorType, second: ColorType) -> float:
    """Contrast ratio of two colours, 1 (equal) to 21 (black on white), as WCAG 2 defines it."""
    low, high = sorted((_luminance(first), _luminance(second)))
    return (high + 0.05) / (low + 0.05)


def _luminance(colour: ColorType) -> float:
    channels = np.asarray(to_rgb(colour))
    linear = np.where(channels <= 0.04045, channels / 12.92, ((channels + 0.055) / 1.055) ** 2.4)
    return float(linear @ [0.2126, 0.7152, 0.0722])


def text_color(colour: ColorType) -> tuple[float, float, float]:
    """``colour``, darkened until text in it has a contrast of at least 4.5 : 1 on white."""
    red, green, blue = to_rgb(colour)
    while contrast((red, green, blue), "white") < 4.5:
        red, green, blue = 0.95 * red, 0.95 * green, 0.95 * blue
    return red, green, blue
