"""INQ of ResNet-18 on CIFAR-100 by the schedules of zhou2017: 5, 4 and 3 bits, weights only, BN kept.

One float network a seed, and INQ at each bit width from it. On a CPU a float network takes days: this wants a GPU.
"""

import math
import time
from pathlib import Path

import pandas as pd
import torch
import torch.nn.functional as F
from torch import nn

from fewbits import evidence
from fewbits.data import random_crop_flip
from fewbits.experiments.common import merge_rows, recorded, run_folder
from fewbits.experiments.inq.claims import RESNET_KEYS, resnet_claims
from fewbits.experiments.inq.training import OutOfTime, Trainer, apply_inq
from fewbits.experiments.mobileone.cifar100 import cifar100
from fewbits.inq import RESNET18
from fewbits.nets import ResNet18
from fewbits.training import distributed, percent, seed_everything

EPOCHS, LR, DECAY = 100, 0.4, 5e-4  # of the float network
INQ_EPOCHS, INQ_LR = 4, 0.01  # of each stage: zhou2017 take fewer than 8 at 5 bits, and start again from the full rate


def resnet() -> nn.Module:
    """ResNet-18 for images of 32 × 32 and 100 classes."""
    return ResNet18(3, 100, "cifar")


def run_resnet(options, command: str) -> None:
    """One seed: train in floating point, then INQ at each of ``options.bits``; resumable, see :func:`fewbits.fit`."""
    with distributed.process_group() as device:
        folder = run_folder(f"inq-resnet18-{options.seed}")
        folder.mkdir(parents=True, exist_ok=True)
        if any(folder.iterdir()) and not options.resume:
            raise SystemExit(f"data/runs/{folder.name} holds the state of such a run: go on with --resume")
        deadline = math.inf if options.minutes is None else time.perf_counter() + 60 * options.minutes
        data = cifar100(device)
        trainer = Trainer(data, options.seed, 128, random_crop_flip, folder, deadline, progress=True)
        seed_everything(options.seed)
        model = resnet().to(device)
        try:
            trainer.train(model, "float", options.epochs, LR, DECAY, F.cross_entropy, peak=True)
            model.eval()
            keep({"bits": 32, "accuracy": percent(model, data)}, [], options, command, folder, "float", device)
            for bits in options.bits:
                # By itself, so that the states of the stages of each bit width have names of their own.
                its = Trainer(
                    data, options.seed, 128, random_crop_flip, folder / f"{bits}-bit", deadline, progress=True
                )
                (folder / f"{bits}-bit").mkdir(exist_ok=True)
                fractions = RESNET18[bits]
                outcome = apply_inq(model, its, options.inq_epochs, bits, fractions, biases=False, lr=INQ_LR)
                row = {"bits": bits, "accuracy": percent(outcome.model, data), "changed": outcome.changed}
                keep(row, outcome.stages, options, command, folder, f"{bits}-bit", device)
        except OutOfTime as stage:
            print(f"The minutes are over in '{stage}'. Go on with --resume.")
            return
        if distributed.is_first():
            wall_s = float(recorded("inq_resnet", RESNET_KEYS).wall_s.sum())
            claims = resnet_claims(recorded("inq_resnet", RESNET_KEYS))
            evidence.record("inq", claims, command=command, wall_s=wall_s, device=device)


def keep(row: dict, stages: list[dict], options, command: str, folder: Path, part: str, device: torch.device) -> None:
    """Put one network into ``inq_resnet`` and its stages into ``inq_resnet_stages``, unless it is there already."""
    where = {"seed": options.seed, "bits": row["bits"]}
    known = recorded("inq_resnet", RESNET_KEYS)
    if not distributed.is_first() or ((known.seed == where["seed"]) & (known.bits == where["bits"])).any():
        return
    logs = folder.glob("float.csv") if part == "float" else (folder / part).glob("*.csv")
    wall_s = sum(pd.read_csv(log).seconds.sum() for log in logs)
    epochs = options.epochs if part == "float" else options.inq_epochs * (len(stages) - 1)
    new = evidence.stamped(pd.DataFrame([where | row | {"epochs": epochs}]), command, wall_s, device)
    print(new.to_string(), flush=True)
    merge_rows("inq_resnet", new, RESNET_KEYS)
    if stages:
        merge_rows("inq_resnet_stages", pd.DataFrame(stages).assign(**where), [*RESNET_KEYS, "stage"])
