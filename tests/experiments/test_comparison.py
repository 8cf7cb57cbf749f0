"""The experiments `binary` and `ternary`: one network, one recipe, many methods, each run recorded once."""

import dataclasses
from functools import partial

import numpy as np
import pandas as pd
import pytest
import torch
from torch import nn

from fewbits import evidence
from fewbits.binary import latent_weights
from fewbits.core.quantizer import encode_weights, weight_layers, weight_quantizers
from fewbits.data import Dataset
from fewbits.evidence import records
from fewbits.experiments import comparison
from fewbits.experiments.binary import claims as binary_claims
from fewbits.experiments.binary import run as binary
from fewbits.experiments.binary.scales import scale_circuit
from fewbits.experiments.common import checkpoint_path
from fewbits.experiments.comparison import TASKS, Task, chosen, difference, prepared, run_missing, train_method
from fewbits.experiments.learned_step import run as learned_step
from fewbits.experiments.ternary import claims as ternary_claims
from fewbits.experiments.ternary import run as ternary
from fewbits.fpga.netlist import Netlist
from fewbits.nets import MLP
from fewbits.training import correct, load_model, sgd

EXPERIMENTS = {"binary": binary, "ternary": ternary, "learned_step": learned_step}
COMMIT = "0123456789abcdef0123456789abcdef01234567"
COMMAND = "python -m fewbits.experiments binary"
CHECKPOINTS = [("binary", name) for name in binary.KEPT] + [("ternary", name) for name in ternary.KEPT]


@pytest.fixture(scope="module")
def digits():
    return prepared("mnist5k")


@pytest.fixture
def tiny(monkeypatch, tmp_path):
    """A task that takes a second, and an empty folder of results; counts the trainings."""
    monkeypatch.setenv("FEWBITS_RESULTS", str(tmp_path))
    monkeypatch.setattr(records, "code_version", lambda: COMMIT)
    task = Task(partial(MLP, (784, 8, 8, 10), batch_norm=True), 1, "notebook")
    monkeypatch.setitem(TASKS, "mnist5k", task)
    trained = []

    def counting(*arguments, **options):
        trained.append(arguments[3])
        return whole(*arguments, **options)

    whole = comparison.trained
    monkeypatch.setattr(comparison, "trained", counting)
    return trained


# --- the recipe -------------------------------------------------------------------------------------------------------


def test_pixels_lie_between_minus_1_and_1(digits):
    assert digits.train_images.min() == -1
    assert digits.train_images.max() == 1


def test_only_what_is_missing_is_trained(tiny):
    methods = {name: binary.METHODS[name] for name in ("float", "binaryconnect")}
    kept = []
    keep = lambda *what: kept.append(what[:2])  # noqa: E731
    first = run_missing("binary_runs", methods, "mnist5k", [0], COMMAND, keep)
    assert tiny == [0, 0]
    assert kept == [("float", 0), ("binaryconnect", 0)]
    second = run_missing("binary_runs", methods, "mnist5k", [0, 1], "another command")
    assert tiny == [0, 0, 1, 1]
    pd.testing.assert_frame_equal(second.iloc[:2], first, check_dtype=False, atol=1e-4)
    recorded = evidence.rows("binary_runs")
    assert recorded.commit.tolist() == [COMMIT] * 4
    assert recorded.command.tolist() == [COMMAND] * 2 + ["another command"] * 2


def test_a_run_of_another_length_is_not_taken_for_the_one_that_is_asked_for(tiny):
    methods = {"float": binary.METHODS["float"]}
    run_missing("binary_runs", methods, "mnist5k", [0], COMMAND)
    with pytest.raises(ValueError, match=r"has mnist5k, float, seed 0 with \d+ epochs, not with 7: ask for --epochs"):
        run_missing("binary_runs", methods, "mnist5k", [0], COMMAND, epochs=7)
    assert tiny == [0]


