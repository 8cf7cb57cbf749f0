"""Learned step size: by hand, against torch's learnable fake quantization, finite differences and a mean of many."""

import argparse
import copy
import dataclasses
import math
from functools import partial
from itertools import pairwise

import matplotlib

matplotlib.use("Agg")

import numpy as np
import pandas as pd
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats
from scipy.integrate import quad
from scipy.optimize import brentq, minimize_scalar
from strategies import BAD_BITS, BAD_FLOATS, BAD_VALUES, DTYPES, floats, same_bits, tensors
from torch import nn

from fewbits import evidence
from fewbits.core import ste
from fewbits.core.packing import unpack
from fewbits.core.quantizer import (
    constrain,
    encode_weights,
    quantize_activations,
    quantize_weights,
    stored_bits,
    weight_quantizers,
)
from fewbits.evidence import records
from fewbits.experiments import comparison
from fewbits.experiments.comparison import TASKS, Task, prepared, train_method
from fewbits.experiments.learned_step import run as experiment
from fewbits.experiments.learned_step.claims import make_claims
from fewbits.learned_step import LEAST_STEP, LSQ, keep_positive, least_error_step, lsq_values
from fewbits.logarithmic import LogQuantizer
from fewbits.mixed_precision import LearnedBits
from fewbits.nets import MLP
from fewbits.plots import COLORS, MARKERS, NEUTRALS
from fewbits.plots import learned_step as figures

GRIDS = [(2, True), (3, True), (4, True), (8, True), (1, False), (2, False), (3, False), (8, False)]


def lsq(step: float, bits: int, signed: bool = True, dtype=torch.float64, scale_gradient: bool = False) -> LSQ:
    """A quantizer whose step is known."""
    quantizer = LSQ(bits, signed, scale_gradient).to(dtype)
    with torch.no_grad():
        quantizer.step_size.fill_(step)
        quantizer.started.fill_(True)
    return quantizer


