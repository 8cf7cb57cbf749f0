"""What a batch normalization knows of the data, and what it has learned."""

import torch
from torch import Tensor, nn


def running_statistics(norm: nn.BatchNorm1d | nn.BatchNorm2d) -> tuple[Tensor, Tensor]:
    """Running mean and running variance of ``norm``, both (C,): the buffers themselves, not copies.

    Raises:
        ValueError: ``norm`` keeps none (``track_running_stats=False``).
    """
    if norm.running_mean is None or norm.running_var is None:
        raise ValueError("the batch normalization keeps no running statistics (track_running_stats=False)")
    return norm.running_mean, norm.running_var


def factor_and_offset(norm: nn.BatchNorm1d | nn.BatchNorm2d) -> tuple[Tensor, Tensor]:
    """gamma and beta of ``norm``, both (C,); 1 and 0 where it has none (``affine=False``).

    Raises:
        ValueError: as :func:`running_statistics`.
    """
    mean, _ = running_statistics(norm)
    gamma = torch.ones_like(mean) if norm.weight is None else norm.weight
    return gamma, torch.zeros_like(mean) if norm.bias is None else norm.bias
