"""Exercises on single numbers and tensors: grids, signs, powers of two, shared values."""

import itertools
from fractions import Fraction

import torch
from torch import Tensor

from fewbits.core.extras import extra
from fewbits.exercises.judge import Exercise

with extra("book"):
    from hypothesis import strategies as st


def vectors(values: list[float], largest: int = 4, smallest: int = 1) -> st.SearchStrategy:
    """Tensors in float64, of some of ``values``, which should begin with the simplest."""
    return st.lists(st.sampled_from(values), min_size=smallest, max_size=largest).map(
        lambda drawn: torch.tensor(drawn, dtype=torch.float64)
    )


def simplest_first(values: list[float]) -> list[float]:
    """0, then 1, -1, 2, -2, and the fractions last: hypothesis shrinks toward the front."""
    return sorted(values, key=lambda value: (value != int(value), abs(value), value < 0))


QUARTERS = simplest_first([k / 4 for k in range(-12, 13)])


def nearest_codes(x: Tensor, scale: float, bits: int) -> list[int]:
    """The nearest of all codes, a tie to the even one."""
    codes = range(-(2 ** (bits - 1)) + 1, 2 ** (bits - 1))
    return [min(codes, key=lambda c: (abs(Fraction(w) - c * Fraction(scale)), c % 2)) for w in x.tolist()]


def product_of_signs(a: int, b: int, count: int) -> int:
    """The sum of products, sign by sign; a bit of 1 stands for +1, a bit of 0 for -1."""
    return sum((2 * (a >> i & 1) - 1) * (2 * (b >> i & 1) - 1) for i in range(count))


def ternary_error(x: Tensor, scale: float) -> float:
    """The smallest squared error with this scale: every weight has the code that is nearest to it."""
    return sum(min((w - scale * code) ** 2 for code in (-1, 0, 1)) for w in x.tolist())


def scale_of_all_codes(x: Tensor) -> float:
    """The best scale of the best of all 3^n choices of codes."""
    best, error = 0.0, float(x.square().sum())
    for codes in itertools.product((-1, 0, 1), repeat=len(x)):
        kept = sum(map(abs, codes))
        scale = sum(c * w for c, w in zip(codes, x.tolist(), strict=True)) / kept if kept else 0.0
        here = sum((w - scale * c) ** 2 for c, w in zip(codes, x.tolist(), strict=True))
        if here < error - 1e-12:
            best, error = abs(scale), here
    return best


def leaves_the_least_error(answer: Tensor, expected: Tensor, x: Tensor) -> bool:
    """Whether a scale is not negative and as good as the best: several choices of codes may tie."""
    excess = ternary_error(x, answer.item()) - ternary_error(x, expected.item())
    return answer.item() >= 0 and abs(excess) < 1e-9


def nearest_level(x: float, bits: int) -> float:
    """The nearest of the 2^bits levels between 0 and 1, a tie to the even one."""
    n = 2**bits - 1
    return min(range(n + 1), key=lambda k: (abs(Fraction(x) - Fraction(k, n)), k % 2)) / n


def gradient_of_step(x: Tensor, step: float, q_min: int, q_max: int) -> float:
    """Automatic differentiation, in which rounding passes the gradient unchanged."""
    s = torch.tensor(step, dtype=x.dtype, requires_grad=True)
    v = (x / s).clamp(q_min, q_max)
    (s * (v + (v.round() - v).detach())).sum().backward()
    assert s.grad is not None
    return s.grad.item()


def nearest_exponent(x: float) -> int:
    """Where x² lies between the powers 2^(2e - 1) and 2^(2e + 1), in fractions: no logarithm is rounded."""
    square = Fraction(x) ** 2
    return next(e for e in range(-60, 60) if square < Fraction(2) ** (2 * e + 1))


def exponent_of_largest(x: Tensor) -> int:
    """The power of two at the smallest distance from the largest magnitude, the larger of two."""
    largest = Fraction(max(map(abs, x.tolist())))
    return min(range(-20, 20), key=lambda e: (abs(Fraction(2) ** e - largest), -e))


def gradient_of_values(grad: Tensor, codes: Tensor, count: int) -> list[float]:
    """Automatic differentiation of a weight that looks its values up in a table."""
    values = torch.zeros(count, dtype=torch.float64, requires_grad=True)
    (values[codes] * grad).sum().backward()
    assert values.grad is not None
    return values.grad.tolist()


