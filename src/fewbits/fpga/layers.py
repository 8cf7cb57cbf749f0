"""The layers of a trained INQ network as a circuit holds them: fields, wired shifts, biases in fixed point."""

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import nn

from fewbits.core.codes import StoredForm
from fewbits.core.graph import Call, read
from fewbits.fpga.fixed_point import QFormat
from fewbits.fpga.shift_adder import product
from fewbits.inq import exponent_of


@dataclass(frozen=True, eq=False)
class ShiftLayer:
    """A convolution, or a linear layer as a 1×1 convolution of one pixel, as the circuit holds it.

    Attributes:
        name: in the model.
        codes: (M, channels of a group, kernel, kernel) uint8, INQ fields.
        n1: largest exponent of their codebook.
        bits: of a field.
        bias: (M,) int64, in the format of the network.
        groups, stride, padding: as in ``nn.Conv2d``.
        relu: whether a ReLU follows.
        pool: whether the average over all pixels comes first.
    Source: yokota2024 Sec. 2.2; zhou2017 Sec. 2.1 (fields)
    """

    name: str
    codes: np.ndarray
    n1: int
    bits: int
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


def read_layers(model: nn.Module, codes: Mapping[str, StoredForm], form: QFormat, overflow: str) -> list[ShiftLayer]:
    """The layers of a network in the order of its forward pass; its weights are read from ``codes`` alone.

    Args:
        model: its structure counts, not its parameters, which may be on the device ``meta``.
        codes, form, overflow: as of :meth:`fewbits.fpga.network.ShiftAdderNet.from_codes`.
    Raises:
        ValueError: the circuit has no form for a call; the message names the module. Or the codes are not those of
            the layers.

    Source: own (reading of a network)
    """
    calls = [call for call in read(model).chain() if call.op != "identity"]
    if not any(call.layer is not None for call in calls):
        raise ValueError("model has no layer")
    layers: list[ShiftLayer] = []
    used = set[str]()
    one_pixel = flat = pool = False
    for before, call in zip([None, *calls], calls, strict=False):
        if call.layer is not None and _is_layer(call):
            if (call.op == "linear") != flat:
                raise _unknown(call, "has no place for: convolutions, a global average pool, Flatten, linear layers")
            layers.append(_make_layer(call, codes, used, form, overflow, pool))
            pool, one_pixel = False, one_pixel or call.op == "linear"
        elif call.op == "relu" and before is not None and before.layer is not None:
            layers[-1] = replace(layers[-1], relu=True)
        elif call.op == "global_average" and not one_pixel:
            pool = one_pixel = True
        elif call.op == "flatten" and call.settings == {"start_dim": 1, "end_dim": -1} and one_pixel:
            flat = True
        elif call.op in ("relu", "global_average", "flatten"):
            raise _unknown(call, "has no place for here")
        else:
            raise _unknown(call, "does not support")
    unused = sorted(codes.keys() - used)
    if unused:
        raise ValueError(f"codes name {unused}, which are no parameters of the layers")
    if pool:
        raise ValueError("model ends with a pool: a layer must follow it")
    return layers


def _unknown(call: Call, words: str) -> ValueError:
    kind = call.op if call.module is None else type(call.module).__name__
    article = "an" if kind[0] in "AEIOU" else "a"
    return ValueError(f"model has {call.name!r}, {article} {kind} that the circuit {words}")


def _is_layer(call: Call) -> bool:
    if call.op == "linear":
        return True
    module = call.module
    if not isinstance(module, nn.Conv2d) or module.dilation != (1, 1) or module.padding_mode != "zeros":
        return False
    pairs = module.kernel_size, module.stride, module.padding
    return all(isinstance(pair, tuple) and pair[0] == pair[1] for pair in pairs)


def _make_layer(
    call: Call, codes: Mapping[str, StoredForm], used: set[str], form: QFormat, overflow: str, pool: bool
) -> ShiftLayer:
    """One layer without its ReLU; the names of its codes go to ``used``."""
    module = call.module
    if not isinstance(module, nn.Linear | nn.Conv2d):
        raise _unknown(call, "does not support")
    prefix = f"{call.name}." if call.name else ""
    weight = _codes_of(codes, f"{prefix}weight", module.weight.shape, used)
    fields, n1, bits = inq_fields(weight, f"{prefix}weight")
    bias = np.zeros(len(fields), np.int64)
    if module.bias is not None:
        its_codes = _codes_of(codes, f"{prefix}bias", module.bias.shape, used)
        bias = form.fit(np.array(bias_words(its_codes, f"{prefix}bias", form), np.int64), overflow)
    if isinstance(module, nn.Linear):
        return ShiftLayer(call.name, fields.reshape(*fields.shape, 1, 1), n1, bits, bias, 1, 1, 0, False, pool)
    stride, padding = module.stride[0], module.padding[0]
    assert isinstance(padding, int)  # _is_layer has looked: "same" is a string
    return ShiftLayer(call.name, fields, n1, bits, bias, module.groups, stride, padding, False, pool)


def _codes_of(codes: Mapping[str, StoredForm], name: str, shape: torch.Size, used: set[str]) -> StoredForm:
    if name not in codes:
        raise ValueError(f"codes have no {name!r}; they have {sorted(codes)}")
    if codes[name].shape != shape:
        raise ValueError(f"{name} has shape {tuple(shape)} in model, its codes {tuple(codes[name].shape)}")
    used.add(name)
    return codes[name]


def inq_fields(codes: StoredForm, name: str) -> tuple[np.ndarray, int, int]:
    """Fields, uint8 in the shape of ``codes``, n1 and bits; the array belongs to the caller.

    Raises:
        ValueError: these are no codes of INQ, or hold a field that INQ does not write and a circuit would take for
            another number; the message starts with ``name``.
    Source: zhou2017 Sec. 2.1 (fields); own (check)
    """
    n1, bits = exponent_of(codes, name), int(codes.bits)
    fields = codes.values.cpu().numpy().astype(np.uint8)
    sign, e = fields >> (bits - 1), fields & ((1 << (bits - 1)) - 1)
    if ((e > 1 << (bits - 2)) | ((e == 0) & (sign == 1))).any():
        raise ValueError(f"{name} must be codes of INQ, but holds fields that INQ does not write")
    return fields, n1, bits


def bias_words(codes: StoredForm, name: str, form: QFormat) -> list[int]:
    """Biases in fixed point, as the circuit makes them: the field shifts the constant 1.0. They may not fit ``form``.

    Raises:
        ValueError: as :func:`inq_fields`.
    Source: own (bias as a shifted constant)
    """
    fields, n1, bits = inq_fields(codes, name)
    one = 1 << form.fraction_bits
    return [product(one, field, n1, bits=bits, overflow="saturate", width=34) for field in fields]
