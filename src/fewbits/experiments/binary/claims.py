"""The claims of the chapter *binary*, and how the runs depart from the papers' protocols."""

import pandas as pd

from fewbits.evidence import Claim, Part, cited_claim, departure, own_claim, paper_claim, part
from fewbits.experiments.comparison import TASKS, by_seed, difference, per_seed

NAMES = {"mnist5k": "mnist5k", "mnist-1024": "MNIST", "mnist-lenet": "MNIST, LeNet", "cifar10": "CIFAR-10"}
SUFFIX = {"mnist5k": "", "mnist-1024": "-mnist", "mnist-lenet": "-lenet", "cifar10": "-cifar10"}
PAIRS = "pairs of networks trained from scratch, both of a pair from the same seed"
NETWORKS = "networks trained from scratch, from different seeds"
TRIED_ON_TEST_IMAGES = departure("the settings of the recipe were tried out on the test images", could_explain=False)
ADDED = departure("runs 6 to 10 were added when the first five had left the question open", could_explain=False)
LAST_EPOCH = departure(
    "the network of the last epoch is tested, not that of the best one on held-out images", could_explain=False
)
HALF = departure("trained in bfloat16 where that is safe, and tested in float32", could_explain=False)


def binary_connect(data_name: str, epochs: int) -> list[str | dict]:
    """How runs depart from BinaryConnect's protocol for MNIST."""
    if data_name == "mnist-1024":
        optimizer = departure("Adam, as in the released code, where the text has SGD", could_explain=False)
        return [f"{epochs} epochs, where the paper has 1,000", optimizer, HALF, LAST_EPOCH]
    return [
        "three hidden layers of 128 units, where the paper has 1,024",
        f"{epochs} epochs on 4,000 images, where the paper has 1,000 on 50,000",
        "a cosine schedule and cross-entropy, where the paper has an exponential decay and squared hinge loss",
        LAST_EPOCH,
        TRIED_ON_TEST_IMAGES,
    ]


def binary_net(data_name: str, epochs: int) -> list[str | dict]:
    """How runs depart from BinaryNet's protocol for MNIST."""
    common: list[str | dict] = ["no dropout, where the authors' code has 0.2 and 0.5", LAST_EPOCH]
    if data_name == "mnist-1024":
        wide = "three hidden layers of 1,024 units, where the authors' code has 4,096"
        return [wide, f"{epochs} epochs, where the paper has 1,000", HALF, *common]
    return [
        "three hidden layers of 128 units, where the authors' code has 4,096",
        f"{epochs} epochs on 4,000 images, where the paper has 1,000 on 50,000",
        "cross-entropy and a cosine schedule, where the authors' code has squared hinge loss and an exponential decay",
        *common,
        TRIED_ON_TEST_IMAGES,
    ]


