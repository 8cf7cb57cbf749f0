"""An integer network as C for firmware: a header with its numbers, and one file that runs it, ``c/few_bits.c``.

The program is C99 without floating point and without a heap; its codes are those of the
:class:`~fewbits.integer.network.IntegerNetwork`, bit for bit. Arithmetic is int64 where a sum is requantized, int32
elsewhere; the memory of codes is laid out here, so that what no step needs any more is written over. A weight takes a
byte, two where it reaches +128; it is not packed to fewer bits.
"""

import importlib.resources
import math
import re
from collections.abc import Iterator
from pathlib import Path

import torch
from torch import Tensor

from fewbits.core.files import write_whole
from fewbits.core.identifiers import comment, identifiers
from fewbits.integer.network import IntegerNetwork
from fewbits.integer.requantization import FRACTION_BITS, ROUNDINGS
from fewbits.integer.steps import Add, Flatten, GlobalAverage, Layer, MaxPool, Requantizer, Step, largest_sums

_WIDTH = 110  # of a line of numbers
_C_TYPES = {torch.int8: "int8_t", torch.int16: "int16_t", torch.int32: "int32_t"}


def write_c(network: IntegerNetwork, folder: str | Path, name: str = "network") -> Path:
    """Write ``<name>.h`` and ``few_bits.c`` into ``folder``, and return the path of the header.

    ``cc -std=c99 -O2 -c few_bits.c`` makes the function ``int <name>_run(const uint8_t *input, uint8_t *output)``, and
    with ``-DFEW_BITS_MAIN`` a program that reads codes and writes codes. A name other than "network" needs
    ``-DFEW_BITS_NETWORK='"<name>.h"'``.

    Args:
        folder: there must be one.
        name: an identifier of C: of the header, the function and the macros.
    Raises:
        ValueError, TypeError: as :func:`to_c_header`.
    Source: own (bookkeeping)
    """
    header = to_c_header(network, name)
    runner = importlib.resources.files("fewbits.integer") / "c" / "few_bits.c"
    write_whole(Path(folder) / "few_bits.c", runner.read_bytes())
    write_whole(Path(folder) / f"{name}.h", header.encode("ascii"))
    return Path(folder) / f"{name}.h"


def to_c_header(network: IntegerNetwork, name: str = "network") -> str:
    """The numbers of a network as a header of C.

    Arrays have the place and the name of their step: ``s0_layer1_conv_weight``. Other characters than letters and
    digits become "_"; the place keeps names apart. Sizes, scale and zero point of input and output are macros.

    Args:
        name: an identifier of C: of the function and the macros.
    Returns:
        ASCII text; ``c/few_bits.c`` includes it.
    Raises:
        TypeError: a step is of a kind that the program does not support; the message names it.
        ValueError: ``name`` is no identifier; or a step adds tensors of different shapes, works on a tensor of another
            rank than (K,) or (C, H, W), has a tie rule that is unknown, or may leave int32; the message names it.
    Source: jacob2018 Sec. 2.4; own (layout of numbers)
    """
    if not isinstance(name, str) or not re.fullmatch(r"[A-Za-z]\w*", name, re.ASCII):
        raise ValueError(f"name must be an identifier of C that starts with a letter, got {name!r}")
    return _Header(network, name).text()


