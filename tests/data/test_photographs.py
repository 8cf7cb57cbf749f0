"""Photographs: the set that a reader builds, those inside packages, and the way into the network."""

import io

import numpy as np
import pyarrow
import pyarrow.parquet as parquet
import pytest
import torch
from PIL import Image

from fewbits.data import (
    build_photographs,
    centre_crop,
    imagenet_classes,
    load_photographs,
    sample_photographs,
    to_input,
)

FILE = "validation-00000-of-00001.parquet"


def jpeg(size, color) -> bytes:
    stream = io.BytesIO()
    Image.new("RGB", size, color).save(stream, "JPEG", quality=90)
    return stream.getvalue()


def written(folder, rows) -> None:
    (folder / "imagenet1000").mkdir()
    parquet.write_table(pyarrow.Table.from_pylist(rows), folder / "imagenet1000" / FILE)


def row(label, size=(256, 256)) -> dict:
    return {"image": {"bytes": jpeg(size, (label % 256, label // 4, 7)), "path": "x"}, "label": label}


def test_a_clone_of_the_collection_becomes_the_set(tmp_path):
    """Names give the classes, whatever their colours; the shorter side becomes 256 pixels."""
    (tmp_path / "clone").mkdir()
    for label in range(1000):
        size = (40, 30) if label % 2 else (30, 50)
        Image.new("RGB", size, (label % 256, label // 4, 7)).save(tmp_path / "clone" / f"n{label:08}_x.JPEG")
    path = build_photographs(tmp_path / "clone", tmp_path)
    assert path == tmp_path / "imagenet1000" / FILE
    found = load_photographs(tmp_path)
    assert found.images.shape == (1000, 3, 224, 224)
    assert found.images.dtype == torch.uint8
    assert torch.equal(found.labels, torch.arange(1000))
    expected = torch.tensor([[label % 256, label // 4, 7] for label in range(1000)])
    assert (found.images[:, :, 100, 100].long() - expected).abs().max() <= 6  # JPEG, twice
    assert torch.equal(found.part(found.labels % 500 == 3).labels, torch.tensor([3, 503]))
    (tmp_path / "clone" / "n00000000_x.JPEG").unlink()
    with pytest.raises(FileNotFoundError, match="holds 999 photographs"):
        build_photographs(tmp_path / "clone", tmp_path)


def test_rows_may_come_in_any_order(tmp_path):
    written(tmp_path, [row(label) for label in reversed(range(1000))])
    images = load_photographs(tmp_path).images
    assert (images[:, 0, 9, 9].long() - torch.arange(1000) % 256).abs().max() <= 4


def test_other_files_are_refused(tmp_path):
    with pytest.raises(FileNotFoundError, match="how to build it"):
        load_photographs(tmp_path)
    written(tmp_path, [row(label) for label in (*range(999), 998)])
    with pytest.raises(ValueError, match="one photograph for each of 1,000 classes"):
        load_photographs(tmp_path)
    parquet.write_table(pyarrow.table({"img": [1]}), tmp_path / "imagenet1000" / FILE)
    with pytest.raises(ValueError, match=r"has the columns \['img'\]"):
        load_photographs(tmp_path)
    rows = [row(label) for label in range(999)] + [row(999, (255, 256))]
    parquet.write_table(pyarrow.Table.from_pylist(rows), tmp_path / "imagenet1000" / FILE)
    with pytest.raises(ValueError, match=r"class 999 has .255, 256. pixels"):
        load_photographs(tmp_path)


@pytest.mark.parametrize("size", [(300, 256), (256, 300), (1000, 500), (17, 31)])
def test_the_crop_is_the_centre(size):
    """A ramp from left to right: its middle comes out in the middle."""
    ramp = np.linspace(0, 255, size[0]).astype(np.uint8)
    image = Image.fromarray(np.broadcast_to(ramp[None, :, None], (size[1], size[0], 3)).copy())
    found = centre_crop(image)
    assert found.shape == (3, 224, 224)
    assert abs(float(found[0, 112, 111:113].float().mean()) - 127.5) < 10
    assert centre_crop(image, 256).shape == (3, 256, 256)
    with pytest.raises(ValueError, match="side must be at most 256"):
        centre_crop(image, 257)


def test_input_of_the_network():
    pixels = torch.tensor([0, 127, 255], dtype=torch.uint8)
    assert to_input(pixels).tolist() == [-127 / 128, 0, 1]
    with pytest.raises(TypeError, match="uint8"):
        to_input(pixels.float())


def test_the_seven_photographs_are_inside_the_packages(monkeypatch):
    monkeypatch.setattr("socket.socket.connect", lambda *_: pytest.fail("the network was asked"))
    found = sample_photographs()
    assert len(found) == 7
    for image in found.values():
        assert image.shape == (3, 224, 224)
        assert image.dtype == torch.uint8
        assert image.float().std() > 20


def test_the_names_of_the_classes():
    names = imagenet_classes()
    assert len(names) == 1000
    assert (names[0], names[285], names[967], names[999]) == ("tench", "Egyptian cat", "espresso", "toilet tissue")
    assert {name for name in names if names.count(name) > 1} == {"crane", "maillot"}
