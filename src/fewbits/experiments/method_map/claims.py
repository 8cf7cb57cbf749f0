"""The claims of the map, computed from its tables."""

from typing import Any

import pandas as pd

from fewbits.evidence import Claim, origins, own_claim, paper_claim, part
from fewbits.experiments.comparison import TASKS, by_seed
from fewbits.experiments.method_map.methods import TASK

_AFTER_TRAINING = "uniform, 8 bits, after training"
_SEVERAL = (
    _AFTER_TRAINING,
    "uniform, 4 bits",
    "log2, 4 bits",
    "INQ, 5 bits",
    "learned bits",
    "bits after training",
    "shared, 16 values",
)
_RUNS = "training runs from different seeds"


def make_claims(frame: pd.DataFrame) -> list[Claim]:
    """The claims of the page; ``frame`` is a `summary` of the runs."""
    values = frame.pivot(index="seed", columns="method", values="accuracy")
    lost = values.rsub(values["float"], axis="index").round(4)
    costs = frame.groupby("method")["luts"].mean()
    of_run = dict(zip(zip(frame["method"], frame["seed"], strict=True), origins(frame), strict=True))

    def points(methods: list[str]) -> dict:
        """Points that the worst of ``methods`` loses, seed by seed, with the provenance of its run."""
        worst = lost[methods].idxmax(axis="columns")
        found = [of_run[method, seed] for seed, method in worst.items()]
        made = part(lost[methods].max(axis="columns").tolist(), unit="pt", runs=worst.index.tolist(), high=1.0)
        return made | ({"origins": found} if any(found) else {})

    claims = [
        paper_claim(
            "method_map/eight-bits-after-training",
            "Rounding a trained network to 8 bits loses at most 1 point",
            ("wu2020", "abstract: within 1 % of the floating point network", 1.0, "%"),
            points([_AFTER_TRAINING]),
            scale=TASK.scale,
            independent=_RUNS,
            departs=[
                "a perceptron for 5,000 digits instead of networks for images, speech and language",
                "all layers are quantized",
            ],
        ),
        own_claim(
            "method_map/three-bits-and-more",
            "The worst of seven methods with about three to eight bits a weight loses at most 1 point",
            points(list(_SEVERAL)),
            scale=TASK.scale,
            independent=_RUNS,
        ),
    ]
    tables = "A product by a {} takes {} look-up tables {} one of 8 by 8 bits"
    for slug, method, words, low, high in (
        ("ternary", "TWN", ("ternary weight", "at most a third of the", "of"), None, 1 / 3),
        ("inq", "INQ, 5 bits", ("power of two", "at most half of the", "of"), None, 0.5),
        ("shared", "shared, 16 values", ("shared weight", "at least as many", "as"), 1.0, None),
    ):
        ratio = round(float(costs[method] / costs[_AFTER_TRAINING]), 2)
        counted = part([ratio], type="size", unit="×", runs=["Yosys"], low=low, high=high)
        claims.append(own_claim(f"method_map/{slug}-against-8-bits", tables.format(*words), counted, scale=TASK.scale))
    return claims


BANDS = "86c5f5b228f497ebcec7f04cea5a5b954e35b220"  # the commit that set those on images, before the first run
# On images, what a practitioner would ask: claim, statement, method, what it is compared with, band of the points lost.
ON_IMAGES = (
    (
        "round-to-8-bits",
        "On CIFAR-10, a network that is only rounded, to 8 bits in weights and activations, loses at most half a point",
        ("uniform, 8 bits, after training", "float"),
        {"high": 0.5},
    ),
    (
        "compensate-at-4-bits",
        "On CIFAR-10, weights of 4 bits with compensation (GPTQ), not trained again, lose at most 1 point",
        ("GPTQ, 4 bits", "float"),
        {"high": 1.0},
    ),
    (
        "train-at-3-bits",
        "On CIFAR-10, trained weights and activations of 3 bits (LSQ) lose at most 1 point",
        ("LSQ, 3 bits, activations too", "float"),
        {"high": 1.0},
    ),
    (
        "ternary-for-circuits",
        "On CIFAR-10, ternary weights (TWN) and activations of 8 bits lose at most 1 point",
        ("TWN", "float"),
        {"high": 1.0},
    ),
    (
        "powers-of-two-for-shifts",
        "On CIFAR-10, weights that are powers of two (INQ, 5 bits) and activations of 8 bits lose at most half a point",
        ("INQ, 5 bits", "float"),
        {"high": 0.5},
    ),
    (
        "signs-as-activations",
        "On CIFAR-10, signs as activations (XNOR-Net) lose at least 5 points more than signs as weights alone (BWN)",
        ("XNOR-Net", "BWN"),
        {"low": 5.0},
    ),
)


def image_claims(runs: pd.DataFrame) -> list[Claim]:
    """The claims of the map on images that the rows of ``method_map_images`` can answer."""
    values, claims = runs.pivot(index="seed", columns="method", values="accuracy"), []
    for slug, statement, (method, reference), band in ON_IMAGES:
        if {method, reference} <= set(values):
            points = values[reference] - values[method]
            found = by_seed(points, runs[runs.method.isin([method, reference])], unit="pt", **band)
            if found is not None:
                more: dict[str, Any] = {"scale": TASKS["cifar10"].scale, "independent": _RUNS, "band_commit": BANDS}
                claims.append(own_claim(f"method_map/{slug}", statement, found, **more))
    return claims
