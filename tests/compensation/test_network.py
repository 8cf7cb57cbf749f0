"""Whole networks, layer after layer: what each layer reads, what is kept, what is refused."""

import copy
from functools import partial

import pytest
import torch
import torch.nn.functional as F
from contract_networks import make
from torch import nn

from fewbits import load, save, size_report, stored_state
from fewbits.compensation import MXQuantizer, adaround, compensate, gptq, output_error, second_moments
from fewbits.core.quantizer import attach_codes, weight_layers
from fewbits.inq import InqQuantizer
from fewbits.uniform import UniformQuantizer

FOUR = partial(UniformQuantizer, 4, channel_axis=0)


def small() -> tuple[nn.Module, torch.Tensor]:
    torch.manual_seed(0)
    model = nn.Sequential(
        nn.Conv2d(3, 6, 3, padding=1),
        nn.ReLU(),
        nn.Conv2d(6, 6, 3, groups=6),
        nn.ReLU(),
        nn.Flatten(),
        nn.Linear(6 * 16, 4),
    )
    coarse = torch.randn(40, 3, 3, 3)  # neighbours are alike, as in photographs
    return model.eval(), F.interpolate(coarse, (6, 6), mode="bilinear") + 0.1 * torch.randn(40, 3, 6, 6)


def test_each_layer_is_rounded_for_what_it_reads_in_the_quantized_network():
    """By hand, one layer after the other, with the codes of those before attached."""
    model, images = small()
    found = compensate(model, FOUR, images)
    right = copy.deepcopy(model)
    for name in ("0", "2", "5"):
        moments = second_moments(right, images, [name])[name]
        weight = weight_layers(model)[name].weight.detach()
        attach_codes(right, {f"{name}.weight": gptq(weight, FOUR().encode(weight), moments)})
    with torch.no_grad():
        assert torch.equal(found(images), right(images))
    first = second_moments(model, images, ["5"])["5"]
    assert not torch.allclose(first, second_moments(right, images, ["5"])["5"])


@pytest.mark.parametrize("weights", [FOUR, InqQuantizer, MXQuantizer])
def test_the_outputs_are_nearer_than_those_of_rounding(weights):
    model, images = small()
    with torch.no_grad():
        right = model(images)
        plain = compensate(model, weights, images, rounding=lambda weight, codes, moments: codes)(images)
        found = compensate(model, weights, images)(images)
    assert (found - right).square().mean() < 0.7 * (plain - right).square().mean()


def test_adaround_in_its_place():
    model, images = small()
    found = compensate(model, FOUR, images, rounding=partial(adaround, steps=100))
    moments = second_moments(model, images, ["0"])["0"]
    weight = model[0].weight.detach()
    before, after = (output_error(weight, w, moments).sum() for w in (FOUR()(weight), found[0].weight.detach()))
    assert after < before


def test_codes_are_stored_and_read_again(tmp_path):
    model, images = small()
    found = compensate(model, FOUR, images, keep=("last",))
    report = size_report(found)
    assert [row.method for row in report.rows if row.name == "5.weight"] == ["float32"]
    assert [row.bits for row in report.rows if row.name == "2.weight"] == [4 * 54 + 6 * 32]
    save(tmp_path / "small.fewbits", stored_state(found))
    again = copy.deepcopy(model)
    state = {
        name: item if isinstance(item, torch.Tensor) else item.decode()
        for name, item in load(tmp_path / "small.fewbits").items()
    }
    again.load_state_dict(state)
    with torch.no_grad():
        assert torch.equal(again(images), found(images))


def test_tied_weights_get_codes_for_what_all_of_them_read():
    model, images = make("tied weights")
    found = compensate(model, FOUR, images)
    names = [name for name, layer in weight_layers(model).items()]
    weights = {name: weight_layers(found)[name].weight for name in names}
    shared = [
        (a, b)
        for a in names
        for b in names
        if a < b and weight_layers(model)[a].weight is weight_layers(model)[b].weight
    ]
    assert shared
    assert all(torch.equal(weights[a], weights[b]) for a, b in shared)


def test_the_model_given_stays_as_it_was():
    model, images = small()
    model.train()
    before = copy.deepcopy(model.state_dict())
    found = compensate(model, FOUR, images)
    assert found.training
    assert model.training
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    assert not any(
        p.requires_grad for layer in weight_layers(found).values() for p in [layer.parametrizations.weight.original]
    )


@pytest.mark.parametrize(
    ("keep", "message"),
    [(("0", "2", "5"), "keep names all layers"), (("7",), r"keep names \['7'\], which are no layers")],
)
def test_layers_to_keep_are_checked(keep, message):
    model, images = small()
    with pytest.raises(ValueError, match=message):
        compensate(model, FOUR, images, keep=keep)


def test_what_cannot_be_done_is_named():
    model, images = small()
    with pytest.raises(ValueError, match="model has no linear or convolution layer"):
        compensate(nn.Sequential(nn.ReLU()), FOUR, images)
    with pytest.raises(ValueError, match=r"the weights of \['0', '2', '5'\] are parametrized already"):
        compensate(compensate(model, FOUR, images), FOUR, images)
    with pytest.raises(ValueError, match=r"^0: moments are not positive definite"):
        compensate(model, FOUR, images[:1, :, :3, :3].repeat(1, 1, 2, 2) * 0 + 1, rounding=partial(gptq, damping=0.0))
    broken = copy.deepcopy(model)
    broken[2].weight.data[0] = float("nan")
    with pytest.raises(ValueError, match=r"^2: x holds NaN or Inf"):
        compensate(broken, FOUR, images)
    tied = nn.Sequential(nn.Linear(3, 3), nn.ReLU(), nn.Linear(3, 3))
    tied[2].weight = tied[0].weight
    with pytest.raises(ValueError, match="2 holds the weight of 0, which keep names"):
        compensate(tied, FOUR, torch.randn(5, 3), keep=("first",))


@pytest.mark.parametrize("rounding", [gptq, partial(adaround, steps=2), partial(gptq, keep_better=False)])
def test_an_image_with_nan_is_refused_and_not_taken_for_one_that_is_0(rounding):
    model, images = small()
    images[3, 0, 0, 0] = torch.nan
    with pytest.raises(ValueError, match=r"^0: moments holds NaN or Inf"):
        compensate(model, FOUR, images, rounding=rounding)
