"""DoReFa-Net (zhou2016dorefa): few bits for weights, activations *and gradients*.

All three start from one step: ``q_k(z) = round(n z) / n`` with ``n = 2**k - 1``, which rounds a number z in [0, 1] to
one of 2^k uniformly spaced values. Weights and gradients are first mapped to [0, 1] and afterwards back to [-1, 1],
where the values are the odd multiples of 1/n: -1, …, -1/n, 1/n, …, 1. **0 is not among them.**

Rounding ties go to the even integer. The first and the last layer stay in floating point (zhou2016dorefa Sec. 2.7):
the ``skip`` of :func:`fewbits.core.quantizer.quantize_weights` and :func:`quantize_gradients` do so by
default.
"""

from functools import partial

import torch
from torch import Tensor, nn
from torch.nn.modules.linear import NonDynamicallyQuantizableLinear

from fewbits.binary import sign_codes
from fewbits.core.channels import mean_magnitude
from fewbits.core.checks import check_bits, check_finite, check_float, working_precision
from fewbits.core.codes import Codes
from fewbits.core.gradients import QuantizeGradient
from fewbits.core.quantizer import Quantizer, weight_layers
from fewbits.core.ste import straight_through


def odd_levels(bits: int) -> Tensor:
    """-n, 2 - n, …, n - 2, n for ``n = 2**bits - 1``: the 2^bits odd integers, (2**bits,) int32.

    Source: own (table of codes)
    """
    n = 2**bits - 1
    return torch.arange(-n, n + 1, 2, dtype=torch.int32)


class DoReFaWeights(Quantizer):
    """Weights ``2 q_k(tanh(w) / (2 max|tanh(w)|) + 1/2) - 1`` in [-1, 1]; with 1 bit, ``sign(w) E|w|``.

    The tanh compresses large weights, so that the few largest do not set the grid. Whatever the size of the
    weights, the result fills [-1, 1]: a normalization must follow the layer. With 1 bit there is no tanh, and the
    result keeps the mean magnitude: one number for the whole layer, where XNOR-Net has one for each filter.

    Gradient: q_k and the sign pass it unchanged; tanh and the division by the maximum are differentiated.

    Odd inputs: an all zero tensor gives what 0 rounds to, 1/n (ties go to the even integer), and with 1 bit zeros. NaN
    and ±Inf, empty tensors and other than floating point dtypes are refused. Half precision is computed in float32.

    Args:
        bits: k, 1 to 16.
    Source: zhou2016dorefa Sec. 2.3; zhou2016dorefa Sec. 2.2 (q_k); book eq-low-bitwidth-wa; book eq-low-bitwidth-qk
    """

    weights_only = True

    def __init__(self, bits: int):
        super().__init__()
        self.bits = check_bits(bits)

    def forward(self, x: Tensor) -> Tensor:
        x = working_precision(check_finite(x))
        if self.bits == 1:  # zhou2016dorefa Sec. 2.3
            sign = torch.where(x >= 0, 1.0, -1.0).to(x.dtype)
            return straight_through(x, sign * mean_magnitude(x.detach(), None))
        squashed = squash(x)  # zhou2016dorefa Sec. 2.3
        index, scale = index_and_scale(squashed.detach(), self.bits)
        return straight_through(squashed, (2 * index - (2**self.bits - 1)) * scale)

    @torch.no_grad()
    def encode(self, x: Tensor) -> Codes:
        x = working_precision(check_finite(x))
        if self.bits == 1:
            return sign_codes(x, mean_magnitude(x, None))
        index, scale = index_and_scale(squash(x), self.bits)
        return Codes(index.to(torch.int32), self.bits, scale, levels=odd_levels(self.bits).to(x.device), signed=False)

    def extra_repr(self) -> str:
        return f"bits={self.bits}"


def squash(x: Tensor) -> Tensor:
    """``tanh(x) / max|tanh(x)|``, in [-1, 1]; 0 where all of ``x`` is 0.

    Source: zhou2016dorefa Sec. 2.3
    """
    y = x.tanh()
    largest = y.abs().amax()
    return y / torch.where(largest > 0, largest, 1.0)  # zhou2016dorefa Sec. 2.3


def index_and_scale(unit: Tensor, bits: int) -> tuple[Tensor, Tensor]:
    """Of the 2^bits values in [-1, 1] the nearest to each number: its index 0 … n, and 1/n.

    Args:
        unit: any shape, in [-1, 1].
    Source: zhou2016dorefa Sec. 2.2; book eq-low-bitwidth-qk
    """
    n = 2**bits - 1
    index = torch.round(n * (unit / 2 + 0.5)).clamp_(0, n)  # zhou2016dorefa Sec. 2.2
    return index, unit.new_ones(()) / n