def xnor_net(data_name: str, epochs: int) -> list[str | dict]:
    """How runs depart from XNOR-Net's protocol for AlexNet on ImageNet."""
    if data_name == "cifar10":
        return ["a small VGG network on CIFAR-10, where the paper has AlexNet on ImageNet", f"{epochs} epochs", HALF]
    return [
        "a perceptron on 4,000 digits, without pools, where the paper has AlexNet on ImageNet",
        f"{epochs} epochs",
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


def cited_claims(frame: pd.DataFrame) -> list[Claim]:
    """What the papers report and has no run here."""
    cited = []
    if difference(frame, "mnist5k", "BN, AdaMax, 2^-8", "shift BN, shift AdaMax, 2^-8") is None:
        cited.append(
            cited_claim(
                "binary/shifts-are-free",
                "mnist5k: batch normalization and AdaMax by shifts cost at most half a point",
                ("hubara2016bnn", "shift-based BN and AdaMax", "no loss"),
                reason="not run yet with batch normalization after the last layer; --methods names the four arms",
            )
        )
    if difference(frame, "cifar10", "xnor-net, no K", "xnor-net, old blocks, no K") is None:
        cited.append(_block_order())
    return cited


def _block_order() -> Claim:
    return cited_claim(
        "binary/block-order-cifar10",
        "CIFAR-10: XNOR-Net's order of a block gains more than its scales",
        ("rastegari2016", "Sec. 4.3", "as commonly reported"),
        reason="the convolutional network has not been trained yet; --data cifar10 does it",
        headline=True,
    )


def make_claims(frame: pd.DataFrame, data_name: str) -> list[Claim]:
    """The chapter's claims about one task; those whose methods were not run are left out."""
    where, here = SUFFIX[data_name], NAMES[data_name]
    scale, rows = TASKS[data_name].scale, frame[frame.data == data_name]
    epochs = int(rows.epochs.max()) if len(rows) else 0

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
                headline=headline,
            )
        ]

    def our_own(
        slug: str, statement: str, measured: Part | None, paper: tuple = (), alone: bool = False
    ) -> list[Claim]:
        if measured is None:
            return []
        identifier, full = f"binary/{slug}{where}", f"{here}: {statement}"
        independent = NETWORKS if alone else PAIRS
        return [own_claim(identifier, full, measured, scale=scale, independent=independent, paper=paper)]

    wide_rows = rows[rows.method == "binarynet, 512 units"]
    wide = by_seed(per_seed(frame, data_name, "binarynet, 512 units"), wide_rows, unit="%", low=94.0)
    # The papers' own data and network where they have been run; else the small ones.
    digits = ("courbariaux2015", "MNIST")
    return [
        *of_paper(
            "stochastic-beats-float",
            "stochastic BinaryConnect is at least as accurate as the float network",
            (*digits, 0.12, "pt"),
            gain("binaryconnect stochastic", "float" if data_name == "mnist-1024" else "float, output BN", low=0.0),
            binary_connect(data_name, epochs),
            headline=data_name == "mnist-1024",
        ),
        *of_paper(
            "stochastic-beats-deterministic",
            "stochastic BinaryConnect is more accurate than deterministic",
            (*digits, 0.11, "pt"),
            gain("binaryconnect stochastic", "binaryconnect", low=0.0),
            binary_connect(data_name, epochs),
            headline=data_name == "mnist-1024",
        ),
        *of_paper(
            "binarynet-gap",
            "binary weights and activations cost at most 1 point",
            ("hubara2016bnn", "MNIST", "near the state of the art"),
            gain("float", "binarynet", high=1.0) if data_name != "cifar10" else None,
            binary_net(data_name, epochs),
            headline=data_name == "mnist-1024",
        ),
        *of_paper(
            "shifts-are-free",
            "batch normalization and AdaMax by shifts cost at most half a point",
            ("hubara2016bnn", "shift-based BN and AdaMax", "no loss"),
            gain("BN, AdaMax, 2^-8", "shift BN, shift AdaMax, 2^-8", high=0.5),
            [
                *binary_net(data_name, epochs),
                departure(
                    "tested with running statistics; with those of the batch, as the authors' code, it is in the table",
                    could_explain=False,
                ),
            ],
        ),
        *of_paper(
            "scaled-weights-near-float",
            "binary weights with a scale per filter cost at most 1 point",
            ("rastegari2016", "AlexNet, top-5", 0.8, "pt"),
            gain("float", "bwn, real ends", high=1.0),
            xnor_net(data_name, epochs),
            headline=True,
        ),
        *of_paper(
            "scale-of-weights",
            "with start, rates and clip alike, binary weights with a scale per filter are more accurate than without",
            ("rastegari2016", "AlexNet, top-5", 18.4, "pt"),
            gain("binaryconnect, scale", "binaryconnect", low=0.0),
            [
                *xnor_net(data_name, epochs),
                "all layers are binary, where the paper keeps the first and the last real",
                ADDED,
            ],
        ),
        *of_paper(
            "xnor-beats-binarynet",
            "XNOR-Net is more accurate than BinaryNet",
            ("rastegari2016", "AlexNet, top-5", 18.78, "pt"),
            gain("xnor-net", "binarynet", low=0.0),
            [*xnor_net(data_name, epochs), *([ADDED] if data_name == "mnist5k" else [])],
            headline=True,
        ),
        *of_paper(
            "block-order",
            "XNOR-Net's order of a block gains accuracy over the usual one",
            ("rastegari2016", "Sec. 4.3", "as commonly reported"),
            gain("xnor-net, no K", "xnor-net, old blocks, no K", low=0.0),
            xnor_net(data_name, epochs),
            headline=True,
        ),
        # The paper's own comparisons (Sec. 4.3) are of the scale's computation and of the order of the layers.
        *our_own(
            "scales-of-xnor",
            "with all else alike, XNOR-Net's two scales gain accuracy",
            gain("xnor-net", "+ usual start, one rate", low=0.0),
            ("rastegari2016", "Eq. 11", "scales α and K"),
        ),
        *our_own(
            "output-norm",
            "batch normalization after the last layer gains BinaryNet accuracy",
            gain("binarynet, + output BN", "binarynet, bare", low=0.0),
        ),
        *our_own(
            "blocks",
            "with binary weights alike, XNOR-Net's blocks are more accurate than BinaryNet's with real ends",
            gain("+ blocks", "+ real last layer", low=0.0),
        ),
        *our_own("wide-binarynet", "BinaryNet with 512 units reaches 94 %", wide, alone=True),
        *our_own(
            "shift-scales",
            "with scales α and K that are powers of two, XNOR-Net's accuracy changes by at most half a point",
            gain("xnor-net, shifts", "xnor-net", low=-0.5, high=0.5),
        ),
    ]
