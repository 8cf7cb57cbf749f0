"""Readers of image data sets in three file layouts: MNIST's idx files, CIFAR's binary archives, Hub parquet.

Every reader returns ``images`` (N, C, H, W) uint8 and ``labels`` (N,) int64 as NumPy arrays, takes the number of rows
from the file, checks every size, and raises a ValueError that names the file when something does not fit. Nothing is
unpickled, and nothing is extracted from an archive to a path.
"""

import gzip
import io
import math
import re
import struct
import tarfile
import zlib
from pathlib import Path

import numpy as np

from fewbits.core.extras import extra

Arrays = tuple[np.ndarray, np.ndarray]

IDX_IMAGES, IDX_LABELS = 0x0803, 0x0801  # "unsigned byte" (08), and the number of dimensions
IMAGE_COLUMNS, LABEL_COLUMNS = ("img", "image"), ("fine_label", "label")


def _check(images: np.ndarray, labels: np.ndarray, shape: tuple[int, int, int], classes: int, where: Path) -> None:
    """Refuse an empty set, unequal counts, images that are not ``shape`` = (C, H, W), or labels outside the classes."""
    if not len(images) or len(images) != len(labels):
        raise ValueError(f"{where}: {len(images)} images and {len(labels)} labels")
    if images.shape[1:] != shape:
        raise ValueError(f"{where}: images have shape {images.shape[1:]}, expected {shape}")
    if labels.min() < 0 or labels.max() >= classes:
        raise ValueError(f"{where}: labels run from {labels.min()} to {labels.max()}, expected 0 to {classes - 1}")


def _gunzip(path: Path) -> bytes:
    """The whole content; reading to the end makes gzip compare its own checksum."""
    try:
        with gzip.open(path) as file:
            return file.read()
    except (OSError, EOFError, zlib.error) as error:
        raise ValueError(f"{path}: not a complete gzip file ({error})") from error


def _idx_array(path: Path, magic: int) -> np.ndarray:
    content = _gunzip(path)
    dims = magic & 0xFF
    header = struct.Struct(f">{1 + dims}I")
    if len(content) < header.size or header.unpack_from(content)[0] != magic:
        raise ValueError(f"{path}: not an idx file with {dims} dimensions of unsigned bytes")
    shape = header.unpack_from(content)[1:]
    values = np.frombuffer(content[header.size :], dtype=np.uint8)
    if values.size != math.prod(shape):
        raise ValueError(f"{path}: the header promises {math.prod(shape)} values, the file holds {values.size}")
    return values.reshape(shape)


def read_idx(images_path: Path, labels_path: Path) -> Arrays:
    """MNIST's ``*-images-idx3-ubyte.gz`` and ``*-labels-idx1-ubyte.gz``: (N, 1, 28, 28) and (N,)."""
    images = _idx_array(images_path, IDX_IMAGES)[:, None]
    labels = _idx_array(labels_path, IDX_LABELS).astype(np.int64)
    _check(images, labels, (1, 28, 28), 10, images_path)
    return images, labels


def read_cifar(path: Path, splits: dict[str, list[str]], label_bytes: int, classes: int) -> dict[str, Arrays]:
    """The parts of a CIFAR ``*-binary.tar.gz``, each (N, 3, 32, 32) and (N,).

    Args:
        path: the archive.
        splits: for each part, the names of its members, in order.
        label_bytes: 1 (CIFAR-10) or 2 (CIFAR-100: coarse, then fine; the fine one is returned). A record is these
            bytes and 3,072 bytes of red, green and blue planes, row by row.
        classes: number of classes.
    """
    record = label_bytes + 3 * 32 * 32
    content = _gunzip(path)
    parts = {}
    try:
        with tarfile.open(fileobj=io.BytesIO(content)) as archive:
            for split, members in splits.items():
                raw = [_content(archive, member) for member in members]
                for member, data in zip(members, raw, strict=True):
                    if not data or len(data) % record:
                        raise ValueError(f"{path}: {member} has {len(data)} bytes, not a multiple of {record}")
                rows = np.frombuffer(b"".join(raw), dtype=np.uint8).reshape(-1, record)
                images, labels = rows[:, label_bytes:].reshape(-1, 3, 32, 32), rows[:, label_bytes - 1].astype(np.int64)
                _check(images, labels, (3, 32, 32), classes, path)
                parts[split] = images, labels
    except (tarfile.TarError, KeyError) as error:  # KeyError: no such member
        raise ValueError(f"{path}: not the CIFAR binary archive ({error})") from error
    return parts


