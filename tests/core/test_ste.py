"""Straight-through estimators: the steps against Python's own rounding and torch's kernels, the slopes against both."""

from fractions import Fraction

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from strategies import DTYPES, INF, NAN, floats, layouts, quotient, same_bits, shapes, tensors

from fewbits.core import ste
from fewbits.core.ste import fake_quantize, round_ste, sign_ste


def with_gradient(function, x, upstream):
    """Value and gradient of ``function`` at ``x`` for an incoming gradient."""
    x = x.detach().requires_grad_()
    y = function(x)
    y.backward(upstream)
    return y.detach(), x.grad


@st.composite
def fake_quantize_cases(draw, dtype, scales):
    """x, scale, zero_point, q_min, q_max, axis, upstream: per tensor (axis None) or per channel; ties are frequent."""
    bits, shape = draw(st.integers(1, 16)), draw(shapes(max_dims=3))
    q_min, q_max = draw(st.sampled_from([(0, 2**bits - 1), (-(2 ** (bits - 1)), 2 ** (bits - 1) - 1)]))
    axis = draw(st.one_of(st.none(), st.integers(0, len(shape) - 1))) if shape else None
    per_channel = () if axis is None else tuple(n if a == axis else 1 for a, n in enumerate(shape))
    scale = draw(tensors(dtype, per_channel, elements=scales, odd_layouts=False))
    zeros = st.lists(st.integers(max(q_min, 0), q_max), min_size=scale.numel(), max_size=scale.numel())
    zero_point = torch.tensor(draw(zeros)).reshape(per_channel).to(dtype)
    steps = draw(tensors(dtype, shape, elements=floats(dtype, 2.0 ** (bits + 1)), odd_layouts=False))
    if draw(st.booleans()):
        steps = (2 * steps).round() / 2  # halves only: every other one is a tie where the scale is a power of two
    x = draw(layouts(steps * scale))
    upstream = torch.arange(1.0, x.numel() + 1, dtype=dtype).reshape(shape)
    return x, scale, zero_point, q_min, q_max, axis, upstream


@settings(max_examples=60)
@given(case=fake_quantize_cases(torch.float32, st.floats(2**-10, 2**10, width=32)), block=st.integers(1, 7))
def test_blocks_change_nothing(case, block):
    x, scale, zero_point, q_min, q_max, _axis, upstream = case
    results = []
    for size in (block, x.numel() + 1):
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(ste, "BLOCK", size)
            for zero in (zero_point, None):
                results.append(with_gradient(lambda x, z=zero: fake_quantize(x, scale, z, q_min, q_max), x, upstream))
    for small, whole in zip(results[:2], results[2:], strict=True):
        assert same_bits(small[0], whole[0])
        assert torch.equal(small[1], whole[1])


@pytest.mark.parametrize("shape", [(2, 3, 5, 4), (1, 3, 2, 2), (2, 1, 3, 3)])
def test_blocks_follow_the_layout_of_channels_last(shape, monkeypatch):
    x = torch.randn(shape, generator=torch.Generator().manual_seed(0)).to(memory_format=torch.channels_last)
    upstream = torch.arange(float(x.numel())).view(shape)
    whole = with_gradient(lambda x: fake_quantize(x, torch.tensor(0.3), None, -3, 3), x, upstream)
    monkeypatch.setattr(ste, "BLOCK", 4)
    assert len(ste.in_blocks(x, torch.tensor(0.3))) > 1
    small = with_gradient(lambda x: fake_quantize(x, torch.tensor(0.3), None, -3, 3), x, upstream)
    assert torch.equal(small[0], whole[0])
    assert torch.equal(small[1], whole[1])
    assert small[0].is_contiguous(memory_format=torch.channels_last)


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.bfloat16, torch.float16])
@pytest.mark.parametrize("window", [1.0, 0.5, None])
def test_signs_and_their_gradient_in_every_dtype(dtype, window):
    """The border of the window belongs to it, both zeros are positive, and the layout is that of the input."""
    x = torch.tensor([-INF, -1.5, -1.0, -0.5, -0.0, 0.0, 0.5, 1.0, 1.5, INF, NAN, -0.75], dtype=dtype)
    x = x.reshape(1, 3, 2, 2).to(memory_format=torch.channels_last)
    upstream = torch.arange(1.0, 13).to(dtype).reshape(1, 3, 2, 2)
    y, gradient = with_gradient(lambda x: sign_ste(x, window), x, upstream)
    flat = x.flatten().tolist()
    assert y.flatten().tolist() == [1.0 if value >= 0 else -1.0 for value in flat]
    inside = [window is None or abs(value) <= window for value in flat]
    assert gradient.flatten().tolist() == [at * passes for at, passes in enumerate(inside, 1)]
    assert y.dtype == gradient.dtype == dtype
    assert y.is_contiguous(memory_format=torch.channels_last)


