"""The map on images: every method runs with the same number of epochs, and its row says what the network takes."""

import argparse
import dataclasses
import functools
import json
import math
from collections import Counter

import matplotlib

matplotlib.use("Agg")

import pandas as pd
import pytest
import torch

from fewbits import evidence, plots
from fewbits.core.quantizer import weight_layers
from fewbits.data import Dataset
from fewbits.evidence import records
from fewbits.experiments import comparison
from fewbits.experiments.comparison import TASKS
from fewbits.experiments.compensation.circuits import UNITS as BLOCK_UNITS
from fewbits.experiments.method_map import images, prices
from fewbits.experiments.method_map import run as driver
from fewbits.experiments.method_map.circuits import UNITS
from fewbits.experiments.method_map.claims import ON_IMAGES, image_claims
from fewbits.experiments.method_map.images import ENTRIES
from fewbits.nets import VGGSmall
from fewbits.plots import method_map as figures

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
    assert found["minutes"] > 0
    real = name in ("float", "XNOR-Net", "log √2, 5 bits")  # float weights, or no circuit
    assert math.isnan(found["constant_luts"]) if real else 0 < found["constant_luts"] < 100
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


def test_minutes_are_those_of_the_method(monkeypatch):
    """Five seconds an epoch, by a clock of our own: two epochs of the method, four from scratch, none of a rounding."""
    plain = images.training.train

    def slow(*args, **options):
        return [record | {"seconds": 5.0} for record in plain(*args, **options)]

    monkeypatch.setattr(images.training, "train", slow)
    monkeypatch.setattr(comparison, "train", slow)
    for name, seconds in {"TWN": 10, "float": 10, "BinaryConnect": 20, "INQ, 5 bits": 10}.items():
        assert row(name)["minutes"] == pytest.approx(seconds / 60)
    assert 0 < row("uniform, 4 bits, after training")["minutes"] < 5 / 60


def test_claims_by_hand():
    accuracies = {"float": (90.0, 91.0), "TWN": (89.5, 90.3), "BWN": (88.0, 88.5), "XNOR-Net": (80.0, 82.0)}
    rows = [
        {"method": name, "seed": seed, "accuracy": value}
        for name, values in accuracies.items()
        for seed, value in enumerate(values)
    ]
    claims = {claim["id"]: claim for claim in image_claims(pd.DataFrame(rows))}
    assert set(claims) == {"method_map/ternary-for-circuits", "method_map/signs-as-activations"}
    for claim in claims.values():
        evidence.validate(claim)
    (ternary,), (signs,) = (claim["parts"] for claim in claims.values())
    assert ternary["values"] == pytest.approx([0.5, 0.7])
    assert ternary["holds"] == {"max": 1.0}
    assert signs["values"] == pytest.approx([8.0, 6.5])
    assert signs["holds"] == {"min": 5.0}
    assert image_claims(pd.DataFrame(columns=["method", "seed", "accuracy"])) == []


def made_up() -> pd.DataFrame:
    """Runs of all methods: each loses a tenth of a point more than the one before, the last one 40 points."""
    rows = []
    for place, name in enumerate(ENTRIES):
        for seed in range(3):
            lost = 40 if place == len(ENTRIES) - 1 else place / 10
            row = {"method": name, "seed": seed, "accuracy": 90 + 0.1 * seed * (place % 3) - lost}
            circuit = name != "log √2, 5 bits"
            prices = {"kilobytes": 30 + 10 * place, "luts": 100.0 - place, "constant_luts": 20.0 - place / 4}
            rows.append(row | prices | ({} if circuit else {"luts": math.nan, "constant_luts": math.nan}))
    return pd.DataFrame(rows)


