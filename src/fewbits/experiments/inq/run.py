"""What matters in INQ, on ``mnist5k``: bits, partition, schedule, biases, order of folding and INQ, branches.

Several seeds, in minutes. Written are ``data/results/inq_small.csv``, ``inq_small_stages.csv`` (the rows of a network
and seed when they are done; what is there does not run again), the claims that follow in ``inq.json``, and those in
``mobileone.json`` that follow from the same rows. Seed 0 is the network in ``data/checkpoints``, which chapters take
apart; it is not one of the runs that claims count. ``--held-out`` tries learning rates on held-out training images,
into ``inq_small_held_out.csv``.

``--network resnet18`` runs one seed of ResNet-18 on CIFAR-100 by the schedules of zhou2017, see
:mod:`fewbits.experiments.inq.resnet`, and writes ``inq_resnet.csv`` and ``inq_resnet_stages.csv``.
"""

import copy
import time
from argparse import ArgumentParser, Namespace
from collections.abc import Iterator, Sequence
from typing import Any

import pandas as pd
import torch.nn.functional as F
from torch import nn

from fewbits import evidence
from fewbits.core import container
from fewbits.core.codes import Codes
from fewbits.data import held_out
from fewbits.experiments.common import (
    checkpoint_path,
    codes_path,
    merge_rows,
    recorded,
    run_missing_rows,
    seeds,
)
from fewbits.experiments.inq.claims import BN_KEPT, KEYS, LEAST_ERROR, PAPER_STAGES, STANDARD, small_claims
from fewbits.experiments.inq.networks import small_data, small_net
from fewbits.experiments.inq.resnet import EPOCHS, INQ_EPOCHS, run_resnet
from fewbits.experiments.inq.training import FRACTIONS, Trainer, apply_inq, on_grid
from fewbits.experiments.mobileone import claims as mobileone
from fewbits.inq import ALEXNET, GOOGLENET, RESNET18, Inq, halving
from fewbits.mobileone import reparameterize
from fewbits.training import percent, save_model, seed_everything

NETWORKS = {"MobileNet": 0, "MobileOne k=1": 1, "MobileOne k=2": 2, "MobileOne k=4": 4}
BITS = (5, 4, 3, 2)
SMALL_EPOCHS, SMALL_INQ_EPOCHS = 20, 12  # the epochs of INQ are shared out among its stages
# The learning rate at the start of each stage is that of RATES with the best mean of all runs on held-out images.
SMALL_INQ_LR, RATES, RATE_SEEDS = 0.3, (0.03, 0.1, 0.3), 3
# What differs from the standard: folded first, biases too, largest first, stages .5, .75, .875, 1, n1 as in the paper.
SETTINGS: dict[str, dict[str, Any]] = {
    STANDARD: {},
    "one shot": {"fractions": (1.0,)},
    "random": {"partition": "random"},
    "2 stages": {"fractions": halving(2)},
    "AlexNet's stages": {"fractions": ALEXNET},
    "GoogLeNet's stages": {"fractions": GOOGLENET},
    "biases in float": {"biases": False},
    LEAST_ERROR: {"variant": "least-error"},
}


def add_arguments(parser: ArgumentParser) -> None:
    """Options of ``python -m fewbits.experiments inq``."""
    parser.add_argument("--seeds", type=int, default=5, help="number of seeds beside seed 0 (default 5)")
    parser.add_argument("--held-out", action="store_true", help="choose the learning rate; claims stay as they are")
    parser.add_argument("--network", choices=("small", "resnet18"), default="small", help="resnet18 wants a GPU")
    parser.add_argument("--seed", type=int, default=0, help="of resnet18")
    parser.add_argument("--bits", type=int, nargs="+", choices=sorted(RESNET18), default=[5, 4, 3], help="of resnet18")
    parser.add_argument("--epochs", type=int, default=EPOCHS, help="of the float resnet18")
    parser.add_argument("--inq-epochs", type=int, default=INQ_EPOCHS, help="of each stage of INQ of resnet18")
    parser.add_argument("--minutes", type=float, help="stop resnet18 after so many minutes; go on with --resume")
    parser.add_argument("--resume", action="store_true", help="go on with resnet18 from the state in data/runs")


def run(options: Namespace, command: str) -> None:
    """Measure what the table lacks, then write the claims of this chapter and those of ``mobileone``."""
    evidence.code_version()
    if options.network == "resnet18":
        run_resnet(options, command)
        return
    if options.held_out:
        try_rates(command)
        return
    table = measure_missing([0, *(seed + 1 for seed in seeds(options.seeds))], command)
    wall_s = float(table.seconds.sum())
    evidence.record("inq", small_claims(table), command=command, wall_s=wall_s)
    evidence.record("mobileone", mobileone.current_claims(), command=command, wall_s=wall_s)


def train_small(branches: int, trainer: Trainer, epochs: int = SMALL_EPOCHS) -> nn.Module:
    """A trained :func:`small_net`, in evaluation mode."""
    seed_everything(trainer.seed)
    model = small_net(branches)
    trainer.train(model, "float", epochs, lr=0.2, decay=5e-4, loss=F.cross_entropy, peak=True)
    return model.eval()