def test_rows_of_a_changed_checkout_are_refused(tiny, monkeypatch):
    monkeypatch.setattr(records, "code_version", lambda: COMMIT + "-dirty")
    with pytest.raises(ValueError, match="commit first"):
        run_missing("binary_runs", {"float": binary.METHODS["float"]}, "mnist5k", [0], COMMAND)


def test_an_interrupted_run_keeps_what_was_done(tiny, monkeypatch):
    def fail(network):
        raise KeyboardInterrupt

    methods = {"float": binary.METHODS["float"], "fails": comparison.Method(fail)}
    with pytest.raises(KeyboardInterrupt):
        run_missing("binary_runs", methods, "mnist5k", [0], COMMAND)
    assert evidence.rows("binary_runs").method.tolist() == ["float"]


def small(task: str) -> Dataset:
    """A few images of the size of the task's."""
    torch.manual_seed(0)
    shape = (3, 32, 32) if "cifar" in task else (1, 28, 28)
    images, labels = torch.rand(130, *shape), torch.arange(130) % 10
    return Dataset(task, images, labels, images[:20], labels[:20], tuple(map(str, range(10))))


@pytest.mark.parametrize(
    ("chapter", "task"), [(name, task) for name in EXPERIMENTS for task in EXPERIMENTS[name].METHODS_OF]
)
def test_every_method_trains(chapter, task):
    data = small(task)
    for name, method in EXPERIMENTS[chapter].METHODS_OF[task].items():
        state = comparison.float_network(TASKS[task].network).state_dict() if method.from_float else None
        model = train_method(method, TASKS[task], data, 0, 1, state)
        measured = comparison.measure(method, model, data)
        assert 0 <= measured["accuracy"] <= 100, name
        assert method.latent or measured["accuracy"] == measured["accuracy_quantized"]


@pytest.fixture
def long_task(monkeypatch, tmp_path):
    """A task with checkpoints after each epoch, and empty folders of results and runs."""
    monkeypatch.setenv("FEWBITS_RESULTS", str(tmp_path))
    monkeypatch.setattr(records, "code_version", lambda: COMMIT)
    monkeypatch.setattr(comparison, "run_folder", lambda name: tmp_path / "runs" / name)
    monkeypatch.setattr(comparison, "prepared", lambda name, pilot=False: small(name))
    task = Task(partial(MLP, (784, 8, 8, 10), batch_norm=True), 3, "notebook", long=True)
    monkeypatch.setitem(TASKS, "mnist5k", task)
    return tmp_path / "runs"


def test_a_long_run_goes_on_after_an_epoch_and_ends_with_the_same_result(long_task):
    method = {"float": comparison.FLOAT}
    whole = run_missing("whole_runs", method, "mnist5k", [1], COMMAND).accuracy.item()
    rest = run_missing("cut_runs", method, "mnist5k", [0], COMMAND, minutes=1e-9)
    assert rest.empty  # one epoch each time, and no row before the last
    assert run_missing("cut_runs", method, "mnist5k", [0], COMMAND, minutes=1e-9).empty
    assert len(run_missing("cut_runs", method, "mnist5k", [0], COMMAND)) == 1
    assert list((long_task / "cut_runs").iterdir()) == []  # the checkpoint has gone to the float networks
    assert run_missing("cut_runs", method, "mnist5k", [1], COMMAND).query("seed == 1").accuracy.item() == whole


def test_a_method_from_float_starts_there_and_asks_for_it(long_task):
    method = {"on": comparison.Method(comparison.float_network, partial(sgd, lr=0.0), from_float=True)}
    with pytest.raises(ValueError, match="on starts from the float network of seed 0: train float first"):
        run_missing("on_runs", method, "mnist5k", [0], COMMAND)
    kept = []
    keep = lambda name, seed, model: kept.append(model)  # noqa: E731
    run_missing("on_runs", {"float": comparison.FLOAT} | method, "mnist5k", [0], COMMAND, keep)
    for first, second in zip(kept[0].parameters(), kept[1].parameters(), strict=True):
        assert torch.equal(first, second)


