"""The claims of the chapter *compensation*, from the tables of its experiment."""

from typing import Any

import pandas as pd
import torch
from torch import Tensor

from fewbits import evidence
from fewbits.evidence import departure, own_claim, paper_claim, part
from fewbits.experiments.common import recorded, right_of
from fewbits.experiments.compensation.networks import ALIGNED, BEST_INQ, GRIDS, KEYS, MEANS, SEEDS

FLOATS = "float networks, trained from different seeds"
TRAINED = FLOATS + ", each with the run of INQ of the same seed"
IMAGES = 10_000  # test images
CONVOLUTIONAL = "a convolutional network of 159,236 parameters on CIFAR-100, where the paper has language models"
WEIGHTS_ONLY = departure("weights only: activations stay in floating point", could_explain=False)
NEAR = 1.0  # points that count as equal
BANDS_SET = "a1b4fcffe06d09bb6c8a6c7ae0807323e93db6db"  # the commit that set all bands, before the runs


def right_images(grid: str, form: str) -> dict[int, Tensor]:
    """By seed, which test images are right; of "float" and "trained INQ" from the records of ``mobileone``."""
    if grid in ("float", "trained INQ"):
        table = recorded("mobileone_predictions", ["label"])
        name = {"float": "float-plain", "trained INQ": f"inq-{BEST_INQ}"}[grid]
        columns = {seed: f"mobileone-4-{name}-{seed}" for seed in SEEDS}
        found = {seed: table[column] == table["label"] for seed, column in columns.items() if column in table}
        return {seed: torch.tensor(right.to_numpy()) for seed, right in found.items()}
    rows = recorded("compensation_networks", KEYS).query("grid == @grid and form == @form")
    return {int(row.seed): torch.from_numpy(right_of(row.right, IMAGES)) for row in rows.itertuples()}


def difference(first: tuple[str, str], second: tuple[str, str], name: str = "", **band: Any) -> list[evidence.Part]:
    """Points by which the ``first`` (grid, form) is more accurate: over networks, and for each network over images."""
    ones, others = right_images(*first), right_images(*second)
    label = f"{name}, " if name else ""
    seeds = [seed for seed in SEEDS if seed in ones and seed in others]
    change = [100 * (int(ones[seed].sum()) - int(others[seed].sum())) / IMAGES for seed in seeds]
    parts = [part(change, name=f"{label}networks", unit="pt", runs=[f"network {seed}" for seed in seeds], **band)]
    for seed in SEEDS:
        gained = int((ones[seed] & ~others[seed]).sum()) if seed in seeds else 0
        lost = int((others[seed] & ~ones[seed]).sum()) if seed in seeds else 0
        more: dict[str, Any] = {"images": {"gained": gained, "lost": lost, "of": IMAGES}} if seed in seeds else {}
        parts.append(
            part(
                [100 * (gained - lost) / IMAGES] if seed in seeds else [],
                name=f"{label}images of network {seed}",
                unit="pt",
                type="paired images",
                runs=[f"network {seed}"] if seed in seeds else [],
                **band,
                **more,
            )
        )
    return parts


