"""What learned bits cost, and the penalty that limits them.

The cost is the size of all weights (uhlich2020), or multiply-accumulates (MACs) times bits (nakata2021); both are
differentiable sums over the filters of a network. We do not have the formula of nakata2021: the sum is that of the
press text, in a penalty of the form of uhlich2020.
"""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from fewbits.core.macs import LayerWork
from fewbits.core.quantizer import Quantizer, encode_weights, observe_activations, weight_quantizers
from fewbits.core.vector_codes import VectorCodes
from fewbits.mixed_precision.learned_bits import LearnedBits


def weight_size(model: nn.Module, works: Sequence[LayerWork]) -> Tensor:
    """Bits of all weights, the sum over filters of weights × bits, differentiable; headers not counted.

    Biases are left out; the paper counts one per filter. A weight that is used several times, by a layer that is called
    twice or by two layers, is counted once.

    Args:
        works: of the same model, from :func:`fewbits.core.macs.layer_work`.
    Raises:
        ValueError: a layer of ``works`` has no learned bits.
    Source: uhlich2020 Eq. 8a; uhlich2020 Table 2 (which has biases); book eq-mixed-cost
    """
    # uhlich2020 Eq. 8a
    weights = {name: id(latent) for name, _, latent in weight_quantizers(model)}
    once = {weights.get(work.name, work.name): work for work in works}.values()
    return _sum_of_bits(model, [(work.name, work.filters, work.weights_per_filter) for work in once])


def mac_bits(model: nn.Module, works: Sequence[LayerWork]) -> Tensor:
    """The sum over filters of MACs × weight bits, differentiable; every call of a layer counts.

    Arguments as :func:`weight_size`.

    Source: nakata2021 (the idea); own (the form); book eq-mixed-cost
    """
    # book eq-mixed-cost
    return _sum_of_bits(model, [(work.name, work.filters, work.macs_per_filter) for work in works])


def _sum_of_bits(model: nn.Module, counts: Sequence[tuple[str, int, int]]) -> Tensor:
    """The sum of bits × count over all filters.

    Args:
        counts: layer name, its filters, and how often the bits of each filter count.
    """
    bits = {name: q.bits() for name, q, _ in weight_quantizers(model) if isinstance(q, LearnedBits)}
    missing = sorted({name for name, _, _ in counts} - bits.keys())
    if missing:
        raise ValueError(f"works names {missing}, which have no learned bits in model")
    parts = (count * bits[name].flatten().expand(filters).sum() for name, filters, count in counts)
    return sum(parts, start=torch.zeros(()))


def activation_counts(model: nn.Module, image: Tensor) -> dict[LearnedBits, int]:
    """How many numbers each activation quantizer of ``model`` handles for one image.

    Args:
        image: (1, ...), one batch of one image.
    Raises:
        ValueError: ``image`` reaches no such quantizer.
    Source: own (bookkeeping)
    """
    counts: dict[LearnedBits, int] = {}

    def count(quantizer: Quantizer, inputs: tuple, output: Tensor) -> Tensor:
        assert isinstance(quantizer, LearnedBits)
        counts[quantizer] = counts.get(quantizer, 0) + inputs[0].numel()
        return output

    observe_activations(model, image, LearnedBits, count)
    return counts


def activation_size(elements: dict[LearnedBits, int]) -> Tensor:
    """Bits of all activations of one image, differentiable.

    Args:
        elements: from :func:`activation_counts`.
    Source: uhlich2020 Eq. 8b; uhlich2020 Table 2
    """
    # uhlich2020 Eq. 8b
    return sum((count * quantizer.bits() for quantizer, count in elements.items()), start=torch.zeros(()))


def over_budget(amount: Tensor, target: float) -> Tensor:
    """``relu(amount / target - 1)²``: 0 within the budget, growing beyond it; times a strength it joins the loss.

    The papers' ``relu(amount - target)²`` differs by the factor target², which belongs to the strength.

    Raises:
        ValueError: ``target`` is not positive.
    Source: uhlich2020 Eq. 10; own (relative to the target)
    """
    if not 0 < target < torch.inf:
        raise ValueError(f"target must be positive and finite, got {target}")
    return torch.relu(amount / target - 1).square()  # uhlich2020 Eq. 10


def filter_bits(model: nn.Module) -> dict[str, list[int]]:
    """Weight bits of every filter of every quantized layer, whatever its quantizer, by layer name.

    Raises:
        ValueError: a layer shares one index among several weights.
    Source: own (bookkeeping)
    """
    found: dict[str, list[int]] = {}
    for name, codes in encode_weights(model).items():
        if isinstance(codes, VectorCodes):
            raise ValueError(f"{name} stores an index for several weights, so its filters have no bits of their own")
        bits = codes.bits
        found[name] = bits.tolist() if isinstance(bits, Tensor) else [bits] * codes.shape[0]
    return found
