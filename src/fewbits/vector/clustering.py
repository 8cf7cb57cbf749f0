"""Clustering numbers on a line: Lloyd's k-means from three starting points, and the exact optimum.

In one dimension the clusters of k-means are intervals of the sorted numbers. That has two consequences. A step of
Lloyd's algorithm needs one binary search per border and sums that are looked up. And the best clustering of all, which
is out of reach in two dimensions, can be computed by dynamic programming: everything else here is compared with it.

All functions compute in float64, on the CPU, and take weights of any shape.
"""

import numpy as np
import torch
from torch import Tensor

from fewbits.core.checks import check_finite
from fewbits.core.compiled import njit

INITS = ("linear", "density", "random")


def initial_centroids(x: Tensor, k: int, init: str, seed: int = 0) -> Tensor:
    """Where k-means starts.

    * ``linear``: k evenly spaced numbers from the smallest to the largest element;
    * ``density``: the quantiles (i + ½) / k, so that each centroid starts with as many elements as every other;
    * ``random``: k different elements, drawn without replacement.

    Args:
        x: any shape, floating point, finite.
        k: 1 or more; at most as many centroids are returned as ``x`` has different values.
        init: one of `INITS`.
        seed: of ``random``.
    Returns:
        (at most k,) float64, ascending, no two equal.
    Raises:
        TypeError, ValueError: as :func:`fewbits.core.checks.check_finite`; ``k`` < 1; unknown ``init``.
    Source: han2015 Sec. 3.2
    """
    values = _distinct(x, k)[0]
    k = min(k, len(values))
    if init == "linear":
        start = np.linspace(values[0], values[-1], k) if k > 1 else values.mean(keepdims=True)
    elif init == "density":
        # "inverted_cdf" takes elements, not numbers between them.
        start = np.quantile(x.detach().double().numpy(), (np.arange(k) + 0.5) / k, method="inverted_cdf")
    elif init == "random":
        start = np.random.default_rng(seed).choice(values, k, replace=False)
    else:
        raise ValueError(f"init must be one of {', '.join(INITS)}; got {init!r}")
    return torch.from_numpy(np.unique(start))


def assign(x: Tensor, centroids: Tensor) -> Tensor:
    """Index of the nearest centroid of each element; halfway it is the lower one.

    Args:
        x: any shape, floating point.
        centroids: (k,) ascending, k >= 1.
    Returns:
        int64, shape of ``x``.
    Source: han2015 Eq. 2
    """
    centroids = centroids.detach().double()
    borders = (centroids[:-1] + centroids[1:]) / 2
    return torch.searchsorted(borders, x.detach().double().contiguous())  # han2015 Eq. 2


def squared_error(x: Tensor, centroids: Tensor) -> float:
    """Sum of squared distances of the elements to their nearest centroids.

    Source: han2015 Eq. 2; book eq-vector-kmeans
    """
    # han2015 Eq. 2
    return float((x.detach().double() - centroids.detach().double()[assign(x, centroids)]).square().sum())


def lloyd(x: Tensor, centroids: Tensor, max_steps: int = 10_000) -> tuple[Tensor, int]:
    """K-means from given centroids: assign every element, move every centroid to the mean of its own, until none moves.

    A centroid that has no elements stays where it is, so that their number does not change.

    Args:
        x: any shape, floating point, finite.
        centroids: (k,) ascending, different.
        max_steps: the algorithm always ends, but sometimes late.
    Returns:
        centroids: (k,) float64, ascending; steps: how many moved one.
    Source: own (Lloyd's algorithm for the sum of han2015 Eq. 2)
    """
    values, counts = _distinct(x, 1)
    n, total = (np.concatenate([[0.0], np.cumsum(part)]) for part in (counts, counts * values))
    here = centroids.double().numpy()
    for step in range(max_steps):
        moved = lloyd_step(values, n, total, here)
        if np.array_equal(moved, here):
            return torch.from_numpy(here), step
        here = moved
    return torch.from_numpy(here), max_steps


def lloyd_step(
    values: np.ndarray,
    running_counts: np.ndarray,
    running_sums: np.ndarray,
    centroids: np.ndarray,
) -> np.ndarray:
    """Where one step of :func:`lloyd` moves the centroids.

    Args:
        values: (n,) different numbers, ascending.
        running_counts, running_sums: (n + 1,) how many elements the first 0 … n values stand for, and their sum.
        centroids: (k,) ascending.
    Returns:
        (k,) float64.
    Source: han2015 Eq. 2; book eq-vector-kmeans
    """
    borders = (centroids[:-1] + centroids[1:]) / 2
    cuts = np.searchsorted(values, borders, side="right")  # a border goes to the lower one
    edges = np.concatenate([[0], cuts, [len(values)]])
    members, total = np.diff(running_counts[edges]), np.diff(running_sums[edges])
    # han2015 Eq. 2: to the mean of its elements; a centroid without elements stays.
    return np.where(members > 0, total / np.maximum(members, 1), centroids)


