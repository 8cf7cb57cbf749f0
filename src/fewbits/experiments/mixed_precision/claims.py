"""The claims of the experiment ``mixed_precision`` on accuracy and bits, from its tables (time: ``latency_claims``)."""

from typing import Any

import numpy as np
import pandas as pd

from fewbits import evidence
from fewbits.core.extras import extra

with extra("data"):
    from sklearn.isotonic import IsotonicRegression

LEVEL = 1.0  # points below float: where methods are compared at equal accuracy
CIFAR100_LEVEL = 0.5
SIZE = "uhlich filter-wise"
PENALTIES = ("nakata", SIZE)  # on MACs × bits and on the size
WITH_ACTIVATIONS = "uhlich, activations too"
ACTIVATIONS_SET = "ff5d699d1815b4b23b81aec174de279bb94d0a55"  # the commit that set their claim, before the first run
SASAKI_RATIO = 0.5  # the step of the claim on post-training accuracy, in standard deviations
CORRECTED = "means and variances"
FLOATS = "float networks, trained from different seeds"
CHOSEN = "the network, the budgets and the strength of the penalties were chosen on the test images"


def at_equal_accuracy(frame: pd.DataFrame, method: str, seed: int, below: float = LEVEL) -> dict[str, float] | None:
    """Costs of ``method`` where its accuracy, as a function of its setting, reaches that of float minus ``below``.

    Accuracies of one seed scatter by half a point, so they are first made monotone (isotonic regression); between two
    settings costs and accuracy are taken to be linear.

    Args:
        frame: as recorded.
        below: points.
    Returns:
        ``bits_per_filter``, ``bits_per_weight``, ``bits_per_mac`` and ``cycles``; None if no setting is good enough.
        If all are, the costs of the cheapest.
    """
    rows = frame[(frame.method == method) & (frame.seed == seed)].sort_values("cycles")
    if rows.empty:
        return None
    level = frame[(frame.method == "float") & (frame.seed == seed)].accuracy.item() - below
    smooth = IsotonicRegression().fit_transform(np.arange(len(rows)), rows.accuracy)
    good = np.flatnonzero(smooth >= level)
    if len(good) == 0:
        return None
    last = int(good[0])
    place = last if last == 0 else last - (smooth[last] - level) / (smooth[last] - smooth[last - 1])
    columns = ("bits_per_filter", "bits_per_weight", "bits_per_mac", "cycles")
    return {name: float(np.interp(place, np.arange(len(rows)), rows[name])) for name in columns}


def compared(frame: pd.DataFrame, method: str, baseline: str, below: float = LEVEL) -> pd.DataFrame:
    """Costs of ``method`` and of ``baseline`` at equal accuracy, one row a seed (index); seeds without both left out.

    Columns are those of :func:`at_equal_accuracy`, with ``_x`` for the method and ``_y`` for the baseline.
    """
    found = {}
    for name in (method, baseline):
        costs = {seed: at_equal_accuracy(frame, name, seed, below) for seed in sorted(frame.seed.unique())}
        found[name] = pd.DataFrame({seed: cost for seed, cost in costs.items() if cost}).T
    return found[method].merge(found[baseline], left_index=True, right_index=True)


def smallest_fixed(frame: pd.DataFrame, seed: int, below: float = LEVEL) -> float | None:
    """The smallest number of fixed bits whose accuracy is at most ``below`` points under float; None if there is none.

    Whole bits only: unlike a budget of learned bits, a fixed width between two integers does not exist.
    """
    rows = frame[(frame.method == "fixed") & (frame.seed == seed)]
    level = frame[(frame.method == "float") & (frame.seed == seed)].accuracy.item() - below
    good = rows[rows.accuracy >= level - 1e-9]  # 95.3 - 1 is not quite 94.3
    return None if good.empty else float(good.setting.min())