@pytest.mark.parametrize("rule", [sign_ste, lambda x: fake_quantize(x, torch.tensor(0.3), None, -3, 3)])
def test_a_gradient_of_the_gradient_passes_the_same_window(rule):
    x = torch.tensor([-2.0, 0.4], requires_grad=True)
    upstream = torch.tensor([1.0, 3.0], requires_grad=True)
    (first,) = torch.autograd.grad(rule(x), x, upstream, create_graph=True)
    (second,) = torch.autograd.grad(first.sum(), upstream)
    assert first.tolist() == [0.0, 3.0]
    assert second.tolist() == [0.0, 1.0]


def test_a_compiler_sees_one_graph_whatever_the_size(monkeypatch):
    monkeypatch.setattr(ste, "BLOCK", 4)
    x = torch.tensor([-2.0, -0.3, 0.4, 2.0, NAN, INF])
    plain, compiled = (
        with_gradient(lambda x, f=f: f(x, torch.tensor(0.3), None, -3, 3), x, torch.arange(1.0, 7.0))
        for f in (fake_quantize, torch.compile(fake_quantize, backend="aot_eager", fullgraph=True))
    )
    assert same_bits(compiled[0], plain[0])
    assert torch.equal(compiled[1], plain[1])
    assert plain[1].tolist() == [0, 2, 3, 0, 0, 0]


def power_of_two_scales(dtype):
    return st.integers(-30, 30).map(lambda e: 2.0**e)


def torch_fake_quantize(x, scale, zero_point, q_min, q_max, axis):
    if axis is None:
        return torch.fake_quantize_per_tensor_affine(x, scale.item(), int(zero_point), q_min, q_max)
    flat = scale.flatten().float(), zero_point.flatten().int()
    return torch.fake_quantize_per_channel_affine(x, *flat, axis, q_min, q_max)


@pytest.mark.parametrize("dtype", DTYPES)
@settings(max_examples=100)
@given(data=st.data())
def test_power_of_two_scales_give_what_torch_gives(dtype, data):
    """Value and gradient, ties included: torch multiplies by 1/scale, which is exact here."""
    *arguments, axis, upstream = data.draw(fake_quantize_cases(dtype, power_of_two_scales(dtype)))
    ours = with_gradient(lambda x: fake_quantize(x, *arguments[1:]), arguments[0], upstream)
    theirs = with_gradient(lambda x: torch_fake_quantize(x, *arguments[1:], axis), arguments[0], upstream)
    assert same_bits(ours[0], theirs[0])
    assert torch.equal(ours[1], theirs[1])


@settings(max_examples=100)
@given(data=st.data())
def test_other_scales_differ_from_torch_only_at_ties(data):
    """Dividing and multiplying by the reciprocal part where x/scale lies within 2 units in the last place of a tie."""
    scales = st.floats(2.0**-10, 2.0**10, width=32)
    x, scale, zero_point, q_min, q_max, axis, upstream = data.draw(fake_quantize_cases(torch.float32, scales))
    ours = with_gradient(lambda x: fake_quantize(x, scale, zero_point, q_min, q_max), x, upstream)
    theirs = with_gradient(lambda x: torch_fake_quantize(x, scale, zero_point, q_min, q_max, axis), x, upstream)
    differs = (ours[0] != theirs[0]) | (ours[1] != theirs[1])
    for value, step in zip(x[differs].tolist(), scale.expand_as(x)[differs].tolist(), strict=True):
        assert distance_to_tie(value, step) <= 2 * torch.finfo(torch.float32).eps * abs(
            Fraction(value) / Fraction(step)
        )


def distance_to_tie(value: float, scale: float) -> Fraction:
    steps = Fraction(value) / Fraction(scale)
    return abs(steps - (steps.__floor__() + Fraction(1, 2)))


def test_the_reciprocal_does_part_from_the_quotient():
    """The allowance above is needed: near a tie, the product with 1/scale and the quotient round to different sides."""
    scale = torch.tensor(0.1)
    x = torch.arange(-127, 127) * scale + scale / 2
    ours = fake_quantize(x, scale, None, -128, 127)
    differs = ours != torch.fake_quantize_per_tensor_affine(x, scale.item(), 0, -128, 127)
    assert 0 < differs.sum() < x.numel()
    assert all(distance_to_tie(v, scale.item()) < 1e-4 for v in x[differs].tolist())


