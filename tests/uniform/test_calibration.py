"""Calibration against brute force: sorted lists, a plain Python loop for KL, scikit-learn and ONNX Runtime."""

import contextlib
import io
import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from onnxruntime.quantization.calibrate import HistogramCollector
from sklearn.preprocessing import RobustScaler
from strategies import BAD_BITS, BAD_FLOATS, BAD_VALUES, DTYPES, shapes, tensors

from fewbits.uniform import entropy_range, max_range, percentile_range

RANGES = {
    "max": max_range,
    "percentile": lambda x: percentile_range(x, 99.0),
    "entropy": lambda x: entropy_range(x, 4, bins=64),
}


def sample(name: str, count: int = 20000, seed: int = 0) -> torch.Tensor:
    generator = np.random.default_rng(seed)
    x = {
        "gaussian": lambda: generator.normal(size=count),
        "laplace": lambda: generator.laplace(size=count),
        "relu": lambda: np.maximum(generator.normal(size=count), 0),
        "uniform": lambda: generator.uniform(-1, 1, count),
        "cauchy": lambda: generator.standard_cauchy(count).clip(-1e3, 1e3),
    }[name]()
    return torch.from_numpy(x).float()


# ---- all three


@pytest.mark.parametrize("name", RANGES)
@pytest.mark.parametrize("dtype", DTYPES)
@settings(max_examples=60)
@given(data=st.data())
def test_a_range_lies_within_that_of_the_tensor(dtype, name, data):
    x = data.draw(tensors(dtype, largest=torch.finfo(dtype).max))
    low, high = RANGES[name](x)
    assert low.shape == high.shape == ()
    assert low.dtype == high.dtype == dtype
    assert x.min() <= low <= high <= x.max()


@pytest.mark.parametrize("name", RANGES)
@pytest.mark.parametrize("case", BAD_FLOATS | BAD_VALUES)
def test_other_than_finite_tensors_are_refused(case, name):
    x, error, message = (BAD_FLOATS | BAD_VALUES)[case]
    with pytest.raises(error, match=message):
        RANGES[name](x)


@pytest.mark.parametrize("name", RANGES)
@pytest.mark.parametrize("value", [0.0, -0.0, 3.0, -3.0, 1e-45, -1e-45, 3e38])
@pytest.mark.parametrize("count", [1, 5])
def test_one_value_is_its_own_range(count, value, name):
    x = torch.full((count,), value)
    assert [bound.item() for bound in RANGES[name](x)] == [x[0].item()] * 2
    assert [bound.item() for bound in RANGES[name](x[0])] == [x[0].item()] * 2


@pytest.mark.parametrize("name", RANGES)
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision(dtype, name):
    low, high = RANGES[name](sample("cauchy", 1000).clamp(-100, 100).to(dtype))
    assert low.dtype == high.dtype == dtype
    assert -100 <= low < 0 < high <= 100


@pytest.mark.parametrize("name", RANGES)
def test_a_parameter_has_a_range_too(name):
    RANGES[name](torch.nn.Parameter(torch.randn(100)))


# ---- max


@given(shapes(min_dims=1), st.data())
def test_max_range_per_channel_is_that_of_each_slice(shape, data):
    axis = data.draw(st.integers(-len(shape), len(shape) - 1))
    x = data.draw(tensors(shape=shape))
    low, high = max_range(x, axis)
    assert low.shape == high.shape == tuple(n if a == axis % x.dim() else 1 for a, n in enumerate(shape))
    slices = [part.flatten().tolist() for part in x.unbind(axis)]
    assert low.flatten().tolist() == [min(part) for part in slices]
    assert high.flatten().tolist() == [max(part) for part in slices]


def test_max_range_is_no_view_of_the_tensor():
    x = torch.tensor([1.0, 2.0])
    low, high = max_range(x, 0)
    x.zero_()
    assert low.tolist() == high.tolist() == [1.0, 2.0]


@pytest.mark.parametrize(("axis", "error"), [(2, ValueError), (-3, ValueError), (0.5, TypeError), (True, TypeError)])
def test_max_range_refuses_an_axis_that_x_lacks(axis, error):
    with pytest.raises(error, match="channel_axis"):
        max_range(torch.ones(2, 3), axis)
    with pytest.raises(ValueError, match="channel_axis 0 is not an axis"):
        max_range(torch.tensor(1.0), 0)


# ---- percentile


def brute_force_percentile(values: list[float], percentile: float) -> float:
    ordered = sorted(abs(value) for value in values)
    place = percentile / 100 * (len(ordered) - 1)
    below = math.floor(place)
    above = min(below + 1, len(ordered) - 1)
    return ordered[below] + (place - below) * (ordered[above] - ordered[below])


