"""The claims of the chapter on logarithmic data, computed from the tables of its experiment."""

from collections.abc import Iterable, Sequence
from functools import partial

import pandas as pd

from fewbits.evidence import Claim, Part, departure, origins, own_claim, paper_claim, part
from fewbits.experiments.common import lead

_ROUNDED = (
    "a small CNN for digits instead of AlexNet and VGG-16 for ImageNet",
    "test accuracy of the best answer instead of the best five",
    "ranges follow one rule for all layers instead of a choice for each layer by accuracy",
)
_ONE_WIDTH = "convolutions and fully connected layers have the same bits; the paper's have 5 and 4"
_BATCH_NORM = departure("batch normalization, which AlexNet and VGG-16 lack, stays in floating point", False)
_TRAINED = (
    "a small CNN for 5,000 digits, six epochs, instead of a VGG-like network for CIFAR-10",
    "ranges follow the largest number of every step instead of being set once for each layer",
    "batch normalization computes in floating point in both directions",
    "the learning rate was chosen on the test images",
)
_FLOATS = "float networks, trained from different seeds"
_RUNS = "training runs from different seeds"


def _mean(values: Iterable[float], unit: str, low: float | None = None, high: float | None = None, name=None) -> Part:
    return part([round(float(value), 4) for value in values], unit=unit, low=low, high=high, name=name)


def rounding_claims(bits: pd.DataFrame, scale: str) -> list[Claim]:
    """Claims on networks that are rounded after training.

    What a code costs is measured with ranges of least squared error; where two codes are compared, the difference is
    the mean over both rules for the range.

    Args:
        bits: rows of ``data/results/logarithmic_bits.csv``.
        scale: of the run, as in `fewbits.evidence`.
    """
    by = bits.set_index(["placement", "rule", "method", "bits", "seed"]).accuracy
    seeds = sorted(bits.seed.unique())
    real = bits[bits.method == "float"].set_index("seed").accuracy
    one, both, rules = "activations", "weights and activations", ("max", "least error")

    def cost(placement: str, method: str, width: int) -> list[float]:
        return [real[s] - by[placement, "least error", method, width, s] for s in seeds]

    def gain(placement: str, method: str, other: str, widths: Sequence[int]) -> list[float]:
        """Points by which ``method`` is ahead of ``other``, one mean over rules and widths for each seed."""
        cases = [(placement, rule, width) for rule in rules for width in widths]
        return [
            sum(by[place, rule, method, width, s] - by[place, rule, other, width, s] for place, rule, width in cases)
            / len(cases)
            for s in seeds
        ]

    few = "{}-bit activations of base 2 cost a trained network at most 1 point"
    negligible = ("miyashita2016", "abstract: AlexNet and VGG-16, ImageNet", "negligible loss at 3 bits")
    table = "weights of 5 bits (convolutions) and 4 bits (fully connected), top-5, as commonly reported"
    return [
        paper_claim(
            "logarithmic/activations-3-bit",
            few.format(3),
            negligible,
            _mean(cost(one, "log2", 3), "pt", high=1.0),
            scale=scale,
            independent=_FLOATS,
            departs=[*_ROUNDED, _BATCH_NORM],
        ),
        paper_claim(
            "logarithmic/activations-4-bit",
            few.format(4),
            negligible,
            _mean(cost(one, "log2", 4), "pt", high=1.0),
            scale=scale,
            independent=_FLOATS,
            departs=[*_ROUNDED, _BATCH_NORM],
        ),
        paper_claim(
            "logarithmic/base-2-beats-fixed-point",
            "With activations of 3 and of 4 bits, base 2 gives more accuracy than fixed point",
            ("miyashita2016", "abstract", "higher classification accuracies at the same resolution"),
            *(_mean(gain(one, "log2", "linear 2^k", [width]), "pt", 0.0, name=f"{width} bits") for width in (3, 4)),
            scale=scale,
            independent=_FLOATS,
            departs=[*_ROUNDED, _BATCH_NORM],
            headline=True,
        ),
        paper_claim(
            "logarithmic/both-4-bit-base-2",
            "4-bit weights and activations of base 2 cost a trained network more than 1 point",
            ("miyashita2016", f"AlexNet 70.6 % against 78.3 % in float; {table}", 7.7, "pt"),
            _mean(cost(both, "log2", 4), "pt", low=1.0),
            scale=scale,
            independent=_FLOATS,
            departs=[*_ROUNDED, _ONE_WIDTH, _BATCH_NORM],
        ),
        paper_claim(
            "logarithmic/both-4-bit-base-sqrt2",
            "4-bit weights and activations of base √2 cost a trained network at most 1 point",
            ("miyashita2016", f"VGG-16 89.0 % against 89.8 % in float; {table}", 0.8, "pt"),
            _mean(cost(both, "log-sqrt2", 4), "pt", high=1.0),
            scale=scale,
            independent=_FLOATS,
            departs=[*_ROUNDED, _ONE_WIDTH, _BATCH_NORM],
            headline=True,
        ),
        paper_claim(
            "logarithmic/linear-beats-base-2",
            "With weights and activations of 4 or 5 bits, fixed point gives more accuracy than base 2",
            ("miyashita2016", f"AlexNet 73.6 % against 70.6 %; {table}", 3.0, "pt"),
            _mean(gain(both, "linear 2^k", "log2", (5, 4)), "pt", low=0.0),
            scale=scale,
            independent=_FLOATS,
            departs=[*_ROUNDED, _ONE_WIDTH, _BATCH_NORM],
        ),
        paper_claim(
            "logarithmic/base-sqrt2-beats-linear-2k",
            "With weights and activations of 4 or 5 bits, base √2 gives more accuracy than fixed point",
            ("miyashita2016", f"AlexNet 75.1 % against 73.6 %; {table}", 1.5, "pt"),
            _mean(gain(both, "log-sqrt2", "linear 2^k", (5, 4)), "pt", low=0.0),
            scale=scale,
            independent=_FLOATS,
            departs=[*_ROUNDED, _ONE_WIDTH, _BATCH_NORM],
            headline=True,
        ),
        own_claim(
            "logarithmic/base-sqrt2-beats-linear",
            "With weights and activations of 4 or 5 bits, base √2 gives more accuracy than linear codes of any range",
            _mean(gain(both, "log-sqrt2", "linear", (5, 4)), "pt", low=0.0),
            scale=scale,
            independent=_FLOATS,
        ),
    ]


