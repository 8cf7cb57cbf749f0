"""Cross-layer equalization: the ranges of wide and narrow channels are balanced, without data (nagel2019).

A ReLU passes a positive factor through: ``relu(s x) = s relu(x)``. So output channel j of one layer may be divided by
any ``s_j > 0``, if what the next layer does with that channel is multiplied by it. With ``s_j = sqrt(r1_j / r2_j)``,
where r1 is the channel's range in the first layer and r2 in the second, both ranges become ``sqrt(r1_j r2_j)``.
"""

import copy
import math

import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize

from fewbits.bn_folding.folding import channel_ranges
from fewbits.core.channels import per_channel
from fewbits.core.graph import read
from fewbits.core.quantizer import LinearOrConv, weight_layers

_TRANSPARENT = ("relu", "identity", "max_pool2d", "dropout", "pad")  # f(s x) = s f(x) for s > 0, channel by channel


def input_ranges(layer: LinearOrConv) -> Tensor:
    """Largest magnitude of the weights that read each input channel: (C,); of a depthwise layer that of its outputs.

    Source: nagel2019 Sec. 4.1
    """
    if is_depthwise(layer):
        return channel_ranges(layer.weight)
    return channel_ranges(layer.weight.transpose(0, 1))


def is_depthwise(layer: nn.Module) -> bool:
    """Whether each output channel of ``layer`` reads the input channel of the same number and no other.

    Source: own (kind of layer)
    """
    return isinstance(layer, nn.Conv2d) and layer.groups == layer.in_channels == layer.out_channels > 1


def equalizable_pairs(model: nn.Module) -> list[tuple[str, str]]:
    """Names of layers (first, second) such that only ReLU, max-pool and the like come between them.

    Nothing else reads what the first one gives, and both can be changed for this pair alone: a layer that is called
    twice, shares its weight or has a forward of its own is in no pair. A grouped layer that is not depthwise cannot be
    the second.

    Raises:
        ValueError: a layer of a pair has a quantized weight, or the forward pass cannot be read.
    Source: own (reading of the graph)
    """
    network = read(model)
    pairs = []
    for call in network.calls:
        after, pads = call.only_user, False
        while after is not None and after.op in _TRANSPARENT:
            pads = pads or after.op == "pad"
            after = after.only_user
        first, second = call.layer, None if after is None else after.layer
        if after is None or first is None or second is None or network.sharing(call) or network.sharing(after):
            continue
        if pads and not isinstance(first, nn.Conv2d):
            continue  # without a batch, or with one axis only, channels would be padded
        for name, layer in ((call, first), (after, second)):
            if parametrize.is_parametrized(layer):
                raise ValueError(f"{name} has a quantized weight: change its scale before it is quantized")
        same_axes = second.weight.dim() == first.weight.dim()
        if same_axes and (second.weight.shape[1] == len(first.weight) or is_depthwise(second)):
            pairs.append((call.name, after.name))
    return pairs


@torch.no_grad()
def equalize(model: nn.Module, tolerance: float = 1e-3, sweeps: int = 100) -> nn.Module:
    """A copy of ``model`` that computes the same, up to rounding, with the channel ranges of neighbours made equal.

    Sweeps over all pairs until no factor differs from 1 by more than ``tolerance``. A channel that is all zeros in
    either layer is left alone.

    Args:
        model: BN folded, weights not yet quantized.
        sweeps: at most; a chain of layers converges within some dozens.
    Source: nagel2019 Sec. 4.1
    """
    model = copy.deepcopy(model)
    pairs, layers = equalizable_pairs(model), weight_layers(model)
    for _ in range(sweeps):
        largest = max((_equalize_pair(layers[first], layers[second]) for first, second in pairs), default=0.0)
        if largest <= math.log1p(tolerance):
            break
    return model


def _equalize_pair(first: LinearOrConv, second: LinearOrConv) -> float:
    """Equalize two layers in place; returns the largest |log s|."""
    r1, r2 = channel_ranges(first.weight), input_ranges(second)
    factor = torch.where((r1 > 0) & (r2 > 0), (r1 / r2).sqrt(), 1.0)  # nagel2019 Sec. 4.1
    dims = first.weight.dim()
    first.weight /= per_channel(factor, dims)
    if first.bias is not None:
        first.bias /= factor
    second.weight *= per_channel(factor, dims, 0 if is_depthwise(second) else 1)
    return float(factor.log().abs().max())
