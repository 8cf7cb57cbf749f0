"""Statistics correction: means and variances of every channel are those of the float network again."""

import copy

import pytest
import torch
from contract_networks import NETWORKS, make
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from fewbits.bn_folding import correct_statistics, output_statistics
from fewbits.core.quantizer import quantize_weights, weight_layers
from fewbits.inq import Inq
from fewbits.uniform import UniformQuantizer


def rounded(model: nn.Module, bits: int = 4) -> nn.Module:
    """A copy with all weights and biases on their codebooks."""
    inq = Inq(copy.deepcopy(model), bits, biases=True)
    inq.step(1.0)
    return inq.finish()


def statistics(model: nn.Module, images: torch.Tensor) -> list[tuple[torch.Tensor, torch.Tensor]]:
    """Of what comes after each layer and its correction, if there is one."""
    places = []
    for name, layer in weight_layers(model).items():
        parent = model.get_submodule(name.rpartition(".")[0])
        corrected = isinstance(parent, nn.Sequential) and len(parent) == 2 and getattr(parent[1], "eps", None) == 0.0
        places.append(parent if corrected else layer)
    return output_statistics(model, places, images, len(images))


def test_a_channel_by_hand():
    """The float layer gives 3, 6 with mean 4.5 and variance 2.25, the rounded one 4, 8: 0.75 times that is it again."""
    reference = nn.Sequential(nn.Linear(1, 1)).double().eval()
    reference[0].weight.data[:], reference[0].bias.data[:] = 3.0, 0.0
    model = copy.deepcopy(reference)
    model[0].weight.data[:] = 4.0
    images = torch.tensor([[1.0], [2.0]]).double()
    corrected = correct_statistics(model, reference, images)
    assert corrected[0][1].weight.item() == pytest.approx(0.75)
    assert corrected[0][1].bias.item() == pytest.approx(0.0)
    assert corrected(images).flatten().tolist() == pytest.approx([3.0, 6.0])
    # The mean alone: 4, 8 become 2.5, 6.5, and the weight stays.
    corrected = correct_statistics(model, reference, images, variance=False)
    assert corrected(images).flatten().tolist() == pytest.approx([2.5, 6.5])
    assert (corrected[0].weight.item(), corrected[0].bias.item()) == (4.0, -1.5)
    assert (model[0].weight.item(), model[0].bias.item()) == (4.0, 0.0)


@pytest.mark.parametrize("variance", [True, False])
def test_every_channel_has_its_statistics_again(folded_network, variance):
    model, shape = folded_network
    images = torch.rand(40, *shape, generator=torch.Generator().manual_seed(1)).double()
    quantized = rounded(model)
    corrected = correct_statistics(quantized, model, images, variance=variance)
    wanted, found = statistics(model, images), statistics(corrected, images)
    moved = statistics(quantized, images)
    for (mean, spread), (mean_now, spread_now), (_, before) in zip(wanted, found, moved, strict=True):
        torch.testing.assert_close(mean_now, mean, rtol=1e-9, atol=1e-9)
        if variance:
            # A channel that rounding has made constant cannot vary again.
            alive = (before > 0) & (spread_now > 0)
            torch.testing.assert_close(spread_now[alive], spread[alive], rtol=1e-9, atol=1e-9)
    assert any(not torch.allclose(a[0], b[0], rtol=1e-3) for a, b in zip(wanted, moved, strict=True))
    for (name, layer), other in zip(weight_layers(quantized).items(), weight_layers(corrected).values(), strict=True):
        assert torch.equal(layer.weight, other.weight), name


@given(st.integers(0, 5))
def test_a_network_that_lost_nothing_is_not_changed(seed):
    torch.manual_seed(seed)
    model = nn.Sequential(nn.Conv2d(2, 3, 3), nn.ReLU(), nn.Flatten(), nn.Linear(12, 4)).double().eval()
    images = torch.randn(9, 2, 4, 4).double()
    for variance in (True, False):
        corrected = correct_statistics(model, model, images, variance=variance)
        torch.testing.assert_close(corrected(images), model(images), rtol=0, atol=1e-12)


