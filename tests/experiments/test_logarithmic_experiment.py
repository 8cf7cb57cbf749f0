"""The logarithmic experiment: ranges by brute force, quantizers where they belong, claims from tables by hand."""

import argparse
import copy
import itertools
import math

import pandas as pd
import pytest
import torch
from torch import nn

from fewbits import evidence
from fewbits.core.gradients import QuantizeGradient
from fewbits.core.quantizer import weight_quantizers
from fewbits.data import Dataset
from fewbits.evidence import validate, word
from fewbits.experiments import __main__ as cli
from fewbits.experiments.common import recorded
from fewbits.experiments.logarithmic import post_training, vgg
from fewbits.experiments.logarithmic import run as experiment
from fewbits.experiments.logarithmic.claims import (
    accumulation_claims,
    mobilenet_claims,
    rounding_claims,
    training_claims,
    vgg_claims,
)
from fewbits.experiments.logarithmic.networks import fix_gradient_ranges, quantize_training
from fewbits.experiments.logarithmic.post_training import Setting
from fewbits.logarithmic import LogQuantizer, full_scale_of_least_error, full_scale_of_max
from fewbits.nets import count_parameters
from fewbits.plots import logarithmic as figures
from fewbits.uniform import UniformQuantizer

pytestmark = pytest.mark.usefixtures("book_theme")


def images(count: int = 16) -> torch.Tensor:
    return torch.rand(count, 1, 28, 28, generator=torch.Generator().manual_seed(0))


def tiny() -> Dataset:
    labels = torch.arange(16) % 10
    return Dataset("mnist5k", images(), labels, images(), labels, tuple("0123456789"))


@pytest.fixture(scope="module")
def model() -> nn.Module:
    torch.manual_seed(0)
    return experiment.network().eval()


# --- ranges and placements -----------------------------------------------------------------------------------------


def test_the_network_has_the_size_that_its_docstring_says(model):
    assert f"{count_parameters(model):,} parameters" in experiment.network.__doc__
    assert model(images()).shape == (16, 10)


def test_linear_ranges_by_hand():
    x = torch.tensor([0.0, 0.3, -0.9, 0.6])
    low, high = experiment.linear_range(x, "linear", "max", 4, True)
    assert (low.item(), high.item()) == pytest.approx((-0.9, 0.9))
    low, high = experiment.linear_range(x.abs(), "linear 2^k", "max", 3, False)
    assert (low.item(), high.item()) == (0, 0.875)  # full scale 1, steps of ⅛
    low, high = experiment.linear_range(x, "linear 2^k", "max", 3, True)
    assert (low.item(), high.item()) == (-0.75, 0.75)  # full scale 1, steps of ¼


@pytest.mark.parametrize("method", ["linear", "linear 2^k"])
@pytest.mark.parametrize("signed", [True, False])
def test_the_best_linear_range_is_never_worse(method, signed):
    x = torch.randn(500, generator=torch.Generator().manual_seed(1))
    x = x if signed else x.relu()

    def error(rule):
        quantizer = UniformQuantizer(3, signed=signed)
        quantizer.set_range(*experiment.linear_range(x, method, rule, 3, signed))
        return (quantizer(x) - x).square().sum()

    assert error("least error") < error("max")


@pytest.mark.parametrize("method", experiment.METHODS)
@pytest.mark.parametrize("weight_bits", [None, 4])
def test_rounding_puts_quantizers_where_they_belong(model, method, weight_bits):
    kind = UniformQuantizer if method.startswith("linear") else LogQuantizer
    before = {name: value.clone() for name, value in model.state_dict().items()}
    rounded = experiment.quantize_model(model, method, weight_bits, 3, images(), "least error")
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    weights = [quantizer for _, quantizer, _ in weight_quantizers(rounded)]
    activations = [m for m in rounded.modules() if isinstance(m, kind) and m not in weights]
    assert len(weights) == (0 if weight_bits is None else 5)
    assert len(activations) == 4
    assert all(isinstance(q, kind) and q.signed and q.bits == 4 for q in weights)
    assert all(not q.signed and q.bits == 3 for q in activations)
    ranges = [q.fsr if kind is LogQuantizer else q.high for q in (*weights, *activations)]
    assert all(not value.isnan() for value in ranges)


