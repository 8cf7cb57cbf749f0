"""The training step on packed bits against the same integers in float64, and against plain autograd."""

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given
from hypothesis import strategies as st
from strategies import same_bits

from fewbits.bitwise.pack import bit_planes
from fewbits.low_bitwidth import DoReFaActivation, DoReFaWeights, quantize_gradient
from fewbits.low_bitwidth.bit_planes import BitPlaneConv2d, _check_sum, odd, patches, unpacked

SHAPES = st.tuples(
    st.integers(1, 3),  # samples
    st.sampled_from([1, 2, 7, 65]),  # inputs
    st.sampled_from([1, 3, 66]),  # outputs
    st.integers(3, 9),  # height
    st.integers(3, 9),  # width
    st.sampled_from([(1, 0), (3, 0), (3, 1), (2, 1)]),  # size of the kernel, padding
)


def twins(shape, bits, noise=True, seed=0) -> tuple[BitPlaneConv2d, BitPlaneConv2d]:
    """The layer on bits, and the simulated one with the same weights."""
    _, inputs, outputs, _, _, (size, padding) = shape
    names = ("weight_bits", "activation_bits", "gradient_bits")
    made = []
    for on_bits in (True, False):
        torch.manual_seed(seed)
        of_bits = dict(zip(names, bits, strict=True))
        made.append(BitPlaneConv2d(inputs, outputs, size, padding, **of_bits, noise=noise, on_bits=on_bits))
    return made[0], made[1]


def step(layer: BitPlaneConv2d, shape, seed: int) -> list[torch.Tensor]:
    """Output, gradient of the input before its quantizer, and gradient of the latent weight."""
    samples, inputs, _, height, width, _ = shape
    generator = torch.Generator().manual_seed(seed)
    dtype = layer.weight.dtype
    x = (2 * torch.rand(samples, inputs, height, width, generator=generator, dtype=torch.float64) - 0.5).to(dtype)
    x.requires_grad_()
    y = layer(DoReFaActivation(layer.activation_bits)(x))
    torch.manual_seed(seed)  # the noise
    y.backward(torch.randn(y.shape, generator=generator, dtype=torch.float64).to(dtype))
    assert x.grad is not None
    assert layer.weight.grad is not None
    return [y.detach(), x.grad, layer.weight.grad]


@given(SHAPES, st.tuples(*[st.sampled_from([1, 2, 3, 8])] * 3), st.booleans(), st.integers(0, 10**6))
def test_a_step_on_bits_equals_the_simulated_step_bit_for_bit(shape, bits, noise, seed):
    on_bits, simulated = twins(shape, bits, noise, seed)
    for ours, theirs in zip(step(on_bits, shape, seed), step(simulated, shape, seed), strict=True):
        assert same_bits(ours, theirs)
        assert ours.is_contiguous() == theirs.is_contiguous()  # else what follows would sum in another order


@pytest.mark.parametrize("on_bits", [True, False])
@pytest.mark.parametrize("bits", [(1, 2, 6), (2, 1, 4), (3, 3, 3)])
def test_a_step_is_that_of_the_quantizers_and_autograd(bits, on_bits):
    shape = (3, 4, 5, 6, 7, (3, 1))
    layer = twins(shape, bits)[not on_bits].double()
    found = step(layer, shape, 1)

    class Round(torch.autograd.Function):
        @staticmethod
        def forward(ctx, y):
            return y.clone()

        @staticmethod
        def backward(ctx, grad):
            return quantize_gradient(grad, bits[2])

    weight = layer.weight.detach().clone().requires_grad_()

    class Plain(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.weight, self.activation_bits = weight, bits[1]

        def forward(self, x):
            return Round.apply(F.conv2d(x, DoReFaWeights(bits[0])(weight), padding=1))

    for ours, theirs in zip(found, step(Plain(), shape, 1), strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-12, atol=1e-13)


def test_an_odd_level_is_a_sum_of_signs():
    index = torch.arange(16, dtype=torch.uint8)
    signs = [(2 * ((index.int() >> b) & 1) - 1) * 2**b for b in range(4)]
    assert torch.equal(sum(signs).double(), odd(index, 4))


@given(st.integers(1, 8), st.integers(1, 140), st.integers(0, 10**6))
def test_packed_codes_come_back(bits, count, seed):
    codes = torch.randint(2**bits, (3, count), generator=torch.Generator().manual_seed(seed), dtype=torch.uint8).numpy()
    assert (unpacked(bit_planes(codes, bits), count) == codes).all()


def test_patches_are_those_of_unfold():
    codes = torch.randint(4, (2, 3, 5, 4), dtype=torch.uint8)
    seen = torch.from_numpy(patches(codes.numpy(), 3, 1)).flatten(1, 2).transpose(1, 2)
    assert torch.equal(seen.double(), F.unfold(codes.double(), 3, padding=1))


def test_what_is_kept_for_the_backward_pass_is_packed():
    layer = twins((2, 64, 3, 8, 8, (3, 1)), (1, 2, 6))[0]
    x = DoReFaActivation(2)(torch.rand(2, 64, 8, 8))
    packed = layer(x).grad_fn.kept[1]
    assert packed.nbytes == x.numel() * 2 / 8


@pytest.mark.parametrize("bad", [0.3, 1.5, -1.0])
def test_an_input_off_the_grid_is_refused(bad):
    layer = twins((1, 1, 1, 3, 3, (3, 1)), (1, 2, 6))[0]
    x = torch.zeros(1, 1, 3, 3)
    x[0, 0, 1, 1] = bad
    with pytest.raises(ValueError, match="x must be the output of DoReFaActivation"):
        layer(x)


@pytest.mark.parametrize("shape", [(1, 2, 5, 5), (1, 4, 5, 5), (3, 5, 5)])
def test_an_input_of_another_shape_is_refused(shape):
    """Two channels and three fill the same words: without a check the products would be wrong in silence."""
    for layer in twins((1, 3, 1, 5, 5, (3, 1)), (1, 2, 6)):
        with pytest.raises(ValueError, match=r"x must have the shape \(N, 3, H, W\)"):
            layer(torch.ones(shape))


@pytest.mark.parametrize("bits", [(9, 1, 1), (1, 9, 1), (1, 1, 9), (0, 1, 1)])
def test_bits_out_of_range_are_refused(bits):
    with pytest.raises(ValueError, match="bits"):
        twins((1, 1, 1, 3, 3, (3, 1)), bits)


def test_a_sum_that_could_wrap_around_is_refused():
    _check_sum(33_025, 255 * 255)
    with pytest.raises(ValueError, match="could exceed 31 bits"):
        _check_sum(33_026, 255 * 255)
