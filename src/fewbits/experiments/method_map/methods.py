"""The methods of the map: one network, one amount of training, and what each product then needs of the hardware."""

import copy
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial

import torch
import torch.nn.functional as F
from torch import nn

from fewbits import training
from fewbits.core.macs import layer_work
from fewbits.core.quantizer import calibrate, encode_weights, quantize_activations, quantize_weights, weight_layers
from fewbits.data import Dataset
from fewbits.experiments import comparison
from fewbits.experiments.binary.run import METHODS as BINARY
from fewbits.experiments.comparison import FLOAT, TASKS, Method, Network, train_method
from fewbits.experiments.ternary.run import METHODS as TERNARY
from fewbits.inq import Inq, halving
from fewbits.learned_step import LSQ, keep_positive
from fewbits.logarithmic import LogQuantizer
from fewbits.low_bitwidth import DoReFaActivation, DoReFaWeights
from fewbits.mixed_precision import (
    DistributionQuantizer,
    constrain,
    filter_bits,
    learn_weight_bits,
    mac_bits,
    over_budget,
)
from fewbits.nets import MLP
from fewbits.uniform import UniformQuantizer
from fewbits.vector import DeepCompression

TASK = TASKS["mnist5k"]
EPOCHS = TASK.epochs  # of every method; one that starts from a trained network has half of them for each part
START_BITS, MEAN_BITS, STRENGTH = 6, 3.0, 2.0  # of learned bits
STEP = 0.5  # of post-training bits, in standard deviations
SHARED = 16  # values in a codebook
CALIBRATION_IMAGES = 512

Units = Mapping[str, float]  # how many of each unit one product takes


@dataclass(frozen=True)
class Entry:
    """One row of the map.

    Attributes:
        style: name in :data:`fewbits.plots.COLORS`.
        train: (data, seed) to the trained network.
        units: what a product takes in the first layer, in those between, and in the last one; None if it follows from
            the bits of each filter.
        real_activations: hidden activations are left in floating point; the map rounds them to 8 bits.
        weight_bits: of a weight, where nothing in the network tells any more.
    """

    style: str
    train: Callable[[Dataset, int], nn.Module]
    units: tuple[Units, Units, Units] | None
    real_activations: bool = True
    weight_bits: float | None = None


def every(name: str, count: int = 1) -> tuple[Units, Units, Units]:
    """The same unit in all layers."""
    return ({name: count},) * 3


# --- Training ---------------------------------------------------------------------------------------------------------


def scratch(method: Method) -> Callable[[Dataset, int], nn.Module]:
    """All epochs with the method."""
    return lambda data, seed: train_method(method, TASK, data, seed)


def uniform(network: Network, bits: int) -> nn.Module:
    """Weights and activations of ``bits`` bits on uniform grids; the ranges of the activations are running averages
    over the batches of training, and are frozen in the test."""
    model = quantize_weights(network(activation=nn.ReLU), partial(UniformQuantizer, bits, channel_axis=0), skip=())
    return quantize_activations(model, partial(UniformQuantizer, bits, signed=False, running=0.1))


def learned_steps(network: Network, bits: int, scale_gradient: bool = True) -> nn.Module:
    """Weights and activations of ``bits`` bits, each tensor with a learned step; the first batch starts those of the
    activations."""
    model = quantize_weights(network(activation=nn.ReLU), partial(LSQ, bits, scale_gradient=scale_gradient), skip=())
    return quantize_activations(model, partial(LSQ, bits, signed=False, scale_gradient=scale_gradient))


def dorefa(network: Network) -> nn.Module:
    """Weights of one bit and activations of two, in all layers."""
    return quantize_weights(network(activation=partial(DoReFaActivation, 2)), partial(DoReFaWeights, 1), skip=())


def after_training(make_quantizer) -> Callable[[Dataset, int], nn.Module]:
    """All epochs in floating point; then the weights are rounded."""
    return lambda data, seed: quantize_weights(train_method(FLOAT, TASK, data, seed), make_quantizer, skip=())


def go_on(model: nn.Module, data: Dataset, seed: int, epochs: int, **options) -> nn.Module:
    """Train ``model`` further, with the recipe of the others and a third of its learning rate."""
    training.train(model, data, training.adam(model, 1e-3), epochs=epochs, seed=seed, **options)
    return model


