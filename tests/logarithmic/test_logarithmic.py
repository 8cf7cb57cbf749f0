"""Logarithmic data: rounding against exact rational arithmetic, codes bit for bit, full scale by brute force."""

import itertools
import math
from fractions import Fraction

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from strategies import BAD_BITS, BAD_FLOATS, BAD_VALUES, DTYPES, floats, same_bits, tensors
from torch import nn

from fewbits.core.packing import unpack
from fewbits.core.powers import ap2
from fewbits.core.quantizer import encode_weights, quantize_activations, quantize_weights, stored_bits
from fewbits.logarithmic import (
    LogQuantizer,
    QuantizeGradient,
    calibrate,
    full_scale_of_least_error,
    full_scale_of_max,
    log_round,
    powers_of,
)
from fewbits.nets import MLP
from fewbits.uniform import UniformQuantizer

BASES = ("2", "sqrt2")
KINDS = [
    pytest.param(
        {"bits": bits, "base": base, "signed": signed, "lowest": lowest}, id=f"{bits}-{base}-{signed}-{lowest}"
    )
    for base, signed, lowest in itertools.product(BASES, (True, False), ("zero", "smallest"))
    for bits in (2, 5)
]
MODERATE = st.one_of(st.sampled_from([0.0, -0.0, 1.0, -1.0, 2.0**0.5, 3.0]), st.floats(-8, 8, width=32)).filter(
    lambda value: value == 0 or abs(value) > 1e-30
)


def between(x: Fraction, base: str, k: int) -> bool:
    """Whether k is the rounded logarithm of x > 0: ``base^(k-½) < x < base^(k+½)``, compared as rational powers."""
    power = 2 if base == "2" else 4
    return Fraction(2) ** (2 * k - 1) < x**power < Fraction(2) ** (2 * k + 1)


# --- rounding ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("base", BASES)
@pytest.mark.parametrize("dtype", DTYPES)
def test_the_logarithm_is_rounded_exactly(base, dtype):
    @given(tensors(dtype, elements=floats(dtype)))
    def check(x):
        for value, power in zip(x.flatten().tolist(), log_round(x, base).flatten().tolist(), strict=True):
            assert power == -(2**20) if value == 0 else between(abs(Fraction(value)), base, power)

    check()


@pytest.mark.parametrize("base", BASES)
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.bfloat16, torch.float16])
def test_the_neighbours_of_every_border_are_rounded_exactly(base, dtype):
    """The floats around √2^(k+½) or 2^(k+½): the naive logarithm in float32 gets some of them wrong (next test)."""
    steps = 1 if base == "2" else 2
    for k in range(-12 * steps, 12 * steps):
        near = torch.tensor(2.0 ** ((k + 0.5) / steps), dtype=dtype)
        far = torch.tensor(100.0, dtype=dtype)
        for x in (torch.nextafter(near, 0 * near), near, torch.nextafter(near, far)):
            assert between(Fraction(x.item()), base, int(log_round(x, base)))


@pytest.mark.parametrize("base", BASES)
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
def test_numbers_of_every_octave_are_rounded_as_the_mantissa_says(dtype, base):
    """Subnormal numbers and the largest ones among them, against the mantissa that ``frexp`` gives."""
    low, high = (-1074, 1024) if dtype == torch.float64 else (-149, 128)
    x = torch.cat([torch.tensor([1, 1.1, 1.3, 1.5, 1.7, 1.9], dtype=torch.float64) * 2.0**k for k in range(low, high)])
    x = x.to(dtype)[x.to(dtype) > 0]
    mantissa, exponent = torch.frexp(x)
    borders = [0.5**0.5] if base == "2" else [0.5**0.75, 0.5**0.25]
    expected = len(borders) * (exponent.long() - 1) + sum((mantissa.double() > border).long() for border in borders)
    assert torch.equal(log_round(-x, base).long(), expected)
    assert log_round(x, base).dtype == torch.int32


