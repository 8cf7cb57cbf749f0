"""INQ on MobileNet-V1 and MobileOne: the table of yokota2024 on CIFAR-100, and what matters in INQ, on ``mnist5k``.

``--network small`` (default) runs the comparisons on ``mnist5k`` with several seeds, in minutes: bits, partition,
schedule, biases, order of folding and INQ, branches. It writes ``data/results/inq_small.csv``, the rows of a network
and seed when they are done, and does not run again what is there.

``--network mobilenet`` and ``--network mobileone`` run one seed on CIFAR-100: train, fold to 159,236 parameters, INQ of
all of them at 5 bits. The state lies in ``data/runs`` and is written after each epoch: stop at any time, or with
``--minutes``, and call again with ``--resume``. A finished run writes its rows of ``data/results/inq_cifar100.csv`` and
its columns of ``inq_predictions.csv`` (one class per test image), the float network in ``data/checkpoints``, and for
seed 0 that after INQ. With ``--pretrained`` INQ starts from that float network, and nothing is trained before.
``--variants`` without a name trains the float network only. The variant "unquantized" is a control: the folded network
is trained for one stage of INQ, and nothing is frozen. With ``--inq-seed`` INQ runs once more, in another order of the
images, from the float network of ``--seed``.

``--network layers`` takes the float networks of seed 0 from there, rounds one layer at a time, and writes the costs to
``data/results/inq_layers.csv``. ``--network forms`` rounds all layers, without and with constant channels folded and
scales aligned, and writes ``data/results/inq_forms.csv``.

The others write the claims that follow from all rows there are to ``data/results/inq.json``.
"""

import copy
import time
from collections.abc import Iterator, Sequence
from dataclasses import replace

import pandas as pd
import torch.nn.functional as F
from torch import nn

from fewbits import evidence
from fewbits.data import Dataset, load, normalize
from fewbits.experiments.common import checkpoint_path, seeds
from fewbits.experiments.inq.cifar100 import UNQUANTIZED, run_cifar
from fewbits.experiments.inq.claims import (
    BN_KEPT,
    KEYS,
    LEAST_ERROR,
    STANDARD,
    cited_claims,
    merge_rows,
    recorded,
    recorded_cifar100,
    size_claims,
    small_claims,
)
from fewbits.experiments.inq.layers import run_forms, run_layers
from fewbits.experiments.inq.training import CHANGES, FRACTIONS, LR, Trainer, apply_inq, on_grid, percent
from fewbits.inq import ALEXNET, GOOGLENET, Inq, halving
from fewbits.mobileone import MobileNetV1, MobileOne, reparameterize
from fewbits.training import save_model, seed_everything


def add_arguments(parser) -> None:
    """Options of ``python -m fewbits.experiments inq``."""
    parser.add_argument("--network", choices=("small", "mobilenet", "mobileone", "layers", "forms"), default="small")
    parser.add_argument("--seeds", type=int, default=5, help="number of seeds of the small runs (default 5)")
    cifar = parser.add_argument_group("CIFAR-100 (one seed a call)")
    cifar.add_argument("--seed", type=int, default=0)
    cifar.add_argument("--inq-seed", type=int, help="of INQ, if not that of the float network")
    cifar.add_argument("--branches", type=int, default=4, help="k of MobileOne (default 4)")
    cifar.add_argument("--epochs", type=int, default=100, help="of the float network (default 100)")
    cifar.add_argument("--inq-epochs", type=int, default=8, help="of each stage of INQ but the last (default 8)")
    cifar.add_argument("--inq-lr", type=float, default=LR, help=f"at the start of each stage (default {LR})")
    variants = f"of INQ: plain (default), {', '.join(CHANGES)}, several joined by +; or {UNQUANTIZED}"
    cifar.add_argument("--variants", nargs="*", metavar="VARIANT", default=["plain"], help=variants)
    cifar.add_argument("--batch-size", type=int, default=128)
    cifar.add_argument("--lr", type=float, default=0.4, help="peak learning rate of the float network (default 0.4)")
    cifar.add_argument("--weight-decay", type=float, default=5e-4, help="of the float network (default 5e-4)")
    cifar.add_argument("--smoothing", type=float, default=0.0, help="of the labels, float network (default 0)")
    cifar.add_argument("--minutes", type=float, help="stop after so many minutes; go on with --resume")
    cifar.add_argument("--resume", action="store_true", help="go on from the state in data/runs")
    cifar.add_argument("--pretrained", action="store_true", help="take the float network from data/checkpoints")
    cifar.add_argument("--images", type=int, help="use only so many images of each kind, and record nothing")


def run(options, command: str) -> None:
    """Train and measure, then write tables, claims and checkpoints."""
    evidence.code_version()
    if options.network == "small":
        run_small(options, command)
    elif options.network == "layers":
        run_layers(options.images)
    elif options.network == "forms":
        run_forms(options.images)
    else:
        run_cifar(options, command)


# --- mnist5k ---------------------------------------------------------------------------------------------------------

NETWORKS = {"MobileNet": 0, "MobileOne k=1": 1, "MobileOne k=2": 2, "MobileOne k=4": 4}
BITS = (5, 4, 3, 2)
SMALL_EPOCHS, SMALL_INQ_EPOCHS, SMALL_INQ_LR = 20, 12, 0.1  # the epochs of INQ are shared out among its stages
# What differs from the standard: folded first, biases too, largest first, stages .5, .75, .875, 1, n1 as in the paper.
SETTINGS = {
    STANDARD: {},
    "one shot": {"fractions": (1.0,)},
    "random": {"partition": "random"},
    "2 stages": {"fractions": halving(2)},
    "AlexNet's stages": {"fractions": ALEXNET},
    "GoogLeNet's stages": {"fractions": GOOGLENET},
    "biases in float": {"biases": False},
    LEAST_ERROR: {"variant": "least-error"},
}


