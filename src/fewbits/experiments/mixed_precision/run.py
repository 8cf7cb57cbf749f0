"""Mixed precision: fixed bits, learned bits under two penalties, and bits without training, in one network.

Every method starts from the same float network of its seed. Written are ``data/results/mixed_precision_runs.csv`` (one
row per method, setting and seed; only what is missing is trained), ``data/results/mixed_precision_bits.csv`` (bits of
every filter, one row per layer), ``data/results/mixed_precision.json`` (claims) and the networks of seed 0 that the
chapter evaluates in ``data/checkpoints``. ``--data cifar100`` does the same for the MobileNet of the experiment
``mobileone`` (``mixed_precision_cifar100.csv``). ``--part post-training`` rounds float networks with and without a
correction of their statistics (see `statistics`). ``--part latency`` asks which number predicts time (see `latency`),
``--part layers`` what rounding a single layer costs (see `single_layers`).
"""

import time

import pandas as pd
from torch import nn

from fewbits import evidence
from fewbits.experiments.common import checkpoint_path, recorded, seeds
from fewbits.experiments.mixed_precision.cifar100 import run_cifar100
from fewbits.experiments.mixed_precision.claims import make_cifar100_claims, make_claims, make_statistics_claims
from fewbits.experiments.mixed_precision.latency import run_latency
from fewbits.experiments.mixed_precision.single_layers import run_layers
from fewbits.experiments.mixed_precision.statistics import run_post_training
from fewbits.experiments.mixed_precision.training import METHODS, measure, prepared, train_float, train_quantized
from fewbits.mixed_precision import filter_bits
from fewbits.training import save_model

COLUMNS = ("method", "setting", "seed", "accuracy", "bits_per_filter", "bits_per_weight", "bits_per_mac", "cycles")
KEPT = (("uhlich filter-wise", 2.2), ("nakata", 2.2))  # of seed 0, in data/checkpoints, beside the float network


def add_arguments(parser) -> None:
    """Options of ``python -m fewbits.experiments mixed_precision``."""
    parser.add_argument("--part", choices=("training", "post-training", "latency", "layers"), default="training")
    parser.add_argument("--data", choices=("mnist5k", "cifar100"), default="mnist5k")
    parser.add_argument("--seeds", type=int, default=5, help="number of seeds (default 5)")
    latency = parser.add_argument_group("latency")
    latency.add_argument("--rounds", type=int, default=3, help="rounds of measurement, 0 for none (default 3)")
    latency.add_argument("--allocations", type=int, default=500, help="random allocations of each kind (default 500)")


def run(options, command: str) -> None:
    """Train what is missing, then write claims."""
    evidence.code_version()  # before the run, so that a later commit does not take the credit
    started = time.perf_counter()
    if options.part == "latency":
        claims = run_latency(options.rounds, options.allocations)
        evidence.record("mixed_precision", claims, command=command, wall_s=time.perf_counter() - started)
        return
    if options.part == "layers":
        run_layers(command)
        return
    if options.part == "post-training":
        frame = run_post_training(options.data, options.seeds, command)
        claims = make_statistics_claims(frame)
        evidence.record("mixed_precision", claims, command=command, wall_s=time.perf_counter() - started)
        return
    if options.data == "cifar100":
        for frame in run_cifar100(options.seeds, command):  # after each row: the run is long, and may be interrupted
            _record(make_cifar100_claims(frame), frame, command)
        return
    frame = run_mnist5k(options.seeds, command)
    _record(make_claims(frame), frame, command)


def _record(claims: list[dict], frame: pd.DataFrame, command: str) -> None:
    evidence.record("mixed_precision", claims, command=command, wall_s=float(frame.seconds.sum()))


def run_mnist5k(count: int, command: str) -> pd.DataFrame:
    """Train what is missing of ``count`` seeds; the table ``mixed_precision_runs``, new rows with their ``command``."""
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
            new = evidence.stamped(pd.DataFrame([row]), command, row["seconds"])
            evidence.write_rows("mixed_precision_runs", pd.concat([table, new]).round(4))
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
