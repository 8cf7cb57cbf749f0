"""Writes the picture of README.md, the map of methods, from the executed notebook: `python tools/readme_figure.py`."""

import base64
from pathlib import Path

import nbformat

from fewbits.core.files import write_whole

ROOT = Path(__file__).resolve().parent.parent
NOTEBOOK, FIGURE = ROOT / "book" / "method_map.ipynb", "fig-map-rows"
PICTURE = ROOT / "book" / "_static" / "method_map.png"


def stored_figure(notebook: Path, name: str) -> bytes:
    """The PNG of the figure with this name.

    Raises:
        LookupError: no cell has the name, or the cell has no picture.
    """
    for cell in nbformat.read(notebook, as_version=4).cells:
        if cell.metadata.get("mystnb", {}).get("figure", {}).get("name") == name:
            for output in cell.outputs:
                if "image/png" in output.get("data", {}):
                    return base64.b64decode(output.data["image/png"])
    raise LookupError(f"{notebook.name} has no picture {name!r}: refresh the notebook")


if __name__ == "__main__":
    write_whole(PICTURE, stored_figure(NOTEBOOK, FIGURE))
