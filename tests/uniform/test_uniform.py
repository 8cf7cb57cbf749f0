"""Uniform quantization: invariants in every mode, plain Python, torch, brevitas, and integer arithmetic."""

import copy
import math
from fractions import Fraction
from functools import partial

import pytest
import torch
import torch.nn.functional as F
from brevitas.core.function_wrapper import Identity
from brevitas.core.quant import IntQuant
from brevitas.nn import QuantLinear
from brevitas.quant import Int8WeightPerChannelFloat, Int8WeightPerTensorFloat
from hypothesis import given, settings
from hypothesis import strategies as st
from strategies import (
    BAD_BITS,
    BAD_FLOATS,
    BAD_VALUES,
    DTYPES,
    INF,
    NAN,
    floats,
    layouts,
    quotient,
    same_bits,
    shapes,
    tensors,
)
from torch import nn
from torch.ao.quantization import MinMaxObserver, PerChannelMinMaxObserver

from fewbits.core.codes import Codes
from fewbits.core.packing import unpack
from fewbits.core.quantize import quantize
from fewbits.core.quantizer import quantize_activations, weight_layers, weight_quantizers
from fewbits.uniform import (
    UniformQuantizer,
    affine_parameters,
    calibrate,
    entropy_range,
    integer_linear,
    integer_range,
    max_range,
    percentile_range,
    quantize_model,
    symmetric_scale,
)

KINDS = {"symmetric": {}, "unsigned": {"signed": False}, "affine": {"symmetric": False}}
every_mode = pytest.mark.parametrize(
    ("kind", "fixed", "dtype"), [(kind, fixed, dtype) for kind in KINDS for fixed in (False, True) for dtype in DTYPES]
)


def per_channel_shape(shape, axis):
    return () if axis is None else tuple(n if a == axis % len(shape) else 1 for a, n in enumerate(shape))


@st.composite
def cases(draw, kind, fixed, dtype):
    """A quantizer and an input. A fixed range is drawn apart from the input, so that some of it lies outside, or makes
    the scale a power of two for an input of halves, so that every other element is a tie."""
    bits, shape = draw(st.integers(2 if kind == "symmetric" else 1, 16)), draw(shapes())
    axis = draw(st.one_of(st.none(), st.integers(-len(shape), len(shape) - 1))) if shape else None
    quantizer = UniformQuantizer(bits, channel_axis=axis, **KINDS[kind]).to(dtype)
    x = draw(tensors(dtype, shape))
    ranges = draw(st.sampled_from(["any", "near", "ties"])) if fixed else None
    if ranges == "ties":
        step, zero = 2.0 ** draw(st.integers(-9, 9)), draw(st.integers(0, quantizer.q_max)) if kind == "affine" else 0
        quantizer.set_range((quantizer.q_min - zero) * step, (quantizer.q_max - zero) * step)
        x = draw(layouts((x.clamp(-(2**17), 2**17) * 2).round() * (step / 2)))
    elif fixed:
        range_shape = draw(st.sampled_from([(), per_channel_shape(shape, axis)]))
        a, b = (draw(tensors(dtype, range_shape, odd_layouts=False)) for _ in range(2))
        quantizer.set_range(torch.minimum(a, b), torch.maximum(a, b))
        if ranges == "near":
            x = draw(layouts((x.clamp(-1, 1) * torch.maximum(a.abs(), b.abs()) * 1.5).expand(shape).contiguous()))
    return quantizer, x


def channels(x, axis):
    return [x.flatten()] if axis is None else [part.flatten() for part in x.unbind(axis)]


# ---- invariants


@every_mode
@given(data=st.data())
def test_stored_and_simulated_agree_bit_for_bit(kind, fixed, dtype, data):
    quantizer, x = data.draw(cases(kind, fixed, dtype))
    y, codes = quantizer(x), quantizer.encode(x)
    assert y.shape == codes.values.shape == x.shape
    assert y.dtype == dtype
    assert same_bits(codes.decode(), y)


@every_mode
@given(data=st.data())
def test_size_is_the_formula_and_the_stream_comes_back(kind, fixed, dtype, data):
    quantizer, x = data.draw(cases(kind, fixed, dtype))
    codes, stream = quantizer.encode(x), quantizer.encode(x).packed()
    scales = math.prod(per_channel_shape(x.shape, quantizer.channel_axis) if codes.scale.dim() else ())
    assert len(stream) == math.ceil(x.numel() * quantizer.bits / 8)
    assert codes.nbits == x.numel() * quantizer.bits + scales * (32 + (quantizer.bits if kind == "affine" else 0))
    back = unpack(stream, quantizer.bits, x.numel(), codes.signed)
    assert back.tolist() == codes.values.flatten().tolist()
    assert codes.signed == (kind == "symmetric")


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("kind", KINDS)
@given(data=st.data())
def test_a_second_time_changes_nothing(kind, dtype, data):
    quantizer, x = data.draw(cases(kind, True, dtype))
    y = quantizer(x)
    assert same_bits(quantizer(y), y)
    assert torch.equal(quantizer.encode(y).values, quantizer.encode(x).values)


@every_mode
@given(data=st.data())
def test_error_is_at_most_half_a_step_inside_the_range_and_everything_saturates(kind, fixed, dtype, data):
    """Scale, quotient and product are rounded once each: half a unit in the last place of the range, three times."""
    quantizer, x = data.draw(cases(kind, fixed, dtype))
    y, scale = quantizer(x), quantizer.encode(x).scale
    low, high = (quantizer.low, quantizer.high) if fixed else max_range(x, quantizer.channel_axis)
    if kind == "symmetric":
        high = torch.maximum(low.abs(), high.abs())
        low = -high
    low, high = (torch.zeros_like(low) if kind == "unsigned" else low.clamp(max=0)), high.clamp(min=0)
    slack = 3 * torch.finfo(dtype).eps * torch.maximum(-low, high)
    inside = (low <= x) & (x <= high)
    assert ((y - x).abs() <= scale / 2 + slack)[inside].all()
    wide = (low < high) & (scale > torch.finfo(dtype).tiny)  # the others have codes beyond the range
    assert (y >= low - scale / 2 - slack)[wide.expand_as(y)].all()
    assert (y <= high + scale / 2 + slack)[wide.expand_as(y)].all()