def gradients(quantizer: LSQ, x: torch.Tensor, weight: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Of ``sum(weight * quantizer(x))`` by x and by the step."""
    x = x.clone().requires_grad_()
    return torch.autograd.grad((weight * quantizer(x)).sum(), (x, quantizer.step_size))


def draw(count: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(count, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


# --- by hand ----------------------------------------------------------------------------------------------------------


def test_by_hand():
    """Three bits, step 0.5: codes -4 … 3. Inside, just below and just above a transition, and clipped on both sides."""
    x = torch.tensor([0.3, 0.7, 0.8, 1.9, -5.0, 0.0])
    quantizer = lsq(0.5, 3)
    assert quantizer(x.double()).tolist() == [0.5, 0.5, 1.0, 1.5, -2.0, 0.0]
    assert quantizer.encode(x.double()).values.tolist() == [1, 1, 2, 3, -4, 0]
    expected = [1 - 0.6, 1 - 1.4, 2 - 1.6, 3, -4, 0]
    for value, slope in zip(x.double(), expected, strict=True):
        by_x, by_step = gradients(quantizer, value, torch.ones((), dtype=torch.float64))
        assert by_step.item() == pytest.approx(slope, abs=1e-7)
        assert by_x.item() == (abs(slope) < 3)


def test_the_start_is_the_paper_s():
    x = torch.tensor([[1.0, -2.0], [3.0, -6.0]])  # mean magnitude 3
    for bits, signed, largest in ((2, True, 1), (4, True, 7), (3, False, 7)):
        quantizer = LSQ(bits, signed)
        quantizer(x)
        assert quantizer.step_size.item() == pytest.approx(2 * 3 / math.sqrt(largest))
        quantizer(100 * x)
        assert quantizer.step_size.item() == pytest.approx(2 * 3 / math.sqrt(largest))  # only the first input counts


def test_the_gradient_scale_counts_weights_or_the_features_of_one_image():
    x = draw(60).reshape(5, 3, 4)
    assert LSQ(3).gradient_scale(x) == 1 / math.sqrt(60 * 3)
    assert LSQ(3, signed=False).gradient_scale(x) == 1 / math.sqrt(12 * 7)
    for signed in (True, False):
        plain, scaled = (lsq(0.4, 3, signed, scale_gradient=scale) for scale in (False, True))
        weight = draw(60, 1).reshape(5, 3, 4)
        (by_x, by_step), (by_x2, by_step2) = gradients(plain, x, weight), gradients(scaled, x, weight)
        assert torch.equal(by_x, by_x2)
        assert by_step2.item() == pytest.approx(by_step.item() * scaled.gradient_scale(x))
        assert torch.equal(plain(x), scaled(x))


def by_autograd(quantizer: LSQ, x: torch.Tensor, weight: torch.Tensor):
    """Values, and the gradients by x and by the step, of the formula as the book prints it."""
    x, step = x.clone().requires_grad_(), quantizer.step_size.detach().clone().requires_grad_()
    values = lsq_values(x, step, quantizer.q_min, quantizer.q_max)
    return values.detach(), *torch.autograd.grad((weight * values).sum(), (x, step))


@settings(max_examples=60)
@given(
    x=tensors(torch.float64, largest=1e3),
    step=st.floats(2**-6, 8),
    grid=st.sampled_from(GRIDS),
    block=st.integers(1, 7),
)
def test_the_gradients_written_out_are_those_of_the_formula(x, step, grid, block):
    quantizer = lsq(step, *grid)
    weight = torch.arange(1.0, x.numel() + 1, dtype=x.dtype).reshape(x.shape)
    values, by_x, by_step = by_autograd(quantizer, x, weight)
    for size in (block, x.numel() + 1):
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(ste, "BLOCK", size)
            assert same_bits(quantizer(x).detach(), values)
            found = gradients(quantizer, x, weight)
        torch.testing.assert_close(found[0], by_x, rtol=1e-12, atol=0)
        torch.testing.assert_close(found[1], by_step, rtol=1e-9, atol=1e-9 * float((weight * x).abs().sum() / step + 1))


@pytest.mark.parametrize("upstream", ["channels_last", "contiguous", "expanded"])
def test_channels_last_stays_so(upstream, monkeypatch):
    monkeypatch.setattr(ste, "BLOCK", 5)
    x = draw(2 * 3 * 4 * 5).reshape(2, 3, 4, 5).to(memory_format=torch.channels_last)
    weight = draw(2 * 3 * 4 * 5, 1).reshape(2, 3, 4, 5)
    weight = {
        "channels_last": weight.to(memory_format=torch.channels_last),
        "contiguous": weight,
        "expanded": weight[:, :1].expand(2, 3, 4, 5),
    }[upstream]
    quantizer = lsq(0.4, 3)
    values, by_x, by_step = by_autograd(quantizer, x, weight)
    leaf = x.clone().requires_grad_()
    y = quantizer(leaf)
    y.backward(weight)
    assert torch.equal(y.detach(), values)
    torch.testing.assert_close(leaf.grad, by_x, rtol=1e-12, atol=0)
    torch.testing.assert_close(quantizer.step_size.grad, by_step)
    for tensor in (y, leaf.grad):
        assert tensor.is_contiguous(memory_format=torch.channels_last)


# --- what every quantizer promises ------------------------------------------------------------------------------------


@pytest.mark.parametrize(("bits", "signed"), GRIDS)
@pytest.mark.parametrize("dtype", DTYPES)
def test_simulated_and_stored_agree(bits, signed, dtype):
    @given(tensors(dtype, largest=1e30), st.sampled_from([None, 0.1, 1.0]))
    def check(x, step):
        quantizer = LSQ(bits, signed) if step is None else lsq(step, bits, signed, torch.float32)
        y = quantizer(x)
        codes = quantizer.encode(x)
        assert y.dtype == dtype
        assert torch.equal(y, codes.decode())
        assert same_bits(y, y + 0.0)  # no -0.0
        assert same_bits(quantizer(x.contiguous()), y)
        assert torch.equal(unpack(codes.packed(), bits, x.numel(), codes.signed), codes.values.flatten().int())
        assert codes.nbits == bits * x.numel() + 32

    check()


@pytest.mark.parametrize(("bits", "signed"), GRIDS)
@given(x=tensors(torch.float64, elements=st.floats(-50, 50)), step=st.sampled_from([0.01, 0.125, 0.7, 3.0]))
def test_the_output_is_the_nearest_point_of_the_grid(bits, signed, x, step):
    low, high = (-(2 ** (bits - 1)), 2 ** (bits - 1) - 1) if signed else (0, 2**bits - 1)
    points = step * torch.arange(low, high + 1, dtype=torch.float64)
    nearest = (x.unsqueeze(-1) - points).abs().min(-1).values
    quantizer = lsq(step, bits, signed)
    y = quantizer(x)
    torch.testing.assert_close((x - y).abs(), nearest, rtol=0, atol=1e-12)
    assert torch.isin(y, points).all()
    assert torch.equal(quantizer(y), y)


@given(tensors(torch.float64, shape=(20,), elements=st.floats(-8, 8)), st.integers(-6, 6))
def test_a_grid_that_grows_with_its_input_keeps_the_codes(x, exponent):
    factor = 2.0**exponent
    small, large = lsq(0.3, 3), lsq(0.3 * factor, 3)
    assert torch.equal(small.encode(x).values, large.encode(factor * x).values)
    weight = torch.ones(20, dtype=torch.float64)
    torch.testing.assert_close(gradients(small, x, weight), gradients(large, factor * x, weight))


@pytest.mark.parametrize("signed", [True, False])
def test_all_zero_half_precision_and_nan(signed):
    quantizer = LSQ(3, signed)
    assert quantizer(torch.zeros(2, 3)).tolist() == torch.zeros(2, 3).tolist()
    assert quantizer.step_size == 1
    half = draw(15).half()
    assert same_bits(LSQ(3, signed)(half), LSQ(3, signed)(half.float()))
    y = quantizer(torch.tensor([torch.nan, torch.inf, -torch.inf]))
    assert y.isnan().tolist() == [True, False, False]
    assert y[1:].tolist() == [quantizer.q_max, quantizer.q_min]


@pytest.mark.parametrize(("x", "error", "message"), [*BAD_FLOATS.values(), *BAD_VALUES.values()])
def test_bad_inputs_are_refused(x, error, message):
    with pytest.raises(error, match=message):
        LSQ(4)(x)
    with pytest.raises(error, match=message):
        lsq(1.0, 4).encode(x)


@pytest.mark.parametrize(("bits", "error"), BAD_BITS.values())
def test_bad_bits_are_refused(bits, error):
    with pytest.raises(error, match="bits must"):
        LSQ(bits)


def test_one_signed_bit_has_no_step_to_learn():
    with pytest.raises(ValueError, match="between 2 and 16"):
        LSQ(1)
    LSQ(1, signed=False)


def test_steps_that_are_no_steps_are_refused():
    for step in (0.0, -1.0, torch.nan, torch.inf):
        for method in (lsq(step, 4), lsq(step, 4).encode):
            with pytest.raises(ValueError, match="step_size must be positive and finite"):
                method(torch.ones(2))
    with pytest.raises(ValueError, match="step_size has not started"):
        LSQ(4).encode(torch.ones(2))


# --- oracles ----------------------------------------------------------------------------------------------------------


def torch_s_own(x, step, low, high, weight, factor):
    """Output and both gradients of ``torch._fake_quantize_learnable_per_tensor_affine``."""
    x, step = x.clone().requires_grad_(), torch.tensor([step], dtype=x.dtype, requires_grad=True)
    y = torch._fake_quantize_learnable_per_tensor_affine(x, step, torch.zeros(1, dtype=x.dtype), low, high, factor)
    return y.detach(), *torch.autograd.grad((weight * y).sum(), (x, step))


@pytest.mark.parametrize(("bits", "signed"), [(2, True), (3, True), (4, True), (2, False), (3, False)])
def test_torch_s_learnable_fake_quantization_gives_the_same(bits, signed):
    """With both gradients, except between the last code and half a step beyond: see the next test."""
    quantizer = lsq(0.25, bits, signed, torch.float32, scale_gradient=True)
    x = 2 * draw(400, bits).float()
    edge = x / 0.25
    strip = ((edge > quantizer.q_max) & (edge < quantizer.q_max + 0.5)) | (
        (edge < quantizer.q_min) & (edge > quantizer.q_min - 0.5)
    )
    x = x[~strip][None]  # one image, so that features and numbers are the same count
    weight = draw(x.numel(), 9).float()[None]
    factor = quantizer.gradient_scale(x)
    y, by_x, by_step = torch_s_own(x, 0.25, quantizer.q_min, quantizer.q_max, weight, factor)
    assert same_bits(quantizer(x).detach(), y + 0.0)
    ours = gradients(quantizer, x, weight)
    assert torch.equal(ours[0], by_x)
    assert ours[1].item() == pytest.approx(by_step.item(), rel=1e-5)
    assert strip.any()
    assert (by_x == 0).any()


def test_where_torch_clips_after_rounding_and_the_paper_before():
    """v / s = 3.3 with the last code 3: outside in the paper (slope 3), inside in torch (slope 3 - 3.3)."""
    x, weight = torch.tensor([3.3]), torch.ones(1)
    by_x, by_step = gradients(lsq(1.0, 3, dtype=torch.float32), x, weight)
    assert (by_x.item(), by_step.item()) == (0, 3)
    _, by_x, by_step = torch_s_own(x, 1.0, -4, 3, weight, 1.0)
    assert by_x.item() == 1
    assert by_step.item() == pytest.approx(3 - 3.3, abs=1e-6)


def slopes(function, at: float, nudge: float = 1e-6) -> torch.Tensor:
    return (function(at + nudge) - function(at - nudge)) / (2 * nudge)


def smooth(x, residual, low, high):
    """The quantizer with rounding replaced by a constant shift, as a function of the step."""
    return lambda step: ((x / step).clamp(low, high) + residual) * step


def check_step_gradient(quantizer_gradient):
    """Compare a rule ``(x, step, low, high) -> slope of each output`` with finite differences."""
    for step, low, high in ((0.3, -2, 1), (0.25, -4, 3), (0.7, 0, 7)):
        x = 2 * draw(200, 3)
        clipped = (x / step).clamp(low, high)
        expected = slopes(smooth(x, clipped.round() - clipped, low, high), step)
        torch.testing.assert_close(quantizer_gradient(x, step, low, high), expected, rtol=1e-6, atol=1e-6)


def ours(x, step, low, high):
    quantizer = lsq(step, {1: 2, 3: 3, 7: 3}[high], signed=low < 0)
    return torch.stack([gradients(quantizer, v, torch.ones((), dtype=torch.float64))[1] for v in x])


def test_the_step_gradient_by_finite_differences():
    check_step_gradient(ours)


def without_the_clipped_part(x, step, low, high):
    slope = ours(x, step, low, high)
    return torch.where(slope.abs() > 0.5, 0.0, slope)


def of_the_clip_alone(x, step, low, high):  # what is left if rounding is left out, as in PACT
    return torch.where(x / step > high, high, torch.where(x / step < low, low, 0.0)).double()


@pytest.mark.parametrize("damaged", [without_the_clipped_part, of_the_clip_alone, lambda *a: -ours(*a)])
def test_a_damaged_step_gradient_is_noticed(damaged):
    with pytest.raises(AssertionError):
        check_step_gradient(damaged)


def test_clipped_values_have_a_true_slope():
    """Beyond the range the output is Q_P * s: smooth in s, so the quantizer itself can be nudged."""
    x = torch.tensor([4.0, 5.0, -7.0], dtype=torch.float64)
    weight = torch.tensor([1.0, 2.0, 4.0], dtype=torch.float64)
    nudged = slopes(lambda step: (weight * lsq(step, 3)(x)).sum().detach(), 0.5)
    assert gradients(lsq(0.5, 3), x, weight)[1].item() == pytest.approx(nudged.item(), rel=1e-6)
    assert nudged.item() == pytest.approx(3 + 2 * 3 - 4 * 4)


@pytest.mark.parametrize("step", [0.4, 0.8, 1.2])
def test_for_many_weights_the_gradient_is_the_slope_of_the_error(step):
    """One weight's error jumps; the mean error of many is smooth, and its slope is what the rule gives."""
    x = draw(300_000, 5)

    def error(width):
        return (lsq(width, 3)(x) - x).square().mean()

    quantizer = lsq(step, 3)
    (slope,) = torch.autograd.grad((quantizer(x) - x).square().mean(), quantizer.step_size)
    nudged = slopes(lambda width: error(width).detach(), step, step / 20)
    assert slope.item() == pytest.approx(nudged.item(), rel=0.05, abs=0.002)


@given(tensors(torch.float64, shape=(30,), elements=floats(torch.float64, 1.0)))
def test_learned_bits_with_fixed_bits_learn_the_same_step(x):
    """Where neither clips: `LearnedBits` ends its grid at -K … K and sends ties away from zero."""
    x = x[((x / 0.3).abs() % 1 - 0.5).abs() > 1e-9]
    if not len(x):
        return
    other = LearnedBits(power_of_two=False, min_bits=4, max_bits=4)
    other.step_size = nn.Parameter(torch.tensor(0.3, dtype=torch.float64))
    quantizer, weight = lsq(0.3, 4), draw(len(x))
    torch.testing.assert_close(quantizer(x), other(x))
    expected = torch.autograd.grad((weight * other(x)).sum(), other.step_size)[0]
    torch.testing.assert_close(gradients(quantizer, x, weight)[1], expected)


# --- in a network -----------------------------------------------------------------------------------------------------


def small() -> nn.Sequential:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(6, 5, bias=False), nn.ReLU(), nn.Linear(5, 3, bias=False))
    quantize_weights(model, lambda: LSQ(3), skip=())
    return quantize_activations(model, lambda: LSQ(2, signed=False))


