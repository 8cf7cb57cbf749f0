"""Learned bits: gradients against a float64 reference, autograd and finite differences; penalties against loops."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from strategies import BAD_BITS, BAD_FLOATS, BAD_VALUES, DTYPES, same_bits, tensors
from torch import nn
from torch.nn.utils import parametrize

from fewbits.core.codes import Codes
from fewbits.core.filter_codes import FilterCodes
from fewbits.core.macs import LayerWork, layer_work
from fewbits.core.quantizer import (
    encode_weights,
    quantize_activations,
    quantize_weights,
    stored_bits,
    weight_quantizers,
)
from fewbits.core.ste import round_ste
from fewbits.mixed_precision import (
    LearnedBits,
    activation_counts,
    activation_size,
    calibrate,
    clip_grid_gradients,
    constrain,
    filter_bits,
    learn_weight_bits,
    mac_bits,
    over_budget,
    weight_size,
)
from fewbits.mixed_precision.post_training import filter_sensitivity, layer_sensitivity
from fewbits.uniform import UniformQuantizer
from fewbits.vector import ProductQuantizer

RULES = ["paper", "released"]


def grid(step, q_max, dtype=torch.float64, **options) -> LearnedBits:
    """A quantizer with this step and range, numbers or nested lists."""
    quantizer = LearnedBits(**({"power_of_two": False} | options)).to(dtype)
    quantizer.step_size = nn.Parameter(torch.tensor(step, dtype=dtype))
    quantizer.q_max = nn.Parameter(torch.tensor(q_max, dtype=dtype))
    return quantizer


def reference(x, step, q_max, signed, rule):
    """Value and the three derivatives of one number, written down from the paper's case distinction in plain Python."""
    sign, last = math.copysign(1.0, x) if x else 0.0, math.floor(q_max / step + 0.5)
    if not signed and x < 0:
        return 0.0, 0.0, 0.0, 0.0
    if abs(x) <= q_max:
        value = sign * step * math.floor(abs(x) / step + 0.5)
        return value, 1.0, (value - x) / step, 0.0
    return sign * last * step, 0.0, sign * (last - q_max / step) if rule == "released" else 0.0, sign


# --- values ----------------------------------------------------------------------------------------------------------


def test_by_hand():
    x = torch.tensor([0.2, -0.3, 0.25, -0.75, 1.2, 1.6, -9.0], dtype=torch.float64)
    quantizer = grid(0.5, 1.5)
    assert quantizer(x).tolist() == [0, -0.5, 0.5, -1, 1, 1.5, -1.5]  # ties go away from 0
    assert quantizer.bits() == 3  # K = 3: seven codes
    codes = quantizer.encode(x)
    assert codes.values.tolist() == [0, -1, 1, -2, 2, 3, -3]
    assert codes.bits == 3
    assert grid(0.5, 1.5, signed=False)(x).tolist() == [0, 0, 0.5, 0, 1, 1.5, 0]
    assert grid(0.5, 1.5, signed=False, min_bits=1).bits() == 2


@pytest.mark.parametrize("ratio", [1.0, 1.4, 1.6, 2, 3, 3.4, 3.6, 7, 7.51, 15, 100, 126.7, 127])
def test_bits_are_just_enough_for_the_codes(ratio):
    quantizer = grid(0.25, 0.25 * ratio, max_bits=8)
    last = math.floor(ratio + 0.5)
    assert quantizer.bits().item() == math.ceil(math.log2(last + 1)) + 1
    codes = quantizer.encode(torch.tensor([-1e3, 1e3], dtype=torch.float64))
    assert codes.values.tolist() == [-last, last]
    assert last < 2 ** (codes.bits - 1) <= 2 * last


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("axis", [None, -1])
@given(data=st.data())
def test_simulated_and_stored_agree(dtype, axis, data):
    x = data.draw(tensors(dtype, shape=(2, 3), largest=1e30))
    quantizer = LearnedBits(axis, power_of_two=data.draw(st.booleans()))
    quantizer.fit(x, data.draw(st.integers(2, 8)))
    y, codes = quantizer(x), quantizer.encode(x)
    assert y.dtype == dtype
    assert torch.equal(y, codes.decode().to(dtype))
    assert same_bits(y, y + 0.0)  # no -0.0
    assert torch.equal(quantizer(y), y)  # twice is once
    assert isinstance(codes, Codes if axis is None else FilterCodes)
    assert ((y == 0) | (y.sign() == x.sign())).all()