@every_mode
@given(data=st.data())
def test_zero_has_an_exact_code(kind, fixed, dtype, data):
    quantizer, x = data.draw(cases(kind, fixed, dtype))
    scale, zero_point = quantizer.scale_and_zero_point(x)
    quantizer.set_range(*((quantizer.low, quantizer.high) if fixed else max_range(x, quantizer.channel_axis)))
    zeros = torch.zeros_like(x)
    assert same_bits(quantizer(zeros), torch.zeros(x.shape, dtype=dtype))
    assert same_bits(quantizer(-zeros), torch.zeros(x.shape, dtype=dtype))
    zero_codes = torch.zeros(x.shape, dtype=dtype) if zero_point is None else zero_point.expand_as(x)
    assert torch.equal(quantizer.encode(zeros).values, zero_codes.int())
    assert (zero_point is not None) == (kind == "affine")
    assert same_bits(quantizer.encode(zeros).scale, scale)


@every_mode
@given(data=st.data())
def test_order_is_kept_and_levels_are_few(kind, fixed, dtype, data):
    quantizer, x = data.draw(cases(kind, fixed, dtype))
    y = quantizer(x)
    most = 2**quantizer.bits - (kind == "symmetric")
    for before, after in zip(channels(x, quantizer.channel_axis), channels(y, quantizer.channel_axis), strict=True):
        ordered = after[before.argsort()]
        assert (ordered[1:] >= ordered[:-1]).all()
        assert after.unique().numel() <= most


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("bits", range(2, 9))
def test_a_ramp_meets_every_level(bits, kind):
    start = {"symmetric": -1.0, "unsigned": 0.0, "affine": -0.9}[kind]
    y = UniformQuantizer(bits, **KINDS[kind])(torch.linspace(start, 1, 5000))
    assert y.unique().numel() == 2**bits - (kind == "symmetric")


@every_mode
@given(data=st.data())
def test_neither_memory_layout_nor_calling_twice_matters(kind, fixed, dtype, data):
    quantizer, x = data.draw(cases(kind, fixed, dtype))
    before = x.clone()
    first = quantizer(x)
    assert same_bits(quantizer(x.clone(memory_format=torch.contiguous_format)), first)
    assert same_bits(quantizer(x), first)
    assert torch.equal(x, before)


def python_codes(values: list[float], low: float, high: float, kind: str, bits: int, dtype) -> list[tuple]:
    """Code, real value and whether the gradient passes, for each value: the formulas with one rounding per operation.

    Computed in rational numbers; ``quotient`` rounds a fraction to ``dtype``, Python's ``round`` ties to even.
    """
    q_min, q_max = {"symmetric": (1 - 2 ** (bits - 1), 2 ** (bits - 1) - 1)}.get(kind, (0, 2**bits - 1))
    if kind == "affine":
        low, high = min(low, 0.0), max(high, 0.0)
        width = quotient(Fraction(high) - Fraction(low), 1, dtype)
    else:
        width = max(-low, high) if kind == "symmetric" else max(high, 0.0)
    scale = max(quotient(width, q_max if kind != "affine" else q_max - q_min, dtype), torch.finfo(dtype).tiny)
    scale = scale if width else 1.0
    zero = min(max(q_min - round(quotient(low, scale, dtype)), q_min), q_max) if kind == "affine" else 0
    result = []
    for value in values:
        ratio = quotient(value, scale, dtype)
        integer = (round(ratio) if math.isfinite(ratio) else math.copysign(10**9, ratio)) + zero
        code = min(max(integer, q_min), q_max)
        result.append((code, quotient(Fraction(code - zero) * Fraction(scale), 1, dtype), integer == code))
    return result


def test_ties_go_to_the_even_code_by_hand():
    quantizer = UniformQuantizer(3)
    quantizer.set_range(-3, 3)
    x = torch.tensor([-2.5, -1.5, -0.5, 0.5, 1.5, 2.5])
    assert quantizer.encode(x).values.tolist() == [-2, -2, 0, 0, 2, 2]
    assert quantizer(x).tolist() == [-2, -2, 0, 0, 2, 2]


@every_mode
@settings(max_examples=40)
@given(data=st.data())
def test_codes_values_and_gradient_mask_are_those_of_plain_python(kind, fixed, dtype, data):
    quantizer, x = data.draw(cases(kind, fixed, dtype))
    x = x.detach().requires_grad_()
    upstream = torch.arange(1.0, x.numel() + 1, dtype=dtype).reshape(x.shape)
    y, codes, axis = quantizer(x), quantizer.encode(x), quantizer.channel_axis
    y.backward(upstream)
    parts = [channels(t.detach(), axis) for t in (x, codes.values, y, x.grad, upstream)]
    for index, part in enumerate(zip(*parts, strict=True)):
        values, integers, outputs, slopes, incoming = (t.tolist() for t in part)
        low, high = min(values), max(values)
        if fixed:
            low, high = (
                bound.flatten()[index if bound.dim() else 0].item() for bound in (quantizer.low, quantizer.high)
            )
        expected = python_codes(values, low, high, kind, quantizer.bits, dtype)
        assert integers == [code for code, _, _ in expected]
        assert outputs == [real for _, real, _ in expected]
        assert slopes == [grad if passes else 0.0 for grad, (_, _, passes) in zip(incoming, expected, strict=True)]


# ---- parameters


@pytest.mark.parametrize("bits", range(1, 17))
def test_integer_ranges(bits):
    assert integer_range(bits, signed=False) == (0, 2**bits - 1)
    assert integer_range(bits) == (-(2 ** (bits - 1)), 2 ** (bits - 1) - 1)
    if bits > 1:
        assert integer_range(bits, narrow=True) == (1 - 2 ** (bits - 1), 2 ** (bits - 1) - 1)


@pytest.mark.parametrize("case", BAD_BITS)
def test_bad_bits_are_refused(case):
    bits, error = BAD_BITS[case]
    for make in (integer_range, UniformQuantizer, lambda b: UniformQuantizer(b, symmetric=False)):
        with pytest.raises(error, match=r"^bits must"):
            make(bits)


def test_one_bit_is_for_unsigned_integers():
    with pytest.raises(ValueError, match=r"^bits must lie between 2 and 16, got 1$"):
        UniformQuantizer(1)
    assert UniformQuantizer(1, signed=False)(torch.tensor([0.2, 1.0, 0.6])).tolist() == [0.0, 1.0, 1.0]
    assert UniformQuantizer(1, symmetric=False)(torch.tensor([-1.0, 0.0, 0.4])).unique().numel() == 2


