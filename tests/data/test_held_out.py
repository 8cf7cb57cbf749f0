"""The part of the training images on which settings are chosen."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from fewbits.data import Dataset, held_out, load, normalize


def numbered(labels: list[int], tests: int = 2) -> Dataset:
    """Images that hold their own number, so that each can be recognized."""
    count, classes = len(labels), max(labels) + 1
    images = torch.arange(count + tests, dtype=torch.float32).reshape(-1, 1, 1, 1)
    names = tuple("abcdefghij"[:classes])
    test_labels = torch.zeros(tests, dtype=torch.int64)
    return Dataset("made", images[:count], torch.tensor(labels), images[count:], test_labels, names)


@settings(deadline=None)
@given(st.lists(st.integers(0, 3), min_size=1, max_size=60), st.floats(0.05, 0.7))
def test_a_share_of_each_class_is_held_out_and_nothing_is_lost(labels, share):
    labels = [*labels, 0, 0, 1, 1, 2, 2, 3, 3]
    data = numbered(labels)
    counts = [labels.count(label) for label in range(4)]
    wanted = [max(1, round(share * count)) for count in counts]
    if any(want >= count for want, count in zip(wanted, counts, strict=True)):
        with pytest.raises(ValueError, match="leaves no training image of class"):
            held_out(data, share)
        return
    part = held_out(data, share)
    kept, held = part.train_images.flatten().tolist(), part.test_images.flatten().tolist()
    assert sorted(kept + held) == list(range(len(labels)))
    assert kept == sorted(kept)
    assert held == sorted(held)
    assert [labels[int(i)] for i in kept] == part.train_labels.tolist()
    assert [labels[int(i)] for i in held] == part.test_labels.tolist()
    assert part.test_labels.bincount(minlength=4).tolist() == wanted


def test_the_split_never_depends_on_a_seed_and_holds_no_test_image():
    data = load("digits")
    torch.manual_seed(1)
    first = held_out(data)
    torch.manual_seed(2)
    second = held_out(normalize(data, mean=[0.0], std=[1.0]))
    assert torch.equal(first.test_images, second.test_images)
    assert torch.equal(first.train_labels, second.train_labels)
    test_images = {image.numpy().tobytes() for image in data.test_images}
    assert sum(image.numpy().tobytes() in test_images for image in first.test_images) == 0
    held = sum(round(0.1 * int(count)) for count in data.train_labels.bincount())
    assert (len(first.train_images), len(first.test_images)) == (len(data.train_images) - held, held)
    assert (first.name, first.classes) == (data.name, data.classes)


def test_what_cannot_be_held_out_is_refused():
    for share in (0, 1, -0.1, 1.5, float("nan")):
        with pytest.raises(ValueError, match="share must be more than 0 and less than 1"):
            held_out(numbered([0, 0, 1, 1]), share)
    with pytest.raises(ValueError, match="leaves no training image of class 'b', which has 1"):
        held_out(numbered([0, 0, 0, 1]), 0.2)
