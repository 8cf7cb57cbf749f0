"""Integer-only networks: between the first code and the last there is no floating point (jacob2018).

A network is a list of steps (:mod:`fewbits.integer.steps`) on int8 or uint8 codes. What the codes mean,
``real = scale * (q - zero_point)``, is kept beside them, for the reader and for export; nothing reads it at run time.
:func:`fewbits.integer.conversion.to_integers` makes such a network from a fake-quantized one.
"""

from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from fewbits.core import packing
from fewbits.core.checks import check_finite, check_integers
from fewbits.integer.steps import Add, Flatten, GlobalAverage, Grid, Layer, MaxPool, Pad, Requantizer, Step
from fewbits.training import load_state, save_state

_KINDS: dict[str, type] = {
    each.__name__: each for each in (Layer, Add, GlobalAverage, MaxPool, Pad, Flatten, Requantizer)
}


@dataclass(frozen=True)
class IntegerNetwork:
    """Steps that turn codes of the input grid into codes of the output grid, in integers only.

    Attributes:
        steps: by name, in the order in which they run; the last one gives the output.
        inputs: names of what each step reads, earlier steps or "input".
        grids: what the codes of "input" and of each step mean.
        weight_scales: float64 (M,) of each layer: not needed to run, but for export, and to decode weights.
        input_shape: of one image.
    Source: jacob2018 Sec. 2.4; own (file format)
    """

    steps: dict[str, Step]
    inputs: dict[str, tuple[str, ...]]
    grids: dict[str, Grid]
    weight_scales: dict[str, Tensor] = field(repr=False)
    input_shape: tuple[int, ...]

    def __call__(self, codes: Tensor) -> Tensor:
        """Codes (N, …) of the input grid to codes of the output grid.

        Raises:
            TypeError, ValueError: ``codes`` are not integers, or lie outside the input grid.
        """
        return self.trace(codes)[next(reversed(self.steps))]

    def trace(self, codes: Tensor) -> dict[str, Tensor]:
        """The codes after every step, by name, and those of "input"."""
        grid = self.grids["input"]
        values = {"input": check_integers(codes, grid.q_min, grid.q_max, "codes").to(grid.dtype)}
        for name, step in self.steps.items():
            values[name] = step(*(values[source] for source in self.inputs[name]))
        return values

    @property
    def output_grid(self) -> Grid:
        return self.grids[next(reversed(self.steps))]

    def predict(self, images: Tensor, batch_size: int = 500) -> Tensor:
        """Real images (N, …) to classes (N,): encoded at the border, the rest in integers.

        Raises:
            TypeError, ValueError: ``images`` are not floating point, or hold NaN or Inf.
        """
        check_finite(images, "images")
        codes = self.grids["input"].encode(images)
        return torch.cat([self(part).argmax(1) for part in codes.split(batch_size)])

    def layers(self) -> dict[str, Layer]:
        return {name: step for name, step in self.steps.items() if isinstance(step, Layer)}

    def stored_bits(self) -> int:
        """Weights at their bits; 32 for each bias and multiplier, 8 for each shift."""
        total = 0
        for step in self.steps.values():
            if isinstance(step, Layer):
                total += step.weight.numel() * step.weight_bits + 32 * step.bias.numel()
                total += (32 + 8) * step.output.multiplier.numel()
            elif isinstance(step, Add):
                total += 32 * 2 + 8
            elif isinstance(step, GlobalAverage):
                total += 32 + 8
        return total

    def save(self, path: str | Path) -> None:
        """One safetensors file: integer tensors (weights packed at their bits), the rest as JSON in its metadata."""
        save_state(path, _to_tree(self))

    @staticmethod
    def load(path: str | Path) -> "IntegerNetwork":
        """The network that :meth:`save` wrote.

        Raises:
            FileNotFoundError: there is no such file.
            ValueError: the file is truncated, holds no integer network, or one with steps that are not known here; the
                message names it.
        """
        tree = load_state(path)
        if not isinstance(tree, dict) or not {"steps", "grids", "input_shape"} <= tree.keys():
            raise ValueError(f"{path}: holds no integer network")
        try:
            return _from_tree(tree)
        except (KeyError, TypeError) as error:
            raise ValueError(f"{path}: holds an integer network of another version: {error}") from error


def _to_tree(network: IntegerNetwork) -> dict:
    return {
        "steps": {name: _pack(step) for name, step in network.steps.items()},
        "inputs": network.inputs,
        "grids": {name: [grid.scale, grid.zero_point, grid.q_min, grid.q_max] for name, grid in network.grids.items()},
        "weight_scales": network.weight_scales,
        "input_shape": tuple(network.input_shape),
    }


def _pack(value: Any) -> Any:
    """A step as a dict of its fields, with the bits of each weight side by side."""
    if type(value).__name__ not in _KINDS:
        return value
    tree = {part.name: _pack(getattr(value, part.name)) for part in fields(value)} | {"kind": type(value).__name__}
    if isinstance(value, Layer):
        stream = bytearray(packing.pack(value.weight, value.weight_bits, signed=True))
        tree["weight"] = {"stream": torch.frombuffer(stream, dtype=torch.uint8), "shape": tuple(value.weight.shape)}
    return tree


def _from_tree(tree: dict) -> IntegerNetwork:
    return IntegerNetwork(
        {name: _unpack(step) for name, step in tree["steps"].items()},
        tree["inputs"],
        {name: Grid(*numbers) for name, numbers in tree["grids"].items()},
        tree["weight_scales"],
        tree["input_shape"],
    )


def _unpack(tree: Any) -> Any:
    if not isinstance(tree, dict) or "kind" not in tree:
        return tree
    values = {name: _unpack(value) for name, value in tree.items() if name != "kind"}
    if tree["kind"] == "Layer":
        stream, shape = values["weight"]["stream"], values["weight"]["shape"]
        count = torch.Size(shape).numel()
        codes = packing.unpack(bytes(stream.tolist()), values["weight_bits"], count, signed=True)
        values["weight"] = codes.to(torch.int8 if values["weight_bits"] <= 8 else torch.int16).reshape(shape)
    return _KINDS[tree["kind"]](**values)
