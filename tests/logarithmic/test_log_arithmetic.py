"""Shifts and additions against exact arithmetic: fractions for base 2, 60 decimal digits for base √2."""

import math
from decimal import Decimal, localcontext
from fractions import Fraction

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given
from hypothesis import strategies as st
from strategies import tensors

from fewbits.logarithmic import LogQuantizer, join_sqrt2, log_accumulate, shift_linear, shift_linear_sqrt2
from fewbits.uniform import UniformQuantizer


@st.composite
def operands(draw, base: str):
    """Codes of a (N, K) input and a (M, K) weight, of all kinds."""
    rows, outputs, inner = (draw(st.integers(1, 4)) for _ in range(3))
    codes = []
    for shape, signed in (((rows, inner), draw(st.booleans())), ((outputs, inner), True)):
        quantizer = LogQuantizer(draw(st.integers(2, 5)), base, signed, draw(st.sampled_from(["zero", "smallest"])))
        quantizer.set_full_scale(draw(st.integers(-9, 9)))
        codes.append(quantizer.encode(draw(tensors(torch.float64, shape=shape, elements=st.floats(-100, 100)))))
    return codes


@given(operands("2"))
def test_the_shift_dot_product_is_exact(pair):
    x, weight = pair
    accumulator, scale = shift_linear(x, weight)
    assert accumulator.dtype == torch.int64
    for row, numbers in zip(accumulator.tolist(), x.decode().tolist(), strict=True):
        for total, others in zip(row, weight.decode().tolist(), strict=True):
            exact = sum(Fraction(a) * Fraction(b) for a, b in zip(numbers, others, strict=True))
            assert total * Fraction(scale.item()) == exact


def test_it_equals_the_simulated_layer_bit_for_bit():
    """4-bit fields span 2^22; with 200 terms every partial sum fits the 53 bits of float64."""
    generator = torch.Generator().manual_seed(0)
    x = LogQuantizer(4, signed=False).encode(torch.rand(30, 200, generator=generator, dtype=torch.float64))
    weight = LogQuantizer(4).encode(torch.randn(20, 200, generator=generator, dtype=torch.float64))
    accumulator, scale = shift_linear(x, weight)
    assert torch.equal(accumulator * scale, F.linear(x.decode(), weight.decode()))


def exponents(codes):
    return (codes.fields() + codes.fsr - 2**codes.field_bits).tolist(), codes.signs().tolist()


@given(operands("sqrt2"))
def test_two_accumulators_hold_the_sum_exactly(pair):
    x, weight = pair
    even, odd, scale = shift_linear_sqrt2(x, weight)
    (powers_x, signs_x), (powers_w, signs_w) = exponents(x), exponents(weight)
    with localcontext() as context:
        context.prec = 60
        root = Decimal(2).sqrt()
        for n, m in [(n, m) for n in range(len(powers_x)) for m in range(len(powers_w))]:
            products = zip(powers_x[n], signs_x[n], powers_w[m], signs_w[m], strict=True)
            exact = sum(s * t * root ** (a + b) for a, s, b, t in products)
            ours = (Decimal(int(even[n, m])) + root * Decimal(int(odd[n, m]))) * Decimal(scale.item())
            assert abs(ours - exact) <= Decimal("1e-40")
    simulated = F.linear(x.decode(), weight.decode())
    torch.testing.assert_close((even + math.sqrt(2) * odd.double()) * scale, simulated, rtol=1e-12, atol=1e-9)


@given(st.integers(-(2**40), 2**40), st.integers(-(2**40), 2**40), st.sampled_from([0, 1, 8, 14, 18]))
def test_the_constant_costs_at_most_half_a_unit_for_each_odd_one(even, odd, bits):
    joined = join_sqrt2(torch.tensor([even]), torch.tensor([odd]), bits).item()
    with localcontext() as context:
        context.prec = 60
        exact = (Decimal(even) + Decimal(2).sqrt() * odd) * 2**bits
        assert abs(joined - exact) <= abs(Decimal(odd)) / 2


def test_the_constant_of_14_bits_is_23170():
    assert join_sqrt2(torch.tensor([0]), torch.tensor([1])).item() == 23170 == round(math.sqrt(2) * 2**14)
    for bits in range(31):
        assert join_sqrt2(torch.tensor([0]), torch.tensor([1]), bits).item() == round(math.sqrt(2) * 2**bits)


def test_the_sum_by_hand():
    """2·4 - 1·8 + ½·4 = 2: fields shift a 1 by 2+1, 1+2 … places, in units of the lowest power."""
    x, weight = LogQuantizer(3, signed=False), LogQuantizer(3)
    x.set_full_scale(2)
    weight.set_full_scale(4)
    codes = x.encode(torch.tensor([[2.0, 1.0, 0.5]])), weight.encode(torch.tensor([[4.0, -8.0, 4.0]]))
    assert [c.fields().tolist() for c in codes] == [[[7, 6, 5]], [[2, 3, 2]]]
    accumulator, scale = shift_linear(*codes)
    assert (accumulator.item(), scale.item()) == ((1 << 9) - (1 << 9) + (1 << 7), 2.0**-6)


