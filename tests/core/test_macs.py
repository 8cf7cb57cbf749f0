"""Work of layers: hand-counted, against a loop that multiplies one number at a time, and what stays as it was."""

import dataclasses

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from fewbits.binary import XnorLinear
from fewbits.core.macs import LayerWork, layer_work
from fewbits.core.quantizer import quantize_weights
from fewbits.mobileone import MobileNetV1, reparameterize
from fewbits.nets import count_parameters
from fewbits.training import seed_everything
from fewbits.uniform import UniformQuantizer


def test_two_layers_by_hand():
    model = nn.Sequential(nn.Conv2d(3, 8, 3, stride=2, padding=1), nn.Flatten(), nn.Linear(8 * 4 * 5, 10))
    assert layer_work(model, (3, 8, 10)) == [
        LayerWork("0", "conv", 8, 27 * 20, 27, 20),
        LayerWork("2", "linear", 10, 160, 160, 1),
    ]
    assert [(work.weights, work.macs) for work in layer_work(model, (3, 8, 10))] == [(216, 4320), (1600, 1600)]


@settings(deadline=None, max_examples=30)
@given(
    groups=st.integers(1, 3),
    inputs=st.integers(1, 2),
    outputs=st.integers(1, 2),
    kernel=st.tuples(st.integers(1, 3), st.integers(1, 3)),
    stride=st.integers(1, 3),
    dilation=st.integers(1, 2),
    size=st.tuples(st.integers(5, 9), st.integers(5, 9)),
)
def test_macs_are_what_a_convolution_of_ones_adds_up(groups, inputs, outputs, kernel, stride, dilation, size):
    """Without padding, ones convolved with ones count the products of each output."""
    layer = nn.Conv2d(groups * inputs, groups * outputs, kernel, stride, 0, dilation, groups, bias=False)
    nn.init.ones_(layer.weight)
    counted = layer(torch.ones(1, groups * inputs, *size)).sum().item()
    (work,) = layer_work(nn.Sequential(layer), (groups * inputs, *size))
    assert work.macs == counted
    assert (work.filters, work.weights) == (groups * outputs, layer.weight.numel())


def test_weights_of_the_small_network_and_its_biases_are_its_parameters():
    model = reparameterize(MobileNetV1().eval())
    works = layer_work(model, (3, 32, 32))
    assert sum(work.weights + work.filters for work in works) == count_parameters(model) == 159_236
    depthwise = [work for work in works if work.weights_per_filter == 9]
    assert len(depthwise) == 11
    assert [work.output_positions for work in works][:2] == [1024, 1024]
    assert works[-1] == LayerWork("classifier", "linear", 100, 256, 256, 1)


class Everything(nn.Module):
    """A layer used twice, one never used, a linear layer over positions, and a batch normalization."""

    def __init__(self):
        super().__init__()
        self.twice, self.never = nn.Conv2d(2, 2, 1), nn.Conv2d(2, 2, 1)
        self.norm, self.per_position = nn.BatchNorm2d(2), nn.Linear(2, 5)

    def forward(self, x):
        x = self.norm(self.twice(self.twice(x)))
        return self.per_position(x.movedim(1, -1))


def test_calls_are_counted_and_not_modules():
    works = layer_work(Everything(), (2, 3, 4))
    assert [work.name for work in works] == ["twice", "twice", "per_position"]
    assert works[2] == LayerWork("per_position", "linear", 5, 2 * 12, 2, 12)


def test_model_stays_as_it_was():
    model = Everything().train()
    model.norm.eval()  # frozen statistics, as in fine-tuning
    before = {name: value.clone() for name, value in model.state_dict().items()}
    seed_everything(0)
    state = torch.get_rng_state()
    layer_work(model, (2, 3, 4))
    assert torch.equal(torch.get_rng_state(), state)
    assert {name: module.training for name, module in model.named_children()} == {
        "twice": True,
        "never": True,
        "norm": False,
        "per_position": True,
    }
    assert model.training
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    assert not any(module._forward_hooks for module in model.modules())


def test_model_stays_as_it_was_when_the_pass_fails():
    model = Everything().train()
    with pytest.raises(RuntimeError):
        layer_work(model, (3, 3, 4))
    assert all(module.training for module in model.modules())
    assert not any(module._forward_hooks for module in model.modules())


def test_double_precision_models_are_counted():
    assert layer_work(nn.Linear(3, 2).double(), (3,)) == [LayerWork("", "linear", 2, 3, 3, 1)]


def test_model_without_layers_is_refused():
    with pytest.raises(ValueError, match=r"calls no nn.Conv2d and no nn.Linear"):
        layer_work(nn.ReLU(), (3,))


class Function(nn.Module):
    """A layer, and a product that no layer makes."""

    def __init__(self, product):
        super().__init__()
        self.layer, self.product = nn.Linear(3, 3), product

    def forward(self, x):
        return self.product(self.layer, self.layer(x))


OTHER_PRODUCTS = {
    "linear": lambda layer, x: F.linear(x, layer.weight),
    "matmul": lambda layer, x: x @ layer.weight,
    "einsum": lambda layer, x: torch.einsum("nk,mk->nm", x, layer.weight),
}


@pytest.mark.parametrize("name", OTHER_PRODUCTS)
def test_products_outside_of_layers_are_refused_by_name(name):
    with pytest.raises(ValueError, match=rf"{name} \({name}\) multiplies by weights"):
        layer_work(Function(OTHER_PRODUCTS[name]), (3,))


@pytest.mark.parametrize("layer", [XnorLinear(3, 3), nn.LSTM(3, 3), nn.Bilinear(3, 3, 2)])
def test_other_layers_are_refused_by_name(layer):
    class Calling(nn.Module):
        def __init__(self):
            super().__init__()
            self.layer = layer

        def forward(self, x):
            return self.layer(x, x) if isinstance(self.layer, nn.Bilinear) else self.layer(x)

    with pytest.raises(ValueError, match=rf"layer \({type(layer).__name__}\) multiplies by weights"):
        layer_work(Calling(), (3,))


def test_a_module_at_two_places_and_a_quantized_one_are_counted():
    shared = nn.Linear(3, 3)
    model = quantize_weights(nn.Sequential(shared, shared, nn.Linear(3, 2)), lambda: UniformQuantizer(4), skip=())
    assert [(work.name, work.macs) for work in layer_work(model, (3,))] == [("0", 9), ("0", 9), ("2", 6)]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"kind": "lstm"}, "kind must be 'conv' or 'linear', got 'lstm'"),
        ({"filters": 0}, "filters must be at least 1, got 0"),
        ({"macs_per_filter": 7}, r"weights_per_filter \* output_positions = 6, got 7"),
    ],
)
def test_work_that_contradicts_itself_is_refused(change, message):
    with pytest.raises(ValueError, match=message):
        dataclasses.replace(LayerWork("a", "conv", 4, 6, 2, 3), **change)
