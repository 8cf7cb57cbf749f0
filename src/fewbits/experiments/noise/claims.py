"""The claims of the appendix on noise, computed from the tables of its experiment; all of them are the book's own."""

import math

import pandas as pd
from scipy import stats

from fewbits.evidence import Claim, origins, own_claim, part
from fewbits.experiments.noise.statistics import seeds_needed

EQUAL = 1e-8  # relative difference of two losses that agree to 8 digits


def make_claims(many: pd.DataFrame, hardware: pd.DataFrame, frozen: pd.DataFrame) -> list[Claim]:
    """The chapter's claims.

    Args:
        many, hardware, frozen: rows of ``noise_seeds``, ``noise_hardware`` and ``noise_frozen``.
    """
    seeds = sorted(hardware.seed.unique().tolist())
    settings = frozen.setting.nunique()
    by_seed = hardware.groupby(["recipe", "precision", "method", "seed"]).accuracy
    width, spread = by_seed.max() - by_seed.min(), by_seed.std()
    seed_sd = many.groupby(["recipe", "method"]).accuracy.std()
    moved = frozen.groupby("method").predictions.nunique() - 1

    def claim(slug: str, statement: str, measured: dict, independent: str = "") -> Claim:
        return own_claim(f"noise/{slug}", statement, measured, scale="notebook", independent=independent)

    def differing(method: str) -> dict:
        """Of each seed, how many settings end at another loss than the first one."""
        runs = hardware[(hardware.recipe == "constant") & (hardware.precision == "float64")]
        losses = runs[runs.method == method].pivot(index="setting", columns="seed", values="loss")
        reference = losses.loc[hardware.setting.iloc[0]]
        other = ((losses - reference).abs() / reference > EQUAL).sum()
        return part([int(other[seed]) for seed in seeds], type="count", unit="settings", runs=seeds, high=0)

    same = "Trained in float64, a {} network ends at the same test loss to 8 digits in the first setting and in the "
    same += f"{settings - 1} others: settings that differ"
    apart = [
        round(float(width["constant", "float32", "binary", s] - width["constant", "float32", "float", s]), 4)
        for s in seeds
    ]
    ratios = [
        round(float(spread["constant", "float32", "binary", s] / seed_sd["constant", "binary"]), 3) for s in seeds
    ]
    return [
        claim(
            "frozen-identical",
            f"Frozen networks predict the same in {settings} settings: networks whose predictions change",
            part([int((moved > 0).sum())], type="count", unit="networks", runs=["all frozen networks"], high=0),
        ),
        claim("float64-identical", same.format("float"), differing("float")),
        claim("float64-ste-identical", same.format("binary"), differing("binary")),
        claim(
            "ste-larger-than-float",
            "At one seed, settings alone move accuracy further with binary than with float weights",
            part(apart, unit="pt", runs=seeds, low=0.0),
            "training runs from different seeds, each in all settings",
        ),
        claim(
            "hardware-like-seed",
            "With binary weights, settings spread accuracy about as much as seeds do (ratio of standard deviations)",
            part(ratios, unit="×", runs=seeds, low=0.3, high=1.5),
            "training runs from different seeds, each in all settings",
        ),
        claim(
            "seeds-needed",
            "To see a gain of 1 point with binary weights, a method needs more than the usual 5 seeds",
            _needed(many[(many.recipe == "one-cycle") & (many.method == "binary")].accuracy),
            "training runs from different seeds",
        ),
    ]


def pooling_claims(pooling: pd.DataFrame) -> list[Claim]:
    """Which edge makes two runs part within the first epoch.

    Args:
        pooling: rows of ``noise_pooling``.
    """
    rows = pooling.assign(origin=origins(pooling))

    def digits(precision: str, method: str, name: str, **band: float) -> dict:
        """Decimal exponents of the distance after 32 steps, seed by seed."""
        chosen = rows[(rows.precision == precision) & (rows.method == method) & (rows.pooling == name)]
        values = [round(math.log10(max(distance, 1e-17)), 3) for distance in chosen["step 32"]]
        options: dict = {"name": f"{method}, {name}", "unit": "decimal exponent"} | band
        if len(chosen) and chosen.origin.notna().all():
            options["origins"] = chosen.origin.tolist()
        return part(values, runs=chosen.seed.tolist(), **options)

    def claim(slug: str, precision: str, near: str, far: str, low: float, high: float) -> Claim:
        statement = (
            f"In {precision}, runs with binary or 2-bit weights that start a last bit apart are at most {near} apart "
            f"after an epoch with average pooling, and more than {far} with max-pooling"
        )
        parts = [digits(precision, method, "average", high=high) for method in ("binary", "2-bit")]
        parts += [digits(precision, method, "maximum", low=low) for method in ("binary", "2-bit")]
        independent = "pairs of training runs from different seeds"
        return own_claim(f"noise/{slug}", statement, *parts, scale="notebook", independent=independent)

    return [
        claim("pooling-float64", "float64", "10⁻⁹", "10⁻⁶", -6.0, -9.0),
        claim("pooling-float32", "float32", "10⁻⁵", "10⁻³", -3.0, -5.0),
    ]


def _needed(accuracies: pd.Series) -> dict:
    """Seeds for one point; the interval is that of the standard deviation of normal accuracies (chi-squared)."""
    sd, freedom = float(accuracies.std()), len(accuracies) - 1
    low, high = (sd * math.sqrt(freedom / stats.chi2.ppf(level, freedom)) for level in (0.975, 0.025))
    return part(
        [seeds_needed(1.0, sd)],
        type="estimate",
        unit="seeds",
        runs=[f"{len(accuracies)} seeds together"],
        low=6,
        interval=[seeds_needed(1.0, low), seeds_needed(1.0, high)],
        method=f"chi-squared interval of the standard deviation of {len(accuracies)} seeds",
    )
