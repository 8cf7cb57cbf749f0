"""The experiment ``integer``: its measures on small cases, resuming, and claims that follow from the tables."""

import dataclasses

import pandas as pd
import pytest
import torch
from torch import nn

from fewbits import evidence
from fewbits.bn_folding import fold_model
from fewbits.core.quantizer import weight_layers
from fewbits.experiments.integer import folding, measures, speed
from fewbits.experiments.integer import run as experiment
from fewbits.experiments.integer.claims import PARTS, make_claims
from fewbits.experiments.integer.networks import NETWORKS, residual_net, small_digits, train_residual
from fewbits.experiments.integer.short_sums import ShortSums, with_short_sums
from fewbits.integer import Layer, prepare, to_integers
from fewbits.integer.onnx_export import products_saturate
from fewbits.integer.requantization import fixed_point
from fewbits.integer.steps import Requantizer
from fewbits.nets import MLP
from fewbits.uniform import UniformQuantizer


@pytest.fixture(scope="module")
def data():
    """300 training and 100 test images of 14 × 14 pixels."""
    whole = small_digits()
    names = {"train_images": 300, "train_labels": 300, "test_images": 100, "test_labels": 100}
    return dataclasses.replace(whole, **{name: getattr(whole, name)[:count] for name, count in names.items()})


@pytest.fixture(scope="module")
def model():
    torch.manual_seed(0)
    return MLP((196, 16, 10)).eval()


def test_accuracies_count_and_compare(model, data):
    row = measures.accuracies(model, data, (8, 8))
    assert row["images"] == 100
    assert row["elements"] == 1000
    assert abs(row["simulated"] - row["integer"]) <= row["changed"]
    assert row["low"] <= row["integer"] - row["simulated"] <= row["high"]
    assert row["integer_bits"] == 8 * (196 * 16 + 16 * 10) + 26 * (32 + 32 + 8)
    assert row["float_bits"] == 32 * (196 * 16 + 16 * 10 + 26)


def test_bootstrap_brackets_a_known_difference():
    first, second = torch.ones(1000, dtype=torch.bool), torch.ones(1000, dtype=torch.bool)
    assert measures.bootstrap(first, second) == (0.0, 0.0)
    second[:100] = False  # 10 points; the standard error is 100 · sqrt(0.1 · 0.9 / 1000) = 0.95 points
    low, high = measures.bootstrap(first, second)
    assert low == pytest.approx(10 - 1.96 * 0.95, abs=0.3)
    assert high == pytest.approx(10 + 1.96 * 0.95, abs=0.3)


def test_causes_of_a_network_with_all_steps(data):
    torch.manual_seed(0)
    rows = pd.DataFrame(measures.causes(_folded(residual_net()), data))
    assert set(rows.kind) == {"Layer", "Add", "GlobalAverage"}
    assert rows.query("cause == 'exact'").off.sum() == 0
    assert rows.query("cause == 'real biases'").off.sum() > 0
    assert rows.query("cause == 'ties: double'").off.sum() > 0
    assert set(rows[rows.cause == "real biases"].kind) == {"Layer"}
    assert rows.largest.max() == 1


def _folded(network: nn.Module) -> nn.Module:
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            nn.init.normal_(module.bias)
    return fold_model(network.eval())


def test_finer_biases_leave_fewer_differences(model, data):
    off = [row["off"] for row in measures.biases(model, data, (3, 3))]
    assert off[0] > 5 * off[2]


def test_runtimes(model, data):
    rows = pd.DataFrame(measures.runtimes(model, data.train_images, data.test_images)).set_index("form")
    assert list(rows.index) == [*measures.RUNTIMES, "16-bit sums"]
    assert rows.largest["QOperator"] <= 1
    assert rows.elements["QDQ"] == 1000


def test_single_steps_are_within_one_unit(data):
    torch.manual_seed(0)
    rows = pd.DataFrame(measures.single_steps(MLP((196, 16, 10)), data.train_images, data.test_images))
    assert rows.kind.tolist() == ["Layer"] * 2
    assert rows.elements.tolist() == [1600, 1000]
    assert rows.largest.max() <= 1


