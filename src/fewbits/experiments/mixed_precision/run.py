"""Mixed precision: fixed bits, learned bits under two penalties, and bits without training, in one network.

Every method starts from the same float network of its seed. Written are ``data/results/mixed_precision_runs.csv`` (one
row per method, setting and seed; only what is missing is trained), ``data/results/mixed_precision_bits.csv`` (bits of
every filter, one row per layer), ``data/results/mixed_precision.json`` (claims) and the networks of seed 0 that the
chapter evaluates in ``data/checkpoints``. ``--data cifar100`` does the same for the MobileNet of the experiment ``inq``
(``mixed_precision_cifar100.csv``). ``--part latency`` asks which number predicts time (see `latency`).
"""

import time

import numpy as np
import pandas as pd
from torch import nn

from fewbits import evidence
from fewbits.core.extras import extra
from fewbits.experiments.common import checkpoint_path, recorded, seeds
from fewbits.experiments.mixed_precision import cifar100 as full_scale
from fewbits.experiments.mixed_precision.latency import run_latency
from fewbits.experiments.mixed_precision.training import METHODS, measure, prepared, train_float, train_quantized
from fewbits.mixed_precision import filter_bits
from fewbits.training import save_model

with extra("data"):
    from sklearn.isotonic import IsotonicRegression

COLUMNS = ("method", "setting", "seed", "accuracy", "bits_per_filter", "bits_per_weight", "bits_per_mac", "cycles")
KEPT = (("uhlich filter-wise", 2.2), ("nakata", 2.2))  # of seed 0, in data/checkpoints, beside the float network
LEVEL = 1.0  # points below float: where methods are compared at equal accuracy
SASAKI_RATIO = 0.5  # the step of the claim on post-training accuracy, in standard deviations


def add_arguments(parser) -> None:
    """Options of ``python -m fewbits.experiments mixed_precision``."""
    parser.add_argument("--part", choices=("training", "latency"), default="training")
    parser.add_argument("--data", choices=("mnist5k", "cifar100"), default="mnist5k")
    parser.add_argument("--seeds", type=int, default=5, help="number of seeds (default 5)")
    latency = parser.add_argument_group("latency")
    latency.add_argument("--rounds", type=int, default=3, help="rounds of measurement, 0 for none (default 3)")
    latency.add_argument("--allocations", type=int, default=500, help="random allocations of each kind (default 500)")


def run(options, command: str) -> None:
    """Train what is missing, then write claims."""
    evidence.code_version()  # before the run, so that a later commit does not take the credit
    if options.part == "latency":
        started = time.perf_counter()
        claims = run_latency(options.rounds, options.allocations)
        evidence.record("mixed_precision", claims, command=command, wall_s=time.perf_counter() - started)
        return
    if options.data == "cifar100":
        frame = full_scale.run_cifar100(options.seeds)
        claims = make_cifar100_claims(frame)
    else:
        frame = run_mnist5k(options.seeds)
        claims = make_claims(frame)
    evidence.record("mixed_precision", claims, command=command, wall_s=float(frame.seconds.sum()))


def run_mnist5k(count: int) -> pd.DataFrame:
    """Train what is missing of ``count`` seeds; the table ``mixed_precision_runs``."""
    data = prepared()
    for seed in seeds(count):
        float_model = None
        for method, setting in [("float", 32), *((name, s) for name, m in METHODS.items() for s in m.settings)]:
            table = recorded("mixed_precision_runs", COLUMNS)
            if not _rows_of(table, method, setting).query("seed == @seed").empty:
                continue
            started = time.perf_counter()
            if float_model is None:
                float_model = train_float(data, seed)
            model = float_model
            if method != "float":
                model = train_quantized(float_model, METHODS[method], setting, data, seed)
            _keep(model, method, setting, seed)
            row = {"method": method, "setting": setting, "seed": seed} | measure(model, data)
            row["seconds"] = round(time.perf_counter() - started, 1)
            print(row, flush=True)
            evidence.write_rows("mixed_precision_runs", pd.concat([table, pd.DataFrame([row])]).round(4))
    return recorded("mixed_precision_runs", COLUMNS)


def _rows_of(table: pd.DataFrame, method: str, setting: float) -> pd.DataFrame:
    return table[(table.method == method) & (table.setting == setting)]


