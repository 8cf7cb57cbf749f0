"""What a batch normalization knows of the data."""

from torch import Tensor, nn


def running_statistics(norm: nn.BatchNorm1d | nn.BatchNorm2d) -> tuple[Tensor, Tensor]:
    """Running mean and running variance of ``norm``, both (C,): the buffers themselves, not copies.

    Raises:
        ValueError: ``norm`` keeps none (``track_running_stats=False``).
    """
    if norm.running_mean is None or norm.running_var is None:
        raise ValueError("the batch normalization keeps no running statistics (track_running_stats=False)")
    return norm.running_mean, norm.running_var
