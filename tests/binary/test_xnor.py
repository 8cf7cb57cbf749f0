"""XNOR-Net: against brute force, brevitas, torchao, average pooling, and finite differences in float64."""

import itertools
import math

import pytest
import torch
import torch.nn.functional as F
from brevitas.core.quant import BinaryQuant
from brevitas.core.scaling import ConstScaling
from hypothesis import given
from hypothesis import strategies as st
from strategies import BAD_FLOATS, BAD_VALUES, DTYPES, same_bits, tensors
from torch import nn
from torch.autograd.functional import jacobian

from fewbits.binary import XnorConv2d, XnorLinear, XnorWeights, binarize_inputs, center_latent, input_scale
from fewbits.core.quantizer import encode_weights, quantize_weights, weight_layers, weight_quantizers
from fewbits.nets import MLP, VGGSmall


def channels(x, axis):
    return [x] if axis is None else list(x.unbind(axis))


# --- weights -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize(("shape", "axis"), [((), None), ((5,), 0), ((2, 3, 4), None), ((2, 3, 4), 0), ((2, 3, 4), -2)])
@given(data=st.data())
def test_simulated_and_stored_agree_and_take_one_bit(dtype, shape, axis, data):
    x = data.draw(tensors(dtype, shape, largest=1e30))
    quantizer = XnorWeights(channel_axis=axis)
    y, codes = quantizer(x), quantizer.encode(x)
    assert y.dtype == dtype
    assert same_bits(y, codes.decode())
    assert same_bits(quantizer(x.contiguous()), y)
    for before, after in zip(channels(x, quantizer.channel_axis), channels(y, quantizer.channel_axis), strict=True):
        alpha = math.fsum(abs(value) / before.numel() for value in before.flatten().tolist())
        assert after.abs().flatten().tolist() == pytest.approx([alpha] * before.numel(), rel=3e-7, abs=1e-44)
        assert torch.equal(after.signbit() & (after != 0), (before < 0) & (after != 0))
    scales = 1 if quantizer.channel_axis is None else x.shape[quantizer.channel_axis]
    assert len(codes.packed()) == -(-x.numel() // 8)
    assert codes.nbits == x.numel() + 32 * scales


@given(tensors(largest=1e30))
def test_quantizing_twice_changes_nothing(x):
    quantizer = XnorWeights(channel_axis=None)
    once = quantizer(x)
    assert torch.equal(quantizer(once), once)


@given(tensors(torch.float64, shape=(6,), elements=st.floats(-4, 4)))
def test_no_signs_and_scale_are_closer(x):
    """Brute force over all 64 sign vectors, each with its own best scale."""
    best = min(
        (x - (signs @ x) / 6 * signs).square().sum()
        for signs in (torch.tensor(s, dtype=torch.float64) for s in itertools.product((-1, 1), repeat=6))
    )
    error = (x - XnorWeights(channel_axis=None)(x)).square().sum()
    assert error <= best + 1e-12


@given(tensors(shape=(3, 4), largest=1e6))
def test_brevitas_gives_the_same_weights_for_the_same_scale(x):
    alpha = x.abs().mean().item()
    reference = BinaryQuant(ConstScaling(alpha))(x)[0]
    torch.testing.assert_close(XnorWeights(channel_axis=None)(x), reference, rtol=1e-6, atol=1e-30)


@pytest.mark.parametrize("axis", [None, 0])
def test_torchao_gives_the_same_weights(axis):
    from torchao.prototype.parq.quant import lsbq  # takes seconds: only when this test runs

    x = torch.randn(5, 40)
    reference = lsbq.LSBQuantizer().quantize(x, 1, dim=None if axis is None else 1)[0]
    torch.testing.assert_close(XnorWeights(channel_axis=axis)(x), reference)


def surrogate(w, at, axis):
    """The smooth part: alpha moves with the signs held fixed, and the (hard tanh) sign with alpha held fixed."""
    dims = [a for a in range(w.dim()) if axis is None or a != axis]
    signs, alpha = torch.where(at >= 0, 1.0, -1.0).double(), at.abs().mean(dims, keepdim=True)
    return w.abs().mean(dims, keepdim=True) * signs + alpha * w.clamp(-1, 1)


@pytest.mark.parametrize("axis", [None, 0, 1])
def test_the_exact_gradient_is_that_of_the_smooth_part(axis):
    generator = torch.Generator().manual_seed(3)
    w = 1.2 * torch.randn(3, 4, dtype=torch.float64, generator=generator)
    assert 0 < (w.abs() > 1).sum() < w.numel()
    ours = jacobian(XnorWeights(axis, gradient="exact"), w)
    by_autograd = jacobian(lambda v: surrogate(v, w, axis), w)
    torch.testing.assert_close(ours, by_autograd, rtol=1e-12, atol=1e-14)
    step = 1e-6
    for index in itertools.product(range(3), range(4)):
        shift = torch.zeros_like(w)
        shift[index] = step
        numeric = (surrogate(w + shift, w, axis) - surrogate(w - shift, w, axis)) / (2 * step)
        torch.testing.assert_close(ours[(..., *index)], numeric, rtol=1e-7, atol=1e-9)


@pytest.mark.parametrize("axis", [None, 0])
def test_the_papers_gradient_keeps_the_diagonal_of_the_cross_term(axis):
    w = torch.randn(3, 4, dtype=torch.float64, generator=torch.Generator().manual_seed(4))
    exact, paper = (jacobian(XnorWeights(axis, gradient=kind), w).reshape(12, 12) for kind in ("exact", "paper"))
    assert torch.equal(paper, torch.diag(paper.diagonal()))
    torch.testing.assert_close(paper.diagonal(), exact.diagonal())
    assert (exact - paper).abs().max() > 0.08  # 1/n and no less is left out


def test_both_gradients_of_three_weights_by_hand():
    """alpha = (0.5 + 2 + 0.5) / 3 = 1; the second weight lies outside the window."""
    expected = {
        # sum of g sign = 1·1 + 2·(-1) + 4·1 = 3, a third of it with the sign of the weight, plus g inside the window
        "exact": [1 + 1, -1, 1 + 4],
        "paper": [1 / 3 + 1, 2 / 3, 4 / 3 + 4],
    }
    for kind, gradient in expected.items():
        w = torch.tensor([0.5, -2.0, 0.5], requires_grad=True)
        y = XnorWeights(None, gradient=kind)(w)
        y.backward(torch.tensor([1.0, 2.0, 4.0]))
        assert y.tolist() == [1, -1, 1]
        assert w.grad.tolist() == pytest.approx(gradient)


def test_the_sign_of_zero_is_plus_and_all_zero_gives_zero():
    assert XnorWeights(None)(torch.tensor([0.0, -0.0, -3.0])).tolist() == [1.0, 1.0, -1.0]
    codes = XnorWeights(None).encode(torch.zeros(5))
    assert codes.decode().tolist() == [0.0] * 5
    assert codes.scale == 0
    assert XnorWeights(None)(torch.tensor(-2.5)) == -2.5  # one element is met exactly


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_is_computed_in_float32(dtype):
    x = torch.randn(4, 5).to(dtype)
    assert same_bits(XnorWeights()(x), XnorWeights()(x.float()))


@pytest.mark.parametrize(("x", "error", "message"), [*BAD_FLOATS.values(), *BAD_VALUES.values()])
def test_bad_weights_are_refused(x, error, message):
    for method in (XnorWeights(None), XnorWeights(None).encode):
        with pytest.raises(error, match=message):
            method(x)


def test_bad_arguments_are_refused():
    with pytest.raises(ValueError, match=r"gradient must be one of \(.*\), got 'both'"):
        XnorWeights(gradient="both")
    with pytest.raises(ValueError, match=r'gradient "released" needs a weight \(out, in, ...\), got shape \(3,\)'):
        XnorWeights(None, "released")(torch.ones(3))
    with pytest.raises(ValueError, match="channel_axis 2 is not an axis of x"):
        XnorWeights(2)(torch.ones(2, 2))


@pytest.mark.parametrize("shape", [(4, 6), (2, 5, 3, 3)])
def test_the_released_gradient_is_the_papers_times_n_and_1_minus_1_over_c(shape):
    """Written out from the authors' update of the gradient: m = α 1[|w| < 1] + 1/n, times (1 - 1/C) n."""
    torch.manual_seed(0)
    w = torch.randn(shape, dtype=torch.float64).requires_grad_()
    g = torch.randn(shape, dtype=torch.float64)
    (g * XnorWeights(gradient="released")(w)).sum().backward()
    n, channels = w[0].numel(), shape[1]
    alpha = w.detach().abs().flatten(1).mean(1).reshape(-1, *[1] * (len(shape) - 1))
    factor = (alpha * (w.detach().abs() < 1) + 1 / n) * (1 - 1 / channels) * n
    torch.testing.assert_close(w.grad, g * factor)


@given(tensors(shape=(3, 4), largest=1e3))
def test_a_scale_by_shifts_is_the_best_power_of_two(x):
    codes = XnorWeights(power_of_two=True).encode(x)
    scale = codes.scale.double().flatten()
    assert ((torch.frexp(scale).mantissa == 0.5) | (scale == 0)).all()
    rows, signs = x.double().flatten(1), (codes.values.double() * 2 - 1).flatten(1)
    for row, sign, s in zip(rows, signs, scale, strict=True):
        error = (row - s * sign).square().sum()
        for other in (s / 2, 2 * s):
            assert error <= (row - other * sign).square().sum() * (1 + 1e-6) + 1e-300
    torch.testing.assert_close(codes.decode(), XnorWeights(power_of_two=True)(x), rtol=0, atol=0)


def test_k_by_shifts_is_a_power_of_two_and_the_gradient_passes_it():
    x = torch.tensor([[3.0, -1.0, 0.5, 0.5]], dtype=torch.float64, requires_grad=True)
    layer = XnorLinear(4, 1, bias=False, power_of_two=True).double()
    layer.weight.data.fill_(1.0)
    y = layer(x)
    assert y.item() == 2 * 1.0  # two signs more of +1 than of -1, K = 1.25 becomes 1
    y.sum().backward()
    assert x.grad.abs().min() > 0
    conv = XnorConv2d(1, 1, 2, bias=False, power_of_two=True).double()
    conv.weight.data.fill_(1.0)
    image = torch.tensor([[[[3.0, 1.0], [1.0, 1.0]]]], dtype=torch.float64)
    assert conv(image).item() == 4 * 2  # K = 1.5 becomes 2


def test_centring_takes_the_mean_over_the_input_channels():
    torch.manual_seed(0)
    model = quantize_weights(nn.Sequential(nn.Conv2d(3, 4, 2), nn.Flatten(), nn.Linear(4, 5)), XnorWeights, skip=())
    before = [latent.detach().clone() for _, _, latent in weight_quantizers(model)]
    center_latent(model)
    for old, (_, _, latent) in zip(before, weight_quantizers(model), strict=True):
        torch.testing.assert_close(latent.mean(1), torch.zeros_like(latent.mean(1)), rtol=0, atol=1e-7)
        torch.testing.assert_close(old - latent, old.mean(1, keepdim=True).expand_as(old))


# --- inputs --------------------------------------------------------------------------------------------------------

GEOMETRIES = [((3, 3), 1, 0), ((3, 3), 1, 1), ((2, 3), 2, (1, 0)), ((1, 1), 1, 0), ((5, 5), 3, 2)]


@pytest.mark.parametrize(("kernel", "stride", "padding"), GEOMETRIES)
def test_k_is_the_average_pool_of_the_mean_magnitude(kernel, stride, padding):
    x = torch.randn(2, 3, 8, 9, dtype=torch.float64)
    a = x.abs().mean(1, keepdim=True)
    k = input_scale(x, kernel, stride, padding)
    try:
        expected = F.avg_pool2d(a, kernel, stride, padding)
    except RuntimeError:  # pooling refuses more padding than half a window
        expected = F.avg_pool2d(F.pad(a, (padding,) * 4), kernel, stride)
    torch.testing.assert_close(k, expected)


def test_k_of_one_window_by_hand():
    x = torch.tensor([[[[1.0, -2.0], [3.0, -4.0]], [[0.0, 2.0], [-1.0, 4.0]]]])  # A = [[0.5, 2], [2, 4]]
    assert input_scale(x, (2, 2)).item() == (0.5 + 2 + 2 + 4) / 4
    assert input_scale(x, (1, 2)).flatten().tolist() == [1.25, 3.0]


@pytest.mark.parametrize(("kernel", "stride", "padding"), GEOMETRIES)
@pytest.mark.parametrize("scale_input", [True, False])
def test_convolution_window_by_window(kernel, stride, padding, scale_input):
    layer = XnorConv2d(3, 4, kernel, stride, padding, scale_input=scale_input)
    x = torch.randn(2, 3, 8, 9)
    windows = F.unfold(x, kernel, padding=padding, stride=stride)  # (N, 3·kh·kw, places)
    products = torch.einsum("oi,nip->nop", layer.weight.flatten(1), windows.sign())
    if scale_input:
        products = products * windows.abs().mean(1, keepdim=True)
    y = layer(x)
    torch.testing.assert_close(y.flatten(2), products + layer.bias[:, None], rtol=1e-4, atol=1e-5)


def test_where_all_magnitudes_are_equal_nothing_is_lost():
    """sign(x) K is x itself: the layers are the float ones."""
    x = 0.7 * torch.randn(2, 3, 6, 6).sign()
    conv = XnorConv2d(3, 4, 3)
    torch.testing.assert_close(conv(x), F.conv2d(x, conv.weight, conv.bias))
    linear = XnorLinear(108, 5)
    torch.testing.assert_close(linear(x.flatten(1)), F.linear(x.flatten(1), linear.weight, linear.bias))


def test_linear_layer_by_hand():
    layer = XnorLinear(2, 1)
    layer.weight.data, layer.bias.data = torch.tensor([[2.0, 3.0]]), torch.tensor([10.0])
    x = torch.tensor([[-0.5, 1.5]], requires_grad=True)
    y = layer(x)
    assert y.item() == (-2 + 3) * 1 + 10
    y.backward()
    # through K: 1 (the sum) / 2 · sign(x); through the signs: w K where |x| <= 1
    assert x.grad.tolist() == [[-0.5 + 2.0, 0.5]]
    layer.scale_input = False
    assert layer(x).item() == 11
    assert XnorLinear(2, 1, bias=False, scale_input=False)(x).shape == (1, 1)


def test_each_sample_of_a_linear_layer_has_its_own_scale():
    layer, x = XnorLinear(6, 4), torch.randn(5, 3, 6)
    expected = torch.stack(
        [F.linear(row.sign(), layer.weight) * row.abs().mean() + layer.bias for row in x.view(-1, 6)]
    )
    torch.testing.assert_close(layer(x), expected.view(5, 3, 4))


def test_k_is_differentiated_as_it_stands():
    layer = XnorConv2d(2, 3, 3, padding=1).double()
    x = torch.randn(1, 2, 4, 4, dtype=torch.float64, generator=torch.Generator().manual_seed(5))

    def smooth(v):
        sums = F.conv2d(x.sign() + v.clamp(-1, 1) - x.clamp(-1, 1), layer.weight, padding=1)
        return sums * input_scale(v, (3, 3), padding=1) + layer.bias.reshape(-1, 1, 1)

    torch.testing.assert_close(jacobian(layer, x), jacobian(smooth, x))
    assert torch.autograd.gradcheck(lambda v: input_scale(v, (3, 3), 1, 1), x.requires_grad_())


def test_gradients_through_k_keep_channels_last():
    """A gradient in another layout than its input would slow every layer before it down."""
    x = torch.randn(2, 3, 5, 4, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    x = x.to(memory_format=torch.channels_last).requires_grad_()
    scale = torch.linspace(-1, 1, 2 * 4 * 3, dtype=torch.float64).view(2, 1, 4, 3)
    (found,) = torch.autograd.grad((scale * input_scale(x, (2, 2))).sum(), x)
    box = torch.full((1, 1, 2, 2), 0.25, dtype=torch.float64)
    plain = F.conv2d(x.abs().mean(1, keepdim=True), box)
    (expected,) = torch.autograd.grad((scale * plain).sum(), x)
    torch.testing.assert_close(found, expected, rtol=1e-12, atol=1e-15)
    assert found.is_contiguous(memory_format=torch.channels_last)


def test_binarize_inputs_keeps_parameters_and_the_outer_layers():
    for model in (
        MLP((12, 8, 7, 6, 5), nn.Identity, batch_norm=True),
        VGGSmall(1, 8, 5, (4, 4, 4, 4, 4, 4), nn.Identity),
    ):
        before = dict(model.named_parameters())
        x = torch.randn(3, 12) if isinstance(model, MLP) else torch.randn(3, 1, 8, 8)
        torch.manual_seed(0)
        assert binarize_inputs(model) is model
        assert torch.initial_seed() == 0
        assert all(parameter is before[name] for name, parameter in model.named_parameters())
        kinds = [type(layer) for layer in weight_layers(model).values()]
        assert kinds[0] in (nn.Linear, nn.Conv2d)
        assert kinds[-1] is nn.Linear
        assert all(kind in (XnorLinear, XnorConv2d) for kind in kinds[1:-1])
        quantize_weights(model, XnorWeights)
        model(x).sum().backward()
        assert list(encode_weights(model)) == list(weight_layers(model))[1:-1]
        with pytest.raises(TypeError, match=r"must be a plain nn.Linear or nn.Conv2d, got Parametrized"):
            binarize_inputs(model)


def test_layers_that_cannot_have_a_k_are_refused():
    with pytest.raises(ValueError, match="needs groups=1 and padding with zeros, got 2 and 'zeros'"):
        XnorConv2d(4, 4, 3, groups=2)
    with pytest.raises(ValueError, match="got 1 and 'circular'"):
        XnorConv2d(4, 4, 3, padding=1, padding_mode="circular")
    grouped = nn.Sequential(nn.Conv2d(1, 4, 3), nn.Conv2d(4, 4, 3, groups=2), nn.Conv2d(4, 1, 3))
    with pytest.raises(ValueError, match="needs groups=1"):
        binarize_inputs(grouped)
    with pytest.raises(TypeError, match=r"1 must be a plain nn.Linear or nn.Conv2d, got Conv1d"):
        binarize_inputs(nn.Sequential(nn.Linear(2, 2), nn.Conv1d(1, 1, 1), nn.Linear(2, 2)))


@pytest.mark.parametrize("activation", [nn.ReLU, nn.ReLU6, nn.Sigmoid])
def test_a_layer_after_an_activation_that_is_never_negative_is_refused(activation):
    model = nn.Sequential(nn.Conv2d(1, 2, 3), activation(), nn.MaxPool2d(2), nn.Conv2d(2, 2, 3), nn.Conv2d(2, 1, 1))
    with pytest.raises(ValueError, match=rf"3 \(Conv2d\) gets its inputs from 1 \({activation.__name__}\)"):
        binarize_inputs(model)
    assert type(model[3]) is nn.Conv2d
    model[2] = nn.BatchNorm2d(2)  # centres them again
    assert type(binarize_inputs(model)[3]) is XnorConv2d


def test_a_layer_at_two_places_becomes_binary_at_both():
    shared = nn.Linear(4, 4)
    model = binarize_inputs(nn.Sequential(nn.Linear(4, 4), shared, nn.Identity(), shared, nn.Linear(4, 4)))
    assert isinstance(model[1], XnorLinear)
    assert model[3] is model[1]