def _keep(model: nn.Module, method: str, setting: float, seed: int) -> None:
    """Record the bits of every filter, and save the networks that the chapter evaluates."""
    rows = [
        {"method": method, "setting": setting, "seed": seed, "layer": layer, "bits": " ".join(map(str, bits))}
        for layer, bits in filter_bits(model).items()
    ]
    if rows:
        table = recorded("mixed_precision_bits", list(rows[0]))
        same = (table.method == method) & (table.setting == setting) & (table.seed == seed)
        evidence.write_rows("mixed_precision_bits", pd.concat([table[~same], pd.DataFrame(rows)]))
    if seed == 0 and ((method, setting) in KEPT or method == "float"):
        save_model(model, checkpoint_path(f"mixed-precision-{method.replace(' ', '-')}"))


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


def make_claims(frame: pd.DataFrame) -> list[dict]:
    """The chapter's claims, without verdicts."""
    pair = compared(frame, "nakata", "uhlich filter-wise")
    fixed = compared(frame, "uhlich filter-wise", "fixed")
    by_setting = frame.pivot(index="seed", columns=["method", "setting"], values="accuracy").dropna(axis=1)
    exact, rounded = by_setting["float", 32], by_setting["sasaki", SASAKI_RATIO]
    return [
        *_penalty_claims(pair, f"mnist5k, {_distance(LEVEL)}", "", "notebook"),
        _claim(
            "learned-beats-fixed",
            f"mnist5k, {_distance(LEVEL)}: learned bits take fewer bits per weight than fixed ones",
            fixed.bits_per_weight_x - fixed.bits_per_weight_y,
            "bit",
            ("uhlich2020", "CIFAR-10, ImageNet", "smaller at equal accuracy"),
            max=0.0,
        ),
        _claim(
            "post-training-loss",
            f"mnist5k: filter-wise steps of {SASAKI_RATIO:g} σ, without data or training, cost at most 1 point",
            exact - rounded,
            "pt",
            ("sasaki2019", "title", "post-training"),
            max=1.0,
        ),
    ]


def make_cifar100_claims(frame: pd.DataFrame) -> list[dict]:
    """The same two claims for CIFAR-100; empty as long as no seed has both methods at the level."""
    (exact,) = frame[frame.method == "float"].to_dict("records")
    floats = pd.DataFrame([exact | {"seed": seed} for seed in sorted(frame.seed.unique())])
    frame = pd.concat([frame[frame.method != "float"], floats])
    pair = compared(frame, "nakata", "uhlich filter-wise", full_scale.LEVEL)
    where = f"CIFAR-100, MobileNet, {_distance(full_scale.LEVEL)}"
    return [] if pair.empty else _penalty_claims(pair, where, "-cifar100", "reduced")


def _penalty_claims(pair: pd.DataFrame, where: str, suffix: str, scale: str) -> list[dict]:
    return [
        _claim(
            f"latency-at-equal-accuracy{suffix}",
            f"{where}: with the MAC×bit penalty fewer cycles than with the size penalty, both filter-wise",
            100 * (pair.cycles_x / pair.cycles_y - 1),
            "%",
            ("nakata2021", "Table 1, ResNet-18, ImageNet", -21, "%"),
            scale,
            max=0.0,
        ),
        _claim(
            f"bits-at-equal-accuracy{suffix}",
            f"{where}: with the MAC×bit penalty fewer bits per MAC than with the size penalty",
            pair.bits_per_mac_x - pair.bits_per_mac_y,
            "bit",
            ("nakata2021", "Table 1, ResNet-18, ImageNet", -1.4, "bit"),
            scale,
            max=0.0,
        ),
    ]


def _claim(slug: str, statement: str, values: pd.Series, unit: str, paper: tuple, scale="notebook", **expect) -> dict:
    source = dict(zip(("key", "where", "value", "unit"), paper, strict=False))
    ours = {"unit": unit, "values": [round(float(value), 4) for value in values], "scale": scale}
    ours["seeds"] = [int(seed) for seed in values.index]
    return {"id": f"mixed_precision/{slug}", "statement": statement, "paper": source, "ours": ours, "expect": expect}


def _distance(points: float) -> str:
    return f"at {points:g} point{'s' * (points != 1)} below float"
