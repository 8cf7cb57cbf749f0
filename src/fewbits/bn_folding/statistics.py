"""Statistics correction: each channel of a quantized network gets back the mean and the variance that it had.

To a large part, rounding shifts and stretches a channel: its mean and its variance change. Some images without labels
suffice to measure both, and one factor and one offset per channel restore them, without training.
"""

import copy
from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize

from fewbits.core.channels import per_channel
from fewbits.core.graph import read, replace_module
from fewbits.core.hooks import watching
from fewbits.core.quantizer import LinearOrConv, weight_layers


def other_axes(y: Tensor) -> list[int]:
    """All axes of ``y`` but the second, which counts the channels.

    Source: own (axes)
    """
    return [axis for axis in range(y.dim()) if axis != 1]


@torch.no_grad()
def correct_statistics(model: nn.Module, reference: nn.Module, images: Tensor, *, variance: bool = True) -> nn.Module:
    """A copy of ``model`` whose layers have the means and variances of their outputs in ``reference``, by channel.

    Layer after layer, each on what the corrected ones before it give. With ``variance`` a batch normalization of a
    factor and an offset comes after each layer and stays there: at 16 bits they take 32 bits a channel. Without it the
    means alone are put back, which the biases can do (nagel2019); then the network is of the same size, though its
    biases are not on a grid any more. A channel that is constant keeps its variance.

    Args:
        model: quantized, in evaluation mode; is not changed.
        reference: the same network before, in evaluation mode.
        images: (N, …), a few hundred; all are in memory at once. No labels are needed.
        variance: correct it too.
    Raises:
        ValueError: the networks have other layers or none, one is in training mode; or a layer is called more than
            once, shares a parameter, or gives outputs that are not (N, C, …); or its bias would have to move and is
            quantized, or the layer has a forward of its own. The message names it.
    Source: nagel2019 Sec. 4.2 (means); own (variances)
    """
    layers, names = weight_layers(model), list(weight_layers(reference))
    if list(layers) != names or not names:
        raise ValueError(f"model has the layers {list(layers)}, reference {names}: they must be the same, and some")
    for which, network in (("model", model), ("reference", reference)):
        if network.training:
            raise ValueError(f"{which} is in training mode, where it may depend on the batch: call .eval() first")
    model = copy.deepcopy(model)
    layers = weight_layers(model)
    _check(model, layers, variance)
    wanted = output_statistics(reference, list(weight_layers(reference).values()), images, len(images) or 1)
    target = dict(zip(layers.values(), wanted, strict=True))
    places = {layer: name for name, layer in layers.items()}
    found: dict[nn.Module, tuple[Tensor, Tensor]] = {}

    def correct(layer: LinearOrConv, inputs: tuple[Tensor, ...], y: Tensor) -> Tensor:
        if isinstance(layer, nn.Linear) and y.dim() != 2:
            raise ValueError(f"{places[layer]} gives {tuple(y.shape)}: its channels must be axis 1")
        mean, spread = target[layer]
        wide, axes = y.double(), other_axes(y)
        now = wide.var(axes, correction=0)
        # own (variances)
        factor = torch.where(now > 0, (spread / now).sqrt(), 1.0) if variance else torch.ones_like(now)
        offset = mean - factor * wide.mean(axes)  # nagel2019 Sec. 4.2
        found[layer] = factor.to(y), offset.to(y)
        return y * per_channel(found[layer][0], y.dim(), 1) + per_channel(found[layer][1], y.dim(), 1)

    with watching(layers.values(), correct):
        model(images)
    for layer in layers.values():
        factor, offset = found[layer]
        if variance:
            replace_module(model, layer, nn.Sequential(layer, _affine(layer, factor, offset)).eval())
        else:
            layer.bias = nn.Parameter(offset if layer.bias is None else layer.bias.detach() + offset)
    return model


def _affine(layer: LinearOrConv, factor: Tensor, offset: Tensor) -> nn.Module:
    """A batch normalization that multiplies by ``factor`` and adds ``offset``: its statistics are 0 and 1."""
    norm = (nn.BatchNorm2d if layer.weight.dim() == 4 else nn.BatchNorm1d)(len(factor), eps=0.0).to(factor)
    norm.weight.data.copy_(factor)
    norm.bias.data.copy_(offset)
    return norm


def _check(model: nn.Module, layers: dict[str, LinearOrConv], variance: bool) -> None:
    """Refuse, by name, what :func:`correct_statistics` cannot change."""
    network = read(model)
    for name, layer in layers.items():
        calls = network.calls_of(layer)
        if not calls:
            raise ValueError(f"{name} is not called in a forward pass, so it has no statistics")
        if sharing := network.sharing(calls[0]):
            raise ValueError(f"{sharing}: one correction would serve two")
        if not variance and calls[0].layer is None:
            raise ValueError(f"{calls[0]} has a forward of its own, so what its bias does is not known")
        if not variance and parametrize.is_parametrized(layer, "bias"):
            raise ValueError(f"{name} has a quantized bias, which a correction would take off its grid")
        if layer is model:
            raise ValueError("model is a layer itself: put it into an nn.Sequential")


@torch.no_grad()
def output_statistics(
    model: nn.Module, layers: Sequence[nn.Module], images: Tensor, batch_size: int = 250
) -> list[tuple[Tensor, Tensor]]:
    """Mean and variance of each output channel of ``layers`` over all images and positions: two (C,) a layer.

    Args:
        model: is run as it is, in its mode, on ``images`` (N, …).
        layers: modules of it whose outputs are (N, C, …).
    Raises:
        ValueError: there are no images.
    Source: own (moments of a channel)
    """
    if not len(images):
        raise ValueError("images must not be empty: there are no statistics without them")
    sums: dict[nn.Module, list[Tensor]] = {}
    dtypes: dict[nn.Module, torch.dtype] = {}

    def watch(layer: nn.Module, inputs: tuple[Tensor, ...], y: Tensor) -> None:
        wide, axes = y.double(), other_axes(y)
        count = torch.tensor(y.numel() / y.shape[1], dtype=torch.float64)
        parts = [count, wide.sum(axes), wide.square().sum(axes)]
        sums[layer] = [a + b for a, b in zip(sums[layer], parts, strict=True)] if layer in sums else parts
        dtypes[layer] = y.dtype

    with watching(layers, watch):
        for batch in images.split(batch_size):
            model(batch)
    statistics = []
    for layer in layers:
        count, total, squares = sums[layer]
        mean = total / count
        variance = (squares / count - mean.square()).clamp_min(0)  # rounding may pass below 0
        statistics.append((mean.to(dtypes[layer]), variance.to(dtypes[layer])))
    return statistics