@pytest.mark.parametrize("dtype", DTYPES)
@settings(max_examples=100)
@given(data=st.data())
def test_values_and_slopes_as_python_computes_them(dtype, data):
    """Python's ``round`` ties to even as well; the gradient passes where the unclamped integer is inside."""
    scales = st.floats(2.0**-40, 2.0**40, width=32)
    x, scale, zero_point, q_min, q_max, _, upstream = data.draw(fake_quantize_cases(dtype, scales))
    y, gradient = with_gradient(lambda x: fake_quantize(x, scale, zero_point, q_min, q_max), x, upstream)
    columns = (t.flatten().tolist() for t in (x, scale.expand_as(x), zero_point.expand_as(x), y, gradient, upstream))
    for value, step, zero, out, slope, incoming in zip(*columns, strict=True):
        integer = round(quotient(value, step, dtype)) + int(zero)
        inside = min(max(integer, q_min), q_max)
        assert out == torch.tensor(inside - zero, dtype=dtype).mul(step).item()
        assert slope == (incoming if integer == inside else 0.0)


def test_ties_by_hand():
    x = torch.tensor([-2.5, -1.5, -0.5, 0.5, 1.5, 2.5])
    assert fake_quantize(x, torch.tensor(1.0), None, -8, 7).tolist() == [-2.0, -2.0, 0.0, 0.0, 2.0, 2.0]
    odd = fake_quantize(x, torch.tensor(1.0), torch.tensor(3.0), 0, 15)  # the zero point comes after the rounding
    assert odd.tolist() == [-2.0, -2.0, 0.0, 0.0, 2.0, 2.0]


def test_no_negative_zero_leaves():
    for zero_point in (None, torch.tensor(3.0)):
        y = fake_quantize(torch.tensor([-0.0, -0.2, 0.0]), torch.tensor(1.0), zero_point, -4, 4)
        assert same_bits(y, torch.zeros(3))


@pytest.mark.parametrize("zero_point", [None, torch.tensor(2.0)])
def test_nan_stays_and_infinity_saturates_without_a_gradient(zero_point):
    x = torch.tensor([NAN, INF, -INF, 1e38, 1.0])
    y, gradient = with_gradient(lambda x: fake_quantize(x, torch.tensor(0.5), zero_point, 0, 15), x, torch.ones(5))
    zero = 0 if zero_point is None else 2
    assert y[0].isnan()
    assert y[1:].tolist() == [0.5 * (15 - zero), -0.5 * zero, 0.5 * (15 - zero), 1.0]
    assert gradient.tolist() == [0, 0, 0, 0, 1]


def test_the_input_is_left_as_it_was():
    x = torch.tensor([0.3, 5.0, -7.0])
    before = x.clone()
    fake_quantize(x, torch.tensor(1.0), torch.tensor(1.0), 0, 3)
    round_ste(x)
    sign_ste(x)
    assert torch.equal(x, before)


@pytest.mark.parametrize("dtype", DTYPES)
@given(data=st.data())
def test_round_is_pythons_and_the_gradient_passes(dtype, data):
    x = data.draw(tensors(dtype))
    upstream = torch.arange(1.0, x.numel() + 1, dtype=dtype).reshape(x.shape)
    y, gradient = with_gradient(round_ste, x, upstream)
    assert y.flatten().tolist() == [float(round(value)) for value in x.flatten().tolist()]
    assert y.dtype == dtype
    assert torch.equal(gradient, upstream)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("window", [None, 0.0, 0.5, 1.0])
@given(data=st.data())
def test_sign_and_its_window(window, dtype, data):
    x = data.draw(tensors(dtype))
    upstream = torch.arange(1.0, x.numel() + 1, dtype=dtype).reshape(x.shape)
    y, gradient = with_gradient(lambda x: sign_ste(x, window), x, upstream)
    assert y.dtype == dtype
    assert y.flatten().tolist() == [1.0 if value >= 0 else -1.0 for value in x.flatten().tolist()]
    passes = [window is None or abs(value) <= window for value in x.flatten().tolist()]
    expected = [u if p else 0.0 for u, p in zip(upstream.flatten().tolist(), passes, strict=True)]
    assert gradient.flatten().tolist() == expected


def test_sign_of_zeros_and_of_nan():
    assert sign_ste(torch.tensor([0.0, -0.0, 1e-45, -1e-45, NAN])).tolist() == [1, 1, 1, -1, -1]
    assert sign_ste(torch.tensor(2.0, dtype=torch.float16)).dtype == torch.float16


def test_the_border_of_the_window_passes():
    x = torch.tensor([-1.0, 1.0, 1.0000001, -1.0000001])
    assert with_gradient(sign_ste, x, torch.ones(4))[1].tolist() == [1, 1, 0, 0]
    assert with_gradient(lambda x: sign_ste(x, None), x, torch.ones(4))[1].tolist() == [1, 1, 1, 1]
