"""The map on images: every method runs with the same number of epochs, and its row says what the network takes."""

import dataclasses
import functools
import json
from collections import Counter

import pytest
import torch

from fewbits.core.quantizer import weight_layers
from fewbits.data import Dataset
from fewbits.experiments import comparison
from fewbits.experiments.comparison import TASKS
from fewbits.experiments.compensation.circuits import UNITS as BLOCK_UNITS
from fewbits.experiments.method_map import images
from fewbits.experiments.method_map.circuits import UNITS
from fewbits.experiments.method_map.images import ENTRIES
from fewbits.nets import VGGSmall

SMALL = functools.partial(VGGSmall, 3, 32, 10, (4,) * 6)


@pytest.fixture(autouse=True)
def small(monkeypatch, tmp_path):
    """Two epochs on a float network and two of each method, of a few random images."""
    monkeypatch.setattr(images, "TASK", dataclasses.replace(TASKS["cifar10"], network=SMALL, epochs=2))
    monkeypatch.setattr(images, "OWN_EPOCHS", 2)
    monkeypatch.setattr(images, "EPOCHS", 4)
    monkeypatch.setattr(images, "INQ_STAGES", ((0.5, 1), (0.75, 1), (1.0, 0)))
    monkeypatch.setattr(images, "run_folder", lambda name: tmp_path / name)
    return tmp_path


@functools.cache
def few() -> Dataset:
    generator = torch.Generator().manual_seed(0)
    x, y = torch.rand(160, 3, 32, 32, generator=generator) * 2 - 1, torch.arange(160) % 10
    return Dataset("cifar10", x[:128], y[:128], x[128:], y[128:], tuple("0123456789"))


def row(name: str) -> dict:
    found = images.measure({"method": name, "seed": 0}, None, few(), False)
    assert found is not None
    return found


@pytest.mark.parametrize("name", list(ENTRIES))
def test_every_method_has_the_same_budget_and_a_row(name, monkeypatch):
    """Epochs are counted where they are trained: 2 of the float network and 2, or 4 of the method itself."""
    epochs = Counter()
    plain = images.training.train

    def counted(*args, **options):
        history = plain(*args, **options)
        epochs["all"] += len(history)
        return history

    monkeypatch.setattr(images.training, "train", counted)
    monkeypatch.setattr(comparison, "train", counted)
    found = row(name)
    from_scratch = name in ("BinaryConnect", "BinaryNet", "XNOR-Net") or name.startswith("DoReFa")
    assert epochs["all"] == (2 + 4 if from_scratch else 4)  # the float network is trained in any case
    assert 0 <= found["accuracy"] <= 100
    assert 1 <= found["bits_per_weight"] <= 33
    units = json.loads(found["units"])
    assert len(units) == (0 if name == "log √2, 5 bits" else 7)
    assert all(set(layer) <= set(UNITS) | set(BLOCK_UNITS) for layer in units)


@pytest.mark.parametrize(
    ("name", "least", "most"),
    [
        ("BinaryNet", 1, 1.5),
        ("TWN", 2, 2.5),
        ("LSQ, 3 bits", 3, 3.5),
        ("MXFP4", 4, 6.5),  # blocks of 32 are not full in so small a network
        ("INQ, 5 bits", 5, 5.5),
        ("float", 32, 32),
    ],
)
def test_bits_are_those_of_the_name(name, least, most):
    assert least <= row(name)["bits_per_weight"] <= most


def test_float_ends_count_as_32_bits():
    model = SMALL()
    counts = [layer.weight.numel() for layer in weight_layers(model).values()]
    ends = (counts[0] + counts[-1]) / sum(counts)
    assert 32 * ends + (1 - ends) <= row("XNOR-Net")["bits_per_weight"] <= 32 * ends + 3 * (1 - ends)


def test_the_float_network_is_trained_once(small, monkeypatch):
    first = row("uniform, 8 bits, after training")
    monkeypatch.setattr(comparison, "float_network", None)  # nothing is built anew
    calls = []
    plain = images.training.train
    monkeypatch.setattr(images.training, "train", lambda *a, **k: calls.append(plain(*a, **k)) or calls[-1])
    second = row("uniform, 4 bits, after training")
    assert [len(history) for history in calls] == [2]  # read from the checkpoint
    assert first["file_bytes"] > second["file_bytes"]
    kept = {path.name for path in (small / images.TABLE).iterdir()}
    assert kept == {"float-0.01-0.safetensors"}


def test_activations_have_8_bits_or_those_of_the_name():
    for name in ("TWN", "uniform, 2 bits, activations too"):
        job = images.Job(few(), 0, images.float_state(few(), 0, None, False), 0.01, images.run_folder(name), None)
        model = ENTRIES[name].train(job).eval()
        if ENTRIES[name].real_activations:
            model = images.round_activations(model, few().train_images)
        seen = []
        model.classifier.register_forward_hook(lambda module, inputs, output, seen=seen: seen.append(inputs[0]))
        model(few().test_images)
        values = len(seen[0].unique())
        assert values <= (256 if name == "TWN" else 4)


def test_too_little_time_leaves_a_checkpoint_and_no_row(small):
    assert images.measure({"method": "TWN", "seed": 0}, 0.0, few(), False) is None
    assert [path.name for path in (small / "float").iterdir()] == ["cifar10-2-0.safetensors"]