@pytest.mark.parametrize("dtype", DTYPES)
@given(data=st.data(), percentile=st.floats(0, 100, exclude_min=True))
def test_percentile_is_the_interpolated_order_statistic(dtype, data, percentile):
    x = data.draw(tensors(dtype))
    low, high = percentile_range(x, percentile)
    threshold = brute_force_percentile(x.flatten().tolist(), percentile)
    expected = torch.tensor([max(x.min().item(), -threshold), min(x.max().item(), threshold)], dtype=dtype)
    slack = 4 * torch.finfo(dtype).eps * x.abs().max().item()
    torch.testing.assert_close(torch.stack([low, high]), expected, rtol=0, atol=slack)


@pytest.mark.parametrize("name", ["gaussian", "laplace", "relu", "cauchy"])
@pytest.mark.parametrize("percentile", [60.0, 99.0, 99.9, 99.99, 99.9999, 100.0])
def test_percentile_is_scikit_learns(percentile, name):
    """With a 0 among the magnitudes, RobustScaler's quantile range from 0 on is the percentile itself."""
    x = torch.cat([sample(name), torch.zeros(1)])
    scaler = RobustScaler(quantile_range=(0.0, percentile)).fit(x.abs().double().numpy()[:, None])
    low, high = percentile_range(x, percentile)
    assert high.item() == pytest.approx(min(scaler.scale_[0], x.max().item()), rel=1e-7)
    assert low.item() == pytest.approx(max(-scaler.scale_[0], x.min().item()), rel=1e-7)


@pytest.mark.parametrize("percentile", [90.0, 99.0])
@pytest.mark.parametrize("name", ["gaussian", "laplace", "relu"])
def test_percentile_is_onnxruntimes_within_two_bins(name, percentile):
    """Where samples lie closer than bins; further out it gives the border below one sample, not a point between two."""
    x, bins = sample(name), 2048
    low, high = percentile_range(x, percentile)
    theirs = onnxruntime_range(x, "percentile", bins, percentile=percentile)
    assert abs(high.item() - theirs[1]) <= 2 * x.abs().max().item() / bins
    assert abs(low.item() - theirs[0]) <= 2 * x.abs().max().item() / bins


def test_percentile_of_millions_is_not_blurred_by_float32():
    """A float32 index could not tell neighbours apart: 0.999999 in float32 is 1 - 1.013e-6."""
    x = torch.arange(3_000_001.0)
    assert percentile_range(x, 99.9999)[1].item() == pytest.approx(2_999_997.0, abs=0.25)


@pytest.mark.parametrize("percentile", [0, -1.0, 100.001, math.nan, math.inf])
def test_percentile_out_of_range_is_refused(percentile):
    with pytest.raises(ValueError, match=r"^percentile must lie in \(0, 100\], got"):
        percentile_range(torch.ones(3), percentile)


# ---- entropy


