"""INQ of MobileNet-V1 and MobileOne on CIFAR-100: one seed of one network, resumable (experiment ``mobileone``)."""

import copy
import math
import re
import time
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pandas as pd
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from fewbits import evidence
from fewbits.core import container
from fewbits.core.codes import Codes
from fewbits.data import Dataset, held_out, load, normalize, random_crop_flip
from fewbits.experiments.common import checkpoint_path, codes_path, merge_rows, run_folder
from fewbits.experiments.inq.training import OutOfTime, Trainer, apply_inq, retrain
from fewbits.experiments.mobileone.claims import CIFAR_KEYS, STAGE_KEYS, current_claims, recorded_cifar100
from fewbits.experiments.mobileone.normalized import (
    BN_KEPT,
    MEAN_ONLY,
    RE_ESTIMATED,
    STATISTICS_OF,
    apply_normalized,
    norm_of,
    re_estimated,
    stages_of,
    stored_bits,
    with_half_norms,
)
from fewbits.mobileone import MobileNetV1, MobileOne, reparameterize
from fewbits.nets import count_parameters
from fewbits.training import distributed, load_model, save_model, seed_everything

UNQUANTIZED = "unquantized"  # a variant: the control, nothing is frozen


def cifar100(device: torch.device, images: int | None = None) -> Dataset:
    """CIFAR-100, normalized, on ``device``; only the first ``images`` of each kind if given."""
    data = load("cifar100")
    if images is not None:
        names = ("train_images", "train_labels", "test_images", "test_labels")
        data = replace(data, **{name: getattr(data, name)[:images] for name in names})
    data = normalize(data, (0.5071, 0.4865, 0.4409), (0.2673, 0.2564, 0.2762))
    return replace(data, train_images=data.train_images.to(device), train_labels=data.train_labels.to(device))


def float_network(network: str, seed: int = 0) -> nn.Module:
    """A network "mobilenet" or "mobileone" (k = 4) from ``data/checkpoints``: trained, folded, in evaluation mode.

    Raises:
        FileNotFoundError: none of this seed has been stored.
    """
    return load_model(reparameterize(MobileNetV1().eval()), checkpoint_path(checkpoint_name(network, "float", seed)))


def checkpoint_name(network: str, form: str, seed: int) -> str:
    """Of a network "mobilenet" or "mobileone", "float", "inq", or a variant of INQ."""
    return f"inq-{network}-{form.replace('+', '-')}" + (f"-{seed}" if seed else "")


def run_cifar(options, command: str) -> None:
    """One seed of one network: train, fold, INQ, record; by one process, or by all that ``torchrun`` started."""
    if options.pretrained and options.branches != 4:
        raise SystemExit(f"--branches {options.branches}: the stored networks have 4, do not give --pretrained")
    if options.pretrained and not options.variants:
        raise SystemExit("--pretrained and no --variants: there is nothing to run")
    for variant in set(options.variants) - {UNQUANTIZED}:
        if norm := norm_of(variant):  # refused before anything is trained
            stages_of(norm, options.stage_epochs, options.stage_lrs)
    with distributed.process_group() as device:
        _run(options, command, device)


