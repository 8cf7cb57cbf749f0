"""A training step of one DoReFa convolution on packed bits against float32 and against its simulation.

Forward and backward of a 3×3 convolution with 64 channels on 32 images of 14 × 14, 1-bit weights, 2-bit activations,
6-bit gradients, one thread. Beside the ratios of times: bytes that are kept for the backward pass.
"""

import torch
import torch.nn.functional as F
from turns import print_ratios

from fewbits.bitwise import isa
from fewbits.low_bitwidth import DoReFaActivation
from fewbits.low_bitwidth.bit_planes import BitPlaneConv2d

CHANNELS, SIZE, IMAGES = 64, 14, 32
BITS = {"weight_bits": 1, "activation_bits": 2, "gradient_bits": 6}


def main() -> None:
    torch.set_num_threads(1)
    generator = torch.Generator().manual_seed(0)
    shape = (IMAGES, CHANNELS, SIZE, SIZE)
    x = DoReFaActivation(BITS["activation_bits"])(torch.rand(shape, generator=generator)).requires_grad_()
    grad = torch.randn(shape, generator=generator)
    on_bits, simulated = (BitPlaneConv2d(CHANNELS, CHANNELS, **BITS, on_bits=which) for which in (True, False))
    weight = on_bits.weight.detach().clone().requires_grad_()
    print(f"{CHANNELS} channels, {IMAGES} images of {SIZE} × {SIZE}, path {isa.chosen()}")
    print_ratios(
        {
            "float32": lambda: F.conv2d(x, weight, padding=1).backward(grad),
            "simulated": lambda: simulated(x).backward(grad),
            "on bits": lambda: on_bits(x).backward(grad),
        },
        reference="float32",
    )
    packed = BITS["activation_bits"] * x.numel() // 8
    print(f"  kept for the backward pass: {4 * x.numel():,} bytes in float32, {packed:,} packed")


if __name__ == "__main__":
    main()
