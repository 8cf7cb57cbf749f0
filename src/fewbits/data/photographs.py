"""Photographs for networks that were trained on ImageNet: 1,000 in files, a few inside packages, and their way in.

The 1,000 are the public collection ``imagenet-sample-images``, one for each class. They were taken from ImageNet's
*training* images, which such networks have seen: accuracy on them is too good, and only differences say something. To
build the set that the book uses, byte for byte (the collection has 110 MB, the set 22 MB)::

    git clone --depth 1 https://github.com/EliSchwartz/imagenet-sample-images
    python -c "from fewbits.data import build_photographs as build; print(build('imagenet-sample-images', '.'))"

and put the folder ``imagenet1000`` where ``FEWBITS_DATA`` points.
"""

import importlib.resources
import io
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from fewbits.core.extras import extra
from fewbits.core.files import write_whole

if TYPE_CHECKING:
    from PIL.Image import Image

SHORT_SIDE, SIDE, QUALITY = 256, 224, 90
_FILE = "validation-00000-of-00001.parquet"
# Name -> package and file; each is of a class of ImageNet, or has things on it that are.
_IN_PACKAGES = {
    "cat": ("skimage.data", "chelsea.png"),
    "coffee": ("skimage.data", "coffee.png"),
    "rocket": ("skimage.data", "rocket.jpg"),
    "motorcycle": ("skimage.data", "motorcycle_left.png"),
    "flower": ("sklearn.datasets.images", "flower.jpg"),
    "palace": ("sklearn.datasets.images", "china.jpg"),
    "officer": ("matplotlib", "mpl-data/sample_data/grace_hopper.jpg"),
}


@dataclass(frozen=True, eq=False)
class Photographs:
    """Photographs and their classes, in the order of the classes.

    Attributes:
        images: (N, 3, 224, 224) uint8, see :func:`to_input`.
        labels: (N,) int64 in [0, 1000).
    """

    images: Tensor = field(repr=False)
    labels: Tensor = field(repr=False)

    def part(self, chosen: Tensor) -> "Photographs":
        """Those whose indices, or places in a mask, are ``chosen``."""
        return Photographs(self.images[chosen], self.labels[chosen])


def imagenet_classes() -> tuple[str, ...]:
    """A name for each of the 1,000 classes, in the usual order. Two names occur twice: "crane" and "maillot".

    They are those in the file names of ``imagenet-sample-images``, with spaces: of each class the first word of WordNet
    3.0 (Princeton University), whose licence allows to copy it.
    """
    return tuple((importlib.resources.files("fewbits.data") / "imagenet_classes.txt").read_text("utf-8").splitlines())


def centre_crop(image: "Image", side: int = SIDE) -> Tensor:
    """The centre of a photograph whose shorter side becomes 256 pixels (bicubic): (3, side, side) uint8.

    Raises:
        ValueError: ``side`` is more than 256.
    """
    if side > SHORT_SIDE:
        raise ValueError(f"side must be at most {SHORT_SIDE}, got {side}")
    with extra("data"):
        from PIL.Image import Resampling
    scale = SHORT_SIDE / min(image.size)
    width, height = (max(SHORT_SIDE, round(length * scale)) for length in image.size)
    resized = image.convert("RGB").resize((width, height), Resampling.BICUBIC)
    left, top = (width - side) // 2, (height - side) // 2
    pixels = np.asarray(resized.crop((left, top, left + side, top + side)))
    return torch.from_numpy(pixels.copy()).permute(2, 0, 1).contiguous()


def to_input(images: Tensor) -> Tensor:
    """Pixels (…, 3, H, W) as EfficientNet-Lite reads them: ``(x - 127) / 128`` in float32.

    Raises:
        TypeError: ``images`` are not uint8.
    """
    if images.dtype != torch.uint8:
        raise TypeError(f"images must be uint8, got {images.dtype}")
    return (images.float() - 127) / 128


def sample_photographs() -> dict[str, Tensor]:
    """Seven photographs inside scikit-image, scikit-learn and Matplotlib, by name: (3, 224, 224) uint8 each.

    No file is downloaded.

    Raises:
        ImportError: a package is not installed; the message names the extra.
    """
    found = {}
    for name, (package, file) in _IN_PACKAGES.items():
        with extra("photographs"):
            from PIL import Image

            path = importlib.resources.files(package) / file
        with path.open("rb") as stream:
            found[name] = centre_crop(Image.open(stream))
    return found


def load_photographs(root: str | Path) -> Photographs:
    """The 1,000 photographs in ``<root>/imagenet1000``, of which the centre 224 × 224 pixels are taken; some 5 s.

    Raises:
        FileNotFoundError: there is no such file; the message says how to build it.
        ValueError: the file has other columns, or not one photograph of 256 × 256 pixels for each class.
        ImportError: the extra "data" is not installed.
    """
    with extra("data"):
        import pyarrow.parquet as parquet
        from PIL import Image
    path = Path(root) / "imagenet1000" / _FILE
    if not path.is_file():
        raise FileNotFoundError(f"{path}: no such file; help(fewbits.data.photographs) says how to build it")
    table = parquet.read_table(path)
    if not {"image", "label"} <= set(table.column_names):
        raise ValueError(f"{path}: has the columns {table.column_names}, and not image and label")
    by_label = {row["label"]: row["image"]["bytes"] for row in table.to_pylist()}
    if sorted(by_label) != list(range(1000)) or len(table) != 1000:
        raise ValueError(f"{path}: must hold one photograph for each of 1,000 classes")
    images = torch.empty(1000, 3, SIDE, SIDE, dtype=torch.uint8)
    for label in range(1000):
        photograph = Image.open(io.BytesIO(by_label[label]))
        if photograph.size != (SHORT_SIDE, SHORT_SIDE):
            raise ValueError(f"{path}: the photograph of class {label} has {photograph.size} pixels, and not 256 × 256")
        images[label] = centre_crop(photograph)
    return Photographs(images, torch.arange(1000))


def build_photographs(collection: str | Path, root: str | Path) -> Path:
    """Write ``<root>/imagenet1000`` from a clone of ``imagenet-sample-images``: 256 × 256 pixels, JPEG at 90.

    Returns:
        The file.
    Raises:
        FileNotFoundError: ``collection`` does not hold 1,000 files of the name ``n<number>_<class>.JPEG``.
    """
    with extra("data"):
        import pyarrow
        import pyarrow.parquet as parquet
        from PIL import Image
    files = sorted(Path(collection).glob("n*.JPEG"))  # the numbers of WordNet are in the order of the classes
    if len(files) != 1000:
        raise FileNotFoundError(f"{collection}: holds {len(files)} photographs, and not 1,000")
    rows = []
    for label, file in enumerate(files):
        stream = io.BytesIO()
        with Image.open(file) as photograph:
            pixels = centre_crop(photograph, SHORT_SIDE).permute(1, 2, 0).numpy()
        Image.fromarray(pixels).save(stream, "JPEG", quality=QUALITY)
        rows.append({"image": {"bytes": stream.getvalue(), "path": file.name}, "label": label})
    content = pyarrow.BufferOutputStream()
    parquet.write_table(pyarrow.Table.from_pylist(rows), content)
    path = Path(root) / "imagenet1000" / _FILE
    path.parent.mkdir(parents=True, exist_ok=True)
    write_whole(path, content.getvalue().to_pybytes())
    return path
