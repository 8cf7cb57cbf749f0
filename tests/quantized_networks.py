"""Networks whose parameters lie on INQ's codebooks."""

import copy

from torch import nn

from fewbits.inq import Inq


def quantized(model: nn.Module, bits: int = 5) -> nn.Module:
    """A copy with all weights and biases rounded to their codebooks at once."""
    inq = Inq(copy.deepcopy(model), bits, biases=True)
    inq.step(1.0)
    return inq.finish().eval()