@pytest.mark.parametrize("power_of_two", [True, False])
@given(x=tensors(shape=(3, 5), largest=1e6), bits=st.integers(2, 8))
def test_fit_starts_with_the_bits_asked_for(power_of_two, x, bits):
    quantizer = LearnedBits(0, power_of_two=power_of_two)
    quantizer.fit(x, bits)
    if power_of_two:
        assert (torch.frexp(quantizer.step_size).mantissa == 0.5).all()
    assert quantizer.bits().flatten().tolist() == [bits] * 3
    widest = UniformQuantizer(bits, channel_axis=0)
    if not power_of_two and x.abs().amax(1).min() > 1e-30:  # the widest grid is the first that is tried
        errors = [(q(x).double() - x.double()).square().sum(1) for q in (quantizer, widest)]
        assert (errors[0] <= errors[1] * (1 + 1e-4)).all()


def test_filters_are_quantized_each_by_itself():
    x = torch.randn(3, 4, 2, generator=torch.Generator().manual_seed(1))
    together = LearnedBits(0)
    together.fit(x, 4)
    for row, y in zip(x, together(x), strict=True):
        alone = LearnedBits()
        alone.fit(row, 4)
        assert torch.equal(alone(row), y)


def test_without_a_start_the_first_input_fits_every_filter():
    x = torch.randn(3, 4, generator=torch.Generator().manual_seed(1))
    quantizer, fitted = LearnedBits(0, max_bits=5), LearnedBits(0, max_bits=5)
    with pytest.raises(ValueError, match="have not started"):
        quantizer.encode(x)
    fitted.fit(x)
    assert torch.equal(quantizer(x), fitted(x))
    assert torch.equal(quantizer(2 * x), fitted(2 * x))  # the second input moves nothing
    assert quantizer.bits().flatten().tolist() == [5] * 3
    assert isinstance(quantizer.encode(x), FilterCodes)


def test_odd_inputs():
    zeros = LearnedBits(0)
    zeros.fit(torch.zeros(2, 3), 4)
    assert zeros(torch.zeros(2, 3)).tolist() == [[0, 0, 0]] * 2
    half = torch.randn(3, 5).half()
    quantizer = LearnedBits()
    quantizer.fit(half, 4)
    assert same_bits(quantizer(half), quantizer(half.float()))
    strided = torch.randn(5, 6).T
    assert torch.equal(quantizer(strided), quantizer(strided.contiguous()))


@pytest.mark.parametrize(("x", "error", "message"), [*BAD_FLOATS.values(), *BAD_VALUES.values()])
def test_bad_inputs_are_refused(x, error, message):
    quantizer = LearnedBits()
    for method in (quantizer, quantizer.encode, lambda value: quantizer.fit(value, 4)):
        with pytest.raises(error, match=message):
            method(x)


def test_bad_arguments_are_refused():
    with pytest.raises(ValueError, match="rule must be one of"):
        LearnedBits(rule="other")
    with pytest.raises(ValueError, match="channel_axis needs a signed grid"):
        LearnedBits(0, signed=False)
    with pytest.raises(ValueError, match="min_bits must lie between 2 and 16"):
        LearnedBits(min_bits=1)
    with pytest.raises(ValueError, match="max_bits must lie between 4 and 16"):
        LearnedBits(min_bits=4, max_bits=3)
    for bits, error in BAD_BITS.values():
        with pytest.raises(error, match="max_bits"):
            LearnedBits(max_bits=bits)
        if bits is not None:  # which means max_bits
            with pytest.raises(error, match="bits"):
                LearnedBits().fit(torch.ones(2), bits)
    with pytest.raises(ValueError, match="bits must lie between 2 and 5"):
        LearnedBits(max_bits=5).fit(torch.ones(2), 6)
    for step, q_max in ((0.0, 1.0), (-1.0, 1.0), (math.nan, 1.0), (1.0, math.inf)):
        with pytest.raises(ValueError, match="step_size must be positive"):
            grid(step, q_max)(torch.ones(2))


# --- gradients --------------------------------------------------------------------------------------------------------


def gradients(quantizer, x, weight):
    """Gradients of ``sum(weight * Q(x))`` for x, step and range."""
    x = x.clone().requires_grad_()
    return torch.autograd.grad((weight * quantizer(x)).sum(), (x, quantizer.step_size, quantizer.q_max))


