"""The claims of chapter ``bn_folding``, from its recorded tables."""

from typing import Any

import pandas as pd

from fewbits import evidence
from fewbits.evidence import departure, own_claim, paper_claim, part

STRONG = "separable, strong decay"
INDEPENDENT = "float networks, trained from different seeds"
SAME = "the same function"
LOSES = ("wu2020", "Sec. 4.1", "loses (int8, ImageNet)")
PYTORCH = "PyTorch in float32, one thread, batches of 128"


def make_claims(exactness, curve, ranges, costs) -> list[evidence.Claim]:
    """The chapter's claims, without words: those are computed when they are recorded."""
    by = curve.set_index(["network", "form", "scales", "bits", "seed"]).accuracy.sort_index()
    per_channel = by.xs("per channel", level="scales").unstack("form")
    worst = ranges.query("form == 'folded' and network == @STRONG").groupby("seed").max_over_min.max()
    networks = f"the largest of {len(exactness)} networks"

    def per_tensor_loss(network: str, bits: int) -> evidence.Part:
        # Less than half a point is within what 1,000 images can tell.
        lost = by[network, "unfolded", "per tensor", bits] - by[network, "folded", "per tensor", bits]
        return _by_seed(lost, unit="pt", low=0.5)

    def harmed(network: str, bits: int) -> str:
        return f"With one scale per tensor, folding costs at least 0.5 points at {bits} bits ({network})"

    return [
        paper_claim(
            "bn_folding/exact-float64",
            f"Folding moves no float64 logit of {len(exactness)} networks by more than 10⁻¹² of the largest",
            ("jacob2018", "Sec. 3.2", SAME),
            part(
                [float(f"{1e15 * exactness.float64.max():.3g}")],
                unit="× 10⁻¹⁵",
                type="identity",
                runs=[networks],
                high=1000,
            ),
            scale="notebook",
            headline=True,
        ),
        paper_claim(
            "bn_folding/same-predictions",
            f"In float32, folding changes no prediction on 1,000 test images of {len(exactness)} networks",
            ("jacob2018", "Sec. 3.2", SAME),
            part([int(exactness.predictions.sum())], unit="predictions", type="count", runs=["all networks"], high=0),
            scale="notebook",
            departs=[departure("small networks on mnist5k", could_explain=False)],
        ),
        paper_claim(
            "bn_folding/per-channel-unharmed",
            "With one scale per channel, folding costs at most 0.1 points, one image, at any bit width",
            ("wu2020", "Sec. 4.1", "unaffected (int8, ImageNet)"),
            part(
                [round(float((per_channel.unfolded - per_channel.folded).max()), 4)],
                unit="pt",
                type="identity",
                runs=[networks],
                high=0.1,
            ),
            scale="notebook",
        ),
        own_claim(
            "bn_folding/per-tensor-harmed-dense",
            harmed("dense", 4),
            per_tensor_loss("dense", 4),
            scale="notebook",
            independent=INDEPENDENT,
            paper=LOSES,
        ),
        own_claim(
            "bn_folding/per-tensor-harmed-strong",
            harmed(STRONG, 4),
            per_tensor_loss(STRONG, 4),
            scale="notebook",
            independent=INDEPENDENT,
            paper=LOSES,
        ),
        paper_claim(
            "bn_folding/per-tensor-harmed-int8",
            harmed(STRONG, 8),
            LOSES,
            per_tensor_loss(STRONG, 8),
            scale="notebook",
            independent=INDEPENDENT,
            departs=[
                "a network of seven convolutions with 16 to 64 channels on mnist5k in place of ImageNet networks",
                "activations stay in floating point",
            ],
        ),
        paper_claim(
            "bn_folding/ranges-strong",
            f"Folded, the widest channel of some layer has over 100 times the narrowest's range ({STRONG})",
            ("jacob2018", "Sec. 3", "> 100", "×"),
            _by_seed(worst, unit="×", low=100),
            scale="notebook",
            independent=INDEPENDENT,
            departs=[
                "a small network on mnist5k, with ten times the usual weight decay, in place of ImageNet networks"
            ],
        ),
        *(
            _faster(network, costs.query("network == @network").sort_values("seed"))
            for network in ("dense", "separable")
        ),
    ]


def _faster(network: str, rows: pd.DataFrame) -> evidence.Claim:
    """A ratio a network: its forms take 41 turns, and the ratio is the median over these."""
    (device,) = rows.device.unique()
    ratios = _by_seed(rows.set_index("seed").speedup, unit="×", type="speed", low=1.0, path=PYTORCH, processor=device)
    return own_claim(
        f"bn_folding/faster-{network}",
        f"The folded network is faster on one CPU thread ({network}, batches of 128)",
        ratios,
        scale="notebook",
        independent="rounds of 41 turns, each on a network of another seed",
        paper=("jacob2018", "Sec. 3.2", "one layer instead of two"),
    )


def _by_seed(values: pd.Series, **more: Any) -> evidence.Part:
    return part([round(float(v), 4) for v in values], runs=values.index.tolist(), **more)
