"""What the chapters' training runs have in common: optimizers, schedules, data of half the size, one accuracy.

A recipe is a call of :func:`train` with an optimizer of :func:`adam` or :func:`sgd` and a schedule::

    train(model, data, adam(model, 3e-3), epochs=20, seed=0, schedule=one_cycle)
"""

import dataclasses
import math
from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.optim import Optimizer
from torch.optim.lr_scheduler import CosineAnnealingLR, ExponentialLR, LRScheduler, OneCycleLR

from fewbits.data import Dataset
from fewbits.training.loop import correct, fit

Schedule = Callable[[Optimizer, int], LRScheduler]  # of the optimizer and the number of steps


def adam(model: nn.Module, lr: float, weight_decay: float = 0.0) -> Optimizer:
    """Adam over the parameters of ``model`` that ask for a gradient; ``weight_decay`` is added to the gradient (L2)."""
    return torch.optim.Adam(_trained(model), lr, weight_decay=weight_decay)


def sgd(model: nn.Module, lr: float, *, nesterov: bool = False, weight_decay: float = 0.0) -> Optimizer:
    """SGD with momentum 0.9 over the parameters of ``model`` that ask for a gradient."""
    return torch.optim.SGD(_trained(model), lr, momentum=0.9, nesterov=nesterov, weight_decay=weight_decay)


def _trained(model: nn.Module) -> list[nn.Parameter]:
    return [parameter for parameter in model.parameters() if parameter.requires_grad]


def clip_gradients(optimizer: Optimizer, norm: float = 1.0) -> None:
    """Before each step from now on, scale all gradients down together where their norm exceeds ``norm``.

    A network without normalization needs it: nothing brings it back after one bad step.
    """
    parameters = [parameter for group in optimizer.param_groups for parameter in group["params"]]

    def clip(*_: object) -> None:
        nn.utils.clip_grad_norm_(parameters, norm)

    optimizer.register_step_pre_hook(clip)


def cosine(optimizer: Optimizer, steps: int) -> LRScheduler:
    """From the optimizer's learning rates to 0 along half a cosine, in ``steps`` steps."""
    return CosineAnnealingLR(optimizer, steps)


def exponential(optimizer: Optimizer, steps: int, final: float = 1e-3) -> LRScheduler:
    """From the optimizer's learning rates down to ``final`` times that, by the same factor in each of ``steps`` steps.

    The schedule of BinaryConnect and BinaryNet, which take such a step after each epoch.
    """
    return ExponentialLR(optimizer, final ** (1 / max(steps, 1)))


def one_cycle(optimizer: Optimizer, steps: int) -> LRScheduler:
    """Up to the optimizer's learning rates and down again, momentum the other way round, in ``steps`` steps."""
    return OneCycleLR(optimizer, [group["lr"] for group in optimizer.param_groups], total_steps=steps)


def step_count(samples: int, epochs: int, batch_size: int = 128) -> int:
    """Steps that :func:`fewbits.training.fit` takes: ``epochs`` times ``ceil(samples / batch_size)``."""
    return epochs * math.ceil(samples / batch_size)


def train(
    model: nn.Module,
    data: Dataset,
    optimizer: Optimizer,
    *,
    epochs: int,
    seed: int,
    schedule: Schedule | None = cosine,
    batch_size: int = 128,
    **options: Any,
) -> list[dict[str, Any]]:
    """Train ``model`` in place on the training images of ``data``.

    Args:
        schedule: of the learning rate, over all steps; None keeps it.
        options: of :func:`fewbits.training.fit`.
    Returns:
        The history: one record an epoch, see :func:`fewbits.training.fit`, which also names the errors.
    """
    steps = step_count(len(data.train_images), epochs, batch_size)
    scheduler = None if schedule is None else schedule(optimizer, steps)
    options |= {"epochs": epochs, "optimizer": optimizer, "scheduler": scheduler}
    return fit(model, data.train_images, data.train_labels, batch_size=batch_size, seed=seed, **options)


def squared_hinge(logits: Tensor, labels: Tensor) -> Tensor:
    """Mean over samples and classes of ``max(0, 1 - t * logit)²``, where t is +1 for the label and -1 for the others.

    The loss of BinaryConnect and BinaryNet (courbariaux2015 Sec. 3.1).

    Args:
        logits: (N, classes).
        labels: (N,) int64.
    """
    targets = 2 * F.one_hot(labels, logits.shape[1]).to(logits.dtype) - 1
    return F.relu(1 - targets * logits).square().mean()


def percent(model: nn.Module, data: Dataset, batch_size: int = 1000) -> float:
    """Test accuracy in percent, in batches of ``batch_size``."""
    return 100 * correct(model, data.test_images, data.test_labels, batch_size) / len(data.test_labels)


def half_size(data: Dataset) -> Dataset:
    """``data`` with every 2 × 2 pixels averaged: a quarter of the work."""
    return _changed(data, lambda images: F.avg_pool2d(images, 2))


def centred(data: Dataset) -> Dataset:
    """``data`` with pixels in [-1, 1] in place of [0, 1]."""
    return _changed(data, lambda images: 2 * images - 1)


def _changed(data: Dataset, change: Callable[[Tensor], Tensor]) -> Dataset:
    return dataclasses.replace(data, train_images=change(data.train_images), test_images=change(data.test_images))