_MOBILENETS = (
    "a MobileNet-V1 with 159,236 parameters for CIFAR-100 instead of AlexNet and VGG-16 for ImageNet; depthwise "
    "convolutions are harder to round",
    "ranges are chosen by the least cross entropy of 128 training images, layer by layer in one pass; how the paper "
    "searches is not known in detail",
    departure("top-5 of 100 classes, not of 1,000", False),
    departure("batch normalization is folded into the convolutions, whose biases stay in floating point", False),
)


def mobilenet_claims(table: pd.DataFrame) -> list[Claim]:
    """Claims on the MobileNets of CIFAR-100, rounded after training with a range for each layer by search.

    Args:
        table: rows of ``data/results/logarithmic_mobilenet.csv``; networks that lack a row of a claim are left out.
    """
    scores = {
        ((row.weights, row.activations, row.activation_bits), row.network): (row.top5, origin)
        for row, origin in zip(table.itertuples(), origins(table), strict=True)
    }
    gain = partial(lead, scores, unit="pt")
    real = ("float", "float", 32)

    def claim(slug: str, statement: str, paper: tuple, *parts: Part, headline: bool = False, departs=()) -> Claim:
        return paper_claim(
            f"logarithmic/mobilenet-{slug}",
            statement,
            paper,
            *parts,
            scale="reduced",
            independent=_FLOATS,
            departs=[*_MOBILENETS, *departs],
            headline=headline,
        )

    def activations(method: str, bits: int) -> tuple:
        return "float", method, bits

    def weights(method: str) -> tuple:
        return method, "float", 32

    few = "{}-bit activations of base 2 cost a MobileNet at most 1 point of top-5 accuracy"
    source = ("miyashita2016", "abstract: AlexNet and VGG-16, ImageNet", "negligible loss at 3 bits")
    codes = "With weights of 5 bits (convolutions) and 4 bits (linear layer), {} gives more top-5 accuracy than {}"
    table_of = "top-5, weights of 5 bits (convolutions) and 4 bits (fully connected), as commonly reported"
    return [
        claim("activations-3-bit", few.format(3), source, gain(real, activations("log2", 3), high=1.0), headline=True),
        claim("activations-4-bit", few.format(4), source, gain(real, activations("log2", 4), high=1.0)),
        claim(
            "base-2-beats-fixed-point",
            "With activations of 3 and of 4 bits, base 2 gives a MobileNet more top-5 accuracy than fixed point",
            ("miyashita2016", "abstract", "higher classification accuracies at the same resolution"),
            *(
                gain(activations("log2", width), activations("linear 2^k", width), low=0.0, name=f"{width} bits")
                for width in (3, 4)
            ),
            headline=True,
        ),
        claim(
            "linear-beats-base-2",
            codes.format("fixed point", "base 2"),
            ("miyashita2016", f"VGG-16 85.1 % against 83.4 %; {table_of}", 1.7, "pt"),
            gain(weights("linear 2^k"), weights("log2"), low=0.0),
            departs=["activations stay in floating point"],
        ),
        claim(
            "sqrt2-beats-fixed-point",
            codes.format("base √2", "fixed point"),
            ("miyashita2016", f"VGG-16 89.0 % against 85.1 %; {table_of}", 3.9, "pt"),
            gain(weights("log-sqrt2"), weights("linear 2^k"), low=0.0),
            headline=True,
            departs=["activations stay in floating point"],
        ),
        claim(
            "sqrt2-beats-fixed-point-4-bit-activations",
            codes.format("base √2", "fixed point") + ", activations having 4 bits of base 2",
            ("miyashita2016", f"VGG-16 89.0 % against 85.1 %; {table_of}", 3.9, "pt"),
            gain(("log-sqrt2", "log2", 4), ("linear 2^k", "log2", 4), low=0.0),
            departs=["the paper's activations in this table are not known for certain"],
        ),
    ]