def test_training_through_the_fold(data):
    rows = pd.DataFrame(folding.measure(0, data))
    assert set(rows.query("bits == 8").way) == {
        f"per {what}{also}" for what in ("tensor", "channel") for also in ("", ", equalized")
    }
    assert set(folding.FREEZE) < set(rows.query("bits == 4").way)
    assert rows.accuracy.between(0, 100).all()
    torch.manual_seed(0)
    merged = folding.trained_folded(folding.bn_folding.separable_net(), 0, data, 4, 1)
    weights = [layer.weight.unique().numel() for layer in weight_layers(merged).values()]
    assert max(weights[:-1]) <= 15 < weights[-1]  # the last layer has no BN


def test_speed_measures_all_forms_in_turn(model, data):
    rows = pd.DataFrame(speed.measure(model, data, seconds=0.01))
    forms = len(speed.FORMS) + (1 if products_saturate() else 0)  # ours, and sums of 16 bits where there are any
    assert len(rows) == len(speed.BATCHES) * forms
    assert speed.OURS in set(rows.form)
    assert (rows.query("form == 'float'").speedup == 1).all()
    assert (rows.ms >= 0).all()


def test_the_small_resnet_learns():
    data = small_digits()
    model = train_residual(0, data, epochs=1)
    with torch.no_grad():
        right = model(data.test_images).argmax(1) == data.test_labels
    assert 0.2 < right.float().mean() < 1  # chance is 0.1


def test_rows_that_are_there_are_not_measured_again(tmp_path, monkeypatch):
    monkeypatch.setenv("FEWBITS_RESULTS", str(tmp_path))
    monkeypatch.setattr("fewbits.evidence.records.code_version", lambda: "a" * 40)
    calls = []

    def measure():
        calls.append(1)
        return [{"off": 1}, {"off": 2}]

    for _ in range(2):
        experiment.missing("integer_test", {"network": "MLP", "seed": 0}, measure, "python -m")
    experiment.missing("integer_test", {"network": "MLP", "seed": 1}, measure, "python -m")
    assert len(calls) == 2
    assert evidence.rows("integer_test").off.tolist() == [1, 2, 1, 2]
    assert evidence.rows("integer_test").commit.tolist() == ["a" * 40] * 4


def test_a_part_fills_its_tables(data, tmp_path, monkeypatch):
    monkeypatch.setenv("FEWBITS_RESULTS", str(tmp_path))
    monkeypatch.setattr("fewbits.evidence.records.code_version", lambda: "a" * 40)
    small = dataclasses.replace(NETWORKS["residual"], data=lambda: data, seeds=(0,))
    monkeypatch.setattr(experiment, "NETWORKS", {"residual": small})
    monkeypatch.setattr(experiment, "RUNTIME_NETWORKS", ())
    monkeypatch.setattr(experiment, "single_steps", lambda: [{"step": "1", "largest": 0}])
    experiment.measure_networks("python -m")
    assert evidence.rows("integer_exactness").float64.between(0, 1e-12).all()
    assert evidence.rows("integer_accuracy").weight_bits.tolist() == [8, 4]
    assert evidence.rows("integer_biases").bias_fraction.tolist() == [0, 4, 8]
    assert evidence.rows("integer_causes").query("cause == 'exact'").off.sum() == 0


def test_every_network_is_there_and_answers():
    for name, source in NETWORKS.items():
        if name != "MobileNet":
            with torch.no_grad():
                assert source.model(source.seeds[-1])(source.data().test_images[:2]).shape == (2, 10)


# --- Claims -----------------------------------------------------------------------------------------------------------


def all_claims() -> list[dict]:
    return [claim for part in PARTS for claim in make_claims(part)]


def numbers(claim: dict) -> list[tuple]:
    return [(part["values"], part["runs"], part.get("interval")) for part in claim["parts"]]


def test_claims_follow_from_the_recorded_tables():
    stored = {claim["id"]: claim for claim in evidence.load("integer")}
    made = all_claims()
    assert {claim["id"] for claim in made} == set(stored)
    for claim in made:
        assert numbers(claim) == numbers(stored[claim["id"]])
        assert claim["statement"] == stored[claim["id"]]["statement"]
        assert evidence.word(claim) == stored[claim["id"]]["word"]


