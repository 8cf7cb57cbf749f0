"""nbval compares no pixels. Here it learns to: PNG figures of compared cells must look like the stored ones.

Two pictures look alike if their perceptual hashes (pHash: the signs of the 16×16 lowest frequencies of the grey
picture) differ in at most `TOLERANCE` of 256 bits. Measured on line, bar, step and heat-map figures: noise of ±3 grey
levels, softened edges, text without hinting, a shift or a margin of one pixel change 0 to 8 bits; one point of one
curve moved by 6 % of the axis changes 16, a histogram stretched by 5 % 26, a staircase with one step more 22. What the
hash does not see: colours of equal lightness, and changes of a few pixels.

A figure must also keep the rules of ``tests/figure_rules.py``, such as its width and the size of its text. One that
does not says so on stderr, where the stored notebook has nothing.
"""

import base64
import io
import os
from itertools import zip_longest
from pathlib import Path

import imagehash
from nbval.plugin import IPyNbCell
from PIL import Image

TESTS = Path(__file__).resolve().parents[1] / "tests"
HASH_SIZE = 16
TOLERANCE = 8  # bits
SIZE_TOLERANCE = 2  # pixels: tight bounding boxes round


def figures(outputs: list) -> list[Image.Image]:
    """The PNG pictures in the outputs of a cell, on white."""
    data = [output["data"]["image/png"] for output in outputs if "image/png" in output.get("data", {})]
    pictures = [Image.open(io.BytesIO(base64.b64decode(png))).convert("RGBA") for png in data]
    return [Image.alpha_composite(Image.new("RGBA", picture.size, "white"), picture) for picture in pictures]


def figure_difference(stored: Image.Image | None, new: Image.Image | None) -> str | None:
    """How a new figure differs from the stored one, in words; None if they look alike."""
    if stored is None or new is None:
        return "a figure is missing" if new is None else "there is a figure too many"
    if any(abs(a - b) > SIZE_TOLERANCE for a, b in zip(stored.size, new.size, strict=True)):
        return f"its size is {new.size}, stored is {stored.size}"
    bits = imagehash.phash(stored, HASH_SIZE) - imagehash.phash(new, HASH_SIZE)
    return (
        f"it looks different: {bits} bits of the perceptual hash, {TOLERANCE} are allowed" if bits > TOLERANCE else None
    )


def pytest_configure() -> None:
    """Let nbval compare figures after it has compared text, and let figures check themselves in all kernels."""
    os.environ["MATPLOTLIBRC"] = str(TESTS / "matplotlibrc")
    os.environ["PYTHONPATH"] = os.pathsep.join(filter(None, [str(TESTS), os.environ.get("PYTHONPATH")]))
    compare_text = IPyNbCell.compare_outputs

    def compare_outputs(cell: IPyNbCell, test: list, ref: list, skip_compare: tuple | None = None) -> bool:
        said = "".join(output.get("text", "") for output in test if output.get("name") == "stderr")
        if broken := [line for line in said.splitlines() if line.startswith("figure: ")]:
            cell.comparison_traceback = broken
            return False
        if not compare_text(cell, test, ref, skip_compare):
            return False
        pairs = zip_longest(figures(ref), figures(test))
        differences = [text for pair in pairs if (text := figure_difference(*pair))]
        cell.comparison_traceback += [f"figure: {text}" for text in differences]
        return not differences

    IPyNbCell.compare_outputs = compare_outputs
