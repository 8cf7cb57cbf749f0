"""One network, one recipe, many methods: what the experiments ``binary`` and ``ternary`` share."""

import argparse
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from functools import partial
from typing import Any, TypeVar

import pandas as pd
import torch
from torch import nn

from fewbits import evidence
from fewbits.binary import latent_weights
from fewbits.data import Dataset, load
from fewbits.experiments.common import recorded
from fewbits.nets import MLP, VGGSmall
from fewbits.training import adam, centred, half_size, percent, seed_everything, train

COLUMNS = ("data", "method", "seed", "accuracy", "accuracy_quantized", "seconds")  # of a table of runs
MLP_SIZES = (784, 128, 128, 128, 10)
VGG_WIDTHS = (32, 32, 64, 64, 128, 128)

Network = Callable[..., nn.Module]  # of the activation factory
M = TypeVar("M")


@dataclass(frozen=True)
class Task:
    """What is learned, by which network, for how long.

    Attributes:
        network: makes the float network, always with batch normalization; takes ``activation``.
        epochs: of batches of 128, with a learning rate that falls to 0 along a cosine.
        scale: of the results, as in `fewbits.evidence`.
    """

    network: Network
    epochs: int
    scale: str


TASKS = {
    "mnist5k": Task(partial(MLP, MLP_SIZES, batch_norm=True), 20, "notebook"),
    "mnist": Task(partial(MLP, MLP_SIZES, batch_norm=True), 12, "reduced"),
    # Images of 16 × 16 pixels: a quarter of the work.
    "cifar100": Task(partial(VGGSmall, 3, 16, 100, VGG_WIDTHS, batch_norm=True), 5, "reduced"),
}


ADAM = partial(adam, lr=3e-3)  # of every method that names no other optimizer


@dataclass(frozen=True)
class Method:
    """How a method changes network and training.

    Attributes:
        build: makes the network to train from a `Network`.
        optimizer: of the network's parameters.
        after_step: as in :func:`fewbits.training.fit`.
        latent: test with the latent weights; the accuracy with quantized ones goes to ``accuracy_quantized``.
    """

    build: Callable[[Network], nn.Module]
    optimizer: Callable[[nn.Module], torch.optim.Optimizer] = ADAM
    after_step: Callable[[nn.Module], object] | None = None
    latent: bool = False


FLOAT = Method(lambda network: network(activation=nn.ReLU))


def prepared(name: str) -> Dataset:
    """The data set ``name`` with pixels in [-1, 1]; CIFAR images averaged down to 16 × 16."""
    data = load(name)
    return centred(half_size(data) if data.train_images.shape[-1] == 32 else data)


def train_method(method: Method, task: Task, data: Dataset, seed: int, epochs: int | None = None) -> nn.Module:
    """A network of ``task``, trained with ``method`` for ``epochs`` (default: the task's); on a GPU if there is one."""
    seed_everything(seed)
    model = method.build(task.network).to("cuda" if torch.cuda.is_available() else "cpu")
    epochs = task.epochs if epochs is None else epochs
    train(model, data, method.optimizer(model), epochs=epochs, seed=seed, after_step=method.after_step)
    return model


def measure(method: Method, model: nn.Module, data: Dataset) -> dict[str, float]:
    """Test accuracy in percent, as the method's paper measures it, and with quantized weights."""
    quantized = percent(model, data)
    with latent_weights(model) if method.latent else nullcontext():
        return {"accuracy": percent(model, data), "accuracy_quantized": quantized}