class _Header:
    def __init__(self, network: IntegerNetwork, name: str):
        self.network, self.name = network, name
        grid = network.grids["input"]
        image = torch.full((1, *network.input_shape), grid.zero_point, dtype=grid.dtype)
        self.codes = network.trace(image)  # of one image: what counts is shapes and dtypes
        self.shapes = {step: tuple(codes.shape[1:]) for step, codes in self.codes.items()}
        self.identifiers = identifiers(network.steps, "s")
        self.places, self.memory = _layout(network, {step: math.prod(shape) for step, shape in self.shapes.items()})

    def text(self) -> str:
        self.arrays: list[str] = []
        steps = []
        for name, step in self.network.steps.items():
            if isinstance(step, Flatten):
                continue  # the codes lie in this order already
            try:
                fields = self.step(name, step)
            except ValueError as error:
                raise ValueError(f"{name}: {error}") from error
            settings = "".join(f"\n     .{key} = {value}," for key, value in fields.items())
            steps.append(f"    {{/* {comment(name)} */{settings}\n    }},\n")
        if not steps:
            raise ValueError("the network computes nothing: it only flattens")
        upper, last = self.name.upper(), next(reversed(self.network.steps))
        macros = []
        for side, step_name in (("INPUT", "input"), ("OUTPUT", last)):
            grid, shape = self.network.grids[step_name], self.shapes[step_name]
            macros.append(
                f"/* {side.lower()}: {' x '.join(map(str, shape))} codes, real = SCALE * (code - ZERO_POINT) */"
            )
            macros.append(f"#define {upper}_{side}_SIZE {math.prod(shape)}")
            macros.append(f"#define {upper}_{side}_SIGNED {self.signed(step_name)}")
            macros.append(f"#define {upper}_{side}_ZERO_POINT {grid.zero_point}")
            macros.append(f"#define {upper}_{side}_SCALE {grid.scale!r}\n")
        inner = {
            "FEW_BITS_RUN": f"{self.name}_run",
            "INPUT_SIZE": f"{upper}_INPUT_SIZE",
            "INPUT_MIN": f"({self.network.grids['input'].q_min})",
            "INPUT_MAX": self.network.grids["input"].q_max,
            "INPUT_PLACE": self.places["input"],
            "OUTPUT_SIZE": f"{upper}_OUTPUT_SIZE",
            "OUTPUT_PLACE": self.places[last],
            "MEMORY_SIZE": self.memory,
            "STEP_COUNT": len(steps),
        }
        return "\n".join(
            [
                f"/* {self.name}: an integer network, written by fewbits.integer.write_c; few_bits.c runs it. */\n",
                f"#ifndef {upper}_H\n#define {upper}_H\n\n#include <stdint.h>\n",
                *macros,
                "/* Codes of an image to codes of the output. Returns -1, with no output, if one is off its grid. */",
                f"int {self.name}_run(const uint8_t *input, uint8_t *output);\n",
                "#ifdef FEW_BITS_STEPS /* the numbers, for few_bits.c */\n",
                *(f"#define {key} {value}" for key, value in inner.items()),
                "",
                *self.arrays,
                "static const Step steps[STEP_COUNT] = {",
                "".join(steps).rstrip("\n"),
                "};\n\n#endif",
                "#endif\n",
            ]
        )

    def signed(self, name: str) -> int:
        return int(self.codes[name].dtype == torch.int8)

    def array(self, name: str, suffix: str, values: Tensor) -> str:
        """Writes an array of a step down and returns its name in C."""
        self.arrays.append(_array(f"{self.identifiers[name]}_{suffix}", values))
        return f"{self.identifiers[name]}_{suffix}"

    def step(self, name: str, step: Step) -> dict[str, object]:
        """The fields of a step in C that are not 0."""
        if not isinstance(step, Layer | Add | GlobalAverage | MaxPool):
            raise TypeError(f"{name}: the program in C has no step of the kind {type(step).__name__}")
        source = self.network.inputs[name][0]
        shape = self.shapes[source]
        linear = isinstance(step, Layer) and step.geometry is None
        if not isinstance(step, Add) and len(shape) != (1 if linear else 3):
            raise ValueError(f"the program in C has no form for an image of the shape {shape} here")
        fields: dict[str, object] = {
            "from": self.places[source],
            "to": self.places[name],
            "in_signed": self.signed(source),
        }
        fields |= {"in": _shape(shape), "out": _shape(self.shapes[name])}
        if isinstance(step, MaxPool):
            return {"kind": "MAX_POOL"} | fields | _window(step.geometry["kernel_size"], step.geometry)
        if isinstance(step, Layer):
            return {"kind": "LAYER"} | fields | self.layer(name, step)
        if isinstance(step, GlobalAverage):
            bound = torch.tensor(self.largest(source, step.zero_point) * math.prod(shape[1:]))
            fields |= {"zero_point": step.zero_point} | self.requantizer(name, bound, step.output)
            return {"kind": "GLOBAL_AVERAGE"} | fields
        return {"kind": "ADD"} | fields | self.add(name, step)

    def layer(self, name: str, step: Layer) -> dict[str, object]:
        largest = self.largest(self.network.inputs[name][0], step.zero_point)
        bound = largest_sums(step.weight, step.bias, largest, step.bias_fraction)
        geometry = step.geometry or {"stride": 1, "padding": 0, "dilation": 1, "groups": 1}
        weight = "weight" if step.weight.dtype == torch.int8 else "wide_weight"
        return {
            "zero_point": step.zero_point,
            **_window((*step.weight.shape[2:],) or 1, geometry),
            "groups": geometry["groups"],
            weight: self.array(name, "weight", step.weight),
            "bias": self.array(name, "bias", step.bias),
            "bias_unit": 2**step.bias_fraction,
            **self.requantizer(name, bound, step.output),
        }

    def add(self, name: str, step: Add) -> dict[str, object]:
        sources = self.network.inputs[name]
        if self.shapes[sources[0]] != self.shapes[sources[1]]:
            shapes = " and ".join(str(self.shapes[source]) for source in sources)
            raise ValueError(f"the program in C adds tensors of one shape only, not {shapes}")
        multipliers = step.multipliers.tolist()
        terms = zip(sources, step.zero_points, multipliers, strict=True)
        reach = sum(self.largest(source, zero_point) * abs(multiplier) for source, zero_point, multiplier in terms)
        _check_product(torch.tensor(float(reach)), step.output)
        return {
            "zero_point": step.zero_points[0],
            "from2": self.places[sources[1]],
            "zero_point2": step.zero_points[1],
            "in2_signed": self.signed(sources[1]),
            "multiplier1": multipliers[0],
            "multiplier2": multipliers[1],
            "shift": self.array(name, "shift", step.output.shift),
            **_output(step.output),
        }

    def requantizer(self, name: str, bound: Tensor, output: Requantizer) -> dict[str, object]:
        """The way from sums to codes; ``bound`` is the largest magnitude of a sum, () or one per channel."""
        if int(bound.max()) >= 2**31:
            raise ValueError(f"the sum may reach {int(bound.max()):,}, beyond int32")
        _check_product(bound.double() * output.multiplier.double().abs(), output)
        return {
            "multiplier": self.array(name, "multiplier", output.multiplier),
            "shift": self.array(name, "shift", output.shift),
            "per_channel": int(output.multiplier.numel() > 1),
            **_output(output),
        }

    def largest(self, name: str, zero_point: int) -> int:
        """Largest magnitude of a step's codes once the zero point is subtracted."""
        grid = self.network.grids[name]
        return max(abs(grid.q_min - zero_point), abs(grid.q_max - zero_point))


