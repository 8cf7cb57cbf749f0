"""Constant channels: the same function without them, and none that moves is touched."""

import copy

import pytest
import torch
from torch import nn

from fewbits.core.quantizer import weight_layers
from fewbits.mobileone import fold_constant_channels, seen_ranges


def linear(weight, bias) -> nn.Linear:
    layer = nn.Linear(len(weight[0]), len(weight), bias=bias is not None)
    layer.weight.data = torch.tensor(weight)
    if bias is not None:
        layer.bias.data = torch.tensor(bias)
    return layer


def test_two_layers_by_hand():
    """Of three channels the first moves, the second is always 2, the third is dead."""
    first = linear([[1.0], [0.0], [-1.0]], [0.0, 2.0, -1.0])
    model = nn.Sequential(first, nn.ReLU(), linear([[1.0, 3.0, 100.0]], [0.5])).eval()
    images = torch.tensor([[0.0], [1.0], [4.0]])
    result = fold_constant_channels(model, images, batch_size=2)
    assert result[0].weight.tolist() == [[1.0], [0.0], [0.0]]
    assert result[0].bias.tolist() == [0.0, 0.0, 0.0]
    assert result[2].weight.tolist() == [[1.0, 0.0, 0.0]]
    assert result[2].bias.tolist() == [6.5]
    assert torch.equal(result(images), model(images))
    assert model[2].weight.tolist() == [[1.0, 3.0, 100.0]]  # the model itself is left alone
    # What no image has shown is not known: at -2 the third channel lives.
    assert result(torch.tensor([[-2.0]])).item() == 6.5
    assert model(torch.tensor([[-2.0]])).item() == 106.5


def with_constants(model: nn.Module) -> nn.Module:
    """The first channel of each layer is dead, the second always 0.25; large weights read both."""
    for layer in weight_layers(model).values():
        layer.weight.data[:2] = 0
        layer.bias.data[:2] = torch.tensor([-1.0, 0.25])
        if layer.weight.shape[1] > 1:
            layer.weight.data[2:, :2] = 20
        else:
            layer.weight.data[2:4] = 20
    return model


def test_the_function_stays_and_no_channel_that_can_be_folded_is_left(folded_network):
    model, shape = folded_network
    model = with_constants(model)
    images = torch.rand(6, *shape).double()
    result = fold_constant_channels(model, images)
    with torch.no_grad():
        torch.testing.assert_close(result(images), model(images), rtol=0, atol=1e-12 * model(images).abs().max().item())
    zeros = [sum(int((layer.weight == 0).sum()) for layer in weight_layers(m).values()) for m in (model, result)]
    assert zeros[1] > zeros[0]
    again = fold_constant_channels(result, images)
    for name, tensor in result.state_dict().items():
        assert torch.equal(tensor, again.state_dict()[name]), name


def test_a_padded_layer_keeps_what_its_border_would_miss():
    layers = nn.Conv2d(1, 2, 1), nn.ReLU(), nn.Conv2d(2, 2, 3, padding=1, groups=2)
    model = nn.Sequential(*layers).eval()
    model[0].weight.data[:] = 0
    model[0].bias.data = torch.tensor([-1.0, 0.25])
    result = fold_constant_channels(model, torch.rand(2, 1, 4, 4))
    assert result[0].bias.tolist() == [0.0, 0.25]
    assert not result[2].weight[0].any()
    assert torch.equal(result[2].weight[1], model[2].weight[1])


def test_ranges_are_those_of_all_batches():
    model = nn.Sequential(nn.Linear(2, 2), nn.ReLU(), nn.Linear(2, 1)).eval()
    images = torch.randn(7, 2)
    ((lowest, highest),) = seen_ranges(model, [model[2]], images, batch_size=2)
    read = torch.relu(model[0](images))
    assert torch.equal(lowest, read.amin(0))
    assert torch.equal(highest, read.amax(0))
    assert not model[2]._forward_pre_hooks


def test_bad_models_are_refused():
    first = linear([[0.0]], [1.0])
    model = nn.Sequential(first, nn.ReLU(), linear([[2.0]], None))
    with pytest.raises(ValueError, match="model is in training mode"):
        fold_constant_channels(model, torch.ones(1, 1))
    with pytest.raises(ValueError, match="no bias to take the constant"):
        fold_constant_channels(model.eval(), torch.ones(1, 1))
    dead = copy.deepcopy(model)
    dead[0].bias.data[:] = -1
    assert not fold_constant_channels(dead, torch.ones(1, 1))[2].weight.any()
