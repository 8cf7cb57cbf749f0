"""Folding against the unfolded network in float64, against torch's own fusion, and against a sum done by hand."""

import copy

import pytest
import torch
import torch.nn.functional as F
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from torch import nn
from torch.nn.utils.fusion import fuse_conv_bn_eval, fuse_linear_bn_eval

from fewbits.bn_folding import bn_scale_shift, channel_ranges, fold_batch_norm, fold_model
from fewbits.core.quantizer import quantize_weights
from fewbits.uniform import UniformQuantizer

CONVOLUTIONS = {1: (nn.Conv1d, nn.BatchNorm1d), 2: (nn.Conv2d, nn.BatchNorm2d)}


def random_bn(kind, channels, *, eps=1e-5, affine=True, smallest_variance=1e-3, generator=None):
    """A BN in eval mode, float64, with statistics and factors that no training would give."""
    bn = kind(channels, eps=eps, affine=affine).double().eval()
    bn.running_mean.normal_(0, 3, generator=generator)
    bn.running_var.uniform_(0, 1, generator=generator).pow_(6).add_(smallest_variance)
    if affine:
        with torch.no_grad():
            bn.weight.normal_(0, 2, generator=generator)  # about half of them negative
            bn.bias.normal_(0, 2, generator=generator)
            bn.weight[0] = 0.0
    return bn


def magnitude(layer, bn, x):
    """The sum of the magnitudes that cancel in ``bn(layer(x))``: what a relative rounding error is relative to."""
    sizes = copy.deepcopy(layer)
    with torch.no_grad():
        for p in sizes.parameters():
            p.abs_()
        scale, _ = bn_scale_shift(bn)
        per_channel = (1, -1, *[1] * (x.dim() - 2))
        beta = 0 if bn.bias is None else bn.bias.abs().reshape(per_channel)
        return scale.abs().reshape(per_channel) * (sizes(x.abs()) + bn.running_mean.abs().reshape(per_channel)) + beta


@torch.no_grad()
def assert_folds_exactly(layer, bn, x):
    difference = (fold_batch_norm(layer, bn)(x) - bn(layer(x))).abs()
    assert (difference <= 1e-12 * magnitude(layer, bn, x)).all()


@st.composite
def convolutions(draw):
    """A convolution of any kind, and an input for it."""
    dims = draw(st.sampled_from([1, 2]))
    groups = draw(st.integers(1, 3))
    channels_in, channels_out = groups * draw(st.integers(1, 3)), groups * draw(st.integers(1, 3))
    if draw(st.booleans()):  # depthwise
        groups, channels_out = channels_in, channels_in * draw(st.integers(1, 2))
    kernel = draw(st.integers(1, 3))
    padding_mode = draw(st.sampled_from(["zeros", "reflect", "replicate", "circular"]))
    torch.manual_seed(draw(st.integers(0, 2**16)))
    conv, norm = CONVOLUTIONS[dims]
    layer = conv(
        channels_in,
        channels_out,
        kernel,
        stride=draw(st.integers(1, 2)),
        padding=draw(st.integers(0, 1)),
        dilation=draw(st.integers(1, 2)),
        groups=groups,
        bias=draw(st.booleans()),
        padding_mode=padding_mode,
    )
    return layer.double(), norm, torch.randn(draw(st.integers(1, 3)), channels_in, *[draw(st.integers(5, 8))] * dims)


EPS = st.sampled_from([1e-8, 1e-5, 1e-3, 0.1])
VARIANCES = st.sampled_from([0.0, 1e-30, 1e-12, 1e-3])


@settings(max_examples=150, deadline=None)
@given(convolutions(), EPS, VARIANCES, st.booleans())
def test_folded_convolution_equals_the_pair(case, eps, smallest_variance, affine):
    layer, norm, x = case
    bn = random_bn(norm, layer.out_channels, eps=eps, affine=affine, smallest_variance=smallest_variance)
    assert_folds_exactly(layer, bn, x.double())


@settings(max_examples=60, deadline=None)
@given(st.integers(1, 9), st.integers(1, 9), st.integers(1, 4), EPS, VARIANCES, st.booleans(), st.booleans())
def test_folded_linear_layer_equals_the_pair(inputs, outputs, batch, eps, smallest_variance, affine, bias):
    layer = nn.Linear(inputs, outputs, bias=bias).double()
    bn = random_bn(nn.BatchNorm1d, outputs, eps=eps, affine=affine, smallest_variance=smallest_variance)
    assert_folds_exactly(layer, bn, torch.randn(batch, inputs).double())


