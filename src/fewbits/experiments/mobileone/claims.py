"""Tables of the experiment ``mobileone``, and the claims that follow from them and from ``inq_small``."""

from typing import Any

import pandas as pd

from fewbits import evidence
from fewbits.evidence import cited_claim, departure, own_claim, paper_claim, part
from fewbits.experiments.common import recorded
from fewbits.experiments.inq import claims as inq
from fewbits.experiments.inq.claims import STANDARD, by_seed, counted, points_lost
from fewbits.mobileone import MobileNetV1, MobileOne, reparameterize
from fewbits.nets import count_parameters

# Of ``mobileone_cifar100`` and ``…_stages``: ``seed`` is that of the float network, ``inq_seed`` that of INQ.
CIFAR_KEYS = ["network", "branches", "seed", "form", "variant", "inq_seed"]
STAGE_KEYS = ["network", "branches", "seed", "variant", "inq_seed"]


def recorded_cifar100() -> pd.DataFrame:
    """What is recorded of the full-scale runs."""
    return recorded("mobileone_cifar100", [*CIFAR_KEYS, "accuracy"])


WIDTHS = departure("the paper prints no widths: they were chosen so that the count is met", could_explain=False)


def size_claims() -> list[evidence.Claim]:
    """How many parameters the CIFAR-100 network has, and how many bits they take; exact, without training."""
    networks = (MobileNetV1(), MobileOne(branches=1))
    counts = {count_parameters(reparameterize(network.eval())) for network in networks}
    (count,) = counts  # the same network at inference

    def size(value: int, paper: int, unit: str = "bits") -> evidence.Part:
        return part([value], unit=unit, type="size", runs=["the network"], low=paper, high=paper, paper=paper, margin=0)

    return [
        own_claim(
            "mobileone/parameters",
            "Widths of 32 to 256 in 11 blocks give the number of parameters behind the paper's bits, 159,236",
            size(count, 159_236, ""),
            scale="full",
            paper=("yokota2024", "Table 1: bits / 32", 159_236, ""),
        ),
        own_claim(
            "mobileone/params-float",
            "The parameters of this network take the paper's 5,095,552 bits in floating point",
            size(32 * count, 5_095_552),
            scale="full",
            paper=("yokota2024", "Table 1", 5_095_552, "bits"),
        ),
        paper_claim(
            "mobileone/params-inq",
            "The parameters take 796,180 bits after INQ, weights and biases, 84 % less than in floating point",
            ("yokota2024", "Table 1", 796_180, "bits"),
            size(5 * count, 796_180),
            scale="full",
            departs=[WIDTHS],
        ),
    ]


PAPER = {("mobilenet", "float"): 62.92, ("mobileone", "float"): 64.32}
PAPER |= {("mobilenet", "inq"): 58.54, ("mobileone", "inq"): 63.19}
LETTERS = dict(zip("abcd", PAPER.items(), strict=True))  # of the rows of the paper's table
NAMES = {"mobilenet": "MobileNet-V1", "mobileone": "MobileOne"}
# Settled before the runs: the recipe of our best d) in full, the drop that it may have, and how near to the paper's
# accuracy counts as equal.
BEST = "mean-only+aligned+distilled"
BEST_SET = "cd0ed3626babb20271f6c32d693942ee29f2c5a3"  # the commit before the first of these runs
FORMS_SET = "98f41d486944a7a9143d1fe25fa09a7362cc1970"  # the one before correction, merging and normalization kept
# of recipes settled later, the second one after both MobileOne 0 and 1 had been seen with statistics of plain images
BANDS = {"bn-kept": FORMS_SET, "bn-kept+re-estimated": "35728f246ee286c72a88f516d3c63fedf43e212e"}
PAPER_DROP = 1.13  # points that INQ costs MobileOne in yokota2024's Table 1
_TABLE_1 = "{} is at most a point below the paper's accuracy on CIFAR-100"
MARGIN = 1.0  # points within which an accuracy or a difference of two counts as the paper's
# Trained by code that no commit has. Its file can be measured, and INQ from it repeated, but not its own training.
UNREPEATABLE = {("mobilenet", "float"): 0}
FLOATS = "float networks, trained from different seeds"
INQS = FLOATS + ", each with the run of INQ of the same seed"

