"""The claims of the chapter *uniform*, and how the runs depart from the papers' protocols."""

from collections.abc import Callable, Sequence
from typing import Any

import pandas as pd

from fewbits.evidence import Claim, Part, departure, own_claim, paper_claim, part

FLOATS = "float networks, trained from different seeds"


def make_claims(
    curve: pd.DataFrame, calibration: pd.DataFrame, weight_errors: Sequence[float], mismatches: Sequence[int]
) -> list[Claim]:
    """The chapter's claims.

    Args:
        curve: the table ``uniform_bits``.
        calibration: the table ``uniform_calibration``.
        weight_errors: squared weight error per tensor over that per channel, of each seed in ascending order.
        mismatches: outputs of the integer layer that differ from the simulated one, of each seed.
    """
    accuracy = curve.set_index(["method", "bits", "seed"]).accuracy
    clipped = calibration.set_index(["calibration", "bits", "seed"]).accuracy
    seeds = sorted(curve.seed.unique().tolist())

    def points(of_seed: Callable[[int], float], of: Sequence[int] = seeds, **more: Any) -> Part:
        return part([round(float(of_seed(seed)), 4) for seed in of], unit="pt", runs=of, **more)

    calibrated = sorted(calibration.seed.unique().tolist())

    return [
        paper_claim(
            "uniform/int8-drop",
            "8-bit weights and activations cost at most 1 point of accuracy, without any retraining",
            ("wu2020", "abstract (some networks retrained)", 1.0, "pt"),
            points(lambda s: accuracy["float", 32, s] - accuracy["ptq", 8, s], high=1.0),
            scale="notebook",
            independent=FLOATS,
            departs=[
                "a perceptron on 4,000 digits, where the paper has networks for ImageNet, detection, translation and "
                "language",
                departure("pixels and biases stay in floating point", could_explain=False),
            ],
            headline=True,
        ),
        # The survey says that this fails with very few bits; the width and the bound are ours.
        own_claim(
            "uniform/ptq-fails-at-2",
            "At 2 bits, rounding a finished network costs more than 10 points",
            points(lambda s: accuracy["float", 32, s] - accuracy["ptq", 2, s], low=10.0),
            scale="notebook",
            independent=FLOATS,
            paper=("gholami2021", "Sec. III-G", "fails at very low precision"),
        ),
        # The paper retrains networks of 8 bits.
        own_claim(
            "uniform/qat-recovers",
            "Training with the quantizer in the loop wins back accuracy that rounding loses, at 2 bits",
            points(lambda s: accuracy["qat", 2, s] - accuracy["ptq", 2, s], low=0.0),
            scale="notebook",
            independent=FLOATS,
            paper=("wu2020", "Sec. 5.2", "recovers the loss at 8 bits"),
        ),
        # The paper compares accuracies at 8 bits.
        own_claim(
            "uniform/per-channel-error",
            "At 4 bits, one scale per tensor makes a larger squared weight error than one per channel",
            part([round(value, 4) for value in weight_errors], unit="×", runs=seeds[: len(weight_errors)], low=1.0),
            scale="notebook",
            independent=FLOATS,
            paper=("wu2020", "Sec. 3.2", "per channel for weights"),
        ),
        # A few networks gain many points, most a few: the mean says little, so the median is judged.
        own_claim(
            "uniform/clipping-helps-at-2",
            "With 2-bit activations, clipping by entropy beats covering the whole range",
            points(lambda s: clipped["entropy", 2, s] - clipped["max", 2, s], calibrated, type="median", low=0.0),
            scale="notebook",
            independent=FLOATS,
            paper=("wu2020", "Sec. 4", "max is not always best at 8 bits"),
        ),
        own_claim(
            "uniform/clipping-idle-at-8",
            "With 8-bit activations, clipping by entropy changes accuracy by less than 0.2 point",
            points(lambda s: clipped["entropy", 8, s] - clipped["max", 8, s], calibrated, low=-0.2, high=0.2),
            scale="notebook",
            independent=FLOATS,
        ),
        paper_claim(
            "uniform/integer-equals-simulated",
            "A linear layer on 8-bit integers gives the simulated layer's outputs: none differs",
            ("jacob2018", "Sec. 2.2", "the same, in integers"),
            part(list(mismatches), unit="outputs", type="identity", runs=seeds[: len(mismatches)], low=0, high=0),
            scale="notebook",
        ),
    ]