@settings(max_examples=60, deadline=None)
@given(convolutions(), EPS, st.booleans())
def test_convolution_agrees_with_torch(case, eps, affine):
    layer, norm, _ = case
    bn = random_bn(norm, layer.out_channels, eps=eps, affine=affine)
    ours, theirs = fold_batch_norm(layer, bn), fuse_conv_bn_eval(layer.eval(), bn)
    torch.testing.assert_close(ours.weight, theirs.weight, rtol=1e-14, atol=0)
    torch.testing.assert_close(ours.bias, theirs.bias, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("bias", [True, False])
def test_linear_agrees_with_torch(bias):
    layer, bn = nn.Linear(5, 4, bias=bias).double(), random_bn(nn.BatchNorm1d, 4)
    ours, theirs = fold_batch_norm(layer, bn), fuse_linear_bn_eval(layer.eval(), bn)
    torch.testing.assert_close(ours.weight, theirs.weight, rtol=1e-14, atol=0)
    torch.testing.assert_close(ours.bias, theirs.bias, rtol=1e-12, atol=1e-12)


def by_hand(gamma, beta, mean, var, eps=0.0):
    bn = nn.BatchNorm1d(len(gamma), eps=eps).eval()
    with torch.no_grad():
        for tensor, values in zip(
            (bn.weight, bn.bias, bn.running_mean, bn.running_var), (gamma, beta, mean, var), strict=True
        ):
            tensor.copy_(torch.tensor(values))
    return bn


def test_two_by_two_by_hand():
    layer = nn.Linear(2, 2)
    with torch.no_grad():
        layer.weight.copy_(torch.tensor([[1.0, 2.0], [-1.0, 3.0]]))
        layer.bias.copy_(torch.tensor([0.5, -1.0]))
    bn = by_hand(gamma=[2.0, -1.0], beta=[1.0, 0.0], mean=[3.0, 2.0], var=[4.0, 0.25])
    scale, shift = bn_scale_shift(bn)
    assert scale.tolist() == [1.0, -2.0]  # 2/√4, −1/√0.25
    assert shift.tolist() == [-2.0, 4.0]  # 1 − 1·3, 0 − (−2)·2
    folded = fold_batch_norm(layer, bn)
    assert folded.weight.tolist() == [[1.0, 2.0], [2.0, -6.0]]
    assert folded.bias.tolist() == [-1.5, 6.0]  # 1·0.5 − 2, −2·(−1) + 4
    x = torch.tensor([[1.0, 1.0]])
    assert folded(x).tolist() == bn(layer(x)).tolist() == [[1.5, 2.0]]


def test_gamma_zero_leaves_beta():
    bn = by_hand(gamma=[0.0, 1.0], beta=[0.75, 0.0], mean=[5.0, 0.0], var=[0.0, 1.0], eps=1e-5)
    folded = fold_batch_norm(nn.Linear(3, 2), bn)
    assert folded.weight[0].abs().max() == 0
    assert folded.bias[0] == 0.75


def test_scale_and_shift_without_affine():
    bn = nn.BatchNorm2d(2, affine=False, eps=0.0).eval()
    bn.running_mean.copy_(torch.tensor([1.0, -2.0]))
    bn.running_var.copy_(torch.tensor([4.0, 0.25]))
    scale, shift = bn_scale_shift(bn)
    assert (scale.tolist(), shift.tolist()) == ([0.5, 2.0], [-0.5, 4.0])


def test_layer_and_bn_stay_as_they_were():
    layer, bn = nn.Conv2d(2, 3, 3, bias=False), random_bn(nn.BatchNorm2d, 3).float()
    before = copy.deepcopy((layer.state_dict(), bn.state_dict()))
    folded = fold_batch_norm(layer, bn)
    with torch.no_grad():
        folded.weight.zero_()
    for state, module in zip(before, (layer, bn), strict=True):
        assert all(torch.equal(state[name], value) for name, value in module.state_dict().items())
    assert layer.bias is None


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
def test_dtype_of_the_layer_is_kept(dtype):
    folded = fold_batch_norm(nn.Conv2d(2, 3, 3, dtype=dtype), random_bn(nn.BatchNorm2d, 3).float())
    assert folded.weight.dtype == folded.bias.dtype == dtype


# What is refused


def test_train_mode_is_refused():
    with pytest.raises(ValueError, match="train mode"):
        fold_batch_norm(nn.Linear(2, 3), nn.BatchNorm1d(3))


def test_bn_without_running_statistics_is_refused():
    bn = nn.BatchNorm1d(3, track_running_stats=False).eval()
    with pytest.raises(ValueError, match="track_running_stats"):
        fold_batch_norm(nn.Linear(2, 3), bn)
    with pytest.raises(ValueError, match="track_running_stats"):
        fold_model(nn.Sequential(nn.Linear(2, 3), bn))


def test_quantized_weight_is_refused():
    model = nn.Sequential(nn.Linear(2, 3), nn.BatchNorm1d(3)).eval()
    quantize_weights(model, lambda: UniformQuantizer(4), skip=())
    with pytest.raises(ValueError, match="fold before quantizing"):
        fold_batch_norm(*model)
    with pytest.raises(ValueError, match="fold before quantizing"):
        fold_model(model)


@pytest.mark.parametrize("channels", [1, 2, 4])
def test_mismatched_channels_are_refused(channels):
    with pytest.raises(ValueError, match=f"3 output channels, bn has {channels}"):
        fold_batch_norm(nn.Conv2d(2, 3, 1), nn.BatchNorm2d(channels).eval())


@pytest.mark.parametrize("layer", [nn.ReLU(), nn.ConvTranspose2d(2, 3, 1), nn.Conv3d(2, 3, 1)])
def test_other_layers_are_refused(layer):
    with pytest.raises(TypeError, match="layer must be"):
        fold_batch_norm(layer, nn.BatchNorm2d(3).eval())


def test_other_norms_are_refused():
    with pytest.raises(TypeError, match="bn must be"):
        fold_batch_norm(nn.Linear(2, 3), nn.LayerNorm(3))


@pytest.mark.parametrize(("field", "value"), [("running_mean", torch.nan), ("running_var", -1.0), ("running_var", 0.0)])
def test_bn_that_is_not_finite_is_refused(field, value):
    bn = nn.BatchNorm1d(3, eps=0.0).eval()
    getattr(bn, field)[1] = value
    with pytest.raises(ValueError, match="NaN or Inf"):
        bn_scale_shift(bn)


# Whole models


class Net(nn.Module):
    """Two inputs' worth of layers and a forward pass given by the test."""

    def __init__(self, forward):
        super().__init__()
        self.conv = nn.Conv2d(3, 3, 3, padding=1)
        self.bn = random_bn(nn.BatchNorm2d, 3)
        self.linear = nn.Linear(3, 3)
        self.bn1d = random_bn(nn.BatchNorm1d, 3)
        self.call = forward

    def forward(self, x):
        return self.call(self, x)


STRUCTURES = {
    "folds": (lambda net, x: net.bn(net.conv(x)), 1),
    "folds, by keyword": (lambda net, x: net.bn(input=net.conv(x)), 1),
    "folds, BN used before a sum": (lambda net, x: x + net.bn(net.conv(x)).relu(), 1),
    "folds, linear": (lambda net, x: net.bn1d(net.linear(x.mean((2, 3)))), 1),
    "folds both": (lambda net, x: net.bn1d(net.linear(net.bn(net.conv(x)).mean((2, 3)))), 2),
    "output of the layer shared": (lambda net, x: net.bn(y := net.conv(x)) + y, 0),
    "output changed in place": (lambda net, x: net.bn(net.conv(x).add_(1)), 0),
    "BN first": (lambda net, x: net.conv(net.bn(x)), 0),
    "BN after ReLU": (lambda net, x: net.bn(F.relu(net.conv(x))), 0),
    "layer called twice": (lambda net, x: net.bn(net.conv(net.conv(x))), 0),
    "BN called twice": (lambda net, x: net.bn(net.bn(net.conv(x))), 0),
    "weight read elsewhere": (lambda net, x: net.bn(net.conv(x)) * net.conv.weight.mean(), 0),
    "BN of a sum": (lambda net, x: net.bn(x + net.conv(x)), 0),
}


@pytest.mark.parametrize("name", STRUCTURES)
def test_every_structure_is_exact_and_only_the_right_ones_fold(name):
    torch.manual_seed(1)
    forward, folds = STRUCTURES[name]
    model = Net(forward).double().eval()
    folded = fold_model(model)
    x = torch.randn(4, 3, 6, 6).double()
    with torch.no_grad():
        expected, actual = model(x), folded(x)
    assert (actual - expected).abs().max() <= 1e-12 * expected.abs().max()
    assert sum(isinstance(module, nn.Identity) for module in folded.modules()) == folds


def test_layer_registered_twice_is_exact():
    layer, bn = nn.Linear(3, 3), random_bn(nn.BatchNorm1d, 3)
    model = nn.Sequential(layer, bn, layer, nn.ReLU()).double().eval()
    x = torch.randn(4, 3).double()
    torch.testing.assert_close(fold_model(model)(x), model(x), rtol=1e-12, atol=0)


def test_tied_weights_are_untied_only_where_folded():
    first, second = nn.Linear(3, 3), nn.Linear(3, 3)
    second.weight = first.weight
    model = nn.Sequential(first, random_bn(nn.BatchNorm1d, 3), second).double().eval()
    folded, x = fold_model(model), torch.randn(4, 3).double()
    torch.testing.assert_close(folded(x), model(x), rtol=1e-12, atol=1e-12)
    assert torch.equal(folded[2].weight, second.weight)


def deep_model():
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Sequential(nn.Conv2d(1, 4, 3, bias=False), random_bn(nn.BatchNorm2d, 4), nn.ReLU()),
        nn.Sequential(nn.Conv2d(4, 8, 3, groups=4), random_bn(nn.BatchNorm2d, 8), nn.ReLU(), nn.Flatten()),
        nn.Sequential(nn.Linear(128, 5), random_bn(nn.BatchNorm1d, 5)),
    ).double()


