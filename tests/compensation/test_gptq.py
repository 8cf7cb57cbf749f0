"""GPTQ: by hand, against the slow update with an explicit inverse, against torchao, and against brute force."""

import itertools
import json
import subprocess
import sys
from functools import partial

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from strategies import same_bits
from torch import Tensor

from fewbits.binary import BinaryConnect
from fewbits.compensation import (
    FP8Quantizer,
    MXQuantizer,
    NVFP4Quantizer,
    adaround,
    gptq,
    grid_of,
    inverse_factor,
    output_error,
)
from fewbits.compensation.grids import with_values
from fewbits.core.codes import Codes, StoredForm
from fewbits.core.filter_codes import FilterCodes
from fewbits.inq import InqQuantizer
from fewbits.ternary import TWN
from fewbits.uniform import UniformQuantizer
from fewbits.vector import ProductQuantizer

QUANTIZERS = {
    "uniform": UniformQuantizer(3),
    "uniform, per channel": UniformQuantizer(4, channel_axis=0),
    "affine": UniformQuantizer(3, symmetric=False),
    "INQ": InqQuantizer(4),
    "ternary": TWN(),
    "binary": BinaryConnect(),
    "FP8": FP8Quantizer(),
    "MXFP4": MXQuantizer(block=3),
    "NVFP4": NVFP4Quantizer(block=4),
}
EACH = pytest.mark.parametrize("name", QUANTIZERS)


