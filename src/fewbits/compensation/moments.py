"""Second moments of what layers read: all that a layer-wise rounding needs to know of the images.

A layer with weights w of one output reads vectors x. If its weights change by d, its output changes by d·x, and the
mean square of that is d H dᵀ with the second moments H = mean(x xᵀ). A convolution reads such a vector at each position
of its window, with an element for each weight; in a depthwise convolution each channel has a small H of its own.
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from fewbits.core.checks import check_finite, working_precision
from fewbits.core.hooks import watching
from fewbits.core.modes import evaluating
from fewbits.core.quantizer import LinearOrConv, weight_layers


def windows(layer: LinearOrConv, x: Tensor) -> Tensor:
    """The vectors that the weights of one output of ``layer`` meet, for each group of channels.

    Args:
        layer: a linear layer (one group) or a convolution of one or two axes, whatever its settings.
        x: its input: (…, K) or (N, C, …), or (C, …) without a batch.
    Returns:
        (groups, K, n): K as the weights of an output are in memory, n all images and positions.
    Source: own (unfolding)
    """
    if isinstance(layer, nn.Linear):
        return x.reshape(1, -1, x.shape[-1]).transpose(1, 2)
    if x.dim() == layer.weight.dim() - 1:
        x = x[None]
    # torch keeps the padding of every kind here, last axis first
    x = F.pad(
        x, layer._reversed_padding_repeated_twice, "constant" if layer.padding_mode == "zeros" else layer.padding_mode
    )
    kernel, stride, dilation = tuple(layer.kernel_size), tuple(layer.stride), tuple(layer.dilation)
    if len(kernel) == 1:
        x, kernel, stride, dilation = x.unsqueeze(2), (1, *kernel), (1, *stride), (1, *dilation)
    columns = F.unfold(x, kernel, dilation=dilation, stride=stride)  # own (unfolding)
    groups = columns.unflatten(1, (layer.groups, -1))
    return groups.permute(1, 2, 0, 3).flatten(2)


@torch.no_grad()
def second_moments(
    model: nn.Module, images: Tensor, names: list[str] | None = None, batch_size: int = 128
) -> dict[str, Tensor]:
    """``mean(x xᵀ)`` of the inputs of layers, over images, positions, and calls if there are several.

    Args:
        model: is run in evaluation mode; each part gets its mode back.
        images: (N, …), without labels.
        names: of linear and convolution layers; None for all.
        batch_size: images at a time.
    Returns:
        (groups, K, K) float64 by layer name; K weights belong to one output.
    Raises:
        ValueError: there are no images, a name is unknown, or a layer is not called as a module with its input by
            position.
    Source: frantar2022 Sec. 3 (unnumbered, H without the factor 2); frantar2022 Eq. 1
    """
    layers = weight_layers(model)
    chosen = list(layers) if names is None else names
    if unknown := [name for name in chosen if name not in layers]:
        raise ValueError(f"names has {unknown}, which are no layers; the layers are {list(layers)}")
    if not len(images):
        raise ValueError("images are empty: there is nothing to calibrate with")
    name_of = {layers[name]: name for name in chosen}
    sums, counts = dict[str, Tensor](), dict.fromkeys(chosen, 0)

    def add(layer: LinearOrConv, inputs: tuple[Tensor, ...], output: Tensor) -> None:
        name = name_of[layer]
        if not inputs:
            raise ValueError(f"{name} is called with its input by name: pass it by position")
        seen = windows(layer, working_precision(inputs[0]))  # in float16 the sum over positions would overflow
        moments = (seen @ seen.transpose(1, 2)).double()  # frantar2022 Eq. 1
        sums[name] = sums[name] + moments if name in sums else moments
        counts[name] += seen.shape[2]

    with watching(name_of, add), evaluating(model):
        for batch in images.split(batch_size):
            model(batch)
    if missing := [name for name in chosen if name not in sums]:
        raise ValueError(f"{missing[0]} is not called as a module, so what it reads is not known")
    return {name: sums[name] / counts[name] for name in chosen}


def output_error(weight: Tensor, rounded: Tensor, moments: Tensor) -> Tensor:
    """Mean squared change of each output of a layer if ``weight`` becomes ``rounded``, (M,) float64.

    Args:
        weight, rounded: (M, …), the weights of M outputs.
        moments: (groups, K, K), as :func:`second_moments` gives them.
    Raises:
        ValueError: the shapes do not fit together, or ``moments`` hold NaN or Inf.
    Source: frantar2022 Eq. 1; book eq-compensation-error
    """
    moments = moments.double()
    change = grouped(rounded.double() - weight.double(), moments)
    # frantar2022 Eq. 1
    return (change @ moments * change).sum(2).clamp(min=0).flatten()  # book eq-compensation-error


def grouped(weight: Tensor, moments: Tensor) -> Tensor:
    """``weight`` (M, …) as (groups, M / groups, K), the rows in their order.

    Raises:
        ValueError: the shapes do not fit ``moments``, or these hold NaN or Inf.
    Source: own (shapes)
    """
    groups, length = (moments.shape[0], moments.shape[-1]) if moments.dim() == 3 else (0, 0)
    if (
        not groups
        or moments.shape[1] != length
        or weight.dim() < 2
        or len(weight) % groups
        or weight[0].numel() != length
    ):
        raise ValueError(f"moments of shape {tuple(moments.shape)} do not fit weights of shape {tuple(weight.shape)}")
    check_finite(moments, "moments")
    return weight.reshape(groups, -1, length)