def measure_missing(seed_list: Sequence[int], command: str) -> pd.DataFrame:
    """All comparisons of each (seed, network) that ``inq_small`` lacks; each is recorded when it is done.

    So an interrupted run goes on where it stopped. Delete the table to measure everything anew. Of seed 0 only
    MobileNet is needed.

    Returns:
        The whole table.
    Raises:
        ValueError: the checkout has changes that are not committed, so that no row can say where it comes from.
    """
    data = small_data()
    for seed in seed_list:
        for network, branches in NETWORKS.items():
            if is_recorded(network, seed) or (seed == 0 and branches):
                continue
            trainer = Trainer(data, seed)
            where = {"network": network, "seed": seed}
            rows, stages = [], []
            started = time.perf_counter()
            model = train_small(branches, trainer)
            if seed == 0 and branches == 0:
                save_model(model, checkpoint_path("inq-small"))
            for row, its_stages, codes in compare(model, trainer, branches == 0):
                rows.append(where | row | {"seconds": round(time.perf_counter() - started, 1)})
                started = time.perf_counter()
                stages += [where | {key: row[key] for key in ("setting", "bits")} | stage for stage in its_stages]
                if seed == 0 and branches == 0 and (row["setting"], row["bits"]) == (STANDARD, 5):
                    container.save(codes_path("inq-small-5-bit"), codes)
            wall_s = sum(row["seconds"] for row in rows)
            new = evidence.stamped(pd.DataFrame(rows), command, wall_s)
            merge_rows("inq_small_stages", pd.DataFrame(stages), [*KEYS, "stage"])
            merge_rows("inq_small", new, KEYS)
            table = pd.DataFrame(rows).pivot_table("accuracy", "setting", "bits")
            print(f"{network}, seed {seed}\n{table.to_string()}", flush=True)
    return evidence.rows("inq_small")


def try_rates(command: str) -> None:
    """What INQ of MobileNet at 5 bits reaches at each of the `RATES`, on held-out training images."""
    data = held_out(small_data())

    def measure(setting: dict[str, Any], _: float | None) -> dict[str, Any]:
        trainer = Trainer(data, setting["seed"])
        model, epochs = train_small(0, trainer), SMALL_INQ_EPOCHS // (len(FRACTIONS) - 1)
        folded = apply_inq(reparameterize(model), trainer, epochs, lr=setting["rate"])
        kept = apply_inq(model, trainer, epochs, biases=False, lr=setting["rate"])
        return {"standard": percent(folded.model, data), "kept": percent(kept.model, data)}

    settings = [{"seed": seed, "rate": rate} for seed in range(RATE_SEEDS) for rate in RATES]
    run_missing_rows("inq_small_held_out", settings, measure, command)
    table = evidence.rows("inq_small_held_out")
    print(table.groupby("rate")[["standard", "kept"]].mean().mean(axis=1).to_string())


def is_recorded(network: str, seed: int) -> bool:
    """Whether ``inq_small`` has this run."""
    return bool(len(recorded("inq_small", KEYS).query("network == @network and seed == @seed")))


def compare(
    model: nn.Module, trainer: Trainer, everything: bool
) -> Iterator[tuple[dict, list[dict], dict[str, Codes]]]:
    """Rows of one trained network, float and after INQ with each setting and bit width, with stages and codes.

    Args:
        everything: at 5 and 3 bits all settings, not only the standard and one shot; INQ before folding; and the same
            with the stages that zhou2017 take at 4 and 3 bits.
    """
    folded = reparameterize(model)
    yield {"setting": "float", "bits": 32, "accuracy": percent(folded, trainer.data)}, [], {}
    for bits in BITS:
        for setting in SETTINGS if everything and bits in (5, 3) else (STANDARD, "one shot"):
            changes = SETTINGS[setting]
            epochs = SMALL_INQ_EPOCHS // max(len(changes.get("fractions", FRACTIONS)) - 1, 1)
            outcome = apply_inq(folded, trainer, epochs, bits, lr=SMALL_INQ_LR, **changes)
            row = {"setting": setting, "bits": bits, "accuracy": percent(outcome.model, trainer.data)}
            row |= {"on_grid": on_grid(outcome.model, bits, changes.get("biases", True))}
            yield row | {"changed": outcome.changed, "outgrown": outcome.outgrown}, outcome.stages, outcome.codes
        if everything:
            yield from ((row | {"bits": bits}, [], {}) for row in other_order(model, trainer, bits))
    for bits in (4, 3) if everything else ():
        epochs = SMALL_INQ_EPOCHS // (len(RESNET18[bits]) - 1)
        kept = apply_inq(model, trainer, epochs, bits, RESNET18[bits], biases=False, lr=SMALL_INQ_LR)
        row = {"setting": PAPER_STAGES, "bits": bits, "accuracy": percent(kept.model, trainer.data)}
        row |= {"on_grid": on_grid(kept.model, bits, biases=False), "changed": kept.changed, "outgrown": kept.outgrown}
        yield row, kept.stages, kept.codes


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