def test_a_stretch_and_a_shift_of_each_channel_are_undone():
    """If each channel is y -> a y + b and nothing else is lost, the corrected network is the reference."""
    torch.manual_seed(0)
    reference = nn.Sequential(nn.Conv2d(2, 3, 3), nn.ReLU(), nn.Conv2d(3, 2, 1), nn.Flatten()).double().eval()
    model = copy.deepcopy(reference)
    for layer in weight_layers(model).values():
        factor = torch.rand(len(layer.weight)).double() + 0.5
        layer.weight.data *= factor.reshape(-1, 1, 1, 1)
        layer.bias.data = layer.bias.data * factor + torch.randn(len(factor)).double()
    images, others = torch.randn(30, 2, 5, 5).double(), torch.randn(7, 2, 5, 5).double()
    assert not torch.allclose(model(others), reference(others), atol=0.1)
    corrected = correct_statistics(model, reference, images)
    torch.testing.assert_close(corrected(others), reference(others), rtol=0, atol=1e-10)


def test_quantizers_stay_and_a_dead_channel_keeps_its_variance():
    torch.manual_seed(0)
    reference = nn.Sequential(nn.Linear(4, 3), nn.ReLU(), nn.Linear(3, 2)).eval()
    model = quantize_weights(copy.deepcopy(reference), lambda: UniformQuantizer(3, symmetric=True), skip=())
    reference[0].weight.data[1] = 0
    images = torch.rand(20, 4)
    corrected = correct_statistics(model, reference, images)
    assert torch.equal(corrected[0][0].weight, model[0].weight)
    assert corrected[0][1].weight[1] == 0  # the reference is constant there, so the correction makes it so
    model[0].parametrizations.weight.original.data[2] = 0
    assert correct_statistics(model, reference, images)[0][1].weight[2] == 1
    assert correct_statistics(model, reference, images)(images).isfinite().all()


class Sequence(nn.Module):
    def __init__(self):
        super().__init__()
        self.layer = nn.Linear(3, 3)

    def forward(self, x):
        return self.layer(x)


def test_what_cannot_be_corrected_is_refused():
    model, images = nn.Sequential(nn.Linear(3, 3)).eval(), torch.rand(5, 3)
    with pytest.raises(ValueError, match=r"^model is in training mode"):
        correct_statistics(copy.deepcopy(model).train(), model, images)
    with pytest.raises(ValueError, match=r"^reference is in training mode"):
        correct_statistics(model, copy.deepcopy(model).train(), images)
    with pytest.raises(ValueError, match=r"they must be the same, and some"):
        correct_statistics(model, nn.Sequential(nn.ReLU(), nn.Linear(3, 3)).eval(), images)
    with pytest.raises(ValueError, match=r"they must be the same, and some"):
        correct_statistics(nn.ReLU().eval(), nn.ReLU().eval(), images)
    with pytest.raises(ValueError, match="images must not be empty"):
        correct_statistics(model, model, images[:0])
    with pytest.raises(ValueError, match="model is a layer itself"):
        correct_statistics(model[0], model[0], images)
    with pytest.raises(ValueError, match=r"layer gives \(5, 4, 3\): its channels must be axis 1"):
        correct_statistics(Sequence().eval(), Sequence().eval(), torch.rand(5, 4, 3))
    quantized = copy.deepcopy(model)
    Inq(quantized, biases=True).step(1.0)
    with pytest.raises(ValueError, match="0 has a quantized bias"):
        correct_statistics(quantized, model, images, variance=False)
    correct_statistics(quantized, model, images)  # with a factor and an offset of its own it may stay
    unused = Sequence().eval()
    unused.spare = nn.Linear(3, 3)
    with pytest.raises(ValueError, match="spare is not called"):
        correct_statistics(unused, unused, images)


REFUSED = {
    "called twice": "is called more than once",
    "one object, two places": "is called more than once",
    "two paths": "is called more than once",
    "MobileOne blocks": "is called more than once",
    "tied weights": "b .* shares a parameter",
    "weight read by a function": "a .* shares a parameter",
    "attention": "q gives .* axis 1",
    "torch's encoder layer": "out_proj is not called",
    "one layer": "model is a layer itself",
    "branches on numbers": "Branching: the forward pass cannot be read",
}


@pytest.mark.parametrize("name", NETWORKS)
@torch.no_grad()
def test_other_people_s_networks(name):
    model, images = make(name)
    model.eval()
    if name in REFUSED:
        with pytest.raises(ValueError, match=REFUSED[name]):
            correct_statistics(model, model, images)
        return
    torch.testing.assert_close(correct_statistics(model, model, images)(images), model(images), rtol=1e-3, atol=1e-3)


def test_a_layer_with_a_forward_of_its_own_keeps_its_bias():
    model, images = make("subclasses")
    with pytest.raises(ValueError, match=r"\(Standardized\) has a forward of its own"):
        correct_statistics(model.eval(), model, images, variance=False)