def test_scales_by_hand():
    assert symmetric_scale(torch.tensor([254.0, 0.0, 1e-45]), 127).tolist() == [2.0, 1.0, torch.finfo().tiny]
    scale, zero_point = affine_parameters(torch.tensor(-1.0), torch.tensor(2.0), 0, 3)
    assert (scale.item(), zero_point.item()) == (1.0, 1.0)
    scale, zero_point = affine_parameters(torch.tensor([2.0, -6.0, 0.0]), torch.tensor([6.0, -2.0, 0.0]), 0, 3)
    assert scale.tolist() == [2.0, 2.0, 1.0]  # widened to 0 … 6 and -6 … 0
    assert zero_point.tolist() == [0.0, 3.0, 0.0]
    scale, zero_point = affine_parameters(torch.tensor(-2.0), torch.tensor(1.0), -2, 1)
    assert (scale.item(), zero_point.item()) == (1.0, 0.0)


@pytest.mark.parametrize("max_abs", [NAN, INF, -INF, -1.0, 3e38])
def test_scales_of_no_range_are_refused(max_abs):
    with pytest.raises(ValueError, match=r"^the range must be finite, far from overflow and not negative"):
        symmetric_scale(torch.tensor([1.0, max_abs]), 127)


@pytest.mark.parametrize(("low", "high"), [(NAN, 1.0), (0.0, NAN), (2.0, 1.0), (-INF, 1.0), (0.0, INF), (-3e38, 3e38)])
def test_affine_parameters_of_no_range_are_refused(low, high):
    with pytest.raises(ValueError, match=r"^(low must not exceed high|the range must be finite)"):
        affine_parameters(torch.tensor(low), torch.tensor(high), 0, 255)


def test_a_grid_without_steps_is_refused():
    with pytest.raises(ValueError, match=r"^q_max must lie above q_min"):
        symmetric_scale(torch.tensor(1.0), 0)
    with pytest.raises(ValueError, match=r"^q_max must lie above q_min"):
        affine_parameters(torch.tensor(0.0), torch.tensor(1.0), 3, 3)


# ---- inputs at the edge


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("case", BAD_FLOATS)
def test_other_than_real_tensors_are_refused(case, kind):
    x, error, message = BAD_FLOATS[case]
    fixed = UniformQuantizer(4, **KINDS[kind])
    fixed.set_range(0.0, 1.0)
    for quantizer in (UniformQuantizer(4, **KINDS[kind]), fixed):
        for method in (quantizer.forward, quantizer.encode):
            with pytest.raises(error, match=message):
                method(x)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("case", BAD_VALUES)
def test_nan_and_inf_are_refused_unless_the_range_is_fixed(case, kind):
    x, error, message = BAD_VALUES[case]
    quantizer = UniformQuantizer(4, **KINDS[kind])
    for method in (quantizer.forward, quantizer.encode):
        with pytest.raises(error, match=message):
            method(x)
    quantizer.set_range(-1.0, 1.0)
    with pytest.raises(error, match=message):
        quantizer.encode(x)


@pytest.mark.parametrize("kind", KINDS)
def test_with_a_fixed_range_nan_stays_and_inf_saturates(kind):
    quantizer = UniformQuantizer(4, **KINDS[kind])
    quantizer.set_range(-1.0, 1.0)
    y = quantizer(torch.tensor([NAN, INF, -INF, 3e38, -3e38]))
    assert y[0].isnan()
    assert y[1] == y[3] == quantizer(torch.tensor(1e6))
    assert y[2] == y[4] == quantizer(torch.tensor(-1e6))


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("method", ["forward", "encode"])
def test_scalars_have_no_channels(method, kind):
    x = torch.tensor(0.75)
    assert getattr(UniformQuantizer(4, **KINDS[kind]), method)(x) is not None
    assert UniformQuantizer(4, **KINDS[kind])(x).item() == pytest.approx(0.75)
    for axis in (0, -1):
        with pytest.raises(ValueError, match=rf"^channel_axis {axis} is not an axis of x with shape \(\)$"):
            getattr(UniformQuantizer(4, channel_axis=axis, **KINDS[kind]), method)(x)


@pytest.mark.parametrize("fixed", [False, True])
@pytest.mark.parametrize(("axis", "error"), [(2, ValueError), (-3, ValueError), (0.5, TypeError), (True, TypeError)])
def test_an_axis_that_x_lacks_is_refused(axis, error, fixed):
    quantizer = UniformQuantizer(4, channel_axis=axis)
    if fixed:
        quantizer.set_range(-1.0, 1.0)
    for method in (quantizer.forward, quantizer.encode):
        with pytest.raises(error, match=r"^channel_axis"):
            method(torch.ones(2, 3))


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("dtype", DTYPES)
def test_all_zero_one_element_subnormal_and_huge(dtype, kind):
    info = torch.finfo(dtype)
    quantizer = UniformQuantizer(8, **KINDS[kind])
    assert same_bits(quantizer(torch.zeros(2, 3, dtype=dtype)), torch.zeros(2, 3, dtype=dtype))
    assert quantizer.encode(torch.zeros(3, dtype=dtype)).scale.item() == 1.0
    for value in (1.0, 0.1, info.tiny, info.max / 8):
        one = torch.tensor([value], dtype=dtype)
        torch.testing.assert_close(quantizer(one), one, rtol=2 * info.eps, atol=info.tiny / 2)
    subnormal = torch.tensor([info.smallest_normal / 2, info.smallest_normal / 8], dtype=dtype)
    assert quantizer.encode(subnormal).scale.item() == info.tiny
    assert ((quantizer(subnormal) - subnormal).abs() <= info.tiny / 2).all()
    with pytest.raises(ValueError, match=r"^the range must be finite, far from overflow"):
        quantizer(torch.tensor([info.max, 0.0], dtype=dtype))


