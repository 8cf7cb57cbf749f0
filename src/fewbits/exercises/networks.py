"""Exercises on whole networks: cycles of a circuit, folded grids, photographs gained and lost, price of a method."""

import math
import statistics

import torch
from torch import Tensor
from torch.nn import functional

from fewbits.core.extras import extra
from fewbits.exercises.judge import Exercise
from fewbits.exercises.weights import simplest_first

with extra("book"):
    from hypothesis import strategies as st

NORMAL = 1.96  # 95 % of a normal distribution lie within so many deviations


def last_result(pixels: int, channels: int, outputs: int, lanes: int, columns: int, wait: int) -> int:
    """The cycle of the last result, from a list of all products: which of them share a step, and when it begins."""
    products = [(p, c, m) for p in range(pixels) for c in range(channels) for m in range(outputs)]
    steps = {(p, c // lanes, m // columns) for p, c, m in products}
    return max(begin + wait for begin, _ in enumerate(sorted(steps), 1))


def steps_of_answers(weight: Tensor, gamma: Tensor, variance: Tensor, eps: float, bits: int) -> Tensor:
    """The largest answer of layer and normalization to a single 1, filter by filter, over the largest code."""
    ones = torch.eye(weight.shape[1], dtype=torch.float64)
    mean = torch.zeros_like(gamma)
    y = functional.batch_norm(functional.linear(ones, weight), mean, variance, gamma, training=False, eps=eps)
    return y.abs().amax(0) / (2 ** (bits - 1) - 1)


def interval_of_images(gained: int, lost: int, count: int) -> tuple[float, float]:
    """From a list with +1, -1 or 0 for each image, and one image more that is gained and one that is lost."""
    changes = [1] * (gained + 1) + [-1] * (lost + 1) + [0] * (count - gained - lost)
    half = NORMAL * statistics.pstdev(changes) / math.sqrt(len(changes))
    return 100 * (statistics.fmean(changes) - half), 100 * (statistics.fmean(changes) + half)


def worth_by_price(costs: list[int], losses: list[float], band: float) -> list[bool]:
    """From the cheapest to the most expensive, with the smallest loss of all that are cheaper."""
    best, found = math.inf, [False] * len(costs)
    for price in sorted(set(costs)):
        here = [i for i, cost in enumerate(costs) if cost == price]
        for i in here:
            found[i] = losses[i] + band < best
        best = min(best, *(losses[i] for i in here))
    return found


def counts(most: int) -> st.SearchStrategy:
    return st.integers(1, most)


def matrices() -> st.SearchStrategy:
    """Weights of two filters of two inputs, none of them 0, in float64."""
    values = st.lists(st.sampled_from([1.0, -1.0, 2.0, -2.0, 0.5]), min_size=4, max_size=4)
    return values.map(lambda drawn: torch.tensor(drawn, dtype=torch.float64).reshape(2, 2))


def pairs(values: list[float]) -> st.SearchStrategy:
    """Tensors of two of ``values``, one for each filter, in float64."""
    drawn = st.lists(st.sampled_from(values), min_size=2, max_size=2)
    return drawn.map(lambda two: torch.tensor(two, dtype=torch.float64))


NETWORKS = [
    Exercise(
        "fpga_network",
        "all cycles of the layer: its steps, and the wait for the last of them",
        "the cycle of the last result",
        "found from a list of all products",
        {
            "pixels": counts(3),
            "channels": counts(5),
            "outputs": counts(5),
            "lanes": counts(3),
            "columns": counts(3),
            "wait": st.integers(0, 2),
        },
        last_result,
    ),
    Exercise(
        "your_network",
        "the step of each filter after folding",
        "the step of each folded filter",
        "read from the answers of layer and normalization to a single 1",
        {
            "weight": matrices(),
            "gamma": pairs([1.0, 2.0, -1.0, 0.5]),
            "variance": pairs([1.0, 4.0, 0.25, 0.0]),
            "eps": st.sampled_from([0.25, 1.0]),
            "bits": st.integers(2, 4),
        },
        steps_of_answers,
    ),
    Exercise(
        "real_network",
        "the variance of a number that is +1, -1 or 0",
        "both ends of the interval",
        "found from a list with +1, -1 or 0 for each image",
        # at least as many images as are gained and lost
        {"gained": st.integers(0, 4), "lost": st.integers(0, 4), "count": st.integers(8, 20)},
        interval_of_images,
    ),
    Exercise(
        "method_map",
        "whether the method is worth its price",
        "whether each method is worth its price",
        "found from the cheapest to the most expensive",
        {
            "costs": st.lists(counts(4), min_size=3, max_size=3),
            "losses": st.lists(st.sampled_from(simplest_first([k / 2 for k in range(7)])), min_size=3, max_size=3),
            # between the differences of losses: no tie is left to rounding
            "band": st.sampled_from([0.75, 0.25, 1.25]),
        },
        worth_by_price,
    ),
]
