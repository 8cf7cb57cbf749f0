"""Every method of the book in one network: bits of a weight, accuracy, and look-up tables of a product.

The network is a 784-128-128-128-10 perceptron with batch normalization on ``mnist5k``; every method has 20 epochs.
Circuits with 32 products each are synthesized with Yosys. Runs and circuits that are recorded are not repeated, so the
experiment can be stopped at any time. Written are ``data/results/method_map_runs.csv`` (a row for each method and
seed), ``method_map_units.csv`` (a row for each circuit) and ``method_map.json`` (claims). With ``--data cifar10``
every method runs in a convolutional network (:mod:`fewbits.experiments.method_map.images`), and circuits with
multiplier blocks are counted, too. ``--times`` measures what the layers of that network take on a CPU; nothing else
should run meanwhile.
"""

import json
import math
import time
from collections.abc import Sequence

import pandas as pd
import torch

from fewbits import evidence
from fewbits.experiments.common import recorded, seeds
from fewbits.experiments.comparison import chosen, per_seed, prepared
from fewbits.experiments.method_map import images
from fewbits.experiments.method_map.circuits import PRODUCTS, UNITS, mean_cost, synthesize_unit
from fewbits.experiments.method_map.claims import image_claims, make_claims
from fewbits.experiments.method_map.methods import (
    CALIBRATION_IMAGES,
    ENTRIES,
    bits_per_weight,
    macs,
    round_activations,
    units_of,
)
from fewbits.experiments.method_map.prices import milliseconds, picojoules, race, synthesize_with_blocks
from fewbits.training import percent

RUNS = ["data", "method", "seed", "accuracy", "accuracy_real_activations", "bits_per_weight", "units", "seconds"]
CIRCUITS = ["unit", "LUT", "packed_LUT", "FF", "seconds"]


def add_arguments(parser) -> None:
    """Options of ``python -m fewbits.experiments method_map``."""
    parser.add_argument("--data", choices=["mnist5k", "cifar10"], default="mnist5k", help="which map (default mnist5k)")
    parser.add_argument("--seeds", type=int, help="number of seeds (default 5; 3 for cifar10)")
    parser.add_argument("--methods", nargs="+", metavar="METHOD", help="only these methods (default: all)")
    parser.add_argument("--minutes", type=float, help="cifar10: stop after so many minutes; call again to go on")
    parser.add_argument("--pilot", action="store_true", help="cifar10: learning rates, on held-out training images")
    parser.add_argument("--times", type=int, metavar="ROUNDS", help="cifar10: time each layer's kernels, nothing else")


def run(options, command: str) -> None:
    """Synthesize and train what is missing, then write claims."""
    count = {"mnist5k": 5, "cifar10": 3}[options.data] if options.seeds is None else options.seeds
    if options.data == "mnist5k" and (options.pilot or options.minutes is not None or options.times is not None):
        raise SystemExit("--pilot, --minutes and --times are for --data cifar10")
    evidence.code_version()  # before the run, so that a later commit does not take the credit
    if options.times is not None:
        record_times(options.times, command)
        return
    circuits = synthesize_missing(command)
    if options.data == "cifar10":
        synthesize_with_blocks(command)
        named = options.methods or (images.PILOTED if options.pilot else None)
        methods = chosen(images.ENTRIES, named)
        images.run(methods, seeds(count), command, options.minutes, options.pilot)
        if options.pilot:
            return
    else:
        train_missing(chosen(ENTRIES, options.methods), list(seeds(count)), command)
    wall = float(circuits["seconds"].sum() + recorded("method_map_runs", RUNS)["seconds"].sum())
    evidence.record("method_map", claims_of_tables(), command=command, wall_s=wall)


def claims_of_tables() -> list[evidence.Claim]:
    """The claims of both maps, from what is recorded."""
    digits, circuits = recorded("method_map_runs", RUNS), recorded("method_map_units", CIRCUITS)
    on_digits = make_claims(summary(digits, circuits)) if len(digits) else []
    return on_digits + image_claims(recorded(images.TABLE, ["method", "seed", "accuracy"]))


