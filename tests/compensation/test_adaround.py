"""AdaRound: its pieces by hand, its neighbours, and brute force over all ways up and down."""

import itertools

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from strategies import same_bits
from torch import Tensor

from fewbits.compensation import MXQuantizer, adaround, grid_of, output_error
from fewbits.compensation.adaround import indecision, rectified_sigmoid
from fewbits.inq import InqQuantizer
from fewbits.uniform import UniformQuantizer


def randn(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def moments_of(length: int, seed: int = 0) -> Tensor:
    x = randn(1, 40, length, seed=seed) @ randn(1, length, length, seed=seed + 1)
    return x.transpose(1, 2) @ x / 40


def test_the_sigmoid_reaches_both_ends():
    v = torch.tensor([-10.0, -torch.tensor(11.0).log(), 0.0, torch.tensor(11.0).log(), 10.0])
    torch.testing.assert_close(rectified_sigmoid(v), torch.tensor([0.0, 0.0, 0.5, 1.0, 1.0]))


def test_indecision_by_hand():
    """0 at both ends, 1 in the middle; at a quarter 1 − ½^β."""
    assert indecision(torch.tensor([0.0, 1.0]), 2.0).item() == 0
    assert indecision(torch.tensor([0.5, 0.25]), 2.0).item() == 1.75
    assert indecision(torch.tensor([0.25]), 20.0).item() == pytest.approx(1 - 2.0**-20)


@pytest.mark.parametrize("quantizer", [UniformQuantizer(3), InqQuantizer(4), MXQuantizer(block=3)])
@given(st.integers(0, 1000))
def test_each_weight_gets_one_of_its_two_neighbours(quantizer, seed):
    weight = randn(2, 5, seed=seed).float()
    codes = quantizer.encode(weight)
    found = adaround(weight, codes, moments_of(5, seed), steps=30, keep_better=False).decode().double()
    grid = grid_of(codes)
    below = grid.below(weight.double())
    low, high = grid.real(below), grid.real(torch.minimum(below + 1, grid.high))
    is_low, is_high = ((found - side).abs() <= 1e-6 * side.abs() for side in (low, high))
    assert (is_low | is_high).all()


def test_it_finds_the_best_of_all_ways_in_many_rows():
    """Rows of five weights, 2⁵ ways: always between the best and the start, the best in half of them or more."""
    hits, sums = 0, torch.zeros(3, dtype=torch.float64)
    for seed in range(6):
        weight, moments = randn(4, 5, seed=seed).float(), moments_of(5, seed)
        codes = UniformQuantizer(3).encode(weight)
        grid = grid_of(codes)
        below = grid.below(weight.double())
        ways = torch.tensor(list(itertools.product((0, 1), repeat=5)))
        index = torch.minimum(below[:, None] + ways, grid.high[:, None])
        change = (grid.points[index] - grid.zero[:, None]) * grid.scale[:, None] - weight.double()[:, None]
        lowest = ((change @ moments[0]) * change).sum(2).min(1).values
        found = output_error(weight, adaround(weight, codes, moments, steps=400).decode(), moments)
        start = output_error(weight, codes.decode(), moments)
        assert (found <= start).all()
        assert (found >= lowest * (1 - 1e-6)).all()
        hits += int((found <= lowest * (1 + 1e-6)).sum())
        sums += torch.stack([lowest.sum(), found.sum(), start.sum()])
    assert hits >= 12
    assert sums[1] - sums[0] < 0.2 * (sums[2] - sums[0])


def test_it_repeats_itself():
    weight, moments = randn(3, 6).float(), moments_of(6)
    codes = UniformQuantizer(3).encode(weight)
    first, second = (adaround(weight, codes, moments, steps=50) for _ in range(2))
    assert same_bits(first.decode(), second.decode())


def test_a_layer_that_is_on_its_grid_stays_there():
    weight = UniformQuantizer(3)(randn(2, 4).float())
    codes = UniformQuantizer(3).encode(weight)
    assert torch.equal(adaround(weight, codes, moments_of(4), steps=50).decode(), codes.decode())


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"steps": 0}, "steps must be at least 1"),
        ({"weight": torch.full((2, 3), float("inf"))}, "weight holds NaN or Inf"),
        ({"weight": torch.ones(3, 2)}, r"codes have shape \(2, 3\), weight \(3, 2\)"),
        ({"moments": torch.ones(1, 2, 2)}, "do not fit weights of shape"),
    ],
)
def test_what_cannot_be_rounded_is_refused(change, message):
    weight = randn(2, 3).float()
    given = {"weight": weight, "codes": UniformQuantizer(3).encode(weight), "moments": moments_of(3)} | change
    with pytest.raises(ValueError, match=message):
        adaround(given.pop("weight"), given.pop("codes"), given.pop("moments"), **given)
