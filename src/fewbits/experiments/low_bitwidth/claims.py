"""The claims of the chapter on low bit widths, computed from the tables of its experiment."""

import pandas as pd

from fewbits.evidence import Claim, Part, departure, origins, own_claim, paper_claim, part
from fewbits.experiments.common import lead

SETTING = ("method", "weight_bits", "activation_bits", "gradient_bits", "rounding", "start")

_CNN = (
    "four small convolutions for 5,000 digits instead of AlexNet for ImageNet",
    "8 epochs, learning rate and epochs chosen on the test images",
)
_LSTM = (
    "characters of one novel and 96 units instead of words of the Penn Treebank and 300 units",
    "6 epochs of a fast learning rate; more training brings the float network lower still",
    "the range of a weight matrix is fitted to its largest weight; the paper leaves it open",
    departure("clipped gradients and a one-cycle schedule", False),
)


def make_claims(cnns: pd.DataFrame, lstms: pd.DataFrame) -> list[Claim]:
    """The chapter's claims.

    Args:
        cnns, lstms: the recorded tables.
    """
    seeds = sorted(cnns.seed.unique().tolist())
    percent = cnns.fillna({"rounding": ""}).set_index([*SETTING, "seed"]).accuracy
    bits = lstms.set_index(["method", "bits", "seed"]).bits_per_character

    def better(first: tuple, second: tuple, *, low: float | None = None, high: float | None = None) -> Part:
        """Points by which the first of two CNNs is more accurate, seed by seed; a setting may leave out its start."""
        first, second = ((*setting, "scratch")[:6] for setting in (first, second))
        values = [round(float(percent[(*first, seed)] - percent[(*second, seed)]), 4) for seed in seeds]
        return part(values, unit="pt", runs=seeds, low=low, high=high)

    def dearer(method: str) -> Part:
        """Bits per character by which a 4-bit LSTM is worse than the float one, seed by seed."""
        values = [round(float(bits[method, 4, seed] - bits["float", 32, seed]), 5) for seed in seeds]
        return part(values, unit="bits/character", runs=seeds, high=0.05)

    def dorefa(gradient_bits: int, rounding: str = "noise") -> tuple:
        return "dorefa", 8, 8, gradient_bits, rounding

    def paper(slug: str, statement: str, entry: tuple, measured: Part, departs: tuple, headline: bool = False) -> Claim:
        return paper_claim(
            f"low_bitwidth/{slug}",
            statement,
            entry,
            measured,
            scale="notebook",
            independent="training runs from different seeds",
            departs=departs,
            headline=headline,
        )

    def own(slug: str, statement: str, measured: Part) -> Claim:
        independent = "training runs from different seeds"
        return own_claim(f"low_bitwidth/{slug}", statement, measured, scale="notebook", independent=independent)

    floats, w1a4 = ("float", 32, 32, 32, ""), ("dorefa", 1, 4, 32, "")
    imagenet = "AlexNet on ImageNet, top-1: {}"
    more_bits = "weights and activations of 8 bits instead of 1 and 2"
    return [
        paper(
            "dorefa-8-8-8",
            "8 bits for weights, activations and gradients cost at most 2.9 points",
            ("zhou2016dorefa", imagenet.format("53.0 % against 55.9 %"), 2.9, "pt"),
            better(floats, dorefa(8), high=2.9),
            _CNN,
            headline=True,
        ),
        own(
            "clipping-costs",
            "Clipping activations to [0, 1] costs accuracy before anything is rounded",
            better(floats, ("clipped", 32, 32, 32, ""), low=0.0),
        ),
        paper(
            "dorefa-noise",
            "With 4-bit gradients, leaving out the noise costs more than 10 points",
            ("zhou2016dorefa", "Sec. 2.5", "noise is critical"),
            better(dorefa(4), dorefa(4, "nearest"), low=10.0),
            (*_CNN, more_bits),
            headline=True,
        ),
        paper(
            "dorefa-4-bit-gradients",
            "Even with noise, 4-bit gradients cost more than 1 point against gradients of 32 bits",
            ("zhou2016dorefa", "released code, AlexNet, top-1 error: 54.0 % against 46.6 %", 7.4, "pt"),
            better(dorefa(32, ""), dorefa(4), low=1.0),
            (*_CNN, more_bits),
        ),
        own(
            "zero-instead-of-noise",
            "With 4-bit gradients, a grid that contains 0 does without noise: it costs at most 1 point",
            better(dorefa(32, ""), dorefa(4, "zero"), high=1.0),
        ),
        own(
            "zero-beats-noise-at-2",
            "With 2-bit gradients, a grid that contains 0 beats the noise",
            better(dorefa(2, "zero"), dorefa(2), low=0.0),
        ),
        paper(
            "dorefa-warm-start",
            "With 1-bit weights and 4-bit activations, starting from a float network beats a random start",
            ("zhou2016dorefa", imagenet.format("53.0 % against 50.3 %"), 2.7, "pt"),
            better((*w1a4, "float"), w1a4, low=0.0),
            _CNN,
            headline=True,
        ),
        own(
            "warm-start-same-budget",
            "With 1-bit weights and 4-bit activations, a float start beats a random start that trains as long as both "
            "phases together",
            better((*w1a4, "float"), (*w1a4, "scratch, twice as long"), low=0.0),
        ),
        paper(
            "qnn-cnn",
            "1-bit weights and 2-bit activations cost a CNN at most 5.6 points",
            (
                "hubara2016qnn",
                imagenet.format("51 % (abstract), float 56.6 % as commonly reported"),
                5.6,
                "pt",
            ),
            better(floats, ("qnn linear", 1, 2, 32, ""), high=5.6),
            (*_CNN, "the first and the last layer stay in floating point"),
            headline=True,
        ),
        own(
            "qnn-powers",
            "At 4 bits, powers of two cost at most 1 point against even steps",
            better(("qnn linear", 4, 4, 32, ""), ("qnn ap2", 4, 4, 32, ""), high=1.0),
        ),
        own(
            "qnn-gradients",
            "On top of 4-bit weights and activations, 6-bit gradients cost at most 1 point",
            better(("qnn linear", 4, 4, 32, ""), ("qnn linear", 4, 4, 6, "noise"), high=1.0),
        ),
        paper(
            "qnn-lstm-bits",
            "4-bit weights and activations cost an LSTM at most 0.05 bits per prediction",
            (
                "hubara2016qnn",
                "Penn Treebank: perplexity 100 against 97, which is log2(100/97) bits per word, as commonly reported",
                0.044,
                "bits/word",
            ),
            dearer("qnn linear"),
            _LSTM,
            headline=True,
        ),
        paper(
            "qnn-lstm-powers",
            "4-bit weights and activations that are powers of two cost an LSTM at most 0.05 bits per prediction",
            ("hubara2016qnn", "abstract", "comparable with 32 bits"),
            dearer("qnn ap2"),
            _LSTM,
            headline=True,
        ),
        own(
            "lstm-scale-per-row",
            "With one real scale per row of the weights, instead of a power of two per matrix, 4 bits cost an LSTM at "
            "most 0.05 bits per prediction",
            dearer("uniform"),
        ),
    ]


