"""Convolutions, look-up products and the packed network against torch and NumPy."""

import numpy as np
import pytest
import strategies  # noqa: F401  (loads the profile)
import torch
import torch.nn.functional as F
from bitwise_inputs import OUTPUTS, SEEDS, random_codes, random_signs, random_words
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from fewbits.binary import BinaryConnect, SignActivation, XnorWeights
from fewbits.bitwise.conv import conv3x3, prepare_conv
from fewbits.bitwise.lut import lut_gemm, lut_gemv, prepare_lut
from fewbits.bitwise.network import pack_network
from fewbits.bitwise.pack import sign_words
from fewbits.core.packing import pack_signs
from fewbits.core.quantizer import quantize_weights
from fewbits.nets import MLP
from fewbits.uniform import UniformQuantizer

# --- Convolution ------------------------------------------------------------------------------------------------------


def torch_conv(images: np.ndarray, kernels: np.ndarray) -> np.ndarray:
    """NHWC images and (O, 3, 3, C) kernels through torch in float64."""
    x, w = (torch.from_numpy(a).double().permute(0, 3, 1, 2) for a in (images, kernels))
    return F.conv2d(x, w, padding=1).permute(0, 2, 3, 1).numpy()


@pytest.mark.parametrize("threads", [1, 2])
def test_convolution_equals_torch(path, threads):
    sides = st.integers(1, 6)

    @given(st.integers(1, 3), sides, sides, st.sampled_from([1, 63, 64, 65, 130]), OUTPUTS, SEEDS)
    def check(batch, height, width, channels, filters, seed):
        images, kernels = (
            random_signs(seed, batch, height, width, channels),
            random_signs(seed, filters, 3, 3, channels),
        )
        weights = prepare_conv(sign_words(kernels), channels)
        out = conv3x3(sign_words(images), weights, threads)
        assert out.dtype == np.int32
        assert np.array_equal(out, torch_conv(images, kernels))

    check()


def test_a_border_without_correction_is_wrong(path):
    """Padding with -1 is not padding with 0: only pixels inside agree."""
    images, kernels = random_signs(0, 1, 5, 5, 64), random_signs(1, 3, 3, 3, 64)
    minus = np.pad(images, ((0, 0), (1, 1), (1, 1), (0, 0)), constant_values=-1)
    x, w = (torch.from_numpy(a).permute(0, 3, 1, 2) for a in (minus, kernels))
    wrong = F.conv2d(x, w).permute(0, 2, 3, 1).numpy()
    out = conv3x3(sign_words(images), prepare_conv(sign_words(kernels), 64))
    assert np.array_equal(out[:, 1:-1, 1:-1], wrong[:, 1:-1, 1:-1])
    assert not np.array_equal(out, wrong)


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda: prepare_conv(np.ones((2, 3, 3, 1), np.int64), 64), TypeError, "words must be uint64"),
        (lambda: prepare_conv(random_words(0, 2, 5, 5, 1), 64), ValueError, "words must be"),
        (lambda: prepare_conv(random_words(0, 2, 3, 3, 1), 65), ValueError, "65 channels take 2 words"),
        (
            lambda: conv3x3(random_words(0, 1, 4, 4, 2), prepare_conv(random_words(0, 2, 3, 3, 1), 64)),
            ValueError,
            "images must be",
        ),
        (
            lambda: conv3x3(np.ones((1, 4, 4, 1)), prepare_conv(random_words(0, 2, 3, 3, 1), 64)),
            TypeError,
            "images must be uint64",
        ),
    ],
)
def test_bad_input_to_convolution(call, error, message):
    with pytest.raises(error, match=message):
        call()


# --- Look-up products -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("bits", [1, 2, 3, 4, 8])
def test_look_ups_equal_integers(path, bits):
    counts = st.sampled_from([1, 3, 4, 5, 8, 63, 64, 65, 200, 513])

    @given(st.sampled_from([1, 2, 4, 9, 13]), OUTPUTS, counts, SEEDS, st.integers(0, 5))
    def check(rows, outputs, count, seed, activation_bits):
        activations, codes = random_codes(seed, activation_bits, rows, count), random_codes(seed, bits, outputs, count)
        weights = prepare_lut(codes, bits)
        want = activations.astype(int) @ codes.astype(int).T
        assert np.array_equal(lut_gemm(activations, weights), want)
        assert np.array_equal(lut_gemv(activations[0], weights), want[0])

    check()


@pytest.mark.parametrize("largest", [1, 15, 31])
def test_long_sums_of_look_ups_do_not_overflow(path, largest):
    count = 70_000  # at the largest activation more than sums of 16 bits can hold, many times over
    activations, codes = np.full((1, count), largest, np.uint8), np.full((3, count), 3, np.uint8)
    assert (lut_gemm(activations, prepare_lut(codes, 2)) == 3 * largest * count).all()


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda: prepare_lut(np.ones(3, np.uint8), 1), ValueError, "codes must be a matrix"),
        (lambda: prepare_lut(np.full((1, 3), 2, np.uint8), 1), ValueError, "codes must be below 2"),
        (
            lambda: lut_gemv(np.full(3, 32, np.uint8), prepare_lut(np.ones((1, 3), np.uint8), 1)),
            ValueError,
            "at most 31, got 32",
        ),
        (
            lambda: lut_gemv(np.ones(4, np.uint8), prepare_lut(np.ones((1, 3), np.uint8), 1)),
            ValueError,
            r"activations must be \(M, 3\)",
        ),
        (
            lambda: lut_gemv(np.ones(3, np.int8), prepare_lut(np.ones((1, 3), np.uint8), 1)),
            TypeError,
            "activations must be uint8",
        ),
    ],
)
def test_bad_input_to_look_ups(call, error, message):
    with pytest.raises(error, match=message):
        call()


