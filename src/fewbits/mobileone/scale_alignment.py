"""Scale alignment: channel scales that put weights near powers of two, while the network computes the same.

As in :mod:`fewbits.bn_folding.equalization`, output channel j of one layer may be multiplied by any ``s_j > 0`` if the
next layer divides it away. A factor of 2 changes nothing on a grid of powers of two, so ``s_j`` is sought from
``2^-1/2`` to ``2^1/2``. The one for which rounding changes the channel's output least is taken. Let x be what an output
of the layer sees, with mean m and second moment M = E[x xᵀ], and let rounding change weights and bias by Δw and Δb.
Then ::

    E[(Δw·x + Δb)²] = Δwᵀ M Δw + 2 Δb Δw·m + Δb² .

Not in a paper that we know of.
"""

import copy

import torch
from torch import Tensor, nn

from fewbits.bn_folding import equalizable_pairs, is_depthwise
from fewbits.core.channels import per_channel
from fewbits.core.hooks import watching
from fewbits.core.powers import nearest_power
from fewbits.core.quantizer import LinearOrConv, weight_layers
from fewbits.mobileone.moments import patch_moments


@torch.no_grad()
def align_scales(model: nn.Module, images: Tensor, candidates: int = 64) -> nn.Module:
    """A copy of ``model`` that computes the same, up to rounding, and changes less when it is rounded to powers of two.

    Layer after layer, from the first to the last that has a partner (:func:`fewbits.bn_folding.equalizable_pairs`).

    Args:
        model: with BN folded, in evaluation mode; weights not yet quantized.
        images: training images, (N, …), a few hundred; all are in memory at once, with the inputs of each layer.
        candidates: even; this many factors are tried, 1 among them.

    Raises:
        ValueError: the model is in training mode, or a convolution is dilated, grouped (but not depthwise), or does
            not pad half of its kernel.
    Source: own (the invariance is that of nagel2019 Sec. 4.1)
    """
    if model.training:
        raise ValueError("model is in training mode: call model.eval() first")
    model = copy.deepcopy(model)
    layers = weight_layers(model)
    factors = 2 ** (torch.arange(candidates, dtype=torch.float64) / candidates - 0.5)
    for name, second in ((a, layers[b]) for a, b in equalizable_pairs(model)):
        first = layers[name]
        try:
            mean, moment = seen_moments(model, first, images)
        except ValueError as error:
            raise ValueError(f"{name}: {error}") from error
        costs = torch.stack([rounding_cost(first, mean, moment, factor.item()) for factor in factors])
        best = factors[costs.argmin(0)].to(first.weight)
        dims = first.weight.dim()
        first.weight *= per_channel(best, dims)
        if first.bias is not None:
            first.bias *= best
        second.weight /= per_channel(best, dims, 0 if is_depthwise(second) else 1)
    return model


def rounding_cost(layer: LinearOrConv, mean: Tensor, moment: Tensor, factor: float = 1.0) -> Tensor:
    """Mean square by which each output of ``layer`` moves if its weights and bias, times ``factor``, are rounded to
    powers of two, and ``factor`` is divided away: (outputs,).

    Args:
        mean: of what an output sees, (1, n), or for each of them (outputs, n).
        moment: its second moment, (1 or outputs, n, n).
    Source: own (mean square of what rounding moves); book eq-mobileone-alignment
    """
    weight = layer.weight.detach().double().flatten(1)
    bias = weight.new_zeros(len(weight)) if layer.bias is None else layer.bias.detach().double()
    moved = nearest_power(factor * weight) / factor - weight
    shift = nearest_power(factor * bias) / factor - bias
    quadratic = ((moved.unsqueeze(1) @ moment).squeeze(1) * moved).sum(1)
    return quadratic + 2 * shift * (moved * mean).sum(1) + shift**2  # book eq-mobileone-alignment


def seen_moments(model: nn.Module, layer: LinearOrConv, images: Tensor) -> tuple[Tensor, Tensor]:
    """Mean (1, n) and second moment (1, n, n) of the n numbers that an output of ``layer`` sees in ``model``.

    Of a depthwise layer (C, n) and (C, n, n), as each channel sees itself only.

    Raises:
        ValueError: see :func:`align_scales`.
    Source: own (moments of what a layer sees)
    """
    kernel, stride = 1, 1
    if isinstance(layer, nn.Conv2d):
        (kernel, *_), (stride, *_) = layer.kernel_size, layer.stride
        plain = layer.dilation == (1, 1) and (layer.groups == 1 or is_depthwise(layer))
        if not plain or layer.padding != (kernel // 2, kernel // 2):
            raise ValueError(f"moments of what {layer} sees are not supported")
    seen: list[Tensor] = []
    # A copy: the network may change in place later what this layer has read.
    with watching([layer], lambda layer, inputs: seen.append(inputs[0].clone()), before=True):
        model(images)
    x = seen[0].double()
    x = x[:, :, None, None] if x.dim() == 2 else x
    parts = x.split(1, dim=1) if is_depthwise(layer) else [x]
    means, covariances = map(torch.stack, zip(*(patch_moments(part, kernel, stride) for part in parts), strict=True))
    return means, covariances + means[:, :, None] * means[:, None]
