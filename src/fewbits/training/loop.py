"""One plain training loop for every chapter: seeded, and resumable bit for bit."""

import csv
import math
import random
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler
from tqdm import tqdm

from fewbits.core.modes import evaluating
from fewbits.training import distributed
from fewbits.training.resume import device_of, name_of, reference_parameter, resume_run, run_settings, save_run


def seed_everything(seed: int) -> None:
    """Seed the global generators of Python, NumPy and torch (CPU and accelerators); ``seed`` in [0, 2³²)."""
    random.seed(seed)
    np.random.seed(seed)  # noqa: NPY002  (the generator that other people's code reads)
    torch.manual_seed(seed)


def fit(
    model: nn.Module,
    images: Tensor,
    labels: Tensor,
    *,
    epochs: int,
    optimizer: Optimizer,
    scheduler: LRScheduler | None = None,
    batch_size: int = 128,
    seed: int = 0,
    loss: Callable[[Tensor, Tensor], Tensor] = F.cross_entropy,
    augment: Callable[[Tensor, torch.Generator], Tensor] | None = None,
    after_step: Callable[[nn.Module], object] | None = None,
    evaluate_on: tuple[Tensor, Tensor] | None = None,
    autocast: bool = False,
    channels_last: bool = False,
    checkpoint: str | Path | None = None,
    minutes: float | None = None,
    log: str | Path | None = None,
    progress: bool = False,
) -> list[dict[str, Any]]:
    """Train ``model`` in place, on the device where it is, and return one record per epoch.

    A fresh run seeds torch's global generator with ``seed`` (for dropout and stochastic rounding). The order of the
    samples, and what ``augment`` draws, depend on ``(seed, epoch)`` only. An epoch has ``ceil(N / batch_size)`` steps,
    the last one may be smaller.

    With ``checkpoint``, everything that the next epoch depends on is written after each epoch: model, optimizer,
    scheduler, the state of torch's generators, history. Calling again with the same arguments goes on from the last
    complete epoch and ends, on the same CPU, with the same bits as a run that was never interrupted (on a GPU: as far
    as its kernels are deterministic). ``epochs`` may be larger the second time if no scheduler depends on it. Not saved
    is what lies outside: generators of your own, and plain attributes that are not in a ``state_dict``.

    Under ``torchrun`` (:mod:`fewbits.training.distributed`) all processes call this alike, and share out every batch.

    Args:
        model: maps (N, ...) to (N, classes). Put into training mode at the start, left in evaluation mode.
        images: (N, ...); floating point ones are cast to the dtype of the model's parameters, batch by batch.
        labels: (N,) int64. Both may be on another device than the model.
        epochs: how many there are in all, counting those in the checkpoint.
        optimizer: over the model's parameters. To act between gradient and step (clipping, masking), use its
            ``register_step_pre_hook``.
        scheduler: stepped after **every batch**: give it ``epochs * ceil(N / batch_size)`` steps.
        batch_size: samples per step.
        seed: in [0, 2³²).
        loss: of (logits, labels), a scalar.
        augment: of (a batch of images, a CPU generator), e.g. :func:`fewbits.data.random_crop_flip`.
        after_step: called with the model after each step, e.g. to clip latent weights.
        evaluate_on: (images, labels) for ``test_accuracy`` after each epoch.
        autocast: run the forward pass in bfloat16 where that is safe; the loss is computed in float32.
        channels_last: keep model and (N, C, H, W) batches in this memory format.
        checkpoint: safetensors file, written after each epoch, read first if it exists.
        minutes: stop after the epoch in which this call has run for so long; call again to go on.
        log: CSV file with the history, rewritten after each epoch.
        progress: show a bar over all steps.
    Returns:
        For each epoch, those from the checkpoint included: ``epoch`` (from 1), ``lr`` (at its last step, first
        parameter group), ``loss`` (mean over samples) and ``train_accuracy`` (fraction), both collected while training,
        ``test_accuracy`` (fraction or None), ``seconds``.
    Raises:
        ValueError: lengths that differ, nothing to train on, a batch with fewer samples than there are processes, or a
            checkpoint that belongs to other settings or another model (the message names the setting).
        FloatingPointError: the loss is NaN or infinite; names epoch and step. The checkpoint of the epoch before stays.
    """
    if not len(images) or len(images) != len(labels):
        raise ValueError(f"need as many images as labels, and at least one; got {len(images)} and {len(labels)}")
    if batch_size < 1 or epochs < 0:
        raise ValueError(f"batch_size must be positive and epochs not negative, got {batch_size} and {epochs}")
    smallest = len(images) % batch_size or min(batch_size, len(images))
    if smallest < distributed.world_size():
        raise ValueError(
            f"batch_size {batch_size} leaves a batch of {smallest} for {distributed.world_size()} processes"
        )
    started = time.perf_counter()
    device = device_of(model)
    if channels_last:
        # The overloads of Module.to in torch 2.13 leave this argument out, which its documentation names.
        model.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    settings = run_settings(images, labels, optimizer, scheduler)
    settings |= {"seed": seed, "batch_size": batch_size, "autocast": autocast, "channels_last": channels_last}
    settings |= {"loss": name_of(loss), "augment": name_of(augment), "after_step": name_of(after_step)}
    if checkpoint is not None and Path(checkpoint).exists():
        history = resume_run(Path(checkpoint), settings, epochs, model, optimizer, scheduler)
    else:
        torch.manual_seed(seed)
        history = []

    steps = math.ceil(len(images) / batch_size)
    silent = not (progress and distributed.is_first())
    bar = tqdm(total=epochs * steps, initial=len(history) * steps, unit="step", disable=silent)
    forward = distributed.parallel(model)
    model.train()
    for epoch in range(len(history) + 1, epochs + 1):
        epoch_started = time.perf_counter()
        generator = torch.Generator().manual_seed(_mixed(seed, epoch))
        order = torch.randperm(len(images), generator=generator).to(images.device)
        total_loss, total_correct = 0.0, torch.zeros((), dtype=torch.int64, device=device)
        for step, index in enumerate(order.split(batch_size), start=1):
            x, y = _batch(model, images[index]), labels[index.to(labels.device)].to(device)
            if augment is not None:
                x = augment(x, generator)
            x, y = distributed.share(x), distributed.share(y)
            if channels_last and x.dim() == 4:
                x = x.contiguous(memory_format=torch.channels_last)
            with torch.autocast(device.type, dtype=torch.bfloat16, enabled=autocast):
                logits = forward(x)
            # The mean over the processes is the mean over the batch, also if one share is larger; alone it is exact.
            part = distributed.world_size() * len(y) / len(index)
            batch_loss = part * loss(logits.float() if autocast else logits, y)
            # Checked before the step, so that no later message about broken weights hides the cause.
            value = distributed.all_reduce(batch_loss.detach() / distributed.world_size()).item()
            if not math.isfinite(value):
                raise FloatingPointError(f"the loss is {value} in epoch {epoch}, step {step} of {steps}")
            optimizer.zero_grad()
            batch_loss.backward()
            optimizer.step()
            lr = float(optimizer.param_groups[0]["lr"])
            if scheduler is not None:
                scheduler.step()
            if after_step is not None:
                after_step(model)
            total_loss += value * len(index)
            total_correct += (logits.argmax(1) == y).sum()
            bar.update()
        record: dict[str, float | None] = {"epoch": epoch, "lr": lr, "loss": total_loss / len(images)}
        record["train_accuracy"] = distributed.all_reduce(total_correct).item() / len(images)
        record["test_accuracy"] = None if evaluate_on is None else accuracy(model, *evaluate_on)
        record["seconds"] = time.perf_counter() - epoch_started
        history.append(record)
        bar.set_postfix(loss=record["loss"], test=record["test_accuracy"])
        if checkpoint is not None and distributed.is_first():
            save_run(Path(checkpoint), settings, model, optimizer, scheduler, history)
        if log is not None and distributed.is_first():
            _write_csv(Path(log), history)
        over = minutes is not None and time.perf_counter() - started >= 60 * minutes
        if distributed.broadcast(over):
            break
    bar.close()
    model.eval()
    return history