# --- Network ----------------------------------------------------------------------------------------------------------


def small_network(seed: int) -> nn.Sequential:
    """A BinaryNet with statistics and weights of the normalization as training leaves them, of either sign."""
    generator = torch.Generator().manual_seed(seed)
    model = quantize_weights(MLP((50, 70, 33, 4), SignActivation, batch_norm=True), BinaryConnect, skip=())
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.copy_(torch.randn(parameter.shape, generator=generator))
        for norm in (module for module in model if isinstance(module, nn.BatchNorm1d)):
            norm.running_mean.copy_(3 * torch.randn(norm.num_features, generator=generator))
            norm.running_var.copy_(50 * torch.rand(norm.num_features, generator=generator) + 1)
            norm.weight[0] = 0  # such a unit is constant
    return model.eval()


@torch.no_grad()
@pytest.mark.parametrize("seed", [0, 1, 2])
@pytest.mark.parametrize("threads", [1, 2])
def test_packed_network_equals_torch(path, seed, threads):
    model = small_network(seed)
    pixels = random_codes(seed, 8, 30, 50)
    packed = pack_network(model, 2 / 255, -1.0)
    layer, signs = torch.from_numpy(pixels).double() * (2 / 255) - 1, []
    for module in list(model.double())[1:]:
        layer = module(layer)
        if isinstance(module, SignActivation):
            signs.append(pack_signs(layer))
    for ours, theirs in zip(packed.hidden(pixels, threads), signs, strict=True):
        assert np.array_equal(ours, theirs)
    assert np.allclose(packed(pixels, threads), layer, atol=1e-5)
    assert packed.nbytes() == 8 * (70 * 1 + 33 * 2 + 4 * 1)


def test_networks_of_another_kind_are_refused():
    with pytest.raises(ValueError, match="weights must be"):
        pack_network(MLP((5, 6, 2), SignActivation, batch_norm=True).eval(), 1.0, 0.0)
    layers = (nn.Flatten(), nn.Linear(5, 6), nn.BatchNorm1d(6), SignActivation(), nn.Linear(6, 2))
    with_bias = quantize_weights(nn.Sequential(*layers), BinaryConnect, skip=())
    with pytest.raises(ValueError, match=r"^1 \(Linear\): hidden layers must be without bias"):
        pack_network(with_bias, 1.0, 0.0)
    with pytest.raises(ValueError, match=r"model must be .*; got 0 \(Linear\)"):
        pack_network(nn.Sequential(nn.Linear(3, 3)), 1.0, 0.0)


def packable(sign: nn.Module | None = None, norm: nn.Module | None = None) -> nn.Sequential:
    layers = nn.Linear(5, 6, bias=False), norm or nn.BatchNorm1d(6), sign or SignActivation(), nn.Linear(6, 2)
    return quantize_weights(nn.Sequential(nn.Flatten(), *layers), BinaryConnect, skip=()).eval()


class Residual(nn.Module):
    def __init__(self):
        super().__init__()
        self.body = packable()

    def forward(self, x):
        for layer in list(self.body)[:4]:
            x = layer(x)
        return self.body[4](x + x)


def test_what_only_looks_like_a_binary_network_is_refused_by_name():
    assert len(pack_network(packable(), 1.0, 0.0).layers) == 2
    with pytest.raises(ValueError, match=r"^3 \(UniformQuantizer\) is no sign"):
        pack_network(packable(UniformQuantizer(2)), 1.0, 0.0)
    with pytest.raises(ValueError, match=r"^2 \(BatchNorm1d\) must be a BatchNorm1d with running statistics"):
        pack_network(packable(norm=nn.BatchNorm1d(6, track_running_stats=False)), 1.0, 0.0)
    with pytest.raises(ValueError, match="in evaluation mode"):
        pack_network(packable().train(), 1.0, 0.0)
    last = packable()
    last[4] = nn.Linear(6, 2)  # has no codes
    with pytest.raises(ValueError, match=r"^4 \(Linear\): the weights must be sign codes of scale 1"):
        pack_network(last, 1.0, 0.0)
    last = packable()
    last[4] = quantize_weights(nn.Linear(6, 2), XnorWeights, skip=())  # signs with scales
    with pytest.raises(ValueError, match=r"^4 \(Linear\): the weights must be sign codes of scale 1"):
        pack_network(last, 1.0, 0.0)
    with pytest.raises(ValueError, match="model is no chain"):
        pack_network(Residual().eval(), 1.0, 0.0)


@torch.no_grad()
def test_a_normalization_without_gamma_and_beta(path):
    model = packable(norm=nn.BatchNorm1d(6, affine=False))
    model[2].running_mean.copy_(torch.randn(6))
    pixels = random_codes(0, 8, 40, 5)
    assert np.allclose(pack_network(model, 1.0, 0.0)(pixels), model(torch.from_numpy(pixels).float()), atol=1e-5)


@torch.no_grad()
def test_a_normalization_after_the_last_layer_becomes_a_factor_and_a_bias(path):
    torch.manual_seed(0)
    model = nn.Sequential(*packable(), nn.BatchNorm1d(2)).eval()
    model[-1].running_mean.copy_(torch.tensor([2.0, -3.0]))
    model[-1].running_var.copy_(torch.tensor([4.0, 9.0]))
    model[-1].weight.copy_(torch.tensor([0.5, -2.0]))
    model[-1].bias.copy_(torch.tensor([0.1, 0.2]))
    pixels = random_codes(0, 8, 40, 5)
    assert np.allclose(pack_network(model, 1.0, 0.0)(pixels), model(torch.from_numpy(pixels).float()), atol=1e-5)