def _layout(network: IntegerNetwork, sizes: dict[str, int]) -> tuple[dict[str, int], int]:
    """Where the codes of the input and of each step lie, and how much memory that takes.

    Codes are needed from the step that makes them to the last that reads them. The largest are placed first, each in
    the first gap between those that are needed at the same time. What :class:`Flatten` returns
    is in the place of its input.
    """
    order = ["input", *network.steps]
    owner = {"input": "input"}  # the step whose memory a step's codes are in
    for name, step in network.steps.items():
        owner[name] = owner[network.inputs[name][0]] if isinstance(step, Flatten) else name
    begin = {name: time for time, name in enumerate(order) if owner[name] == name}
    end = dict(begin)
    for time, name in enumerate(order[1:], 1):
        end |= {owner[source]: time for source in network.inputs[name]}
    end[owner[order[-1]]] = len(order)
    places: dict[str, int] = {}
    for name in sorted(begin, key=lambda each: -sizes[each]):
        place = 0
        for other in sorted(places, key=places.__getitem__):
            if begin[other] <= end[name] and begin[name] <= end[other]:
                if places[other] - place >= sizes[name]:
                    break
                place = max(place, places[other] + sizes[other])
        places[name] = place
    return {name: places[owner[name]] for name in order}, max(places[each] + sizes[each] for each in places)


def _check_product(product: Tensor, output: Requantizer) -> None:
    """The product that is shifted must stay below 2**(61 + shift), which keeps its result below 2**30."""
    if output.rounding not in ROUNDINGS:
        raise ValueError(f"rounding must be one of {ROUNDINGS}, got {output.rounding!r}")
    shift = output.shift.double()
    if not ((shift >= -30) & (shift <= FRACTION_BITS)).all():
        raise ValueError(f"shift must lie between -30 and {FRACTION_BITS}, got {output.shift.tolist()}")
    if (product >= 2.0 ** (61 + shift)).any() or (product >= 2.0**62).any():
        raise ValueError("the output may reach 2**30 steps: is its range right?")


def _shape(shape: tuple[int, ...]) -> str:
    """An image as (channels, height, width): a vector is one pixel."""
    channels, height, width = (*shape, 1, 1)[:3] if len(shape) < 4 else (math.prod(shape), 1, 1)
    return f"{{{channels}, {height}, {width}}}"


def _window(kernel: int | tuple[int, ...], geometry: dict) -> dict[str, object]:
    sides = {"kernel": kernel} | {name: geometry[name] for name in ("stride", "padding", "dilation")}
    pairs = {name: (side, side) if isinstance(side, int) else tuple(side) for name, side in sides.items()}
    return {name: f"{{{rows}, {columns}}}" for name, (rows, columns) in pairs.items()}


def _output(output: Requantizer) -> dict[str, object]:
    return {
        "rounding": output.rounding.upper(),
        "out_zero_point": output.zero_point,
        "q_min": output.q_min,
        "q_max": output.q_max,
    }


def _array(name: str, values: Tensor) -> str:
    if values.dtype not in _C_TYPES:
        raise ValueError(f"the program in C needs int8, int16 or int32, got {values.dtype}")
    lines = list(_lines([str(value) for value in values.flatten().tolist()]))
    return f"static const {_C_TYPES[values.dtype]} {name}[{values.numel()}] = {{\n" + "\n".join(lines) + "\n};\n"


def _lines(words: list[str]) -> Iterator[str]:
    line = "   "
    for word in words:
        if len(line) + len(word) + 2 > _WIDTH:
            yield line
            line = "   "
        line += f" {word},"
    yield line
