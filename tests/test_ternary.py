"""Ternary weights: against brute force, closed forms, exact rational arithmetic, brevitas and finite differences."""

import itertools
import math
from fractions import Fraction

import pytest
import torch
from brevitas.core.quant import TernaryQuant
from brevitas.core.scaling import ConstScaling
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats
from scipy.optimize import minimize_scalar
from strategies import BAD_FLOATS, BAD_VALUES, DTYPES, floats, same_bits, tensors
from torch import nn

from fewbits.core.packing import unpack
from fewbits.core.quantizer import encode_weights, quantize_weights, stored_bits
from fewbits.ternary import TTQ, TWN, ExactTernary, exact_ternary, least_error_scale, optimal_ratio, threshold_ternary

QUANTIZERS = {
    "TWN": TWN,
    "TWN per channel": lambda: TWN(2 / 3, channel_axis=-1),
    "TTQ": TTQ,
    "exact": ExactTernary,
    "exact per channel": lambda: ExactTernary(channel_axis=0),
    "exact, power of two": lambda: ExactTernary(power_of_two=True),
}
# Squares of these neither overflow nor vanish in float64, and their means are normal numbers in float32.
MODERATE = st.one_of(st.sampled_from([0.0, -0.0, 0.5, -0.5, 1.0, -1.0, 3.0]), st.floats(-8, 8, width=32)).filter(
    lambda value: value == 0 or abs(value) > 1e-30
)


def squared_error(x, codes, scale) -> Fraction:
    """Exact, one channel."""
    pairs = zip(x.flatten().tolist(), codes.flatten().tolist(), strict=True)
    return sum((Fraction(value) - code * Fraction(scale)) ** 2 for value, code in pairs)


def least_errors(x) -> tuple[Fraction, Fraction]:
    """By trying all 3^n codes, as 2^n sets of survivors (the sign of a survivor is never worth changing).

    The least squared error over all scales, and over all powers of two.
    """
    magnitudes = [abs(Fraction(value)) for value in x.flatten().tolist()]
    best_saved = best_saved_by_power = Fraction(0)
    for kept in itertools.product((False, True), repeat=len(magnitudes)):
        count, total = sum(kept), sum(m for m, keep in zip(magnitudes, kept, strict=True) if keep)
        if total == 0:
            continue
        best_saved = max(best_saved, total**2 / count)
        mean = total / count
        exponent = mean.numerator.bit_length() - mean.denominator.bit_length()  # log2, give or take one
        for scale in (Fraction(2) ** (exponent + shift) for shift in (-2, -1, 0, 1, 2)):
            best_saved_by_power = max(best_saved_by_power, scale * (2 * total - count * scale))
    energy = sum(m**2 for m in magnitudes)
    return energy - best_saved, energy - best_saved_by_power