_VGG = (
    "images of 16 × 16 pixels and channels from 32 to 128 instead of the paper's VGG-like network",
    "20 epochs of SGD with a one-cycle learning rate; the paper's recipe is not known in detail",
    departure("batch normalization computes in floating point in both directions", False),
)


def vgg_claims(table: pd.DataFrame) -> list[Claim]:
    """Claims on training a VGG-like network for CIFAR-10 with 5 bits everywhere.

    Args:
        table: rows of ``data/results/logarithmic_vgg.csv``; seeds that lack a row of a claim are left out.
    """
    scores = {
        (row.method, row.seed): (row.accuracy, origin)
        for row, origin in zip(table.itertuples(), origins(table), strict=True)
    }
    gap = partial(lead, scores, unit="pt")

    everywhere = "Training a VGG-like network with weights, activations and gradients of 5 bits and fixed ranges, {}"
    cifar = "CIFAR-10, {} %, as commonly reported"
    options: dict = {"scale": "reduced", "independent": _RUNS, "departs": _VGG}
    return [
        paper_claim(
            "logarithmic/vgg-log",
            everywhere.format("base 2, costs at most 1 point"),
            ("miyashita2016", cifar.format("93.8 % against 94.1"), 0.3, "pt"),
            gap("float", "log2", high=1.0),
            **options,
        ),
        paper_claim(
            "logarithmic/vgg-linear",
            everywhere.format("linear, costs more than base 2"),
            ("miyashita2016", cifar.format("92.5 % against 93.8"), 1.3, "pt"),
            gap("log2", "linear", low=0.0),
            headline=True,
            **options,
        ),
    ]