def mean_bits(bits: list[int], weights: list[int]) -> float:
    """The mean over a list that has one entry for each weight."""
    every = [b for b, n in zip(bits, weights, strict=True) for _ in range(n)]
    return sum(every) / len(every)


def solved_for_the_free(w: Tensor, rounded: float, H: Tensor) -> Tensor:
    """The minimum over all weights but the first, from the equations in which the gradient of the error is 0."""
    error = rounded - w[0]
    return torch.cat([w[:1] + error, w[1:] - torch.linalg.solve(H[1:, 1:], error * H[1:, 0])])


def mean_products() -> st.SearchStrategy:
    """Symmetric matrices (3, 3) of small integers, in float64, with an inverse: A Aᵀ + 1."""

    def product(factor: list[float]) -> Tensor:
        a = torch.tensor(factor, dtype=torch.float64).reshape(3, 3)
        return a @ a.T + torch.eye(3)

    return st.lists(st.sampled_from([0.0, 1.0, -1.0]), min_size=9, max_size=9).map(product)


_OFF_BORDERS = [0.125, -0.125, *(k / 4 + 0.125 for k in range(1, 12)), *(-k / 4 - 0.125 for k in range(1, 12))]

WEIGHTS = [
    Exercise(
        "uniform",
        "the codes: divide, round to the nearest integer, and keep to the range",
        "the nearest code of each element",
        "found by trying all codes, ties to even",
        {"x": vectors(QUARTERS), "scale": st.sampled_from([1.0, 0.5, 2.0]), "bits": st.integers(2, 4)},
        nearest_codes,
    ),
    Exercise(
        "binary",
        "the product of two vectors of signs, from their words",
        "the sum of products",
        "computed sign by sign",
        {"a": st.integers(0, 15), "b": st.integers(0, 15), "count": st.integers(4, 7)},
        product_of_signs,
    ),
    Exercise(
        "ternary",
        "what the k largest magnitudes gain, for every k",
        "the scale of the smallest squared error",
        "found by trying all codes",
        {"x": vectors(QUARTERS)},
        scale_of_all_codes,
        leaves_the_least_error,
    ),
    Exercise(
        "low_bitwidth",
        "the nearest of the levels between 0 and 1",
        "the nearest level",
        "found by trying all levels, ties to even",
        {"x": st.sampled_from([k / 16 for k in range(17)]), "bits": st.integers(1, 4)},
        nearest_level,
    ),
    Exercise(
        "learned_step",
        "the sum of the gradients for the step",
        "the sum of the gradients for the step",
        "found by automatic differentiation",
        {
            "x": vectors(_OFF_BORDERS),
            "step": st.sampled_from([1.0, 0.5]),
            "q_min": st.just(-2),
            "q_max": st.just(1),
        },
        gradient_of_step,
    ),
    Exercise(
        "logarithmic",
        "the exponent of the nearest power on the logarithmic scale",
        "the exponent of the nearest power on the logarithmic scale",
        "found by comparing squares",
        {"x": st.sampled_from(simplest_first([k / 8 for k in range(1, 65)]))},
        nearest_exponent,
    ),
    Exercise(
        "inq",
        "n1, from the largest magnitude",
        "the exponent of the power of two nearest to the largest magnitude",
        "found by comparing distances",
        {"x": vectors([*(value for value in QUARTERS if value), 2.875, -2.875])},
        exponent_of_largest,
    ),
    Exercise(
        "mixed_precision",
        "the mean number of bits of a weight",
        "the mean number of bits",
        "taken over a list with one entry for each weight",
        {
            "bits": st.lists(st.integers(1, 8), min_size=2, max_size=2),
            "weights": st.lists(st.integers(1, 9), min_size=2, max_size=2),
        },
        mean_bits,
    ),
    Exercise(
        "vector",
        "the sum of the gradients of all weights that share the value",
        "the gradient of each shared value",
        "found by automatic differentiation",
        {
            "grad": vectors(QUARTERS, largest=3, smallest=3),
            "codes": st.lists(st.integers(0, 2), min_size=3, max_size=3).map(torch.tensor),
            "count": st.just(3),
        },
        gradient_of_values,
    ),
    Exercise(
        "compensation",
        "all weights after the update",
        "the weights that leave the smallest error",
        "found by solving equations for the free ones",
        {
            "w": vectors(QUARTERS, largest=3, smallest=3),
            "rounded": st.sampled_from([0.0, 1.0, -1.0, 2.0, -2.0]),
            "H": mean_products(),
        },
        solved_for_the_free,
    ),
]
