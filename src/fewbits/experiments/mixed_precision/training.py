"""The network, the recipe and the methods of the experiment ``mixed_precision``."""

import copy
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

import torch
import torch.nn.functional as F
from torch import nn
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LambdaLR, LRScheduler

from fewbits.core.macs import LayerWork, layer_work
from fewbits.core.quantizer import calibrate, quantize_activations, quantize_weights
from fewbits.data import Dataset, load
from fewbits.mixed_precision import (
    DistributionQuantizer,
    LearnedBits,
    Processor,
    activation_counts,
    activation_size,
    clip_grid_gradients,
    constrain,
    filter_bits,
    learn_weight_bits,
    mac_bits,
    network_cycles,
    over_budget,
    weight_size,
)
from fewbits.nets import VGGSmall
from fewbits.training import adam, centred, clip_gradients, half_size, percent, seed_everything, train
from fewbits.uniform import UniformQuantizer

WIDTHS = (4, 4, 8, 8, 16, 16)  # as in a ResNet each stage has half the positions a side and twice the filters
IMAGE_SHAPE = (1, 14, 14)
FLOAT_EPOCHS, EPOCHS, LR = 20, 12, 1e-3
LEARNING = 0.75  # share of the epochs in which the grids move; then only weights do, and the bits stay
START_BITS = 6
# Of learned activations, as in the code of Uhlich et al. (2020): all begin with 4 bits, and keep to this mean over an
# image, 92.1 KB in ResNet-20. Begun with the 8 bits of weights, their ranges would hardly move before training ends.
ACTIVATION_BITS = 4
CALIBRATION_IMAGES = 256
STRENGTH = 2.0  # of a penalty; a stronger one takes the same bits from every filter, whatever it costs
# A small array for a small network: 2 filters times 32 positions at a time, one bit a cycle.
PROCESSOR = Processor(lanes=32, columns=2, fill=4, setup=32)


@dataclass(frozen=True)
class Method:
    """How bits are found; a method has several settings, which trade accuracy for cost.

    Attributes:
        settings: bits ("fixed", "post-training"), mean bits to aim at (a penalty), or step in standard deviations.
        penalty: of the loss while training: "size", "macs" or None.
        channel_axis: 0 for a grid per filter, None for one per layer.
        trained: False for rounding a trained network.
        activations: learned grids after the ReLUs, too, with a penalty of their own: `ACTIVATION_BITS` on average.
    """

    settings: Sequence[float]
    penalty: str | None = None
    channel_axis: int | None = 0
    trained: bool = True
    activations: bool = False


METHODS = {
    "fixed": Method((2, 3, 4)),
    "uhlich": Method((1.8, 2.2, 2.8), "size", None),
    "uhlich filter-wise": Method((1.8, 2.2, 2.8), "size"),
    "nakata": Method((1.8, 2.2, 2.8), "macs"),
    "post-training": Method((3, 4, 5, 6), trained=False),
    "sasaki": Method((1.0, 0.7, 0.5, 0.35, 0.25, 0.18), trained=False),
}


def network() -> VGGSmall:
    """Six convolutions of 4 to 16 filters and a linear layer: 4,660 weights, 108,880 MACs for 14 × 14 pixels."""
    return VGGSmall(*IMAGE_SHAPE[:2], 10, WIDTHS)


def prepared() -> Dataset:
    """``mnist5k``, averaged down to 14 × 14 pixels in [-1, 1]."""
    return centred(half_size(load("mnist5k")))


def train_float(data: Dataset, seed: int, epochs: int = FLOAT_EPOCHS) -> nn.Module:
    """The float network from which every method starts."""
    seed_everything(seed)
    model = network()
    optimizer = adam(model, 3e-3)
    train(model, data, optimizer, epochs=epochs, seed=seed, schedule=in_shares(1.0), after_step=constrain)
    return model


def quantized(float_model: nn.Module, method: Method, setting: float, start: int = START_BITS) -> nn.Module:
    """A copy of ``float_model`` with the method's quantizers, before training; learned bits begin at ``start``."""
    model = copy.deepcopy(float_model)
    if not method.trained:
        if method is METHODS["sasaki"]:
            return quantize_weights(model, partial(DistributionQuantizer, setting), skip=())
        return quantize_weights(model, partial(UniformQuantizer, int(setting), channel_axis=0), skip=())
    if method.penalty is None:
        bits = int(setting)
        return learn_weight_bits(model, bits, method.channel_axis, min_bits=bits, max_bits=bits)
    return learn_weight_bits(model, start, method.channel_axis)


