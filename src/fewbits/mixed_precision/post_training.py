"""Bits without training: which layers and filters suffer, and steps taken from the distribution of each filter.

Both need a trained network and no gradient; the distribution-based step (sasaki2019) needs no data either.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize

from fewbits.core.channels import channel_rows
from fewbits.core.checks import check_bits, check_channel_axis, check_finite, working_precision
from fewbits.core.filter_codes import FilterCodes, nearest_code
from fewbits.core.quantizer import LinearOrConv, Quantizer, weight_layers
from fewbits.core.ste import straight_through


class DistributionQuantizer(Quantizer):
    """A step per filter, proportional to the standard deviation of its weights; bits follow from the largest weight.

    ``step = ratio * σ``, codes reach to ``K = max|w| / step`` (rounded, at least 1), and a filter takes
    ``ceil(log2(K + 1)) + 1`` bits. So all filters lose about the same share of their power, ratio² / 12, and a filter
    with far outliers takes more bits. We do not have the article (sasaki2019): step and bits are our reading of its
    title and of the authors' later ones.

    A filter that would need more than ``max_bits`` gets the smallest step with which it does not. σ is taken around the
    mean. An all-zero filter has step 1 and 2 bits. The gradient passes unchanged. Quantizing twice may change a result,
    as σ changes. Half precision is computed in float32; NaN and ±Inf, empty tensors and other dtypes are refused.

    Args:
        ratio: step in standard deviations, > 0; one number for the whole network.
        channel_axis: the axis of the filters.
        max_bits: 2 to 16.
    Raises:
        ValueError: ``ratio`` is not positive and finite, or ``max_bits`` is out of range.
    Source: sasaki2019 (title only); own (step and bits); uhlich2020 Sec. 4 (formula of the bits)
    """

    weights_only = True

    def __init__(self, ratio: float, channel_axis: int = 0, max_bits: int = 8):
        super().__init__()
        if not 0 < ratio < torch.inf:
            raise ValueError(f"ratio must be positive and finite, got {ratio}")
        self.ratio, self.channel_axis, self.max_bits = ratio, channel_axis, check_bits(max_bits, 2, "max_bits")

    @torch.no_grad()
    def steps_and_bits(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Step of each filter, broadcastable to ``x``, and its bits, (C,) int64."""
        shape = check_channel_axis(check_finite(x), self.channel_axis)
        rows = channel_rows(x, self.channel_axis).double()
        largest = rows.abs().amax(1)
        step = torch.maximum(self.ratio * rows.std(1, correction=0), largest / (2 ** (self.max_bits - 1) - 1))
        # Not below the smallest normal number: a subnormal step loses digits, or becomes 0 in the dtype of x.
        step = torch.where(step > 0, step, 1.0).to(x.dtype).clamp(min=torch.finfo(x.dtype).tiny)
        last = nearest_code(largest.to(x.dtype), step).clamp(min=1)
        return step.reshape(shape), torch.frexp(last).exponent.long() + 1  # digits of K, and a sign

    def forward(self, x: Tensor) -> Tensor:
        x = working_precision(check_finite(x))
        step, _ = self.steps_and_bits(x.detach())
        return straight_through(x, nearest_code(x.detach(), step) * step + 0.0)

    @torch.no_grad()
    def encode(self, x: Tensor) -> FilterCodes:
        x = working_precision(check_finite(x))
        step, bits = self.steps_and_bits(x)
        return FilterCodes(nearest_code(x, step).to(torch.int32), bits, step, self.channel_axis)

    def extra_repr(self) -> str:
        return f"ratio={self.ratio:g}, channel_axis={self.channel_axis}, max_bits={self.max_bits}"


# --- Sensitivity -----------------------------------------------------------------------------------------------------

Score = Callable[[nn.Module], float]


def layer_sensitivity(model: nn.Module, make_quantizer: Callable[[], Quantizer], score: Score) -> dict[str, float]:
    """``score(model)`` with the weights of one layer alone quantized, by layer name. ``model`` is left as it was.

    Args:
        model: in floating point. Layers that hold the same weight are quantized together.
        make_quantizer: returns a new quantizer at each call.
        score: e.g. accuracy or loss on some images.
    Raises:
        ValueError: a weight is quantized already.
    Source: wu2020 Sec. 5.1 (one layer at a time); own (any quantizer and score)
    """
    found = {}
    for name, layer in weight_layers(model).items():
        _refuse_quantized(name, layer)
        with _weight_of(layer, make_quantizer()(layer.weight.detach())):
            found[name] = score(model)
    return found


def filter_sensitivity(
    model: nn.Module, layer_name: str, make_quantizer: Callable[[], Quantizer], score: Score
) -> list[float]:
    """``score(model)`` with one filter of one layer alone quantized, in the order of its filters.

    The quantizer sees the whole weight, so a quantizer with one step per tensor uses that step.

    Raises:
        ValueError: ``model`` has no such layer, or its weight is quantized already.
    Source: own (one filter at a time)
    """
    layers = weight_layers(model)
    if layer_name not in layers:
        raise ValueError(f"layer_name {layer_name!r} is no layer; the layers are {list(layers)}")
    layer, found = layers[layer_name], []
    _refuse_quantized(layer_name, layer)
    before = layer.weight.detach().clone()
    quantized = make_quantizer()(before)
    for index in range(len(before)):
        changed = before.clone()
        changed[index] = quantized[index]
        with _weight_of(layer, changed):
            found.append(score(model))
    return found


def _refuse_quantized(name: str, layer: LinearOrConv) -> None:
    if parametrize.is_parametrized(layer, "weight"):
        raise ValueError(f"the weight of {name!r} is quantized already, so that another cannot be put in its place")


@contextmanager
def _weight_of(layer: LinearOrConv, weight: Tensor) -> Iterator[None]:
    before = layer.weight.detach().clone()
    try:
        with torch.no_grad():
            layer.weight.copy_(weight)
        yield
    finally:
        with torch.no_grad():
            layer.weight.copy_(before)
