"""The small network and data of the experiment ``inq``, which the chapters on circuits use too."""

from torch import nn

from fewbits.data import Dataset, load, normalize
from fewbits.mobileone import MobileNetV1, MobileOne
from fewbits.training import half_size


def small_data() -> Dataset:
    """``mnist5k``, normalized and averaged to 14 × 14 pixels."""
    return half_size(normalize(load("mnist5k")))


def small_net(branches: int) -> nn.Module:
    """A network with one block in each of 3 stages: MobileNet-V1 if ``branches`` is 0, else MobileOne."""
    widths, depths = (16, 32, 64), (1, 1, 1)
    if branches:
        return MobileOne(1, 10, widths, depths, branches, merged=True)
    return MobileNetV1(1, 10, widths, depths)
