"""A whole network, layer after layer: what :func:`fewbits.quantize` does, with a better rounding."""

import copy
from collections.abc import Callable, Collection

import torch
from torch import Tensor, nn

from fewbits.compensation.gptq import gptq
from fewbits.compensation.moments import second_moments
from fewbits.core.checks import working_precision
from fewbits.core.codes import StoredForm
from fewbits.core.hooks import watching
from fewbits.core.modes import evaluating
from fewbits.core.quantizer import LinearOrConv, Quantizer, attach_codes, layers_to_quantize

Rounding = Callable[[Tensor, StoredForm, Tensor], StoredForm]


@torch.no_grad()
def compensate(
    model: nn.Module,
    weights: Callable[[], Quantizer],
    images: Tensor,
    keep: Collection[str] = (),
    rounding: Rounding = gptq,
    batch_size: int = 128,
) -> nn.Module:
    """A copy of ``model`` whose weights are quantized one layer after the other, each for what it then reads.

    ::

        small = compensate(model, partial(UniformQuantizer, 4, channel_axis=0), train_images[:512])
        small = compensate(model, InqQuantizer, train_images[:512], rounding=partial(gptq, order="activation"))
        small = compensate(model, MXQuantizer, train_images[:512], rounding=partial(gptq, rescale=True))

    The codes are attached: :func:`fewbits.size_report`, :func:`fewbits.save` and whatever else reads codes find them.
    Biases and normalizations stay in floating point. Layers that hold the same weight share its codes, which are chosen
    for what all of them read.

    Args:
        model: any network that calls its layers as modules. Fold batch normalizations first, or keep them.
        weights: makes the quantizer of a layer, which sets its grid.
        images: (N, …), some of those for training, without labels; a few hundred suffice.
        keep: layers whose weights stay as they are: "first", "last" or names.
        rounding: of (weight, codes of the quantizer, second moments): :func:`gptq`, :func:`adaround`, or either with
            other settings by ``functools.partial``.
        batch_size: images at a time.
    Returns:
        The copy, in the mode that ``model`` is in. Its weights are trained no more.
    Raises:
        ValueError: ``model`` has no layer, nothing is left after ``keep``, a weight is parametrized already or held by
            a layer of ``keep``, a layer is not called as a module, or a weight cannot be rounded; the message names
            it. ``model`` is as it was.
    Source: frantar2022 Sec. 5 (inputs from the quantized layers before)
    """
    model = copy.deepcopy(model)
    layers = layers_to_quantize(model, keep)
    sharers: dict[int, list[str]] = {}
    for name in _by_call(model, layers, images[:1]):
        sharers.setdefault(id(layers[name].weight), []).append(name)
    for group in sharers.values():
        # frantar2022 Sec. 5: the layers before are quantized already
        moments = second_moments(model, images, group, batch_size)
        weight = working_precision(layers[group[0]].weight.detach())
        try:
            whole = torch.stack([moments[name] for name in group]).mean(0)
            codes = rounding(weight, weights().encode(weight), whole)
        except (ValueError, TypeError) as error:
            raise ValueError(f"{group[0]}: {error}") from error
        attach_codes(model, {f"{group[0]}.weight" if group[0] else "weight": codes})
    return model


def _by_call(model: nn.Module, layers: dict[str, LinearOrConv], image: Tensor) -> list[str]:
    """The names of ``layers`` in the order of their first calls."""
    name_of = {layer: name for name, layer in layers.items()}
    called: dict[str, None] = {}
    with watching(name_of, lambda layer, *_: called.setdefault(name_of[layer])), evaluating(model):
        model(image)
    if missing := [name for name in layers if name not in called]:
        raise ValueError(f"{missing[0]} is not called as a module, so what it reads is not known")
    return list(called)
