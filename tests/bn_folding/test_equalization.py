"""Cross-layer equalization: the same function, equal ranges, and depthwise layers that survive one scale per tensor."""

import copy

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from fewbits.binary import XnorLinear
from fewbits.bn_folding import channel_ranges, equalizable_pairs, equalize, fold_model, input_ranges
from fewbits.core.quantizer import quantize_weights, weight_layers
from fewbits.data import load
from fewbits.experiments.bn_folding import run as bn_folding
from fewbits.experiments.common import checkpoint_path
from fewbits.mobileone import align_scales
from fewbits.nets import ResNet18
from fewbits.training import correct, load_model
from fewbits.uniform import UniformQuantizer


def separable() -> nn.Module:
    path = checkpoint_path("bn-folding-separable-strong-decay")
    return fold_model(load_model(bn_folding.build("separable, strong decay"), path)).double()


def test_two_layers_by_hand():
    """Ranges 8 and 2 meet at 4: the first is halved, the second doubled; the bias goes along."""
    model = nn.Sequential(nn.Linear(1, 1), nn.ReLU(), nn.Linear(1, 1))
    for layer, weight, bias in ((model[0], 8.0, 3.0), (model[2], -2.0, 5.0)):
        layer.weight.data, layer.bias.data = torch.tensor([[weight]]), torch.tensor([bias])
    result = equalize(model)
    assert [result[0].weight.item(), result[0].bias.item()] == [4.0, 1.5]
    assert [result[2].weight.item(), result[2].bias.item()] == [-4.0, 5.0]
    assert model[0].weight.item() == 8.0


@torch.no_grad()
def test_the_function_stays_and_ranges_meet(folded_network):
    model, shape = folded_network
    for layer in weight_layers(model).values():
        layer.weight *= torch.rand(len(layer.weight), *[1] * (layer.weight.dim() - 1)).double() * 10
        layer.bias.normal_()
    images = torch.rand(4, *shape).double()
    result = equalize(model)
    expected = model(images)
    torch.testing.assert_close(result(images), expected, rtol=0, atol=1e-12 * float(expected.abs().max()))
    layers, pairs = weight_layers(result), equalizable_pairs(model)
    assert len(pairs) >= 2
    for first, second in pairs:
        ratio = channel_ranges(layers[first].weight) / input_ranges(layers[second])
        torch.testing.assert_close(ratio, torch.ones_like(ratio), rtol=0.01, atol=0)


def test_pairs_stop_where_somebody_else_reads():
    model = fold_model(ResNet18(3, 10, "cifar").eval())
    pairs = equalizable_pairs(model)
    assert ("layer1.0.conv1", "layer1.0.conv2") in pairs
    assert len(pairs) == 8  # only inside the blocks: the additions tie all others together
    assert equalizable_pairs(nn.Sequential(nn.Linear(2, 2), nn.Sigmoid(), nn.Linear(2, 2))) == []
    assert equalizable_pairs(nn.Sequential(nn.Conv2d(2, 2, 1), nn.ReLU(), nn.Flatten(), nn.Linear(8, 2))) == []


def test_dead_channels_are_left_alone():
    model = nn.Sequential(nn.Linear(2, 2), nn.ReLU(), nn.Linear(2, 2))
    model[0].weight.data[0] = 0
    model[2].weight.data[:, 1] = 0
    result = equalize(model)
    assert torch.equal(result[0].weight, model[0].weight)
    assert torch.equal(result[2].weight, model[2].weight)


class OnTwoPaths(nn.Module):
    def __init__(self):
        super().__init__()
        self.a, self.relu, self.b = nn.Linear(3, 3), nn.ReLU(), nn.Linear(3, 3)

    def forward(self, x):
        return self.b(self.relu(self.a(x))) + self.a(-x)


def shared_layers() -> dict[str, nn.Module]:
    """Networks in which no layer can be changed for one call alone."""
    first, second, again = nn.Linear(3, 3), nn.Linear(3, 3), nn.Linear(3, 3)
    second.weight = first.weight
    return {
        "called twice": nn.Sequential(again, nn.ReLU(), again),
        "on two paths": OnTwoPaths(),
        "tied weight": nn.Sequential(first, nn.ReLU(), second),
        "own forward": nn.Sequential(nn.Linear(3, 3), nn.ReLU(), XnorLinear(3, 3)),
    }


@pytest.mark.parametrize("kind", shared_layers())
@pytest.mark.parametrize("change", [equalize, lambda model: align_scales(model.eval(), torch.randn(9, 3))])
def test_shared_layers_are_left_alone(kind, change):
    model = shared_layers()[kind]
    with torch.no_grad():
        next(model.parameters())[0] *= 20
    assert equalizable_pairs(model) == []
    x = torch.randn(5, 3)
    assert torch.equal(change(model)(x), model(x))


def test_functions_and_methods_are_read_as_modules_are():
    class Functional(nn.Module):
        def __init__(self):
            super().__init__()
            self.a, self.b = nn.Conv2d(2, 3, 3), nn.Conv2d(3, 2, 1)

        def forward(self, x):
            return self.b(F.max_pool2d(self.a(x).relu(), 2))

    assert equalizable_pairs(Functional()) == [("a", "b")]


def test_quantized_weights_are_refused():
    model = nn.Sequential(nn.Linear(2, 2), nn.ReLU(), nn.Linear(2, 2))
    quantize_weights(model, lambda: UniformQuantizer(4), skip=("first",))
    with pytest.raises(ValueError, match=r"2 \(Linear\) has a quantized weight"):
        equalize(model)


def test_it_rescues_the_network_that_folding_spoils():
    """The checkpoint of chapter bn_folding in which one channel is too wide, 4 bits and one scale per tensor."""
    data = load("mnist5k")
    folded = separable()

    def right(model: nn.Module) -> int:
        model = quantize_weights(copy.deepcopy(model), lambda: UniformQuantizer(4), skip=())
        return correct(model, data.test_images.double(), data.test_labels)

    before, after = right(folded), right(equalize(folded))
    assert before < 900 < after
