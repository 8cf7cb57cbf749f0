"""Are bit operations fast on a CPU? The race of the packed kernels against float32, int8 and binary peers.

One thread, in turns, in one run; times are medians over the rounds, ratios those of times from the same round, and
processor time counts. Written are ``data/results/bitwise_race.csv`` and ``bitwise_roofs.csv`` (each run adds its rows)
and ``data/results/bitwise.json``, with claims for each kind of processor and each path of the kernels: run it five
times or more on each. ``FEWBITS_ISA=avx2`` takes that path where there is a better one. Peers in an
environment of their own, NumKong and ggml, are asked only with ``--peer``. Keep the machine quiet.
"""

import time
from functools import partial

import llvmlite.binding
import numba
import pandas as pd
import torch

from fewbits import evidence
from fewbits.bitwise import isa
from fewbits.experiments.bitwise import race
from fewbits.experiments.bitwise.claims import ROOFS, make_claims, memory_ratio
from fewbits.experiments.bitwise.others import Peer
from fewbits.experiments.bitwise.roofs import roofs
from fewbits.experiments.common import recorded


def add_arguments(parser) -> None:
    """Options of ``python -m fewbits.experiments bitwise``."""
    parser.add_argument("--rounds", type=int, default=5, help="turns of each contestant (default 5)")
    parser.add_argument(
        "--peer", metavar="PYTHON", help="interpreter of an environment with numkong, or with llama-cpp-cffi and numba"
    )


def run(options, command: str) -> None:
    """Race, then write tables and claims."""
    if options.rounds < 1:
        raise ValueError(f"the number of rounds must be at least 1, got {options.rounds}")
    evidence.code_version()
    started = time.perf_counter()
    torch.set_num_threads(1)
    peer = Peer(options.peer) if options.peer else None
    rows = []
    parts = (race.levels, race.convolutions, race.few_bits, race.two_threads, race.packing, race.network)
    print(f"processor {_cpu_name()}, path {isa.chosen()}")
    with_peer = (partial(race.products, peer=peer), partial(race.vectors, peer=peer))
    for part in (*with_peer, *parts):
        for row in part(options.rounds):
            times = f"{row['milliseconds']:10.3f} ms{row['cpu_milliseconds']:10.3f} of CPU{row['gops']:10.1f} GOP/s"
            print(f"{row['task']:24s}{row['contestant']:30s}{times}{row['speedup']:8.2f} ×")
            rows.append(row)
    if peer:
        peer.close()
    found = roofs() if "avx2" in isa.available() else {}
    for name, value in found.items():
        mine = ", that of this path" if name == ROOFS.get(isa.chosen()) else ""
        print(f"roof {name}: {value:.1f}{mine}")

    # The environment's place says nothing to others.
    command = command.replace(options.peer, "PYTHON") if options.peer else command
    wall_s = time.perf_counter() - started
    table = recorded("bitwise_race", ["run"])
    number = 1 + int(table["run"].max()) if len(table) else 1
    new = pd.DataFrame(rows).assign(run=number, path=isa.chosen(), cpu=_cpu_name())
    table = pd.concat([table, evidence.stamped(new, command, wall_s)], ignore_index=True)
    evidence.write_rows("bitwise_race", table)
    roof_rows = pd.DataFrame({"roof": list(found), "value": list(found.values()), "run": number})
    roof_table = pd.concat([recorded("bitwise_roofs", ["roof", "value", "run"]), roof_rows], ignore_index=True)
    evidence.write_rows("bitwise_roofs", roof_table)
    claims = make_claims(table, roof_table, memory_ratio(race.trained_network()[0]))
    evidence.record("bitwise", claims, command=command, wall_s=wall_s)


def _cpu_name() -> str:
    return vars(numba.config)["CPU_NAME"] or llvmlite.binding.get_host_cpu_name()