def make_claims(frame: pd.DataFrame) -> list[dict]:
    """The chapter's claims on accuracy and bits, without words.

    Args:
        frame: the table ``mixed_precision_runs``.
    """
    by_setting = frame.pivot(index="seed", columns=["method", "setting"], values="accuracy").dropna(axis=1)
    lost = by_setting["float", 32] - by_setting["sasaki", SASAKI_RATIO]
    return [
        _penalties(
            "latency-at-equal-accuracy",
            f"mnist5k, {_distance(LEVEL)}",
            compared(frame, "nakata", "uhlich filter-wise"),
            frame,
            "notebook",
            FLOATS,
            [
                "another network, with 4,660 weights, and other data: digits of 14 × 14 pixels",
                "the size penalty ends near 2.7 bits per MAC, so that the paper's 1.4 bits cannot be saved above the "
                "floor of 2 bits",
            ],
        ),
        _learned_and_fixed(frame),
        evidence.own_claim(
            "mixed_precision/post-training-loss",
            f"mnist5k: filter-wise steps of {SASAKI_RATIO:g} σ, without data or training, cost at most 1 point",
            evidence.part(_rounded(lost), unit="pt", runs=list(lost.index), high=1.0, **_origins(frame, lost.index)),
            scale="notebook",
            independent=FLOATS,
            # The article was not at hand: its title suggested the step, and the limit of one point is ours.
            paper=("sasaki2019", "title", "post training"),
        ),
    ]


def make_statistics_claims(table: pd.DataFrame) -> list[dict]:
    """The claims on rounding with corrected statistics.

    Args:
        table: ``mixed_precision_post_training``; data that it lacks give parts without values.
    """
    lost, regained = [], []
    for name in ("mnist5k", "cifar100"):
        rows = table[table.data == name]
        floats = rows[rows.method == "float"].set_index("seed").accuracy
        steps = rows[(rows.method == "sasaki") & (rows.setting == SASAKI_RATIO)]
        by_correction = steps.pivot_table("accuracy", "seed", "correction").reindex(columns=["none", CORRECTED])
        loss = floats - by_correction["none"]
        share = 100 * (by_correction[CORRECTED] - by_correction["none"]) / loss
        runs: dict[str, Any] = {"runs": list(floats.index), **_origins(rows, floats.index)}
        lost.append(evidence.part(_rounded(loss), name=name, unit="pt", high=1.0, **runs))
        regained.append(evidence.part(_rounded(share), name=name, unit="%", low=50.0, **runs))
    steps_text = f"filter-wise steps of {SASAKI_RATIO:g} σ, without training"
    return [
        evidence.own_claim(
            "mixed_precision/post-training-as-rounded",
            f"Digits, and MobileNet on CIFAR-100: {steps_text} or data, cost at most 1 point",
            *lost,
            scale="reduced",
            independent=FLOATS,
            paper=("sasaki2019", "title", "post training"),
        ),
        evidence.own_claim(
            "mixed_precision/post-training-regained",
            f"Digits, and MobileNet on CIFAR-100: of what {steps_text}, cost, the means and variances of 1,000 images "
            "without labels win back at least half",
            *regained,
            scale="reduced",
            independent=FLOATS,
            paper=("sasaki2019", "title", "post training"),
        ),
    ]


def make_cifar100_claims(frame: pd.DataFrame) -> list[dict]:
    """The claims for CIFAR-100 on the two penalties and on learned bits of activations, as far as a seed has values.

    Of the penalties only budgets that a seed has for both count: while one is missing, a smaller one of the other
    method would look like an advantage.
    """
    return _on_penalties(frame) + _on_activations(frame)


def _on_activations(frame: pd.DataFrame) -> list[dict]:
    """What learned bits of activations cost beside those of weights alone, at the same budget of weights."""
    rows = frame[frame.setting == 4.0]
    by_method = rows.pivot(index="seed", columns="method", values="accuracy").reindex(columns=[SIZE, WITH_ACTIVATIONS])
    lost = (by_method[SIZE] - by_method[WITH_ACTIVATIONS]).dropna()
    if lost.empty:
        return []
    mine = rows[rows.method == WITH_ACTIVATIONS]
    claim = evidence.own_claim(
        "mixed_precision/activations-cifar100",
        "CIFAR-100, MobileNet, budgets of 4 bits: learned bits of activations, beside those of weights, cost at most "
        "1 point",
        evidence.part(_rounded(lost), unit="pt", runs=list(lost.index), high=1.0, **_origins(mine, lost.index)),
        scale="reduced",
        independent=FLOATS,
        reason="Three epochs, without batch normalization; both budgets are exceeded a little. That activations begin "
        "with 4 bits, as in the authors' code, was settled after a first run that began with 8 and lost more.",
        paper=("uhlich2020", "CIFAR-10, ResNet-20", "weights and activations"),
        band_commit=ACTIVATIONS_SET,
    )
    return [claim]


