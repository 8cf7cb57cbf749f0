"""Exercises on layers and circuits: folding, merging, integer arithmetic, bits."""

import math
import statistics
from fractions import Fraction

import torch
from torch import Tensor
from torch.nn import functional

from fewbits.core.extras import extra
from fewbits.exercises.judge import Exercise
from fewbits.exercises.weights import simplest_first, vectors

with extra("book"):
    from hypothesis import strategies as st


def folded_by_two_points(
    weight: float, bias: float, gamma: float, beta: float, mean: float, variance: float, eps: float
) -> tuple[float, float]:
    """Slope and offset of the line through the outputs of layer and batch normalization for the inputs 0 and 1."""
    y = torch.tensor([[bias], [weight + bias]], dtype=torch.float64)
    one = torch.ones(1, dtype=torch.float64)
    z = functional.batch_norm(y, mean * one, variance * one, gamma * one, beta * one, training=False, eps=eps)
    return float(z[1] - z[0]), float(z[0])


def kernel_of_impulse(three: Tensor, one: Tensor) -> Tensor:
    """The kernel read from the answer of three branches to a single 1 in each input channel."""
    channels = three.shape[0]
    impulses = torch.zeros(channels, channels, 5, 5, dtype=torch.float64)
    impulses[range(channels), range(channels), 2, 2] = 1
    y = functional.conv2d(impulses, three, padding=1) + functional.conv2d(impulses, one) + impulses
    return y[:, :, 1:4, 1:4].flip(2, 3).transpose(0, 1)


def rounded_fraction(total: int, multiplier: int, shift: int) -> int:
    """The quotient as a fraction, rounded to the nearest integer, a tie upward."""
    return math.floor(Fraction(total * multiplier, 2**shift) + Fraction(1, 2))


def sum_of_planes(planes: list[int], signs: int, count: int) -> int:
    """Each activation put together from its planes, times its sign."""
    values = [sum((plane >> i & 1) << p for p, plane in enumerate(planes)) for i in range(count)]
    return sum(value * (1 if signs >> i & 1 else -1) for i, value in enumerate(values))


def floor_then_sign(x: int, sign: int, n: int) -> int:
    """x / 2^n in fractions, rounded down, with the sign."""
    return (-1) ** sign * math.floor(Fraction(x, 2**n))


def sum_of_bits(a: int, b: int, carry: int) -> tuple[int, int]:
    """The sum of three bits and its carry, by division."""
    return (a + b + carry) % 2, (a + b + carry) // 2


def half_width(values: Tensor, t: float) -> float:
    """Half of the interval of the mean, from the standard library's deviation of a sample."""
    return t * statistics.stdev(values.tolist()) / math.sqrt(len(values))


def kernels(channels: int, side: int) -> st.SearchStrategy:
    """Kernels of (channels, channels, side, side) small integers, in float64."""
    count = channels * channels * side * side
    values = st.lists(st.sampled_from([0, 1, -1, 2]), min_size=count, max_size=count)
    return values.map(lambda drawn: torch.tensor(drawn, dtype=torch.float64).reshape(channels, channels, side, side))


_HALVES = simplest_first([k / 2 for k in range(-4, 5)])

CIRCUITS = [
    Exercise(
        "mobileone",
        "the sum of the three branches' kernels",
        "the kernel of the three branches together",
        "read from their answer to a single 1",
        {"three": kernels(2, 3), "one": kernels(2, 1)},
        kernel_of_impulse,
    ),
    Exercise(
        "bn_folding",
        "weight and bias of the folded layer",
        "the folded weight and bias",
        "read from the outputs of layer and normalization for the inputs 0 and 1",
        {
            "weight": st.sampled_from(_HALVES),
            "bias": st.sampled_from(_HALVES),
            "gamma": st.sampled_from([1.0, 2.0, -1.0, 0.5]),
            "beta": st.sampled_from(_HALVES),
            "mean": st.sampled_from(_HALVES),
            "variance": st.sampled_from([1.0, 4.0, 0.25, 0.0]),
            "eps": st.sampled_from([0.25, 1.0]),
        },
        folded_by_two_points,
    ),
    Exercise(
        "integer",
        "the product, shifted with rounding",
        "the nearest integer, a tie upward",
        "computed with fractions",
        {"total": st.integers(-40, 40), "multiplier": st.integers(1, 7), "shift": st.integers(1, 4)},
        rounded_fraction,
    ),
    Exercise(
        "bitwise",
        "the product of one plane with the signs, counted by bits",
        "the sum of products",
        "computed activation by activation",
        {
            "planes": st.lists(st.integers(0, 15), min_size=1, max_size=3),
            "signs": st.integers(0, 15),
            "count": st.just(4),
        },
        sum_of_planes,
    ),
    Exercise(
        "fpga",
        "the shifted word, then its sign",
        "the shifted word with its sign",
        "computed with fractions that are rounded down",
        {"x": st.integers(-12, 12), "sign": st.integers(0, 1), "n": st.integers(0, 3)},
        floor_then_sign,
    ),
    Exercise(
        "fpga_gates",
        "sum and carry, from gates only",
        "the bits of the sum",
        "found by division",
        {"a": st.integers(0, 1), "b": st.integers(0, 1), "carry": st.integers(0, 1)},
        sum_of_bits,
    ),
    Exercise(
        "noise",
        "half of the width of the interval",
        "half of the width",
        "from the standard library's deviation",
        {"values": vectors(_HALVES, largest=4, smallest=2), "t": st.sampled_from([1.0, 2.0])},
        half_width,
    ),
]