@pytest.mark.usefixtures("book_theme")
def test_the_figure_has_every_method_its_prices_and_what_it_loses():
    styles = {name: images.style(name) for name in ENTRIES}
    assert set(styles.values()) <= set(plots.COLORS)
    file, circuit, points = figures.prices_and_points(made_up(), styles, 0.4, 5.0).axes
    assert [label.get_text() for label in file.get_yticklabels()] == list(ENTRIES)
    with_circuit = len(ENTRIES) - 1
    hollow = [line for line in circuit.lines if line.get_markerfacecolor() == "white" and line.get_marker() != "None"]
    assert len(hollow) == with_circuit
    assert [text.get_text() for text in points.texts] == ["40"]  # the loss that is not drawn to scale
    low, high = points.patches[0].get_extents().transformed(points.transData.inverted()).intervalx
    assert (low, high) == (pytest.approx(-0.4), pytest.approx(0.4))


def test_claims_name_methods_of_the_map():
    assert {name for _, _, pair, _ in ON_IMAGES for name in pair} <= set(ENTRIES)


@pytest.mark.parametrize("option", [{"pilot": True}, {"minutes": 1.0}, {"times": 1}])
def test_digits_have_no_such_option(option):
    options = argparse.Namespace(data="mnist5k", seeds=1, methods=None, minutes=None, pilot=False, times=None)
    vars(options).update(option)
    with pytest.raises(SystemExit, match="are for --data cifar10"):
        driver.run(options, "command")


def test_blocks_and_times_are_recorded_once(monkeypatch, tmp_path):
    monkeypatch.setenv("FEWBITS_RESULTS", str(tmp_path))
    monkeypatch.setattr(records, "code_version", lambda: "c" * 40)
    units = ("sign × sign", "4 bits × 8 bits")
    monkeypatch.setattr(prices, "UNITS", {name: UNITS[name] for name in units})
    prices.synthesize_with_blocks("first")
    monkeypatch.setattr(prices, "synthesize_unit", None)
    prices.synthesize_with_blocks("second")
    blocks = evidence.rows("method_map_blocks").set_index("unit")
    assert blocks["DSP"].to_dict() == {"sign × sign": 0, "4 bits × 8 bits": 32}
    assert 0 < blocks.loc["4 bits × 8 bits", "LUT"] < 2015  # as many as without blocks
    driver.record_times(1, "command")
    assert len(evidence.rows("method_map_times")) == 2 + 5 * 4 + 2


def test_small_gradients_have_a_larger_rate(monkeypatch):
    rates = {}
    plain = images.training.sgd

    def noted(model, lr, **options):
        rates[name] = lr
        return plain(model, lr, **options)

    monkeypatch.setattr(images.training, "sgd", noted)
    for name in ("TWN", "TTQ", "BWN"):
        assert row(name)["minutes"] > 0
    assert rates == {"TWN": 0.01, "TTQ": pytest.approx(0.1), "BWN": pytest.approx(0.1)}


def test_too_little_time_leaves_a_checkpoint_and_no_row(small):
    assert images.measure({"method": "TWN", "seed": 0}, 0.0, few(), False) is None
    assert [path.name for path in (small / "float").iterdir()] == ["cifar10-2-0.safetensors"]


def test_the_pilot_tries_every_rate_with_four_methods(monkeypatch, tmp_path):
    monkeypatch.setenv("FEWBITS_RESULTS", str(tmp_path))
    monkeypatch.setattr(records, "code_version", lambda: "c" * 40)
    for step in ("synthesize_missing", "synthesize_with_blocks"):
        monkeypatch.setattr(driver, step, lambda command: None)
    monkeypatch.setattr(images, "prepared", lambda name, pilot: few())
    monkeypatch.setattr(images, "measure", lambda row, minutes, data, pilot: {"accuracy": 1.0})
    options = argparse.Namespace(data="cifar10", seeds=1, methods=None, minutes=None, pilot=True, times=None)
    driver.run(options, "command")
    table = evidence.rows("method_map_images_pilot")
    assert table.groupby("method").rate.apply(list).to_dict() == {name: list(images.RATES) for name in images.PILOTED}
