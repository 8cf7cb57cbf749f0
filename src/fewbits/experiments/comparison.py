"""One network, one recipe, many methods: what the experiments `binary`, `ternary` and `learned_step` share.

A *task* is a network, its data and its recipe; a *method* changes the network and, where its paper asks for it, the
recipe. Every run is recorded in a table when it is done. Long runs keep a checkpoint after each epoch in ``data/runs``
and go on from there, so an experiment may be stopped at any time and be called again with the same arguments::

    python -m fewbits.experiments binary --data mnist-1024 --seeds 3 --minutes 60
    python -m fewbits.experiments ternary --data mnist-lenet cifar10 cifar10-resnet20 --seeds 3

``--pilot`` tests on a tenth of the training images in place of the test images, and writes a table of its own: settings
are chosen there.
"""

import argparse
import dataclasses
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, field
from functools import partial
from typing import Any, TypeVar

import pandas as pd
import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from fewbits import evidence
from fewbits.binary import ShiftBatchNorm, latent_weights
from fewbits.data import Dataset, held_out, load, random_crop_flip
from fewbits.experiments.common import recorded, run_folder
from fewbits.nets import MLP, LeNet32x64, ResNet20, VGGSmall
from fewbits.training import (
    adam,
    centred,
    exponential,
    half_size,
    one_cycle,
    percent,
    seed_everything,
    sgd,
    squared_hinge,
    train,
)
from fewbits.training.checkpoint import load_state, restore

COLUMNS = ("data", "method", "seed", "epochs", "accuracy", "accuracy_quantized", "accuracy_batch", "seconds")
MLP_SIZES = (784, 128, 128, 128, 10)
VGG_WIDTHS = (32, 32, 64, 64, 128, 128)

Network = Callable[..., nn.Module]  # of the activation factory, and of what else its class takes
M = TypeVar("M")


ADAM = partial(adam, lr=3e-3)  # of every method that names no other optimizer


@dataclass(frozen=True)
class Task:
    """What is learned, by which network, for how long.

    Attributes:
        network: makes the float network, always with batch normalization; takes ``activation``.
        epochs: of batches of 128, with a learning rate that falls to 0 along a cosine, unless ``options`` differ.
        scale: of the results, as in `fewbits.evidence`.
        optimizer: of the network's parameters, for methods that name no other one.
        options: of :func:`fewbits.training.train`.
        images: train on the first so many images; None for all.
        long: keep a checkpoint after each epoch.
    """

    network: Network
    epochs: int
    scale: str
    optimizer: Callable[[nn.Module], Optimizer] = ADAM
    options: Mapping[str, Any] = field(default_factory=dict)
    images: int | None = None
    long: bool = False


# In bfloat16 where that is safe: two to three times as fast on processors that have it. Tests are in float32.
FAST = {"autocast": True, "channels_last": True}
_CROPS = FAST | {"augment": random_crop_flip}

TASKS = {
    "mnist5k": Task(partial(MLP, MLP_SIZES, batch_norm=True), 20, "notebook"),
    "mnist": Task(partial(MLP, MLP_SIZES, batch_norm=True), 12, "reduced"),
    # BinaryConnect's network (1024 units in its text), with its batches, its loss and its schedule.
    "mnist-1024": Task(
        partial(MLP, (784, 1024, 1024, 1024, 10), batch_norm=True, output_norm=True),
        50,
        "reduced",
        partial(adam, lr=1e-3),
        {"batch_size": 100, "loss": squared_hinge, "schedule": partial(exponential, final=3e-3), "autocast": True},
        images=50_000,
        long=True,
    ),
    # The network of TWN's paper, with its optimizer, batches and decay.
    "mnist-lenet": Task(
        LeNet32x64, 8, "reduced", partial(sgd, lr=0.01, weight_decay=1e-4), FAST | {"batch_size": 50}, long=True
    ),
    "cifar10": Task(
        partial(VGGSmall, 3, 32, 10, VGG_WIDTHS),
        15,
        "reduced",
        partial(sgd, lr=0.1, nesterov=True, weight_decay=5e-4),
        _CROPS | {"schedule": one_cycle},
        long=True,
    ),
    "cifar10-resnet20": Task(
        ResNet20,
        20,
        "reduced",
        partial(sgd, lr=0.1, weight_decay=2e-4),
        _CROPS | {"schedule": one_cycle},
        long=True,
    ),
}