def test_every_step_of_a_network_learns_and_is_counted_once():
    model, x = small(), draw(24, 2).float().reshape(4, 6)
    first = model[0].parametrizations.weight[0]
    latent = model[0].parametrizations.weight.original
    assert first.step_size.item() == pytest.approx(2 * latent.abs().mean().item() / math.sqrt(3))  # at registration
    model(x).square().sum().backward()
    steps = [p for name, p in model.named_parameters() if name.endswith("step_size")]
    assert len(steps) == 3
    assert all(step.grad != 0 for step in steps)
    assert stored_bits(model) == 3 * (30 + 15) + 2 * 32 + 32  # codes, their steps, and the step of the activations
    stored = encode_weights(model)
    assert list(stored) == ["0", "2"]
    assert all(torch.equal(model.get_submodule(name).weight, codes.decode()) for name, codes in stored.items())


def test_a_saved_step_is_not_started_again():
    model, x = small(), draw(24, 2).float().reshape(4, 6)
    model(x)
    fresh = small()
    fresh.load_state_dict(model.state_dict())
    assert torch.equal(fresh(10 * x), model(10 * x))
    assert torch.equal(copy.deepcopy(model)(10 * x), model(10 * x))


def test_what_is_stored_does_not_move_with_the_step():
    quantizer, x = lsq(0.5, 3), draw(9)
    codes = quantizer.encode(x)
    before = codes.decode()
    with torch.no_grad():
        quantizer.step_size.mul_(2)
    assert torch.equal(codes.decode(), before)