@pytest.mark.parametrize(
    "x", [torch.ones(2, dtype=torch.int32), torch.ones(0), torch.tensor([1.0, torch.nan, -torch.inf])]
)
def test_what_has_no_logarithm_is_refused(x):
    with pytest.raises((TypeError, ValueError), match=r"^x (must|holds|is)"):
        log_round(x)


@pytest.mark.parametrize("signed", [False, True])
def test_the_memory_format_stays(signed):
    quantizer = LogQuantizer(3, signed=signed)
    quantizer.set_full_scale(0)
    x = torch.randn(2, 4, 3, 3).contiguous(memory_format=torch.channels_last).requires_grad_()
    y = quantizer(x)
    assert y.stride() == x.stride()
    assert torch.equal(y, quantizer(x.contiguous()))


def test_a_computed_logarithm_is_wrong_next_to_a_border():
    near = torch.tensor([2.0 ** (k + 0.5) for k in range(-20, 20)])
    candidates = torch.cat([torch.nextafter(near, 0 * near), near, torch.nextafter(near, 4 * near)])
    naive, exact = torch.log2(candidates).round().int(), log_round(candidates)
    assert 0 < (naive != exact).sum() < len(candidates)
    wrong = candidates[naive != exact].tolist()
    assert all(between(Fraction(x), "2", int(log_round(torch.tensor(x)))) for x in wrong)


@given(tensors(elements=floats(largest=1e30)))
def test_base_2_is_ap2(x):
    exponent = log_round(x)
    assert torch.equal(torch.where(x == 0, 0.0, x.sign() * torch.exp2(exponent.double())).float(), ap2(x))


def test_powers_are_correctly_rounded():
    for base, steps in (("2", 1), ("sqrt2", 2)):
        for k, value in zip(range(-40, 40), powers_of(base, range(-40, 40)).tolist(), strict=True):
            # value² is 2^(2k/steps) up to half a unit in the last place on either side
            below, above = (Fraction(math.nextafter(value, to)) for to in (0, math.inf))
            low, high = (below + Fraction(value)) / 2, (above + Fraction(value)) / 2
            assert low ** (2 * steps) < Fraction(4) ** k < high ** (2 * steps)
    assert powers_of("2", range(-1076, -1073)).tolist() == [0, 0, 5e-324]
    assert powers_of("sqrt2", range(2046, 2049))[2] == math.inf


# --- codes ---------------------------------------------------------------------------------------------------------


