"""Scale alignment: the same function, the cost that brute force finds, and less of it after alignment."""

import pytest
import torch
from torch import nn

from fewbits.core.powers import nearest_power
from fewbits.core.quantizer import weight_layers
from fewbits.mobileone import align_scales, rounding_cost, seen_moments


def test_two_layers_by_hand():
    """3 is halfway between 2 and 4; times about 4/3 it is 4. The next layer takes the factor back."""
    model = nn.Sequential(nn.Linear(1, 1, bias=False), nn.ReLU(), nn.Linear(1, 1)).double().eval()
    model[0].weight.data[:] = 3.0
    model[2].weight.data[:] = 8.0
    result = align_scales(model, torch.ones(3, 1).double())
    assert abs(result[0].weight.item() / 4 - 1) < 0.01 or abs(result[0].weight.item() / 2 - 1) < 0.01
    assert result[0].weight.item() * result[2].weight.item() == pytest.approx(24.0)
    assert torch.equal(result[2].bias, model[2].bias)
    assert model[0].weight.item() == 3.0


CONVOLUTIONS = {
    "full": nn.Conv2d(3, 4, 3, padding=1),
    "stride": nn.Conv2d(3, 4, 3, padding=1, stride=2),
    "depthwise": nn.Conv2d(3, 3, 3, padding=1, groups=3),
    "depthwise, stride": nn.Conv2d(3, 3, 3, padding=1, stride=2, groups=3),
    "pointwise, no bias": nn.Conv2d(3, 4, 1, bias=False),
}


@pytest.mark.parametrize("factor", [1.0, 0.8])
@pytest.mark.parametrize("name", CONVOLUTIONS)
@torch.no_grad()
def test_the_cost_is_what_the_outputs_move(name, factor):
    torch.manual_seed(0)
    model = nn.Sequential(CONVOLUTIONS[name]).double().eval()
    images = torch.randn(5, 3, 8, 8).double() + 0.5
    expected = model(images)
    cost = rounding_cost(model[0], *seen_moments(model, model[0], images), factor)
    before = {key: value.clone() for key, value in model.state_dict().items()}
    for parameter in model.parameters():
        parameter.copy_(nearest_power(parameter * factor) / factor)
    moved = (model(images) - expected).square().mean((0, 2, 3))
    torch.testing.assert_close(cost, moved, rtol=1e-9, atol=0)
    model.load_state_dict(before)


@torch.no_grad()
def test_the_cost_of_a_linear_layer():
    torch.manual_seed(0)
    layer, x = nn.Linear(6, 4).double(), torch.randn(50, 6).double() + 1
    cost = rounding_cost(layer, *seen_moments(layer, layer, x))
    rounded = x @ nearest_power(layer.weight).T + nearest_power(layer.bias)
    torch.testing.assert_close(cost, (rounded - layer(x)).square().mean(0), rtol=1e-9, atol=0)


@torch.no_grad()
def test_the_function_stays_and_rounding_costs_less(folded_network):
    model, shape = folded_network
    images = torch.rand(20, *shape).double()
    result = align_scales(model, images)
    expected = model(images)
    torch.testing.assert_close(result(images), expected, rtol=0, atol=1e-12 * expected.abs().max().item())
    first = next(iter(weight_layers(model)))
    before, after = (
        rounding_cost(layer, *seen_moments(net, layer, images))
        for net, layer in ((model, model.get_submodule(first)), (result, result.get_submodule(first)))
    )
    factor = result.get_submodule(first).weight.flatten(1)[:, 0] / model.get_submodule(first).weight.flatten(1)[:, 0]
    assert ((factor >= 0.5**0.5 - 1e-9) & (factor < 2**0.5)).all()
    # The cost is in units of the layer's own output, which was scaled.
    assert (after / factor**2 <= before * (1 + 1e-9)).all()
    assert (after / factor**2).sum() < 0.8 * before.sum()


@pytest.mark.parametrize(
    "layer",
    [
        nn.Conv2d(2, 2, 3),
        nn.Conv2d(2, 2, 3, padding=2, dilation=2),
        nn.Conv2d(4, 4, 3, padding=1, groups=2),
    ],
    ids=["no padding", "dilated", "grouped"],
)
def test_what_is_not_supported_is_refused(layer):
    model = nn.Sequential(layer, nn.ReLU(), nn.Conv2d(layer.out_channels, 1, 1)).eval()
    with pytest.raises(ValueError, match=r"moments of what Conv2d\(.*\) sees are not supported"):
        align_scales(model, torch.randn(2, layer.in_channels, 8, 8))


def test_training_mode_is_refused():
    with pytest.raises(ValueError, match="model is in training mode"):
        align_scales(nn.Sequential(nn.Linear(1, 1)), torch.ones(1, 1))


class ChangesItsInput(nn.Sequential):
    def forward(self, x):
        y = self[0](x)
        x += 100
        return y


def test_moments_are_those_of_what_the_layer_has_read():
    images = torch.randn(50, 3, generator=torch.Generator().manual_seed(0)).double()
    layer = nn.Linear(3, 2).double()
    expected = seen_moments(nn.Sequential(layer), layer, images.clone())
    for found, right in zip(seen_moments(ChangesItsInput(layer), layer, images), expected, strict=True):
        assert torch.equal(found, right)