def test_data_of_the_other_sign():
    assert UniformQuantizer(4, signed=False)(torch.tensor([-3.0, -1.0])).tolist() == [0.0, 0.0]
    assert UniformQuantizer(2, symmetric=False)(torch.tensor([-3.0, -1.0])).tolist() == [-3.0, -1.0]
    assert UniformQuantizer(2, symmetric=False)(torch.tensor([3.0, 1.0])).tolist() == [3.0, 1.0]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_is_computed_in_float32(dtype, kind):
    x = torch.linspace(-3, 3, 50).to(dtype)
    quantizer = UniformQuantizer(12, **KINDS[kind])
    assert same_bits(quantizer(x), quantizer(x.float()))
    assert same_bits(quantizer.encode(x).decode(), quantizer(x))
    x.requires_grad_()
    quantizer(x).sum().backward()
    assert x.grad.dtype == dtype


# ---- fixed ranges


@pytest.mark.parametrize(
    ("low", "high"), [(NAN, 1.0), (0.0, NAN), (0.0, INF), (-INF, 0.0), (1.0, 0.0), ([0.0, NAN], [1.0, 1.0])]
)
def test_a_range_that_is_none_is_refused(low, high):
    quantizer = UniformQuantizer(4)
    with pytest.raises(ValueError, match=r"^low and high must be finite with low <= high, got"):
        quantizer.set_range(low, high)
    assert quantizer.low.isnan()


def test_a_range_that_overflows_the_dtype_of_the_module_is_refused():
    high = torch.tensor(1e300, dtype=torch.float64)
    with pytest.raises(ValueError, match=r"^low and high must be finite"):
        UniformQuantizer(4).set_range(-high, high)
    UniformQuantizer(4).double().set_range(-high, high)


def test_numbers_integers_and_parameters_set_a_range():
    for low, high in ((-1, 1), (-1.0, 1.0), (torch.tensor(-1), torch.tensor(1)), (nn.Parameter(torch.tensor(-1.0)), 1)):
        quantizer = UniformQuantizer(3)
        quantizer.set_range(low, high)
        assert quantizer(torch.tensor([5.0, 0.4])).tolist() == [1.0, pytest.approx(1 / 3)]
        assert not quantizer.high.requires_grad


def test_the_range_is_a_copy():
    low, high = torch.tensor(-1.0), torch.tensor(1.0)
    quantizer = UniformQuantizer(3)
    quantizer.set_range(low, high)
    low.fill_(-9.0), high.fill_(9.0)
    assert (quantizer.low.item(), quantizer.high.item()) == (-1.0, 1.0)


@pytest.mark.parametrize(
    ("axis", "shape"), [(None, (1,)), (None, (4, 1)), (0, (4,)), (0, (1, 4)), (1, (4, 1)), (0, (1,)), (0, (2, 4, 1))]
)
def test_a_range_of_another_shape_is_refused(axis, shape):
    """Without the check (4,) would scale the columns of a 4 × 4 tensor, and (2, 4, 1) would make it 2 × 4 × 4."""
    quantizer = UniformQuantizer(4, channel_axis=axis)
    quantizer.set_range(-torch.ones(shape), torch.ones(shape))
    for method in (quantizer.forward, quantizer.encode):
        with pytest.raises(ValueError, match=r"^range of shape .* for x of shape \(4, 4\): needs"):
            method(torch.ones(4, 4))


def test_a_range_of_zero_width_has_scale_one():
    quantizer = UniformQuantizer(4, signed=False)
    quantizer.set_range(0.0, 0.0)
    assert quantizer(torch.tensor([0.0, 3.4, 100.0])).tolist() == [0.0, 3.0, 15.0]


def test_a_fixed_range_ignores_the_input():
    quantizer = UniformQuantizer(2, signed=False)
    quantizer.set_range(0.0, 3.0)
    assert quantizer(torch.tensor([0.4, 0.6, 2.5, 9.0, -9.0])).tolist() == [0.0, 1.0, 2.0, 3.0, 0.0]
    assert quantizer(torch.tensor([0.4])).tolist() == [0.0]


@pytest.mark.parametrize("axis", [None, 0])
def test_ranges_survive_a_state_dict(axis):
    x = torch.randn(3, 5, generator=torch.Generator().manual_seed(0))
    quantizer, other = UniformQuantizer(4, channel_axis=axis), UniformQuantizer(4, channel_axis=axis)
    quantizer.set_range(*max_range(x / 2, axis))
    assert other.load_state_dict(quantizer.state_dict()).missing_keys == []
    assert same_bits(other.low, quantizer.low)
    assert same_bits(other(x), quantizer(x))
    other.set_range(-9.0, 9.0)
    assert not same_bits(other(x), quantizer(x))
    other.load_state_dict(UniformQuantizer(4, channel_axis=axis).state_dict())  # back to the range of each input
    assert same_bits(other(x), UniformQuantizer(4, channel_axis=axis)(x))
    with pytest.raises(RuntimeError, match="Missing key"):
        other.load_state_dict({"low": torch.tensor(0.0)})


def test_a_description_says_the_mode():
    assert "bits=4, affine, unsigned, channel_axis=0" in repr(UniformQuantizer(4, symmetric=False, channel_axis=0))
    assert "bits=8, symmetric, signed, channel_axis=None" in repr(UniformQuantizer(8))


# ---- torch


@st.composite
def ordinary(draw, dtype=torch.float32, min_dims=1):
    """What other tools can take: up to 4 axes, magnitudes up to 8, none below 1/1000 but 0."""
    keep = floats(dtype, 8.0).filter(lambda value: value == 0 or abs(value) > 1e-3)
    return draw(tensors(dtype, draw(shapes(min_dims=min_dims)), elements=keep, odd_layouts=False))


@pytest.mark.parametrize("kind", ["affine", "symmetric", "unsigned"])
@pytest.mark.parametrize("per_channel", [False, True])
@given(data=st.data())
def test_parameters_are_those_of_torchs_observers(per_channel, kind, data):
    """Affine: the same formula. Symmetric: over -127 … 127; over -128 … 127 torch divides by 127.5, so no integer
    stands for the maximum, and the integer that would, 127.5, is clipped. torch keeps scales above 1.2e-7."""
    x = data.draw(ordinary(min_dims=2 if per_channel else 1))
    axis = 0 if per_channel else None
    if kind == "unsigned":
        x = x.abs()
    observer = PerChannelMinMaxObserver if per_channel else MinMaxObserver
    scheme = f"per_{'channel' if per_channel else 'tensor'}_{'symmetric' if kind == 'symmetric' else 'affine'}"
    q_min, q_max, dtype = (-127, 127, torch.qint8) if kind == "symmetric" else (0, 255, torch.quint8)
    watch = observer(qscheme=getattr(torch, scheme), dtype=dtype, quant_min=q_min, quant_max=q_max)
    watch(x)
    their_scale, their_zero = watch.calculate_qparams()
    scale, zero_point = UniformQuantizer(8, channel_axis=axis, **KINDS[kind]).scale_and_zero_point(x)
    low, high = max_range(x, axis)
    some = (torch.maximum(-low, high) > 0).flatten()  # torch's scale for nothing but zeros is 1.2e-7, ours 1
    assert torch.equal(scale.flatten()[some], their_scale.flatten()[some])
    if kind != "symmetric":
        ours = torch.zeros_like(scale) if zero_point is None else zero_point
        assert torch.equal(ours.flatten()[some].int(), their_zero.flatten()[some].int())


