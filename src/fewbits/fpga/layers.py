"""The layers of a trained INQ network as a circuit holds them: fields, wired shifts, biases in fixed point."""

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn

from fewbits.fpga.fixed_point import QFormat
from fewbits.fpga.shift_adder import product
from fewbits.inq import InqQuantizer, largest_exponent


@dataclass(frozen=True, eq=False)
class ShiftLayer:
    """A convolution, or a linear layer as a 1×1 convolution of one pixel, as the circuit holds it.

    Attributes:
        name: in the model.
        codes: (M, channels of a group, kernel, kernel) uint8, INQ fields.
        n1: largest exponent of their codebook.
        bias: (M,) int64, in the format of the network.
        groups, stride, padding: as in ``nn.Conv2d``.
        relu: whether a ReLU follows.
        pool: whether the average over all pixels comes first.
    Source: yokota2024 Sec. 2.2; zhou2017 Sec. 2.1 (fields)
    """

    name: str
    codes: np.ndarray
    n1: int
    bias: np.ndarray
    groups: int
    stride: int
    padding: int
    relu: bool
    pool: bool

    @property
    def channels(self) -> int:
        """Input channels, of all groups together."""
        return self.groups * self.codes.shape[1]

    def output_size(self, height: int, width: int) -> tuple[int, int]:
        """Rows and columns of the output."""
        reach = 2 * self.padding - self.codes.shape[2]
        return (height + reach) // self.stride + 1, (width + reach) // self.stride + 1


def read_layers(model: nn.Module, form: QFormat, overflow: str, bits: int) -> list[ShiftLayer]:
    """The layers of ``model``; arguments and errors as of :class:`fewbits.fpga.network.ShiftAdderNet`.

    Source: own (reading of a network)
    """
    modules = [(name, module) for name, module in model.named_modules() if not list(module.children())]
    layers, pool = [], False
    for (name, module), (_, after) in zip(modules, [*modules[1:], ("", None)], strict=True):
        if isinstance(module, nn.AdaptiveAvgPool2d) and module.output_size in (1, (1, 1)):
            pool = True
        elif _is_layer(module):
            codes, n1 = _encode(module.weight, f"{name}.weight", bits)
            bias = np.zeros(len(codes), np.int64)
            if module.bias is not None:
                fields, exponent = _encode(module.bias, f"{name}.bias", bits)
                one = 1 << form.fraction_bits
                exact = [product(one, field, exponent, bits=bits, overflow="saturate", width=34) for field in fields]
                bias = form.fit(np.array(exact, np.int64), overflow)
            linear = isinstance(module, nn.Linear)
            codes = codes.reshape(*codes.shape[:2], 1, 1) if linear else codes
            geometry = (1, 1, 0) if linear else (module.groups, module.stride[0], module.padding[0])
            layers.append(ShiftLayer(name, codes, n1, bias, *geometry, isinstance(after, nn.ReLU), pool))
            pool = False
        elif not isinstance(module, nn.ReLU | nn.Flatten):
            raise ValueError(f"model has {name!r}, a {type(module).__name__} that the circuit does not know")
    if not layers:
        raise ValueError("model has no layer")
    return layers


def _is_layer(module: nn.Module) -> bool:
    if isinstance(module, nn.Linear):
        return True
    square = (module.kernel_size, module.stride, module.padding) if isinstance(module, nn.Conv2d) else ()
    plain = bool(square) and module.dilation == (1, 1) and module.padding_mode == "zeros"
    return plain and all(isinstance(pair, tuple) and pair[0] == pair[1] for pair in square)


def _encode(parameter: Tensor, name: str, bits: int) -> tuple[np.ndarray, int]:
    """Fields and n1 of a parameter on its codebook."""
    codes = InqQuantizer(bits).encode(parameter)
    if not torch.equal(codes.decode(), parameter.detach()):
        raise ValueError(f"{name} is not on its codebook of {bits} bits: quantize it with INQ first")
    return codes.values.cpu().numpy(), largest_exponent(parameter, bits)
