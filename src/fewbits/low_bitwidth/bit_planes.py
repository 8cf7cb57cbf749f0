"""DoReFa-Net's training step on packed bits: all three products of a convolution count bits.

zhou2016dorefa quantizes gradients so that the backward pass, too, can run on bit operations. :class:`BitPlaneConv2d`
does that with the kernels of :mod:`fewbits.bitwise`, and its twin with ``on_bits=False`` does the same integer
arithmetic in float64, where it is exact: the two agree bit for bit.

**Odd levels are sums of signs.** A weight or a gradient with the index i in ``bits`` bits stands for the odd number
``2 i - n``, n = 2^bits - 1. As n = 1 + 2 + 4 + …, that is ``sum over b of 2^b (2 i_b - 1)``: bit b of the index is the
sign of 2^b. So a product of two such numbers takes XNOR and counts; a product with an activation, which is unsigned,
takes AND and counts.

**What stays in floating point.** The scale of a gradient is one number for each sample. The product for the weights
sums over positions and samples: the positions of one sample are summed by counting, and the samples by a multiplication
and an addition for each weight. In a fully connected layer a sample has one position, so nothing would be left to
count; therefore only convolutions are here. The first and the last layer, normalization, the rounding of the gradients
(their maximum and the noise), the tanh of the latent weights and their update stay in floating point, too.
"""

from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from fewbits.bitwise.gemm import prepare, signs_gemm, xnor_gemm
from fewbits.bitwise.pack import bit_planes
from fewbits.core.checks import check_bits, check_finite
from fewbits.core.codes import Codes
from fewbits.low_bitwidth.dorefa import DoReFaWeights, gradient_codes

_MOST = 2**31 - 1  # of the int32 in which the kernels sum


class BitPlaneConv2d(nn.Module):
    """A convolution of stride 1 without bias whose forward and backward products are those of few-bit integers.

    Weights are those of :class:`DoReFaWeights`, gradients those of :func:`gradient_codes`; the input must be the output
    of a ``DoReFaActivation(activation_bits)``. Input (N, inputs, H, W), output (N, outputs, H', W'), H' = H + 2 padding
    - kernel_size + 1. For the backward pass the layer keeps the packed codes of its input, ``activation_bits`` for each
    number.

    Args:
        inputs, outputs: channels.
        kernel_size, padding: of the kernel, a square; padding adds zeros.
        weight_bits, activation_bits, gradient_bits: 1 to 8.
        noise: round gradients to either neighbour with the right probability, else to the nearest.
        on_bits: count bits; else the same integers in float64. On a CPU in either case.
    Raises:
        ValueError: a number of bits is out of range; in the forward pass, if ``x`` has another shape or is not on the
            grid, or a sum could exceed 31 bits.
    Source: zhou2016dorefa Alg. 1; zhou2016dorefa Sec. 2.1; own (signs for odd levels); book eq-low-bitwidth-odd
    """

    def __init__(
        self,
        inputs: int,
        outputs: int,
        kernel_size: int = 3,
        padding: int = 1,
        *,
        weight_bits: int,
        activation_bits: int,
        gradient_bits: int,
        noise: bool = True,
        on_bits: bool = True,
    ):
        super().__init__()
        for name, bits in (("weight_bits", weight_bits), ("activation_bits", activation_bits)):
            if check_bits(bits) > 8:
                raise ValueError(f"{name} must lie between 1 and 8, got {bits}")
        if check_bits(gradient_bits) > 8:
            raise ValueError(f"gradient_bits must lie between 1 and 8, got {gradient_bits}")
        self.weight = nn.Parameter(nn.Conv2d(inputs, outputs, kernel_size, bias=False).weight.detach())
        self.quantizer = DoReFaWeights(weight_bits)
        self.weight_bits, self.activation_bits, self.gradient_bits = weight_bits, activation_bits, gradient_bits
        self.padding, self.noise, self.on_bits = padding, noise, on_bits

    def forward(self, x: Tensor) -> Tensor:
        # The quantized weight only carries the gradient to the latent one; what is multiplied are its codes.
        return _Convolution.apply(x, self.quantizer(self.weight), self)

    def input_codes(self, x: Tensor) -> Tensor:
        """The codes of an input, uint8.

        Raises:
            ValueError: ``x`` is not on the grid, or does not have the shape (N, inputs, H, W).
        """
        if x.dim() != 4 or x.shape[1] != self.weight.shape[1]:  # whole words are packed: a channel less may go unseen
            raise ValueError(f"x must have the shape (N, {self.weight.shape[1]}, H, W), got {tuple(x.shape)}")
        n = 2**self.activation_bits - 1
        codes = torch.round(check_finite(x) * n)
        on_grid = torch.equal(codes * (x.new_ones(()) / n), x) and bool((codes >= 0).all() and (codes <= n).all())
        if not on_grid:
            raise ValueError(f"x must be the output of DoReFaActivation({self.activation_bits})")
        return codes.to(torch.uint8)

    def extra_repr(self) -> str:
        outputs, inputs, size, _ = self.weight.shape
        bits = f"bits={self.weight_bits}/{self.activation_bits}/{self.gradient_bits}"
        return f"{inputs}, {outputs}, kernel_size={size}, padding={self.padding}, {bits}, on_bits={self.on_bits}"