def test_the_rule_reaches_weights_and_activations(model):
    for rule, full_scale in (("max", full_scale_of_max), ("least error", full_scale_of_least_error)):
        rounded = experiment.quantize_model(model, "log-sqrt2", 3, 3, images(), rule)
        for _, quantizer, latent in weight_quantizers(rounded):
            assert int(quantizer.fsr) == full_scale(latent, quantizer)
        first = rounded[2][1]
        seen = nn.Sequential(*rounded[:2], nn.ReLU())(images())
        assert int(first.fsr) == full_scale(seen, first)


def test_training_quantizes_the_error_behind_every_layer():
    torch.manual_seed(0)
    data = tiny()
    trained = quantize_training(experiment.network(), "log2", 5, 5, None, *experiment.range_images(data))
    places = [m.quantizer for m in trained.modules() if isinstance(m, QuantizeGradient)]
    assert len(places) == 5
    assert all(q.fsr.isnan() for q in places)
    seen = []
    trained[3][1].register_full_backward_hook(lambda module, grad_input, grad_output: seen.extend(grad_input))
    nn.functional.cross_entropy(trained(data.train_images), data.train_labels).backward()
    assert ((seen[0] == 0) | (torch.frexp(seen[0]).mantissa.abs() == 0.5)).all()  # powers of two
    plain = quantize_training(experiment.network(), "float", None, None, None, *experiment.range_images(data))
    assert [type(m) for m in plain] == [type(m) for m in experiment.network()]


@pytest.mark.parametrize("method", ["linear", "log2"])
def test_a_fixed_range_has_the_headroom_it_was_given(method):
    def ranges(headroom):
        torch.manual_seed(0)
        model = quantize_training(experiment.network(), method, None, 5, headroom, *experiment.range_images(tiny()))
        assert all(parameter.grad is None or (parameter.grad == 0).all() for parameter in model.parameters())
        quantizers = [m.quantizer for m in model.modules() if isinstance(m, QuantizeGradient)]
        return [q.fsr.item() if method == "log2" else math.log2(q.high) for q in quantizers]

    assert [b - a for a, b in zip(ranges(0), ranges(3), strict=True)] == pytest.approx([3.0] * 5)


def test_a_fixed_range_holds_every_gradient_of_batches_of_the_training_size():
    torch.manual_seed(0)
    data, model = tiny(), experiment.network()
    for place in (3, 0):  # a convolution and its successor, from the last one
        model[place] = nn.Sequential(model[place], QuantizeGradient(UniformQuantizer(5)))
    quantizers = [m.quantizer for m in model.modules() if isinstance(m, QuantizeGradient)]
    seen = dict.fromkeys(quantizers, 0.0)
    fix_gradient_ranges(model, 0, data.train_images, data.train_labels, batch_size=4)
    ranges = [quantizer.high.item() for quantizer in quantizers]
    for quantizer in quantizers:
        quantizer.register_forward_hook(
            lambda module, inputs, output: (
                seen.update({module: max(seen[module], inputs[0].abs().max().item())}) or inputs[0]
            )
        )
    for images_of_batch, labels in zip(data.train_images.split(4), data.train_labels.split(4), strict=True):
        nn.functional.cross_entropy(model(images_of_batch), labels).backward()
    assert ranges == list(seen.values())
    fix_gradient_ranges(model, 0, data.train_images, data.train_labels, batch_size=16)
    # The fault: calibrated on larger batches than training has, a range is too small.
    assert all(2 * q.high.item() < high for q, high in zip(quantizers, ranges, strict=True))


# --- after training, with a range for each layer ---------------------------------------------------------------------


@pytest.mark.parametrize("method", ["log2", "log-sqrt2", "linear 2^k"])
def test_candidates_are_octaves_apart(method):
    x = torch.tensor([0.1, 0.7])
    for signed in (True, False):
        tops = [each(torch.tensor([9.0])).item() for each in post_training.candidates(x, method, 4, signed)]
        assert [math.log2(a / b) for a, b in itertools.pairwise(tops)] == pytest.approx([1, 1, 1])
        assert (
            tops[0]
            == {"log2": 0.5, "log-sqrt2": pytest.approx(0.5**0.5), "linear 2^k": 1 - 0.5 ** (4 - signed)}[method]
        )