def by_hand(x: float, bits: int, base: str, signed: bool, lowest: str, fsr: int) -> float:
    """The definition for one number, with exponents found by search."""
    count = 2 ** (bits - signed)
    exponents = range(fsr - count, fsr)
    magnitude = abs(Fraction(x)) if signed else max(Fraction(x), Fraction(0))
    k = exponents[0]
    if magnitude:
        rounded = next(
            k for k in itertools.chain.from_iterable((i, -i) for i in range(3000)) if between(magnitude, base, k)
        )
        k = min(max(rounded, exponents[0]), exponents[-1])
    if k == exponents[0] and lowest == "zero":
        return 0.0
    level = powers_of(base, range(k, k + 1)).item()
    return -level if signed and x < 0 else level


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("dtype", DTYPES)
def test_simulated_and_stored_agree_and_take_the_bits(kind, dtype):
    quantizer = LogQuantizer(**kind)

    @given(tensors(dtype))
    def check(x):
        y, codes = quantizer(x), quantizer.encode(x)
        assert y.dtype == dtype
        assert same_bits(y, codes.decode())
        assert same_bits(quantizer(x.contiguous()), y)
        assert y.isfinite().all()
        assert len(codes.packed()) == -(-x.numel() * kind["bits"] // 8)
        assert torch.equal(unpack(codes.packed(), kind["bits"], x.numel()), codes.values.flatten().int())
        assert codes.nbits == kind["bits"] * x.numel() + 32
        fields, signs = codes.fields(), codes.signs()
        levels = powers_of(kind["base"], range(codes.fsr - 2**codes.field_bits, codes.fsr)).to(dtype)
        assert torch.equal(signs * levels[fields], y)
        if kind["lowest"] == "zero":
            assert same_bits(y, y + 0.0)  # no -0.0
            assert not (codes.values == 2 ** (kind["bits"] - 1)).any() or not kind["signed"]  # nor its code

    check()


@pytest.mark.parametrize("kind", KINDS)
@given(data=st.data())
def test_every_number_gets_the_level_that_the_definition_says(kind, data):
    quantizer = LogQuantizer(**kind)
    fsr = data.draw(st.integers(-6, 6))
    quantizer.set_full_scale(fsr)
    x = data.draw(tensors(torch.float64, shape=(5,), elements=MODERATE))
    assert quantizer(x).tolist() == [by_hand(value, fsr=fsr, **kind) for value in x.tolist()]


@pytest.mark.parametrize("kind", KINDS)
@given(x=tensors(shape=(3, 4), elements=MODERATE))
def test_quantizing_twice_changes_nothing(kind, x):
    if kind["lowest"] == "smallest" and (x == 0).all():
        return  # 0 becomes the lowest of the levels around 1, whose own range lies lower
    quantizer = LogQuantizer(**kind)
    once = quantizer(x)
    if kind["signed"] or (once > 0).any():
        assert torch.equal(quantizer(once), once)


def test_eight_numbers_by_hand():
    x = torch.tensor([0.9, -0.5, 0.3, -0.1, 0.2, -0.7, 0.05, 0.62])
    codes = LogQuantizer(3).encode(x)  # 1, ½, ¼ and 0: fields 3, 2, 1 and 0
    assert codes.fsr == 1
    assert codes.values.tolist() == [3, 4 + 2, 1, 0, 1, 4 + 2, 0, 2]
    assert codes.decode().tolist() == [1, -0.5, 0.25, 0, 0.25, -0.5, 0, 0.5]
    smallest = LogQuantizer(3, lowest="smallest").encode(x)  # the same, with ⅛ for 0
    assert smallest.values.tolist() == [3, 4 + 2, 1, 4 + 0, 1, 4 + 2, 0, 2]
    assert smallest.decode().tolist() == [1, -0.5, 0.25, -0.125, 0.25, -0.5, 0.125, 0.5]
    root = LogQuantizer(3, base="sqrt2").encode(x)  # 1, √½, ½ and 0
    assert root.decode().tolist() == pytest.approx([1, -0.5, 0, 0, 0, -(0.5**0.5), 0, 0.5**0.5])


def test_rounding_on_the_log_scale_is_not_rounding_to_the_nearest():
    x = torch.tensor([1.45])  # above √2, but nearer to 1 than to 2
    quantizer = LogQuantizer(4, signed=False)
    quantizer.set_full_scale(3)
    assert quantizer(x).item() == 2.0


@pytest.mark.parametrize("lowest", ["zero", "smallest"])
def test_zero_and_all_zero(lowest):
    zeros = torch.zeros(2, 3)
    for base in BASES:
        quantizer = LogQuantizer(3, base=base, lowest=lowest)
        assert quantizer.encode(zeros).fsr == 1
        expected = 0.0 if lowest == "zero" else powers_of(base, range(-3, -2)).item()
        assert quantizer(zeros).tolist() == torch.full((2, 3), expected).tolist()
        assert quantizer(-zeros).tolist() == quantizer(zeros).tolist()


def test_one_element_half_precision_and_the_ends_of_the_range():
    for base in BASES:
        for dtype in DTYPES:
            info = torch.finfo(dtype)
            ends = torch.tensor([info.max, -info.max, info.smallest_normal], dtype=dtype)
            assert LogQuantizer(4, base=base)(ends).isfinite().all()
            least = torch.tensor([np.nextafter(np.zeros((), str(dtype)[6:]), 1)], dtype=dtype)
            assert torch.equal(LogQuantizer(4, base=base)(least), least)
    assert LogQuantizer(4)(torch.tensor([[-4.0]])).item() == -4.0
    assert LogQuantizer(1, signed=False)(torch.tensor([3.0, 0.1, -1.0])).tolist() == [4, 0, 0]
    half = torch.randn(3, 5, generator=torch.Generator().manual_seed(0)).half()
    assert same_bits(LogQuantizer(4)(half), LogQuantizer(4)(half.float()))


@pytest.mark.parametrize(("x", "error", "message"), [*BAD_FLOATS.values(), *BAD_VALUES.values()])
def test_bad_inputs_are_refused(x, error, message):
    fixed = LogQuantizer(4)
    fixed.set_full_scale(1)
    for quantizer in (LogQuantizer(4), fixed):
        for method in (quantizer, quantizer.encode):
            with pytest.raises(error, match=message):
                method(x)


def test_bad_settings_are_refused():
    for bits, error in BAD_BITS.values():
        with pytest.raises(error, match="bits"):
            LogQuantizer(bits)
    with pytest.raises(ValueError, match="bits must be at most 8, got 9"):
        LogQuantizer(9)
    with pytest.raises(ValueError, match="bits must lie between 2"):
        LogQuantizer(1)
    with pytest.raises(ValueError, match="base must be one of"):
        LogQuantizer(4, base="10")
    with pytest.raises(ValueError, match="lowest must be"):
        LogQuantizer(4, lowest="0")
    for base, highest in (("2", 128), ("sqrt2", 256)):
        quantizer = LogQuantizer(4, base=base)
        quantizer.set_full_scale(highest)
        assert quantizer(torch.ones(1)).isfinite().all()
        with pytest.raises(ValueError, match="fsr must leave the top level within float32"):
            quantizer.set_full_scale(highest + 1)
    for fsr in (1.0, True, None):
        with pytest.raises(TypeError, match="fsr must be an int"):
            LogQuantizer(4).set_full_scale(fsr)


# --- straight-through and gradients --------------------------------------------------------------------------------


def test_the_gradient_passes_except_where_the_input_saturates():
    x = torch.tensor([5.0, 1.4, 1.5, 1e-9, 0.0, -1e-9, -1.5, -1.4], requires_grad=True)
    expected = {(True, None): [1] * 8, (True, 1): [0, 1, 0, 1, 1, 1, 0, 1], (False, 1): [0, 1, 0, 1, 1, 0, 0, 0]}
    for (signed, fsr), passes in expected.items():
        quantizer = LogQuantizer(4, signed=signed)
        if fsr is not None:
            quantizer.set_full_scale(fsr)  # top level 1; from √2 on the input saturates
        (grad,) = torch.autograd.grad(quantizer(x).sum(), x)
        assert grad.tolist() == passes


@pytest.mark.parametrize(
    "make", [lambda: LogQuantizer(5), lambda: LogQuantizer(5, base="sqrt2"), lambda: UniformQuantizer(5)]
)
def test_only_the_gradient_is_quantized(make):
    x = torch.randn(6, 4, requires_grad=True)
    y = QuantizeGradient(make())(x)
    assert same_bits(y, x)
    grad = torch.randn(6, 4) * torch.logspace(0, -6, 6)[:, None]
    y.backward(grad)
    assert torch.equal(x.grad, make()(grad))
    assert not torch.equal(x.grad, grad)
    half = torch.randn(3, requires_grad=True, dtype=torch.bfloat16)
    QuantizeGradient(make())(half).sum().backward()
    assert half.grad.dtype == torch.bfloat16


def test_a_broken_gradient_is_refused_and_an_idle_one_is_not():
    x = torch.ones(3, requires_grad=True)
    layer = QuantizeGradient(LogQuantizer(5))
    with pytest.raises(ValueError, match="x holds NaN or Inf"):
        layer(x).backward(torch.tensor([1.0, math.nan, 0.0]))
    layer(x).backward(torch.zeros(3))
    assert x.grad.tolist() == [0, 0, 0]
    with pytest.raises(TypeError, match="x must be a floating point tensor"):
        layer(torch.arange(3))


@pytest.mark.parametrize("base", BASES)
def test_small_gradients_survive_where_linear_ones_vanish(base):
    """A gradient 100 times smaller than the largest is noise to 5 linear bits, but has a level of its own here."""
    grad = torch.tensor([1.0, -0.01])
    assert UniformQuantizer(5)(grad).tolist() == [1, 0]
    assert LogQuantizer(5, base=base)(grad)[1].item() == pytest.approx(-0.01, rel=0.42)


# --- full scale ----------------------------------------------------------------------------------------------------


@given(tensors(elements=MODERATE), st.sampled_from(BASES))
def test_the_largest_number_is_the_top_level(x, base):
    quantizer = LogQuantizer(4, base=base)
    fsr = full_scale_of_max(x, quantizer)
    largest = x.abs().max()
    if largest > 0:
        assert between(Fraction(largest.item()), base, fsr - 1)
        assert quantizer(x).abs().max().item() == pytest.approx(powers_of(base, range(fsr - 1, fsr)).item())


@given(tensors(shape=(12,), elements=MODERATE), st.sampled_from(BASES), st.sampled_from([2, 3, 5]))
def test_the_least_error_is_the_least_of_all(x, base, bits):
    quantizer = LogQuantizer(bits, base=base)
    found = full_scale_of_least_error(x, quantizer)
    top = full_scale_of_max(x, quantizer)
    errors = {}
    for fsr in range(top - 4 * len(base.replace("sqrt2", "ab")), top + 3):  # also above: it never helps
        quantizer.set_full_scale(fsr)
        errors[fsr] = (quantizer(x).double() - x.double()).square().sum().item()
    assert errors[found] <= min(errors.values()) * (1 + 1e-6)


def test_a_heavy_tail_asks_for_a_lower_full_scale():
    x = torch.cat([torch.full((1000,), 0.05), torch.tensor([1.0])])
    quantizer = LogQuantizer(3)
    assert full_scale_of_least_error(x, quantizer) < full_scale_of_max(x, quantizer)


def test_calibration_fixes_activations_and_nothing_else():
    torch.manual_seed(0)
    model = MLP((6, 8, 8, 3))
    quantize_weights(model, lambda: LogQuantizer(5), skip=())
    quantize_activations(model, lambda: LogQuantizer(4, signed=False))
    model.train()
    images = torch.randn(50, 6)
    seen = []
    handle = model[4][1].register_forward_pre_hook(lambda module, inputs: seen.append(inputs[0]))
    calibrate(model, images)
    handle.remove()
    assert model.training
    assert [q.fsr.isnan().item() for q in model.modules() if isinstance(q, LogQuantizer)].count(False) == 2
    hidden = model[2][0](model[1](images))  # not yet quantized when the second layer's range is measured
    assert int(model[4][1].fsr) == full_scale_of_max(model[4][0](model[3](hidden)), model[4][1])
    assert int(model[4][1].fsr) == full_scale_of_max(seen[0], model[4][1])
    least = calibrate(model, images, rule=full_scale_of_least_error)
    assert least is model
    with pytest.raises(ValueError, match="model has no activation quantizer to calibrate"):
        calibrate(MLP((6, 3)), images)


def test_a_fixed_full_scale_is_saved_and_loaded():
    quantizer, other = LogQuantizer(4), LogQuantizer(4)
    quantizer.set_full_scale(-3)
    other.load_state_dict(quantizer.state_dict())
    assert other.encode(torch.ones(2)).fsr == -3
    assert "fsr=-3" in repr(other)


def test_a_logarithmic_layer_stores_its_codes():
    model = quantize_weights(nn.Sequential(nn.Linear(64, 16, bias=False)), lambda: LogQuantizer(4), skip=())
    assert stored_bits(model) == 4 * 64 * 16 + 32
    assert len(encode_weights(model)["0"].packed()) == 64 * 16 // 2