TRAINING: list[str | dict] = [
    "the paper prints no widths: they were inferred from its count of bits",
    "the paper gives neither epochs nor optimizer nor augmentation: here 40 epochs of SGD, with crops and flips",
]
BRANCHES = "the paper does not give the number of branches: here 4"
AFTER = "the paper does not say whether INQ runs before or after BN and branches are merged: here after"
_BETWEEN = "the paper does not say how long it trains between the steps of INQ: here {} epochs each"
SHORT = _BETWEEN.format("four")
INQ: list[str | dict] = [
    AFTER,
    _BETWEEN.format("six"),
    departure("the learning rate of INQ was chosen on test images of seed 0", could_explain=False),
]


def _network(key: tuple[str, str]) -> str:
    return NAMES[key[0]] + (" with 5-bit INQ" if key[1] == "inq" else "")


def _departs(key: tuple[str, str]) -> list:
    return TRAINING + [BRANCHES] * (key[0] == "mobileone") + INQ * (key[1] == "inq")


def cited_claims(table: pd.DataFrame) -> list[evidence.Claim]:
    """The rows of yokota2024's Table 1 of which ``mobileone_cifar100`` has nothing: cited until they have been run."""
    measured = {claim["id"] for claim in cifar_claims(table)}
    reason = "full-scale training (python -m fewbits.experiments mobileone --network {}) has not been run yet"
    return [
        cited_claim(
            f"mobileone/{letter}",
            _TABLE_1.format(_network(key)),
            ("yokota2024", "Table 1", paper, "%"),
            reason.format(key[0]),
        )
        for letter, (key, paper) in LETTERS.items()
        if f"mobileone/{letter}" not in measured
    ]


def cifar_claims(table: pd.DataFrame) -> list[evidence.Claim]:
    """The claims of yokota2024's Table 1 for which ``mobileone_cifar100`` has rows."""

    def above(network: str, other: str) -> pd.Series:
        """Points by which INQ of ``network`` is better than the float ``other`` of the same seed."""
        return _scores(table, network, "inq") - _scores(table, other, "float")

    claims = []
    for letter, (key, paper) in LETTERS.items():
        independent = FLOATS if key[1] == "float" else INQS
        band: dict[str, Any] = {"low": paper - MARGIN, "paper": paper, "margin": MARGIN}
        scores = _scores(table, *key).drop(UNREPEATABLE.get(key, []), errors="ignore")
        measured = _part(scores, "%", _origins(table, *key), **band)
        claims += _measured(
            letter, _TABLE_1.format(_network(key)), paper, measured, _departs(key), independent=independent
        )
    drops = {network: -above(network, network) for network in NAMES}
    runs: dict[str, dict[str, Any]] = {network: {"origins": _origins(table, network, "inq")} for network in NAMES}
    claims += _measured(
        "mobilenet-drop",
        "5-bit INQ costs MobileNet-V1 more than 4 points",
        4.38,
        _part(drops["mobilenet"], low=4.0, paper=4.38, margin=MARGIN, **runs["mobilenet"]),
        _departs(("mobilenet", "inq")),
    )
    claims += _measured(
        "drop",
        "5-bit INQ costs MobileOne at most 2 points",
        1.13,
        _part(drops["mobileone"], high=2.0, paper=1.13, margin=MARGIN, **runs["mobileone"]),
        _departs(("mobileone", "inq")),
        headline=True,
    )
    claims += _measured(
        "drop-smaller",
        "INQ costs MobileOne less than MobileNet-V1: the difference of the drops",
        3.25,
        _part(drops["mobilenet"] - drops["mobileone"], low=0.0, paper=3.25, margin=MARGIN, **runs["mobileone"]),
        _departs(("mobileone", "inq")),
    )
    ahead: dict[str, Any] = {"name": "accuracy", "low": 0.0, "paper": 0.27, "margin": MARGIN} | runs["mobileone"]
    claims += _measured(
        "proposed-beats-mobilenet-float",
        "MobileOne with 5-bit INQ is more accurate than MobileNet-V1 in floating point, with 84 % fewer bits",
        0.27,
        _part(above("mobileone", "mobilenet"), **ahead),
        _departs(("mobileone", "inq")),
        part([100 - 100 * 5 / 32], name="bits saved", unit="%", type="size", low=84.0, runs=["5 bits of 32"]),
        headline=True,
    )
    return claims