class _Convolution(torch.autograd.Function):
    """Integers and scales of the three products; the integers come from `Bits` or `Floats`."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, layer: BitPlaneConv2d) -> Tensor:
        codes, form = layer.input_codes(x), layer.quantizer.encode(layer.weight)
        products = Bits if layer.on_bits else Floats
        index = form.values.to(torch.uint8)
        largest = (2**layer.weight_bits - 1) * (2**layer.activation_bits - 1)
        _check_sum(index[0].numel(), largest)
        sums = products.outputs(codes, layer.activation_bits, index, layer.weight_bits, layer.padding)
        packed = bit_planes(codes.flatten(1).numpy(), layer.activation_bits)
        ctx.kept = layer, packed, codes.shape, index, form, products
        return sums.to(x.dtype) * (form.scale / (2**layer.activation_bits - 1))

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, Tensor, None]:
        layer, packed, shape, index, form, products = ctx.kept
        codes = torch.from_numpy(unpacked(packed, shape[1:].numel())).reshape(shape)
        gradient: Codes = gradient_codes(grad, layer.gradient_bits, layer.noise)
        g, largest = gradient.values.to(torch.uint8), 2**layer.gradient_bits - 1
        _check_sum(index[:, 0].numel(), largest * (2**layer.weight_bits - 1))
        _check_sum(g[0, 0].numel(), largest * (2**layer.activation_bits - 1))
        of_inputs = products.of_inputs(g, layer.gradient_bits, index, layer.weight_bits, layer.padding)
        of_inputs = of_inputs.to(grad.dtype) * (gradient.scale.to(grad.dtype) * form.scale)
        size = index.shape[-1]
        of_weights = products.of_weights(g, layer.gradient_bits, codes, layer.activation_bits, size, layer.padding).to(
            grad.dtype
        )
        scales = gradient.scale.flatten().to(grad.dtype) / (2**layer.activation_bits - 1)
        return of_inputs, (scales @ of_weights.flatten(1)).reshape(index.shape), None  # samples: in floating point


def _check_sum(terms: int, largest: int) -> None:
    if terms * largest > _MOST:
        raise ValueError(f"a sum of {terms} products up to {largest} could exceed 31 bits: take fewer bits")


# --- The products, on bits ------------------------------------------------------------------------------------------


class Bits:
    """The three products of integers by counting bits; all arguments are codes, uint8, all results int32.

    Source: zhou2016dorefa Sec. 2.1; own (signs for odd levels); book eq-low-bitwidth-odd
    """

    @staticmethod
    def outputs(codes: Tensor, bits: int, index: Tensor, weight_bits: int, padding: int) -> Tensor:
        """Sums of activation codes times odd weights: (N, I, H, W) and (O, I, k, k) to (N, O, H', W')."""
        rows = patches(codes.numpy(), index.shape[-1], padding)
        count, height, width, length = rows.shape
        inputs = bit_planes(rows.reshape(-1, length), bits)
        signs = bit_planes(index.flatten(1).numpy(), weight_bits)
        # zhou2016dorefa Sec. 2.1
        sums = sum(signs_gemm(inputs, prepare(plane)) << b for b, plane in enumerate(signs))
        # In the memory order of the simulated sums: in another one, a normalization would add up in another order.
        return torch.from_numpy(np.asarray(sums)).reshape(count, height, width, -1).movedim(-1, 1).contiguous()

    @staticmethod
    def of_inputs(g: Tensor, bits: int, index: Tensor, weight_bits: int, padding: int) -> Tensor:
        """Sums of odd gradients times odd weights: (N, O, H', W') and (O, I, k, k) to (N, I, H, W)."""
        count, outputs, height, width = g.shape
        rows = bit_planes(np.ascontiguousarray(g.movedim(1, -1).numpy()).reshape(-1, outputs), bits)
        columns = bit_planes(np.ascontiguousarray(index.flatten(1).T.numpy()), weight_bits)
        sums = np.zeros((rows.shape[1], columns.shape[1]), np.int32)
        for c, plane in enumerate(columns):
            weights = prepare(plane)
            for b, row in enumerate(rows):
                sums += xnor_gemm(row, weights, outputs) << (b + c)  # book eq-low-bitwidth-odd
        return _folded(sums.reshape(count, height, width, *index.shape[1:]), padding)

    @staticmethod
    def of_weights(g: Tensor, bits: int, codes: Tensor, activation_bits: int, size: int, padding: int) -> Tensor:
        """Sums over positions, for each sample: (N, O, H', W') and (N, I, H, W) to (N, O, I k k)."""
        rows = patches(codes.numpy(), size, padding)
        rows = rows.reshape(len(rows), -1, rows.shape[-1]).transpose(0, 2, 1)
        powers = (1 << np.arange(bits, dtype=np.int32))[:, None]
        found = []
        for of_sample, gradient in zip(rows, g.flatten(2).numpy(), strict=True):
            inputs = bit_planes(np.ascontiguousarray(of_sample), activation_bits)
            signs = bit_planes(np.ascontiguousarray(gradient), bits)  # (bits, O, words): all of them as rows
            sums = signs_gemm(inputs, prepare(signs.reshape(-1, signs.shape[-1])))
            found.append((sums.reshape(len(sums), bits, -1) * powers).sum(1, dtype=np.int32).T)
        return torch.from_numpy(np.stack(found))


class Floats:
    """The same products in float64, in which these integers are exact: the simulated step.

    Source: own (reference for `Bits`)
    """

    @staticmethod
    def outputs(codes: Tensor, bits: int, index: Tensor, weight_bits: int, padding: int) -> Tensor:
        return F.conv2d(codes.double(), odd(index, weight_bits), padding=padding).to(torch.int32)

    @staticmethod
    def of_inputs(g: Tensor, bits: int, index: Tensor, weight_bits: int, padding: int) -> Tensor:
        return F.conv_transpose2d(odd(g, bits), odd(index, weight_bits), padding=padding).to(torch.int32)

    @staticmethod
    def of_weights(g: Tensor, bits: int, codes: Tensor, activation_bits: int, size: int, padding: int) -> Tensor:
        columns = F.unfold(codes.double(), size, padding=padding)
        return (odd(g, bits).flatten(2) @ columns.transpose(1, 2)).to(torch.int32)


def odd(index: Tensor, bits: int) -> Tensor:
    """The odd numbers ``2 i - n`` that indices stand for, float64.

    Source: book eq-low-bitwidth-odd
    """
    # book eq-low-bitwidth-odd
    return 2 * index.double() - (2**bits - 1)


def patches(codes: np.ndarray, size: int, padding: int) -> np.ndarray:
    """The inputs of a kernel at each place: (N, I, H, W) to (N, H', W', I size size).

    Source: own (a convolution as a matrix product)
    """
    around = ((0, 0), (0, 0), (padding, padding), (padding, padding))
    seen = np.lib.stride_tricks.sliding_window_view(np.pad(codes, around), (size, size), axis=(2, 3))
    count, _, height, width = seen.shape[:4]
    return np.ascontiguousarray(seen.transpose(0, 2, 3, 1, 4, 5)).reshape(count, height, width, -1)


def _folded(sums: np.ndarray, padding: int) -> Tensor:
    """Sum the contributions of all places of the kernel to each input: (N, H', W', I, k, k) to (N, I, H, W)."""
    count, height, width, channels, size, _ = sums.shape
    out = np.zeros((count, channels, height + size - 1, width + size - 1), np.int32)
    for y in range(size):
        for x in range(size):
            out[:, :, y : y + height, x : x + width] += sums[..., y, x].transpose(0, 3, 1, 2)
    inside = slice(padding, -padding or None)
    return torch.from_numpy(np.ascontiguousarray(out[:, :, inside, inside]))


def unpacked(planes: np.ndarray, count: int) -> np.ndarray:
    """The inverse of :func:`fewbits.bitwise.pack.bit_planes`: (bits, N, words) to (N, ``count``) uint8.

    Source: own (packed codes)
    """
    bits = np.unpackbits(planes.view(np.uint8), axis=-1, bitorder="little")[..., :count]
    return np.asarray(sum(plane << b for b, plane in enumerate(bits)), np.uint8)
