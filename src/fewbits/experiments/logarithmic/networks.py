"""Quantizers for training in the experiment ``logarithmic``: weights, activations and gradients."""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn

from fewbits.core.gradients import QuantizeGradient
from fewbits.core.hooks import watching
from fewbits.core.quantizer import Quantizer, quantize_activations, quantize_weights
from fewbits.experiments.logarithmic.quantizers import make_quantizer
from fewbits.logarithmic import LogQuantizer, full_scale_of_max
from fewbits.uniform import UniformQuantizer

BATCH_SIZE = 128


def quantize_training(
    model: nn.Module,
    method: str,
    bits: int | None,
    gradient_bits: int | None,
    headroom: int | None,
    images: Tensor,
    labels: Tensor,
) -> nn.Module:
    """Put quantizers into ``model``, in place, for training: weights and activations of ``bits``, and gradients.

    All ranges follow the tensor of each step. With a ``headroom`` those of the gradients are set once, before training,
    by ``images``: see :func:`fix_gradient_ranges`.
    """
    if bits is not None:
        quantize_weights(model, lambda: make_quantizer(method, bits, True), skip=())
        quantize_activations(model, lambda: make_quantizer(method, bits, False))
    if gradient_bits is not None:
        for layer in (nn.Conv2d, nn.Linear):
            quantize_activations(
                model, lambda: QuantizeGradient(make_quantizer(method, gradient_bits, True)), after=layer
            )
    if headroom is not None:
        fix_gradient_ranges(model, headroom, images, labels)
    return model


def fix_gradient_ranges(
    model: nn.Module, headroom: int, images: Tensor, labels: Tensor, batch_size: int = BATCH_SIZE
) -> None:
    """Fix the range of every gradient quantizer, ``headroom`` octaves above the largest gradient of several batches.

    Args:
        batch_size: that of training. The loss is a mean over the batch, so a batch twice as large has gradients half as
            large, and a range from it would saturate.
    """

    def backward() -> None:
        for x, y in zip(images.split(batch_size), labels.split(batch_size), strict=True):
            nn.functional.cross_entropy(model(x), y).backward()

    rules = [module.quantizer for module in model.modules() if isinstance(module, QuantizeGradient)]
    fix_ranges([rule for rule in rules if isinstance(rule, Quantizer)], headroom, backward)
    model.zero_grad()


def fix_ranges(quantizers: Sequence[Quantizer], headroom: int, passes: Callable[[], object]) -> None:
    """Fix ranges ``headroom`` octaves above the largest magnitude that comes to each quantizer during ``passes``.

    The quantizers let everything through meanwhile, so that no layer's range depends on another's rounding.
    """
    largest: dict[Quantizer, Tensor] = {}

    def watch(quantizer, inputs, output):
        seen = inputs[0].detach().abs().max()
        largest[quantizer] = torch.maximum(largest.get(quantizer, seen), seen)
        return inputs[0]

    with watching(quantizers, watch):
        passes()
    for quantizer, seen in largest.items():
        high = 2.0**headroom * seen
        if isinstance(quantizer, LogQuantizer):
            quantizer.set_full_scale(full_scale_of_max(high, quantizer))
        elif isinstance(quantizer, UniformQuantizer):
            quantizer.set_range(-high if quantizer.signed else 0.0 * high, high)