def accuracy(model: nn.Module, images: Tensor, labels: Tensor, batch_size: int = 1000) -> float:
    """Fraction of ``labels`` that are the largest logit; see :func:`correct`."""
    return correct(model, images, labels, batch_size) / len(labels)


def correct(model: nn.Module, images: Tensor, labels: Tensor, batch_size: int = 1000) -> int:
    """How many ``labels`` are the largest logit, in evaluation mode and without gradients.

    Args:
        model: maps (N, ...) to (N, classes); every submodule gets its mode (training or not) back.
        images: (N, ...), N >= 1; floating point ones are cast to the dtype of the model's parameters.
        labels: (N,) int64. Both may be on another device than the model.
        batch_size: samples per forward pass; bounds the memory.
    Raises:
        ValueError: lengths that differ, or no images.
    """
    if not len(images) or len(images) != len(labels):
        raise ValueError(f"need as many images as labels, and at least one; got {len(images)} and {len(labels)}")
    count = 0
    with evaluating(model), torch.no_grad():
        for x, y in zip(images.split(batch_size), labels.split(batch_size), strict=True):
            predicted = model(_batch(model, x)).argmax(1)
            count += int((predicted == y.to(predicted.device)).sum())
    return count


def _batch(model: nn.Module, images: Tensor) -> Tensor:
    parameter = reference_parameter(model)
    if parameter is None:
        return images
    return images.to(parameter.device, parameter.dtype if images.is_floating_point() else images.dtype)


def _mixed(seed: int, epoch: int) -> int:
    """32 well-mixed bits; torch's CPU generator looks at no more, so ``seed + epoch`` would repeat across seeds."""
    return int(np.random.SeedSequence((seed, epoch)).generate_state(1)[0])


def _write_csv(path: Path, history: list[dict[str, Any]]) -> None:
    with path.open("w", newline="") as file:
        writer = csv.DictWriter(file, fieldnames=list(history[0]))
        writer.writeheader()
        writer.writerows(history)
