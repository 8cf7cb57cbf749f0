"""Rounding without training on the network of 159,236 parameters: GPTQ, AdaRound, correction, and block formats.

``--part choose`` tries damping and order on held-out training images; ``--part networks`` then measures every grid on
all test images; ``--part units`` synthesizes circuits. ``data/results/compensation.json`` holds the claims. What is in
the tables already is not run again.
"""

import argparse
import time

from fewbits import evidence
from fewbits.experiments.compensation.circuits import measure_units
from fewbits.experiments.compensation.claims import current_claims
from fewbits.experiments.compensation.networks import GRIDS, SEEDS, choose, measure

PARTS = ("choose", "networks", "units", "claims")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of the command line."""
    parser.add_argument("--part", choices=PARTS, default="networks", help="what to run (default: %(default)s)")
    parser.add_argument("--grids", nargs="+", choices=list(GRIDS), default=list(GRIDS), help="default: all")
    parser.add_argument("--network-seeds", nargs="+", type=int, choices=list(SEEDS), default=list(SEEDS), metavar="N",
                        help="of the float networks (default: all three)")  # fmt: skip


def run(options: argparse.Namespace, command: str) -> None:
    """Run a part, then record the claims that the tables give."""
    started = time.perf_counter()
    if options.part == "choose":
        choose(command, options.grids)
    if options.part == "networks":
        measure(command, options.grids, options.network_seeds)
    if options.part == "units":
        measure_units(command)
    evidence.record("compensation", current_claims(), command=command, wall_s=time.perf_counter() - started)