def test_constrain_reaches_the_quantizers_of_weights_and_activations_of_any_kind():
    weights, activations, learned = LSQ(3), LSQ(3, signed=False), LearnedBits()
    model = nn.Sequential(nn.Linear(2, 2), activations, learned, LogQuantizer(4))
    nn.utils.parametrize.register_parametrization(model[0], "weight", weights)
    for quantizer in (weights, activations, learned):
        quantizer.step_size.data.fill_(-1.0)
    constrain(model)
    assert [quantizer.step_size.item() for quantizer in (weights, activations, learned)] == [LEAST_STEP] * 3


def test_keep_positive_lifts_only_what_fell():
    model = nn.Sequential(lsq(-0.1, 3), lsq(0.2, 3), nn.Linear(2, 2))
    weight = model[2].weight.clone()
    keep_positive(model)
    assert [model[i].step_size.item() for i in (0, 1)] == [LEAST_STEP, 0.2]
    assert torch.equal(model[2].weight, weight)


def test_the_step_settles_where_its_rule_says_and_near_the_least_error():
    """Normal weights of two bits. The rule is not the slope of the squared error, so the two steps differ a little."""
    pdf, codes, limits = stats.norm.pdf, (-2, -1, 0, 1), (-12, -1.5, -0.5, 0.5, 12)

    def integral(function, *borders):
        return sum(quad(lambda v: function(v) * pdf(v), a, b)[0] for a, b in pairwise(borders))

    def push(s):  # the mean of (output - v) * slope; beyond the range the slope is that of the end
        inside = integral(lambda v: s * (round(v / s) - v / s) ** 2, -2 * s, -1.5 * s, -0.5 * s, 0.5 * s, s)
        return inside + integral(lambda v: s - v, s, 12) + integral(lambda v: -2 * (-2 * s - v), -12, -2 * s)

    def error(s):
        borders = [limits[0], *(s * limit for limit in limits[1:-1]), limits[-1]]
        cells = zip(codes, pairwise(borders), strict=True)
        return sum(integral(lambda v, k=k: (k * s - v) ** 2, *cell) for k, cell in cells)

    settled = brentq(push, 0.5, 2)
    best = minimize_scalar(error, bounds=(0.5, 2), method="bounded").x
    assert 1.02 * best < settled < 1.1 * best
    assert error(best) < error(settled) < 1.01 * error(best)

    x = torch.from_numpy(stats.norm.ppf((np.arange(20_000) + 0.5) / 20_000))  # as even a sample as can be
    quantizer = LSQ(2, scale_gradient=False).double()
    optimizer = torch.optim.SGD(quantizer.parameters(), lr=0.2)
    for _ in range(60):
        optimizer.zero_grad()
        (quantizer(x) - x).square().mean().backward()
        optimizer.step()
    assert quantizer.step_size.item() == pytest.approx(settled, abs=0.005)


