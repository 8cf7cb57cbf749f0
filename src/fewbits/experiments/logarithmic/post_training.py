"""The MobileNets of CIFAR-100, rounded after training as Miyashita does: a range for each layer, found by search.

Three float networks, trained from different seeds, come from ``data/checkpoints``. Weights have 5 bits in convolutions
and 4 in the linear layer, activations 3 to 5; the codes are fixed point, powers of 2, or powers of √2. Layer by layer,
the full scale is the one with the least cross entropy on 128 training images, which the float networks have seen. Test
images are used once, with all ranges chosen.

``data/results/logarithmic_mobilenet.csv`` gets a row for each network and setting as soon as it is measured, so that a
run may be stopped at any time; it goes on with what the table lacks.
"""

import copy
import math
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import TypeVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from fewbits import evidence
from fewbits.core.quantizer import LAYERS, Quantizer
from fewbits.data import held_out
from fewbits.experiments.common import run_missing_rows
from fewbits.experiments.logarithmic.claims import mobilenet_claims
from fewbits.experiments.logarithmic.quantizers import make_quantizer
from fewbits.experiments.mobileone.cifar100 import cifar100, float_network
from fewbits.logarithmic import LogQuantizer, full_scale_of_max
from fewbits.logarithmic.quantizer import STEPS
from fewbits.uniform import UniformQuantizer

T = TypeVar("T")

TABLE = "logarithmic_mobilenet"
KEYS = ("network", "weights", "activations", "activation_bits")
CONV_BITS, LINEAR_BITS = 5, 4  # of weights
SEARCH_IMAGES = 128
OCTAVES = 4  # candidates for a full scale: that of the largest number, and those 1, 2, 3 octaves below
NETWORKS = (0, 1, 2)


@dataclass(frozen=True)
class Setting:
    """Which codes the weights and the activations have: "float" or a method of `make_quantizer`."""

    weights: str = "float"
    activations: str = "float"
    activation_bits: int = 32


# In the order in which they matter.
SETTINGS = (
    Setting(),
    *(Setting("float", method, bits) for bits in (3, 4) for method in ("log2", "linear 2^k")),
    *(Setting(method) for method in ("log-sqrt2", "linear 2^k", "log2")),
    *(Setting(method, "log2", 4) for method in ("log-sqrt2", "linear 2^k", "log2")),
    Setting("log-sqrt2", "log-sqrt2", 4),
    Setting("linear 2^k", "linear 2^k", 4),
    *(Setting("float", method, 5) for method in ("log2", "linear 2^k")),
)


# --- Rounding ------------------------------------------------------------------------------------------------------


def candidates(x: Tensor, method: str, bits: int, signed: bool) -> Iterable[Quantizer]:
    """Quantizers for ``x``, the one whose range holds the largest magnitude first, then 1, 2, … octaves below it."""
    largest = x.abs().max().item() or 1.0
    for octave in range(OCTAVES):
        quantizer = make_quantizer(method, bits, signed)
        if isinstance(quantizer, UniformQuantizer):  # full scale 2^k, whose top code lies one step below
            top = (1 - 2.0 ** -(bits - signed)) * 2.0 ** (math.ceil(math.log2(largest)) - octave)
            quantizer.set_range(-top if signed else 0.0, top)
        elif isinstance(quantizer, LogQuantizer):
            quantizer.set_full_scale(full_scale_of_max(x, quantizer) - octave * STEPS[quantizer.base])
        yield quantizer


@torch.no_grad()
def rounded(layers: Iterable[nn.Module], setting: Setting, images: Tensor, labels: Tensor) -> nn.Sequential:
    """A copy of a network with rounded weights and ReLU outputs, each range chosen with all layers before it rounded.

    Args:
        layers: of a float network in evaluation mode, in the order of their calls.
        images, labels: what the ranges are chosen on: the least cross entropy wins, of equals the largest range.
    """
    layers = list(copy.deepcopy(nn.ModuleList(layers)))
    done: list[nn.Module] = []
    x = images
    for place, layer in enumerate(layers):
        rest = nn.Sequential(*layers[place + 1 :])

        def loss(y: Tensor, rest: nn.Module = rest) -> float:
            return F.cross_entropy(rest(y), labels).item()

        if setting.weights != "float" and isinstance(layer, LAYERS):
            bits = LINEAR_BITS if isinstance(layer, nn.Linear) else CONV_BITS
            latent = layer.weight.clone()
            tried = [quantizer(latent) for quantizer in candidates(latent, setting.weights, bits, True)]
            layer.weight.copy_(_best(tried, lambda weight: loss(_with_weight(layer, weight, x))))  # noqa: B023
        x = layer(x)
        done.append(layer)
        if setting.activations != "float" and isinstance(layer, nn.ReLU):
            found = candidates(x, setting.activations, setting.activation_bits, False)
            done.append(_best(found, lambda rounder: loss(rounder(x))))  # noqa: B023
            x = done[-1](x)
    return nn.Sequential(*done)


def _in_order(part: nn.Module) -> list[nn.Module]:
    return list(part) if isinstance(part, nn.Sequential) else [part]


def _best(options: Iterable[T], cost: Callable[[T], float]) -> T:
    return min(options, key=cost)  # the first of equals


def _with_weight(layer: nn.Module, weight: Tensor, x: Tensor) -> Tensor:
    return torch.func.functional_call(layer, {"weight": weight}, (x,))


@torch.no_grad()
def top(model: nn.Module, images: Tensor, labels: Tensor, counts: tuple[int, ...] = (1, 5)) -> list[float]:
    """Percentages of images whose class is among the 1 and among the 5 largest logits."""
    right = torch.zeros(len(counts), dtype=torch.int64)
    for x, y in zip(images.split(250), labels.split(250), strict=True):
        hit = model(x).topk(max(counts), 1).indices == y[:, None]
        right += torch.stack([hit[:, :count].any(1).sum() for count in counts])
    return (100 * right / len(labels)).tolist()


# --- The run -------------------------------------------------------------------------------------------------------


def run_post_training(options, command: str) -> None:
    """Measure every network and setting that the table lacks, then record the claims."""
    started = time.perf_counter()
    data = cifar100(torch.device("cpu"))
    choice = held_out(data)
    images = choice.test_images[:SEARCH_IMAGES].contiguous(memory_format=torch.channels_last)
    labels = choice.test_labels[:SEARCH_IMAGES]
    test_images = data.test_images.contiguous(memory_format=torch.channels_last)

    def measure(row: dict, minutes: float | None) -> dict[str, float]:
        network = float_network("mobilenet", row["network"])
        network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        setting = Setting(row["weights"], row["activations"], row["activation_bits"])
        layers = [layer for part in network.children() for layer in _in_order(part)]
        model = rounded(layers, setting, images, labels)
        return dict(zip(("top1", "top5"), top(model, test_images, data.test_labels), strict=True))

    rows = [{"network": network, **vars(setting)} for setting in SETTINGS for network in NETWORKS]
    if run_missing_rows(TABLE, rows, measure, command, options.minutes):
        claims = mobilenet_claims(evidence.rows(TABLE))
        evidence.record("logarithmic", claims, command=command, wall_s=time.perf_counter() - started)