def current_claims() -> list[evidence.Claim]:
    """All claims, with empty values where nothing is recorded yet."""
    grids = [name for name, grid in GRIDS.items() if "GPTQ" in grid.forms]
    best = (ALIGNED, "GPTQ" + MEANS)
    everything: dict[str, Any] = {"scale": "full", "band_commit": BANDS_SET}
    return [
        paper_claim(
            "compensation/gptq-beats-nearest",
            "At 4 bits GPTQ is more accurate than rounding each weight to the nearest point",
            ("frantar2022", "Sec. 5", "GPTQ clearly outperforms round-to-nearest at 4 bits"),
            *difference(("uniform 4", "GPTQ"), ("uniform 4", "nearest"), low=0.0),
            independent=FLOATS,
            departs=[CONVOLUTIONAL],
            headline=True,
            scale="reduced",
            band_commit=BANDS_SET,
        ),
        paper_claim(
            "compensation/adaround-beats-nearest",
            "At 4 bits AdaRound is more accurate than rounding each weight to the nearest point",
            ("nagel2020", "Sec. 5", "rounding to nearest is far from the best for weights of 4 bits"),
            *difference(("uniform 4", "AdaRound"), ("uniform 4", "nearest"), low=0.0),
            independent=FLOATS,
            departs=[
                "another network, and CIFAR-100 in place of ImageNet",
                "second moments of 512 images and 500 steps, without the activation function after the layer",
            ],
            headline=True,
            scale="reduced",
            band_commit=BANDS_SET,
        ),
        paper_claim(
            "compensation/mxfp8-drop-in",
            "Weights cast to MXFP8, without anything else, cost at most one point",
            ("rouhani2023", "abstract", "a drop-in replacement for FP32 in inference"),
            *difference(("MXFP8", "nearest"), ("float", ""), low=-NEAR),
            independent=FLOATS,
            departs=["another network", WEIGHTS_ONLY],
            headline=True,
            scale="reduced",
            band_commit=BANDS_SET,
        ),
        own_claim(
            "compensation/every-grid",
            "GPTQ is more accurate than rounding to the nearest point on every grid",
            *[difference((name, "GPTQ"), (name, "nearest"), name, low=0.0)[0] for name in grids],
            independent=FLOATS,
            **everything,
        ),
        own_claim(
            "compensation/adaround-or-gptq",
            "At 4 bits AdaRound and GPTQ are within a point of each other",
            *difference(("uniform 4", "AdaRound"), ("uniform 4", "GPTQ"), low=-NEAR, high=NEAR),
            independent=FLOATS,
            **everything,
        ),
        own_claim(
            "compensation/powers-without-training",
            "Without training, powers of two (5 bits, scales aligned) are at least as accurate as 4 uniform bits per "
            "channel, both with GPTQ and the means put back",
            *difference(best, ("uniform 4", "GPTQ" + MEANS), low=0.0),
            independent=FLOATS,
            **everything,
        ),
        own_claim(
            "compensation/powers-against-nvfp4",
            "Without training, powers of two (5 bits, scales aligned) are at most a point below NVFP4, both with GPTQ "
            "and the means put back",
            *difference(best, ("NVFP4", "GPTQ" + MEANS), low=-NEAR),
            independent=FLOATS,
            **everything,
        ),
        own_claim(
            "compensation/training-still-pays",
            "Powers of two that were trained are more accurate than powers of two that were compensated",
            *difference(("trained INQ", ""), best, low=0.0),
            independent=TRAINED,
            **everything,
        ),
        own_claim(
            "compensation/nvfp4-reaches-inq",
            "NVFP4 with GPTQ and the means put back, without training, is at most a point below trained powers of two",
            *difference(("NVFP4", "GPTQ" + MEANS), ("trained INQ", ""), low=-NEAR),
            independent=TRAINED,
            **everything,
        ),
    ]


def comparison() -> pd.DataFrame:
    """One row a grid and form: mean accuracy over the networks, bytes, seconds, and look-up tables per product.

    Columns ``grid``, ``form``, ``accuracy``, ``low``, ``high`` (of the networks), ``bytes``, ``seconds``, ``tables``.
    """
    units = pd.concat([recorded("method_map_units", ["unit"]), recorded("compensation_units", ["unit"])])
    tables = units.set_index("unit").packed_LUT / 32
    rows = []
    for (grid, form), found in recorded("compensation_networks", KEYS).groupby(["grid", "form"], sort=False):
        row = {"grid": grid, "form": form, "accuracy": found.accuracy.mean()}
        row |= {"low": found.accuracy.min(), "high": found.accuracy.max(), "bytes": found.bits.mean() / 8}
        rows.append(
            row | {"seconds": found.seconds.median(), "tables": tables.get(GRIDS[str(grid)].unit, float("nan"))}
        )
    cifar = recorded("mobileone_cifar100", ["network", "form", "variant", "seed", "branches"])
    mine = cifar[(cifar.network == "mobileone") & (cifar.branches == 4)]
    for grid, form, variant, unit in (
        ("float", "float", "plain", "float × float"),
        ("INQ, trained", "inq", "plain", "INQ × 8 bits"),
        ("INQ, trained, mean-only", "inq", "mean-only", "INQ × 8 bits"),
        ("INQ, best", "inq", BEST_INQ, "INQ × 8 bits"),
    ):
        found = mine[(mine.form == form) & (mine.variant == variant) & (mine.seed == mine.inq_seed)]
        if form == "float":
            found = found.drop_duplicates("seed")
        row = {"grid": grid, "form": "trained", "accuracy": found.accuracy.mean(), "low": found.accuracy.min()}
        row |= {"high": found.accuracy.max(), "bytes": found.bits.mean() / 8, "tables": tables.get(unit, float("nan"))}
        row["seconds"] = found.wall_s.median() if form == "inq" else float("nan")
        rows.append(row)
    return pd.DataFrame(rows)
