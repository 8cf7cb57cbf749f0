"""The theme of the figures: colours, markers, sizes (see `fewbits.plots`)."""

import os
import sys

import matplotlib
import numpy as np
import seaborn as sns
from matplotlib import patheffects
from matplotlib.colors import LinearSegmentedColormap, to_hex, to_rgb
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
# What a reader sees in place of the keys above. A key that is missing here reads well as it is.
NAMES = {method: method for method in STYLES} | {
    "ptq": "PTQ",
    "ptq per tensor": "PTQ, per tensor",
    "qat": "QAT",
    "binaryconnect": "BinaryConnect",
    "binarynet": "BinaryNet",
    "xnor-net": "XNOR-Net",
    "twn": "TWN",
    "ttq": "TTQ",
    "dorefa": "DoReFa-Net",
    "qnn": "QNN",
    "lsq": "LSQ",
    "log2": "powers of 2",
    "log-sqrt2": "powers of √2",
    "inq": "INQ",
    "uhlich": "size penalty",
    "nakata": "MAC × bit penalty",
    "sasaki": "σ steps",
    "deep compression": "Deep Compression",
}
# For everything that is no method: layers, networks, rules, stages. Duller than any method, apart for the same eyes,
# and apart from float's black and the paper's grey.
NEUTRALS = ("#6f86b9", "#60471b", "#a58a61", "#463f67")
NEUTRAL_MARKERS = ("o", "s", "D", "^")
# Not to be read, only to lie behind: areas and histograms; lines that lead the eye along a row.
PALE, GRID = "#c3cad3", "#e4e7ea"
# Sign, wherever it is shown: 0 is white, as the page is, and turns black with it in the dark.
NEGATIVE, POSITIVE = "#2369bd", "#a9373b"
SIGN_MAP = LinearSegmentedColormap.from_list("sign", [NEGATIVE, "white", POSITIVE], N=513)
# Of text that lines may cross: they pass behind it.
OUTLINE = [patheffects.withStroke(linewidth=3, foreground="white")]
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

# A figure is WIDTH inches wide, shown with PIXELS CSS pixels to the inch: 728 on the page, where TEXT (pt) is 13 pixels
# high, and SMALL, for crowded cells, 11.6 pixels. The file has twice as many pixels each way.
WIDTH = 7.0
PIXELS = 104
TEXT = 9
SMALL = 8


def use_theme() -> None:
    """Apply the book's theme to matplotlib: set ``plt.rcParams`` for all figures that are drawn from now on.

    In a Jupyter kernel figures are shown in the page, even where the environment variable ``MPLBACKEND`` asks for
    another backend, as on clusters and in containers. A backend that the notebook has chosen itself stays. Pictures
    have the size of their figure, not cut to what is drawn, and two pixels for each one on the page.
    """
    _show_in_page()
    sns.set_theme(
        context="paper",
        style="ticks",
        palette=[*NEUTRALS, COLORS["float"], COLORS["paper"]],
        # DejaVu Sans comes with matplotlib, so that text has the same size on every machine.
        font="DejaVu Sans",
        rc={
            "figure.dpi": PIXELS,
            "savefig.dpi": 2 * PIXELS,
            "figure.figsize": (WIDTH, 3.2),
            "figure.facecolor": "white",
            "figure.constrained_layout.use": True,
            "axes.spines.top": False,
            "axes.spines.right": False,
            "axes.titlelocation": "left",
            "axes.titlesize": TEXT,
            "figure.titlesize": TEXT,
            "figure.titleweight": "bold",
            "axes.labelsize": TEXT,
            "font.size": TEXT,
            "xtick.labelsize": TEXT,
            "ytick.labelsize": TEXT,
            "legend.fontsize": TEXT,
            "legend.title_fontsize": TEXT,
            "legend.frameon": False,
            "image.cmap": "Greys",
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
    if shell is None or not hasattr(shell, "kernel"):
        return
    if asked and _same_backend(matplotlib.get_backend(), asked):
        shell.enable_matplotlib("inline")
    from matplotlib_inline.backend_inline import set_matplotlib_formats  # a kernel has it; importing it acts

    set_matplotlib_formats("retina", bbox_inches=None)


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


def ink_on(ground: ColorType) -> str:
    """Black or white, whichever has the higher contrast on ``ground``."""
    return "black" if contrast("black", ground) >= contrast("white", ground) else "white"


def shades(count: int) -> list[str]:
    """``count`` shades of one neutral hue, light to dark, for what has an order, such as bits; all show on white."""
    ordered = LinearSegmentedColormap.from_list("shades", [NEUTRALS[0], "#10172e"])
    return [to_hex(ordered(place)) for place in np.linspace(0, 1, count)]