class DoReFaActivation(Quantizer):
    """Activations ``q_k(clip(x, 0, 1))``; the gradient passes where 0 <= x <= 1, both ends included.

    It is a non-linearity itself and replaces a ReLU, after a normalization that brings x into its range.

    Odd inputs: ``forward`` lets NaN through as NaN and saturates ±Inf, ``encode`` refuses both. Empty tensors and other
    than floating point dtypes are refused. Half precision is computed in float32.

    Args:
        bits: k, 1 to 16.
    Source: zhou2016dorefa Sec. 2.4; book eq-low-bitwidth-wa
    """

    def __init__(self, bits: int):
        super().__init__()
        self.bits = check_bits(bits)

    def forward(self, x: Tensor) -> Tensor:
        clipped = working_precision(check_float(x)).clamp(0, 1)
        steps, scale = self._steps_and_scale(clipped.detach())
        return straight_through(clipped, steps * scale)

    def encode(self, x: Tensor) -> Codes:
        steps, scale = self._steps_and_scale(working_precision(check_finite(x)).detach().clamp(0, 1))
        return Codes(steps.to(torch.int32), self.bits, scale, signed=False)

    def _steps_and_scale(self, clipped: Tensor) -> tuple[Tensor, Tensor]:
        n = 2**self.bits - 1
        # zhou2016dorefa Sec. 2.4
        return torch.round(n * clipped) + 0.0, torch.ones((), dtype=clipped.dtype, device=clipped.device) / n

    def extra_repr(self) -> str:
        return f"bits={self.bits}"


# --- Gradients -----------------------------------------------------------------------------------------------------


def gradient_codes(grad: Tensor, bits: int, noise: bool = True) -> Codes:
    """A gradient in ``bits`` bits: ``2 m (q_k(g / (2 m) + 1/2 + N) - 1/2)``, m = max|g| of each sample.

    N is drawn from torch's global generator, uniform between ±1/(2 n), n = 2^bits - 1: half a step to either side. A
    number between two neighbouring values is then rounded to either with a probability that falls with its distance,
    such that **the expectation is g itself**. Without N, rounding is deterministic, and every g smaller than m/n is
    enlarged to ±m/n, since there is no 0.

    The paper also clips q_k(…) to [0, 1]. That changes nothing but a rounding error: |g| <= m, so n times the number
    is between -1/2 and n + 1/2, and rounds to 0 … n.

    Args:
        grad: (N, …), finite; the first axis counts the samples.
        bits: k, 1 to 16.
        noise: add N.
    Returns:
        Indices into :func:`odd_levels`; scale m/n, (N, 1, …), 0 for a sample whose gradient is all zero.
    Raises:
        TypeError, ValueError: ``grad`` is not floating point, is empty, holds NaN or Inf, or has no axis of samples.
    Source: zhou2016dorefa Sec. 2.5; book eq-low-bitwidth-gradient
    """
    n = 2 ** check_bits(bits) - 1
    g = working_precision(check_finite(grad, "grad")).detach()
    if g.dim() == 0:
        raise ValueError("grad has no axis of samples: its shape is ()")
    m = g.abs().amax(tuple(range(1, g.dim())), keepdim=True) if g.dim() > 1 else g.abs()
    unit = g / torch.where(m > 0, m, 1.0)
    steps_of_noise = torch.rand_like(g) - 0.5 if noise else 0.0  # n N
    # zhou2016dorefa Sec. 2.5: n q_k(…) is the index, and 2 q_k(…) - 1 = (2 · index - n) / n the odd level over n.
    index = torch.round(n * (unit / 2 + 0.5) + steps_of_noise).clamp_(0, n)
    scale = m * (torch.ones((), dtype=g.dtype, device=g.device) / n)
    return Codes(index.to(torch.int32), bits, scale, levels=odd_levels(bits).to(grad.device), signed=False)


def quantize_gradient(grad: Tensor, bits: int, noise: bool = True) -> Tensor:
    """The decoded :func:`gradient_codes`, in the dtype of ``grad``.

    Source: zhou2016dorefa Sec. 2.5
    """
    return gradient_codes(grad, bits, noise).decode().to(grad.dtype)


def quantize_gradients(model: nn.Module, bits: int, noise: bool = True) -> nn.Module:
    """Quantize the gradient at the output of each layer of ``model`` but the first and the last, in place.

    Both products of a layer's backward pass, for its weights and for its inputs, then have low-bit operands. The
    gradient of the weights themselves, which the optimizer adds up, is not rounded. The
    quantizers are forward hooks, so the names of parameters do not change.

    Args:
        model: its linear and convolution layers count. Their outputs must have one sample per index of the first axis.
        bits: 1 to 16.
        noise: round to either neighbour with the right probability, as the paper does; else to the nearest.
    Returns:
        ``model``.
    Raises:
        ValueError: ``model`` has fewer than three such layers, so that none is left, or one is part of an
            ``nn.MultiheadAttention``, which reads its weight and never calls it.
    Source: zhou2016dorefa Alg. 1; zhou2016dorefa Sec. 2.7 (first and last layer)
    """
    check_bits(bits)
    inner = list(weight_layers(model).values())[1:-1]
    if not inner:
        raise ValueError("model has no layer between the first and the last one")
    for name, layer in weight_layers(model).items():
        if layer in inner and isinstance(layer, NonDynamicallyQuantizableLinear):
            raise ValueError(f"{name} is never called: nn.MultiheadAttention reads its weight by a function")
    for layer in inner:
        quantizer = QuantizeGradient(partial(quantize_gradient, bits=bits, noise=noise))
        layer.register_forward_hook(lambda layer, inputs, output, quantizer=quantizer: quantizer(output))
    return model