@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize("signed", [True, False])
@given(data=st.data())
def test_gradients_are_those_of_the_reference(rule, signed, data):
    step = data.draw(st.floats(0.05, 2))
    q_max = step * data.draw(st.floats(1, 20))
    x = data.draw(st.lists(st.floats(-30, 30), min_size=1, max_size=8))
    quantizer = grid(step, q_max, signed=signed, rule=rule, min_bits=1 + signed, max_bits=8)
    weight = torch.linspace(-1, 2, len(x), dtype=torch.float64)
    tensor = torch.tensor(x, dtype=torch.float64)
    expected = [reference(value, step, q_max, signed, rule) for value in x]
    assert quantizer(tensor).tolist() == pytest.approx([row[0] for row in expected], abs=1e-12)
    by_x, by_step, by_range = gradients(quantizer, tensor, weight)
    assert by_x.tolist() == [w * row[1] for w, row in zip(weight.tolist(), expected, strict=True)]
    for got, column in ((by_step, 2), (by_range, 3)):
        terms = [w * row[column] for w, row in zip(weight.tolist(), expected, strict=True)]
        assert got.item() == pytest.approx(math.fsum(terms), abs=1e-9)


def test_the_rules_differ_outside_and_only_if_the_range_is_no_multiple():
    x, one = torch.tensor([0.3, 5.0, -7.0], dtype=torch.float64), torch.ones(3, dtype=torch.float64)
    weight = torch.tensor([1.0, 2.0, 5.0], dtype=torch.float64)
    for q_max, differ in ((1.5, False), (1.6, True)):
        paper, released = (gradients(grid(0.5, q_max, rule=rule), x, weight) for rule in RULES)
        assert (paper[1] != released[1]).item() == differ
        assert torch.equal(paper[2], released[2])
    assert released[1] - paper[1] == pytest.approx((2 - 5) * (3 - 1.6 / 0.5))
    assert torch.equal(gradients(grid(0.5, 1.6), x, one)[0], torch.tensor([1.0, 0, 0], dtype=torch.float64))


@pytest.mark.parametrize("signed", [True, False])
def test_the_released_rule_is_autograd_of_the_released_formula(signed):
    """``d * round(clip(x) / d)`` with a straight-through round, differentiated by autograd."""
    x = torch.randn(200, dtype=torch.float64, generator=torch.Generator().manual_seed(2)) * 3
    weight = torch.randn(200, dtype=torch.float64, generator=torch.Generator().manual_seed(3))
    leaves = [x, torch.tensor(0.37, dtype=torch.float64), torch.tensor(2.5, dtype=torch.float64)]
    x_, step, q_max = (leaf.clone().requires_grad_() for leaf in leaves)
    clipped = torch.maximum(torch.minimum(x_, q_max), -q_max if signed else torch.zeros_like(q_max))
    expected = torch.autograd.grad((weight * step * round_ste(clipped / step)).sum(), (x_, step, q_max))
    quantizer = grid(0.37, 2.5, signed=signed, rule="released", min_bits=2)
    torch.testing.assert_close(gradients(quantizer, x, weight), expected)
    paper = grid(0.37, 2.5, signed=signed, min_bits=2)
    assert not torch.allclose(gradients(paper, x, weight)[1], expected[1])  # so the comparison can fail


def test_gradients_per_filter_are_those_of_each_filter():
    x = torch.randn(3, 7, dtype=torch.float64)
    weight = torch.randn(3, 7, dtype=torch.float64)
    steps, ranges = [0.3, 0.2, 0.11], [0.9, 0.45, 1.2]
    together = grid([[v] for v in steps], [[v] for v in ranges], channel_axis=0, rule="released")
    _, by_step, by_range = gradients(together, x, weight)
    for f, (step, q_max) in enumerate(zip(steps, ranges, strict=True)):
        alone = gradients(grid(step, q_max, rule="released"), x[f], weight[f])
        torch.testing.assert_close((by_step[f, 0], by_range[f, 0]), alone[1:])


