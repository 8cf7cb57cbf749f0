"""Clustering on a line: against every partition in exact arithmetic, scikit-learn, and a plain loop."""

import itertools
from fractions import Fraction

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from sklearn.cluster import KMeans
from strategies import BAD_FLOATS, BAD_VALUES, layouts, tensors

from fewbits.vector import INITS, assign, initial_centroids, kmeans, lloyd, optimal_centroids, squared_error

SMALL = st.one_of(st.sampled_from([0.0, -0.0, 1.0, 2.0, -3.0]), st.floats(-8, 8, width=32)).filter(
    lambda value: value == 0 or abs(value) > 1e-3
)


def exact_error(values: list[Fraction], centroids: list[Fraction]) -> Fraction:
    return sum(min((value - c) ** 2 for c in centroids) for value in values)


def least_error(values: list[float], k: int) -> Fraction:
    """By trying every way to cut the sorted values into at most k intervals."""
    ordered = sorted(Fraction(value) for value in values)
    n, best = len(ordered), None
    for count in range(1, min(k, n) + 1):
        for cuts in itertools.combinations(range(1, n), count - 1):
            error = Fraction(0)
            for start, end in itertools.pairwise((0, *cuts, n)):
                part = ordered[start:end]
                mean = sum(part) / len(part)
                error += sum((value - mean) ** 2 for value in part)
            best = error if best is None else min(best, error)
    return best


@given(st.lists(SMALL, min_size=1, max_size=9), st.integers(1, 5))
def test_the_optimum_is_that_of_all_partitions(values, k):
    centroids = optimal_centroids(torch.tensor(values), k)
    found = exact_error([Fraction(v) for v in torch.tensor(values).tolist()], [Fraction(c) for c in centroids.tolist()])
    best = least_error(torch.tensor(values).tolist(), k)
    assert abs(found - best) <= 1e-12 * sum(Fraction(v) ** 2 for v in values)
    assert len(centroids) == min(k, len(set(values)))


def test_lloyd_misses_the_optimum():
    """So the oracle above would notice if the optimum were only k-means."""
    x = torch.tensor([0.0, 2.0, 10.0, 11.0, 14.0, 15.0])
    stuck = lloyd(x, torch.tensor([0.0, 2.0, 12.5]))[0]
    assert squared_error(x, stuck) == 17
    assert squared_error(x, optimal_centroids(x, 3)) == pytest.approx(3, rel=1e-12)


@pytest.mark.parametrize("k", [2, 5, 16, 33])
@pytest.mark.parametrize("seed", range(3))
def test_scikit_learn_is_never_better(k, seed):
    x = torch.randn(3000, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    theirs = KMeans(k, n_init=4, random_state=seed).fit(x[:, None].numpy())
    best = squared_error(x, optimal_centroids(x, k))
    assert best <= theirs.inertia_ * (1 + 1e-12)
    assert best > 0.8 * theirs.inertia_
    for init in INITS:
        assert best <= squared_error(x, kmeans(x, k, init, seed)) * (1 + 1e-12)


@given(tensors(elements=SMALL), st.integers(1, 6), st.sampled_from(INITS))
def test_lloyd_ends_where_every_centroid_is_the_mean_of_its_own(x, k, init):
    start = initial_centroids(x, k, init)
    centroids, _ = lloyd(x, start)
    assert len(centroids) == len(start) <= min(k, len(x.unique()))
    assert squared_error(x, centroids) <= squared_error(x, start) * (1 + 1e-12) + 1e-12
    index = assign(x, centroids)
    for j, centroid in enumerate(centroids):
        own = x[index == j].double()
        assert not len(own) or abs(own.mean() - centroid) < 1e-9


@given(tensors(elements=SMALL), st.lists(SMALL, min_size=1, max_size=6, unique=True))
def test_assigned_is_nearest_and_the_lower_of_two(x, centroids):
    centroids = torch.tensor(sorted(set(centroids)), dtype=torch.float64)
    index = assign(x, centroids)
    assert index.shape == x.shape
    for value, j in zip(x.flatten().tolist(), index.flatten().tolist(), strict=True):
        distances = [abs(Fraction(value) - Fraction(c)) for c in centroids.tolist()]
        # The border is rounded to float64, so two that are equally near up to rounding may swap.
        assert distances[j] <= min(distances) * (1 + Fraction(1, 10**12)) + Fraction(1, 10**12)
    assert assign(torch.tensor([0.5]), torch.tensor([0.0, 1.0])).item() == 0


def test_inits_by_hand():
    x = torch.tensor([0.0, 0.0, 0.0, 1.0, 2.0, 10.0])
    assert initial_centroids(x, 3, "linear").tolist() == [0, 5, 10]
    assert initial_centroids(x, 3, "density").tolist() == [0, 2]  # quantiles 1/6, 1/2 and 5/6: two of them are 0
    assert set(initial_centroids(x, 3, "random", seed=1).tolist()) <= {0, 1, 2, 10}
    assert initial_centroids(x, 9, "random").tolist() == [0, 1, 2, 10]
    assert initial_centroids(x, 1, "linear").tolist() == [3.25]
    assert torch.equal(initial_centroids(x, 2, "random", 5), initial_centroids(x, 2, "random", 5))


@given(st.data())
def test_memory_layout_does_not_matter(data):
    x = data.draw(tensors(elements=SMALL, odd_layouts=False))
    odd = data.draw(layouts(x))
    assert torch.equal(optimal_centroids(odd, 3), optimal_centroids(odd.contiguous(), 3))
    assert torch.equal(kmeans(odd, 3), kmeans(odd.contiguous(), 3))


@pytest.mark.parametrize("scale", [1e-30, 1e-3, 1e30])
@pytest.mark.parametrize("shift", [0, 1000])
def test_far_from_zero_or_tiny(scale, shift):
    x = (torch.tensor([0.0, 1, 2, 10, 11, 12, 20, 21, 22], dtype=torch.float64) + shift) * scale
    expected = (torch.tensor([1.0, 11, 21], dtype=torch.float64) + shift) * scale
    torch.testing.assert_close(optimal_centroids(x, 3), expected, rtol=1e-12, atol=0)


def test_enough_clusters_leave_no_error():
    x = torch.tensor([3.0, 1.0, 2.0, 1.0])
    assert optimal_centroids(x, 4).tolist() == [1, 2, 3]
    assert optimal_centroids(torch.full((5,), -2.0), 3).tolist() == [-2]
    assert optimal_centroids(torch.tensor(7.0), 1).tolist() == [7]


def test_more_clusters_never_cost():
    x = torch.from_numpy(np.random.default_rng(0).laplace(size=2000))
    errors = [squared_error(x, optimal_centroids(x, k)) for k in range(1, 40)]
    assert all(b < a for a, b in itertools.pairwise(errors))


@pytest.mark.parametrize("function", [optimal_centroids, kmeans, lambda x, k: initial_centroids(x, k, "density")])
def test_bad_input_is_named(function):
    for value, error, message in (BAD_FLOATS | BAD_VALUES).values():
        with pytest.raises(error, match=message):
            function(value, 3)
    with pytest.raises(ValueError, match="k must be at least 1, got 0"):
        function(torch.ones(3), 0)


def test_unknown_init_is_named():
    with pytest.raises(ValueError, match=r"init must be one of linear, density, random; got 'best'"):
        kmeans(torch.ones(3), 2, "best")