# --- experiment and figure --------------------------------------------------------------------------------------------


TINY = Task(partial(MLP, (784, 8, 8, 10), batch_norm=True), 1, "notebook")


@pytest.fixture(scope="module")
def few():
    """256 digits."""
    data = prepared("mnist5k")
    images, labels = data.train_images[:256], data.train_labels[:256]
    return dataclasses.replace(data, train_images=images, train_labels=labels, test_images=images, test_labels=labels)


def test_the_experiment_runs_and_makes_every_claim(few, monkeypatch, tmp_path):
    monkeypatch.setenv("FEWBITS_RESULTS", str(tmp_path))
    monkeypatch.setattr(records, "code_version", lambda: "f" * 40)
    monkeypatch.setitem(TASKS, "mnist5k", TINY)
    monkeypatch.setattr(comparison, "prepared", lambda name, pilot=False: few)
    command = "python -m fewbits.experiments learned_step --seeds 1"
    options = argparse.Namespace(data=["mnist5k"], seeds=1, methods=None, epochs=None, minutes=None, pilot=False)
    monkeypatch.setattr(experiment, "save_model", lambda model, path: None)
    experiment.run(options, command)
    assert set(evidence.rows("learned_step_runs")["method"]) == set(experiment.METHODS_OF["mnist5k"])
    assert {o["command"] for c in evidence.load("learned_step") for o in c["provenance"]} == {command}
    assert len(evidence.load("learned_step")) == len(make_claims(evidence.rows("learned_step_runs"))) == 10


