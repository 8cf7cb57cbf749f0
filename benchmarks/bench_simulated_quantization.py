"""What does simulated quantization cost in training? One training step of a 6-layer VGG, 4-bit weights and activations.

Batch 128, 3 × 32 × 32, all on the CPU. The five forms take turns within one process, and every figure is a ratio to the
float step of the same round, so a machine that slows down half-way does not matter.

* float: convolution, batch normalization, ReLU.
* fewbits: ``quantize_model``; one autograd function per quantizer, in place.
* naive: the same arithmetic spelled out in differentiable operations, ``x + (q(x) - x).detach()``.
* log2: the same network with :class:`fewbits.logarithmic.LogQuantizer`, whose forward pass is some twenty passes and a
  look-up.
* brevitas: ``QuantConv2d``, ``QuantLinear`` and ``QuantReLU`` with their defaults at 4 bits.

A second race is in bfloat16 with channels last in memory, as the long experiments train. There the contestants are LSQ,
its formula as autograd differentiates it, and binary activations by ``sign_ste`` and by ``torch.where``.

The limit is 1: rounding needs no more arithmetic than a ReLU. What remains is memory traffic. A layer's output of n
floats is read and written once by a ReLU (8n bytes forward). The quantizer's passes are counted below.
"""

import copy
import time

import brevitas.nn as qnn
import torch
from torch import nn
from turns import make_step, print_ratios

from fewbits.binary import SignActivation
from fewbits.core.quantizer import calibrate, quantize_activations, quantize_weights
from fewbits.core.ste import round_backward
from fewbits.learned_step import LSQ, lsq_values
from fewbits.logarithmic import LogQuantizer
from fewbits.nets import VGGSmall
from fewbits.uniform import UniformQuantizer, quantize_model

BITS, BATCH = 4, 128
WIDTHS = (64, 64, 128, 128, 256, 256)


class NaiveQuantizer(nn.Module):
    """Quantization as most tutorials write it: every operation is recorded by autograd."""

    def __init__(self, signed: bool, high: float | None = None):
        super().__init__()
        self.signed, self.high = signed, high

    def forward(self, x):
        q_min, q_max = (-(2 ** (BITS - 1)) + 1, 2 ** (BITS - 1) - 1) if self.signed else (0, 2**BITS - 1)
        scale = (x.detach().abs().max() if self.high is None else self.high) / q_max
        clamped = torch.clamp(x / scale, q_min, q_max)
        return (clamped + (clamped.round() - clamped).detach()) * scale


def brevitas_vgg() -> nn.Module:
    """The same network from Brevitas layers; its ReLU and its quantizer are one module there too."""
    model = VGGSmall(3, 32, 10, widths=WIDTHS, activation=lambda: qnn.QuantReLU(bit_width=BITS))

    def convert(layer):
        if isinstance(layer, nn.Conv2d):
            arguments = (layer.in_channels, layer.out_channels, layer.kernel_size, layer.stride, layer.padding)
            return qnn.QuantConv2d(*arguments, bias=layer.bias is not None, weight_bit_width=BITS)
        return qnn.QuantLinear(layer.in_features, layer.out_features, bias=True, weight_bit_width=BITS)

    for name, module in list(model.named_modules()):
        if isinstance(module, (nn.Conv2d, nn.Linear)):
            model.set_submodule(name, convert(module))
    return model


