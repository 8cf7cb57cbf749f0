"""Sphinx extension: the figures of the built pages get a palette of 256 colours, which makes them a third as large.

Only the copies in the built book change; the notebooks keep what was drawn. A figure has few colours, and 256 hold all
of them and the steps of the edges between them; a photograph has too many and stays as it is.
"""

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from PIL import Image
from sphinx.application import Sphinx

MAX_COLOURS = 20_000  # of a figure; photographs have more


def lighten(path: Path) -> None:
    """Store a PNG with a palette, if it is a drawing without one."""
    with Image.open(path) as stored:
        if stored.mode not in ("RGB", "RGBA"):
            return
        picture = Image.alpha_composite(Image.new("RGBA", stored.size, "white"), stored.convert("RGBA")).convert("RGB")
    if picture.getcolors(MAX_COLOURS) is not None:
        picture.quantize(256, Image.Quantize.MEDIANCUT, kmeans=1, dither=Image.Dither.NONE).save(path, "PNG")


def lighten_all(app: Sphinx, exception: Exception | None) -> None:
    if exception is None:
        with ThreadPoolExecutor() as pool:  # Pillow works outside Python's lock
            list(pool.map(lighten, (Path(app.outdir) / "_images").glob("*.png")))


def setup(app: Sphinx) -> dict:
    app.connect("build-finished", lighten_all)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
