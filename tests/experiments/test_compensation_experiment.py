"""The experiment ``compensation``: a tiny network, its tables and claims, and its circuits against integers."""

import numpy as np
import pytest
import torch
from torch import nn

from fewbits import evidence
from fewbits.core.float_codes import FORMATS
from fewbits.data import Dataset
from fewbits.experiments.__main__ import parsed
from fewbits.experiments.common import hex_of, right_of
from fewbits.experiments.compensation import circuits, claims, networks
from fewbits.experiments.compensation.networks import GRIDS, MEANS
from fewbits.fpga.netlist import Netlist
from fewbits.fpga.synthesis import synthesize

COMMAND = "python -m fewbits.experiments compensation"


def tiny_network() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(3, 8, 3), nn.ReLU(), nn.Flatten(), nn.Linear(8 * 16, 4)).eval()


@pytest.fixture
def tiny(tmp_path, monkeypatch):
    """A tiny network in place of the float ones, random images, and results in a folder of their own."""
    monkeypatch.setenv("FEWBITS_RESULTS", str(tmp_path))
    monkeypatch.setattr("fewbits.evidence.records.code_version", lambda: "a" * 40)
    images, labels = torch.rand(600, 3, 6, 6), torch.arange(600) % 4
    data = Dataset("cifar100", images, labels, images[:40], labels[:40], tuple("0123"))
    monkeypatch.setattr(networks, "cifar100", lambda device, images=None: data)
    monkeypatch.setattr(networks, "float_network", lambda network, seed: tiny_network())
    monkeypatch.setattr(networks, "prepared", lambda model, data, changes: model)
    monkeypatch.setattr(networks, "CALIBRATED_WITH", 64)
    monkeypatch.setattr(networks, "ADAROUND_STEPS", 10)
    monkeypatch.setattr(claims, "IMAGES", 40)


def test_settings_are_chosen_and_every_form_is_measured_once(tiny):
    networks.choose(COMMAND, list(GRIDS))
    choice = evidence.rows("compensation_choice")
    assert len(choice) == 2 * (3 * 2 + 2 * 3)
    assert set(choice[choice.grid == "MXFP4"].setting) == {"given", "activation", "rescale"}
    damping, setting = networks.chosen("ternary")
    best = choice[choice.grid == "ternary"].set_index(["damping", "setting"]).accuracy
    assert best[damping, setting] == best.max()
    assert networks.chosen("INQ, aligned") == networks.chosen("INQ")
    networks.measure(COMMAND, list(GRIDS), [0])
    rows = evidence.rows("compensation_networks")
    assert len(rows) == sum(len(grid.forms) for grid in GRIDS.values())
    before = rows.copy()
    networks.measure(COMMAND, list(GRIDS), [0])
    assert evidence.rows("compensation_networks").equals(before)
    for row in rows.itertuples():
        assert right_of(row.right, 40).sum() == round(row.accuracy * 0.4)
    by_form = rows.set_index(["grid", "form"])
    assert by_form.loc[("uniform 4", "GPTQ")].bits == by_form.loc[("uniform 4", "nearest")].bits
    biases = 2 * 32 + 16 * 12  # a scale for each of the two layers, 16 bits each
    assert by_form.loc[("uniform 4", "GPTQ")].bits == 4 * (216 + 512) + 32 * 12 + biases
    made = claims.current_claims()
    by_id = {claim["id"]: claim for claim in made}
    (first, images, *_) = by_id["compensation/gptq-beats-nearest"]["parts"]
    assert first["values"] == images["values"]
    assert first["values"] == [
        pytest.approx(by_form.accuracy["uniform 4", "GPTQ"] - by_form.accuracy["uniform 4", "nearest"])
    ]
    assert by_id["compensation/training-still-pays"]["parts"][0]["values"] == []


def test_nothing_is_measured_before_something_is_chosen(tiny):
    with pytest.raises(ValueError, match="nothing is chosen for ternary"):
        networks.measure(COMMAND, ["ternary"], [0])


def test_forms_by_hand():
    """Biases get 16 bits; with the means put back, the outputs have the means of the float network again."""
    model, images = tiny_network(), torch.rand(64, 3, 6, 6)
    small = networks.on_grid(model, GRIDS["ternary"], "nearest", images)
    plain = networks.finished(small, model, "nearest", images)
    moved = networks.finished(small, model, "nearest" + MEANS, images)
    with torch.no_grad():
        right, first, second = (net(images).mean(0) for net in (model, plain, moved))
    assert (second - right).abs().max() < 0.05 * (first - right).abs().max()
    assert len(plain[0].bias.unique()) <= 8
    with pytest.raises(ValueError, match="form must begin with"):
        networks.on_grid(model, GRIDS["ternary"], "guess", images)


def test_images_as_digits():
    right = np.array([True, False, False, True, False, True, False, False, True, False])
    assert hex_of(right) == "9480"
    assert (right_of("9480", 10) == right).all()


def test_recorded_commands_are_accepted():
    module, options = parsed(["compensation", "--part", "choose", "--grids", "uniform 4", "MXFP4"])
    assert options.grids == ["uniform 4", "MXFP4"]
    assert module.__name__.endswith("compensation.run")


# --- Circuits ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("scale", [0, 1, 2])
def test_the_circuit_computes_the_sum_of_the_products(scale):
    """32 products at a time, against float64: in units of half an E2M1 step and of the smallest scale."""
    rng = np.random.default_rng(0)
    count, lanes = 32, 24
    netlist = Netlist(synthesize("e2m1_dot", {"N": count, "SCALE": scale}, sources=circuits.sources(), dsp=False))
    x = rng.integers(0, 256, (lanes, count))
    weights = rng.integers(0, 16, (lanes, count))
    blocks = 2 if scale == 2 else 1
    fields = rng.integers(0, 16 if scale == 1 else 127, (lanes, blocks))  # of 8 bits each, though SCALE 0 reads none
    numbers = 2 * FORMATS["E2M1"].levels.numpy()[weights] * x
    sums = numbers.reshape(lanes, blocks, -1).sum(2)
    factors = {0: np.ones_like(fields, float), 1: 2.0**fields, 2: FORMATS["E4M3"].levels.numpy()[fields] * 2**9}
    expected = (sums * factors[scale]).sum(1)
    # The same inputs in all cycles: what comes out at the end has passed all registers.
    stimulus = {"x": x, "weights": weights, "scales": fields}
    found = netlist.run({name: np.broadcast_to(array, (12, *array.shape)) for name, array in stimulus.items()})["sum"][
        -1
    ]
    width = {0: 18, 1: 33, 2: 37}[scale]
    signed = found.astype(np.int64) - (found >> (width - 1)).astype(np.int64) * 2**width
    assert np.array_equal(signed, expected)


def test_an_unknown_unit_is_refused():
    with pytest.raises(ValueError, match="unknown unit 'INT4"):
        circuits.synthesize_unit("INT4 × 8 bits")
