"""The claims of chapter ``real_network``, from its recorded tables; with empty tables they are the bands alone."""

from typing import Any

import numpy as np
import pandas as pd

from fewbits import evidence
from fewbits.evidence import departure, own_claim, paper_claim, part
from fewbits.experiments.common import right_of

PHOTOGRAPHS = "photographs, on which both networks are counted; the trained network is one"
TRAINING_IMAGES = departure("photographs from ImageNet's training images, which the network has seen", False)
ONE = departure("one network, EfficientNet-Lite0, which the paper does not have", False)
WEIGHTS_ONLY = "activations stay in floating point"
ORT = "ONNX Runtime on one thread, one photograph at a time"
# The commit that set the band of a claim whose paper is cited in other words since then.
BANDS = "de49211680aeedda1b3562932e2d5700713dec35"
INT8 = "8 bits, per channel, activations too"


def marks(row: pd.Series) -> np.ndarray:
    """Which photographs a row of the table counts as correct, as booleans."""
    return right_of(row.right, row.of)


def change(accuracy: pd.DataFrame, before: str, after: str, **more: Any) -> evidence.Part:
    """The change of accuracy between two methods, in points, on the photographs that both have been run on."""
    rows = {name: accuracy[accuracy.method == name].set_index("group") for name in (before, after)}
    groups = sorted(set(rows[before].index) & set(rows[after].index))
    if not groups:
        return part([], unit="pt", type="paired images", **more)
    first, second = (np.concatenate([marks(rows[name].loc[group]) for group in groups]) for name in (before, after))
    gained, lost = int((second & ~first).sum()), int((first & ~second).sum())
    images = {"gained": gained, "lost": lost, "of": len(first)}
    value = 100 * (gained - lost) / len(first)
    run = f"{len(first)} photographs"
    origins = evidence.origins(rows[after].loc[[groups[-1]]])
    return part([value], unit="pt", type="paired images", runs=[run], images=images, origins=origins, **more)


def measured(measures: pd.DataFrame, measure: str, **more: Any) -> evidence.Part:
    """The values of a measure in the table of single numbers, in the order of their runs."""
    rows = measures[measures.measure == measure]
    more |= {"origins": evidence.origins(rows)} if len(rows) else {}
    whole = more.get("type") == "count"
    values = [int(value) if whole else float(value) for value in rows.value]
    return part(values, runs=rows.run.astype(str).tolist(), **more)