def test_fixed_steps_stay_and_learned_ones_move(few):
    starts, ends = {}, {}
    for name in ("fixed start, 2 bits", "lsq, 2 bits"):
        torch.manual_seed(0)
        starts[name] = steps(experiment.METHODS[name].build(TINY.network))
        ends[name] = steps(train_method(experiment.METHODS[name], TINY, few, 0))
    assert starts["fixed start, 2 bits"] == ends["fixed start, 2 bits"] == starts["lsq, 2 bits"]
    assert all(a != b for a, b in zip(starts["lsq, 2 bits"], ends["lsq, 2 bits"], strict=True))


def steps(model: nn.Module) -> list[float]:
    return [quantizer.step_size.item() for _, quantizer, _ in weight_quantizers(model)]


def test_claims_follow_from_the_recorded_runs():
    runs = evidence.rows("learned_step_runs")
    assert (runs[runs.data == "mnist5k"].groupby("method").seed.nunique()[list(experiment.METHODS)] >= 3).all()
    stored = {claim["id"]: claim for claim in evidence.load("learned_step")}
    made = {claim["id"]: claim for claim in make_claims(runs)}
    assert made.keys() == stored.keys()
    for name, claim in made.items():
        (ours,), (theirs,) = claim["parts"], stored[name]["parts"]
        assert ours["values"] == pytest.approx(theirs["values"], abs=2e-4)
        assert ours["holds"] == theirs["holds"]
        assert (claim["kind"], claim["departs"]) == (stored[name]["kind"], stored[name]["departs"])
    runs.loc[(runs.data == "mnist5k") & (runs.method == "lsq, 2 bits"), "accuracy"] += 1
    doctored = {claim["id"]: claim for claim in make_claims(runs)}
    differs = {name for name, claim in doctored.items() if claim["parts"] != made[name]["parts"]}
    slugs = ("beats-uniform-2-bits", "fewer-bits-more-gain", "learning-helps", "scale-under-adam")
    slugs += ("learning-beats-least-error",)
    assert differs == {f"learned_step/{slug}" for slug in slugs}