def randn(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def moments_of(length: int, groups: int = 1, seed: int = 0, samples: int = 40) -> Tensor:
    """Of correlated inputs, (groups, K, K)."""
    x = randn(groups, samples, length, seed=seed) @ randn(groups, length, length, seed=seed + 1)
    return x.transpose(1, 2) @ x / samples


def layers():
    """Weights (M, K) of a float32 layer and moments of its inputs."""

    @st.composite
    def draw(draw):
        seed, length = draw(st.integers(0, 10_000)), draw(st.integers(1, 9))
        weight = draw(st.sampled_from([0.1, 1.0, 30.0])) * randn(draw(st.integers(1, 4)), length, seed=seed).float()
        return weight, moments_of(length, seed=seed, samples=draw(st.integers(1, 40)))

    return draw()


# --- By hand ----------------------------------------------------------------------------------------------------------


def test_two_weights_by_hand():
    """H = [[1, ½], [½, 1]], integers as grid: 0.6 becomes 1, and 0.4 · ½ of it is taken off the second, 0.6 too.

    To 1, 1 rounds each by itself, with an error of 0.16 + 0.16 + 0.16 = 0.48. GPTQ: 1, then 0.6 − 0.2 = 0.4 becomes 0:
    0.16 − 0.24 + 0.36 = 0.28.
    """
    weight, moments = torch.tensor([[0.6, 0.6]]), torch.tensor([[[1.0, 0.5], [0.5, 1.0]]])
    codes = Codes(torch.tensor([[1, 1]]), 4, torch.tensor(1.0))
    found = gptq(weight, codes, moments, damping=0.0)
    assert found.values.tolist() == [[1, 0]]
    errors = [output_error(weight, form.decode(), moments.double()).item() for form in (codes, found)]
    assert errors == pytest.approx([0.48, 0.28])


def test_the_factor_by_hand():
    """H = [[1, ½], [½, 1]] has the inverse 4/3 [[1, −½], [−½, 1]], whose factor is [[2/√3, −1/√3], [0, 1]]."""
    factor = inverse_factor(torch.tensor([[[1.0, 0.5], [0.5, 1.0]]], dtype=torch.float64), 0.0)
    expected = torch.tensor([[[2 / 3**0.5, -1 / 3**0.5], [0, 1.0]]], dtype=torch.float64)
    torch.testing.assert_close(factor, expected)


@given(st.integers(1, 8), st.integers(1, 3), st.sampled_from([0.001, 0.01, 0.1]), st.integers(0, 1000))
def test_the_factor_times_itself_is_the_damped_inverse(length, groups, damping, seed):
    moments = moments_of(length, groups, seed)
    factor = inverse_factor(moments, damping)
    assert torch.equal(factor, factor.triu())
    mean = moments.diagonal(dim1=1, dim2=2).mean(1)[:, None, None]
    unit = torch.eye(length, dtype=torch.float64)
    whole = factor.transpose(1, 2) @ factor @ (moments + damping * mean * unit)
    torch.testing.assert_close(whole, unit.expand_as(whole), rtol=1e-6, atol=1e-6)


# --- Against others ---------------------------------------------------------------------------------------------------


def slow(weight: Tensor, codes: StoredForm, moments: Tensor, damping: float, order: str) -> Tensor:
    """(M, K) decoded: after each weight the inverse of what is left of H is computed anew, one row at a time."""
    levels = codes.levels
    if levels is None:
        low, high = (
            (-(2 ** (codes.bits - 1)) + 1, 2 ** (codes.bits - 1) - 1) if codes.signed else (0, 2**codes.bits - 1)
        )
        if codes.zero_point is not None and codes.signed:
            low -= 1
        levels = torch.arange(low, high + 1)
        if codes.zero_point is not None:
            levels = levels - codes.zero_point
    levels = levels.double()[levels.double().isfinite()]
    scales = codes.scale.double().expand(weight.shape)
    found = torch.empty(weight.shape, dtype=torch.float64)
    matrix = moments + damping * moments.diagonal().mean() * torch.eye(len(moments), dtype=torch.float64)
    queue = list(range(len(moments)))
    if order == "activation":
        queue.sort(key=lambda i: -float(moments[i, i]))
    for m in range(len(weight)):
        rest, left = weight[m].double().clone(), list(queue)
        while left:
            inverse = torch.linalg.inv(matrix[left][:, left])
            i = left[0]
            points = levels * scales[m, i]
            found[m, i] = points[(points - rest[i]).abs().argmin()]
            rest[left] = rest[left] - (rest[i] - found[m, i]) / inverse[0, 0] * inverse[:, 0]
            left = left[1:]
    return found


@EACH
@pytest.mark.parametrize("order", ["given", "activation"])
@given(layer=layers())
def test_the_factor_does_what_explicit_inverses_do(name, order, layer):
    weight, moments = layer
    codes = QUANTIZERS[name].encode(weight)
    found = gptq(weight, codes, moments, order=order, keep_better=False).decode()
    torch.testing.assert_close(found.double(), slow(weight, codes, moments[0], 0.01, order), rtol=1e-5, atol=1e-7)


def test_a_wrong_update_differs_from_explicit_inverses(monkeypatch):
    """With the factor of H in place of that of its inverse."""
    weight, moments = randn(3, 6).float(), moments_of(6)
    codes = UniformQuantizer(3).encode(weight)
    module = sys.modules["fewbits.compensation.gptq"]  # the package has a function of its name
    monkeypatch.setattr(module, "inverse_factor", lambda H, damping: torch.linalg.cholesky(H, upper=True))
    found = gptq(weight, codes, moments, keep_better=False).decode()
    assert not torch.allclose(found.double(), slow(weight, codes, moments[0], 0.01, "given"))


# -O leaves out that the package's function wants a GPU; nothing of what it computes needs one.
TORCHAO = """
import json, sys, torch
torch.cuda.synchronize = lambda: None
from torchao.prototype.gptq.api import GPTQConfig, gptq_quantize
from torchao.quantization import Int8WeightOnlyConfig
from torchao.quantization.granularity import PerRow
weight, moments = (torch.tensor(each) for each in json.load(sys.stdin))
config = GPTQConfig("convert", Int8WeightOnlyConfig(granularity=PerRow()), percdamp=0.02)
found = gptq_quantize(moments, weight, config)
print(json.dumps([found.qdata.tolist(), found.scale.flatten().tolist()]))
"""


def test_torchao_finds_the_same_codes():
    """One layer, 8 bits, with the scales of torchao; rounding each weight by itself gives other codes."""
    weight, moments = randn(6, 32).float(), moments_of(32, samples=200).float()
    given = json.dumps([weight.tolist(), moments[0].tolist()])
    run = subprocess.run([sys.executable, "-O", "-c", TORCHAO], input=given, capture_output=True, text=True, check=True)
    values, scales = (torch.tensor(each) for each in json.loads(run.stdout.splitlines()[-1]))
    # torchao uses -128, too, as codes with a zero point do.
    codes = Codes(torch.zeros_like(values), 8, scales[:, None], torch.zeros(6, 1, dtype=torch.int64))
    found = gptq(weight, codes, moments, damping=0.02, keep_better=False)
    assert torch.equal(found.values, values)
    nearest = (weight / scales[:, None]).round().clamp(-127, 127)
    assert 0.1 < (nearest != values).float().mean() < 0.9


# --- What is guaranteed, and what is not ------------------------------------------------------------------------------


def best(weight: Tensor, codes: StoredForm, moments: Tensor) -> Tensor:
    """(M,) the smallest error of all points of the grid, by trying all."""
    grid = grid_of(codes)
    rows = []
    for m in range(len(weight)):
        ranges = [range(int(grid.low[m, k]), int(grid.high[m, k]) + 1) for k in range(weight.shape[1])]
        points = torch.tensor(list(itertools.product(*ranges)))
        change = (grid.points[points] - grid.zero[m]) * grid.scale[m] - weight[m].double()
        rows.append(((change @ moments[0]) * change).sum(1).min())
    return torch.stack(rows).clamp(min=0)


@pytest.mark.parametrize("name", ["uniform", "INQ", "ternary", "binary", "MXFP4"])
def test_between_brute_force_and_rounding_each_by_itself(name):
    """Rows of four weights: never below the best of all, never above the start, and the best in most rows."""
    found, start, lowest = [], [], []
    for seed in range(12):
        weight, moments = randn(3, 4, seed=seed).float(), moments_of(4, seed=seed)
        codes = QUANTIZERS[name].encode(weight)
        start.append(output_error(weight, codes.decode(), moments))
        found.append(output_error(weight, gptq(weight, codes, moments).decode(), moments))
        lowest.append(best(weight, codes, moments))
    found, start, lowest = torch.cat(found), torch.cat(start), torch.cat(lowest)
    assert (found >= lowest * (1 - 1e-6) - 1e-9).all()
    assert (found <= start * (1 + 1e-9)).all()
    assert found.sum() < start.sum()
    excess = lambda error: (error.sum() / lowest.sum() - 1).item()  # noqa: E731
    assert excess(found) < excess(start)


@EACH
@pytest.mark.parametrize("rounding", [gptq, partial(gptq, order="activation"), partial(adaround, steps=20)])
@given(layer=layers())
def test_never_worse_than_the_start(name, rounding, layer):
    weight, moments = layer
    codes = QUANTIZERS[name].encode(weight)
    before, after = (output_error(weight, form.decode(), moments) for form in (codes, rounding(weight, codes, moments)))
    assert (after <= before).all()


def test_without_the_comparison_it_can_be_worse():
    """Integers, the given order: 0.25, 0.4, 0.1 all round to 0 with an error of 0.23.

    The rounding of the first moves the second from 0.4 to just above 0.5, since for a third that were free that would
    be best. So it becomes 1, and the third cannot follow: 0, 1, 1 has an error of 0.355.
    """
    weight = torch.tensor([[0.25, 0.4, 0.1]], dtype=torch.float64)
    moments = torch.tensor([[[1, 0, 0.75], [0, 1, -0.5], [0.75, -0.5, 1]]], dtype=torch.float64)
    codes = Codes(torch.zeros(1, 3, dtype=torch.int64), 4, torch.tensor(1.0, dtype=torch.float64))
    plain = gptq(weight, codes, moments, damping=0.0, keep_better=False)
    assert plain.values.tolist() == [[0, 1, 1]]
    errors = [output_error(weight, form.decode(), moments).item() for form in (codes, plain)]
    assert errors == pytest.approx([0.23, 0.355])
    kept = gptq(weight, codes, moments, damping=0.0)
    assert same_bits(kept.decode(), codes.decode())


def test_of_two_weights_it_is_never_worse():
    """The second is then the last, and its nearest point the best one for what the first has become."""
    for seed in range(200):
        weight, moments = randn(1, 2, seed=seed).float(), moments_of(2, seed=seed)
        codes = UniformQuantizer(3).encode(weight)
        found = gptq(weight, codes, moments, damping=0.0, keep_better=False)
        before, after = (output_error(weight, form.decode(), moments).item() for form in (codes, found))
        assert after <= before * (1 + 1e-6) + 1e-12


def test_a_weight_that_is_pushed_off_the_grid_is_clipped():
    """Ternary, −1, 0, 1: the first weight, 1.9, becomes 1, and the second, already 1, would have to become 1.8."""
    weight, moments = torch.tensor([[1.9, 1.0]]), torch.tensor([[[1.0, 0.9], [0.9, 1.0]]])
    codes = Codes(torch.tensor([[1, 1]]), 2, torch.tensor(1.0))
    assert gptq(weight, codes, moments, damping=0.0).values.tolist() == [[1, 1]]


@EACH
@given(st.integers(0, 1000), st.integers(1, 8))
def test_without_correlation_there_is_nothing_to_make_up_for(name, seed, length):
    """H diagonal: each weight gets the nearest point of its grid, whatever the order."""
    weight = randn(2, length, seed=seed).float()
    codes = QUANTIZERS[name].encode(weight)
    moments = torch.diag_embed(randn(1, length, seed=seed).abs() + 0.1)
    grid = grid_of(codes)
    nearest = grid.real(grid.nearest(weight.double()))
    for order in ("given", "activation"):
        found = gptq(weight, codes, moments, order=order, keep_better=False)
        torch.testing.assert_close(found.decode().double(), nearest, rtol=1e-6, atol=1e-9)


def test_the_order_of_activations_is_a_permutation():
    weight, moments = randn(4, 7).float(), moments_of(7)
    codes = UniformQuantizer(3).encode(weight)
    place = moments[0].diagonal().argsort(descending=True)
    permuted = with_values(codes, codes.values[:, place])
    found = gptq(weight, codes, moments, order="activation", keep_better=False)
    other = gptq(weight[:, place], permuted, moments[:, place][:, :, place], keep_better=False)
    assert torch.equal(found.values[:, place], other.values)


def test_groups_have_moments_of_their_own():
    weight, moments = randn(6, 2, 3).float(), moments_of(6, groups=2)
    codes = UniformQuantizer(3, channel_axis=0).encode(weight)
    found = gptq(weight, codes, moments)
    for group in range(2):
        rows = slice(3 * group, 3 * group + 3)
        alone = gptq(weight[rows], UniformQuantizer(3, channel_axis=0).encode(weight[rows]), moments[group : group + 1])
        assert torch.equal(found.values[rows], alone.values)


# --- Blocks that get new scales ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("quantizer", [MXQuantizer(block=4), NVFP4Quantizer(block=4), MXQuantizer("E2M3", block=16)])
def test_blocks_get_the_scales_of_what_their_weights_have_become(quantizer):
    weight, moments = randn(8, 10).float(), moments_of(10, samples=12)
    codes = quantizer.encode(weight)
    found = gptq(weight, codes, moments, rescale=True, keep_better=False)
    # The first block meets the weights as they were.
    assert torch.equal(found.block_scales[:, 0], codes.block_scales[:, 0])
    kept = gptq(weight, codes, moments, keep_better=False)
    if codes.block < 10:
        assert not torch.equal(found.block_scales, codes.block_scales)
    else:
        assert torch.equal(found.values, kept.values)
    errors = [
        output_error(weight, form.decode(), moments) for form in (codes, gptq(weight, codes, moments, rescale=True))
    ]
    assert (errors[1] <= errors[0]).all()
    assert found.nbits == codes.nbits


def test_blocks_are_needed_for_scales_that_change():
    weight, moments = randn(2, 3).float(), moments_of(3)
    with pytest.raises(ValueError, match="rescale needs codes with blocks"):
        gptq(weight, UniformQuantizer(3).encode(weight), moments, rescale=True)
    with pytest.raises(ValueError, match="rescale needs codes with blocks, and the order 'given'"):
        gptq(weight, MXQuantizer().encode(weight), moments, rescale=True, order="activation")


# --- Grids ------------------------------------------------------------------------------------------------------------


@EACH
@given(layer=layers())
def test_the_points_of_the_grid_are_what_codes_decode_to(name, layer):
    """Any index decodes to its point, and the codes of a quantizer lie on the grid."""
    codes = QUANTIZERS[name].encode(layer[0])
    grid = grid_of(codes)
    assert (grid.points.diff() > 0).all()
    generator = torch.Generator().manual_seed(0)
    index = grid.low + (torch.rand(codes.shape, generator=generator) * (grid.high - grid.low + 1)).long()
    form = with_values(codes, grid.fields[index])
    torch.testing.assert_close(form.decode().double(), grid.real(index), rtol=1e-6, atol=1e-30)
    place = grid.nearest(codes.decode().double())
    torch.testing.assert_close(grid.real(place), codes.decode().double(), rtol=1e-6, atol=1e-30)


def test_filters_of_several_widths():
    values = torch.tensor([[1, -1, 0], [7, -3, 2]])
    codes = FilterCodes(values, torch.tensor([2, 4]), torch.tensor([[0.5], [0.25]]), 0)
    grid = grid_of(codes)
    assert grid.real(grid.low)[:, 0].tolist() == [-0.5, -1.75]
    assert grid.real(grid.high)[:, 0].tolist() == [0.5, 1.75]
    weight, moments = torch.tensor([[0.6, -0.4, 0.1], [1.7, -0.7, 0.5]]), moments_of(3)
    before, after = (output_error(weight, form.decode(), moments) for form in (codes, gptq(weight, codes, moments)))
    assert (after <= before).all()


def test_codes_of_several_weights_each_are_refused():
    weight = randn(4, 6).float()
    codes = ProductQuantizer(weight, 3, 4).encode(weight)
    with pytest.raises(ValueError, match="VectorCodes stand for several weights each"):
        gptq(weight, codes, moments_of(6))


# --- Errors -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"order": "random"}, "order must be one of given, activation"),
        ({"damping": -0.1}, "damping must not be negative"),
        ({"damping": float("nan")}, "damping must not be negative"),
        ({"weight": torch.full((2, 3), float("nan"))}, "weight holds NaN or Inf"),
        ({"weight": torch.ones(3, 2)}, r"codes have shape \(2, 3\), weight \(3, 2\)"),
        ({"moments": torch.ones(1, 2, 2)}, "do not fit weights of shape"),
        ({"moments": torch.ones(1, 3, 3), "damping": 0.0}, "moments are not positive definite"),
    ],
)
def test_what_cannot_be_rounded_is_refused(change, message):
    weight = randn(2, 3).float()
    given = {"weight": weight, "codes": UniformQuantizer(3).encode(weight), "moments": moments_of(3)} | change
    with pytest.raises(ValueError, match=message):
        gptq(given.pop("weight"), given.pop("codes"), given.pop("moments"), **given)


def test_inputs_that_are_always_0_do_no_harm():
    """A group of zeros, and one input of zeros among others: there the nearest point serves."""
    weight = randn(2, 3).float()
    codes = UniformQuantizer(3, channel_axis=0).encode(weight)
    moments = moments_of(3, groups=2)
    moments[0] = 0
    moments[1, 1] = 0
    moments[1, :, 1] = 0
    found = gptq(weight, codes, moments, keep_better=False)
    assert torch.equal(found.values[0], codes.values[0])
    assert found.values[1, 1] == codes.values[1, 1]