def small_network() -> list[nn.Module]:
    torch.manual_seed(0)
    return [nn.Conv2d(1, 4, 3, 4), nn.ReLU(), nn.Flatten(), nn.Linear(4 * 49, 10)]


def test_rounding_by_search_rounds_what_it_should_and_the_best_range_wins():
    data, layers = tiny(), small_network()
    before = copy.deepcopy(layers)
    setting = Setting("log2", "linear 2^k", 3)
    model = post_training.rounded(layers, setting, data.train_images, data.train_labels)
    assert [type(m) for m in model] == [nn.Conv2d, nn.ReLU, UniformQuantizer, nn.Flatten, nn.Linear]
    for old, same in zip(before, layers, strict=True):
        assert all(torch.equal(a, b) for a, b in zip(old.parameters(), same.parameters(), strict=True))
    for place, old in ((0, before[0]), (4, before[3])):
        weight = model[place].weight
        assert ((weight == 0) | (torch.frexp(weight).mantissa.abs() == 0.5)).all()
        assert torch.equal(model[place].bias, old.bias)
    assert len(model[2](model[:2](data.train_images)).unique()) <= 8
    # The last layer's range by hand, given all that comes before it.
    x = model[:4](data.train_images)
    losses = []
    for quantizer in post_training.candidates(before[3].weight.detach(), "log2", 4, True):
        logits = nn.functional.linear(x, quantizer(before[3].weight.detach()), before[3].bias)
        losses.append((nn.functional.cross_entropy(logits, data.train_labels).item(), quantizer))
    best = min(losses, key=lambda pair: pair[0])[1]
    assert torch.equal(model[4].weight, best(before[3].weight.detach()))


def test_without_rounding_nothing_changes():
    data, layers = tiny(), small_network()
    model = post_training.rounded(layers, Setting(), data.train_images, data.train_labels)
    assert torch.equal(model(data.test_images), nn.Sequential(*layers)(data.test_images))


def test_top_1_and_top_5_by_hand():
    logits = torch.eye(8)[[0, 1, 2, 3]] + 0.01 * torch.arange(8)
    labels = torch.tensor([0, 7, 0, 3])  # the largest; the second; the eighth
    assert post_training.top(nn.Identity(), logits, labels) == [50, 75]


def test_a_run_after_training_measures_every_network_and_records_its_claims(monkeypatch, tmp_path):
    data, layers, built = tiny(), small_network(), []
    network = nn.Sequential(nn.Sequential(*layers[:2]), nn.Sequential(layers[2]), layers[3])
    monkeypatch.setenv("FEWBITS_RESULTS", str(tmp_path))
    monkeypatch.setattr(evidence.records, "code_version", lambda: "a" * 40)
    monkeypatch.setattr(post_training, "cifar100", lambda device: data)
    monkeypatch.setattr(post_training, "held_out", lambda data: data)
    monkeypatch.setattr(post_training, "float_network", lambda name, seed: built.append(seed) or network)
    monkeypatch.setattr(post_training, "SETTINGS", post_training.SETTINGS[:3])
    post_training.run_post_training(argparse.Namespace(minutes=None), "a command")
    assert built == [0, 1, 2] * 3
    claims = by_slug(evidence.load("logarithmic"))
    assert [len(part["values"]) for part in claims["mobilenet-base-2-beats-fixed-point"]["parts"]] == [3, 0]


# --- the VGG-like network --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("method", ["log2", "linear"])
def test_all_ranges_of_the_vgg_are_fixed_before_training(method):
    """Two more octaves of headroom move the ranges of gradients by two octaves, and no others."""
    data = torch.rand(8, 3, 16, 16, generator=torch.Generator().manual_seed(0)), torch.arange(8)

    def ranges(headroom):
        torch.manual_seed(0)
        model = vgg.network(method, headroom, *data)
        kind = LogQuantizer if method == "log2" else UniformQuantizer
        found = [m for m in model.modules() if isinstance(m, kind)]
        assert sorted(q.signed for q in found) == [False] * 6 + [True] * 14  # of 7 layers: weights and gradients
        of_gradients = {m.quantizer for m in model.modules() if isinstance(m, QuantizeGradient)}
        return [(q in of_gradients, q.fsr.item() if method == "log2" else math.log2(q.high)) for q in found]

    moved = {True: [], False: []}
    for (of_gradient, low), (_, high) in zip(ranges(0), ranges(2), strict=True):
        moved[of_gradient].append(high - low)
    assert moved[True] == pytest.approx([2] * 7)
    assert moved[False] == [0] * 13


