"""The claims of the chapter *ternary*, and how the runs depart from the papers' protocols."""

import pandas as pd

from fewbits.evidence import Claim, Part, cited_claim, departure, own_claim, paper_claim
from fewbits.experiments.comparison import TASKS, by_seed, difference

NAMES = {"mnist5k": "mnist5k", "mnist": "MNIST", "mnist-lenet": "MNIST, the paper's network", "cifar10": "CIFAR-10"}
NAMES["cifar10-resnet20"] = "CIFAR-10, ResNet-20"
PAIRS = "pairs of networks trained from scratch, both of a pair from the same seed"
FROM_FLOAT = "pairs of networks that start from one float network, itself trained from scratch; a seed for each pair"
PAPERS_RATE = "ttq, from float, rate 0.1"
NETWORKS = {
    "mnist5k": "a perceptron on 4,000 digits",
    "mnist": "a perceptron on digits",
    "mnist-lenet": "the network 32C5-64C5-512 on MNIST",
    "cifar10": "a small VGG network on CIFAR-10",
    "cifar10-resnet20": "ResNet-20 on CIFAR-10",
}
TRIED_ON_TEST_IMAGES = departure("the settings of the recipe were tried out on the test images", could_explain=False)
HALF = departure("trained in bfloat16 where that is safe, and tested in float32", could_explain=False)
# In the code of the paper's authors binary weights are bare signs, which before a normalization comes to the same.
SLOW = (
    "one recipe for both, as in the paper, but fewer epochs: gradients of binary weights carry the scale as a "
    "factor, so that they learn more slowly"
)
SMALL = ("mnist5k", "mnist")


def ternary_networks(data_name: str, epochs: int) -> list[str | dict]:
    """How runs depart from TWN's protocol, for MNIST or for CIFAR-10."""
    if data_name == "mnist-lenet":
        return [
            f"{epochs} epochs and a cosine schedule, where the paper divides its rate after 15 and 25 epochs",
            "cross-entropy, where the paper ends in a support vector machine",
            HALF,
        ]
    if data_name not in SMALL:
        return [
            f"{NETWORKS[data_name]}, where the paper has a wide VGG network (VGG-7)",
            "from a trained network and with real ends, where the paper trains from scratch",
            f"{epochs} epochs and one cycle, where the paper divides its rate after 80 and 120 epochs",
            HALF,
        ]
    return [
        f"{NETWORKS[data_name]}, where the paper has a convolutional one (32C5-64C5-512)",
        f"{epochs} epochs",
        "Adam and a cosine schedule, where the paper has SGD with momentum and weight decay",
        TRIED_ON_TEST_IMAGES,
    ]


def trained_ternary(data_name: str, network: str, epochs: int) -> list[str | dict]:
    """How runs from the float network, with real ends, depart from TTQ's protocol for ``network``."""
    recipe = "Adam without weight decay or augmentation, where the paper has SGD with both"
    return [
        f"{NETWORKS[data_name]}, where the paper has {network}",
        f"{epochs} epochs after as many in floating point",
        *([recipe, TRIED_ON_TEST_IMAGES] if data_name in SMALL else [HALF]),
    ]


def exact_networks(data_name: str, epochs: int) -> list[str | dict]:
    """How runs depart from the protocol of exact ternary weights."""
    if data_name in SMALL:
        network = f"{NETWORKS[data_name]}, where the paper has convolutional ones"
        return [network, f"{epochs} epochs", TRIED_ON_TEST_IMAGES]
    start = ["from a trained network and with real ends"] if "cifar" in data_name else []
    return [HALF, *start, f"{epochs} epochs"]


def cited_claims() -> list[Claim]:
    """What the papers report and this book did not run."""
    return [
        cited_claim(
            "ternary/twn-drop-imagenet",
            "TWN costs ResNet-18 at most 2.6 points on ImageNet (top-5)",
            ("li2016", "ResNet-18, ImageNet, top-5", 2.56, "pt"),
            reason="ImageNet and a network of that size are beyond the means of this book",
            headline=True,
        )
    ]


