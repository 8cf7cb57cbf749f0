"""The claims of the chapter *ternary*, and how the runs depart from the papers' protocols."""

import pandas as pd

from fewbits.evidence import Claim, Part, cited_claim, departure, own_claim, paper_claim
from fewbits.experiments.comparison import TASKS, by_seed, difference

NAMES = {"mnist5k": "mnist5k", "mnist": "MNIST", "cifar100": "CIFAR-100"}
PAIRS = "pairs of networks trained from scratch, both of a pair from the same seed"
LENGTHS = {
    "mnist5k": "20 epochs on 4,000 images",
    "mnist": "12 epochs",
    "cifar100": "5 epochs on images of 16 × 16 pixels",
}
NETWORKS = {
    "mnist5k": "a perceptron on digits",
    "mnist": "a perceptron on digits",
    "cifar100": "a small VGG network on CIFAR-100",
}
TRIED_ON_TEST_IMAGES = departure("the settings of the recipe were tried out on the test images", could_explain=False)
TTQ_OF_PAPER = "ttq from 1"  # the authors' code starts W_p and W_n at 1


def ternary_networks(data_name: str) -> list[str | dict]:
    """How runs depart from TWN's protocol for MNIST."""
    return [
        f"{NETWORKS[data_name]}, where the paper has a convolutional one (32C5-64C5-512)",
        LENGTHS[data_name],
        "Adam and a cosine schedule, where the paper has SGD with momentum and weight decay",
        TRIED_ON_TEST_IMAGES,
    ]


def trained_ternary(data_name: str, network: str) -> list[str | dict]:
    """How runs depart from TTQ's protocol for ``network``."""
    return [
        f"{NETWORKS[data_name]}, where the paper has {network}",
        LENGTHS[data_name],
        "trained from scratch, where the paper starts from a trained float network",
        "first and last layer are ternary, where the paper keeps them in floating point",
        "Adam without weight decay or augmentation, where the paper has SGD with both",
        TRIED_ON_TEST_IMAGES,
    ]


def exact_networks(data_name: str) -> list[str | dict]:
    """How runs depart from the protocol of exact ternary weights."""
    return [
        f"{NETWORKS[data_name]}, where the paper has convolutional ones",
        LENGTHS[data_name],
        "trained as TWN is, with the exact threshold in its place, and not by the paper's procedure",
        TRIED_ON_TEST_IMAGES,
    ]


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
    scale = TASKS[data_name].scale

    def gain(first: str, second: str, **band: float) -> Part | None:
        return difference(frame, data_name, first, second, **band)

    def of_paper(
        slug: str,
        statement: str,
        paper: tuple,
        measured: Part | None,
        departs: list[str | dict],
        headline: bool = False,
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
                independent=PAIRS,
                departs=departs,
                headline=headline and data_name == "mnist",  # the longest runs here
            )
        ]

    by_method = errors[errors.data == data_name].pivot(index="seed", columns="method", values="error")
    saved = 100 * (1 - by_method["exact ternary"] / by_method["twn"])
    floats = frame[(frame.data == data_name) & (frame.method == "float")]  # whose weights they are
    fitted = gain("ttq", TTQ_OF_PAPER, low=0.0)
    return [
        *of_paper(
            "twn-drop",
            "TWN costs at most 1 point",
            ("li2016", "abstract, MNIST", "only slightly worse than float"),
            gain("float", "twn", high=1.0),
            ternary_networks(data_name),
            headline=True,
        ),
        *of_paper(
            "ternary-beats-binary",
            "TWN is more accurate than binary weights with a scale",
            ("li2016", "abstract, MNIST", "more accurate than binary"),
            gain("twn", "bwn", low=0.0),
            ternary_networks(data_name),
        ),
        *of_paper(
            "ttq-beats-twn",
            "TTQ is more accurate than TWN",
            ("zhu2016", "ResNet-18, ImageNet, top-5", 1.0, "pt"),
            gain(TTQ_OF_PAPER, "twn", low=0.0),
            trained_ternary(data_name, "ResNet-18 on ImageNet"),
            headline=True,
        ),
        *of_paper(
            "ttq-beats-float",
            "TTQ is at least as accurate as the float network",
            ("zhu2016", "ResNet-56, CIFAR-10", 0.36, "pt"),
            gain(TTQ_OF_PAPER, "float", low=0.0),
            trained_ternary(data_name, "ResNet-56 on CIFAR-10"),
            headline=True,
        ),
        *(
            [
                own_claim(
                    f"ternary/fitted-start{where}",
                    f"{here}: TTQ gains accuracy if its scales start at the least squares fit, not at 1",
                    fitted,
                    scale=scale,
                    independent=PAIRS,
                )
            ]
            if fitted
            else []
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
            gain("exact ternary", "twn", low=0.0),
            exact_networks(data_name),
            headline=True,
        ),
    ]