def test_a_pilot_and_a_shorter_run_leave_the_float_network_of_the_real_run_alone(long_task, monkeypatch):
    """A pilot's float network has not seen a tenth of the images, and must not be recorded as one that has."""
    held_out = lambda name, pilot=False: comparison.held_out(small(name)) if pilot else small(name)  # noqa: E731
    monkeypatch.setattr(comparison, "prepared", held_out)
    methods = {"float": comparison.FLOAT}
    run_missing("pilot_runs", methods, "mnist5k", [0], COMMAND, pilot=True)
    run_missing("short_runs", methods, "mnist5k", [0], COMMAND, epochs=1)
    after, alone = [], []
    run_missing("real_runs", methods, "mnist5k", [0], COMMAND, lambda name, seed, model: after.append(model))
    for path in long_task.glob("float*/*"):
        path.unlink()
    run_missing("clean_runs", methods, "mnist5k", [0], COMMAND, lambda name, seed, model: alone.append(model))
    for first, second in zip(after[0].parameters(), alone[0].parameters(), strict=True):
        assert torch.equal(first, second)


def test_pilots_never_see_a_test_image():
    whole, pilot = prepared("mnist5k"), prepared("mnist5k", pilot=True)
    assert len(pilot.test_images) == len(whole.train_images) // 10
    train = {image.numpy().tobytes() for image in whole.train_images}
    assert all(image.numpy().tobytes() in train for image in pilot.test_images)
    assert len(pilot.train_images) + len(pilot.test_images) == len(whole.train_images)


def test_the_batch_statistics_are_those_of_the_shift_based_normalization(tiny):
    data = prepared("mnist5k")
    name = binary.shift_name(True, True, -8)
    model = train_method(binary.SHIFTS[name], TASKS["mnist5k"], data, seed=0)
    measured = comparison.measure(binary.SHIFTS[name], model, data)
    assert measured["accuracy_batch"] != measured["accuracy"]
    by_class = dataclasses.replace(data, test_images=data.test_images[data.test_labels.argsort()])
    by_class = dataclasses.replace(by_class, test_labels=data.test_labels.sort().values)
    assert (
        abs(comparison.measure(binary.SHIFTS[name], model, by_class)["accuracy_batch"] - measured["accuracy_batch"]) < 5
    )
    assert comparison.measure(binary.SHIFTS[name], model, data) == measured  # and nothing stays changed


def test_latent_weights_are_tested_where_the_method_says_so(tiny):
    data = prepared("mnist5k")
    method = binary.METHODS["binaryconnect stochastic"]
    model = train_method(method, TASKS["mnist5k"], data, seed=0)
    measured = comparison.measure(method, model, data)
    with latent_weights(model):
        assert round(10 * measured["accuracy"]) == correct(model, data.test_images, data.test_labels)
    assert round(10 * measured["accuracy_quantized"]) == correct(model, data.test_images, data.test_labels)


def test_the_steps_from_binarynet_to_xnor_net_change_one_thing_each():
    methods = binary.METHODS | binary.LADDER
    models = {name: methods[name].build(TASKS["mnist5k"].network) for name in binary.RUNGS}
    layers = {name: weight_layers(model) for name, model in models.items()}
    quantized = {name: [hasattr(layer, "parametrizations") for layer in of.values()] for name, of in layers.items()}
    assert quantized["binarynet"] == [True] * 4
    for name in ("+ real last layer", "+ blocks", "xnor-net, no K", "xnor-net"):
        assert quantized[name] == [False, True, True, False]
    assert quantized["+ real first layer"] == [False, True, True, True]
    for name, scaled in (("xnor-net", True), ("xnor-net, no K", False), ("+ blocks", False)):
        assert [layer.scale_input for layer in list(layers[name].values())[1:-1]] == [scaled] * 2
    ends = {name: type(models[name][-1]).__name__ for name in binary.RUNGS}
    assert {name for name, end in ends.items() if end == "BatchNorm1d"} == {
        *("binarynet, + output BN", "binarynet, + start", "binarynet", "+ real first layer", "+ real last layer")
    }
    wide = {name for name in binary.RUNGS if max(w.abs().max() for *_, w in weight_quantizers(models[name])) > 0.9}
    assert wide == {"binarynet, + start", "binarynet", "+ real first layer", "+ real last layer", "+ blocks"}