def run_missing(
    table: str,
    methods: Mapping[str, Method],
    data_name: str,
    seed_list: Sequence[int],
    command: str,
    keep: Callable[[str, int, nn.Module], object] | None = None,
) -> pd.DataFrame:
    """Train every (method, seed) that the recorded ``table`` lacks for this data, and record each when it is done.

    So an interrupted experiment goes on where it stopped, and seeds or methods can be added later.

    Args:
        table: name of the table; its columns are data, method, seed, accuracy, accuracy_quantized (percent), seconds,
            and those of `fewbits.evidence.stamped`, empty in rows that are older than these columns.
        methods: by the name that the table uses.
        data_name: a key of `TASKS`.
        seed_list: seeds to have.
        command: what to type to get the new rows again; stored with each.
        keep: called with the method's name, the seed and the trained network, e.g. to save it.
    Returns:
        The whole table, other data sets included.
    Raises:
        ValueError: the checkout has changes that are not committed, so that no row can say where it comes from.
    """
    task, data = TASKS[data_name], prepared(data_name)
    for seed in seed_list:
        for name, method in methods.items():
            # Read at each turn: another process may have added to the table in the meantime.
            if per_seed(recorded(table, COLUMNS), data_name, name).index.isin([seed]).any():
                continue
            started = time.perf_counter()
            model = train_method(method, task, data, seed)
            row = {"data": data_name, "method": name, "seed": seed} | measure(method, model, data)
            seconds = round(time.perf_counter() - started, 1)
            row["seconds"] = seconds
            print(row, flush=True)
            new = evidence.stamped(pd.DataFrame([row]), command, seconds, next(model.parameters()).device)
            frame = pd.concat([recorded(table, COLUMNS), new], ignore_index=True)
            evidence.write_rows(table, frame.round({"accuracy": 4, "accuracy_quantized": 4}))
            if keep is not None:
                keep(name, seed, model)
    return recorded(table, COLUMNS)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Options that the experiments share."""
    parser.add_argument("--data", nargs="+", choices=list(TASKS), default=["mnist5k"], help="data sets to train on")
    parser.add_argument("--seeds", type=int, default=5, help="number of seeds (default 5)")
    parser.add_argument("--methods", nargs="+", metavar="METHOD", help="only these methods (default: all)")


def chosen(methods: Mapping[str, M], names: Sequence[str] | None) -> dict[str, M]:
    """Those of ``methods`` that the command line names, or all.

    Raises:
        ValueError: a name is unknown.
    """
    unknown = set(names or ()) - set(methods)
    if unknown:
        raise ValueError(f"--methods: unknown {sorted(unknown)}; there are {list(methods)}")
    return {name: method for name, method in methods.items() if not names or name in names}


def per_seed(frame: pd.DataFrame, data_name: str, method: str, column: str = "accuracy") -> pd.Series:
    """Results of one method on one data set, indexed by seed."""
    return frame[(frame.data == data_name) & (frame.method == method)].set_index("seed")[column]


def difference(frame: pd.DataFrame, data_name: str, first: str, second: str, **band: float) -> evidence.Part | None:
    """The part of a claim: accuracy of ``first`` minus that of ``second`` in points, seed by seed.

    Args:
        frame: a table of runs, see `run_missing`.
        data_name, first, second: a data set and two methods of the table.
        band: ``low`` and ``high`` of `fewbits.evidence.part`.
    Returns:
        None if no seed has both.
    """
    values = per_seed(frame, data_name, first) - per_seed(frame, data_name, second)
    return by_seed(values, frame[(frame.data == data_name) & frame.method.isin([first, second])], unit="pt", **band)


def by_seed(values: pd.Series, sources: pd.DataFrame, **more: Any) -> evidence.Part | None:
    """The part of a claim from values indexed by seed, NaN where a seed has none; None if there are no values.

    Args:
        values: one number a seed.
        sources: those rows of a table of runs that the values come from. The last row of each seed completed its value
            and gives its provenance.
        more: of `fewbits.evidence.part`.
    """
    values = values.dropna().sort_index()
    if values.empty:
        return None
    origins = [evidence.origins(sources[sources.seed == seed])[-1] for seed in values.index]
    if any(origins):
        more["origins"] = origins
    numbers = [round(float(value), 4) for value in values]
    return evidence.part(numbers, runs=[int(seed) for seed in values.index], **more)
