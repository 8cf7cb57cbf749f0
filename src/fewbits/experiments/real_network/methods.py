"""EfficientNet-Lite0 under every method of the book that needs no training."""

import copy
from collections.abc import Callable
from functools import partial

import torch
from torch import Tensor, nn

from fewbits.bn_folding import correct_statistics, equalize, fold_model
from fewbits.compensation import MXQuantizer, NVFP4Quantizer, compensate
from fewbits.core.graph import replace_module
from fewbits.core.quantize import quantize
from fewbits.core.quantizer import weight_layers
from fewbits.integer import prepare
from fewbits.logarithmic import LogQuantizer
from fewbits.mixed_precision import DistributionQuantizer
from fewbits.uniform import UniformQuantizer
from fewbits.vector import SharedWeights

AXES = {"per channel": 0, "per tensor": None}
RANGE_IMAGES, MOMENT_IMAGES = 32, 32  # for ranges of activations, and for moments; from the photographs held out


def uniform(bits: int, scales: str) -> partial:
    """A maker of symmetric uniform quantizers, with one scale "per channel" or "per tensor"."""
    return partial(UniformQuantizer, bits, channel_axis=AXES[scales])


def with_relu(model: nn.Module) -> nn.Module:
    """A copy with ReLU in the place of each ReLU6, as cross-layer equalization needs it (nagel2019 Sec. 5.1)."""
    model = copy.deepcopy(model)
    for module in list(model.modules()):
        if isinstance(module, nn.ReLU6):
            replace_module(model, module, nn.ReLU())
    return model


def mean_bits_ratio(model: nn.Module, bits: float) -> float:
    """The step of :class:`DistributionQuantizer`, in standard deviations, with which a weight has ``bits`` on average.

    Found by bisection: no photograph and no label is looked at.
    """
    weights = [layer.weight.detach() for layer in weight_layers(model).values()]
    total = sum(weight.numel() for weight in weights)
    low, high = 1e-3, 4.0
    for _ in range(24):
        ratio = (low * high) ** 0.5
        quantizer = DistributionQuantizer(ratio)
        used = sum(float(quantizer.steps_and_bits(w)[1].sum()) * w[0].numel() for w in weights)
        low, high = (ratio, high) if used > bits * total else (low, ratio)
    return high


Method = Callable[[nn.Module, Tensor], nn.Module]


def _weights(make: Callable, folded: bool = True) -> Method:
    return lambda model, _: quantize(fold_model(model) if folded else model, make)


def _corrected(make: Callable) -> Method:
    def method(model: nn.Module, images: Tensor) -> nn.Module:
        folded = fold_model(model)
        return correct_statistics(quantize(folded, make), folded, images[:RANGE_IMAGES])

    return method


def _compensated(make: Callable) -> Method:
    return lambda model, images: compensate(fold_model(model), make, images[:MOMENT_IMAGES], batch_size=8)


def _distribution(bits: float) -> Method:
    def method(model: nn.Module, _: Tensor) -> nn.Module:
        folded = fold_model(model)
        return quantize(folded, partial(DistributionQuantizer, mean_bits_ratio(folded, bits)))

    return method


def _shared(k: int) -> Method:
    return _weights(lambda weight: SharedWeights(weight, k))


# Name -> of the trained network and the inputs held out, to the network that is measured. In the order in which they
# are run: what the claims need comes first.
METHODS: dict[str, Method] = {"float": lambda model, _: model}
METHODS |= {f"8 bits, {scales}": _weights(uniform(8, scales)) for scales in AXES}
METHODS |= {f"8 bits, {scales}, unfolded": _weights(uniform(8, scales), folded=False) for scales in AXES}
METHODS["8 bits, per channel, activations too"] = lambda model, images: prepare(
    fold_model(model), images[:RANGE_IMAGES]
)
METHODS |= {f"{bits} bits, {scales}": _weights(uniform(bits, scales)) for bits in (6, 4) for scales in AXES}
METHODS["8 bits, per tensor, equalized"] = lambda model, _: quantize(
    equalize(with_relu(fold_model(model))), uniform(8, "per tensor")
)
METHODS |= {"MXFP4": _weights(MXQuantizer), "NVFP4": _weights(NVFP4Quantizer)}
METHODS |= {f"k-means, {bits} bits": _shared(2**bits) for bits in (6, 4)}
METHODS["4 bits, per channel, statistics corrected"] = _corrected(uniform(4, "per channel"))
METHODS["8 bits, per tensor, statistics corrected"] = _corrected(uniform(8, "per tensor"))
METHODS |= {
    "powers of 2, 5 bits": _weights(partial(LogQuantizer, 5)),
    "powers of 2, 4 bits": _weights(partial(LogQuantizer, 4)),
}
METHODS["powers of √2, 5 bits"] = _weights(partial(LogQuantizer, 5, base="sqrt2"))
METHODS["powers of √2, 6 bits"] = _weights(partial(LogQuantizer, 6, base="sqrt2"))
METHODS |= {f"step from the distribution, {bits} bits": _distribution(bits) for bits in (6, 4)}
METHODS |= {"MXFP6": _weights(partial(MXQuantizer, "E2M3")), "MXFP8": _weights(partial(MXQuantizer, "E4M3"))}
METHODS["4 bits, per channel, GPTQ"] = _compensated(uniform(4, "per channel"))
METHODS["ReLU in place of ReLU6"] = lambda model, _: with_relu(fold_model(model))
METHODS["6 bits, per tensor, equalized"] = lambda model, _: quantize(
    equalize(with_relu(fold_model(model))), uniform(6, "per tensor")
)
METHODS |= {f"6 bits, {scales}, unfolded": _weights(uniform(6, scales), folded=False) for scales in AXES}
METHODS["NVFP4, GPTQ"] = _compensated(NVFP4Quantizer)
METHODS["4 bits, per channel, unfolded"] = _weights(uniform(4, "per channel"), folded=False)


@torch.no_grad()
def built(name: str, model: nn.Module, images: Tensor) -> nn.Module:
    """The network of a method, in evaluation mode.

    Raises:
        KeyError: there is no such method.
    """
    return METHODS[name](model, images).eval()
