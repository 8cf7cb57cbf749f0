"""What the modules of a fake-quantized network hold, in integers: grids of activations, codes of weights."""

import torch
from torch import Tensor, nn

from fewbits.core.quantizer import weight_quantizers
from fewbits.integer.steps import Grid
from fewbits.uniform import UniformQuantizer


def grid_of(quantizer: UniformQuantizer) -> Grid:
    """The grid of an activation quantizer.

    Raises:
        ValueError: it has no fixed range, is per channel, or has more than 8 bits.
    Source: jacob2018 Sec. 3.1 (through the quantizer)
    """
    if quantizer.channel_axis is not None or quantizer.bits > 8:
        raise ValueError("an activation needs one scale and at most 8 bits")
    if quantizer.low.isnan():
        raise ValueError("the quantizer has no range: calibrate it first")
    scale, zero_point = quantizer.scale_and_zero_point(quantizer.low)
    return Grid(float(scale), int(zero_point or 0), quantizer.q_min, quantizer.q_max)


def weight_integers(layer: nn.Module) -> tuple[Tensor, int, Tensor]:
    """Codes of a layer's weight, int8 in its shape; bits of a code in two's complement; scales, float64 (M,).

    Tables of integers count too, as those of binary and ternary weights and of INQ do. INQ at 5 bits reaches ±128: such
    codes are int16 and take 9 bits.

    Raises:
        ValueError: the weight is not quantized, or its codes are no integers of at most 8 bits with one scale per
            output or per layer.
    Source: own (bookkeeping)
    """
    found = next(weight_quantizers(layer), None)
    if found is None:
        raise ValueError("the weight is not quantized: use prepare first")
    _, quantizer, latent = found
    codes = quantizer.encode(latent.detach())
    values = codes.values.long() if codes.levels is None else codes.levels[codes.values.long()]
    outputs = len(values)
    if (
        values.is_floating_point()
        or values.shape != codes.shape
        or codes.zero_point is not None
        or (codes.scale.numel() != 1 and codes.scale.shape != (outputs, *[1] * (values.dim() - 1)))
    ):
        raise ValueError("the weight needs integer codes without zero point, and one scale per output or per layer")
    reach = int(torch.maximum(values, -values - 1).max())
    if reach > (127 if codes.levels is None else 128):
        raise ValueError(f"the weight needs codes of at most 8 bits, got one of magnitude {reach}")
    bits = int(torch.as_tensor(codes.bits).max()) if codes.levels is None else max(reach.bit_length() + 1, 2)
    dtype = torch.int8 if reach <= 127 else torch.int16
    return values.to(dtype), bits, codes.scale.double().flatten().expand(outputs).clone()


def conv_geometry(layer: nn.Module) -> dict | None:
    """Stride, padding, dilation and groups of a convolution; None for a linear layer.

    Raises:
        ValueError: the layer is another one, is padded by something else than a number of zeros, or is dilated (torch
            has no dilated convolution of int32 on the CPU).
    Source: own (bookkeeping)
    """
    if isinstance(layer, nn.Linear):
        return None
    if not isinstance(layer, nn.Conv2d) or layer.padding_mode != "zeros" or isinstance(layer.padding, str):
        raise ValueError("has no integer form here: needs a Conv2d, padded by a number of zeros")
    if layer.dilation != (1, 1):
        raise ValueError("has no integer form here: the convolution is dilated")
    return {name: getattr(layer, name) for name in ("stride", "padding", "dilation", "groups")}