def test_the_printed_sign_turns_one_gradient_round():
    gradients = {}
    for name in ("ttq", "ttq, printed sign"):
        torch.manual_seed(0)
        model = ternary.METHODS[name].build(TASKS["mnist5k"].network)
        model(torch.rand(4, 1, 28, 28)).square().sum().backward()
        quantizer = next(iter(weight_quantizers(model)))[1]
        gradients[name] = quantizer.w_p.grad.item(), quantizer.w_n.grad.item()
    assert gradients["ttq"][0] == gradients["ttq, printed sign"][0]
    assert gradients["ttq"][1] == -gradients["ttq, printed sign"][1] != 0


def test_unknown_methods_are_refused():
    assert list(chosen(binary.METHODS, ["bwn", "float"])) == ["float", "bwn"]
    assert chosen(binary.METHODS, None) == binary.METHODS
    with pytest.raises(ValueError, match="--methods: unknown"):
        chosen(binary.METHODS, ["bnw"])


def runs_of(*rows: tuple, command: str | None = None) -> pd.DataFrame:
    """A table of runs; with ``command`` each row carries its provenance."""
    frame = pd.DataFrame(rows, columns=["data", "method", "seed", "accuracy"])
    return frame if command is None else frame.assign(**origin(command))


def origin(command: str) -> dict:
    return {
        "commit": COMMIT,
        "command": command,
        "date": "2026-11-29",
        "device": "CPU",
        "torch": "2.13.0",
        "wall_s": 1.0,
    }


def test_differences_are_taken_seed_by_seed():
    frame = runs_of(("mnist", "a", 0, 90.0), ("mnist", "a", 1, 92.0), ("mnist", "b", 1, 91.5), ("mnist5k", "b", 0, 1.0))
    measured = difference(frame, "mnist", "a", "b", low=0.0)
    assert measured == {"type": "mean", "unit": "pt", "values": [0.5], "runs": ["seed 1"], "holds": {"min": 0.0}}
    assert difference(frame, "mnist5k", "a", "b", low=0.0) is None


def test_a_difference_comes_from_the_run_that_completed_it():
    old = runs_of(("mnist", "a", 0, 90.0), ("mnist", "b", 0, 89.0), ("mnist", "a", 1, 92.0), ("mnist", "c", 1, 9.0))
    new = runs_of(("mnist", "b", 1, 91.5), ("mnist", "c", 0, 9.0), command="later")
    measured = difference(pd.concat([old, new]), "mnist", "a", "b", low=0.0)
    assert measured is not None
    assert measured["origins"] == [None, origin("later")]
    # Of two methods, the one that was trained last, whichever comes first in the difference.
    swapped = difference(pd.concat([old, new]), "mnist", "b", "a", low=0.0)
    assert swapped is not None
    assert swapped["origins"] == measured["origins"]


# --- what is recorded -------------------------------------------------------------------------------------------------


def made_claims(chapter: str, runs: pd.DataFrame) -> dict[str, dict]:
    made = []
    for name in runs.data.unique():
        if chapter == "binary":
            made += binary_claims.make_claims(runs, name)
        else:
            made += ternary_claims.make_claims(runs, evidence.rows("ternary_errors"), name)
    if chapter == "binary":
        made += binary_claims.exact_claims(*binary.exact_numbers()) + binary_claims.cited_claims(runs)
    else:
        made += ternary_claims.cited_claims()
    return {claim["id"]: claim for claim in made}