def test_deep_model_in_train_mode_folds_as_in_eval_mode():
    model, x = deep_model().train(), torch.randn(8, 1, 8, 8).double()
    state = copy.deepcopy(model.state_dict())
    folded = fold_model(model)
    assert model.training
    assert not any(module.training for module in folded.modules())
    assert all(torch.equal(state[name], value) for name, value in model.state_dict().items())
    expected = model.eval()(x)
    assert (folded(x) - expected).abs().max() <= 1e-12 * expected.abs().max()
    assert not any(isinstance(module, nn.BatchNorm1d | nn.BatchNorm2d) for module in folded.modules())


def test_state_of_a_folded_model_loads_into_another_and_folding_twice_changes_nothing():
    folded, x = fold_model(deep_model()), torch.randn(2, 1, 8, 8).double()
    other = fold_model(deep_model())
    with torch.no_grad():
        for p in other.parameters():
            p.zero_()
    other.load_state_dict(folded.state_dict(), strict=True)
    again = fold_model(other)
    assert torch.equal(again(x), folded(x))
    assert not [name for name in folded.state_dict() if "running" in name]


def test_folded_model_quantizes_and_trains():
    model = quantize_weights(fold_model(deep_model()), lambda: UniformQuantizer(4, channel_axis=0), skip=())
    model(torch.randn(2, 1, 8, 8).double()).sum().backward()
    assert all(p.grad is not None for p in model.parameters())