def test_the_range_gradient_is_the_slope_of_the_clipping_error():
    """For the range the rule is a true derivative: moving q_max by whole steps changes the squared error as it says."""
    x = 2 * torch.randn(100_000, dtype=torch.float64, generator=torch.Generator().manual_seed(4))
    step = 2.0**-6

    def error(q_max):
        return (grid(step, q_max, max_bits=10)(x) - x).square().mean()

    for q_max in (1.0, 2.0, 3.0):
        quantizer = grid(step, q_max, max_bits=10)
        (slope,) = torch.autograd.grad((quantizer(x) - x).square().mean(), quantizer.q_max)
        nudged = (error(q_max + step) - error(q_max - step)) / (2 * step)
        assert slope.item() == pytest.approx(nudged.item(), rel=0.01)


@pytest.mark.parametrize("step", [0.25, 0.5, 1.0])
def test_the_step_gradient_is_the_slope_of_the_error_for_many_weights(step):
    """A single weight has no slope in d; the squared error of many normal ones has, and the straight-through one is it.

    Without clipping the error is about d² / 12, so the slope is d / 6.
    """
    x = torch.randn(2_000_000, dtype=torch.float64, generator=torch.Generator().manual_seed(5))

    def error(width):
        return (grid(width, 127 * width)(x) - x).square().mean()

    quantizer = grid(step, 127 * step)
    (slope,) = torch.autograd.grad((quantizer(x) - x).square().mean(), quantizer.step_size)
    nudge = step / 20
    nudged = (error(step + nudge) - error(step - nudge)) / (2 * nudge)
    assert slope.item() == pytest.approx(nudged.item(), rel=0.05)
    assert slope.item() == pytest.approx(step / 6, rel=0.05)


def test_the_gradient_of_bits_is_that_of_the_logarithm():
    quantizer = grid([[0.3], [0.05]], [[1.1], [2.0]], channel_axis=0)
    by_step, by_range = torch.autograd.grad(quantizer.bits().sum(), (quantizer.step_size, quantizer.q_max))

    def smooth(step, q_max):
        return np.log2(q_max / step + 1)

    for f, (step, q_max) in enumerate(((0.3, 1.1), (0.05, 2.0))):
        nudge = 1e-6
        slope = (smooth(step + nudge, q_max) - smooth(step - nudge, q_max)) / (2 * nudge)
        assert by_step[f, 0].item() == pytest.approx(slope, rel=1e-6)
        slope = (smooth(step, q_max + nudge) - smooth(step, q_max - nudge)) / (2 * nudge)
        assert by_range[f, 0].item() == pytest.approx(slope, rel=1e-6)


def test_a_power_of_two_step_hands_its_gradient_on_unchanged():
    x, weight = torch.randn(50, dtype=torch.float64), torch.randn(50, dtype=torch.float64)
    learned, used = grid(0.3, 1.1, power_of_two=True), grid(0.25, 1.1)
    assert torch.equal(learned(x), used(x))
    torch.testing.assert_close(gradients(learned, x, weight), gradients(used, x, weight))


def test_fixed_bits_learn_the_step_as_lsq_does():
    """Esser et al. (2020): round(v / s) - v / s inside, ± the greatest code outside."""
    x, weight = 3 * torch.randn(60, dtype=torch.float64), torch.randn(60, dtype=torch.float64)
    quantizer = grid(0.4, 9.9, min_bits=3, max_bits=3)
    by_step = torch.autograd.grad((weight * quantizer(x)).sum(), quantizer.step_size)[0]
    scaled = x / 0.4
    lsq = torch.where(scaled.abs() <= 3, scaled.abs().add(0.5).floor() * x.sign() - scaled, 3 * x.sign())
    assert by_step.item() == pytest.approx((weight * lsq).sum().item())
    assert quantizer.bits() == 3


# --- constraint -------------------------------------------------------------------------------------------------------


@given(
    st.floats(-1, 10),
    st.floats(-1, 1000),
    st.booleans(),
    st.sampled_from([(2, 8), (2, 3), (3, 5), (4, 4)]),
    st.booleans(),
)
def test_constrained_bits_stay_within_their_bounds(step, q_max, signed, between, power_of_two):
    low, high = between
    quantizer = grid(step, q_max, signed=signed, power_of_two=power_of_two, min_bits=low, max_bits=high)
    quantizer.constrain()
    assert low <= quantizer.bits().item() <= high
    assert low <= quantizer.encode(torch.tensor([-1e3, 1e3], dtype=torch.float64)).bits <= high
    before = quantizer.step_size.item(), quantizer.q_max.item()
    quantizer.constrain()
    assert (quantizer.step_size.item(), quantizer.q_max.item()) == before