@pytest.mark.parametrize("chapter", ["binary", "ternary"])
def test_claims_follow_from_the_recorded_runs(chapter):
    stored = {claim["id"]: claim for claim in evidence.load(chapter)}
    made = made_claims(chapter, evidence.rows(f"{chapter}_runs"))
    assert set(made) == set(stored)
    for name, claim in made.items():
        same_claim(claim, stored[name])


def same_claim(made: dict, stored: dict) -> None:
    """All that is not computed when a claim is stored is what is on record."""
    assert {field: value for field, value in made.items() if field != "parts"} == {
        field: stored[field] for field in made if field != "parts"
    }
    for ours, theirs in zip(made["parts"], stored["parts"], strict=True):
        assert ours["values"] == pytest.approx(theirs["values"], abs=2e-4)
        for field in set(ours) - {"values", "origins"}:
            assert ours[field] == theirs[field]


def test_a_doctored_run_no_longer_gives_the_claims():
    runs = evidence.rows("binary_runs")
    runs.loc[runs.method == "binarynet", "accuracy"] += 1
    stored = {claim["id"]: claim for claim in evidence.load("binary")}
    with pytest.raises(AssertionError):
        same_claim(made_claims("binary", runs)["binary/binarynet-gap"], stored["binary/binarynet-gap"])


def test_what_a_paper_did_not_run_is_a_question_of_our_own():
    """XNOR-Net's paper has no ablation of its scales with equal layers."""
    kinds = {claim["id"]: claim["kind"] for claim in evidence.load("binary")}
    assert kinds["binary/binarynet-gap"] == "paper"
    assert {kind for name, kind in kinds.items() if "scales-of-xnor" in name} == {"own"}


@pytest.mark.parametrize("task", ["mnist5k", "mnist", "mnist-lenet", "cifar10", "cifar10-resnet20"])
def test_every_claim_that_needs_training_says_how_it_departs(task):
    """On every data set of the experiment, whatever has been recorded of it so far."""
    methods = ["float", "twn", "bwn", "exact ternary"]
    methods += [f"{name}, from float" for name in ("float", "ttq", "twn", "bwn", "exact")]
    methods += [ternary_claims.PAPERS_RATE]
    rows = [
        {"data": task, "method": method, "seed": seed, "epochs": 3, "accuracy": 90.0 + seed}
        for method in methods
        for seed in (0, 1)
    ]
    errors = pd.DataFrame({"data": [], "seed": [], "method": [], "error": []})
    claims = [
        claim for claim in ternary_claims.make_claims(pd.DataFrame(rows), errors, task) if claim["kind"] == "paper"
    ]
    assert len(claims) == 5
    for claim in claims:
        assert any(item["could_explain"] for item in claim["departs"]), claim["id"]
        assert ("CIFAR-10" in claim["paper"]["where"]) == ("cifar" in task) or claim["paper"]["key"] != "li2016"


def test_ttq_is_judged_from_the_start_of_its_authors():
    runs = evidence.rows("ternary_runs")
    claims = made_claims("ternary", runs)
    runs.loc[runs.method.str.startswith("ttq, fitted start"), "accuracy"] -= 50
    again = made_claims("ternary", runs)
    changed = {name for name in claims if claims[name]["parts"] != again[name]["parts"]}
    assert changed == {"ternary/fitted-start", "ternary/fitted-start-mnist"}


@pytest.mark.parametrize("chapter", EXPERIMENTS)
def test_at_least_three_runs_of_every_method_on_mnist5k(chapter):
    runs = evidence.rows(f"{chapter}_runs").query("data == 'mnist5k'")
    counts = runs.groupby("method").seed.nunique()
    assert set(counts.index) <= set(EXPERIMENTS[chapter].METHODS_OF["mnist5k"])
    assert (counts[list(EXPERIMENTS[chapter].METHODS)] >= 3).all()
    assert (runs.epochs == TASKS["mnist5k"].epochs).all()


