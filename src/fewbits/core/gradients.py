"""Gradients of few bits: the identity in the forward pass, a rule for the gradient in the backward pass."""

from collections.abc import Callable

from torch import Tensor, nn

from fewbits.core.checks import check_float
from fewbits.core.ste import round_backward


class QuantizeGradient(nn.Module):
    """The identity, whose gradient is quantized on its way back.

    Put after a linear or convolution layer, it quantizes the error from which the gradients of the layer's weight and
    of its input are computed.

    Args:
        quantizer: of the gradient, shape and dtype as the input's. Any quantizer whose range comes from its input, such
            as ``LogQuantizer(5)`` or ``UniformQuantizer(5)``, or a function, such as
            ``partial(low_bitwidth.quantize_gradient, bits=4)``. Its result is cast to the dtype of the gradient.
    Raises:
        TypeError: in the forward pass, where the input is not floating point.
        ValueError: in the backward pass, from ``quantizer``, e.g. where the gradient holds NaN or Inf.
    Source: miyashita2016 Sec. 5; zhou2016dorefa Sec. 2.5
    """

    def __init__(self, quantizer: Callable[[Tensor], Tensor]):
        super().__init__()
        self.quantizer = quantizer

    def forward(self, x: Tensor) -> Tensor:
        return round_backward(check_float(x), self.quantizer)  # miyashita2016 Sec. 5