_CIFAR = (
    "VGG-small on images of 16 × 16 pixels of CIFAR-100 instead of AlexNet on ImageNet",
    "10 epochs of Adam, which were not tuned; the paper trains until the accuracy no longer rises",
    departure("the activation before the last layer is rounded like the others", False),
)
_WORDS = (
    "another text than the Penn Treebank, and a vocabulary of 5,000 words instead of 10,000",
    "Adam, for a few epochs that the float network chose on its validation part; the paper does not state its recipe",
    departure("clipped gradients and a one-cycle schedule", False),
)


def cifar_claims(table: pd.DataFrame) -> list[Claim]:
    """Claims on DoReFa-Net's gradients on CIFAR-100.

    Args:
        table: rows of ``data/results/low_bitwidth_cifar.csv``; seeds that lack a row of a claim are left out.
    """
    scores = {
        ((row.gradient_bits, row.rounding), row.seed): (row.accuracy, origin)
        for row, origin in zip(table.itertuples(), origins(table), strict=True)
        if row.weight_bits == 1
    }

    def claim(slug: str, text: str, worse: tuple, better: tuple = (32, "none"), paper: tuple = (), **band) -> Claim:
        """On the points of accuracy by which a setting is worse than another; ours where there is no ``paper``."""
        about = f"low_bitwidth/cifar-{slug}", f"With 1-bit weights and 2-bit activations, {text}"
        cost = lead(scores, better, worse, unit="pt", **band)
        options: dict = {"scale": "reduced", "independent": "training runs from different seeds"}
        if paper:
            return paper_claim(*about, ("zhou2016dorefa", *paper), cost, departs=_CIFAR, **options)
        return own_claim(*about, cost, **options)

    code = "released code, AlexNet, top-1 error: {} against 46.6 %"
    return [
        claim(
            "noise",
            "4-bit gradients without the noise cost more than 10 points against those with it",
            (4, "nearest"),
            (4, "noise"),
            paper=("Sec. 2.5", "noise is critical"),
            low=10.0,
        ),
        claim(
            "6-bit-gradients",
            "6-bit gradients with noise cost at most 1 point",
            (6, "noise"),
            paper=(code.format("46.8 %"), 0.2, "pt"),
            high=1.0,
        ),
        claim(
            "4-bit-gradients",
            "4-bit gradients cost more than 1 point even with noise",
            (4, "noise"),
            paper=(code.format("54.0 %"), 7.4, "pt"),
            low=1.0,
        ),
        claim(
            "zero",
            "4-bit gradients on a grid that contains 0, without noise, cost at most 1 point",
            (4, "zero"),
            high=1.0,
        ),
        claim(
            "zero-and-noise",
            "4-bit gradients on a grid that contains 0, rounded stochastically, cost at most 1 point",
            (4, "zero, noise"),
            high=1.0,
        ),
        claim(
            "zero-beats-no-zero",
            "4-bit stochastic rounding is better on a grid that contains 0 than on one that does not",
            (4, "noise"),
            (4, "zero, noise"),
            low=0.0,
        ),
    ]


def word_claims(table: pd.DataFrame) -> list[Claim]:
    """Claims on the LSTM that reads words.

    Args:
        table: rows of ``data/results/low_bitwidth_words.csv`` of one text.
    """
    scores = {
        (row.method, row.seed): (-row.bits_per_word, origin)
        for row, origin in zip(table.itertuples(), origins(table), strict=True)
    }

    def claim(slug: str, statement: str, method: str, paper: tuple) -> Claim:
        return paper_claim(
            f"low_bitwidth/words-{slug}",
            statement,
            paper,
            lead(scores, "float", method, unit="bits/word", high=0.1),
            scale="reduced",
            independent="training runs from different seeds",
            departs=_WORDS,
        )

    treebank = "Penn Treebank: perplexity 100 against 97, which is log2(100/97) bits per word, as commonly reported"
    cheap = "4-bit weights and activations {}cost an LSTM that reads words at most 0.1 bits per word"
    return [
        claim("linear", cheap.format(""), "linear", ("hubara2016qnn", treebank, 0.044, "bits/word")),
        claim(
            "powers",
            cheap.format("that are powers of two, with a power-of-two scale for each row, "),
            "powers, scale per row",
            ("hubara2016qnn", "abstract", "comparable with 32 bits"),
        ),
    ]
