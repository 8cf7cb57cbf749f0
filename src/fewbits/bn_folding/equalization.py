"""Cross-layer equalization: wide and narrow channels meet in the middle, without data (nagel2019).

A ReLU passes a positive factor through: ``relu(s x) = s relu(x)``. So output channel j of one layer may be divided by
any ``s_j > 0``, if what the next layer does with that channel is multiplied by it. With ``s_j = sqrt(r1_j / r2_j)``,
where r1 is the channel's range in the first layer and r2 in the second, both ranges become ``sqrt(r1_j r2_j)``.
"""

import copy
import math

import torch
from torch import Tensor, fx, nn

from fewbits.bn_folding.folding import channel_ranges
from fewbits.core.channels import per_channel
from fewbits.core.quantizer import LAYERS, weight_layers

_TRANSPARENT = (nn.ReLU, nn.Identity, nn.MaxPool2d, nn.Dropout)  # f(s x) = s f(x) for s > 0, channel by channel


def input_ranges(layer: nn.Module) -> Tensor:
    """Largest magnitude of the weights that read each input channel: (C,); of a depthwise layer that of its outputs."""
    if is_depthwise(layer):
        return channel_ranges(layer.weight)
    return channel_ranges(layer.weight.transpose(0, 1))


def is_depthwise(layer: nn.Module) -> bool:
    return isinstance(layer, nn.Conv2d) and layer.groups == layer.in_channels == layer.out_channels > 1


def equalizable_pairs(model: nn.Module) -> list[tuple[str, str]]:
    """Names of layers (first, second) such that only ReLU, max-pool and the like lie between them, and nobody else
    reads what the first one gives. A grouped layer that is not depthwise cannot be the second."""
    modules, graph = dict(model.named_modules()), fx.Tracer().trace(model)
    pairs = []
    for node in graph.nodes:
        if node.op != "call_module" or not isinstance(modules[node.target], LAYERS):
            continue
        after = node
        while len(after.users) == 1:
            after = next(iter(after.users))
            if after.op != "call_module" or not isinstance(modules[after.target], _TRANSPARENT):
                break
        kind = modules.get(after.target) if after.op == "call_module" else None
        same_channels = isinstance(kind, LAYERS) and kind.weight.dim() == modules[node.target].weight.dim()
        if same_channels and (kind.weight.shape[1] == len(modules[node.target].weight) or is_depthwise(kind)):
            pairs.append((node.target, after.target))
    return pairs


@torch.no_grad()
def equalize(model: nn.Module, tolerance: float = 1e-3, sweeps: int = 100) -> nn.Module:
    """A copy of ``model`` that computes the same, up to rounding, with the channel ranges of neighbours made equal.

    Sweeps over all pairs until no factor differs from 1 by more than ``tolerance``. A channel that is all zeros in
    either layer is left alone.

    Args:
        model: BN folded, weights not yet quantized.
        sweeps: at most; a chain of layers converges within some dozens.
    """
    model = copy.deepcopy(model)
    pairs, layers = equalizable_pairs(model), weight_layers(model)
    for _ in range(sweeps):
        largest = max((_equalize_pair(layers[first], layers[second]) for first, second in pairs), default=0.0)
        if largest <= math.log1p(tolerance):
            break
    return model


def _equalize_pair(first: nn.Module, second: nn.Module) -> float:
    """Equalize two layers in place; returns the largest |log s|."""
    r1, r2 = channel_ranges(first.weight), input_ranges(second)
    factor = torch.where((r1 > 0) & (r2 > 0), (r1 / r2).sqrt(), 1.0)
    dims = first.weight.dim()
    first.weight /= per_channel(factor, dims)
    if first.bias is not None:
        first.bias /= factor
    second.weight *= per_channel(factor, dims, 0 if is_depthwise(second) else 1)
    return float(factor.log().abs().max())