def main() -> None:
    torch.manual_seed(0)
    images, labels = torch.rand(BATCH, 3, 32, 32), torch.randint(10, (BATCH,))
    plain = VGGSmall(3, 32, 10, widths=WIDTHS)
    naive = copy.deepcopy(plain)
    quantize_weights(naive, lambda: NaiveQuantizer(signed=True), skip=())
    quantize_activations(naive, lambda: NaiveQuantizer(signed=False, high=4.0))
    log2 = copy.deepcopy(plain)
    quantize_weights(log2, lambda: LogQuantizer(BITS), skip=())
    calibrate(quantize_activations(log2, lambda: LogQuantizer(BITS, signed=False)), images)
    models = {
        "float": plain,
        "fewbits": quantize_model(plain, BITS, BITS, images, channel_axis=None),
        "naive": naive,
        "log2": log2,
        "brevitas": brevitas_vgg(),
    }
    steps = {name: make_step(model, images, labels) for name, model in models.items()}
    print(f"one training step, {BITS}-bit weights and activations, {torch.get_num_threads()} threads")
    print_ratios(steps, "float")
    print_passes()
    race_in_half_precision(plain, images, labels)


class FormulaLSQ(LSQ):
    """LSQ's values with the gradients that autograd finds."""

    def forward(self, x):
        x = x.float()
        step = round_backward(self.step_size, lambda gradient: self.gradient_scale(x) * gradient)
        return lsq_values(x, step, self.q_min, self.q_max)


class PlainSign(nn.Module):
    """The sign and its window as one would write them first."""

    def forward(self, x):
        sign = torch.where(x >= 0, 1.0, -1.0).to(x.dtype)
        inside = torch.where(x.abs() <= 1, x, x.detach())
        return inside + (sign - inside).detach()


def race_in_half_precision(plain: nn.Module, images: torch.Tensor, labels: torch.Tensor) -> None:
    """Training steps in bfloat16, channels last."""

    def lsq(kind: type[LSQ]) -> nn.Module:
        model = copy.deepcopy(plain)
        quantize_weights(model, lambda: LSQ(BITS), skip=())
        model = quantize_activations(model, lambda: LSQ(BITS, signed=False))
        model(images)  # the first batch starts the steps
        for module in list(model.modules()):
            if type(module) is LSQ:
                module.__class__ = kind
        return model

    models = {
        "float": copy.deepcopy(plain),
        "LSQ": lsq(LSQ),
        "LSQ by autograd": lsq(FormulaLSQ),
        "sign": VGGSmall(3, 32, 10, widths=WIDTHS, activation=SignActivation),
        "sign, plain": VGGSmall(3, 32, 10, widths=WIDTHS, activation=PlainSign),
    }
    images = images.contiguous(memory_format=torch.channels_last)
    steps = {
        name: make_step(model.to(memory_format=torch.channels_last), images, labels, autocast=True)
        for name, model in models.items()
    }
    print(f"one training step in bfloat16, channels last, {BITS} bits or signs")
    print_ratios(steps, "float")


def print_passes() -> None:
    """Time of one activation quantizer in copies of the same tensor: a copy is the least that any pass can move.

    The system hands out fresh memory page by page, which takes longer than the copy itself; so there are two kinds.
    """
    x = torch.rand(BATCH, 64, 32, 32).requires_grad_()
    quantizer = UniformQuantizer(BITS, signed=False)
    quantizer.set_range(0.0, 1.0)
    y, into = quantizer(x), torch.empty_like(x)
    grad = torch.ones_like(y)
    timed = {
        "copy": lambda: x.detach().clone(),
        "copy, memory at hand": lambda: into.copy_(x.detach()),
        "forward": lambda: quantizer(x),
        "backward": lambda: torch.autograd.grad(y, x, grad, retain_graph=True),
    }
    medians = {}
    for name, run in timed.items():
        run()
        durations = []
        for _ in range(7):
            started = time.perf_counter()
            run()
            durations.append(time.perf_counter() - started)
        medians[name] = sorted(durations)[3]
    found = ", ".join(f"{name} {1000 * seconds:.1f} ms" for name, seconds in medians.items())
    ratios = [f"{name} {medians[name] / medians['copy']:.1f} copies" for name in ("forward", "backward")]
    print(f"  quantizer of {x.numel():,} floats: {found}; {', '.join(ratios)} (limit: 1 each)")


if __name__ == "__main__":
    main()
