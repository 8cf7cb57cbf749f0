"""Sharing weights: Deep Compression and soft weight-sharing of LeNet-300-100 and LeNet-5, as files on disk.

For each network and seed: train the float network; prune and retrain it; share, fine-tune and code what is left; from
the same float network, soft weight-sharing; and compare the starting points of k-means with the exact optimum. Each
phase writes its rows when it is done, and what is recorded is not run again:

* ``vector_runs.csv``: accuracy and bytes by stage; ``weight_bytes`` are those of a file without biases;
* ``vector_sizes.csv``: what other coders make of the same tensors;
* ``vector_streams.csv``: entropy, and lengths of Huffman and arithmetic codes, of each stream;
* ``vector_inits.csv``: error of the codebooks, accuracy before and, for LeNet-300-100, after fine-tuning;
* ``vector_mixture.csv``, ``vector_histogram.csv``: soft weight-sharing of seed 0 as training proceeds.

Rows name their *settings*: those of the papers, those of the first runs (5-bit codebooks and a prior of strength 0.05),
and those of the book's small networks. ``--data mnist`` makes the claims.
``--data mnist5k`` makes the networks that the chapter reads: seed 0 leaves ``data/checkpoints/vector-*.fewbits``.
``--data cifar100`` compresses the MobileNet of the experiment ``mobileone``, if its checkpoint is there, without
training; ``--phases inits`` compares the starts of k-means on it.
"""

import copy
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property

import pandas as pd
import torch
from torch import nn

from fewbits import evidence
from fewbits.core import container
from fewbits.data import Dataset, load
from fewbits.experiments.common import checkpoint_path, recorded, seeds
from fewbits.experiments.vector import training
from fewbits.experiments.vector.claims import PAPER, make_claims
from fewbits.experiments.vector.mobilenet import compare_starts, compress_mobilenet
from fewbits.experiments.vector.training import NETWORKS, RECIPES
from fewbits.vector import plain_state

KEYS = ["data", "network", "seed", "settings"]
BOOK = "book"  # settings of the networks that the chapter reads
SNAPSHOTS = 5
PHASES = ("deep", "soft", "inits")


def add_arguments(parser) -> None:
    """Options of ``python -m fewbits.experiments vector``."""
    parser.add_argument("--data", choices=("mnist5k", "mnist", "cifar100"), default="mnist5k")
    parser.add_argument("--networks", nargs="+", choices=list(NETWORKS), default=list(NETWORKS))
    parser.add_argument("--phases", nargs="+", choices=PHASES, default=list(PHASES), help="which (default all)")
    parser.add_argument("--seeds", type=int, default=3, help="number of seeds (default 3)")


def run(options, command: str) -> None:
    """Run what the tables lack, then write the claims."""
    evidence.code_version()
    started = time.perf_counter()
    if options.data == "cifar100":
        if set(options.phases) != {"inits"}:
            compress_mobilenet()
        if "inits" in options.phases:
            compare_starts(options.seeds, command)
    else:
        data = load(options.data)
        for network in options.networks:
            for seed in seeds(options.seeds):
                run_missing(data, network, seed, command, options.phases)
    runs = recorded("vector_runs", [*KEYS, "stage", "seconds"])
    tables = [recorded(name, [*KEYS]) for name in ("vector_inits", "vector_streams", "vector_sizes")]
    claims = make_claims(runs, *tables)
    if claims:
        evidence.record("vector", claims, command=command, wall_s=time.perf_counter() - started)