def half_trained(data: Dataset, seed: int) -> nn.Module:
    """The float network after half of the epochs (with a whole learning rate schedule)."""
    return train_method(FLOAT, TASK, data, seed, EPOCHS // 2)


def inq(data: Dataset, seed: int) -> nn.Module:
    """Half of the epochs in floating point, then INQ of 5 bits in four steps."""
    model = half_trained(data, seed)
    schedule = Inq(model)
    stages = halving(4)
    for stage, fraction in enumerate(stages):
        schedule.step(fraction)
        if fraction < 1:
            # 10 epochs in three parts: 4, 3 and 3.
            epochs = [4, 3, 3][stage] * EPOCHS // 20
            go_on(model, data, seed + stage, epochs)
    return schedule.finish()


def learned_bits(data: Dataset, seed: int) -> nn.Module:
    """Half of the epochs in floating point, then weights and the bits of each filter together."""
    model = learn_weight_bits(half_trained(data, seed), START_BITS)
    works = layer_work(model, data.train_images.shape[1:])
    budget = MEAN_BITS * sum(work.macs for work in works)

    def loss(logits: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        return F.cross_entropy(logits, labels) + STRENGTH * over_budget(mac_bits(model, works), budget)

    return go_on(model, data, seed, EPOCHS // 2, loss=loss, after_step=constrain)


def shared(data: Dataset, seed: int) -> nn.Module:
    """Half of the epochs in floating point, then Deep Compression's sharing, without pruning, and its fine-tuning."""
    compression = DeepCompression(half_trained(data, seed))
    compression.share(SHARED)
    return go_on(compression.model, data, seed, EPOCHS // 2)


def log_weights(network: Network) -> nn.Module:
    """Weights of 4 bits on a logarithmic grid."""
    return quantize_weights(network(activation=nn.ReLU), partial(LogQuantizer, 4), skip=())


ENTRIES = {
    "float": Entry("float", scratch(FLOAT), every("float × float"), False),
    "uniform, 8 bits, after training": Entry(
        "ptq", after_training(partial(UniformQuantizer, 8, channel_axis=0)), every("8 bits × 8 bits")
    ),
    "uniform, 4 bits": Entry(
        "uniform",
        scratch(Method(partial(uniform, bits=4))),
        ({"4 bits × 8 bits": 1}, *every("4 bits × 4 bits")[1:]),
        False,
    ),
    "uniform, 2 bits": Entry(
        "uniform",
        scratch(Method(partial(uniform, bits=2))),
        # The symmetric grid of two bits has three levels.
        ({"ternary × 8 bits": 1}, *every("ternary × 2 bits")[1:]),
        False,
    ),
    "LSQ, 2 bits": Entry(
        "lsq",
        scratch(Method(partial(learned_steps, bits=2), after_step=keep_positive)),
        ({"2 bits × 8 bits": 1}, *every("2 bits × 2 bits")[1:]),
        False,
    ),
    "BinaryConnect": Entry("binaryconnect", scratch(BINARY["binaryconnect"]), every("sign × 8 bits")),
    "BWN": Entry("xnor-net", scratch(BINARY["bwn"]), every("sign × 8 bits")),
    "BinaryNet": Entry(
        "binarynet", scratch(BINARY["binarynet"]), ({"sign × 8 bits": 1}, *every("sign × sign")[1:]), False
    ),
    "XNOR-Net": Entry(
        "xnor-net",
        scratch(BINARY["xnor-net"]),
        ({"float × float": 1}, {"sign × sign": 1}, {"float × float": 1}),
        False,
    ),
    "DoReFa-Net, 1 and 2 bits": Entry(
        "dorefa", scratch(Method(dorefa)), ({"sign × 8 bits": 1}, *every("sign × 2 bits")[1:]), False
    ),
    "TWN": Entry("twn", scratch(TERNARY["twn"]), every("ternary × 8 bits")),
    # Two magnitudes: what is positive and what is negative must be summed apart.
    "TTQ": Entry("ttq", scratch(TERNARY["ttq"]), every("0 or 1 × 8 bits", 2)),
    "exact ternary": Entry("exact ternary", scratch(TERNARY["exact ternary"]), every("ternary × 8 bits")),
    "log2, 4 bits": Entry("log2", scratch(Method(log_weights)), every("log 4 bits × 8 bits")),
    "INQ, 5 bits": Entry("inq", inq, every("INQ × 8 bits"), weight_bits=5),
    "learned bits": Entry("nakata", learned_bits, None),
    "bits after training": Entry("sasaki", after_training(partial(DistributionQuantizer, STEP)), None),
    "shared, 16 values": Entry("k-means", shared, every("codebook of 16 × 8 bits")),
}


# --- Costs ------------------------------------------------------------------------------------------------------------


@torch.no_grad()
def round_activations(model: nn.Module, images: torch.Tensor) -> nn.Module:
    """A copy of ``model`` whose ReLU outputs have 8 bits, with ranges from ``images``."""
    model = quantize_activations(copy.deepcopy(model), partial(UniformQuantizer, 8, signed=False))
    return calibrate(model, images, UniformQuantizer)


def bits_per_weight(entry: Entry, model: nn.Module) -> float:
    """Stored bits of all weights, scales and codebooks included, by the number of weights."""
    if entry.weight_bits is not None:
        return entry.weight_bits
    counts = {name: layer.weight.numel() for name, layer in weight_layers(model).items()}
    codes = encode_weights(model)
    stored = sum(codes[name].nbits if name in codes else 32 * count for name, count in counts.items())
    return stored / sum(counts.values())


def units_of(entry: Entry, model: nn.Module) -> list[Units]:
    """What a product takes, layer by layer."""
    layers = list(weight_layers(model))
    if entry.units is not None:
        first, between, last = entry.units
        return [first, *[between] * (len(layers) - 2), last]
    return [shares(bits) for bits in filter_bits(model).values()]


def shares(bits: list[int]) -> Units:
    """The share of a layer's filters that need each unit."""
    return {f"{width} bits × 8 bits": round(bits.count(width) / len(bits), 4) for width in sorted(set(bits))}


def macs() -> list[int]:
    """Multiply-accumulates of each layer for one image."""
    return [work.macs for work in layer_work(MLP(comparison.MLP_SIZES, batch_norm=True).eval(), (1, 28, 28))]