def test_other_parts_choose_nothing_on_held_out_data():
    with pytest.raises(SystemExit, match="--held-out is for the part vgg, not for post-training"):
        cli.main(["logarithmic", "--part", "post-training", "--held-out"])


def test_vgg_claims_by_hand():
    rows = [
        (method, seed, 90 + seed - lost)
        for method, lost in (("float", 0), ("log2", 0.5), ("linear", 2))
        for seed in (0, 1)
    ]
    claims = by_slug(vgg_claims(pd.DataFrame(rows, columns=["method", "seed", "accuracy"])))
    assert {name: (claim["parts"][0]["values"], word(claim)) for name, claim in claims.items()} == {
        "vgg-log": ([0.5, 0.5], "carries over"),
        "vgg-linear": ([1.5, 1.5], "carries over"),
    }


def test_the_part_vgg_records_its_rows_and_claims(monkeypatch, tmp_path):
    images = torch.rand(20, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    data = Dataset("cifar10", images, torch.arange(20) % 10, images, torch.arange(20) % 10, tuple("0123456789"))
    monkeypatch.setenv("FEWBITS_RESULTS", str(tmp_path))
    monkeypatch.setattr(evidence.records, "code_version", lambda: "a" * 40)
    monkeypatch.setattr(vgg, "run_folder", lambda name: tmp_path / name)
    monkeypatch.setattr(vgg, "load", lambda name: data)
    monkeypatch.setattr(vgg, "EPOCHS", 1)
    for held_out in (True, False):
        vgg.run_vgg(argparse.Namespace(seeds=1, minutes=0, held_out=held_out, epochs=None), "a command")
    assert [c["parts"][0]["values"] for c in evidence.load("logarithmic")] == [[], []]
    options = argparse.Namespace(seeds=1, minutes=None, held_out=False, epochs=None)
    vgg.run_vgg(options, "a command")
    assert evidence.rows(vgg.TABLE).method.tolist() == list(vgg.METHODS)
    values = [c["parts"][0]["values"] for c in evidence.load("logarithmic")]
    assert [len(of_claim) for of_claim in values] == [1, 1]
    table = evidence.rows(vgg.TABLE)  # runs with other ranges may be there, too, and enter no claim
    evidence.write_rows(vgg.TABLE, pd.concat([table, table.assign(headroom=9, accuracy=[100, 50, 0])]))
    vgg.run_vgg(options, "a command")
    assert [c["parts"][0]["values"] for c in evidence.load("logarithmic")] == values
    vgg.run_vgg(argparse.Namespace(seeds=1, minutes=None, held_out=True, epochs=1), "a command")
    assert len(evidence.rows(f"{vgg.TABLE}_held_out")) == 2 * len(vgg.HEADROOMS)


def test_accumulation_errors_are_those_of_the_two_readings():
    table = experiment.accumulation_errors(2, terms=(64, 1024), fraction_bits=(8, 30), rows=50)
    assert len(table) == 2 * 2 * 2 * 2
    by = table.set_index(["terms", "fraction_bits", "reading", "seed"])["mean"]
    for seed in (0, 1):
        # Small terms are shifted out of 8 bits, and long sums come out too small; more bits keep them.
        assert by[1024, 8, "2^s", seed] < -15 < by[1024, 30, "2^s", seed] < 0
        assert abs(by[1024, 30, "1 + fraction", seed]) < 2
        assert abs(by[64, 8, "2^s", seed]) < 3
    one = experiment.accumulation_errors(1, terms=[1], rows=50)
    assert one["root mean square"].tolist() == [0] * 4


# --- claims --------------------------------------------------------------------------------------------------------


def bits_table(accuracy) -> pd.DataFrame:
    cases = itertools.product(experiment.PLACEMENTS, experiment.RULES, experiment.METHODS, experiment.BITS)
    rows = [(*case, seed, accuracy(*case, seed)) for case in cases for seed in (0, 1)]
    rows += [("", "", "float", 32, seed, 90.0 + seed) for seed in (0, 1)]
    return pd.DataFrame(rows, columns=["placement", "rule", "method", "bits", "seed", "accuracy"])


def by_slug(claims) -> dict:
    for claim in claims:
        validate(claim)
    return {claim["id"].split("/")[1]: claim for claim in claims}


def test_rounding_claims_by_hand():
    def accuracy(placement, rule, method, bits, seed):
        """Base √2 wins by 1 at 5 bits and ties at 4; base 2 is 2 below linear, a full scale of 2^k 20 below."""
        return 80.0 + seed + {"log2": -2, "linear 2^k": -20, "log-sqrt2": bits - 4}.get(method, 0)

    claims = by_slug(rounding_claims(bits_table(accuracy), "notebook"))
    values = {name: [part["values"] for part in claim["parts"]] for name, claim in claims.items()}
    assert values == {
        "activations-3-bit": [[12, 12]],
        "activations-4-bit": [[12, 12]],
        "base-2-beats-fixed-point": [[18, 18], [18, 18]],
        "both-4-bit-base-2": [[12, 12]],
        "both-4-bit-base-sqrt2": [[10, 10]],
        "linear-beats-base-2": [[-18, -18]],
        "base-sqrt2-beats-linear": [[0.5, 0.5]],
        "base-sqrt2-beats-linear-2k": [[20.5, 20.5]],
    }
    words = {name: word(claim) for name, claim in claims.items()}
    assert words["activations-4-bit"] == words["linear-beats-base-2"] == "does not carry over"
    assert words["both-4-bit-base-2"] == words["base-sqrt2-beats-linear-2k"] == "carries over"
    assert words["base-sqrt2-beats-linear"] == "holds"


def test_mobilenet_claims_by_hand():
    """Base 2 is 3 above fixed point in activations and costs 1; in weights √2 is above fixed point, base 2 below."""
    weights = {"float": 0, "log-sqrt2": -1, "linear 2^k": -2, "log2": -4}
    activations = {"float": 0, "log2": -1, "linear 2^k": -4}
    rows = [
        (n, setting.weights, setting.activations, setting.activation_bits, 80 + n)
        for setting in post_training.SETTINGS
        for n in (0, 1)
    ]
    table = pd.DataFrame(rows, columns=[*post_training.KEYS, "top5"])
    table["top5"] += table.weights.map(weights) + table.activations.map(activations | {"log-sqrt2": -9})
    claims = by_slug(mobilenet_claims(table))
    values = {name: [part["values"] for part in claim["parts"]] for name, claim in claims.items()}
    assert values == {
        "mobilenet-activations-3-bit": [[1, 1]],
        "mobilenet-activations-4-bit": [[1, 1]],
        "mobilenet-base-2-beats-fixed-point": [[3, 3], [3, 3]],
        "mobilenet-linear-beats-base-2": [[2, 2]],
        "mobilenet-sqrt2-beats-fixed-point": [[1, 1]],
        "mobilenet-sqrt2-beats-fixed-point-4-bit-activations": [[1, 1]],
    }
    assert {word(claim) for claim in claims.values()} == {"carries over"}
    half = by_slug(mobilenet_claims(table[table.network == 0]))
    assert {word(claim) for claim in half.values()} == {"undecided"}


def test_training_claims_by_hand():
    accuracy = {
        ("float", None, None, None): 97,
        ("log2", 5, 5, None): 96,
        ("linear", 5, 5, None): 40,
        ("log2", None, 3, None): 70,
        ("log2", None, 5, 6): 95.5,
        ("linear", None, 5, 6): 60,
    }
    rows = [(*run, seed, accuracy.get(run, 90.0)) for run in experiment.TRAINING_RUNS for seed in (0, 1)]
    columns = ["method", "bits", "gradient_bits", "headroom", "seed", "accuracy"]
    claims = by_slug(training_claims(pd.DataFrame(rows, columns=columns)))
    assert {name: (claim["parts"][0]["values"][0], word(claim)) for name, claim in claims.items()} == {
        "training-5-bit": (1, "carries over"),
        "training-linear-5-bit": (57, "does not carry over"),
        "training-log-beats-linear": (56, "carries over"),
        "gradients-4-bit": (0, "holds"),
        "gradients-3-bit": (27, "holds"),
        "gradients-fixed-log": (1.5, "holds"),
        "gradients-fixed-linear": (37, "holds"),
    }


def test_accumulation_claims_by_hand():
    error = {"2^s": 6.0, "1 + fraction": 2.0}
    cases = itertools.product((256, 1024), (8, 16), error, (0, 1))
    rows = [(terms, bits, reading, seed, error[reading] * 16 / bits) for terms, bits, reading, seed in cases]
    columns = ["terms", "fraction_bits", "reading", "seed", "root mean square"]
    claims = by_slug(accumulation_claims(pd.DataFrame(rows, columns=columns)))
    assert [claim["parts"][0]["values"] for claim in claims.values()] == [[6, 6], [12, 12], [0.3333, 0.3333]]
    assert {word(claim) for claim in claims.values()} == {"holds"}


def test_claims_on_record_are_those_of_the_recorded_tables():
    rows = {name: evidence.rows(f"logarithmic_{name}") for name in ("bits", "training", "accumulation")}
    made = rounding_claims(rows["bits"], "notebook") + training_claims(rows["training"])
    made += accumulation_claims(rows["accumulation"])
    if len(vgg_runs := recorded(vgg.TABLE, ["epochs"])):
        made += vgg_claims(vgg_runs[vgg_runs.epochs == vgg.EPOCHS])
    if len(mobilenets := recorded(post_training.TABLE, post_training.KEYS)):  # not yet measured in every checkout
        made += mobilenet_claims(mobilenets)
    for claim in made:
        for part in claim["parts"]:
            part.pop("origins", None)  # the rows' own runs, which `record` turns into indices
    made = by_slug(made)
    stored = by_slug(evidence.load("logarithmic"))
    assert made.keys() == stored.keys()
    for name, claim in made.items():
        for part, other in zip(claim["parts"], stored[name]["parts"], strict=True):
            assert part["values"] == pytest.approx(other["values"])
        assert word(claim) == stored[name]["word"]


# --- figures -------------------------------------------------------------------------------------------------------


def test_the_log_staircase_shows_outputs_and_relative_errors():
    quantizer = LogQuantizer(3, signed=False)
    quantizer.set_full_scale(1)
    figure = figures.log_staircase({"log2": quantizer}, 2**-10, 2.0)
    output, error = figure.axes
    drawn = output.lines[1].get_ydata()
    assert set(drawn[~pd.isna(drawn)]) == {2.0**-k for k in range(7)}  # 0 is not drawn
    relative = error.lines[1].get_ydata()
    assert relative.min() == -100
    assert relative.max() == pytest.approx(100 * (math.sqrt(2) - 1), abs=0.5)


def test_the_octaves_are_shares_below_the_largest():
    figure = figures.octaves({"x": torch.tensor([1.0, 0.4, -0.3, 0.0])}, {"linear": 4.9}, lowest=-16)
    heights = [bar.get_height() for bar in figure.axes[0].patches]
    assert heights == pytest.approx([0] * 14 + [200 / 3, 100 / 3])
    assert list(figure.axes[0].lines[0].get_xdata()) == [-4.9, 0]


def test_a_number_lies_in_the_field_that_stands_for_it():
    x = torch.tensor([0.9, -0.7, 0.3, 0.05])
    axes = figures.code_line(x, bits=2, full_scale=1).axes[0]
    words = [text.get_text() for text in axes.texts]
    assert words[:5] == [*(f"field {k}\nstands for {v}" for k, v in enumerate(("0", "0.25", "0.5", "1"))), words[4]]
    assert "does not fit" in words[4]
    to_data = axes.transData.inverted()
    spans = [to_data.transform_bbox(patch.get_window_extent()).intervalx for patch in axes.patches]
    dots = {float(line.get_xdata()[0]) for line in axes.lines if line.get_marker() == "o"}
    quantizer = LogQuantizer(3)
    quantizer.set_full_scale(1)
    for magnitude, field in zip(x.abs(), quantizer.encode(x).fields().tolist(), strict=True):
        at = min(dots, key=lambda dot: abs(dot - math.log2(magnitude)))
        assert at == pytest.approx(math.log2(magnitude), abs=1e-6)
        assert spans[field][0] < at < spans[field][1]


def test_losses_are_those_of_each_network_against_itself():
    table = bits_table(lambda placement, rule, method, bits, seed: 85 + seed - 5 * (method == "log2"))
    figure = figures.rounded_losses(table)
    assert [axis.get_title("left") for axis in figure.axes] == [f"{p} rounded" for p in experiment.PLACEMENTS]
    assert [len(axis.containers) for axis in figure.axes] == [12, 12]
    losses = [container.lines[0].get_xdata()[0] for container in figure.axes[0].containers]
    assert losses == pytest.approx([5, 5, 10, 5] * 3)
    assert figure.axes[0].get_xlim() == figure.axes[1].get_xlim()
    rows = [(*run, seed, 90.0 + seed - (run[0] == "log2")) for run in experiment.TRAINING_RUNS for seed in (0, 1)]
    columns = ["method", "bits", "gradient_bits", "headroom", "seed", "accuracy"]
    figure = figures.trained_losses(pd.DataFrame(rows, columns=columns))
    assert [len(axis.containers) for axis in figure.axes] == [2, 2]
    drawn = [container.lines[0].get_ydata().tolist() for container in figure.axes[1].containers]
    assert drawn == [[0] * 3, [1] * 3]
    assert list(figure.axes[1].get_xticks()) == list(experiment.HEADROOM)


def test_a_reading_is_wrong_by_what_it_reads():
    figure = figures.two_readings([3, 2], [3.0, 3.5])
    power, mantissa = (line.get_ydata() for line in figure.axes[0].lines[1:3])
    assert power == pytest.approx([0, 100 * (2**3.5 / 12 - 1)])
    assert mantissa == pytest.approx([0, 0])


def test_sums_have_a_line_for_each_reading_in_a_panel_for_each_width():
    frame = pd.DataFrame(
        [(t, bits, r, t / bits) for t in (16, 64) for bits in (8, 16) for r in ("2^s", "1 + fraction")],
        columns=["terms", "fraction_bits", "reading", "root mean square"],
    )
    figure = figures.accumulated_errors(frame)
    assert [axis.get_title("left") for axis in figure.axes] == ["8 fraction bits", "16 fraction bits"]
    assert [list(axis.lines[0].get_ydata()) for axis in figure.axes] == [[2, 8], [1, 4]]


def test_clipped_levels_are_drawn_below_the_numbers():
    grids = {"wide": (torch.tensor([-1.0, 0.0, 1.0]), 5.0), "narrow": (torch.tensor([-0.5, 0.0, 0.5]), 7.5)}
    below = figures.clipped_range(torch.linspace(-1, 1, 9), grids).axes[1]
    assert [list(line.get_xdata()) for line in below.lines[::2]] == [[-1, 0, 1], [-0.5, 0, 0.5]]
    assert "7.5 dB, steps of 0.50" in below.texts[1].get_text()


def test_the_paper_is_hollow_and_ours_is_not():
    rows = [(0, "float", "float", 88.0), (1, "float", "float", 90.0), (0, "log2", "float", 87.0)]
    rows += [(1, "log2", "float", 87.0), (0, "log2", "log2", 50.0)]  # the last: activations are rounded, too
    frame = pd.DataFrame(rows, columns=["network", "weights", "activations", "top5"])
    figure = figures.weights_paper_and_here(frame, {"AlexNet": {"float": 78.25, "log2": 70.5}})
    ours, paper = (axis.containers[0].lines[0] for axis in figure.axes)
    assert (ours.get_xdata()[0], paper.get_xdata()[0]) == (2.0, 7.75)
    assert ours.get_markerfacecolor() != "white" == paper.get_markerfacecolor()


def test_the_limit_is_drawn_in_every_panel():
    ladder = {"linear": {3: 8.0, 4: 14.0}, "log2": {3: 9.0, 4: 13.0}}
    figure = figures.signal_to_noise({"one": ladder, "two": ladder}, {"log2": 14.1})
    assert [len(axis.lines) for axis in figure.axes] == [3, 3]
    assert all(list(axis.lines[2].get_ydata()) == [14.1, 14.1] for axis in figure.axes)
