"""The claims of the chapter *learned_step*, and how the runs depart from the paper's protocol."""

import pandas as pd

from fewbits.evidence import Claim, Part, departure, own_claim, paper_claim
from fewbits.experiments.comparison import TASKS, by_seed, difference, per_seed

DATA = "mnist5k"
PAIRS = "pairs of networks trained from scratch, both of a pair from the same seed"
FROM_FLOAT = "pairs of networks that start from one float network, itself trained from scratch; a seed for each pair"
SMALL: list[str | dict] = [
    "a perceptron on 4,000 digits, where the paper has residual networks on ImageNet",
    "few bits in all layers, where the paper keeps 8 bits in the first and the last",
    "20 epochs",
    departure("the settings of the recipe were tried out on the test images", could_explain=False),
]
FROM_SCRATCH = "trained from scratch, where the paper starts from a trained float network"
CONVOLUTIONAL: list[str | dict] = [
    "a small VGG network on CIFAR-10, where the paper has residual networks on ImageNet",
    "15 epochs, where the paper has 90",
    "one weight decay, where the paper has less of it with fewer bits",
    departure("trained in bfloat16 where that is safe, and tested in float32", could_explain=False),
]


def make_claims(frame: pd.DataFrame) -> list[Claim]:
    """The chapter's claims from the table ``learned_step_runs``; those whose methods were not run are left out."""
    return [*_of_digits(frame), *_of_images(frame)]


def _of_images(frame: pd.DataFrame) -> list[Claim]:
    """On CIFAR-10, as the paper trains: from a float network, with ends of 8 bits and the paper's learning rate."""
    claims = []
    for slug, statement, paper, (first, second), band in (
        (
            "three-bits-reach-float",
            "with 3 bits LSQ loses at most 1 point against float",
            ("abstract", "3 bits reach full precision"),
            ("float", "lsq, 3 bits"),
            {"high": 1.0},
        ),
        (
            "beats-uniform-2-bits",
            "with 2 bits LSQ is more accurate than the uniform grid that ends at the largest value",
            (),
            ("lsq, 2 bits", "uniform, 2 bits"),
            {"low": 0.0},
        ),
        (
            "learning-helps",
            "with 2 bits a learned step is more accurate than one that stays where it starts",
            (),
            ("lsq, 2 bits", "fixed start, 2 bits"),
            {"low": 0.0},
        ),
    ):
        measured = difference(frame, "cifar10", first, second, **band)
        if measured is None:
            continue
        identifier, full = f"learned_step/{slug}-cifar10", f"CIFAR-10: {statement}"
        scale = TASKS["cifar10"].scale
        if paper:
            claims += [
                paper_claim(
                    identifier,
                    full,
                    ("esser2020", *paper),
                    measured,
                    scale=scale,
                    independent=FROM_FLOAT,
                    departs=CONVOLUTIONAL,
                    headline=True,
                )
            ]
        else:
            claims += [own_claim(identifier, full, measured, scale=scale, independent=FROM_FLOAT)]
    return claims


def _of_digits(frame: pd.DataFrame) -> list[Claim]:
    scale = TASKS[DATA].scale

    def gain(first: str, second: str, **band: float) -> Part | None:
        return difference(frame, DATA, first, second, **band)

    def of_paper(
        slug: str,
        statement: str,
        paper: tuple,
        measured: Part | None,
        *departs: str,
        headline: bool = False,
        from_float: bool = False,
    ) -> list[Claim]:
        if measured is None:
            return []
        start = [] if from_float else [FROM_SCRATCH]
        return [
            paper_claim(
                f"learned_step/{slug}",
                statement,
                ("esser2020", *paper),
                measured,
                scale=scale,
                independent=FROM_FLOAT if from_float else PAIRS,
                departs=[*SMALL, *start, *departs],
                headline=headline,
            )
        ]

    def our_own(slug: str, statement: str, measured: Part | None, paper: tuple = ()) -> list[Claim]:
        if measured is None:
            return []
        return [
            own_claim(f"learned_step/{slug}", statement, measured, scale=scale, independent=PAIRS, paper=paper),
        ]

    grids = [f"{method}, {bits} bits" for method in ("lsq", "uniform") for bits in (2, 4)]
    few, many = (
        per_seed(frame, DATA, f"lsq, {bits} bits") - per_seed(frame, DATA, f"uniform, {bits} bits") for bits in (2, 4)
    )
    return [
        *of_paper(
            "three-bits-reach-float",
            "With 3 bits LSQ loses at most 1 point against float",
            ("abstract", "3 bits reach full precision"),
            gain("float", "lsq, 3 bits", high=1.0),
            "Adam, where the paper has SGD with momentum",
            headline=True,
        ),
        # The paper compares with other methods that learn or fit their grids, not with this one.
        *our_own(
            "beats-uniform-2-bits",
            "With 2 bits LSQ is more accurate than the uniform grid that ends at the largest value",
            gain("lsq, 2 bits", "uniform, 2 bits", low=0.0),
            ("esser2020", "abstract", "most accurate at 2, 3 and 4 bits"),
        ),
        *our_own(
            "fewer-bits-more-gain",
            "LSQ gains more over the uniform grid with 2 bits than with 4",
            by_seed(few - many, frame[(frame.data == DATA) & frame.method.isin(grids)], unit="pt", low=0.0),
        ),
        *our_own(
            "learning-helps",
            "Under Adam, with 2 bits, a learned step is more accurate than one that stays where it starts",
            gain("lsq, 2 bits", "fixed start, 2 bits", low=0.0),
        ),
        *our_own(
            "learning-helps-sgd",
            "Under SGD, with 2 bits, a learned step is more accurate than one that stays where it starts",
            gain("lsq, 2 bits, sgd", "fixed start, 2 bits, sgd", low=0.0),
        ),
        *our_own(
            "learning-mends-the-start",
            "With 2 bits, from a quarter of the start, a learned step is more accurate than one that stays",
            gain("quarter start, 2 bits", "fixed quarter start, 2 bits", low=0.0),
        ),
        *of_paper(
            "scale-helps-sgd",
            "Under SGD with a rate of 0.1 the gradient scale makes LSQ with 2 bits more accurate",
            ("Sec. 2.2", "steps and weights should learn at one pace"),
            gain("lsq, 2 bits, sgd", "lsq, 2 bits, sgd, no scale", low=0.0),
        ),
        # The paper's rate, from a trained network: there it reports no convergence without the scale.
        *of_paper(
            "scale-helps-from-float",
            "From a trained network, under SGD with a rate of 0.01, the gradient scale helps LSQ with 2 bits",
            ("Sec. 3.4", "does not converge without it, as commonly reported"),
            gain("lsq, 2 bits, sgd 0.01", "lsq, 2 bits, sgd 0.01, no scale", low=0.0),
            from_float=True,
        ),
        *our_own(
            "learning-beats-least-error",
            "Under Adam, with 2 bits, a learned step is more accurate than a fixed one of least error for the weights",
            gain("lsq, 2 bits", "fixed least error, 2 bits", low=0.0),
        ),
        *our_own(
            "scale-under-adam",
            "Under Adam the gradient scale changes accuracy by at most half a point",
            gain("lsq, 2 bits", "lsq, 2 bits, no scale", low=-0.5, high=0.5),
        ),
    ]