def test_float32_folding_keeps_the_predictions():
    model = deep_model().float().eval()
    x = torch.randn(256, 1, 8, 8)
    with torch.no_grad():
        expected, actual = model(x), fold_model(model)(x)
    assert (actual - expected).abs().max() <= 1e-5 * expected.abs().max()
    gap = expected.topk(2).values.diff().abs().squeeze(1)
    assert torch.equal(actual.argmax(1)[gap > 1e-4], expected.argmax(1)[gap > 1e-4])


class Standardized(nn.Conv2d):
    def forward(self, x):
        return self._conv_forward(x, (self.weight - self.weight.mean()) / self.weight.std(), self.bias)


def test_a_layer_with_a_forward_of_its_own_is_left_alone():
    model = nn.Sequential(Standardized(3, 3, 3), random_bn(nn.BatchNorm2d, 3)).double().eval()
    x = torch.randn(4, 3, 6, 6).double()
    assert torch.equal(fold_model(model)(x), model(x))
    with pytest.raises(TypeError, match="layer must be"):
        fold_batch_norm(*model)
    hooked = nn.Sequential(nn.Linear(3, 3), random_bn(nn.BatchNorm1d, 3)).double().eval()
    hooked[0].register_forward_hook(lambda module, inputs, output: 2 * output)
    assert torch.equal(fold_model(hooked)(x[0, 0, :3, :3]), hooked(x[0, 0, :3, :3]))


def test_the_model_itself_may_be_a_layer_or_a_batch_norm():
    for model in (nn.Linear(3, 3), nn.BatchNorm1d(3)):
        assert type(fold_model(model)) is type(model)


def test_what_cannot_be_folded_is_named():
    with pytest.raises(ValueError, match=r"0.1 \(BatchNorm1d\) after 0.0 \(Linear\): layer has 3 output channels"):
        fold_model(nn.Sequential(nn.Sequential(nn.Linear(2, 3), nn.BatchNorm1d(4))))


def test_branching_on_values_is_refused():
    with pytest.raises(ValueError, match="Net: the forward pass cannot be read"):
        fold_model(Net(lambda net, x: net.bn(net.conv(x)) if x.sum() > 0 else x))


@given(st.integers(1, 4), st.integers(1, 3))
def test_channel_ranges_by_brute_force(channels, inputs):
    weight = torch.randn(channels, inputs, 2, 2)
    assume(weight.abs().max() > 0)
    expected = [max(abs(value) for value in weight[j].flatten().tolist()) for j in range(channels)]
    assert channel_ranges(weight).tolist() == expected