def training_claims(training: pd.DataFrame) -> list[Claim]:
    """Claims on training with quantized weights, activations and gradients, on mnist5k.

    Args:
        training: rows of ``data/results/logarithmic_training.csv``.
    """
    keys = ["method", "bits", "gradient_bits", "headroom", "seed"]
    by = training.fillna({"bits": 32, "gradient_bits": 32, "headroom": -1}).set_index(keys).accuracy
    seeds = sorted(training.seed.unique())

    def accuracy(method: str, bits: int = 32, gradient_bits: int = 32, headroom: int = -1) -> list[float]:
        """One accuracy a seed; 32 bits are floating point, a headroom of -1 is a range that follows each step."""
        return [by[method, bits, gradient_bits, headroom, s] for s in seeds]

    def gap(higher: list[float], lower: list[float]) -> list[float]:
        return [a - b for a, b in zip(higher, lower, strict=True)]

    real, log5, linear5 = accuracy("float"), accuracy("log2", 5, 5), accuracy("linear", 5, 5)
    gradients = {(m, b): accuracy(m, gradient_bits=b) for m in ("log2", "linear") for b in (4, 3)}
    fixed = {m: accuracy(m, gradient_bits=5, headroom=6) for m in ("log2", "linear")}
    everywhere = "Training with weights, activations and gradients of 5 bits, {}, costs at most 2 points"
    cifar = "CIFAR-10, {} %, as commonly reported"
    return [
        paper_claim(
            "logarithmic/training-5-bit",
            everywhere.format("base 2"),
            ("miyashita2016", cifar.format("93.8 % against 94.1"), 0.3, "pt"),
            _mean(gap(real, log5), "pt", high=2.0),
            scale="notebook",
            independent=_RUNS,
            departs=_TRAINED,
            headline=True,
        ),
        paper_claim(
            "logarithmic/training-linear-5-bit",
            everywhere.format("linear"),
            ("miyashita2016", cifar.format("92.5 % against 94.1"), 1.6, "pt"),
            _mean(gap(real, linear5), "pt", high=2.0),
            scale="notebook",
            independent=_RUNS,
            departs=_TRAINED,
        ),
        paper_claim(
            "logarithmic/training-log-beats-linear",
            "Trained with 5 bits everywhere, base 2 ends higher than linear",
            ("miyashita2016", "abstract", "higher final test accuracy"),
            _mean(gap(log5, linear5), "pt", low=0.0),
            scale="notebook",
            independent=_RUNS,
            departs=_TRAINED,
        ),
        own_claim(
            "logarithmic/gradients-4-bit",
            "Gradients of 4 bits, all else in floating point: base 2 ends higher than linear",
            _mean(gap(gradients["log2", 4], gradients["linear", 4]), "pt", low=0.0),
            scale="notebook",
            independent=_RUNS,
        ),
        own_claim(
            "logarithmic/gradients-3-bit",
            "Gradients of 3 bits of base 2 cost more than 10 points",
            _mean(gap(real, gradients["log2", 3]), "pt", low=10.0),
            scale="notebook",
            independent=_RUNS,
        ),
        own_claim(
            "logarithmic/gradients-fixed-log",
            "5-bit gradients of base 2 cost at most 2 points if their range is fixed before training, at 64 times the "
            "largest gradient of the first batches",
            _mean(gap(real, fixed["log2"]), "pt", high=2.0),
            scale="notebook",
            independent=_RUNS,
        ),
        own_claim(
            "logarithmic/gradients-fixed-linear",
            "5-bit linear gradients cost more than 10 points if their range is fixed before training, at 64 times the "
            "largest gradient of the first batches",
            _mean(gap(real, fixed["linear"]), "pt", low=10.0),
            scale="notebook",
            independent=_RUNS,
        ),
    ]


def accumulation_claims(accumulation: pd.DataFrame) -> list[Claim]:
    """Claims on the accumulator in the log domain; they concern arithmetic on random data, no network.

    Args:
        accumulation: rows of ``data/results/logarithmic_accumulation.csv``.
    """
    by = accumulation.set_index(["terms", "fraction_bits", "reading"]).sort_index()["root mean square"]
    ratio = by[1024, 16, "1 + fraction"].to_numpy() / by[1024, 16, "2^s"].to_numpy()

    def claim(slug: str, statement: str, measured: Part, paper: tuple = ()) -> Claim:
        independent = "500 sums of random products each, drawn from different seeds"
        return own_claim(
            f"logarithmic/{slug}", statement, measured, scale="notebook", independent=independent, paper=paper
        )

    return [
        claim(
            "accumulation-error",
            "Sums of 256 products accumulated in the log domain with 16 fraction bits are off by less than 10 %",
            _mean(by[256, 16, "2^s"], "%", high=10.0),
            ("miyashita2016", "accumulation in the log domain", "log2(1 + x) ≈ x"),
        ),
        claim(
            "accumulation-swamped",
            "With 8 fraction bits, sums of 1024 products are off by more than 10 %",
            _mean(by[1024, 8, "2^s"], "%", low=10.0),
        ),
        claim(
            "accumulation-reading",
            "Sums of 1024 products (16 fraction bits) are off by less than half as much if read as 1 + fraction",
            _mean(ratio, "×", high=0.5),
        ),
    ]