def test_where_torchs_symmetric_scale_differs():
    x = torch.tensor([-1.0, 1.0])
    watch = MinMaxObserver(qscheme=torch.per_tensor_symmetric, dtype=torch.qint8)
    watch(x)
    assert watch.calculate_qparams()[0].item() == pytest.approx(1 / 127.5)
    assert UniformQuantizer(8).scale_and_zero_point(x)[0].item() == pytest.approx(1 / 127)


@pytest.mark.parametrize("kind", KINDS)
@given(data=st.data(), bits=st.integers(2, 8), exponent=st.integers(-6, 3))
def test_values_and_gradients_are_torchs(kind, bits, exponent, data):
    """With a range that makes the scale a power of two, ties included (elements are often halves)."""
    x, step = data.draw(ordinary()), 2.0**exponent
    q_min, q_max = (1 - 2 ** (bits - 1), 2 ** (bits - 1) - 1) if kind == "symmetric" else (0, 2**bits - 1)
    zero = data.draw(st.integers(0, q_max)) if kind == "affine" else 0
    quantizer = UniformQuantizer(bits, **KINDS[kind])
    quantizer.set_range((q_min - zero) * step, (q_max - zero) * step)
    upstream = torch.arange(1.0, x.numel() + 1).reshape(x.shape)
    ours, theirs = x.clone().requires_grad_(), x.clone().requires_grad_()
    y = quantizer(ours)
    expected = torch.fake_quantize_per_tensor_affine(theirs, step, zero, q_min, q_max)
    y.backward(upstream)
    expected.backward(upstream)
    assert same_bits(y, expected)
    assert torch.equal(ours.grad, theirs.grad)


# ---- brevitas


@pytest.mark.parametrize(
    ("theirs", "axis"), [(Int8WeightPerTensorFloat, None), (Int8WeightPerChannelFloat, 0)], ids=["tensor", "channel"]
)
@pytest.mark.parametrize("bits", [2, 3, 4, 8])
@pytest.mark.parametrize("seed", range(3))
def test_weights_are_those_of_brevitas(seed, bits, theirs, axis):
    torch.manual_seed(seed)
    layer = QuantLinear(17, 9, bias=False, weight_quant=theirs, weight_bit_width=bits)
    quantizer = UniformQuantizer(bits, channel_axis=axis)
    codes, expected = quantizer.encode(layer.weight.detach()), layer.quant_weight()
    assert torch.equal(codes.scale.flatten(), expected.scale.detach().flatten())
    assert torch.equal(codes.values, expected.int().int())
    assert torch.equal(quantizer(layer.weight), expected.value)


@pytest.mark.parametrize("kind", KINDS)
@settings(max_examples=40)
@given(data=st.data(), bits=st.integers(2, 8))
def test_integers_are_those_of_brevitas(kind, bits, data):
    """At any scale, for brevitas divides too. But it adds the zero point before it rounds: the sum can round onto a
    tie, and a tie goes to the even code, here (as in torch) to the even multiple of the scale."""
    x = data.draw(ordinary())
    quantizer = UniformQuantizer(bits, **KINDS[kind])
    quantizer.set_range(-data.draw(st.floats(0, 8, width=32)), data.draw(st.floats(0.5, 8, width=32)))
    scale, zero_point = quantizer.scale_and_zero_point(x)
    zero = torch.tensor(0.0) if zero_point is None else zero_point
    core = IntQuant(narrow_range=kind == "symmetric", signed=kind == "symmetric", input_view_impl=Identity())
    expected = core(scale, zero, torch.tensor(float(bits)), x)
    ours = quantizer(x)
    agree = ((x / scale + zero) % 1 != 0.5) | (zero == 0)
    assert torch.equal(ours[agree], expected[agree])
    assert ((ours - expected).abs() <= scale * 1.001).all()


def test_brevitas_breaks_ties_elsewhere_at_an_odd_zero_point():
    quantizer, x = UniformQuantizer(2, symmetric=False), torch.tensor([0.5, 1.5, -0.5])
    quantizer.set_range(-1.0, 2.0)
    core = IntQuant(narrow_range=False, signed=False, input_view_impl=Identity())
    assert quantizer(x).tolist() == [0.0, 2.0, 0.0]
    assert core(torch.tensor(1.0), torch.tensor(1.0), torch.tensor(2.0), x).tolist() == [1.0, 1.0, -1.0]


# ---- networks


def network(batch_norm=False):
    torch.manual_seed(0)
    layers = [nn.Linear(6, 16), nn.BatchNorm1d(16) if batch_norm else nn.Identity(), nn.ReLU(), nn.Linear(16, 8)]
    return nn.Sequential(*layers, nn.ReLU(), nn.Linear(8, 3))


IMAGES = torch.randn(64, 6, generator=torch.Generator().manual_seed(1))


def activation_quantizers(model):
    return {
        name: module
        for name, module in model.named_modules()
        if isinstance(module, UniformQuantizer) and "parametrizations" not in name
    }


def watch_inputs(modules):
    """Record what the given modules receive; returns the record and a function that ends it."""
    seen = {name: [] for name in modules}
    hooks = [
        module.register_forward_pre_hook(lambda module, inputs, name=name: seen[name].append(inputs[0].clone()))
        for name, module in modules.items()
    ]
    return seen, lambda: [hook.remove() for hook in hooks]