def test_one_network_s_interval_is_over_its_images_and_turned_with_the_difference():
    (claim,) = (each for each in all_claims() if each["id"] == "integer/accuracy-gap-mobilenet")
    row = evidence.rows("integer_accuracy").query("network == 'MobileNet'").iloc[0]
    (part,) = claim["parts"]
    assert part["values"] == [pytest.approx(row.simulated - row.integer)]
    assert part["interval"][0] <= part["values"][0] <= part["interval"][1]
    assert part["interval"] == [-row.high, -row.low]


@pytest.mark.parametrize(
    ("table", "column", "claim"),
    [
        ("integer_exactness", "float64", "integer/folding-exact"),
        ("integer_accuracy", "integer", "integer/accuracy-gap"),
        ("integer_causes", "off", "integer/simulation-exact"),
        ("integer_runtimes", "largest", "integer/onnx-within-one"),
        ("integer_steps", "largest", "integer/onnx-step-within-one"),
        ("integer_folding", "accuracy", "integer/equalization-helps"),
        ("integer_biases", "off", "integer/coarse-biases"),
        ("integer_speed", "speedup", "integer/faster-dense"),
    ],
)
def test_doctored_tables_give_other_claims(table, column, claim, tmp_path, monkeypatch):
    before = {each["id"]: each for each in all_claims()}[claim]
    frame = evidence.rows(table)
    frame[column] = frame[column] * (frame.index + 1) + 1
    monkeypatch.setenv("FEWBITS_RESULTS", str(tmp_path))
    evidence.write_rows(table, frame)
    after = {each["id"]: each for each in all_claims()}[claim]
    assert numbers(after) != numbers(before)


# --- Sums of 16 bits --------------------------------------------------------------------------------------------------


def clipped_pairs(first: list[int], second: list[int]) -> int:
    products = [a * b for a, b in zip(first, second, strict=True)] + [0]
    return sum(min(max(sum(products[i : i + 2]), -(2**15)), 2**15 - 1) for i in range(0, len(first), 2))


@pytest.mark.parametrize("inputs", [3, 4])
def test_pairs_of_products_are_clipped_to_16_bits(inputs):
    weight = torch.tensor([[127, 127, -128, 5], [-128, -128, 1, 1]], dtype=torch.int8)[:, :inputs]
    codes = torch.tensor([[255, 255, 255, 255], [0, 200, 100, 3]], dtype=torch.uint8)[:, :inputs]
    layer = Layer(weight, torch.tensor([7, -7], dtype=torch.int32), 0, 8, None, 0, 255, any_requantizer())
    want = [[clipped_pairs(c, w) + b for w, b in zip(weight.tolist(), (7, -7), strict=True)] for c in codes.tolist()]
    assert want[0][0] < int(layer.accumulate(codes)[0, 0])  # 2 · 255 · 127 was clipped
    assert ShortSums(**vars(layer)).accumulate(codes).tolist() == want


def test_where_no_pair_is_clipped_a_convolution_is_the_same():
    generator = torch.Generator().manual_seed(0)
    weight = torch.randint(-60, 60, (5, 3, 3, 3), generator=generator, dtype=torch.int8)
    geometry = {"stride": (2, 1), "padding": (1, 1), "dilation": (1, 1), "groups": 1}
    layer = Layer(weight, torch.arange(5, dtype=torch.int32), 2, 8, geometry, 3, 255, any_requantizer())
    codes = torch.randint(0, 256, (2, 3, 6, 5), generator=generator, dtype=torch.uint8)
    assert torch.equal(ShortSums(**vars(layer)).accumulate(codes), layer.accumulate(codes))


def test_pairs_are_clipped_where_codes_are_unsigned_and_in_one_group():
    signed = UniformQuantizer(8, symmetric=True)
    model = nn.Sequential(nn.Conv2d(4, 4, 1), signed, nn.Conv2d(4, 4, 1), nn.ReLU(), nn.Conv2d(4, 4, 1, groups=2))
    signed.set_range(-4.0, 4.0)
    images = torch.rand(4, 4, 3, 3)
    steps = with_short_sums(to_integers(prepare(model.eval(), images), images[:1])).steps
    assert {name: type(step).__name__ for name, step in steps.items()} == {"0": "ShortSums", "2": "Layer", "4": "Layer"}


def any_requantizer() -> Requantizer:
    return Requantizer(*fixed_point(torch.tensor(0.5)), 0, 0, 255, "upward", False)