def _run(options, command: str, device: torch.device) -> None:
    started = time.perf_counter()
    torch.backends.cudnn.benchmark = True
    branches = options.branches if options.network == "mobileone" else 0
    choosing = "-held-out" if options.held_out else ""
    folder = run_folder(f"inq-{options.network}-{branches}-{options.seed}{choosing}")
    folder.mkdir(parents=True, exist_ok=True)
    if any(folder.iterdir()) and not options.resume:
        raise SystemExit(f"data/runs/{folder.name} holds the state of such a run: go on with --resume, or delete it")
    data = cifar100(device, None if options.held_out else options.images)
    if options.held_out:
        data = held_out(data)
        kept = slice(options.images)
        data = replace(data, train_images=data.train_images[kept], train_labels=data.train_labels[kept])
    deadline = math.inf if options.minutes is None else started + 60 * options.minutes
    trainer = Trainer(data, options.seed, options.batch_size, random_crop_flip, folder, deadline, progress=True)
    inq_seed = options.seed if options.inq_seed is None else options.inq_seed
    where = {"network": options.network, "branches": branches, "seed": options.seed}
    rows: list[dict[str, Any]] = []
    stages: list[dict[str, Any]] = []
    predicted: dict[str, Tensor] = {}
    partial = options.images or options.held_out

    def add(
        form: str,
        variant: str,
        network: nn.Module,
        epochs: int,
        codes: dict[str, Codes] | None = None,
        norm: str | None = None,
        **counts,
    ) -> None:
        network = copy.deepcopy(network).cpu()  # so that the record does not depend on the training device
        classes = predict(network, data.test_images)
        seed = options.seed if (form, variant) == ("float", "plain") else inq_seed
        name = f"{options.network}-{branches}-{form}-{variant}-{options.seed}"
        predicted[name if seed == options.seed else f"{name}-{seed}"] = classes
        score = 100 * int((classes == data.test_labels).sum()) / len(classes)
        bits = count_parameters(network) * (32 if form == "float" else 5)
        if norm == BN_KEPT:
            bits = stored_bits(network)
        row = where | {"form": form, "variant": variant, "inq_seed": seed, "accuracy": score, "bits": bits}
        rows.append(row | {"epochs": epochs, "device": device.type} | counts)
        print(rows[-1])
        of_table = variant == "plain" and branches in (0, 4) and (form == "float" or options.seed == seed == 0)
        mean_only = norm == MEAN_ONLY and options.seed == seed
        if (of_table or mean_only) and not partial and distributed.is_first():
            name = checkpoint_name(options.network, variant if mean_only else form, options.seed)
            if codes is None:
                save_model(network, checkpoint_path(name))
            else:
                container.save(codes_path(name), codes)

    try:
        if options.pretrained:
            folded = float_network(options.network, options.seed).to(device)
        else:
            folded = train_float(options, branches, trainer, device)
            add("float", "plain", folded, options.epochs)
        if inq_seed != options.seed:
            folder_of_inq = folder / f"inq-{inq_seed}"
            folder_of_inq.mkdir(exist_ok=True)
            trainer = replace(trainer, seed=inq_seed, folder=folder_of_inq)
        for variant in options.variants:
            if variant == UNQUANTIZED:
                network = copy.deepcopy(folded)
                retrain(network, trainer, variant, options.inq_epochs, options.inq_lr)
                add("float", variant, network, options.inq_epochs)
                continue
            if norm := norm_of(variant):
                its_stages = stages_of(norm, options.stage_epochs, options.stage_lrs)
                outcome = apply_normalized(folded, trainer, its_stages, variant)
                epochs = sum(stage.epochs for stage in its_stages)
            else:
                outcome = apply_inq(folded, trainer, options.inq_epochs, variant=variant, lr=options.inq_lr)
                epochs = options.inq_epochs * (len(outcome.stages) - 1)
            about = where | {"variant": variant, "inq_seed": inq_seed}
            stages += [about | {"biases": stage["fraction"]} | stage for stage in outcome.stages]
            more = {"changed": outcome.changed, "outgrown": outcome.outgrown}
            if norm == BN_KEPT:
                add("inq", variant, with_half_norms(outcome.model), epochs, outcome.codes, norm, **more)
                generator = torch.Generator().manual_seed(inq_seed)
                # Cropped and mirrored as in training: of the images themselves, the statistics are others.
                seen = random_crop_flip(data.train_images[:STATISTICS_OF], generator)
                again = with_half_norms(re_estimated(outcome.model, seen))
                add("inq", f"{variant}+{RE_ESTIMATED}", again, epochs, outcome.codes, norm, **more)
            else:
                add("inq", variant, outcome.model, epochs, outcome.codes, norm, **more)
    except OutOfTime as stage:
        print(f"The minutes are over in '{stage}'. Go on with --resume.")
        return
    if not distributed.is_first():
        return
    if options.held_out:
        settings = {"stage_epochs": _joined(options.stage_epochs), "stage_lrs": _joined(options.stage_lrs)}
        sizes = {"trained_on": len(data.train_images), "held_out": len(data.test_images)}
        table = pd.DataFrame(rows).assign(**settings, **sizes)
        merge_rows("mobileone_held_out", table, [*CIFAR_KEYS, *settings, *sizes])
        return
    if options.images:
        print("A part of the images: nothing is recorded.")
        return
    # Not the clock: an interrupted run goes on later. The folder may hold other variants, which are not of this run.
    named = {*options.variants} if options.pretrained else {*options.variants, "float"}
    of_inq = folder if inq_seed == options.seed else folder / f"inq-{inq_seed}"
    logs = {*folder.glob("float.csv"), *of_inq.glob("*.csv")}
    wall_s = sum(pd.read_csv(log).seconds.sum() for log in logs if re.sub(r"-\d+$", "", log.stem) in named)
    found = pd.DataFrame(rows)
    # What is there already, such as the float network of an earlier run, keeps the provenance of that.
    known = recorded_cifar100().set_index([*CIFAR_KEYS, "accuracy"]).index
    new = found[~found.set_index([*CIFAR_KEYS, "accuracy"]).index.isin(known)]
    if len(new):
        merge_rows("mobileone_cifar100", evidence.stamped(new, command, wall_s, device), CIFAR_KEYS)
    if stages:
        merge_rows("mobileone_cifar100_stages", pd.DataFrame(stages), [*STAGE_KEYS, "stage"])
    write_predictions(predicted, data.test_labels)
    evidence.record("mobileone", current_claims(), command=command, wall_s=wall_s, device=device)


def _joined(values: Sequence[float]) -> str:
    return " ".join(map(str, values)) or "default"


def train_float(options, branches: int, trainer: Trainer, device: torch.device) -> nn.Module:
    """MobileNet-V1 (``branches`` = 0) or MobileOne, trained in floating point and folded, in evaluation mode."""
    seed_everything(options.seed)
    model = (MobileOne(branches=branches, merged=True) if branches else MobileNetV1()).to(device)
    loss = Smoothed(options.smoothing)
    trainer.train(model, "float", options.epochs, options.lr, options.weight_decay, loss, peak=True)
    return reparameterize(model.eval())


class Smoothed:
    """Cross-entropy with smoothed labels."""

    def __init__(self, smoothing: float):
        self.smoothing = smoothing

    def __call__(self, logits: Tensor, labels: Tensor) -> Tensor:
        return F.cross_entropy(logits, labels, label_smoothing=self.smoothing)


@torch.no_grad()
def predict(model: nn.Module, images: Tensor) -> Tensor:
    """Class of each image, (N,) int64."""
    return torch.cat([model(x).argmax(1) for x in images.split(500)])


def write_predictions(predicted: dict[str, Tensor], labels: Tensor) -> None:
    """Add one column per network to ``mobileone_predictions.csv``, one row per test image."""
    try:
        table = evidence.rows("mobileone_predictions")
    except FileNotFoundError:
        table = pd.DataFrame({"label": labels.numpy()})
    for name, classes in predicted.items():
        table[name] = classes.numpy()
    evidence.write_rows("mobileone_predictions", table[["label", *sorted(table.columns.drop("label"))]])