def run_missing(data: Dataset, network: str, seed: int, command: str, phases: Sequence[str] = PHASES) -> None:
    """Those ``phases`` of one network and seed that are not recorded; the float network is in all of them.

    New rows of ``vector_runs`` and ``vector_inits`` keep the ``command``.
    """
    settings = PAPER if data.name == "mnist" else BOOK
    where = {"data": data.name, "network": network, "seed": seed, "settings": settings}
    networks = Networks(data, network, seed)

    def note(table: str, method: str, rows: Callable[[], Iterator[dict]]) -> None:
        """Add the rows of a method that the table lacks, once all are there; each gets the seconds that it took."""
        known = recorded(table, [*KEYS, "method"])
        if ((known[KEYS] == list(where.values())).all(axis=1) & (known.method == method)).any():
            return
        started, new = time.perf_counter(), []
        for row in rows():
            new.append(where | {"method": method} | row | {"seconds": round(time.perf_counter() - started, 1)})
            started = time.perf_counter()
            print(new[-1], flush=True)
        stamped = evidence.stamped(pd.DataFrame(new), command, sum(row["seconds"] for row in new))
        add_rows(table, stamped.to_dict("records"))

    kept = seed == 0 and data.name == "mnist5k"
    note("vector_runs", "float", lambda: float_rows(networks))
    if "deep" in phases:
        note("vector_runs", "deep compression", lambda: compression_rows(where, networks, kept))
    if "soft" in phases:
        note("vector_runs", "soft weight-sharing", lambda: soft_rows(where, networks, kept))
    if "inits" in phases and RECIPES[data.name, network].inits:
        note("vector_inits", "k-means", lambda: training.compare_inits(networks.pruned, data, seed))


@dataclass
class Networks:
    """The two networks that the phases start from, trained when they are first asked for."""

    data: Dataset
    network: str
    seed: int

    @cached_property
    def float(self) -> nn.Module:
        """The trained float network."""
        return training.float_network(self.data, self.network, self.seed)

    @cached_property
    def pruned(self) -> nn.Module:
        """The float network after pruning and retraining."""
        return training.pruned_network(copy.deepcopy(self.float), self.data, self.network, self.seed).model


def float_rows(networks: Networks) -> Iterator[dict]:
    """The float network."""
    model = networks.float
    yield {"stage": "float", "accuracy": training.percent(model, networks.data)} | training.sizes(model, "plain")


def compression_rows(where: dict, networks: Networks, kept: bool) -> Iterator[dict]:
    """Deep Compression, stage by stage; also the sizes and streams of the final tensors."""
    pruned, data = networks.pruned, networks.data
    yield {"stage": "pruned", "accuracy": training.percent(pruned, data), "bytes": training.size(pruned, "sparse")}
    for row, after in training.deep_compression(pruned, data, networks.network, networks.seed):
        yield row
        model = after
    note_sizes(where | {"method": "deep compression"}, plain_state(model))
    if kept:
        keep(pruned, networks.network, "pruned", "sparse")
        keep(model, networks.network, "deep", "huffman")


def soft_rows(where: dict, networks: Networks, kept: bool) -> Iterator[dict]:
    """Soft weight-sharing from the float network; also the sizes and streams of the final tensors."""
    model, network, seed = copy.deepcopy(networks.float), networks.network, networks.seed
    snapshots = SNAPSHOTS if seed == 0 else 0
    rows, mixture, histogram = training.soft_sharing(model, networks.data, network, seed, snapshots)
    yield from rows
    note_sizes(where | {"method": "soft weight-sharing"}, plain_state(model))
    add_rows("vector_mixture", [where | row for row in mixture.to_dict("records")])
    add_rows("vector_histogram", [where | row for row in histogram.to_dict("records")])
    if kept:
        keep(model, network, "soft", "huffman")


def note_sizes(where: dict, state: dict[str, torch.Tensor]) -> None:
    """Sizes by other coders, and the streams, of one network's final tensors."""
    sizes = training.other_sizes(state) | {"zeros": round(training.zeros(state), 4)}
    add_rows("vector_sizes", [where | sizes])
    add_rows("vector_streams", [where | row for row in training.streams(state)])


def keep(model: nn.Module, network: str, what: str, coding: str) -> None:
    """Write ``data/checkpoints/vector-<network>-<what>.fewbits``."""
    path = checkpoint_path(f"vector-{network}-{what}").with_suffix(".fewbits")
    container.save(path, plain_state(model), coding)


def add_rows(table: str, rows: list[dict]) -> None:
    """Add rows to a recorded table; does nothing if there are none."""
    if rows:
        frame = pd.concat([recorded(table, list(rows[0])), pd.DataFrame(rows)], ignore_index=True)
        evidence.write_rows(table, frame)
