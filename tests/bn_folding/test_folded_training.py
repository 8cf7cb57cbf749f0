"""BN folded during training: the same numbers as BN beside the layer, gradients too, and a merge that is exact."""

import pytest
import torch
from torch import nn

from fewbits.bn_folding import FoldedLayer, fold_batch_norm, fold_in_training, merge_folded
from fewbits.core.quantizer import Quantizer
from fewbits.nets import VGGSmall
from fewbits.uniform import UniformQuantizer

LAYERS = {
    "conv": (lambda: nn.Conv2d(3, 4, 3, 2, 1, bias=False), (8, 3, 5, 5), nn.BatchNorm2d),
    "depthwise": (lambda: nn.Conv2d(4, 4, 3, padding=1, groups=4), (8, 4, 5, 5), nn.BatchNorm2d),
    "linear": (lambda: nn.Linear(6, 4), (8, 6), nn.BatchNorm1d),
}


class Transparent(Quantizer):
    """Quantizes nothing, so that only the folding remains."""

    def forward(self, x):
        return x


def pair(kind: str) -> tuple[nn.Module, nn.Module, torch.Tensor]:
    make, shape, norm = LAYERS[kind]
    torch.manual_seed(0)
    layer, bn = make().double(), norm(4).double()
    nn.init.uniform_(bn.weight, -2, 2)
    nn.init.normal_(bn.bias)
    return layer, bn, torch.randn(shape).double()


@pytest.mark.parametrize("kind", LAYERS)
def test_without_quantizer_it_is_layer_and_norm(kind):
    """Outputs, all gradients and the running statistics of a training step, and outputs in evaluation mode."""
    results = []
    for folded in (False, True):
        layer, bn, x = pair(kind)
        model = FoldedLayer(layer, bn, Transparent()) if folded else nn.Sequential(layer, bn)
        y = model.train()(x)
        y.square().mul(torch.arange(y.numel()).reshape(y.shape)).sum().backward()
        parameters = [layer.weight, bn.weight, bn.bias]
        results.append([y, *(p.grad for p in parameters), bn.running_mean, bn.running_var, model.eval()(x)])
    for expected, actual in zip(*results, strict=True):
        torch.testing.assert_close(actual, expected, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("kind", LAYERS)
def test_the_folded_weight_is_on_its_grid_and_merges_exactly(kind):
    layer, bn, x = pair(kind)
    model = FoldedLayer(layer, bn, UniformQuantizer(4, channel_axis=0).double())
    model.train()(x)
    merged = model.eval().merge()
    assert torch.equal(merged(x), model(x))
    plain = fold_batch_norm(layer, bn.eval())
    torch.testing.assert_close(merged.parametrizations.weight.original, plain.weight, rtol=1e-12, atol=0)
    assert all(row.unique().numel() <= 15 for row in merged.weight.flatten(1))
    # Quantizing first and folding afterwards gives another weight wherever the scale is one per tensor.
    coarse = UniformQuantizer(4)
    bn_first = coarse(layer.weight) * (plain.weight / layer.weight)
    assert bn_first.unique().numel() > 15


def test_frozen_statistics_stay_and_count_in_training():
    layer, bn, x = pair("conv")
    model = FoldedLayer(layer, bn, UniformQuantizer(8, channel_axis=0).double()).train()
    model(x)
    assert not torch.equal(model(x), model.eval()(x))
    model.train().freeze()
    before = bn.running_mean.clone()
    y = model(3 * x)
    assert torch.equal(bn.running_mean, before)
    assert torch.equal(y, model.eval()(3 * x))
    y.sum().backward()
    assert bn.weight.grad.abs().min() > 0


def test_a_network_of_the_book():
    torch.manual_seed(0)
    model = VGGSmall(1, 8, 10, (4, 4, 4, 4, 4, 4))
    images = torch.rand(16, 1, 8, 8)
    training = fold_in_training(model, lambda: UniformQuantizer(4, channel_axis=0)).train()
    training(images)
    folded = [module for module in training.modules() if isinstance(module, FoldedLayer)]
    assert len(folded) == 6
    assert not any(isinstance(m, nn.BatchNorm2d) for name, m in training.named_modules() if not name.endswith(".bn"))
    merged = merge_folded(training)
    assert not any(isinstance(module, (nn.BatchNorm2d, FoldedLayer)) for module in merged.modules())
    assert torch.equal(merged(images), training.eval()(images))