def test_images_have_claims_of_their_own():
    runs = evidence.rows("learned_step_runs")
    names = {"float": 90.0, "lsq, 3 bits": 89.5, "lsq, 2 bits": 88.0, "uniform, 2 bits": 80.0}
    new = [
        {"data": "cifar10", "method": method, "seed": seed, "accuracy": value - 0.1 * seed * (method == "float")}
        for seed in range(3)
        for method, value in names.items()
    ]
    images = runs[runs.data == "mnist5k"]
    found = {claim["id"]: claim["parts"][0] for claim in make_claims(pd.concat([images, pd.DataFrame(new)]))}
    assert found["learned_step/three-bits-reach-float-cifar10"]["values"] == pytest.approx([0.5, 0.4, 0.3])
    assert found["learned_step/three-bits-reach-float-cifar10"]["holds"] == {"max": 1.0}
    assert found["learned_step/beats-uniform-2-bits-cifar10"]["values"] == pytest.approx([8.0] * 3)
    assert "learned_step/learning-helps-cifar10" not in found  # its second method was not run
    assert found["learned_step/beats-uniform-2-bits"] != found["learned_step/beats-uniform-2-bits-cifar10"]


@pytest.mark.usefixtures("book_theme")
def test_the_figure_draws_every_rule():
    x = torch.linspace(-6, 5, 50)
    y = x.round().clamp(-4, 3)
    figure = figures.slopes_by_step(x, y, {"a": y - x, "b": y})
    above, below = figure.axes
    assert np.array_equal(above.lines[1].get_ydata(), y.numpy())
    assert [line.get_color() for line in below.lines[1:]] == [COLORS["lsq"], NEUTRALS[1]]
    assert [text.get_text() for text in below.get_legend().get_texts()] == ["a", "b"]
    assert below.get_xlabel()
    assert all(axes.get_ylabel() for axes in figure.axes)


