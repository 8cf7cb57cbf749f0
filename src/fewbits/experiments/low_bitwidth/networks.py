"""Networks of the experiment ``low_bitwidth`` that several of its parts use, and ways to round their gradients."""

from collections.abc import Callable
from functools import partial

import torch
from torch import Tensor, nn

from fewbits.core.gradients import QuantizeGradient
from fewbits.core.quantizer import Quantizer, quantize_weights, weight_layers
from fewbits.data import Dataset
from fewbits.low_bitwidth import quantize_gradients
from fewbits.training import adam, one_cycle, train
from fewbits.uniform import UniformQuantizer

CNN_EPOCHS, CNN_LR = 8, 2e-2

clip = partial(nn.Hardtanh, 0.0, 1.0)


def cnn(
    activation: Callable[[], nn.Module] = nn.ReLU,
    last: Callable[[], nn.Module] = nn.ReLU,
    weights: Callable[[], Quantizer] | None = None,
) -> nn.Module:
    """Four 3×3 convolutions with batch normalization, two with max-pooling, and a linear layer: 5,650 parameters.

    Input (N, 1, 28, 28), first averaged to 14 × 14; output (N, 10) logits. Batch normalization and pooling come before
    the activation.

    Args:
        activation: for the first three convolutions.
        last: the activation in front of the last layer, which stays in floating point in DoReFa-Net.
        weights: quantizer for all layers but the first and the last.
    """
    layers: list[nn.Module] = [nn.AvgPool2d(2)]
    for inputs, outputs, pool, act in (
        (1, 8, 0, activation),
        (8, 8, 1, activation),
        (8, 16, 0, activation),
        (16, 16, 1, last),
    ):
        layers += [nn.Conv2d(inputs, outputs, 3, padding=1, bias=False), nn.BatchNorm2d(outputs)]
        layers += [nn.MaxPool2d(2)] * pool + [act()]
    model = nn.Sequential(*layers, nn.Flatten(), nn.Linear(16 * 3 * 3, 10))
    return model if weights is None else quantize_weights(model, weights)


def round_gradients(model: nn.Module, bits: int, rounding: str) -> nn.Module:
    """Quantize gradients after the inner layers of ``model``, in place.

    Args:
        rounding: "noise" as DoReFa-Net does; "nearest", the same without the noise; "zero", to the nearest value of a
            grid that contains 0 (-m, …, 0, …, m with 2^bits - 1 values, m per sample), without noise; "zero, noise", to
            either neighbour on that grid with the right probability. The grid with 0 is ours.
    """
    if rounding in ("noise", "nearest"):
        return quantize_gradients(model, bits, noise=rounding == "noise")
    rules: dict[str, Callable[[Tensor], Tensor]] = {
        "zero": UniformQuantizer(bits, channel_axis=0),
        "zero, noise": partial(stochastic, bits=bits),
    }
    for layer in list(weight_layers(model).values())[1:-1]:
        rule = QuantizeGradient(rules[rounding])
        layer.register_forward_hook(lambda layer, inputs, output, rule=rule: rule(output))
    return model


def stochastic(grad: Tensor, bits: int) -> Tensor:
    """Round to multiples of m / q up to ±m, q = 2^(bits - 1) - 1 and m the largest magnitude of each sample.

    Each number goes to one of its two neighbours, which have the probabilities that make the expectation the number.
    """
    q = 2 ** (bits - 1) - 1
    m = grad.abs().amax(tuple(range(1, grad.dim())), keepdim=True)
    steps = grad / torch.where(m > 0, m, 1.0) * q
    return torch.floor(steps + torch.rand_like(grad)).clamp_(-q, q) / q * m


def train_cnn(
    model: nn.Module,
    seed: int,
    data: Dataset,
    epochs: int = CNN_EPOCHS,
    after_step: Callable[[nn.Module], object] | None = None,
) -> nn.Module:
    """Train in place: Adam, one-cycle learning rate up to 0.02, batches of 128."""
    train(model, data, adam(model, CNN_LR), epochs=epochs, seed=seed, schedule=one_cycle, after_step=after_step)
    return model
