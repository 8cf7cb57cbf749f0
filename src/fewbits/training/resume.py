"""What :func:`fewbits.training.fit` writes after each epoch, and how it goes on from there."""

import zlib
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler

from fewbits.training.checkpoint import load_state, restore, save_state


def reference_parameter(model: nn.Module) -> Tensor | None:
    """The parameter that decides on device and dtype; None for a network of integers only."""
    return next((parameter for parameter in model.parameters() if parameter.is_floating_point()), None)


def device_of(model: nn.Module) -> torch.device:
    """Where the model is; the CPU if nothing says so."""
    parameter = reference_parameter(model)
    return torch.device("cpu") if parameter is None else parameter.device


def name_of(function: Any) -> str | None:
    """Name of a function, or of an object's class: enough to notice that another one is used."""
    return None if function is None else getattr(function, "__qualname__", type(function).__name__)


def run_settings(images: Tensor, labels: Tensor, optimizer: Optimizer, scheduler: LRScheduler | None) -> dict[str, Any]:
    """What must be the same when a run is resumed; one flat dict, so that a difference has a name."""
    settings: dict[str, Any] = {
        "images": f"{images.dtype} {tuple(images.shape)}",
        "labels": zlib.crc32(labels.cpu().numpy().tobytes()),
        "optimizer": name_of(optimizer),
        "scheduler": name_of(scheduler),
    }
    # What the schedule moves is left out: objects that have been in use may be given again.
    moving = {"params"} if scheduler is None else {"params", "lr"}
    if getattr(scheduler, "cycle_momentum", False):
        moving |= {"momentum", "betas"}
    for index, group in enumerate(optimizer.param_groups):
        settings |= {f"optimizer group {index}: {key}": group[key] for key in group.keys() - moving}
    if scheduler is not None:
        settings |= _constants(scheduler.state_dict(), "scheduler")
    return settings


def _constants(state: dict[str, Any], place: str) -> dict[str, Any]:
    """The numbers in a scheduler's state that do not move, those of its parts included (``SequentialLR``)."""
    moving = {"last_epoch", "_last_lr", "_step_count", "_is_initial", "_get_lr_called_within_step", "T_cur", "T_i"}
    found: dict[str, Any] = {}
    for key in state.keys() - moving:
        if key == "_schedulers":
            for index, part in enumerate(state[key]):
                found |= _constants(part, f"{place} part {index}")
        else:
            found[f"{place}: {key}"] = state[key]
    return found


def save_run(
    path: Path,
    settings: dict[str, Any],
    model: nn.Module,
    optimizer: Optimizer,
    scheduler: LRScheduler | None,
    history: list[dict[str, Any]],
) -> None:
    """Write everything that the next epoch depends on."""
    device = device_of(model)
    state = {
        "settings": settings,
        "model": model.state_dict(),
        "optimizer": optimizer.state_dict(),
        "scheduler": None if scheduler is None else scheduler.state_dict(),
        "generator": torch.get_rng_state(),
        "cuda_generator": torch.cuda.get_rng_state(device) if device.type == "cuda" else None,
        "history": history,
    }
    save_state(path, state)


def resume_run(
    path: Path,
    settings: dict[str, Any],
    epochs: int,
    model: nn.Module,
    optimizer: Optimizer,
    scheduler: LRScheduler | None,
) -> list[dict[str, Any]]:
    """Put the checkpoint into the objects, and return its history; nothing is changed if it does not belong to them."""
    state = load_state(path)
    if not isinstance(state, dict) or "settings" not in state:
        raise ValueError(f"{path}: a saved state, but not the checkpoint of a training run")
    saved = state["settings"]
    for name in sorted(saved.keys() | settings.keys()):
        if saved.get(name) != settings.get(name):
            raise ValueError(
                f"{path} belongs to a run with other settings: {name} was {saved.get(name)!r}, is now "
                f"{settings.get(name)!r}. Delete the file to start afresh."
            )
    if len(state["history"]) > epochs:
        raise ValueError(f"{path} has {len(state['history'])} epochs already, more than epochs={epochs}")
    restore(model, state["model"], str(path))
    optimizer.load_state_dict(state["optimizer"])
    if scheduler is not None:
        scheduler.load_state_dict(state["scheduler"])
    torch.set_rng_state(state["generator"])
    if state["cuda_generator"] is not None and (device := device_of(model)).type == "cuda":
        torch.cuda.set_rng_state(state["cuda_generator"], device)
    return state["history"]