def train_quantized(
    float_model: nn.Module,
    method: Method,
    setting: float,
    data: Dataset,
    seed: int,
    epochs: int = EPOCHS,
    lr: float = LR,
    start: int = START_BITS,
    clip: bool = False,
    **options,
) -> nn.Module:
    """Train weights, steps and ranges together, under the method's penalty.

    Args:
        lr: of the weights, at first; steps and ranges have twice that, or as much with ``clip``.
        start: bits from which a penalty takes.
        clip: as in the code of Uhlich et al. (2020), SGD with momentum and gradients of steps and ranges that are
            limited to the step; also a limit to the norm of all gradients, which networks without normalization need.
            If False, Adam.
        options: of :func:`fewbits.training.fit`.
    """
    model = quantized(float_model, method, setting, start)
    if not method.trained:
        return model
    elements: dict[LearnedBits, int] = {}
    if method.activations:
        quantize_activations(model, partial(LearnedBits, signed=False, min_bits=1))
        calibrate(model, data.train_images[:CALIBRATION_IMAGES], LearnedBits, bits=ACTIVATION_BITS)
        elements = activation_counts(model, data.train_images[:1])
    works = layer_work(model, data.train_images.shape[1:])
    costs = {"size": (weight_size, sum(w.weights for w in works)), "macs": (mac_bits, sum(w.macs for w in works))}

    def loss(logits: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        wrong = F.cross_entropy(logits, labels)
        if method.penalty is None:
            return wrong
        cost, count = costs[method.penalty]
        price = over_budget(cost(model, works), setting * count)
        if elements:
            price = price + over_budget(activation_size(elements), ACTIVATION_BITS * sum(elements.values()))
        return wrong + STRENGTH * price

    named = dict(model.named_parameters())
    grids = {name for name in named if name.endswith(("step_size", "q_max"))}
    groups = [
        {"params": [p for name, p in named.items() if name not in grids], "lr": lr},
        {"params": [named[name] for name in sorted(grids)], "lr": lr if clip else 2 * lr},
    ]
    options |= {"loss": loss, "after_step": constrain}
    optimizer: Optimizer = torch.optim.Adam(groups)
    if clip:
        optimizer = torch.optim.SGD(groups, momentum=0.9, nesterov=True)
        clip_grid_gradients(optimizer, model)
        clip_gradients(optimizer)
    train(model, data, optimizer, epochs=epochs, seed=seed, schedule=in_shares(1.0, LEARNING), **options)
    return model


def in_shares(*shares: float) -> Callable[[Optimizer, int], LRScheduler]:
    """Learning rates that fall to 0 along a cosine, each group's in its share of the steps, and stay there."""

    def schedule(optimizer: Optimizer, steps: int) -> LRScheduler:
        def course(share: float) -> Callable[[int], float]:
            return lambda step: 0.5 * (1 + math.cos(math.pi * min(1.0, step / steps / share)))

        return LambdaLR(optimizer, [course(share) for share in shares])

    return schedule


def costs_of(bits: dict[str, list[int]], works: Sequence[LayerWork], processor: Processor = PROCESSOR) -> dict:
    """What the bits of all filters cost: means per filter, per weight and per MAC, and cycles of one image."""
    every = [(bit, work) for work in works for bit in bits[work.name]]

    def mean(share) -> float:
        return sum(bit * share(work) for bit, work in every) / sum(share(work) for _, work in every)

    return {
        "bits_per_filter": mean(lambda work: 1),
        "bits_per_weight": mean(lambda work: work.weights_per_filter),
        "bits_per_mac": mean(lambda work: work.macs_per_filter),
        "cycles": network_cycles(processor, works, bits),
    }


def measure(model: nn.Module, data: Dataset, processor: Processor = PROCESSOR) -> dict:
    """Test accuracy in percent, :func:`costs_of` a quantized network, and the mean bits of learned activations."""
    row = {"accuracy": percent(model, data)}
    if bits := filter_bits(model):
        row |= costs_of(bits, layer_work(model, data.test_images.shape[1:]), processor)
    if any(isinstance(module, LearnedBits) and not module.signed for module in model.modules()):
        elements = activation_counts(model, data.test_images[:1])
        row["bits_per_activation"] = activation_size(elements).item() / sum(elements.values())
    return row
