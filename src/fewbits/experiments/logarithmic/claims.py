"""The claims of the chapter on logarithmic data, computed from the tables of its experiment."""

from collections.abc import Iterable
from itertools import product
from typing import Any

import pandas as pd

_IMAGENET = ("AlexNet and VGG-16 on ImageNet", "almost nothing")
_GENERAL = ("weights and activations, as retold", "in general")
_MOST = ("weights and activations, as retold", "in most cases")
_RETOLD = ("CIFAR-10, as retold", "linear gradients do not train well")


Row = tuple[str, str, tuple[str, str] | None, Iterable[float], str, dict[str, Any]]  # the last is what to expect


def _claim(row: Row, run_scale: str) -> dict[str, Any]:
    name, statement, paper, results, unit, expect = row
    values = [round(float(value), 4) for value in results]
    claim: dict[str, Any] = {"id": f"logarithmic/{name}", "statement": statement}
    if paper is not None:
        claim["paper"] = {"key": "miyashita2016", "where": paper[0], "value": paper[1]}
    ours = {"unit": unit, "values": values, "seeds": list(range(len(values))), "scale": run_scale}
    return claim | {"ours": ours, "expect": expect}


def rounding_claims(bits: pd.DataFrame, scale: str) -> list[dict]:
    """Claims on networks that are rounded after training; ranges of least squared error unless all cases count.

    Args:
        bits: rows of ``data/results/logarithmic_bits.csv``.
        scale: of the run, as in `fewbits.evidence`.
    """
    by = bits.set_index(["placement", "rule", "method", "bits", "seed"]).accuracy
    seeds = sorted(bits.seed.unique())
    real = bits[bits.method == "float"].set_index("seed").accuracy
    one, both, rules = "activations", "weights and activations", ("max", "least error")

    def drops(placement, method):
        return [real[s] - by[placement, "least error", method, 4, s] for s in seeds]

    def gains(method, other, seed, cases):
        return [by[(*case, seed)] - by[(*rest, seed)] for case, rest in zip(cases(method), cases(other), strict=True)]

    def every_case(method):
        return list(product((one, both), rules, (method,), (5, 4, 3)))

    def weights_at_4_or_5(method):
        return list(product((both,), rules, (method,), (5, 4)))

    def mean_gain(method, other):
        every = [gains(method, other, s, weights_at_4_or_5) for s in seeds]
        return [sum(values) / len(values) for values in every]

    def share_won(method, other):
        every = [gains(method, other, s, every_case) for s in seeds]
        return [100 * sum((gain > 0) + 0.5 * (gain == 0) for gain in values) / len(values) for values in every]

    cost = "4-bit {} of base {} cost a trained network at most 1 point"
    won = "Base √2 beats linear codes in more than half of the cases (3 to 5 bits; a tie counts half)"
    power = "The same against linear codes whose full scale is a power of two"
    general = "With weights and activations of 4 or 5 bits, linear codes give more accuracy than base 2"
    rows: list[Row] = [
        ("activations-4-bit", cost.format(one, "2"), _IMAGENET, drops(one, "log2"), "pt", {"max": 1.0}),
        ("both-4-bit-base-2", cost.format(both, "2"), _IMAGENET, drops(both, "log2"), "pt", {"max": 1.0}),
        ("both-4-bit-base-sqrt2", cost.format(both, "√2"), _IMAGENET, drops(both, "log-sqrt2"), "pt", {"max": 1.0}),
        ("linear-beats-base-2", general, _GENERAL, mean_gain("linear", "log2"), "pt", {"min": 0.0}),
        ("base-sqrt2-beats-linear", won, _MOST, share_won("log-sqrt2", "linear"), "%", {"min": 50.0}),
        ("base-sqrt2-beats-linear-2k", power, _MOST, share_won("log-sqrt2", "linear 2^k"), "%", {"min": 50.0}),
    ]
    return [_claim(row, scale) for row in rows]