@dataclass(frozen=True)
class Method:
    """How a method changes network and training.

    Attributes:
        build: makes the network to train from a `Network`.
        optimizer: of the network's parameters; None for the task's.
        after_step: as in :func:`fewbits.training.fit`.
        latent: test with the latent weights; the accuracy with quantized ones goes to ``accuracy_quantized``.
        from_float: start from the task's float network of the same seed, and train it for as many epochs again.
        options: of :func:`fewbits.training.train`, over the task's.
    """

    build: Callable[[Network], nn.Module]
    optimizer: Callable[[nn.Module], Optimizer] | None = None
    after_step: Callable[[nn.Module], object] | None = None
    latent: bool = False
    from_float: bool = False
    options: Mapping[str, Any] = field(default_factory=dict)


def float_network(network: Network, **options: Any) -> nn.Module:
    """The network with ReLU activations; ``options`` of its class."""
    return network(activation=nn.ReLU, **options)


FLOAT = Method(float_network)


def prepared(name: str, pilot: bool = False) -> Dataset:
    """The data of the task or data set ``name``, with pixels in [-1, 1].

    CIFAR-100 is averaged down to 16 × 16 pixels.

    Args:
        pilot: test on a tenth of the training images, which is held out (:func:`fewbits.data.held_out`).
    """
    data = load(name.split("-")[0])
    data = centred(half_size(data) if data.name == "cifar100" else data)
    if pilot:
        return held_out(data)
    if name in TASKS and (count := TASKS[name].images) is not None:
        images, labels = data.train_images[:count], data.train_labels[:count]
        return dataclasses.replace(data, train_images=images, train_labels=labels)
    return data


def started(network: Network, state: Mapping[str, Tensor]) -> Network:
    """A `Network` that starts from the float network with the ``state_dict`` ``state``."""

    def make(**options: Any) -> nn.Module:
        model = network(**options)
        restore(model, dict(state), "the float network")
        return model

    return make


def train_method(
    method: Method,
    task: Task,
    data: Dataset,
    seed: int,
    epochs: int | None = None,
    float_state: Mapping[str, Tensor] | None = None,
    **options: Any,
) -> nn.Module:
    """A network of ``task``, trained with ``method`` for ``epochs`` (default: the task's); on a GPU if there is one.

    Args:
        float_state: where a method that starts from the float network starts; trained here if it is left out.
        options: of :func:`fewbits.training.train`, over those of the task and the method.
    """
    return trained(method, task, data, seed, epochs, float_state, **options)[0]


def trained(
    method: Method,
    task: Task,
    data: Dataset,
    seed: int,
    epochs: int | None = None,
    float_state: Mapping[str, Tensor] | None = None,
    **options: Any,
) -> tuple[nn.Module, list[dict[str, Any]]]:
    """As :func:`train_method`, with the history: it is shorter than ``epochs`` where ``minutes`` has cut it."""
    epochs = task.epochs if epochs is None else epochs
    network = task.network
    if method.from_float:
        if float_state is None:
            float_state = train_method(FLOAT, task, data, seed, epochs).state_dict()
        network = started(network, float_state)
    seed_everything(seed)
    model = method.build(network).to("cuda" if torch.cuda.is_available() else "cpu")
    optimizer = (method.optimizer or task.optimizer)(model)
    recipe = dict(task.options) | dict(method.options) | {"after_step": method.after_step} | options
    history = train(model, data, optimizer, epochs=epochs, seed=seed, **recipe)
    return model, history


def measure(method: Method, model: nn.Module, data: Dataset) -> dict[str, float]:
    """Test accuracy in percent, as the method's paper measures it, with quantized weights, and by batches.

    ``accuracy_batch`` is that of shift-based batch normalization with the statistics of batches of 100 test images, as
    in BinaryNet's released code; of other networks it is the same as ``accuracy``. The images are shuffled first: those
    of a single class, as some test sets have them in a row, would lose in the normalization what tells them apart.
    """
    quantized = percent(model, data)
    norms = [module for module in model.modules() if isinstance(module, ShiftBatchNorm)]
    with latent_weights(model) if method.latent else nullcontext():
        accuracy = percent(model, data)
        for norm in norms:
            norm.running = False
        by_batch = percent(model, shuffled_test(data), 100) if norms else accuracy
        for norm in norms:
            norm.running = True
    return {"accuracy": accuracy, "accuracy_quantized": quantized, "accuracy_batch": by_batch}


def shuffled_test(data: Dataset) -> Dataset:
    """``data`` with its test images in another order, always the same one."""
    order = torch.randperm(len(data.test_labels), generator=torch.Generator().manual_seed(0))
    return dataclasses.replace(data, test_images=data.test_images[order], test_labels=data.test_labels[order])