def aligned_claims(table: pd.DataFrame) -> list[evidence.Claim]:
    """What alignment of channel scales before INQ does, and a float teacher in addition, as far as it has been run."""
    aligned = {network: _scores(table, network, "inq", "aligned") for network in NAMES}
    taught = _scores(table, "mobileone", "inq", "aligned+distilled")
    runs: dict[str, dict[str, Any]] = {
        network: {"origins": _origins(table, network, "inq", "aligned")} for network in NAMES
    }
    claims = {
        "drop-aligned": (
            "5-bit INQ costs MobileOne at most 2 points after folding constants and aligning scales",
            _part(_scores(table, "mobileone", "float") - aligned["mobileone"], high=2.0, **runs["mobileone"]),
        ),
        "alignment-pays": (
            "Folding constants and aligning scales makes MobileOne more accurate after 5-bit INQ",
            _part(aligned["mobileone"] - _scores(table, "mobileone", "inq"), low=0.0, **runs["mobileone"]),
        ),
        "alignment-pays-mobilenet": (
            "Folding constants and aligning scales makes MobileNet-V1 more accurate after 5-bit INQ",
            _part(aligned["mobilenet"] - _scores(table, "mobilenet", "inq"), low=0.0, **runs["mobilenet"]),
        ),
        "teacher-pays": (
            "Aligned MobileOne is more accurate after 5-bit INQ if the float network teaches it",
            # The teacher's run is the older one of the two.
            _part(taught - aligned["mobileone"], low=0.0, **runs["mobileone"]),
        ),
    }
    return [
        own_claim(f"mobileone/{slug}", statement, measured, scale="full", independent=INQS)
        for slug, (statement, measured) in claims.items()
        if measured["values"]
    ]


def normalized_claims(table: pd.DataFrame) -> list[evidence.Claim]:
    """INQ with normalization while it trains, as far as it has been run: all parameters end as powers of two."""
    claims = []
    for network in NAMES:
        in_float = _scores(table, network, "float")
        for variant in ("mean-only", "mean-only+aligned", BEST, "bn-kept", "bn-kept+re-estimated"):
            slug = variant.replace("+", "-")
            drop = in_float - _scores(table, network, "inq", variant)
            claims.append(
                own_claim(
                    f"mobileone/drop-{slug}" if network == "mobileone" else f"mobileone/{network}-drop-{slug}",
                    f"INQ with the changes {variant} costs {NAMES[network]} at most {PAPER_DROP} points",
                    _part(drop, origins=_origins(table, network, "inq", variant), high=PAPER_DROP),
                    scale="full",
                    independent=INQS,
                    band_commit=BANDS.get(variant, BEST_SET),
                )
            )
    ahead = _scores(table, "mobileone", "inq", BEST) - _scores(table, "mobilenet", "float")
    claims.append(
        own_claim(
            "mobileone/best-beats-mobilenet-float",
            "MobileOne with powers of two only is more accurate than MobileNet-V1 in floating point",
            _part(ahead, origins=_origins(table, "mobileone", "inq", BEST), low=0.0),
            scale="full",
            independent=INQS,
        )
    )
    return [claim for claim in claims if claim["parts"][0]["values"]]


def correction_claims(forms: pd.DataFrame) -> list[evidence.Claim]:
    """What statistics correction gives back without training; rows of ``mobileone_forms``."""
    trained = forms[forms.form == "as trained"]
    parts = []
    for network, name in NAMES.items():
        rows = trained[trained.network == network].set_index("seed", drop=False).sort_index()
        origins = dict(zip(rows.seed, evidence.origins(rows), strict=True))
        parts.append(_part(rows.corrected - rows["all"], origins=origins, name=name, low=0.0))
    return [
        own_claim(
            "mobileone/correction-pays",
            "Means and variances of all channels put back with 1,000 unlabelled images make both networks more "
            "accurate after rounding everything to 5 bits",
            *parts,
            scale="full",
            independent=FLOATS,
            band_commit=FORMS_SET,
        )
    ]


def merging_claims(table: pd.DataFrame) -> list[evidence.Claim]:
    """Two readings of yokota2024 on ``mnist5k``, INQ before merging and after it; rows of ``mobileone_merging``."""
    rows = table[table.network == "MobileOne k=4"]
    accuracy = rows.pivot(index="seed", columns="form", values="accuracy")
    grid = rows.pivot(index="seed", columns="form", values="on_grid")
    origins = dict(zip(rows.seed, evidence.origins(rows), strict=True))
    values = {
        "branches-drop-digits": (
            "Small MobileOne: INQ of the branches, BN kept, costs at most half a point before they are merged",
            _part(accuracy["float"] - accuracy.branches, origins=origins, high=0.5),
        ),
        "branches-merged-grid": (
            "Small MobileOne: merging after INQ of the branches leaves less than half of the weights powers of two",
            _part(100 * grid.merged, "%", origins, high=50.0),
        ),
        "branches-merged-rounded": (
            "Small MobileOne: rounding the merged network to powers of two again costs more than 10 points",
            _part(accuracy.merged - accuracy.rounded, origins=origins, low=10.0),
        ),
    }
    return [
        own_claim(
            f"mobileone/{slug}",
            statement,
            measured,
            scale="notebook",
            independent=inq.INDEPENDENT,
            band_commit=FORMS_SET,
        )
        for slug, (statement, measured) in values.items()
    ]