def small_data() -> Dataset:
    """``mnist5k``, normalized and averaged to 14 × 14 pixels."""
    data = normalize(load("mnist5k"))
    halves = {name: F.avg_pool2d(getattr(data, name), 2) for name in ("train_images", "test_images")}
    return replace(data, **halves)


def small_net(branches: int) -> nn.Module:
    """A network with one block in each of 3 stages: MobileNet-V1 if ``branches`` is 0, else MobileOne."""
    shape = {"in_channels": 1, "classes": 10, "widths": (16, 32, 64), "depths": (1, 1, 1)}
    return MobileOne(**shape, branches=branches, merged=True) if branches else MobileNetV1(**shape)


def train_small(branches: int, trainer: Trainer, epochs: int = SMALL_EPOCHS) -> nn.Module:
    """A trained :func:`small_net`, in evaluation mode."""
    seed_everything(trainer.seed)
    model = small_net(branches)
    trainer.train(model, "float", epochs, lr=0.2, decay=5e-4, loss=F.cross_entropy, peak=True)
    return model.eval()


def run_small(options, command: str) -> None:
    """Measure what the table lacks, then write the claims."""
    table = measure_missing(seeds(options.seeds))
    claims = size_claims() + small_claims(table) + cited_claims(recorded_cifar100())
    evidence.record("inq", claims, command=command, wall_s=table.seconds.sum())


def measure_missing(seed_list: Sequence[int]) -> pd.DataFrame:
    """All comparisons of each (seed, network) that ``inq_small`` lacks; each is recorded when it is done.

    So an interrupted run goes on where it stopped. Delete the table to measure everything anew.

    Returns:
        The whole table.
    """
    data = small_data()
    for seed in seed_list:
        for network, branches in NETWORKS.items():
            if is_recorded(network, seed):
                continue
            trainer = Trainer(data, seed)
            where = {"network": network, "seed": seed}
            rows, stages = [], []
            started = time.perf_counter()
            model = train_small(branches, trainer)
            if seed == 0 and branches == 0:
                save_model(model, checkpoint_path("inq-small"))
            for row, its_stages, result in compare(model, trainer, branches == 0):
                rows.append(where | row | {"seconds": round(time.perf_counter() - started, 1)})
                started = time.perf_counter()
                stages += [where | {key: row[key] for key in ("setting", "bits")} | stage for stage in its_stages]
                if seed == 0 and branches == 0 and (row["setting"], row["bits"]) == (STANDARD, 5):
                    save_model(result, checkpoint_path("inq-small-5-bit"))
            merge_rows("inq_small_stages", pd.DataFrame(stages), [*KEYS, "stage"])
            merge_rows("inq_small", pd.DataFrame(rows), KEYS)
            table = pd.DataFrame(rows).pivot_table("accuracy", "setting", "bits")
            print(f"{network}, seed {seed}\n{table.to_string()}", flush=True)
    return evidence.rows("inq_small")


def is_recorded(network: str, seed: int) -> bool:
    """Whether ``inq_small`` has this run."""
    return bool(len(recorded("inq_small", KEYS).query("network == @network and seed == @seed")))


def compare(model: nn.Module, trainer: Trainer, everything: bool) -> Iterator[tuple[dict, list[dict], nn.Module]]:
    """Rows of one trained network, float and after INQ with each setting and bit width, with stages and network.

    Args:
        everything: at 5 and 3 bits all settings, not only the standard and one shot; and INQ before folding.
    """
    folded = reparameterize(model)
    yield {"setting": "float", "bits": 32, "accuracy": percent(folded, trainer.data)}, [], folded
    for bits in BITS:
        for setting in SETTINGS if everything and bits in (5, 3) else (STANDARD, "one shot"):
            changes = SETTINGS[setting]
            epochs = SMALL_INQ_EPOCHS // max(len(changes.get("fractions", FRACTIONS)) - 1, 1)
            outcome = apply_inq(folded, trainer, epochs, bits, lr=SMALL_INQ_LR, **changes)
            row = {"setting": setting, "bits": bits, "accuracy": percent(outcome.model, trainer.data)}
            row |= {"on_grid": on_grid(outcome.model, bits, changes.get("biases", True))}
            yield row | {"changed": outcome.changed, "outgrown": outcome.outgrown}, outcome.stages, outcome.model
        if everything:
            yield from ((row | {"bits": bits}, [], model) for row in other_order(model, trainer, bits))


def other_order(model: nn.Module, trainer: Trainer, bits: int) -> list[dict]:
    """INQ of the weights while BN is still there, and then three ways to get rid of BN."""
    epochs = SMALL_INQ_EPOCHS // (len(FRACTIONS) - 1)
    kept = apply_inq(model, trainer, epochs, bits, biases=False, lr=SMALL_INQ_LR).model
    folded = reparameterize(kept)
    again = Inq(copy.deepcopy(folded), bits, biases=True)
    again.step(1.0)
    networks = {BN_KEPT: kept, "INQ then folded": folded, "folded then rounded": again.finish()}
    return [
        {"setting": setting, "accuracy": percent(network, trainer.data), "on_grid": on_grid(network, bits, False)}
        for setting, network in networks.items()
    ]