def run_missing(
    table: str,
    methods: Mapping[str, Method],
    data_name: str,
    seed_list: Sequence[int],
    command: str,
    keep: Callable[[str, int, nn.Module], object] | None = None,
    *,
    epochs: int | None = None,
    minutes: float | None = None,
    pilot: bool = False,
) -> pd.DataFrame:
    """Train every (method, seed) that the recorded ``table`` lacks for this data, and record each when it is done.

    So an interrupted experiment goes on where it stopped, and seeds or methods can be added later.

    Args:
        table: name of the table; its columns are `COLUMNS`, accuracies in percent, and those of
            `fewbits.evidence.stamped`, empty in rows that are older than these columns.
        methods: by the name that the table uses.
        data_name: a key of `TASKS`.
        seed_list: seeds to have.
        command: what to type to get the new rows again; stored with each.
        keep: called with the method's name, the seed and the trained network, e.g. to save it.
        epochs: of each run, in place of the task's.
        minutes: stop after the epoch in which this call has run for so long; a long task goes on there next time.
        pilot: on held-out training images; written to ``<table>`` all the same, so give it a name of its own.
    Returns:
        The whole table, other data sets included.
    Raises:
        ValueError: the checkout has changes that are not committed, so that no row can say where it comes from; the
            table has the run with another number of epochs; or a method starts from a float network that has not been
            trained.
    """
    begun = time.perf_counter()
    task, data = TASKS[data_name], prepared(data_name, pilot)
    epochs = task.epochs if epochs is None else epochs
    for seed in seed_list:
        for name, method in methods.items():
            # Read at each turn: another process may have added to the table in the meantime.
            found = per_seed(recorded(table, COLUMNS), data_name, name, "epochs")
            if seed in found.index:
                if (found[[seed]] != epochs).any():
                    raise ValueError(
                        f"{table} has {data_name}, {name}, seed {seed} with {found[seed]} epochs, not with {epochs}: "
                        f"ask for --epochs {found[seed]}, or set FEWBITS_RESULTS to another folder"
                    )
                continue
            started_at = time.perf_counter()
            left = None if minutes is None else minutes - (started_at - begun) / 60
            if left is not None and left <= 0:
                return recorded(table, COLUMNS)
            files = run_folder(table)
            # The length is part of the name: a run of other epochs has another schedule from its first step on.
            path = files / f"{data_name}-{name.replace(' ', '-').replace(',', '')}-{epochs}-{seed}.safetensors"
            # Shared by the experiments, but not by pilots, which train on other images.
            float_folder = run_folder("float-pilot" if pilot else "float")
            float_path = float_folder / f"{data_name}-{epochs}-{seed}.safetensors"
            options: dict[str, Any] = {"minutes": left}
            if task.long:
                files.mkdir(parents=True, exist_ok=True)
                float_path.parent.mkdir(parents=True, exist_ok=True)
                options["checkpoint"] = path
                if method.from_float:
                    if not float_path.exists():
                        raise ValueError(f"{name} starts from the float network of seed {seed}: train float first")
                    options["float_state"] = load_state(float_path)["model"]
            if task.long and name == "float" and float_path.exists():
                options["checkpoint"] = float_path
            model, history = trained(method, task, data, seed, epochs, **options)
            if len(history) < epochs:
                return recorded(table, COLUMNS)
            if task.long and name == "float" and path.exists():
                path.replace(float_path)
            row: dict[str, Any] = {"data": data_name, "method": name, "seed": seed, "epochs": epochs}
            row |= {key: round(value, 4) for key, value in measure(method, model, data).items()}
            seconds = round(sum(record["seconds"] for record in history), 1)
            row["seconds"] = seconds
            print(row, flush=True)
            new = evidence.stamped(pd.DataFrame([row]), command, seconds, next(model.parameters()).device)
            evidence.write_rows(table, pd.concat([recorded(table, COLUMNS), new], ignore_index=True))
            path.unlink(missing_ok=True)
            if keep is not None:
                keep(name, seed, model)
    return recorded(table, COLUMNS)


def add_arguments(parser: argparse.ArgumentParser, data: Sequence[str] = tuple(TASKS)) -> None:
    """Options that the experiments share."""
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.epilog = __doc__
    parser.add_argument("--data", nargs="+", choices=list(data), default=["mnist5k"], help="tasks to train on")
    parser.add_argument("--seeds", type=int, default=5, help="number of seeds (default 5)")
    parser.add_argument("--methods", nargs="+", metavar="METHOD", help="only these methods (default: all)")
    parser.add_argument("--epochs", type=int, help="of each run (default: the task's)")
    parser.add_argument("--minutes", type=float, help="stop after so many minutes; call again to go on")
    parser.add_argument("--resume", action="store_true", help="go on with unfinished runs (which is done anyway)")
    parser.add_argument(
        "--pilot", action="store_true", help="test on held-out training images; claims stay as they are"
    )


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
