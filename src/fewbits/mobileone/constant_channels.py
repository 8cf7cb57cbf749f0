"""Constant channels, found with data and folded into the biases: a constant needs no weights.

Training leaves *dead* channels, which are 0 for every image, and channels that are another constant. A weight that
reads one may have any size without effect, until a codebook is made that must reach the largest weight.
"""

import copy
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from fewbits.bn_folding import equalizable_pairs, is_depthwise
from fewbits.core.hooks import watching
from fewbits.core.quantizer import weight_layers


@torch.no_grad()
def fold_constant_channels(model: nn.Module, images: Tensor, batch_size: int = 250) -> nn.Module:
    """A copy of ``model`` that computes the same for ``images``, up to rounding, and neither makes nor reads constants.

    Take a channel between two layers (:func:`fewbits.bn_folding.equalizable_pairs`) that has one value c for all
    images and at all positions. The weights that read it become 0, and what they added goes into the bias; the weights
    and the bias that make it become 0, too. A layer that pads adds less at the border, so there only c = 0 is folded.

    Args:
        model: with BN folded, in evaluation mode; weights not yet quantized.
        images: to find the constants with, (N, …): the training images, since others are not known yet.
        batch_size: images at a time.

    Raises:
        ValueError: the model is in training mode, or a layer that would take a constant has no bias.
    Source: own (constants become biases)
    """
    if model.training:
        raise ValueError("model is in training mode, where channels may change: call model.eval() first")
    model = copy.deepcopy(model)
    layers = weight_layers(model)
    names = equalizable_pairs(model)
    ranges = seen_ranges(model, [layers[name] for _, name in names], images, batch_size)
    for (first_name, name), (lowest, highest) in zip(names, ranges, strict=True):
        first, second = layers[first_name], layers[name]
        constant = lowest == highest
        if isinstance(second, nn.Conv2d) and second.padding not in (0, (0, 0), "valid"):
            constant &= highest == 0
        values = torch.where(constant, highest, 0)
        sums = second.weight.reshape(*second.weight.shape[:2], -1).sum(2)
        added = sums[:, 0] * values if is_depthwise(second) else sums @ values
        if second.bias is not None:
            second.bias += added
        elif added.any():
            raise ValueError(f"{name} reads a constant channel and has no bias to take the constant")
        (second.weight if is_depthwise(second) else second.weight.transpose(0, 1))[constant] = 0
        first.weight[constant] = 0
        if first.bias is not None:
            first.bias[constant] = 0
    return model


def seen_ranges(
    model: nn.Module, layers: Sequence[nn.Module], images: Tensor, batch_size: int = 250
) -> list[tuple[Tensor, Tensor]]:
    """Lowest and highest value of each input channel of ``layers`` over all images and positions: two (C,) a layer.

    Source: own (ranges of channels)
    """
    found: dict[nn.Module, tuple[Tensor, Tensor]] = {}

    def watch(layer: nn.Module, inputs: tuple[Tensor, ...]) -> None:
        (x,) = inputs
        channels = x.transpose(0, 1).flatten(1)
        lowest, highest = channels.amin(1), channels.amax(1)
        if layer in found:
            lowest, highest = torch.minimum(lowest, found[layer][0]), torch.maximum(highest, found[layer][1])
        found[layer] = lowest, highest

    with watching(layers, watch, before=True):
        for batch in images.split(batch_size):
            model(batch)
    return [found[layer] for layer in layers]