def test_a_range_on_its_border_still_learns():
    x = torch.tensor([100.0, 200.0], dtype=torch.float64)
    quantizer = grid(0.5, 0.5 * 127)
    assert gradients(quantizer, x, torch.ones(2, dtype=torch.float64))[2] == 2


# --- penalties --------------------------------------------------------------------------------------------------------


def small() -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(1, 3, 3, padding=1), nn.ReLU(), nn.Flatten(), nn.Linear(3 * 16, 5))


def one_step(clipped: bool) -> tuple[torch.Tensor, torch.Tensor, nn.Module]:
    """Steps before and after one step of SGD at a rate of 0.01; one filter's weights are a millionth of the others'."""
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(50, 4))
    with torch.no_grad():
        model[0].weight[2] *= 1e-6
    learn_weight_bits(model, 4)
    ((_, grid, _),) = weight_quantizers(model)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01)
    if clipped:
        clip_grid_gradients(optimizer, model)
    before = grid.step_size.detach().clone()
    (model(torch.randn(8, 50)).square().sum() + grid.bits().sum()).backward()
    optimizer.step()
    return before, grid.step_size.detach(), model


def test_clipped_steps_change_by_at_most_the_rate():
    before, after, model = one_step(clipped=True)
    assert ((after - before).abs() <= 0.01 * (1 + 1e-4) * before).all()
    assert not torch.equal(after, before)
    ((_, grid, _),) = weight_quantizers(model)
    assert (grid.q_max.grad.abs() <= before).all()
    # Weights, which have no grid, are left alone: their gradients are larger than any step.
    assert model[0].parametrizations.weight.original.grad.abs().max() > before.max()


def test_grids_of_activations_are_limited_too_and_none_is_refused():
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(5, 4), LearnedBits(signed=False))
    grid = model[1]
    grid.fit(torch.rand(20), 4)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01)
    clip_grid_gradients(optimizer, model)
    before = grid.step_size.detach().clone()
    (1e4 * model(torch.randn(8, 5)).square().sum() + grid.bits()).backward()
    assert grid.q_max.grad.abs() > before
    optimizer.step()
    assert 0 < (grid.step_size - before).abs() <= 0.01 * (1 + 1e-4) * before
    with pytest.raises(ValueError, match="has no LearnedBits"):
        clip_grid_gradients(optimizer, nn.Linear(2, 2))


def test_without_the_limit_small_filters_lose_their_grid():
    before, after, _ = one_step(clipped=False)
    assert (after - before).abs()[2] > 1000 * before[2]


@pytest.mark.parametrize("axis", [0, None])
def test_size_and_mac_bits_count_every_filter(axis):
    model = learn_weight_bits(small(), 5, axis)
    works = layer_work(model, (1, 4, 4))
    assert weight_size(model, works) == 5 * (27 + 240)
    assert mac_bits(model, works) == 5 * (27 * 16 + 240)
    if axis == 0:
        quantizer = model[0].parametrizations.weight[0]
        with torch.no_grad():
            quantizer.q_max[1] = 3 * quantizer.step_size[1]  # K = 3: three bits
        assert filter_bits(model) == {"0": [5, 3, 5], "3": [5] * 5}
        assert weight_size(model, works) == 5 * (18 + 240) + 3 * 9
        assert mac_bits(model, works) == 5 * (18 * 16 + 240) + 3 * 9 * 16
    mac_bits(model, works).backward()
    by_range = [q.q_max.grad for _, q, _ in weight_quantizers(model)]
    assert all((grad > 0).all() for grad in by_range)  # a smaller range takes fewer bits


def test_a_mac_weighs_a_convolution_by_its_output_positions():
    """Gradients of the two penalties for the same filter differ by exactly the reuse of its weights."""
    model = learn_weight_bits(small(), 5)
    works = layer_work(model, (1, 4, 4))
    parameter = model[0].parametrizations.weight[0].step_size
    by_size = torch.autograd.grad(weight_size(model, works), parameter)[0]
    by_macs = torch.autograd.grad(mac_bits(model, works), parameter)[0]
    torch.testing.assert_close(by_macs, 16 * by_size)