def training_claims(training: pd.DataFrame) -> list[dict]:
    """Claims on training with quantized weights, activations and gradients, on mnist5k.

    Args:
        training: rows of ``data/results/logarithmic_training.csv``.
    """
    keys = ["method", "bits", "gradient_bits", "headroom", "seed"]
    by = training.fillna({"bits": 32, "gradient_bits": 32, "headroom": -1}).set_index(keys).accuracy
    seeds = sorted(training.seed.unique())

    def accuracy(method, bits=32, gradient_bits=32, headroom=-1):
        """One accuracy a seed; 32 bits are floating point, a headroom of -1 is a range that follows each step."""
        return [by[method, bits, gradient_bits, headroom, s] for s in seeds]

    def gap(higher, lower):
        return [a - b for a, b in zip(higher, lower, strict=True)]

    real, log5, linear5 = accuracy("float"), accuracy("log2", 5, 5), accuracy("linear", 5, 5)
    gradients = {(m, b): accuracy(m, gradient_bits=b) for m in ("log2", "linear") for b in (5, 4, 3)}
    fixed = {m: accuracy(m, gradient_bits=5, headroom=6) for m in ("log2", "linear")}
    ours = {"scale": "notebook"}
    rows: list[Row] = [
        (
            "training-5-bit",
            "Training with weights, activations and gradients of 5 bits, base 2, costs at most 2 points",
            *(("CIFAR-10", "trains"), gap(real, log5), "pt", {"max": 2.0}),
        ),
        (
            "training-log-beats-linear",
            "Trained with 5 bits everywhere, base 2 ends higher than linear",
            *(("abstract", "higher final test accuracy"), gap(log5, linear5), "pt", {"min": 0.0}),
        ),
        (
            "training-linear-fails",
            "Trained with 5 linear bits everywhere, the network stays below 50 % accuracy",
            *(_RETOLD, linear5, "%", {"max": 50.0}),
        ),
        (
            "gradients-4-bit",
            "Gradients of 4 bits: base 2 ends higher than linear",
            *(_RETOLD, gap(gradients["log2", 4], gradients["linear", 4]), "pt", {"min": 0.0}),
        ),
        (
            "gradients-3-bit",
            "Gradients of 3 bits of base 2 cost more than 10 points",
            *(None, gap(real, gradients["log2", 3]), "pt", {"min": 10.0} | ours),
        ),
        (
            "gradients-fixed-log",
            "5-bit gradients of base 2, range fixed before training with 6 octaves to spare, cost at most 2 points",
            *(None, gap(real, fixed["log2"]), "pt", {"max": 2.0} | ours),
        ),
        (
            "gradients-fixed-linear",
            "The same range with linear gradients costs more than 10 points",
            *(None, gap(real, fixed["linear"]), "pt", {"min": 10.0} | ours),
        ),
    ]
    return [_claim(row, "notebook") for row in rows]


def accumulation_claims(accumulation: pd.DataFrame) -> list[dict]:
    """Claims on the accumulator in the log domain. They concern arithmetic alone, so random data are enough.

    Args:
        accumulation: rows of ``data/results/logarithmic_accumulation.csv``.
    """
    by = accumulation.set_index(["terms", "fraction_bits", "reading"]).sort_index()["root mean square"]
    paper = ("log-domain accumulation", "log2(1 + x) ≈ x")
    off = "Sums of 256 products accumulated in the log domain with 16 fraction bits are off by less than 10 %"
    swamped = "With 8 fraction bits, sums of 1024 products are off by more than 10 %"
    reading = "Sums of 1024 products (16 fraction bits) are off by less than half as much if read as 1 + fraction"
    ratio = by[1024, 16, "1 + fraction"].to_numpy() / by[1024, 16, "2^s"].to_numpy()
    exact = {"scale": "notebook"}
    rows: list[Row] = [
        ("accumulation-error", off, paper, by[256, 16, "2^s"], "%", {"max": 10.0}),
        ("accumulation-swamped", swamped, None, by[1024, 8, "2^s"], "%", {"min": 10.0}),
        ("accumulation-reading", reading, None, ratio, "×", {"max": 0.5}),
    ]
    return [_claim((*row[:5], row[5] | exact), "notebook") for row in rows]