@pytest.mark.parametrize(("function", "base"), [(shift_linear, "2"), (shift_linear_sqrt2, "sqrt2")])
def test_bad_operands_are_refused(function, base):
    good = LogQuantizer(4, base).encode(torch.ones(2, 3))
    other = LogQuantizer(4, {"2": "sqrt2", "sqrt2": "2"}[base]).encode(torch.ones(2, 3))
    with pytest.raises(ValueError, match="x and weight must have base"):
        function(good, other)
    for shape in ((3,), (2, 4), (1, 2, 3)):
        with pytest.raises(ValueError, match="x and weight must be matrices"):
            function(good, LogQuantizer(4, base).encode(torch.ones(shape)))
    wide = LogQuantizer(7, base, signed=False).encode(torch.ones(1, 3))
    with pytest.raises(ValueError, match="an int64 accumulator has 62"):
        function(wide, wide)


def test_the_widest_fields_that_fit_do_not_overflow():
    """5-bit unsigned times 5-bit signed fields, all at the top: 46 places and 2^15 terms."""
    x = LogQuantizer(5, signed=False).encode(torch.ones(1, 2**15))
    weight = LogQuantizer(5).encode(torch.ones(1, 2**15))
    accumulator, scale = shift_linear(x, weight)
    assert accumulator.item() == 2**15 << (31 + 15)
    assert accumulator.item() * scale == 2**15
    six = LogQuantizer(5, "sqrt2", signed=False).encode(torch.ones(1, 2**15))
    even, odd, scale = shift_linear_sqrt2(six, six)
    assert (even.item() * scale, odd.item()) == (2**15, 0)


def test_bad_fractions_are_refused():
    one = torch.tensor([1])
    for bits in (-1, 31):
        with pytest.raises(ValueError, match="fraction_bits must lie between 0 and 30"):
            join_sqrt2(one, one, bits)
        with pytest.raises(ValueError, match="fraction_bits must lie between 0 and 30"):
            log_accumulate(one, bits)
    with pytest.raises(ValueError, match="odd must lie between"):
        join_sqrt2(one, torch.tensor([2**47]))
    with pytest.raises(ValueError, match="powers must lie between"):
        log_accumulate(torch.tensor([1001]))
    with pytest.raises(ValueError, match="powers must have a last axis with elements"):
        log_accumulate(torch.tensor(3))
    with pytest.raises(ValueError, match="powers must have a last axis with elements"):
        log_accumulate(torch.zeros(2, 0, dtype=torch.int32))
    with pytest.raises(TypeError, match="powers must be an integer tensor"):
        log_accumulate(torch.ones(2))


# --- accumulation in the log domain --------------------------------------------------------------------------------


def accumulate_reals(powers: list[int]) -> Fraction:
    """The recursion of the paper in exact fractions."""
    total = Fraction(powers[0])
    for power in powers[1:]:
        total = max(total, Fraction(power)) + Fraction(1, 2 ** abs(math.floor(total) - power))
    return total


@given(st.lists(st.integers(-12, 12), min_size=1, max_size=12))
def test_enough_fraction_bits_follow_the_recursion_exactly(powers):
    assert Fraction(log_accumulate(torch.tensor(powers), 30).item(), 2**30) == accumulate_reals(powers)


@given(st.lists(st.integers(-12, 12), min_size=1, max_size=12), st.integers(0, 12))
def test_few_fraction_bits_truncate_the_shifted_one(powers, bits):
    total = powers[0] << bits
    for power in powers[1:]:
        distance = abs((total >> bits) - power)
        total = max(total, power << bits) + int(2**bits / 2**distance)
    assert log_accumulate(torch.tensor(powers), bits).item() == total


@given(st.integers(-20, 20), st.integers(0, 7))
def test_powers_of_two_of_equal_terms_are_exact(power, doublings):
    """1 + 1 = 2, 2 + 2 = 4: the approximation log2(1 + x) ≈ x is exact at x = 1."""
    total = torch.tensor([[power]])
    for _ in range(doublings):
        total = log_accumulate(total.expand(2, 1).T, 0)[:, None]
    assert total.item() == power + doublings


def test_the_error_of_one_step_is_known():
    """max over d of log2(1 + 2^-d) - 2^-d, both terms powers of two: 0.085 at d = 1."""
    gap = torch.arange(0, 8)
    ours = log_accumulate(torch.stack([torch.zeros_like(gap), -gap], dim=1), 30).double() / 2**30
    error = torch.log2(1 + torch.exp2(-gap.double())) - ours
    assert error.min() >= 0
    assert error.max().item() == pytest.approx(math.log2(1.5) - 0.5)


def test_rows_are_summed_by_themselves():
    powers = torch.randint(-6, 6, (3, 4, 9), generator=torch.Generator().manual_seed(1))
    together = log_accumulate(powers)
    assert together.shape == (3, 4)
    assert all(together[i, j] == log_accumulate(powers[i, j]) for i in range(3) for j in range(4))


def test_a_dot_product_of_positive_numbers_comes_out_within_a_quarter():
    generator = torch.Generator().manual_seed(2)
    x = LogQuantizer(4, signed=False).encode(torch.rand(200, 64, generator=generator) + 0.05)
    powers = x.fields() + x.fields().flip(0)
    exact = torch.exp2(powers.double()).sum(1)
    approximate = torch.exp2(log_accumulate(powers).double() / 2**8)
    ratio = approximate / exact
    assert ratio.min() > 0.75
    assert ratio.max() < 1.25
    assert (ratio != 1).any()


def test_a_uniform_code_is_no_operand():
    good = LogQuantizer(4).encode(torch.ones(2, 3))
    with pytest.raises(TypeError, match="weight must be LogCodes, got Codes"):
        shift_linear(good, UniformQuantizer(4).encode(torch.ones(2, 3)))