def record_times(rounds: int, command: str) -> None:
    """Write ``method_map_times.csv``: milliseconds of each layer of the network for images, by kernel, one image."""
    started = time.perf_counter()
    torch.set_num_threads(1)
    torch.manual_seed(0)  # times do not depend on the weights
    generator = torch.Generator().manual_seed(0)
    rows = race(images.TASK.network().eval(), torch.rand(64, 3, 32, 32, generator=generator) * 2 - 1, rounds)
    table = evidence.stamped(pd.DataFrame(rows).round(4), command, time.perf_counter() - started)
    print(table[["layer", "kernel", "ms", "speedup"]].to_string(index=False))
    evidence.write_rows("method_map_times", table)


def synthesize_missing(command: str) -> pd.DataFrame:
    """The table of circuits, with those added that it lacks; each new row keeps the ``command``."""
    for name in UNITS:
        table = recorded("method_map_units", CIRCUITS)
        if (table["unit"] == name).any():
            continue
        started = time.perf_counter()
        found = synthesize_unit(name)
        row = {"unit": name, "LUT": found.luts, "packed_LUT": found.packed_luts, "FF": found.flip_flops}
        row["seconds"] = seconds = round(time.perf_counter() - started, 1)
        print(row, flush=True)
        new = evidence.stamped(pd.DataFrame([row]), command, seconds)
        evidence.write_rows("method_map_units", pd.concat([table, new], ignore_index=True))
    return recorded("method_map_units", CIRCUITS)


def train_missing(entries: dict, seed_list: list[int], command: str) -> pd.DataFrame:
    """The table of runs, with those added that it lacks; each new row keeps the ``command``."""
    data = prepared("mnist5k")
    for seed in seed_list:
        for name, entry in entries.items():
            table = recorded("method_map_runs", RUNS)
            if per_seed(table, data.name, name).index.isin([seed]).any():
                continue
            started = time.perf_counter()
            model = entry.train(data, seed).eval()
            real = round(percent(model, data), 4)
            units = units_of(entry, model)
            bits = bits_per_weight(entry, model)
            if entry.real_activations:
                model = round_activations(model, data.train_images[:CALIBRATION_IMAGES])
            row = {"data": data.name, "method": name, "seed": seed, "accuracy": round(percent(model, data), 4)}
            row |= {
                "accuracy_real_activations": real,
                "bits_per_weight": round(bits, 4),
                "units": json.dumps(units, ensure_ascii=False),
            }
            row["seconds"] = seconds = round(time.perf_counter() - started, 1)
            print(row, flush=True)
            new = evidence.stamped(pd.DataFrame([row]), command, seconds)
            evidence.write_rows("method_map_runs", pd.concat([table, new], ignore_index=True))
    return recorded("method_map_runs", RUNS)


def summary(
    runs: pd.DataFrame, circuits: pd.DataFrame, column: str = "LUT", work: Sequence[int] | None = None
) -> pd.DataFrame:
    """One row for each run, with prices of a product of its network: ``luts``, and ``energy`` in pJ.

    Args:
        runs, circuits: the two tables. A price is NaN for a run without ``units``.
        column: of ``circuits``: "LUT" before packing, "packed_LUT" with the estimate of packing.
        work: multiply-accumulates of each layer; those of the digits' network if left out.
    """
    work = macs() if work is None else work
    tables = {row["unit"]: row[column] / PRODUCTS for _, row in circuits.iterrows()}
    units = [json.loads(text) for text in runs["units"]]
    names = {name for layers in units for layer in layers for name in layer}
    energies = {name: picojoules(name) for name in names}
    return runs.assign(
        luts=[mean_cost(each, work, tables) if each else math.nan for each in units],
        energy=[mean_cost(each, work, energies) if each else math.nan for each in units],
    )


def on_images() -> pd.DataFrame:
    """The recorded runs on images with all their prices: those of `summary`, ``kilobytes`` and ``ms``."""
    runs, times = evidence.rows(images.TABLE), evidence.rows("method_map_times")
    circuits = pd.concat([evidence.rows("method_map_units"), evidence.rows("compensation_units")])
    priced = summary(runs, circuits, work=[work.macs for work in images.works()])
    units = [json.loads(text) for text in runs["units"]]
    by_float = milliseconds([{"float × float": 1.0}] * len(images.works()), times)
    ms = [milliseconds(each, times) if each else by_float for each in units]
    return priced.assign(kilobytes=runs["file_bytes"] / 1000, ms=ms)
