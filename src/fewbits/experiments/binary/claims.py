"""The claims of the chapter *binary*, and how the runs depart from the papers' protocols."""

import pandas as pd

from fewbits.evidence import Claim, Part, departure, own_claim, paper_claim, part
from fewbits.experiments.comparison import TASKS, difference

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
NO_OUTPUT_NORM = "no batch normalization after the last layer, which the authors' code has"


def binary_connect(data_name: str) -> list[str | dict]:
    """How runs depart from BinaryConnect's protocol for MNIST."""
    return [
        "three hidden layers of 128 units, where the paper has 1,024",
        f"{LENGTHS[data_name]}, where the paper has 1,000",
        "Adam, a cosine schedule and cross-entropy, where the paper has SGD, an exponential decay and squared hinge "
        "loss",
        NO_OUTPUT_NORM,
        departure(
            "the network of the last epoch is tested, not that of the best one on held-out images", could_explain=False
        ),
        TRIED_ON_TEST_IMAGES,
    ]


def binary_net(data_name: str) -> list[str | dict]:
    """How runs depart from BinaryNet's protocol for MNIST."""
    return [
        NO_OUTPUT_NORM,
        "three hidden layers of 128 units, where the paper has thousands",
        f"{LENGTHS[data_name]}, where the paper has 1,000",
        "cross-entropy and a cosine schedule, where the authors' code has squared hinge loss and an exponential decay",
        "latent weights start near 0 with one rate for all layers; in the authors' code they start anywhere within ±1, "
        "and the rates are scaled by layer",
        TRIED_ON_TEST_IMAGES,
    ]


def xnor_net(data_name: str) -> list[str | dict]:
    """How runs depart from XNOR-Net's protocol for AlexNet on ImageNet."""
    return [
        f"{NETWORKS[data_name]}, where the paper has AlexNet on ImageNet",
        LENGTHS[data_name],
        "latent weights are neither centred nor clamped and their gradients not rescaled, as they are in the authors' "
        "code",
        TRIED_ON_TEST_IMAGES,
    ]


def exact_claims(different: int, ratio: float) -> list[Claim]:
    """Claims about arithmetic and storage.

    Args:
        different: inner products by popcount that differ from those in floating point.
        ratio: bytes of the weights as 32-bit floats over bytes packed.
    """
    return [
        paper_claim(
            "binary/popcount-equals-float",
            "XNOR and popcount give the inner products of a trained BinaryNet: none differs",
            ("hubara2016bnn", "XNOR and popcount", "in place of multiplications"),
            part([different], unit="sums", type="identity", low=0, high=0),
            scale="notebook",
            headline=True,
        ),
        paper_claim(
            "binary/memory-ratio",
            "Binary weights take a 32nd of the memory of 32-bit floats",
            ("hubara2016bnn", "memory", 32, "× smaller"),
            part([ratio], unit="× smaller", type="identity", low=32, high=32, paper=32, margin=0),
            scale="notebook",
            headline=True,
        ),
    ]


def make_claims(frame: pd.DataFrame, data_name: str) -> list[Claim]:
    """The chapter's claims about one data set; those whose methods were not run are left out."""
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
                f"binary/{slug}{where}",
                f"{here}: {statement}",
                paper,
                measured,
                scale=scale,
                independent=PAIRS,
                departs=departs,
                # The papers of digits used all of MNIST, and its runs are the longest here.
                headline=headline and data_name == "mnist",
            )
        ]

    def our_own(slug: str, statement: str, measured: Part | None, paper: tuple) -> list[Claim]:
        if measured is None:
            return []
        identifier, full = f"binary/{slug}{where}", f"{here}: {statement}"
        return [own_claim(identifier, full, measured, scale=scale, independent=PAIRS, paper=paper)]

    gap = gain("float", "binarynet", high=1.0)
    gap_statement = "binary weights and activations cost at most 1 point"
    near = "near the state of the art"
    return [
        *of_paper(
            "stochastic-beats-float",
            "stochastic BinaryConnect is at least as accurate as the float network",
            ("courbariaux2015", "MNIST", 0.12, "pt"),
            gain("binaryconnect stochastic", "float", low=0.0),
            binary_connect(data_name),
            headline=True,
        ),
        *of_paper(
            "stochastic-beats-deterministic",
            "stochastic BinaryConnect is more accurate than deterministic",
            ("courbariaux2015", "MNIST", 0.11, "pt"),
            gain("binaryconnect stochastic", "binaryconnect", low=0.0),
            binary_connect(data_name),
            headline=True,
        ),
        # The paper did not run CIFAR-100.
        *(
            our_own("binarynet-gap", gap_statement, gap, ("hubara2016bnn", "MNIST, CIFAR-10 and SVHN", near))
            if data_name == "cifar100"
            else of_paper(
                "binarynet-gap",
                gap_statement,
                ("hubara2016bnn", "MNIST", near),
                gap,
                binary_net(data_name),
                headline=True,
            )
        ),
        *of_paper(
            "shifts-are-free",
            "batch normalization and AdaMax by shifts cost at most half a point",
            ("hubara2016bnn", "shift-based BN and AdaMax", "no loss"),
            gain("binarynet", "binarynet, shifts", high=0.5),
            [
                *binary_net(data_name),
                "normalized by running statistics in the test, where the authors' code takes those of the batch",
                "one learning rate for AdaMax by shifts, 1/256, and batch normalization and optimizer change at once",
            ],
        ),
        *of_paper(
            "scaled-weights-near-float",
            "binary weights with a scale per filter cost at most 1 point",
            ("rastegari2016", "AlexNet, top-5", 0.8, "pt"),
            gain("float", "bwn", high=1.0),
            [*xnor_net(data_name), "first and last layer are binary as well"],
            headline=True,
        ),
        *of_paper(
            "scale-of-weights",
            "binary weights with a scale per filter (BWN) are more accurate than BinaryConnect's",
            ("rastegari2016", "AlexNet, top-5", 18.4, "pt"),
            gain("bwn", "binaryconnect", low=0.0),
            [
                *xnor_net(data_name),
                "the two also differ in start, learning rates, clipping and straight-through window, so that a gain "
                "is not the scale's alone",
            ],
        ),
        *of_paper(
            "xnor-beats-binarynet",
            "XNOR-Net is more accurate than BinaryNet",
            ("rastegari2016", "AlexNet, top-5", 18.78, "pt"),
            gain("xnor-net", "binarynet", low=0.0),
            [
                *xnor_net(data_name),
                "BinaryNet here lacks the batch normalization after its last layer that its authors' code has, so that "
                "a gain may be its loss",
            ],
            headline=True,
        ),
        # The paper's own comparisons (Sec. 4.3) are of the scale's computation and of the order of the layers.
        *our_own(
            "scales-of-xnor",
            "with the same layers binary, XNOR-Net's two scales gain accuracy",
            gain("xnor-net", "binarynet, real ends", low=0.0),
            ("rastegari2016", "Eq. 11", "scales α and K"),
        ),
    ]