def test_quantize_model_by_hand():
    """Weights per row, ReLU outputs with the calibrated range: the same network written out with torch's kernels."""
    model = network()
    quantized = quantize_model(model, 4, 8, IMAGES)

    def weight(layer):
        scale = layer.weight.detach().abs().amax(1) / 7
        return torch.clamp(torch.round(layer.weight / scale[:, None]), -7, 7) * scale[:, None]

    x, calibration = IMAGES, IMAGES
    for index in (0, 3):
        calibration = F.linear(calibration, weight(model[index]), model[index].bias).relu()
        scale = calibration.max().item() / 255
        x = F.linear(x, weight(model[index]), model[index].bias).relu()
        x = torch.fake_quantize_per_tensor_affine(x, scale, 0, 0, 255)
    torch.testing.assert_close(quantized(IMAGES), F.linear(x, weight(model[5]), model[5].bias), rtol=1e-5, atol=1e-6)
    assert not torch.allclose(quantized(IMAGES), model(IMAGES), rtol=1e-3, atol=1e-3)


def test_quantize_model_leaves_the_original_alone():
    model = network(batch_norm=True).train()
    before = copy.deepcopy(model.state_dict())
    quantized = quantize_model(model, 4, 4, IMAGES)
    assert list(model.state_dict()) == list(before)
    assert all(same_bits(value, before[name]) for name, value in model.state_dict().items())
    assert activation_quantizers(model) == {}
    assert quantized.training
    assert {id(p) for p in model.parameters()}.isdisjoint({id(p) for p in quantized.parameters()})
    assert [quantizer.bits for _, quantizer, _ in weight_quantizers(quantized)] == [4] * 3
    assert all(q.channel_axis == 0 for _, q, _ in weight_quantizers(quantized))


def test_calibration_sees_activations_that_nothing_has_rounded():
    model = quantize_model(network(), 3, 2, IMAGES)
    reference = copy.deepcopy(model)
    for name in activation_quantizers(reference):
        reference.set_submodule(name, nn.Identity())
    seen, stop = watch_inputs(activation_quantizers(model))
    expected, stop_expected = watch_inputs({name: reference.get_submodule(name) for name in seen})
    hooks = {name: len(quantizer._forward_hooks) for name, quantizer in activation_quantizers(model).items()}
    reference(IMAGES)
    calibrate(model, IMAGES)
    stop(), stop_expected()
    for name, quantizer in activation_quantizers(model).items():
        assert same_bits(seen[name][0], expected[name][0])
        assert same_bits(quantizer.low, expected[name][0].min())
        assert same_bits(quantizer.high, expected[name][0].max())
    left = {name: len(quantizer._forward_hooks) for name, quantizer in activation_quantizers(model).items()}
    assert left == hooks
    assert not torch.equal(model(IMAGES), reference(IMAGES))  # and transparent no longer


def test_calibration_passes_every_range_through():
    model = quantize_model(network(), 8, 8, IMAGES)
    widest = {name: q.high.item() for name, q in activation_quantizers(model).items()}
    for range_of in (lambda x: entropy_range(x, 2), lambda x: percentile_range(x, 90)):
        seen, stop = watch_inputs(activation_quantizers(model))
        calibrate(model, IMAGES, range_of=range_of)
        stop()
        for name, quantizer in activation_quantizers(model).items():
            assert quantizer.high == range_of(seen[name][0])[1]
    assert [q.high.item() for q in activation_quantizers(model).values()] != list(widest.values())
    calibrate(model, IMAGES)
    assert {name: q.high.item() for name, q in activation_quantizers(model).items()} == widest


def test_calibration_leaves_weight_quantizers_alone():
    model = quantize_model(network(), 4, 4, IMAGES)
    assert all(quantizer.low.isnan() for _, quantizer, _ in weight_quantizers(model))


def test_calibration_restores_the_mode_of_every_module():
    model = quantize_model(network(batch_norm=True), 4, 4, IMAGES).train()
    model[1].eval()  # a frozen batch norm
    running = model[1].running_mean.clone()
    calibrate(model, IMAGES + 3)
    assert model.training
    assert not model[1].training
    assert torch.equal(model[1].running_mean, running)
    assert not any(module.training for module in calibrate(model.eval(), IMAGES).modules())


def test_calibration_merges_what_a_shared_quantizer_sees():
    quantizer = UniformQuantizer(8)
    model = nn.Sequential(quantizer, nn.Hardtanh(), quantizer)
    calibrate(model, torch.tensor([[-3.0, 5.0]]))
    assert (quantizer.low.item(), quantizer.high.item()) == (-3.0, 5.0)


class Fails(nn.Module):
    def forward(self, x):
        raise RuntimeError("on purpose")


def test_calibration_tidies_up_after_an_error():
    quantizer = UniformQuantizer(8)
    model = nn.Sequential(nn.ReLU(), quantizer, Fails()).train()
    with pytest.raises(RuntimeError, match="on purpose"):
        calibrate(model, IMAGES)
    assert not quantizer._forward_hooks
    assert quantizer.low.isnan()
    assert all(module.training for module in model.modules())
    x = torch.tensor([0.1, 1.0, 100.0])
    assert not torch.equal(quantizer(x), x)


def test_calibration_without_an_activation_quantizer_is_refused():
    with pytest.raises(ValueError, match=r"^model has no activation quantizer to calibrate$"):
        calibrate(network(), IMAGES)


def test_calibration_of_a_quantizer_per_channel_is_refused():
    quantizer = UniformQuantizer(8, channel_axis=1)
    with pytest.raises(ValueError, match=r"^calibrate finds one range per tensor, but .* channel_axis$"):
        calibrate(nn.Sequential(quantizer), IMAGES)
    assert not quantizer._forward_hooks


@pytest.mark.parametrize("images", [IMAGES[:0], torch.full((1, 6), NAN)])
def test_calibration_on_nothing_or_on_nan_is_refused(images):
    with pytest.raises(ValueError, match=r"^x (is empty|holds NaN or Inf)"):
        calibrate(quantize_model(network(), 4, 4, IMAGES), images)


def test_a_network_without_relu_is_refused_and_one_twice_quantized_too():
    with pytest.raises(ValueError, match=r"^model has no ReLU or ReLU6 to put a quantizer after$"):
        quantize_model(nn.Sequential(nn.Linear(6, 2)), 8, 8, IMAGES)
    with pytest.raises(ValueError, match=r"are quantized already$"):
        quantize_model(quantize_model(network(), 8, 8, IMAGES), 8, 8, IMAGES)