def make_claims(accuracy: pd.DataFrame, measures: pd.DataFrame) -> list[evidence.Claim]:
    """The chapter's claims, without words: those are computed when they are recorded."""
    device = measures[measures.measure == "int8-speedup"].device
    machine = str(device.iloc[0]) if len(device) else "not run yet"
    return [
        paper_claim(
            "real_network/folding-exact",
            "Folding batch normalization leaves what the network computes: logits move by float32 rounding only",
            ("jacob2018", "Sec. 3.2", "the same function"),
            measured(measures, "folding-float64", name="logits", unit="× 10⁻¹²", type="identity", high=1.0),
            measured(measures, "folding-predictions", name="predictions", unit="changed", type="count", high=0),
            scale="reduced",
            departs=[ONE],
        ),
        paper_claim(
            "real_network/channel-ranges",
            "Folded, the widest channel of some layer has over 100 times the narrowest's range",
            ("jacob2018", "Sec. 3", "> 100", "×"),
            measured(measures, "channel-ranges", unit="×", type="count", low=100),
            scale="reduced",
            departs=[ONE],
        ),
        paper_claim(
            "real_network/per-tensor-harmed",
            "With one scale per tensor, folding costs accuracy at 8 bits",
            ("wu2020", "Sec. 4.1", "loses (int8, ImageNet)"),
            change(accuracy, "8 bits, per tensor, unfolded", "8 bits, per tensor", high=0),
            scale="reduced",
            independent=PHOTOGRAPHS,
            departs=[TRAINING_IMAGES, ONE],
            headline=True,
        ),
        paper_claim(
            "real_network/per-channel-unharmed",
            "With one scale per channel, folding costs at most 1 point at 8 bits",
            ("wu2020", "Sec. 4.1", "unaffected (int8, ImageNet)"),
            change(accuracy, "8 bits, per channel, unfolded", "8 bits, per channel", low=-1),
            scale="reduced",
            independent=PHOTOGRAPHS,
            departs=[TRAINING_IMAGES, ONE],
        ),
        own_claim(
            "real_network/int8-drop",
            "8-bit weights with one scale per channel cost at most 1 point",
            change(accuracy, "float", "8 bits, per channel", low=-1),
            scale="reduced",
            independent=PHOTOGRAPHS,
            paper=("wu2020", "Abstract", "within 1 % (activations too, and training where it is needed)"),
            band_commit=BANDS,
        ),
        own_claim(
            "real_network/int8-activations-drop",
            "With 8-bit activations too, calibrated by their largest values, the network loses at most 2 points",
            change(accuracy, "float", INT8, low=-2),
            scale="reduced",
            independent=PHOTOGRAPHS,
            paper=("wu2020", "Sec. 4.2", "depends on the calibration"),
        ),
        paper_claim(
            "real_network/equalization-mends",
            "Equalization makes up for one scale per tensor at 8 bits: it gains, and ends within 2 points of float",
            ("nagel2019", "Sec. 5.1", "close to float (MobileNetV2, int8 per tensor)"),
            change(accuracy, "8 bits, per tensor", "8 bits, per tensor, equalized", name="gain", low=0),
            change(accuracy, "float", "8 bits, per tensor, equalized", name="drop", low=-2),
            scale="reduced",
            independent=PHOTOGRAPHS,
            departs=[WEIGHTS_ONLY, TRAINING_IMAGES, ONE, "biases are not absorbed, and not corrected"],
        ),
        own_claim(
            "real_network/four-bits-fail",
            "Rounded to nearest, 4 bits cost over 40 points even with one scale per channel",
            change(accuracy, "float", "4 bits, per channel", high=-40),
            scale="reduced",
            independent=PHOTOGRAPHS,
        ),
        own_claim(
            "real_network/gptq-gains",
            "At 4 bits per channel, GPTQ gains at least 20 points over rounding to nearest",
            change(accuracy, "4 bits, per channel", "4 bits, per channel, GPTQ", low=20),
            scale="reduced",
            independent=PHOTOGRAPHS,
            paper=("frantar2022", "Sec. 5", "gains (language models, 3 and 4 bits)"),
        ),
        own_claim(
            "real_network/correction-gains",
            "At 4 bits per channel, correcting means and variances gains at least 20 points",
            change(accuracy, "4 bits, per channel", "4 bits, per channel, statistics corrected", low=20),
            scale="reduced",
            independent=PHOTOGRAPHS,
        ),
        own_claim(
            "real_network/shared-beat-even",
            "At 4 bits, 16 shared values (k-means) a layer beat even steps with one scale a layer",
            change(accuracy, "4 bits, per tensor", "k-means, 4 bits", low=0),
            scale="reduced",
            independent=PHOTOGRAPHS,
        ),
        own_claim(
            "real_network/blocks-beat-channels",
            "At 4 bits, blocks of 16 (NVFP4) beat even steps with one scale a channel",
            change(accuracy, "4 bits, per channel", "NVFP4", low=0),
            scale="reduced",
            independent=PHOTOGRAPHS,
        ),
        own_claim(
            "real_network/finer-base",
            "With 5 bits, powers of √2 beat powers of 2",
            change(accuracy, "powers of 2, 5 bits", "powers of √2, 5 bits", low=0),
            scale="reduced",
            independent=PHOTOGRAPHS,
            paper=("miyashita2016", "Sec. 5", "base √2 is better (ImageNet networks)"),
        ),
        own_claim(
            "real_network/integers-exact",
            "Integer arithmetic gives the codes of the simulated network, bit for bit",
            measured(measures, "integer-differences", unit="codes", type="count", high=0),
            scale="reduced",
        ),
        own_claim(
            "real_network/onnx-codes",
            "ONNX Runtime differs in at most a quarter of the output codes, and by at most 4 steps",
            measured(measures, "onnx-differ", name="share", unit="%", type="identity", high=25),
            measured(measures, "onnx-largest", name="largest", unit="steps", type="count", high=4),
            scale="reduced",
        ),
        own_claim(
            "real_network/int8-size",
            "The integer network takes at most a third of the bytes of the package's file",
            measured(measures, "int8-ratio", unit="×", type="size", low=3),
            scale="reduced",
        ),
        own_claim(
            "real_network/int8-faster",
            "In ONNX Runtime the integer network is faster than the float one",
            measured(measures, "int8-speedup", unit="×", type="speed", low=1.0, path=ORT, processor=machine),
            scale="reduced",
            independent="rounds, in each of which both take turns",
        ),
        own_claim(
            "real_network/huffman",
            "64 shared values a layer and Huffman codes: at most a sixth of the file, and at most 2 points lost",
            change(accuracy, "float", "k-means, 6 bits", name="drop", low=-2),
            measured(measures, "huffman-ratio", name="size", unit="×", type="size", low=6),
            scale="reduced",
            independent=PHOTOGRAPHS,
            paper=("han2015", "Sec. 3 and 4", "without pruning and retraining"),
        ),
    ]