# --- what all of them promise --------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", QUANTIZERS)
@pytest.mark.parametrize("dtype", DTYPES)
def test_simulated_and_stored_agree_and_take_two_bits(name, dtype):
    quantizer = QUANTIZERS[name]()

    @given(tensors(dtype, largest=1e30))
    def check(x):
        if x.dim() == 0 and "channel" in name:
            return
        y, codes = quantizer(x), quantizer.encode(x)
        assert y.dtype == dtype
        assert torch.equal(y, codes.decode())
        assert same_bits(y, y + 0.0)  # no -0.0
        assert same_bits(quantizer(x.contiguous()), y)
        assert codes.bits == 2
        assert len(codes.packed()) == -(-x.numel() // 4)
        scales = x.shape[quantizer.channel_axis] if "channel" in name else 1
        assert codes.nbits == 2 * x.numel() + 32 * (4 if name == "TTQ" else scales)
        assert torch.equal(unpack(codes.packed(), 2, x.numel(), codes.signed), codes.values.flatten().int())
        assert ((y == 0) | (y.sign() == x.sign())).all()  # no weight changes its side

    check()


@pytest.mark.parametrize("name", [name for name in QUANTIZERS if name != "TTQ"])
@given(x=tensors(shape=(3, 4), elements=MODERATE))
def test_quantizing_twice_changes_nothing(name, x):
    quantizer = QUANTIZERS[name]()
    once = quantizer(x)
    assert torch.equal(quantizer(once), once)


@pytest.mark.parametrize("make", QUANTIZERS.values())
def test_all_zero_one_element_and_half_precision(make):
    zeros = torch.zeros(2, 3)
    assert make()(zeros).tolist() == zeros.tolist()
    one = torch.tensor([[-4.0]])
    assert make()(one).item() == (-1.0 if make is TTQ else -4.0)
    half = torch.randn(3, 5).half()
    assert same_bits(make()(half), make()(half.float()))


@pytest.mark.parametrize("make", QUANTIZERS.values())
@pytest.mark.parametrize(("x", "error", "message"), [*BAD_FLOATS.values(), *BAD_VALUES.values()])
def test_bad_weights_are_refused(make, x, error, message):
    for method in (make(), make().encode):
        with pytest.raises(error, match=message):
            method(x)


@pytest.mark.parametrize("name", [name for name in QUANTIZERS if name != "TTQ"])
def test_the_gradient_is_straight(name):
    w = torch.randn(4, 6, requires_grad=True)
    grad = torch.randn(4, 6)
    QUANTIZERS[name]()(w).backward(grad)
    assert torch.equal(w.grad, grad)


@pytest.mark.parametrize("name", ["TWN", "exact"])
@given(x=tensors(shape=(2, 3, 4), elements=MODERATE), axis=st.integers(-3, 2))
def test_per_channel_is_each_channel_by_itself(name, x, axis):
    make = {"TWN": TWN, "exact": ExactTernary}[name]
    together = make(channel_axis=axis)(x)
    assert torch.equal(together, torch.stack([make()(channel) for channel in x.unbind(axis)], dim=axis))


def test_a_ternary_layer_takes_a_sixteenth_of_its_memory():
    model = quantize_weights(nn.Sequential(nn.Linear(256, 128, bias=False)), TWN, skip=())
    assert stored_bits(model) == 2 * 256 * 128 + 32
    assert 16 * len(encode_weights(model)["0"].packed()) == 4 * 256 * 128


# --- TWN -----------------------------------------------------------------------------------------------------------


def test_twn_by_hand():
    x = torch.tensor([0.9, -0.8, 0.75, 0.3, -0.2, 0.1, 0.05, -0.02])
    codes, scale = TWN().codes_and_scale(x)  # mean 0.39, threshold 0.273
    assert codes.tolist() == [1, -1, 1, 1, 0, 0, 0, 0]
    assert codes.dtype == torch.int8
    assert scale.item() == pytest.approx((0.9 + 0.8 + 0.75 + 0.3) / 4)


def test_a_weight_on_the_threshold_becomes_zero():
    x = torch.tensor([3.0, -1.0, 2.0, -2.0])  # mean 2
    assert TWN(ratio=0.5)(x).tolist() == pytest.approx([7 / 3, 0, 7 / 3, -7 / 3])
    assert TWN(ratio=1.0)(x).tolist() == [3, 0, 0, 0]
    assert TWN(ratio=2.0)(x).tolist() == [0, 0, 0, 0]
    assert TWN(ratio=0.0)(torch.tensor([0.0, 1.0, -1.0])).tolist() == [0, 1, -1]


@given(tensors(shape=(10,), elements=MODERATE), st.sampled_from([0.25, 0.5, 2 / 3, 0.7, 1.0]))
def test_brevitas_gives_the_same_weights_for_the_same_threshold_and_scale(x, ratio):
    codes, scale = TWN(ratio).codes_and_scale(x)
    threshold = ratio * x.abs().double().mean()
    near = ((x.abs() - threshold).abs() <= 1e-6 * threshold).any()
    if scale == 0 or near:
        return
    reference = TernaryQuant(ConstScaling(scale.item()), threshold=threshold.item() / scale.item())
    torch.testing.assert_close(TWN(ratio)(x), reference(x)[0], rtol=1e-6, atol=0)
    assert codes.tolist() == reference(x)[0].sign().tolist()


@given(tensors(shape=(6,), elements=MODERATE), st.floats(0, 5))
def test_the_scale_is_the_best_for_its_codes(x, threshold):
    codes, scale = threshold_ternary(x, torch.tensor(threshold))
    error = squared_error(x, codes, scale.item())
    for factor in (0.99, 1.01):
        assert error <= squared_error(x, codes, factor * scale.item())


def test_twn_misses_the_optimum():
    x = torch.tensor([0.9, -0.8, 0.75, 0.3, -0.2, 0.1, 0.05, -0.02])
    twn, exact = TWN().codes_and_scale(x), exact_ternary(x)
    assert exact[0].tolist() == [1, -1, 1, 0, 0, 0, 0, 0]
    least, _ = least_errors(x)
    assert squared_error(x, exact[0], exact[1].item()) == pytest.approx(float(least), rel=1e-6)
    assert squared_error(x, twn[0], twn[1].item()) > 1.4 * float(least)


def test_bad_ratios_are_refused():
    for ratio in (-0.1, math.nan, math.inf):
        with pytest.raises(ValueError, match="ratio must be finite and not negative"):
            TWN(ratio)


@pytest.mark.parametrize(
    ("distribution", "ratio"),
    [
        (stats.halfnorm(), 0.76703224),
        (stats.uniform(), 2 / 3),
        (stats.expon(), 1.0),
        (stats.halfnorm(scale=0.02), 0.76703224),
    ],
)
def test_the_optimal_ratio_minimizes_the_error(distribution, ratio):
    """Direct minimization of E w² - (E[w; w > Δ])² / P(w > Δ), which does not use the equation that is solved."""
    assert optimal_ratio(distribution) == pytest.approx(ratio, abs=1e-8)

    def saved(threshold):
        return -(distribution.expect(lambda w: w, lb=threshold) ** 2) / distribution.sf(threshold)

    best = minimize_scalar(saved, bounds=(0, 2 * distribution.mean()), method="bounded", options={"xatol": 1e-9})
    assert best.x / distribution.mean() == pytest.approx(ratio, abs=1e-4)


@pytest.mark.parametrize(("ratio", "draw"), [(0.767, torch.randn), (2 / 3, torch.rand)])
def test_many_weights_agree_with_the_optimal_ratio(ratio, draw):
    x = draw(400_000, generator=torch.Generator().manual_seed(6), dtype=torch.float64)
    _, scale = exact_ternary(x)
    assert (scale / 2 / x.abs().mean()).item() == pytest.approx(ratio, abs=0.01)


# --- TTQ -----------------------------------------------------------------------------------------------------------


def ttq(w_p: float, w_n: float, threshold: float = 0.05, dtype=torch.float32) -> TTQ:
    quantizer = TTQ(threshold).to(dtype)
    with torch.no_grad():
        quantizer.w_p.fill_(w_p)
        quantizer.w_n.fill_(w_n)
    return quantizer


def test_ttq_by_hand():
    w = torch.tensor([0.8, -2.0, 0.5, -0.5, 0.0, -0.6], requires_grad=True)  # threshold 0.25 · 2 = 0.5: two on it
    quantizer = ttq(3.0, 5.0, threshold=0.25)
    y = quantizer(w)
    assert y.tolist() == [3, -5, 0, 0, 0, -5]
    y.backward(torch.tensor([1.0, 2.0, 4.0, 8.0, 16.0, 32.0]))
    assert w.grad.tolist() == [3, 10, 4, 8, 16, 160]
    assert quantizer.w_p.grad == 1
    assert quantizer.w_n.grad == -(2 + 32)
    codes = quantizer.encode(w)
    assert codes.values.tolist() == [2, 0, 1, 1, 1, 0]
    assert codes.levels.tolist() == [-5, 0, 3]


@given(tensors(shape=(8,), elements=MODERATE), st.floats(-4, 4, width=32), st.floats(-4, 4, width=32))
def test_ttq_normalizes_by_the_largest_magnitude(x, w_p, w_n):
    y = ttq(w_p, w_n, threshold=0.25)(x)
    normalized = x / x.abs().max().clamp(min=1e-38)
    expected = [w_p if value > 0.25 else -w_n if value < -0.25 else 0.0 for value in normalized.tolist()]
    assert y.tolist() == expected


def test_the_gradients_of_both_scales_are_those_of_the_output():
    w = torch.randn(40, dtype=torch.float64)
    quantizer = ttq(1.3, 0.7, dtype=torch.float64)

    def output(w_p, w_n):
        return torch.func.functional_call(quantizer, {"w_p": w_p, "w_n": w_n}, (w,))

    scales = [quantizer.w_p.detach().clone().requires_grad_(), quantizer.w_n.detach().clone().requires_grad_()]
    assert torch.autograd.gradcheck(output, scales)


def test_the_latent_gradient_is_that_of_the_smooth_part():
    w = torch.randn(40, dtype=torch.float64)
    quantizer = ttq(1.3, 0.7, threshold=0.2, dtype=torch.float64)
    border = 0.2 * w.abs().max()
    slope = torch.where(w > border, 1.3, torch.where(w < -border, 0.7, 1.0))  # W_p w, w and W_n w, piece by piece
    smooth = torch.autograd.functional.jacobian(lambda v: slope * v, w)
    torch.testing.assert_close(torch.autograd.functional.jacobian(quantizer, w), smooth)


def test_learning_w_n_goes_downhill():
    """With the paper's sign, a step along the gradient would increase the loss."""
    w = torch.randn(100, generator=torch.Generator().manual_seed(7))
    quantizer = TTQ()
    losses = []
    optimizer = torch.optim.SGD(quantizer.parameters(), lr=0.005)
    for _ in range(100):
        loss = (quantizer(w) - w).square().sum()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert all(b <= a + 1e-4 for a, b in itertools.pairwise(losses))
    border = 0.05 * w.abs().max()
    assert quantizer.w_p.item() == pytest.approx(w[w > border].mean().item(), rel=1e-4)
    assert quantizer.w_n.item() == pytest.approx(-w[w < -border].mean().item(), rel=1e-4)
    fitted = TTQ()
    fitted.fit_scales(w)
    assert fitted.w_p.item() == pytest.approx(quantizer.w_p.item(), rel=1e-4)
    assert fitted.w_n.item() == pytest.approx(quantizer.w_n.item(), rel=1e-4)


def test_a_side_without_survivors_keeps_its_scale():
    quantizer = ttq(2.0, 3.0)
    quantizer.fit_scales(torch.tensor([1.0, 5.0, -0.01]))
    assert (quantizer.w_p.item(), quantizer.w_n.item()) == (3.0, 3.0)
    quantizer.fit_scales(torch.zeros(3))
    assert (quantizer.w_p.item(), quantizer.w_n.item()) == (3.0, 3.0)


def test_the_scales_are_parameters_of_the_model_and_counted_once():
    model = quantize_weights(nn.Sequential(nn.Linear(8, 4, bias=False)), TTQ, skip=())
    assert {name.rpartition(".")[2] for name, _ in model.named_parameters()} == {"original", "w_p", "w_n"}
    assert stored_bits(model) == 2 * 32 + 4 * 32
    model(torch.randn(5, 8)).square().sum().backward()
    assert all(parameter.grad.abs().sum() > 0 for parameter in model.parameters())


def test_bad_thresholds_are_refused():
    for threshold in (-0.1, 1.0, math.nan):
        with pytest.raises(ValueError, match=r"threshold must lie in \[0, 1\)"):
            TTQ(threshold)


# --- exact ternary -------------------------------------------------------------------------------------------------


def test_least_error_scale_by_hand():
    # S = 8, 14, 15; S² / k = 64, 98, 75: two weights stay, with the scale 7. Then 5, 5, 5: all three stay.
    magnitudes = torch.tensor([[8.0, 6.0, 1.0], [5.0, 5.0, 5.0]], dtype=torch.float64)
    assert least_error_scale(magnitudes).tolist() == [[7], [5]]
    assert least_error_scale(magnitudes[0]).tolist() == [7]
    # Powers of two gain s (2 S - k s): 8 (16 - 8) = 64, 8 (28 - 16) = 96, 4 (30 - 12) = 72; then 24, 48, 72.
    assert least_error_scale(magnitudes, power_of_two=True).tolist() == [[8], [4]]


@pytest.mark.parametrize("power_of_two", [False, True])
@given(data=st.data(), count=st.integers(1, 12))
def test_exact_ternary_equals_brute_force(power_of_two, data, count):
    x = data.draw(tensors(shape=(count,), elements=MODERATE))
    codes, scale = exact_ternary(x, power_of_two=power_of_two)
    least = least_errors(x)[power_of_two]
    energy = sum(Fraction(value) ** 2 for value in x.tolist())
    assert squared_error(x, codes, scale.item()) <= least + energy * Fraction(1, 10**7)  # the scale is float32
    assert codes.dtype == torch.int8
    assert set(codes.tolist()) <= {-1, 0, 1}
    if power_of_two and scale > 0:
        assert math.frexp(scale.item())[0] == 0.5


@given(tensors(torch.float64, shape=(7,), elements=floats(torch.float64)))
def test_exact_ternary_of_any_magnitude(x):
    """From the least subnormal number to an eighth of the greatest: nothing overflows, nothing vanishes."""
    codes, scale = exact_ternary(x)
    least, _ = least_errors(x)
    energy = sum(Fraction(value) ** 2 for value in x.tolist())
    rounding = Fraction(1, 10**14) * energy + Fraction(5e-324) ** 2 * 7
    assert squared_error(x, codes, scale.item()) <= least + rounding


@given(tensors(shape=(3, 4), elements=MODERATE), st.booleans())
def test_it_is_never_worse_than_another_method(x, power_of_two):
    exact = (ExactTernary()(x) - x).double().square().sum()
    by_power = (ExactTernary(power_of_two=True)(x) - x).double().square().sum()
    assert exact <= by_power * (1 + 1e-6) + 1e-12
    for ratio in (0.5, 2 / 3, 0.7, 0.767):
        assert exact <= (TWN(ratio)(x) - x).double().square().sum() * (1 + 1e-6) + 1e-12


def test_the_power_of_two_is_nearest_on_the_linear_scale():
    assert exact_ternary(torch.tensor([1.45, -1.45]), power_of_two=True)[1] == 1.0
    assert exact_ternary(torch.tensor([1.55, -1.55]), power_of_two=True)[1] == 2.0
    # and the number of survivors may change: one with scale 1.45, but three with scale 1
    x = torch.tensor([1.45, 0.52, 0.52])
    assert exact_ternary(x)[0].tolist() == [1, 0, 0]
    assert exact_ternary(x, power_of_two=True)[0].tolist() == [1, 1, 1]


def test_rounding_the_scale_of_the_real_solution_is_not_enough():
    x = torch.tensor([1.75, 0.8, 1.6, 1.8])
    codes, scale = exact_ternary(x)
    assert (codes.tolist(), scale.item()) == ([1, 1, 1, 1], pytest.approx(1.4875))  # nearest power: 1
    codes, scale = exact_ternary(x, power_of_two=True)
    assert (codes.tolist(), scale.item()) == ([1, 0, 1, 1], 2.0)


@given(st.permutations(range(6)), tensors(shape=(6,), elements=MODERATE))
def test_equal_weights_get_equal_codes_in_any_order(order, x):
    codes, scale = exact_ternary(x)
    moved, same_scale = exact_ternary(x[torch.tensor(order)])
    assert torch.equal(moved, codes[torch.tensor(order)])
    assert torch.equal(scale, same_scale)
    by_weight = dict(zip(x.tolist(), codes.tolist(), strict=True))
    assert codes.tolist() == [by_weight[value] for value in x.tolist()]


def test_a_large_tensor_is_solved_at_once():
    x = torch.randn(16, 1000, generator=torch.Generator().manual_seed(8))
    codes, scale = exact_ternary(x, channel_axis=0)
    assert scale.shape == (16, 1)
    ratios = torch.linspace(0.3, 1.5, 20)
    errors = torch.stack([(TWN(r.item(), channel_axis=0)(x) - x).square().sum(1) for r in ratios])
    assert ((codes * scale - x).square().sum(1) <= errors.min(0).values * (1 + 1e-6)).all()


def test_torchao_is_never_better():
    from torchao.prototype.parq.quant import lsbq  # takes seconds: only when this test runs

    generator = torch.Generator().manual_seed(9)
    for _ in range(20):
        x = torch.randn(50, generator=generator)
        reference = lsbq.LSBQuantizer(optimal=True).quantize(x, 0)[0]
        assert (ExactTernary()(x) - x).square().sum() <= (reference - x).square().sum() * (1 + 1e-6)


# --- the second rule, and shifts --------------------------------------------------------------------------------------


@given(x=tensors(shape=(5, 4), largest=1e3), zeros=st.integers(0, 19))
def test_a_fixed_share_of_zeros_is_kept_up_to_ties(x, zeros):
    quantizer = TTQ(sparsity=zeros / 20)
    values = quantizer(x)
    magnitudes = x.abs().flatten().sort().values
    border = magnitudes[zeros - 1] if zeros else 0.0
    assert ((values == 0) == (x.abs() <= border)).all()
    assert (values == 0).sum() >= zeros
    assert same_bits(quantizer.encode(x).decode(), values.detach() + 0.0)


def test_the_share_of_zeros_stays_while_the_weights_move():
    quantizer = TTQ(sparsity=0.4)
    for seed in range(3):
        torch.manual_seed(seed)
        assert (quantizer(torch.randn(10, 10) ** 3) == 0).sum() == 40


@pytest.mark.parametrize("sparsity", [-0.1, 1.0, float("nan")])
def test_bad_shares_of_zeros_are_refused(sparsity):
    with pytest.raises(ValueError, match=r"sparsity must lie in \[0, 1\)"):
        TTQ(sparsity=sparsity)


@given(tensors(shape=(4, 5), largest=1e3))
def test_twns_scale_by_shifts_is_the_best_power_of_two_for_its_codes(x):
    codes, scale = TWN(power_of_two=True).codes_and_scale(x)
    plain, real = TWN().codes_and_scale(x)
    assert torch.equal(codes, plain)
    s = scale.double()
    assert real == 0 or torch.frexp(s).mantissa == 0.5
    error = (x.double() - s * codes).square().sum()
    for other in (s / 2, 2 * s):
        assert error <= (x.double() - other * codes).square().sum() * (1 + 1e-6)
    assert same_bits(TWN(power_of_two=True).encode(x).decode(), TWN(power_of_two=True)(x))
