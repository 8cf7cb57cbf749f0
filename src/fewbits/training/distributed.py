"""Several processes that train one network together, as ``torchrun`` starts them.

A process that was not started so is alone: it has rank 0 of 1, and every function here gives back what it got. Each
process normalizes its share of a batch by itself (:class:`torch.nn.SyncBatchNorm` knows GPUs only), so with batch
normalization n processes train like one with batches n times smaller for the statistics, and the running ones are those
of rank 0. Without it, they compute what one process computes, up to rounding.
"""

import os
from collections.abc import Iterator
from contextlib import contextmanager

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel


@contextmanager
def process_group() -> Iterator[torch.device]:
    """Join the other processes, if ``torchrun`` started this one, and leave them at the end.

    Yields:
        The device of this process: its own GPU if there are any, else the CPU.
    """
    device = torch.device("cpu")
    if torch.cuda.is_available():
        device = torch.device("cuda", int(os.environ.get("LOCAL_RANK", 0)))
        torch.cuda.set_device(device)
    if not dist.is_torchelastic_launched():
        yield device
        return
    dist.init_process_group("nccl" if device.type == "cuda" else "gloo")
    try:
        yield device
    finally:
        dist.destroy_process_group()


def world_size() -> int:
    """How many processes there are."""
    return dist.get_world_size() if dist.is_initialized() else 1


def is_first() -> bool:
    """Whether this process writes files and shows progress."""
    return not dist.is_initialized() or dist.get_rank() == 0


def parallel(model: nn.Module) -> nn.Module:
    """What to call in place of ``model``: its backward pass takes the mean of all processes' gradients."""
    return DistributedDataParallel(model) if world_size() > 1 else model


def share(batch: Tensor) -> Tensor:
    """The samples of a batch that are this process's: every n-th."""
    return batch[dist.get_rank() :: world_size()] if world_size() > 1 else batch


def all_reduce(value: Tensor) -> Tensor:
    """Sum over the processes of a tensor without gradient, in place; ``value``."""
    if world_size() > 1:
        dist.all_reduce(value)
    return value


def broadcast(value: float) -> float:
    """The ``value`` of rank 0, for all: clocks read differently on each."""
    if world_size() == 1:
        return value
    device = "cuda" if dist.get_backend() == "nccl" else "cpu"
    said = torch.tensor(value, dtype=torch.float64, device=device)
    dist.broadcast(said, 0)
    return said.item()