def _content(archive: tarfile.TarFile, member: str) -> bytes:
    file = archive.extractfile(member)
    if file is None:
        raise tarfile.TarError(f"{member} is not a file")
    return file.read()


def parquet_shards(folder: Path, split: str) -> list[Path]:
    """The files of one revision of ``split``, in order.

    Names are those of the Hub, ``<split>-00000-of-00003.parquet``, also with a hash (``…-of-00003-0123456789abcdef``),
    or one file of another name that begins with ``split``.

    Raises:
        FileNotFoundError: there is none, or one of those that the names promise is missing.
        ValueError: files of several revisions lie in the folder, so that rows would be read twice.
    """
    found = sorted(folder.glob(f"{split}*.parquet"))
    if not found:
        raise FileNotFoundError(f"{folder / f'{split}-*.parquet'}: no such file")
    numbered = [re.fullmatch(r"(.*)-(\d+)-of-(\d+)(-[0-9a-f]+)?\.parquet", path.name) for path in found]
    revisions = {
        (match[1], match[3], bool(match[4])) if match else path.name
        for match, path in zip(numbered, found, strict=True)
    }
    places = [int(match[2]) for match in numbered if match]
    if len(revisions) > 1 or len(set(places)) < len(places):
        names = ", ".join(path.name for path in found)
        raise ValueError(f"{folder}: files of several revisions of {split!r} lie here, keep one of them: {names}")
    if first := numbered[0]:
        count = int(first[3])
        if missing := sorted(set(range(count)) - set(places)):
            name = f"{first[1]}-{missing[0]:0{len(first[3])}d}-of-{first[3]}{'-…' if first[4] else ''}.parquet"
            raise FileNotFoundError(f"{folder / name}: no such file")
        if max(places) >= count:
            raise ValueError(f"{folder}: {found[-1].name} says that it is one of {count}")
    return found


def read_parquet(shards: list[Path], shape: tuple[int, int, int], classes: int) -> Arrays:
    """Hub layout: an image column (``img`` or ``image``: encoded bytes) and ``fine_label`` or ``label``.

    Args:
        shards: files to concatenate.
        shape: (C, H, W) that every image must have; C is 1 or 3.
        classes: number of classes.
    """
    parts = [_read_shard(shard, shape, classes) for shard in shards]
    images, labels = zip(*parts, strict=True)
    return np.concatenate(images), np.concatenate(labels)


def _read_shard(path: Path, shape: tuple[int, int, int], classes: int) -> Arrays:
    with extra("data"):
        import pyarrow as pa
        import pyarrow.parquet as pq
        from PIL import Image
    try:
        names = pq.read_schema(path).names
        columns = [next(c for c in known if c in names) for known in (IMAGE_COLUMNS, LABEL_COLUMNS)]
        table = pq.read_table(path, columns=columns)
        if not pa.types.is_integer(table[columns[1]].type):
            raise ValueError(f"{path}: the labels are {table[columns[1]].type}, expected whole numbers")
        if missing := table[columns[1]].null_count:
            raise ValueError(f"{path}: {missing} of the labels {'is' if missing == 1 else 'are'} missing")
        labels = table[columns[1]].to_numpy().astype(np.int64)
        encoded = table[columns[0]].combine_chunks().field("bytes")
    except StopIteration:
        raise ValueError(f"{path}: columns are {names}, expected {IMAGE_COLUMNS} and {LABEL_COLUMNS}") from None
    except (pa.ArrowException, OSError, KeyError, AttributeError) as error:
        raise ValueError(f"{path}: not a complete parquet file in Hub layout ({error})") from error
    channels, height, width = shape
    mode = {1: "L", 3: "RGB"}[channels]
    images = np.empty((len(labels), height, width, channels), np.uint8)
    for row, data in enumerate(encoded):
        try:
            picture = Image.open(io.BytesIO(data.as_py()))
            # Before anything is decoded: a few bytes may declare a picture of many gigabytes. And the numbers of a
            # palette are no grey values, those of 16 bits would be cut off.
            if (picture.mode, picture.size) != (mode, (width, height)):
                found = f"mode {picture.mode} and size {picture.size}"
                raise ValueError(f"{path}: the image in row {row} has {found}, expected {mode}, {(width, height)}")
            values = np.asarray(picture)
        except (OSError, SyntaxError, EOFError, TypeError, Image.DecompressionBombError) as error:
            raise ValueError(f"{path}: the image in row {row} cannot be decoded ({error})") from error
        images[row] = values.reshape(height, width, channels)
    images = np.ascontiguousarray(images.transpose(0, 3, 1, 2))
    _check(images, labels, shape, classes, path)
    return images, labels