def test_at_least_five_runs_of_every_rung_and_change():
    runs = evidence.rows("binary_runs").query("data == 'mnist5k'")
    counts = runs.groupby("method").seed.nunique()
    assert (counts[[*binary.METHODS, *binary.LADDER, *binary.CHANGES, "binarynet, 512 units"]] >= 5).all()


@pytest.mark.parametrize(("chapter", "name"), CHECKPOINTS)
def test_the_kept_networks_are_those_of_the_table(chapter, name, digits):
    method = EXPERIMENTS[chapter].METHODS[name]
    path = checkpoint_path(f"{chapter}-{name.replace(' ', '-')}")
    model = load_model(method.build(TASKS["mnist5k"].network), path)
    runs = evidence.rows(f"{chapter}_runs").query("data == 'mnist5k' and method == @name and seed == 0")
    count = correct(model, digits.test_images, digits.test_labels)
    assert abs(count - 10 * runs.accuracy.item()) <= 1  # sums in another order may tip one image
    assert path.stat().st_size < 1_000_000


@pytest.mark.parametrize(
    ("chapter", "name", "bits", "scales"),
    [
        ("binary", "binaryconnect", 1, 0),
        ("binary", "binarynet", 1, 0),
        ("ternary", "bwn", 1, 3 * 128 + 10),
        ("ternary", "twn", 2, 4),
        ("ternary", "ttq", 2, 2 * 4),
        ("ternary", "exact ternary", 2, 4),
    ],
)
def test_size_on_disk_is_what_the_formula_says(chapter, name, bits, scales, tmp_path):
    """1/32 or 1/16 of 32-bit floats, and 4 bytes a scale: written to a file and counted."""
    path = checkpoint_path(f"{chapter}-{name.replace(' ', '-')}")
    model = load_model(EXPERIMENTS[chapter].METHODS[name].build(TASKS["mnist5k"].network), path)
    file = tmp_path / "weights.bin"
    with file.open("wb") as stream:
        for _, quantizer, latent in weight_quantizers(model):
            codes = quantizer.encode(latent.detach())
            stream.write(codes.packed())
            for scale in stored_scales(name, quantizer, codes):
                stream.write(scale.detach().numpy().tobytes())
    weights = sum(codes.values.numel() for codes in encode_weights(model).values())
    assert weights == 784 * 128 + 2 * 128 * 128 + 128 * 10
    assert file.stat().st_size == 4 * weights * bits // 32 + 4 * scales


def stored_scales(name: str, quantizer: nn.Module, codes) -> list[torch.Tensor]:
    """The real numbers that the method's formula needs beside its codes."""
    if name in ("binaryconnect", "binarynet"):
        return []
    return [quantizer.w_p, quantizer.w_n] if name == "ttq" else [codes.scale]


# --- circuits of scales -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("name", "bits"), [("product by 8 bits", 8), ("shift by 3 bits", 3), ("fixed shift", 1)])
def test_the_circuits_of_scales_compute_what_they_are_counted_for(name, bits):
    found = scale_circuit(name)
    row = evidence.rows("binary_scales").set_index("circuit").loc[name]
    assert (found.luts, found.packed_luts) == (row.LUT, row.packed_LUT)
    rng = np.random.default_rng(0)
    sums, scales = rng.integers(-(2**15), 2**15, 200), rng.integers(0, 2**bits, 200)
    stimulus = {"sum": sums & 0xFFFF, "scale": scales}
    outputs = Netlist(found).run({port: np.tile(values, (2, 1)) for port, values in stimulus.items()})["y"][-1]
    expected = {"product by 8 bits": sums * scales, "shift by 3 bits": sums << scales, "fixed shift": sums << 5}[name]
    assert np.array_equal(outputs.astype(np.int64), expected & (2**24 - 1))
