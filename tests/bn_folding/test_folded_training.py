"""BN folded during training: the same numbers as BN beside the layer, gradients too, and a merge that is exact."""

import copy

import pytest
import torch
from torch import nn

from fewbits.bn_folding import FoldedLayer, fold_batch_norm, fold_in_training, merge_folded
from fewbits.core.quantizer import Quantizer, quantize_weights
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


# Networks of other people


class Computes(nn.Module):
    """``forward`` is what it is given, of itself and x; one convolution and two normalizations to do it with."""

    def __init__(self, forward):
        super().__init__()
        self.conv, self.bn, self.other = nn.Conv2d(3, 3, 3, padding=1), nn.BatchNorm2d(3), nn.BatchNorm2d(3)
        self.compute = forward

    def forward(self, x):
        return self.compute(self, x)


def with_statistics(model: nn.Module) -> nn.Module:
    for bn in model.modules():
        if isinstance(bn, nn.BatchNorm2d):
            bn.running_mean.normal_()
            bn.running_var.uniform_(0.5, 2)
    return model.eval()


@pytest.mark.parametrize(
    "forward",
    [
        lambda net, x: net.bn(net.conv(x)) + net.conv(torch.relu(x)),
        lambda net, x: net.other(net.conv(net.bn(net.conv(x)))),
        lambda net, x: net.bn(net.bn(net.conv(x))),
        lambda net, x: net.bn(net.conv(x)) * net.conv.weight.mean(),
        lambda net, x: net.bn(y := net.conv(x)) + y,
    ],
    ids=["layer on two paths", "layer twice", "BN twice", "weight read", "output read"],
)
def test_layers_that_do_more_are_left_alone(forward):
    torch.manual_seed(0)
    model, x = with_statistics(Computes(forward)), torch.randn(4, 3, 6, 6)
    training = fold_in_training(model, Transparent)
    assert not any(isinstance(module, FoldedLayer) for module in training.modules())
    assert torch.equal(training(x), model(x))


@pytest.mark.parametrize("mode", ["zeros", "reflect", "replicate", "circular"])
def test_padding_is_that_of_the_layer(mode):
    torch.manual_seed(0)
    model = with_statistics(nn.Sequential(nn.Conv2d(3, 4, 3, padding=1, padding_mode=mode), nn.BatchNorm2d(4)))
    training, x = fold_in_training(model, Transparent), torch.randn(8, 3, 6, 6)
    torch.testing.assert_close(training(x), model(x), rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(merge_folded(training)(x), model(x), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("options", [{"eps": 0.1}, {"momentum": None}, {"affine": False}])
@pytest.mark.parametrize("frozen", [False, True])
def test_a_batch_norm_keeps_its_own_settings_and_mode(options, frozen):
    torch.manual_seed(0)
    model = with_statistics(nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4, **options))).double()
    x = torch.randn(8, 3, 6, 6).double()
    training = fold_in_training(model, Transparent)
    for net in (model.train(), training.train()):
        for bn in net.modules():
            if isinstance(bn, nn.BatchNorm2d):
                bn.train(not frozen)
        net(x)  # the second call sees the statistics of the first, where they move
    torch.testing.assert_close(training(x), model(x))
    torch.testing.assert_close(training.eval()(x), model.eval()(x))


def test_it_moves_and_is_saved_like_any_module():
    layer, bn, x = pair("conv")
    model = FoldedLayer(layer, bn, UniformQuantizer(8, channel_axis=0).double()).train()
    model(x)
    model.freeze()
    model.float()
    other = FoldedLayer(*pair("conv")[:2], UniformQuantizer(8, channel_axis=0)).float()
    other.load_state_dict(model.state_dict())
    assert other.frozen
    assert torch.equal(other.train()(x.float()), model.train()(x.float()))
    assert copy.deepcopy(model).frozen


def test_modes_are_inherited():
    model = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4))
    for training in (True, False):
        folded = fold_in_training(model.train(training), Transparent)
        assert all(module.training is training for module in folded.modules())


def test_a_model_that_is_the_layer():
    folded = FoldedLayer(nn.Linear(4, 4), nn.BatchNorm1d(4), UniformQuantizer(8)).eval()
    x = torch.randn(3, 4)
    assert torch.equal(merge_folded(folded)(x), folded(x))
    assert type(fold_in_training(nn.Linear(4, 4), Transparent)) is nn.Linear


def test_a_layer_at_two_places_is_replaced_at_both():
    conv, bn = nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4)
    model = nn.Sequential(conv, bn)
    model.extra = conv
    training = fold_in_training(model, Transparent)
    assert training[0] is training.extra
    merged = merge_folded(training)
    assert merged[0] is merged.extra


def test_what_cannot_be_folded_is_refused():
    with pytest.raises(ValueError, match=r"1 \(BatchNorm1d\) after 0 \(Linear\): .* no running statistics"):
        fold_in_training(nn.Sequential(nn.Linear(3, 3), nn.BatchNorm1d(3, track_running_stats=False)), Transparent)
    quantized = quantize_weights(
        nn.Sequential(nn.Linear(3, 3), nn.BatchNorm1d(3)), lambda: UniformQuantizer(4), skip=()
    )
    with pytest.raises(ValueError, match=r"1 \(BatchNorm1d\) after 0 .*: layer has a quantized weight"):
        fold_in_training(quantized, Transparent)
    with pytest.raises(ValueError, match="layer has 3 output channels, bn has 4"):
        FoldedLayer(nn.Linear(3, 3), nn.BatchNorm1d(4), Transparent())
    with pytest.raises(ValueError, match=r"x must be \(N, K\)"):
        FoldedLayer(nn.Linear(3, 3), nn.BatchNorm1d(3), Transparent())(torch.zeros(2, 3, 3))