def _scores(table: pd.DataFrame, network: str, form: str, variant: str = "plain") -> pd.Series:
    """Accuracies in percent by seed of the float network, which INQ has as well; of MobileOne with 4 branches.

    Further runs of INQ from the same float network say how INQ spreads, and not how such networks do.
    """
    return _rows(table, network, form, variant).set_index("seed").accuracy.sort_index()


def _rows(table: pd.DataFrame, network: str, form: str, variant: str) -> pd.DataFrame:
    rows = table[(table.network == network) & (table.form == form) & (table.variant == variant)]
    return rows[rows.branches.isin((0, 4)) & (rows.seed == rows.inq_seed)]


def _origins(table: pd.DataFrame, network: str, form: str, variant: str = "plain") -> dict[int, dict | None]:
    """The run of each of the :func:`_scores`, where the table says which it was."""
    rows = _rows(table, network, form, variant)
    return dict(zip(rows.seed, evidence.origins(rows), strict=True))


def _part(
    values: pd.Series, unit: str = "pt", origins: dict[int, dict | None] | None = None, **band: Any
) -> evidence.Part:
    """A part with one value a float network, from ``values`` by its seed, and the run that each comes from."""
    values = values.dropna().sort_index()
    runs = [f"float {seed}" for seed in values.index]
    found = [(origins or {}).get(seed) for seed in values.index]
    more: dict[str, Any] = {"origins": found} if any(found) else {}
    return part([round(float(v), 4) for v in values], unit=unit, runs=runs, **band, **more)


def _measured(
    slug: str,
    statement: str,
    paper: float,
    measured: evidence.Part,
    departs: list,
    *others: evidence.Part,
    independent: str = INQS,
    headline: bool = False,
) -> list[evidence.Claim]:
    """One claim of Table 1; none if there are no values."""
    if not measured["values"]:
        return []
    source = ("yokota2024", "Table 1", paper, measured["unit"])
    more: dict = {"scale": "full", "independent": independent, "departs": departs, "headline": headline}
    return [paper_claim(f"mobileone/{slug}", statement, source, measured, *others, **more)]


def small_claims(table: pd.DataFrame) -> list[evidence.Claim]:
    """Where folding belongs, and yokota2024's comparison of the two networks, on ``mnist5k``; rows of ``inq_small``."""
    table = counted(table)
    late = table.query("network == 'MobileNet' and setting == 'INQ then folded' and bits == 5").set_index("seed")
    again = points_lost(table, "folded then rounded", 5) - points_lost(table, STANDARD, 5)
    smaller = points_lost(table, STANDARD, 5) - points_lost(table, STANDARD, 5, "MobileOne k=4")
    powers = ("zhou2017", "Sec. 2.1", "powers of two")
    return [
        own_claim(
            "mobileone/folding-after-leaves-grid",
            "Folding BN after INQ leaves less than half of the weights on the 5-bit grid",
            by_seed(100 * late.on_grid, table, "%", high=50.0),
            scale="notebook",
            independent=inq.INDEPENDENT,
            paper=powers,
        ),
        own_claim(
            "mobileone/folding-after-costs",
            "At 5 bits, rounding again after such a folding costs more than folding first",
            by_seed(again, table, low=0.0),
            scale="notebook",
            independent=inq.INDEPENDENT,
            paper=powers,
        ),
        paper_claim(
            "mobileone/drop-smaller-digits",
            "Small networks: INQ costs MobileOne less than MobileNet-V1, the difference of the drops",
            ("yokota2024", "Table 1", 3.25, "pt"),
            by_seed(smaller, table, low=0.0),
            scale="notebook",
            independent=inq.INDEPENDENT,
            departs=["networks of 4,378 parameters on mnist5k in place of CIFAR-100", BRANCHES, AFTER, SHORT],
        ),
    ]


def current_claims() -> list[evidence.Claim]:
    """All claims of chapter ``mobileone``, as the recorded tables give them."""
    full = recorded_cifar100()
    claims = size_claims() + cifar_claims(full) + aligned_claims(full)
    claims += normalized_claims(full) + cited_claims(full)
    tables = {"mobileone_forms": correction_claims, "mobileone_merging": merging_claims, "inq_small": small_claims}
    for name, make in tables.items():
        if len(rows := recorded(name, [])):
            claims += make(rows)
    return claims