def _on_penalties(frame: pd.DataFrame) -> list[dict]:
    frame = frame[frame.method.isin(["float", *PENALTIES])]
    both = frame.groupby(["seed", "setting"]).method.transform(lambda methods: set(PENALTIES) <= set(methods))
    frame = frame[both | (frame.method == "float")]
    pair = compared(frame, *PENALTIES, CIFAR100_LEVEL)
    if pair.empty:
        return []
    claim = _penalties(
        "latency-at-equal-accuracy-cifar100",
        f"CIFAR-100, MobileNet, {_distance(CIFAR100_LEVEL)}",
        pair,
        frame,
        "reduced",
        FLOATS,
        ["another network and other data: MobileNet on CIFAR-100", "three epochs of training with learned bits"],
    )
    return [claim]


def _penalties(
    slug: str, where: str, pair: pd.DataFrame, frame: pd.DataFrame, scale: str, independent: str, departs: list[str]
) -> dict:
    """Time and bits are one claim: both fall at equal accuracy."""
    time, bits = 100 * (pair.cycles_x / pair.cycles_y - 1), pair.bits_per_mac_x - pair.bits_per_mac_y
    runs: dict[str, Any] = {"runs": list(pair.index), **_origins(frame, pair.index)}
    return evidence.paper_claim(
        f"mixed_precision/{slug}",
        f"{where}: the penalty on MACs × bits takes fewer cycles and fewer bits per MAC than the penalty on the size",
        ("nakata2021", "press text, Table 1: ResNet-18, ImageNet", -21, "%"),
        evidence.part(_rounded(time), name="cycles", unit="%", high=0.0, paper=-21, margin=5, **runs),
        evidence.part(_rounded(bits), name="bits", unit="bit", high=0.0, paper=-1.4, margin=0.3, **runs),
        scale=scale,
        independent=independent,
        departs=[
            *departs,
            "time is that of a model of a processor, not of the authors' accelerator",
            "the formula of the penalty is our reading: the press text has none",
            "activations are not quantized",
            evidence.departure("costs are interpolated between budgets, or those of the smallest budget", False),
            evidence.departure(CHOSEN, False),
        ],
        headline=True,
    )


def _learned_and_fixed(frame: pd.DataFrame) -> dict:
    found = {}
    for seed in sorted(frame.seed.unique()):
        learned, fixed = at_equal_accuracy(frame, "uhlich filter-wise", seed), smallest_fixed(frame, seed)
        if learned is not None and fixed is not None:
            found[seed] = learned["bits_per_weight"] - fixed
    saved = pd.Series(found, dtype=float)
    return evidence.paper_claim(
        "mixed_precision/learned-beats-fixed",
        f"mnist5k, {_distance(LEVEL)}: learned bits take fewer bits per weight than the smallest fixed number of bits",
        ("uhlich2020", "CIFAR-10, ImageNet", "smaller at equal accuracy"),
        evidence.part(_rounded(saved), unit="bit", runs=list(saved.index), high=0.0, **_origins(frame, saved.index)),
        scale="notebook",
        independent=FLOATS,
        departs=[
            "another network, with 4,660 weights, and other data: digits of 14 × 14 pixels",
            "12 epochs, with Adam",
            "activations are not quantized",
            evidence.departure("one grid a filter, where the paper has one a layer", False),
            evidence.departure("the size does not count biases", False),
            evidence.departure(CHOSEN, False),
        ],
        headline=True,
    )


def _rounded(values: pd.Series) -> list[float]:
    return [round(float(value), 4) for value in values]


def _origins(frame: pd.DataFrame, seeds: pd.Index) -> dict[str, Any]:
    """``origins`` for a part with a value a seed: the run that added the last row of the seed, where that is known."""
    found = [evidence.origins(frame[frame.seed == seed])[-1] for seed in seeds]
    return {"origins": found} if any(found) else {}


def _distance(points: float) -> str:
    return f"at most {points:g} point{'s' * (points != 1)} below float"