def make_claims(frame: pd.DataFrame, errors: pd.DataFrame, data_name: str) -> list[Claim]:
    """The chapter's claims about one data set; those whose methods were not run are left out.

    Args:
        frame: the table ``ternary_runs``.
        errors: the table ``ternary_errors``.
        data_name: a data set of both.
    """
    where, here = "" if data_name == "mnist5k" else f"-{data_name}", NAMES[data_name]
    data = "CIFAR-10" if "cifar" in data_name else "MNIST"
    scale, rows = TASKS[data_name].scale, frame[frame.data == data_name]
    epochs = int(rows.epochs.max()) if len(rows) else 0
    # On CIFAR-10 all methods start from the float network and keep real ends, as TTQ does.
    from_float = data_name not in (*SMALL, "mnist-lenet")
    real, binary, twn, exact = (
        f"{name}, from float" if from_float else full
        for name, full in (("float", "float"), ("bwn", "bwn"), ("twn", "twn"), ("exact", "exact ternary"))
    )
    start = "" if data_name in ("mnist", "mnist-lenet") else ", from float"  # where "twn 0" was run
    pairs = FROM_FLOAT if from_float else PAIRS
    ttq = PAPERS_RATE if from_float else "ttq, from float"  # Adam, on digits, does not mind how large a gradient is

    def gain(first: str, second: str, **band: float) -> Part | None:
        return difference(frame, data_name, first, second, **band)

    def of_paper(
        slug: str,
        statement: str,
        paper: tuple,
        measured: Part | None,
        departs: list[str | dict],
        headline: bool = False,
        independent: str = pairs,
    ) -> list[Claim]:
        if measured is None:
            return []
        return [
            paper_claim(
                f"ternary/{slug}{where}",
                f"{here}: {statement}",
                paper,
                measured,
                scale=scale,
                independent=independent,
                departs=departs,
                headline=headline,
            )
        ]

    def our_own(slug: str, statement: str, measured: Part | None, independent: str = PAIRS) -> list[Claim]:
        if measured is None:
            return []
        said = f"{here}: {statement}"
        return [own_claim(f"ternary/{slug}{where}", said, measured, scale=scale, independent=independent)]

    by_method = errors[errors.data == data_name].pivot(index="seed", columns="method", values="error")
    saved = 100 * (1 - by_method["exact ternary"] / by_method["twn"]) if len(by_method) else pd.Series(dtype=float)
    floats = rows[rows.method == "float"]  # whose weights they are
    return [
        *of_paper(
            "twn-drop",
            "TWN costs at most 1 point",
            ("li2016", f"abstract, {data}", "only slightly worse than float"),
            gain(real, twn, high=1.0),
            ternary_networks(data_name, epochs),
            headline=data_name in ("mnist", "mnist-lenet"),
        ),
        *of_paper(
            "ternary-beats-binary",
            "TWN is more accurate than binary weights with a scale",
            ("li2016", f"abstract, {data}", "more accurate than binary"),
            gain(twn, binary, low=0.0),
            ternary_networks(data_name, epochs) + [SLOW] * (data_name not in SMALL),
        ),
        *our_own(
            "zeros-pay",
            "TWN is more accurate than binary weights that are trained by its rule, with threshold 0",
            gain(f"twn{start}", f"twn 0{start}", low=0.0),
            FROM_FLOAT if start else PAIRS,
        ),
        *of_paper(
            "ttq-beats-twn",
            "from a trained network and with real ends, TTQ is more accurate than TWN",
            ("zhu2016", "ResNet-18, ImageNet, top-5", 1.0, "pt"),
            gain(ttq, "twn, from float", low=0.0),
            trained_ternary(data_name, "ResNet-18 on ImageNet", epochs),
            headline=True,
            independent=FROM_FLOAT,
        ),
        *of_paper(
            "ttq-beats-float",
            "from a trained network and with real ends, TTQ is at least as accurate as the float network trained on",
            ("zhu2016", "ResNet-56, CIFAR-10", 0.36, "pt"),
            gain(ttq, "float, from float", low=0.0),
            trained_ternary(data_name, "ResNet-56 on CIFAR-10", epochs),
            headline=True,
            independent=FROM_FLOAT,
        ),
        *our_own(
            "ttq-rate",
            "from a trained network, TTQ gains accuracy by its paper's rate, ten times that of TWN here",
            gain(PAPERS_RATE, "ttq, from float", low=0.0),
            FROM_FLOAT,
        ),
        *our_own(
            "fitted-start",
            "TTQ gains accuracy if its scales start at the least squares fit, not at 1",
            gain("ttq, fitted start", "ttq", low=0.0),
        ),
        *our_own(
            "ttq-from-scratch",
            "from scratch and in all layers, TTQ is more accurate than TWN",
            gain("ttq", "twn", low=0.0),
        ),
        *our_own(
            "shift-scale",
            "with a scale that is a power of two, TWN's accuracy changes by at most half a point",
            gain("twn, power of two", "twn", low=-0.5, high=0.5),
        ),
        *of_paper(
            "exact-error",
            "the exact threshold makes a smaller squared error than TWN's",
            ("yin2016", "closed form", "optimal"),
            by_seed(saved, floats, unit="%", type="identity", low=0.0),
            [],
        ),
        *of_paper(
            "exact-beats-twn",
            "exact ternary is more accurate than TWN",
            ("yin2016", "MNIST and CIFAR-10", "more accurate"),
            gain(exact, twn, low=0.0),
            exact_networks(data_name, epochs),
            headline=data_name in ("mnist", "mnist-lenet"),
        ),
    ]
