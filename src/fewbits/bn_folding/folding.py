"""Batch normalization folding: a frozen BN is an affine map, and the layer before it can take over that map.

In eval mode BN multiplies channel j by ``c_j = gamma_j / sqrt(var_j + eps)`` and adds ``d_j = beta_j - c_j mean_j``.
Applied to ``y_j = sum_k x_k w_kj + b_j`` this gives ``z_j = sum_k x_k (c_j w_kj) + (c_j b_j + d_j)``: the same layer
with other numbers (jacob2018 Sec. 3.2). The result is exact, up to the rounding of floating point.
"""

import copy

import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize

from fewbits.core.batch_norm import factor_and_offset, running_statistics
from fewbits.core.channels import per_channel
from fewbits.core.graph import BATCH_NORMS, BatchNorm, Network, is_plain, read, replace_module
from fewbits.core.quantizer import LAYERS, LinearOrConv


def bn_scale_shift(bn: BatchNorm) -> tuple[Tensor, Tensor]:
    """Factor ``c`` and offset ``d`` of a batch normalization in eval mode, both (C,).

    Raises:
        ValueError: ``bn`` is in train mode (its statistics change with the batch), keeps no running statistics, or
            has a factor or offset that is not finite (NaN statistics; a variance of 0 with ``eps=0``).
    Source: ioffe2015 Alg. 2 (line 11); book eq-bn-affine
    """
    mean, variance = running_statistics(bn)
    if bn.training:
        raise ValueError("bn is in train mode, where it depends on the batch: call .eval() before folding")
    gamma, beta = factor_and_offset(bn)
    scale = gamma / torch.sqrt(variance + bn.eps)  # ioffe2015 Alg. 2
    shift = beta - scale * mean
    if not (scale.isfinite() & shift.isfinite()).all():
        raise ValueError("bn has a scale or shift that is NaN or Inf")
    return scale.detach(), shift.detach()


def fold_batch_norm(layer: nn.Module, bn: nn.Module) -> nn.Module:
    """A copy of ``layer`` (linear or convolution) that computes ``bn(layer(x))``; it always has a bias.

    Weight and bias keep the dtype of ``layer``. Batches only: the output channels must be axis 1 of the output, as they
    are for (N, K) into a linear layer, but not for (N, L, K), where BN normalizes the L positions instead.

    Raises:
        ValueError: ``bn`` cannot be folded (:func:`bn_scale_shift`), its channel count does not match the layer's
            output, or the weight of ``layer`` is quantized: folding would move it off its grid, so fold first.
        TypeError: ``layer`` is neither linear nor a convolution, or ``bn`` is no batch normalization; classes with a
            forward of their own, and modules with hooks, are none.
    Source: jacob2018 Eq. 14; book eq-bn-folding
    """
    if not (isinstance(layer, LAYERS) and is_plain(layer, LAYERS)):
        raise TypeError(f"layer must be linear or a convolution, got {type(layer).__name__}")
    if not (isinstance(bn, BATCH_NORMS) and is_plain(bn, BATCH_NORMS)):
        raise TypeError(f"bn must be a BatchNorm1d or BatchNorm2d, got {type(bn).__name__}")
    if parametrize.is_parametrized(layer):
        raise ValueError("layer has a quantized weight; fold before quantizing, or the weight leaves its grid")
    if layer.weight.shape[0] != bn.num_features:
        raise ValueError(f"layer has {layer.weight.shape[0]} output channels, bn has {bn.num_features}")
    scale, shift = bn_scale_shift(bn)
    folded = copy.deepcopy(layer)
    bias = None if layer.bias is None else layer.bias.detach()
    weight, bias = parameters_after_folding(layer.weight.detach(), bias, scale, shift)
    folded.weight = nn.Parameter(weight.to(layer.weight))
    folded.bias = nn.Parameter(bias.to(layer.weight))
    return folded


def parameters_after_folding(
    weight: Tensor, bias: Tensor | None, scale: Tensor, shift: Tensor
) -> tuple[Tensor, Tensor]:
    """Weight and bias of the folded layer.

    Args:
        weight: (C, …), output channels first; bias: (C,) or None.
        scale, shift: (C,), from :func:`bn_scale_shift`.
    Source: jacob2018 Eq. 14; jacob2018 Sec. 3.2 (bias); book eq-bn-folding
    """
    new_weight = weight * per_channel(scale, weight.dim())  # jacob2018 Eq. 14
    new_bias = shift if bias is None else bias * scale + shift  # jacob2018 Sec. 3.2
    return new_weight, new_bias


def foldable_pairs(network: Network) -> dict[str, tuple[LinearOrConv, BatchNorm]]:
    """Layers that can take over the work of the BN after them, by the names of both (for messages).

    The BN is the only reader of the layer's result, both are called once, and no function reads their parameters.

    Source: own (reading of the graph)
    """
    pairs = {}
    for call in network.calls:
        before = call.inputs[0] if call.batch_norm is not None else call
        if call.batch_norm is None or before.layer is None or before.only_user is not call:
            continue
        sharers = [*network.sharers(before), *network.sharers(call)]
        if not any(other.op == "parameter" or other.module in (before.module, call.module) for other in sharers):
            pairs[f"{call} after {before}"] = before.layer, call.batch_norm
    return pairs


def fold_model(model: nn.Module) -> nn.Module:
    """A copy of ``model``, in eval mode, in which every BN that directly follows a layer has been folded into it.

    A BN is left alone where its layer's output or weight is used elsewhere too, where the layer or the BN is called
    more than once, or where something else comes before it, such as a layer with a forward of its own. Folded BNs
    become ``nn.Identity``, so names and structure stay. As in :func:`fold_batch_norm`, a linear layer before a BN must
    see (N, K) inputs.

    Raises:
        ValueError: as :func:`fold_batch_norm`, or the forward pass cannot be read (:func:`fewbits.core.graph.read`);
            the message names the module.
    Source: jacob2018 Sec. 3.2
    """
    model = copy.deepcopy(model).eval()
    for names, (layer, bn) in foldable_pairs(read(model)).items():
        try:
            folded = fold_batch_norm(layer, bn)
        except ValueError as error:
            raise ValueError(f"{names}: {error}") from error
        replace_module(model, bn, nn.Identity().eval())
        replace_module(model, layer, folded)
    return model


def channel_ranges(weight: Tensor) -> Tensor:
    """Largest magnitude of every output channel: (C, …) weight to (C,) ranges.

    One scale per tensor must serve the largest of them; a channel with a range r times smaller is left with r times
    fewer steps.

    Source: nagel2019 Sec. 4.1; jacob2018 Sec. 3
    """
    return weight.detach().abs().flatten(1).amax(dim=1)