def kmeans(x: Tensor, k: int, init: str = "linear", seed: int = 0) -> Tensor:
    """The centroids that :func:`lloyd` finds from :func:`initial_centroids`, or the best ones if ``init`` is "optimal".

    Returns:
        (at most k,) float64, ascending.
    Raises:
        TypeError, ValueError: as :func:`initial_centroids`.
    Source: han2015 Sec. 3.1
    """
    if init == "optimal":
        return optimal_centroids(x, k)
    return lloyd(x, initial_centroids(x, k, init, seed))[0]


def optimal_centroids(x: Tensor, k: int) -> Tensor:
    """The k centroids with the smallest :func:`squared_error`, exactly, in O(k n log n) time and O(k n) memory.

    Let E(m, j) be the smallest error of the first j sorted elements in m clusters. The last cluster starts at some i:
    ``E(m, j) = min over i of E(m - 1, i) + error of elements i … j - 1``. The best i never decreases as j grows. So the
    answer for the middle j halves the candidates for all others: divide and conquer. Errors of intervals come from
    cumulative sums. Equal elements are counted, not repeated: they always share a cluster.

    Args:
        x: any shape, floating point, finite.
        k: 1 or more.
    Returns:
        (min(k, number of different elements),) float64, ascending.
    Raises:
        TypeError, ValueError: as :func:`fewbits.core.checks.check_finite`; ``k`` < 1.
    Source: own (dynamic programming on a line); book eq-vector-optimal
    """
    values, counts = _distinct(x, k)
    k = min(k, len(values))
    # The error of an interval is a difference of large sums; it keeps most digits if the mean is 0 and the largest 1.
    middle = np.average(values, weights=counts)
    scaled = values - middle
    unit = max(np.abs(scaled).max(), np.finfo(np.float64).tiny)
    scaled = scaled / unit
    sums = np.zeros((3, len(values) + 1))
    for row, part in enumerate((counts, counts * scaled, counts * scaled**2)):
        np.cumsum(part, out=sums[row, 1:])
    edges = _optimal_edges(sums, k)
    means = np.add.reduceat(counts * scaled, edges) / np.add.reduceat(counts, edges)
    return torch.from_numpy(np.sort(means * unit + middle))


def _distinct(x: Tensor, k: int) -> tuple[np.ndarray, np.ndarray]:
    """The different values of ``x``, ascending, and how often each occurs, both float64."""
    check_finite(x)
    if k < 1:
        raise ValueError(f"k must be at least 1, got {k}")
    # Adding 0 turns -0.0 into 0.0.
    values, counts = np.unique(x.detach().cpu().double().numpy() + 0.0, return_counts=True)
    return values, counts.astype(np.float64)


@njit(cache=True)
def interval_error(sums, i, j):
    """Sum of squared distances of elements i … j - 1 to their mean, at least 0.

    Args:
        sums: (3, n + 1) running counts, sums and sums of squares of the sorted elements.
    Source: own (textbook); book eq-vector-optimal
    """
    weight = sums[0, j] - sums[0, i]
    total = sums[1, j] - sums[1, i]
    return max(sums[2, j] - sums[2, i] - total * total / weight, 0.0)


@njit(cache=True)
def _optimal_edges(sums, k):
    """First element of each cluster of the best clustering, from cumulative counts, sums and sums of squares."""
    n = sums.shape[1] - 1
    before = np.empty(n + 1)
    before[0] = 0.0
    for j in range(1, n + 1):
        before[j] = interval_error(sums, 0, j)
    starts = np.zeros((k, n + 1), np.int32)
    stack = np.empty((128, 4), np.int64)
    for m in range(1, k):
        now = np.full(n + 1, np.inf)
        # An entry of the stack: fill in j = low … high, knowing that the best start lies between first and last.
        stack[0] = m + 1, n, m, n - 1
        depth = 1
        while depth:
            depth -= 1
            low, high, first, last = stack[depth]
            j = (low + high) // 2
            best, start = np.inf, first
            for i in range(first, min(last, j - 1) + 1):
                error = before[i] + interval_error(sums, i, j)  # book eq-vector-optimal
                if error < best:
                    best, start = error, i
            now[j] = best
            starts[m, j] = start
            if low < j:
                stack[depth] = low, j - 1, first, start
                depth += 1
            if j < high:
                stack[depth] = j + 1, high, start, last
                depth += 1
        before = now
    edges = np.zeros(k, np.int64)
    j = n
    for m in range(k - 1, 0, -1):
        j = starts[m, j]
        edges[m] = j
    return edges