@pytest.mark.usefixtures("book_theme")
def test_pairs_lie_at_their_values_and_are_named():
    figure = figures.steps_by_layer([0.2, 0.3], [0.1, 0.6])
    (axes,) = figure.axes
    drawn = [(line.get_xdata()[0], line.get_markerfacecolor()) for line in axes.lines if line.get_marker() == "^"]
    assert drawn == [(0.1, "white"), (0.2, COLORS["lsq"]), (0.6, "white"), (0.3, COLORS["lsq"])]
    assert [text.get_text() for text in axes.texts] == ["minimum error", "learned", "× 2.00", "× 0.50"]
    (axes,) = figures.paces([30.0, 2.0], [0.1, 0.5]).axes
    assert axes.get_xscale() == "log"
    assert [text.get_text() for text in axes.texts] == ["without g", "with g"]


@pytest.mark.usefixtures("book_theme")
def test_every_run_and_every_part_is_drawn():
    runs = evidence.rows("learned_step_runs")
    runs = runs[runs.data == "mnist5k"]
    (axes,) = figures.parts(runs).axes
    assert [label.get_text() for label in axes.get_yticklabels()] == [name for name, _ in figures.PARTS.values()]
    means = {line.get_xdata()[0] for line in axes.lines if line.get_marker() == MARKERS["lsq"]}
    assert runs.loc[runs.method == "lsq, 2 bits", "accuracy"].mean() in means
    with pytest.raises(ValueError, match="no row of 'uniform, 2 bits'"):
        figures.parts(runs[runs.method == "float"])
    frame = pd.DataFrame({"rate": [0.01, 0.1, 0.1], "scale": [True, True, False], "accuracy": [94.0, 93, 10]})
    (axes,) = figures.accuracy_by_rate(frame).axes
    drawn = {line.get_label(): list(line.get_ydata()) for line in axes.lines if line.get_label().endswith("with g")}
    assert drawn == {"with g": [94.0, 93.0]}
    assert [label.get_text() for label in axes.get_xticklabels()] == ["0.01", "0.1"]


def test_the_figure_refuses_what_it_cannot_draw():
    x = torch.zeros(3)
    with pytest.raises(ValueError, match="holds 4 rules"):
        figures.slopes_by_step(x, x, {str(i): x for i in range(4)})
    with pytest.raises(ValueError, match="the shape of x"):
        figures.slopes_by_step(x, x, {"a": torch.zeros(4)})


@given(tensors(shape=(30,), largest=1e3), st.integers(2, 4))
def test_the_step_of_least_error_is_as_good_as_any(x, bits):
    if not x.any():
        with pytest.raises(ValueError, match="x is 0 everywhere"):
            least_error_step(x, bits)
        return
    q = 2 ** (bits - 1)

    def error(step: float) -> float:
        codes = np.clip(np.round(x.double().numpy() / step), -q, q - 1)
        return float(((codes * step - x.double().numpy()) ** 2).sum())

    widest = x.abs().max().item() / (q - 1)
    found = error(least_error_step(x, bits))
    assert found <= 1.05 * min(error(step) for step in np.linspace(widest / 300, widest, 300)) + 1e-6 * widest**2


def test_the_step_of_least_error_for_normal_weights_is_the_known_one():
    """Four even levels around normal numbers, without one in the middle of the last interval: 0.9957 by Max (1960) is
    for a grid without 0; here the optimum is found by integration."""
    normal = torch.from_numpy(stats.norm.ppf((np.arange(4000) + 0.5) / 4000))

    def expected(step: float) -> float:
        pieces = zip((-np.inf, -1.5, -0.5, 0.5), (-1.5, -0.5, 0.5, np.inf), (-2, -1, 0, 1), strict=True)
        return sum(
            quad(lambda v, c=c: (v - c * step) ** 2 * stats.norm.pdf(v), a * step, b * step)[0] for a, b, c in pieces
        )

    best = minimize_scalar(expected, bounds=(0.5, 2), method="bounded").x
    assert least_error_step(normal, 2) == pytest.approx(best, rel=0.02)
