"""Powers of two against exact rational arithmetic: logarithms compared as squares of fractions, nothing rounded."""

import math
from fractions import Fraction

import pytest
import torch
from hypothesis import given
from strategies import DTYPES, floats, tensors

from fewbits.core.powers import ap2, nearest_power, power_below

FUNCTIONS = {"below": power_below, "ap2": ap2, "nearest": nearest_power}


def reference(kind: str, value: float) -> float:
    """The definition for one finite number, in fractions."""
    if value == 0:
        return value
    size = abs(Fraction(value))
    exponent = math.floor(math.log2(size.numerator)) - math.floor(math.log2(size.denominator))  # floor(log2) or 1 more
    below = Fraction(2) ** (exponent if Fraction(2) ** exponent <= size else exponent - 1)
    assert below <= size < 2 * below
    up = {"below": False, "ap2": size**2 > 2 * below**2, "nearest": size >= Fraction(3, 2) * below}[kind]
    return math.copysign(float(2 * below if up else below), value)


@pytest.mark.parametrize("kind", FUNCTIONS)
@pytest.mark.parametrize("dtype", DTYPES)
def test_a_random_float_gets_the_power_that_the_definition_says(kind, dtype):
    @given(tensors(dtype, elements=floats(dtype)))
    def check(x):
        power = FUNCTIONS[kind](x)
        assert power.dtype == dtype
        assert power.flatten().tolist() == [reference(kind, value) for value in x.flatten().tolist()]

    check()


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("exponent", [-140, -30, -1, 0, 1, 30, 100])
def test_both_neighbours_of_the_border_get_the_right_power(dtype, exponent):
    for kind, border in (("ap2", 0.5**0.5), ("nearest", 0.75), ("below", 1.0)):
        near = torch.tensor(border, dtype=dtype) * 2.0**exponent
        steps = torch.stack([torch.nextafter(near, -near.abs()), near, torch.nextafter(near, 4 * near)])
        assert FUNCTIONS[kind](steps).tolist() == [reference(kind, value) for value in steps.tolist()]


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_every_fifth_number_of_half_precision(dtype):
    bits = torch.arange(-(2**15), 2**15, 5, dtype=torch.int32).to(torch.int16)
    x = bits.view(dtype)
    x = x[x.isfinite()]
    power = ap2(x)
    assert power.dtype == dtype
    expected = torch.tensor([reference("ap2", value) for value in x.tolist()], dtype=torch.float64).to(dtype)
    assert torch.equal(power, expected)


@pytest.mark.parametrize("function", FUNCTIONS.values())
def test_what_is_not_finite_or_zero_stays(function):
    x = torch.tensor([0.0, -0.0, torch.inf, -torch.inf, torch.nan])
    y = function(x)
    assert y[:4].tolist() == x[:4].tolist()
    assert y[4].isnan()
    assert not y[0].signbit()
    assert y[1].signbit()


def test_above_the_greatest_power_ap2_overflows():
    assert ap2(torch.tensor([2.0**127, -3.4e38])).tolist() == [2.0**127, -torch.inf]


def test_the_gradient_of_ap2_passes_unchanged():
    x = torch.tensor([0.3, -5.0, 0.0, 1e10], requires_grad=True)
    ap2(x).backward(torch.tensor([1.0, 2.0, 3.0, 4.0]))
    assert x.grad.tolist() == [1.0, 2.0, 3.0, 4.0]
