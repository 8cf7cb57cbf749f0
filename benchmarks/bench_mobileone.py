"""What do MobileOne's branches cost in training? One step of the CIFAR-100 network with k = 4, batch 128, on the CPU.

Every figure is a ratio to ``merged`` of the same round.

* merged: statistics of all branches from the moments of the input, then one convolution (``ConvBranches``).
* branches: each branch is run and normalized, in PyTorch's two memory layouts; a user would pick the faster one.
* MobileNet-V1: one convolution and one normalization at each place. It is the limit: merged branches are one
  convolution too, and their moments are the price. For a 1×1 convolution from C to C channels, the C × C products of
  the moments and their backward pass add two thirds to the three products of the convolution. For a depthwise 3×3 one,
  13 products per pixel, and 26 in the backward pass, come to its three passes of nine.

With ``--record`` the figures go to ``data/results/mobileone_speed.csv``, which the chapter shows.
"""

import sys

import pandas as pd
import torch
from turns import make_step, print_ratios

from fewbits import evidence
from fewbits.mobileone import MobileNetV1, MobileOne

BATCH = 128


def main() -> None:
    torch.manual_seed(0)
    images, labels = torch.randn(BATCH, 3, 32, 32), torch.randint(100, (BATCH,))
    last, first = torch.channels_last, torch.contiguous_format
    forms = {
        "merged": (MobileOne(merged=True), last),
        "branches, channels last": (MobileOne(), last),
        "branches, contiguous": (MobileOne(), first),
        "MobileNet-V1": (MobileNetV1(), last),
    }
    print(f"one training step of MobileOne, k = 4, {torch.get_num_threads()} threads")
    steps = {
        name: make_step(model.to(memory_format=layout), images.contiguous(memory_format=layout), labels)
        for name, (model, layout) in forms.items()
    }
    rows = print_ratios(steps, "merged")
    if "--record" in sys.argv:
        machine = {"threads": torch.get_num_threads(), "device": evidence.provenance("", 0)["device"]}
        evidence.write_rows("mobileone_speed", pd.DataFrame(rows).assign(**machine))


if __name__ == "__main__":
    main()
