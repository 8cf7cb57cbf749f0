"""Integer-only networks against simulated ones: bit for bit, accuracy, other runtimes, memory and speed.

``--part networks`` (default) converts the frozen networks of other chapters, and a small ResNet of its own with five
seeds, and compares them with their simulations and with ONNX Runtime. It writes ``integer_exactness.csv``,
``integer_accuracy.csv``, ``integer_biases.csv``, ``integer_causes.csv``, ``integer_runtimes.csv`` and
``integer_steps.csv``, the rows of a network when they are done, and does not run again what is there. The MobileNet
needs CIFAR-100; the 10,000 inputs of the comparison of runtimes are the test images of MNIST and CIFAR-100.

``--part folding`` trains a depthwise network with BN and measures what saves it from one scale per tensor:
``integer_folding.csv``.

``--part speed`` measures times, best on a quiet machine: ``integer_speed.csv``.

Each part writes the claims that follow from its tables to ``data/results/integer.json``, and leaves the others alone.
"""

import time
from collections.abc import Callable
from functools import partial

import pandas as pd
import torch.nn.functional as F

from fewbits import evidence
from fewbits.bn_folding import fold_model
from fewbits.data import load
from fewbits.experiments.bn_folding import run as bn_folding
from fewbits.experiments.common import recorded, seeds
from fewbits.experiments.integer import folding, measures, speed
from fewbits.experiments.integer.claims import kinds_of_kernels, make_claims
from fewbits.experiments.integer.networks import CALIBRATION_IMAGES, NETWORKS, Source, small_digits, unfolded_residual

RUNTIME_NETWORKS = ("MLP", "separable, strong decay", "residual", "MobileNet")
CAUSE_NETWORKS = ("MLP", "dense", "separable, strong decay", "residual")


def add_arguments(parser) -> None:
    """Options of ``python -m fewbits.experiments integer``."""
    parser.add_argument("--part", choices=("networks", "folding", "speed"), default="networks")
    parser.add_argument("--seeds", type=int, default=5, help="number of seeds of --part folding (default 5)")
    parser.add_argument("--repeats", type=int, default=5, help="of --part speed, each with new sessions (default 5)")
    parser.add_argument("--seconds", type=float, default=5.0, help="of each measurement of --part speed (default 5)")


def run(options, command: str) -> None:
    """Run one part, then write the claims."""
    evidence.code_version()
    started = time.perf_counter()
    if options.part == "networks":
        measure_networks(command)
    elif options.part == "folding":
        for seed in seeds(options.seeds):
            missing("integer_folding", {"seed": seed}, partial(folding.measure, seed, small_digits()), command)
    else:
        rows = pd.DataFrame(speed.measure_all(options.repeats, options.seconds))
        rows = evidence.stamped(rows, command, time.perf_counter() - started)
        # Times of another kind of processor stay beside these.
        before = recorded("integer_speed", [])
        others = before[kinds_of_kernels(before) != rows.kernels[0]]
        evidence.write_rows("integer_speed", pd.concat([others, rows], ignore_index=True))
    evidence.record("integer", make_claims(options.part), command=command, wall_s=time.perf_counter() - started)


def measure_networks(command: str) -> None:
    """All rows of all networks that the tables lack."""
    for seed in NETWORKS["residual"].seeds:
        missing("integer_exactness", {"network": "residual", "seed": seed}, partial(exactness, seed), command)
    for name, source in NETWORKS.items():
        for seed in source.seeds:
            for bits in source.settings:
                where = {"network": name, "seed": seed, "weight_bits": bits[0], "activation_bits": bits[1]}
                missing("integer_accuracy", where, partial(accuracies, source, seed, bits), command)
                if bits[0] < 8:
                    missing("integer_biases", where, partial(biases, source, seed, bits), command)
        if name in CAUSE_NETWORKS:
            missing("integer_causes", {"network": name}, partial(causes, source), command)
        if name in RUNTIME_NETWORKS:
            missing("integer_runtimes", {"network": name}, partial(runtimes, name), command)
    missing("integer_steps", {"network": "MobileNet"}, single_steps, command)


def accuracies(source: Source, seed: int, bits: tuple[int, int]) -> list[dict]:
    """One row: :func:`fewbits.experiments.integer.measures.accuracies` of a network of ``source``."""
    return [measures.accuracies(source.model(seed), source.data(), bits)]


def biases(source: Source, seed: int, bits: tuple[int, int]) -> list[dict]:
    """:func:`fewbits.experiments.integer.measures.biases` of a network of ``source``."""
    return measures.biases(source.model(seed), source.data(), bits)


def causes(source: Source) -> list[dict]:
    """:func:`fewbits.experiments.integer.measures.causes` of the network of seed 0 of ``source``."""
    return measures.causes(source.model(0), source.data())


def exactness(seed: int) -> list[dict]:
    """One row: what folding changes in the small ResNet, residual additions included."""
    model = unfolded_residual(seed)
    return [bn_folding.compare(model, fold_model(model), small_digits().test_images)]


def runtimes(name: str) -> list[dict]:
    """The network in ONNX Runtime, on 10,000 test images of MNIST (resized as in training) or CIFAR-100."""
    source = NETWORKS[name]
    data = source.data()
    images = data.test_images
    if name != "MobileNet":
        images = load("mnist").test_images
        images = F.avg_pool2d(images, 2) if name == "residual" else images
    return measures.runtimes(source.model(0), data.train_images[:CALIBRATION_IMAGES], images)


def single_steps() -> list[dict]:
    """Where the MobileNet in ONNX Runtime departs from ours: each step on its own."""
    source = NETWORKS["MobileNet"]
    data = source.data()
    images = data.test_images[: measures.CAUSE_IMAGES]
    return measures.single_steps(source.model(0), data.train_images[:CALIBRATION_IMAGES], images)


def missing(table: str, where: dict, measure: Callable[[], list[dict]], command: str) -> None:
    """Add the rows of ``measure`` to ``table``, with what ``command`` made them, unless it has rows of ``where``."""
    frame = recorded(table, list(where))
    if len(frame) and (frame[list(where)] == pd.Series(where)).all(axis=1).any():
        return
    started = time.perf_counter()
    rows = pd.DataFrame([where | row for row in measure()])
    wall_s = time.perf_counter() - started
    print(f"{table} {where}: {wall_s:.0f} s\n{rows.to_string()}", flush=True)
    rows = evidence.stamped(rows, command, wall_s)
    evidence.write_rows(table, pd.concat([frame, rows], ignore_index=True) if len(frame) else rows)