def test_a_quantized_network_survives_a_state_dict():
    model = quantize_model(network(), 4, 4, IMAGES)
    weight_layers(model)["0"].parametrizations.weight[0].set_range(*max_range(0.5 * model[0].weight.detach(), 0))
    other = quantize_model(network().apply(lambda m: None), 4, 4, 7 * IMAGES)
    with torch.no_grad():
        for p in other.parameters():
            p.add_(0.1)
    assert not torch.allclose(other(IMAGES), model(IMAGES))
    result = other.load_state_dict(model.state_dict())
    assert result.missing_keys == result.unexpected_keys == []
    assert same_bits(other(IMAGES), model(IMAGES))
    assert same_bits(copy.deepcopy(model)(IMAGES), model(IMAGES))


def test_training_moves_latent_weights_and_leaves_weights_on_the_grid():
    model = quantize_model(network(), 2, 8, IMAGES)
    labels = (IMAGES[:, 0] > 0).long() + (IMAGES[:, 1] > 0).long()
    before = {name: latent.detach().clone() for name, _, latent in weight_quantizers(model)}
    optimizer = torch.optim.SGD(model.parameters(), lr=0.5)
    losses = []
    for _ in range(30):
        optimizer.zero_grad()
        loss = F.cross_entropy(model(IMAGES), labels)
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < 0.7 * losses[0]
    for name, quantizer, latent in weight_quantizers(model):
        assert not torch.equal(latent, before[name])
        weight = weight_layers(model)[name].weight
        assert same_bits(weight, quantizer(latent))
        assert all(row.unique().numel() <= 3 for row in weight)
        assert not all(row.unique().numel() <= 3 for row in latent)


def test_eval_and_double_go_through():
    model = quantize_model(network(batch_norm=True), 8, 8, IMAGES).eval()
    y = model(IMAGES)
    model.double()
    assert model(IMAGES.double()).dtype == torch.float64
    torch.testing.assert_close(model(IMAGES.double()).float(), y, rtol=0.02, atol=0.02)
    quantize_model(network().double(), 8, 8, IMAGES.double())(IMAGES.double())


# ---- integers only


@st.composite
def linear_cases(draw):
    """Codes of x (any kind) and of a weight (per tensor or per row), and their scales as powers of two."""
    n, m, k = (draw(st.integers(1, 4)) for _ in range(3))
    x_bits, w_bits = draw(st.integers(1, 8)), draw(st.integers(2, 8))
    x_signed = draw(st.booleans())
    low, high = (-(2 ** (x_bits - 1)), 2 ** (x_bits - 1) - 1) if x_signed else (0, 2**x_bits - 1)
    values = st.lists(st.integers(low, high), min_size=n * k, max_size=n * k)
    weights = st.lists(st.integers(1 - 2 ** (w_bits - 1), 2 ** (w_bits - 1) - 1), min_size=m * k, max_size=m * k)
    zero = None if x_signed else draw(st.one_of(st.none(), st.integers(low, high)))
    powers = st.integers(-12, 4).map(lambda e: 2.0**e)
    rows = draw(st.booleans())
    w_scale = draw(st.lists(powers, min_size=m if rows else 1, max_size=m if rows else 1))
    x = Codes(
        torch.tensor(draw(values), dtype=torch.int32).reshape(n, k),
        x_bits,
        torch.tensor(draw(powers), dtype=torch.float64),
        None if zero is None else torch.tensor(zero, dtype=torch.int32),
        signed=x_signed,
    )
    w_scale = torch.tensor(w_scale, dtype=torch.float64)
    weight = Codes(
        torch.tensor(draw(weights), dtype=torch.int32).reshape(m, k), w_bits, w_scale[:, None] if rows else w_scale[0]
    )
    bias = draw(st.one_of(st.none(), st.lists(floats(torch.float64, 8.0), min_size=m, max_size=m)))
    return x, weight, None if bias is None else torch.tensor(bias, dtype=torch.float64)


def python_accumulator(x, weight, bias) -> list[list[int]]:
    zero = 0 if x.zero_point is None else x.zero_point.item()
    rows, result = len(weight.values), []
    scales = [x.scale.item() * weight.scale.flatten()[j if weight.scale.dim() else 0].item() for j in range(rows)]
    for inputs in x.values.tolist():
        sums = [sum((q - zero) * w for q, w in zip(inputs, row, strict=True)) for row in weight.values.tolist()]
        if bias is not None:
            sums = [s + round(Fraction(b) / Fraction(c)) for s, b, c in zip(sums, bias.tolist(), scales, strict=True)]
        result.append(sums)
    return result


@settings(max_examples=150)
@given(linear_cases())
def test_integer_linear_is_the_sum_in_plain_integers_and_the_simulated_layer(case):
    x, weight, bias = case
    accumulator, scale = integer_linear(x, weight, bias)
    assert accumulator.dtype == torch.int64
    assert accumulator.tolist() == python_accumulator(x, weight, bias)
    assert scale.shape == (() if weight.scale.dim() == 0 else (len(weight.values),))
    on_grid = None if bias is None else torch.round(bias / scale) * scale
    assert torch.equal(accumulator * scale, F.linear(x.decode(), weight.decode(), on_grid))


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("axis", [None, 0])
def test_integer_linear_is_the_simulated_layer_at_any_scale(axis, kind):
    torch.manual_seed(0)
    x, w = torch.randn(20, 50, dtype=torch.float64), torch.randn(10, 50, dtype=torch.float64)
    x_quantizer, w_quantizer = UniformQuantizer(8, **KINDS[kind]), UniformQuantizer(8, channel_axis=axis)
    accumulator, scale = integer_linear(x_quantizer.encode(x), w_quantizer.encode(w))
    simulated = F.linear(x_quantizer(x), w_quantizer(w))
    torch.testing.assert_close(accumulator * scale, simulated, rtol=1e-12, atol=1e-12)


def unit_codes(values, bits=16, signed=True, scale=1.0, **others):
    return Codes(torch.tensor(values), bits, torch.tensor(scale), signed=signed, **others)


def test_bias_is_rounded_ties_to_even():
    x, weight = unit_codes([[0]]), unit_codes([[0]] * 6, scale=0.5)
    bias = torch.tensor([0.25, 0.75, 1.25, -0.25, -0.75, 1.3])
    assert integer_linear(x, weight, bias)[0].tolist() == [[0, 2, 2, 0, -2, 3]]


