"""Quantizers of the experiment ``logarithmic`` by the names of its tables, and the ranges of the linear ones."""

import math

import torch
from torch import Tensor

from fewbits.core.quantizer import Quantizer
from fewbits.logarithmic import LogQuantizer
from fewbits.uniform import UniformQuantizer

METHODS = ("linear", "linear 2^k", "log2", "log-sqrt2")


def make_quantizer(method: str, bits: int, signed: bool) -> Quantizer:
    """The quantizer of one of `METHODS`; the linear ones differ in their range only."""
    if method.startswith("linear"):
        return UniformQuantizer(bits, signed=signed)
    return LogQuantizer(bits, {"log2": "2", "log-sqrt2": "sqrt2"}[method], signed)


def linear_range(x: Tensor, method: str, rule: str, bits: int, signed: bool) -> tuple[Tensor, Tensor]:
    """Range of a linear grid: up to the largest magnitude, or the least squared error within four octaves below it.

    "linear" tries 17 clips, a quarter of an octave apart; "linear 2^k" only full scales that are powers of two, of
    which the top code lies one step below, as in the paper.
    """
    largest = x.abs().max().item() or 1.0
    if method == "linear 2^k":
        top = (1 - 2.0 ** -(bits - signed)) * 2.0 ** math.ceil(math.log2(largest))
        clips = [top / 2**octave for octave in range(5)]
    else:
        clips = [largest * 2 ** (-step / 4) for step in range(17)]

    def error(clip: float) -> float:
        quantizer = UniformQuantizer(bits, signed=signed)
        quantizer.set_range(-clip if signed else 0.0, clip)
        return (quantizer(x) - x).square().sum(dtype=torch.float64).item()

    clip = clips[0] if rule == "max" else min(clips, key=error)
    return x.new_tensor(-clip if signed else 0.0), x.new_tensor(clip)