def test_the_penalty_starts_at_the_budget():
    amount = torch.tensor([50.0, 100.0, 150.0], requires_grad=True)
    penalty = over_budget(amount, 100.0)
    assert penalty.tolist() == [0, 0, 0.25]
    penalty.sum().backward()
    assert amount.grad.tolist() == pytest.approx([0, 0, 0.01])
    for target in (0.0, -1.0, math.nan, math.inf):
        with pytest.raises(ValueError, match="target must be positive"):
            over_budget(amount, target)


def test_a_layer_without_learned_bits_is_named():
    works = layer_work(small(), (1, 4, 4))
    with pytest.raises(ValueError, match=r"works names \['0', '3'\]"):
        weight_size(small(), works)
    partly = quantize_weights(small(), LearnedBits, skip=["3"])
    with pytest.raises(ValueError, match=r"works names \['3'\]"):
        mac_bits(partly, works)
    with pytest.raises(ValueError, match=r"works names \['7'\]"):
        mac_bits(learn_weight_bits(small(), 4), [LayerWork("7", "linear", 1, 1, 1, 1)])


def test_activations_have_bits_of_their_own():
    model = quantize_activations(small(), lambda: LearnedBits(signed=False, min_bits=1))
    images = torch.rand(6, 1, 4, 4)
    assert calibrate(model, images, bits=4) is model
    elements = activation_counts(model, images[:1])
    assert list(elements.values()) == [3 * 16]
    assert activation_size(elements) == 4 * 48
    (quantizer,) = elements
    seen = model[0](images).relu()
    assert quantizer.q_max <= seen.max()
    assert (quantizer(seen) - seen).abs().max() <= quantizer.step_size / 2 + (seen.max() - quantizer.q_max)
    activation_size(elements).backward()
    assert quantizer.q_max.grad > 0


def test_the_stored_network_is_codes_and_headers():
    model = learn_weight_bits(small(), 4)
    assert stored_bits(model) == 4 * (27 + 240) + 8 * (32 + 4) + 32 * 8
    assert {name: codes.bits.tolist() for name, codes in encode_weights(model).items()} == filter_bits(model)
    uniform = quantize_weights(small(), lambda: UniformQuantizer(6), skip=())
    assert filter_bits(uniform) == {"0": [6] * 3, "3": [6] * 5}


def test_filters_that_share_an_index_have_no_bits_of_their_own():
    layer = nn.Linear(4, 6)
    parametrize.register_parametrization(layer, "weight", ProductQuantizer(layer.weight.detach(), d=2, k=4))
    with pytest.raises(ValueError, match="stores an index for several weights"):
        filter_bits(nn.Sequential(layer))


@pytest.mark.parametrize("penalty", [weight_size, mac_bits])
def test_training_reaches_the_budget(penalty):
    model = learn_weight_bits(small(), 6)
    works = layer_work(model, (1, 4, 4))
    target = penalty(model, works).item() / 2
    optimizer = torch.optim.Adam(
        [p for n, p in model.named_parameters() if n.endswith(("step_size", "q_max"))], lr=0.01
    )
    for _ in range(60):
        optimizer.zero_grad()
        over_budget(penalty(model, works), target).backward()
        optimizer.step()
        constrain(model)
    assert penalty(model, works) <= 1.02 * target


class Repeated(nn.Module):
    """One layer called twice, and another with the same weight."""

    def __init__(self):
        super().__init__()
        self.first, self.second = nn.Linear(6, 6), nn.Linear(6, 6)
        self.second.weight = self.first.weight

    def forward(self, x):
        return self.second(self.first(self.first(x)))


def test_repeated_weights_are_stored_once_and_multiplied_each_time():
    model = learn_weight_bits(Repeated(), 4)
    works = layer_work(model, (6,))
    assert [work.name for work in works] == ["first", "first", "second"]
    assert float(weight_size(model, works)) == 4 * 36
    assert float(mac_bits(model, works)) == 3 * 4 * 36


def test_sensitivity_of_a_weight_that_is_quantized_already_is_refused():
    """Its layer computes the weight at each call, so that another cannot be put in its place."""
    model = nn.Sequential(nn.Linear(3, 3), nn.Linear(3, 2))
    quantize_weights(model, lambda: UniformQuantizer(4), skip=("first",))
    for ask in (layer_sensitivity, lambda model, make, score: filter_sensitivity(model, "1", make, score)):
        with pytest.raises(ValueError, match="the weight of '1' is quantized already"):
            ask(model, lambda: UniformQuantizer(2), lambda model: 0.0)
