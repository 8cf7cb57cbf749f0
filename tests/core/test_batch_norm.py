"""Running statistics of a batch normalization."""

import pytest
import torch
from torch import nn

from fewbits.core.batch_norm import running_statistics


@pytest.mark.parametrize("kind", [nn.BatchNorm1d, nn.BatchNorm2d])
def test_the_buffers_themselves(kind):
    norm = kind(3)
    mean, variance = running_statistics(norm)
    mean.fill_(2)
    variance.fill_(4)
    assert torch.equal(norm.running_mean, torch.full((3,), 2.0))
    assert torch.equal(norm.running_var, torch.full((3,), 4.0))


def test_a_norm_without_statistics_is_refused():
    with pytest.raises(ValueError, match="keeps no running statistics"):
        running_statistics(nn.BatchNorm2d(3, track_running_stats=False))