def divergences(magnitudes: list[float], largest: float, levels: int, bins: int) -> dict[int, float]:
    """KL(P‖Q) in nats for every number of bins kept, in plain loops; only what P has seen and Q forbids is infinite."""
    counts = [0] * bins
    for magnitude in magnitudes:
        if magnitude > 0:
            counts[min(int(magnitude / largest * bins), bins - 1)] += 1
    result = {}
    for kept in range(levels, bins + 1):
        reference = [*counts[: kept - 1], sum(counts[kept - 1 :])]
        quantized = [0.0] * kept
        for group in range(levels):
            members = [i for i in range(kept) if i * levels // kept == group and counts[i]]
            for i in members:
                quantized[i] = sum(counts[j] for j in members) / len(members)
        p_total, q_total, divergence = sum(reference), sum(quantized), 0.0
        for p, q in zip(reference, quantized, strict=True):
            if p and not q:
                divergence = math.inf
            elif p:
                divergence += p / p_total * math.log(p / p_total * q_total / q)
        result[kept] = divergence
    return result


@pytest.mark.parametrize("name", ["gaussian", "laplace", "relu", "uniform", "cauchy"])
@pytest.mark.parametrize("bits", [1, 2, 3, 4])
def test_entropy_is_the_brute_force_minimum(bits, name):
    """Values on a grid of 1/1024 up to 4, 64 bins: every quotient is exact, so both histograms are the same."""
    x = ((sample(name, 3000) * 1024).round() / 1024).clamp(-4, 4)
    x[0] = 4.0
    levels = 2**bits if name == "relu" or bits == 1 else 2 ** (bits - 1)
    curve = divergences(x.abs().tolist(), 4.0, levels, bins=64)
    best = min(curve, key=curve.get) * 4 / 64
    low, high = entropy_range(x, bits, bins=64)
    assert high.item() == best
    assert low.item() == max(-best, x.min().item())


@settings(max_examples=40)
@given(st.lists(st.integers(-64, 64).map(lambda k: k / 16), min_size=1, max_size=60), st.integers(1, 3))
def test_entropy_of_few_values_is_a_brute_force_minimum(values, bits):
    """Few values leave many thresholds equally good, so the minimum is compared, not its place."""
    x = torch.tensor([*values, 4.0])
    levels = 2 ** (bits - 1) if bits > 1 and min(values) < 0 else 2**bits
    curve = divergences(x.abs().tolist(), 4.0, levels, bins=16)
    kept = entropy_range(x, bits, bins=16)[1].item() * 4
    assert curve[int(kept)] <= min(curve.values()) + 1e-12


def onnxruntime_range(x, method, bins, levels=128, percentile=99.9):
    collector = HistogramCollector(method, True, bins, levels, percentile, None)
    with contextlib.redirect_stdout(io.StringIO()):
        collector.collect({"x": [x.numpy()] if method == "entropy" else x.numpy()})
        low, high, *_ = collector.compute_collection_result()["x"]
    return float(low), float(high)


@pytest.mark.parametrize("seed", [0, 1])
@pytest.mark.parametrize("name", ["gaussian", "laplace", "relu", "uniform"])
def test_entropy_is_near_onnxruntimes(name, seed):
    """Within a quarter of the bins; the curve is flat there, and the two recipes differ.

    ONNX Runtime bins signed values (twice as many here, for as many per sign), gives what ``kept // levels`` leaves
    over to the last group (here groups differ by one bin at most), truncates Q to integers and smooths zeros. It also
    lets a ReLU's zeros count, so it gets the non-zero values mirrored; the next test shows why.
    """
    x, bins, bits = sample(name, seed=seed), 256, 4
    signed = torch.cat([x[x > 0], -x[x > 0]]) if name == "relu" else x
    theirs = onnxruntime_range(signed, "entropy", 2 * bins, levels=2**bits * (2 if name == "relu" else 1))
    apart = abs(entropy_range(x, bits, bins)[1].item() - theirs[1]) / (x.abs().max().item() / bins)
    assert apart <= (0 if name == "uniform" else bins / 4)


def test_zeros_do_not_move_the_threshold():
    """Merged with its neighbours, a ReLU's peak at 0 would cost most, and small groups, so a small T, would win."""
    x = sample("relu")
    assert torch.equal(entropy_range(x, 8)[1], entropy_range(x[x > 0], 8)[1])
    assert entropy_range(x, 8)[1] > 0.8 * x.max()
    theirs = onnxruntime_range(x, "entropy", 512, levels=32)[1]
    assert theirs < 0.8 * x.max().item()


def test_heavy_tails_are_clipped_and_a_uniform_density_is_not():
    for bits in (3, 4, 6, 8):
        cauchy, uniform = sample("cauchy"), sample("uniform")
        assert entropy_range(cauchy, bits)[1] < 0.2 * cauchy.max()
        assert entropy_range(uniform, bits)[1] > 0.999 * uniform.max()


def test_more_bits_clip_less():
    x = sample("laplace")
    thresholds = [entropy_range(x, bits)[1].item() for bits in (2, 4, 6, 8)]
    assert thresholds == sorted(thresholds)
    assert thresholds[0] < 0.6 * thresholds[-1]


def test_entropy_scales_with_the_tensor_and_ignores_order_and_sign():
    x = sample("laplace", 5000).double()
    low, high = entropy_range(x, 4)
    assert low == -high
    for factor in (2.0**-140, 2.0**100, -1.0):
        assert entropy_range(x * factor, 4)[1].item() == high.item() * abs(factor)
    assert entropy_range(x.flip(0).reshape(50, 100).T, 4)[1] == high
    subnormal = torch.tensor([5e-324, 1e-323, 3e-323], dtype=torch.float64)
    assert entropy_range(subnormal, 2)[1] <= 3e-323


def test_as_many_levels_as_bins_clip_nothing():
    x = sample("cauchy")
    assert entropy_range(x, 8, bins=128)[1] == x.max()
    assert entropy_range(x, 12)[1] == x.max()
    assert entropy_range(x, 7, bins=128)[1] < x.max()


@pytest.mark.parametrize("bins", [0, -1])
def test_bins_below_one_are_refused(bins):
    with pytest.raises(ValueError, match=f"^bins must be at least 1, got {bins}$"):
        entropy_range(torch.ones(3), 4, bins)


@pytest.mark.parametrize("case", BAD_BITS)
def test_bad_bits_are_refused(case):
    bits, error = BAD_BITS[case]
    with pytest.raises(error, match=r"^bits must"):
        entropy_range(torch.ones(3), bits)