def test_an_int32_is_full_at_two_to_the_31():
    x = unit_codes([[65535, 1]], signed=False)
    assert integer_linear(x, unit_codes([[32767, 32767]]))[0].item() == 65536 * 32767
    assert integer_linear(x, unit_codes([[32767, 32767]]), torch.tensor([65535.0]))[0].item() == 2**31 - 1
    for bias in (65536.0, 2.0**30):
        with pytest.raises(ValueError, match=r"^the sum does not fit an int32 accumulator$"):
            integer_linear(x, unit_codes([[32767, 32767]]), torch.tensor([bias]))
    with pytest.raises(ValueError, match=r"^the sum does not fit an int32 accumulator$"):
        integer_linear(unit_codes([[65535, 65535]], signed=False), unit_codes([[-32767, -32767]]))


@pytest.mark.parametrize("bias", [2.0**31, -(2.0**40), 2.0**63, 2.0**64, 3e38])
def test_a_bias_beyond_int32_is_refused(bias):
    """Cast to int64, 2**63 would become its own negative, whose magnitude overflows again and looks small."""
    with pytest.raises(ValueError, match=r"^bias does not fit an int32 at the scale of the sum$"):
        integer_linear(unit_codes([[0]]), unit_codes([[0]]), torch.tensor([bias]))


def test_a_scale_that_underflows_is_refused_with_a_bias():
    tiny = unit_codes([[1]], scale=1e-30)
    for bias in (0.0, 1.0):
        with pytest.raises(ValueError, match=r"^bias does not fit an int32"):
            integer_linear(tiny, tiny, torch.tensor([bias]))


@pytest.mark.parametrize(
    ("bias", "error", "message"),
    [
        (torch.tensor([NAN, 0.0]), ValueError, "bias holds NaN or Inf"),
        (torch.tensor([INF, 0.0]), ValueError, "bias holds NaN or Inf"),
        (torch.tensor([1, 2]), TypeError, "bias must be a floating point tensor, got torch.int64"),
        (torch.ones(3), ValueError, r"bias must have shape \(2,\), got \(3,\)"),
        (torch.ones(1), ValueError, r"bias must have shape \(2,\), got \(1,\)"),
        (torch.tensor(1.0), ValueError, r"bias must have shape \(2,\), got \(\)"),
        (torch.ones(3, 2), ValueError, r"bias must have shape \(2,\), got \(3, 2\)"),
    ],
)
def test_other_biases_are_refused(bias, error, message):
    with pytest.raises(error, match=f"^{message}$"):
        integer_linear(unit_codes([[1], [1], [1]]), unit_codes([[1], [1]]), bias)


def test_codes_of_another_kind_are_refused():
    plain = unit_codes([[1, 1], [1, 1]])
    table = unit_codes([[1, 1], [1, 1]], signed=False, levels=torch.zeros(2))
    shifted = unit_codes([[1, 1], [1, 1]], signed=False, zero_point=torch.tensor(1))
    for x, weight in ((table, plain), (plain, table), (plain, shifted)):
        with pytest.raises(ValueError, match=r"^integer_linear needs uniform codes, and a weight without zero_point$"):
            integer_linear(x, weight)
    for x, weight in ((unit_codes([1, 1]), plain), (plain, unit_codes([1, 1])), (plain, unit_codes([[[1, 1]]]))):
        with pytest.raises(ValueError, match=r"^integer_linear needs matrices"):
            integer_linear(x, weight)


@pytest.mark.parametrize("shape", [(1,), (1, 2), (2,), (2, 1)])
def test_scales_that_do_not_factor_out_are_refused(shape):
    """A scale per column of a square weight has as many entries as one per row, and would be taken for it."""
    plain = unit_codes([[1, 1], [1, 1]])
    scaled = Codes(plain.values, 16, torch.ones(shape))
    with pytest.raises(ValueError, match=r"^integer_linear needs one scale for x"):
        integer_linear(scaled, plain)
    if shape != (2, 1):
        with pytest.raises(ValueError, match=r"^integer_linear needs one scale for x"):
            integer_linear(plain, scaled)


# --- ranges of activations --------------------------------------------------------------------------------------------


def activation_network(**options) -> nn.Module:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 3))
    return quantize_activations(model, lambda: UniformQuantizer(4, signed=False, **options))


def test_a_range_that_would_come_from_the_test_batch_is_refused():
    x = torch.rand(6, 4)
    for model in (activation_network(), activation_network(running=0.1)):
        with pytest.raises(ValueError, match="not fixed, and it would depend on the test batch"):
            model.eval()(x)
        calibrate(model, x)
        others = torch.cat([x[:1], 5 * x[1:]])  # as many as before: another batch would be summed in another order
        assert torch.equal(model(x)[:1], model(others)[:1])
    by_one_call = quantize(nn.Sequential(nn.Linear(4, 8), nn.ReLU()), None, partial(UniformQuantizer, 4), x).eval()
    (own,) = (module for module in by_one_call.modules() if isinstance(module, UniformQuantizer))
    own.low.fill_(torch.nan)
    with pytest.raises(ValueError, match="not fixed, and it would depend on the test batch"):
        by_one_call(x)
    assert torch.equal(UniformQuantizer(4).eval()(x), UniformQuantizer(4)(x))  # weights may follow what they quantize


def test_running_ranges_are_averages_in_training_and_frozen_in_a_test():
    quantizer = UniformQuantizer(4, signed=False, running=0.25)
    quantizer.for_activations()
    for top in (4.0, 8.0):
        quantizer(torch.tensor([0.0, top]))
    assert quantizer.high.item() == 4 + 0.25 * (8 - 4)
    quantizer.eval()
    assert quantizer(torch.tensor([100.0])).item() == quantizer.high.item() == 5.0
    again = UniformQuantizer(4, signed=False, running=0.25)
    again.load_state_dict(quantizer.state_dict())
    assert again.eval()(torch.tensor([100.0])).item() == 5.0


@pytest.mark.parametrize("options", [{"running": 0.0}, {"running": 1.5}, {"running": 0.1, "channel_axis": 0}])
def test_bad_running_shares_are_refused(options):
    with pytest.raises(ValueError, match=r"running must lie in \(0, 1\]"):
        UniformQuantizer(4, **options)
