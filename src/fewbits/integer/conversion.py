"""From a fake-quantized network to an integer-only one: one walk over its graph (jacob2018 Sec. 2).

Fold batch normalization first (:func:`fewbits.bn_folding.fold_model`), then put in the quantizers that are missing
(:func:`fewbits.integer.preparation.prepare`). A value of the walk is either an int32 sum or finished codes. Layers,
additions and pools make sums of codes; a quantizer makes codes of a sum.
"""

import copy
from collections.abc import Callable
from dataclasses import dataclass, replace

import torch
from torch import Tensor, fx, nn

from fewbits.core.channels import per_channel
from fewbits.core.checks import check_bits
from fewbits.core.graph import Call, Network, read, replace_module
from fewbits.core.quantizer import LinearOrConv
from fewbits.integer.network import IntegerNetwork
from fewbits.integer.reading import conv_geometry, grid_of, weight_integers
from fewbits.integer.requantization import FRACTION_BITS, fixed_point
from fewbits.integer.steps import (
    Add,
    Flatten,
    GlobalAverage,
    Grid,
    Layer,
    MaxPool,
    Pad,
    Requantizer,
    Step,
    largest_sums,
)
from fewbits.uniform import UniformQuantizer

_BIAS_LIMIT = 2**30


@dataclass(frozen=True)
class _Sum:
    """A value that is still an int32 sum: it becomes codes where a quantizer says on which grid.

    Attributes:
        name: of the step that will make it; inputs: what that step reads.
        scale: float64, () or (M,): what one unit of the sum is worth.
        bound: int64, shaped like ``scale``, of the sum's magnitude.
        step: of the finished :class:`Requantizer` and the factor ``scale / output scale``.
    """

    name: str
    inputs: tuple[str, ...]
    scale: Tensor
    bound: Tensor
    step: Callable[[Requantizer, Grid], Step]
    relu: bool = False
    ceiling: float | None = None


def to_integers(model: nn.Module, image: Tensor, rounding: str = "upward", bias_fraction: int = 0) -> IntegerNetwork:
    """The integer-only form of a fake-quantized network, e.g. of what :func:`prepare` returns.

    Layers keep the codes of their weight quantizers. Biases become int32 in steps of input scale × weight scale, or
    ``2**bias_fraction`` times finer; the sum is shifted left to meet them. With few bits those steps are coarse. A
    channel whose bias would take more than 2**30 steps is *negligible*: its weights are tiny beside its bias.
    Its weight scale is widened until the bias fits, and its codes are rounded again.

    A step has the name of its module, or of the function's result in the graph; where that is taken, as by the first
    call of a module that is called twice, ":2" and so on follows. "input" and "output" are taken from the start.

    Args:
        model: in evaluation mode, every range fixed, BN folded.
        image: (1, …) an example of the input; only its shape counts.
        rounding: tie rule of all requantizations, see :mod:`fewbits.integer.requantization`.
        bias_fraction: 0 to 16; other runtimes support 0 only.
    Raises:
        TypeError: the network contains an operation that has no integer form here; the message names it.
        ValueError: a quantizer is missing or has no fixed range, its codes do not fit 8 bits, int32 may overflow, or
            a layer sees inputs of a shape that it cannot handle; the message names the place.
    Source: jacob2018 Sec. 2.4; jacob2018 Eq. 5; jacob2018 Eq. 6; jacob2018 Eq. 11; own (bias steps, negligible
        channels); book eq-integer-layer
    """
    network = read(model)
    walk = _Walk(network, image, rounding, check_bits(bias_fraction, 0, "bias_fraction"))
    for call in _needed(network):
        try:
            walk.visit(call)
        except ValueError as error:
            raise ValueError(f"{call}: {error}") from error
    if not walk.steps:
        raise ValueError("the network has no step between input and output")
    result = IntegerNetwork(walk.steps, walk.inputs, walk.grids, walk.weight_scales, tuple(image.shape[1:]))
    _try(result, image.shape)
    return result


def step_names(network: Network) -> dict[Call, str]:
    """A name for each call: no two are equal, and none is "input" or "output".

    Source: own (bookkeeping)
    """
    names: dict[Call, str] = {}
    taken = {"input", "output"}
    for call in network.calls:
        name, count = call.name, 1
        while name in taken:
            count += 1
            name = f"{call.name}:{count}"
        names[call] = name
        if call.op not in ("input", "output"):
            taken.add(name)
    return names


def _needed(network: Network) -> list[Call]:
    """The calls that the output depends on, in order."""
    needed: set[Call] = set()
    for call in reversed(network.calls):
        if call.op == "output" or call in needed:
            needed.update((call, *call.inputs))
    return [call for call in network.calls if call in needed]


def _try(network: IntegerNetwork, shape: torch.Size) -> None:
    """What torch cannot compute in integers should fail here, and not at the first image."""
    grid = network.grids["input"]
    try:
        network.trace(torch.full(tuple(shape), grid.zero_point, dtype=grid.dtype))
    except RuntimeError as error:
        raise ValueError(f"the integer network cannot be run: {error}") from error


class _Walk:
    """What has been written down so far; ``values`` says what each call has become."""

    def __init__(self, network: Network, image: Tensor, rounding: str, bias_fraction: int):
        self.names, self.shapes = step_names(network), network.shapes(image)
        self.rounding, self.bias_fraction = rounding, bias_fraction
        self.steps: dict[str, Step] = {}
        self.inputs: dict[str, tuple[str, ...]] = {}
        self.grids: dict[str, Grid] = {}
        self.weight_scales: dict[str, Tensor] = {}
        self.values: dict[Call, _Sum | str | None] = {}  # a sum, the name of finished codes, or the real input

    def visit(self, call: Call) -> None:
        if call.op == "input":
            if self.values:
                raise ValueError("an integer network has one input")
            self.values[call] = None
        elif call.op == "output":
            if not isinstance(call.settings["value"], fx.Node):
                raise ValueError(f"an integer network has one output, got {call.settings['value']}")
            self._codes(call.inputs[0])
        elif isinstance(call.module, UniformQuantizer):
            self.values[call] = self._quantize(call, call.module)
        elif call.op == "identity":
            self.values[call] = self.values[call.inputs[0]]
        elif call.op == "relu":
            self.values[call] = replace(self._sum(call.inputs[0]), relu=True)
        elif call.op == "relu6":
            self.values[call] = replace(self._sum(call.inputs[0]), relu=True, ceiling=6.0)
        elif call.layer is not None:
            self.values[call] = self._layer(call, call.layer)
        elif call.op == "add" and len(call.inputs) == 2 and call.settings["alpha"] == 1:
            self.values[call] = self._add(call)
        elif call.op == "global_average":
            self.values[call] = self._average(call)
        elif call.op == "max_pool2d":
            self.values[call] = self._plain(call, MaxPool(call.settings))
        elif call.op == "pad":
            if len(self.shapes[call.inputs[0]]) != 4:
                raise ValueError(f"needs inputs (N, C, H, W), got {tuple(self.shapes[call.inputs[0]])}")
            grid = self.grids[self._codes(call.inputs[0])]
            self.values[call] = self._plain(call, Pad(call.settings["padding"], grid.zero_point))
        elif self._flattens(call):
            self.values[call] = self._plain(call, Flatten())
        else:
            raise TypeError(f"{call} has no integer form here{_settings_of(call)}")

    def _flattens(self, call: Call) -> bool:
        if call.op == "flatten":
            return call.settings == {"start_dim": 1, "end_dim": -1}
        batch = self.shapes[call.inputs[0]][0] if call.op == "reshape" else 0
        return batch == 1 and call.settings["shape"][0] == -1 and self.shapes[call][:-1] == (1,)

    def _codes(self, call: Call) -> str:
        value = self.values[call]
        if not isinstance(value, str):
            raise ValueError(f"needs codes, but nothing quantizes {call}: use prepare first")
        return value

    def _sum(self, call: Call) -> _Sum:
        value = self.values[call]
        if not isinstance(value, _Sum):
            raise ValueError(f"must follow a layer, an addition or a pool, but {call} is none")
        return value

    def _plain(self, call: Call, step: Step) -> str:
        source, name = self._codes(call.inputs[0]), self.names[call]
        self.steps[name], self.inputs[name], self.grids[name] = step, (source,), self.grids[source]
        return name

    def _quantize(self, call: Call, quantizer: UniformQuantizer) -> str:
        grid, source = grid_of(quantizer), call.inputs[0]
        if self.values[source] is None:
            if self.grids.setdefault("input", grid) != grid:
                raise ValueError("the input is quantized on two grids")
            return "input"
        total = self._sum(source)
        if total.name in self.steps:
            raise ValueError(f"the result of {total.name} is quantized already")
        factor = total.scale / grid.scale  # jacob2018 Eq. 5, then jacob2018 Eq. 6
        reach = float((total.bound * factor).max())
        if reach >= 2**30:
            raise ValueError(f"the output may reach {reach:.3g} steps, beyond 2**30: is its range right?")
        minimum = max(grid.q_min, grid.zero_point) if total.relu else grid.q_min
        maximum = grid.q_max if total.ceiling is None else int(grid.encode(torch.tensor(total.ceiling).double()))
        output = Requantizer(
            *fixed_point(factor),
            zero_point=grid.zero_point,
            q_min=minimum,
            q_max=maximum,
            rounding=self.rounding,
            relu=total.relu,
            ceiling=total.ceiling,
        )
        self.steps[total.name] = total.step(output, grid)
        self.inputs[total.name], self.grids[total.name] = total.inputs, grid
        return total.name

    def _layer(self, call: Call, layer: LinearOrConv) -> _Sum:
        source = self._codes(call.inputs[0])
        geometry, seen = conv_geometry(layer), self.shapes[call.inputs[0]]
        if len(seen) != (2 if geometry is None else 4):
            raise ValueError(f"needs inputs (N, K) or (N, C, H, W), got {tuple(seen)}")
        grid, name = self.grids[source], self.names[call]
        codes, bits, weight_scale = weight_integers(layer)
        bias = torch.zeros(len(codes)) if layer.bias is None else layer.bias.detach()
        steps = 2.0**self.bias_fraction
        unit = grid.scale * weight_scale / steps  # jacob2018 Eq. 11
        negligible = (bias.double().abs() > _BIAS_LIMIT * unit) | ((codes == 0).flatten(1).all(1) & (bias != 0))
        if negligible.any():
            wider = torch.where(negligible, bias.double().abs() * steps / (_BIAS_LIMIT * grid.scale), weight_scale)
            codes = torch.round(codes * per_channel(weight_scale / wider, codes.dim())).to(codes.dtype)
            weight_scale, unit = wider, wider * grid.scale / steps
        self.weight_scales[name] = weight_scale
        whole_bias = torch.round(bias.double() / unit).to(torch.int32)

        def step(output: Requantizer, _: Grid) -> Layer:
            return Layer(codes, whole_bias, self.bias_fraction, bits, geometry, grid.zero_point, grid.largest, output)

        return _Sum(name, (source,), unit, largest_sums(codes, whole_bias, grid.largest, self.bias_fraction), step)

    def _add(self, call: Call) -> _Sum:
        sources = tuple(self._codes(operand) for operand in call.inputs)
        grids = [self.grids[source] for source in sources]

        def step(output: Requantizer, grid: Grid) -> Add:
            factors = torch.tensor([each.scale / grid.scale for each in grids], dtype=torch.float64)
            _, shift = fixed_point(factors.max())
            multipliers = torch.round(factors * 2.0 ** (FRACTION_BITS + int(shift))).to(torch.int32)
            zero_points = grids[0].zero_point, grids[1].zero_point
            return Add(multipliers, zero_points, replace(output, multiplier=torch.zeros_like(shift), shift=shift))

        largest = max(each.scale * each.largest for each in grids)
        return _Sum(self.names[call], sources, torch.tensor(2 * largest, dtype=torch.float64), torch.tensor(1), step)

    def _average(self, call: Call) -> _Sum:
        source, seen = self._codes(call.inputs[0]), self.shapes[call.inputs[0]]
        if len(seen) != 4:
            raise ValueError(f"needs inputs (N, C, H, W), got {tuple(seen)}")
        grid, pixels = self.grids[source], seen[2] * seen[3]
        unit = torch.tensor(grid.scale / pixels, dtype=torch.float64)

        def step(output: Requantizer, _: Grid) -> GlobalAverage:
            return GlobalAverage(grid.zero_point, output)

        return _Sum(self.names[call], (source,), unit, torch.tensor(pixels * grid.largest), step)


def _settings_of(call: Call) -> str:
    """For a message: the settings of an operation that has an integer form with others."""
    return f" with {call.settings} and {len(call.inputs)} tensors" if call.settings else ""


@torch.no_grad()
def decoded(model: nn.Module, network: IntegerNetwork) -> nn.Module:
    """A copy of ``model`` in which every weight and bias is exactly what the integers of ``network`` mean.

    In float64, and with ties to even, the two agree in every code, but for sums that lie within the error of M0,
    2**-31, of a tie. What else separates a simulation from the integers is the difference between this copy and
    ``model``: biases that are not on a grid, and float32.

    Args:
        model: in float64, and ``network`` made from it (a scale computed in float32 is another scale).
    Source: jacob2018 Eq. 1
    """
    reading = read(copy.deepcopy(model))
    names, layers = step_names(reading), network.layers()
    for call in reading.calls:
        if call.layer is None or names[call] not in layers:
            continue
        name, step = names[call], layers[names[call]]
        weight_scale, shape = network.weight_scales[name], step.weight.shape
        # A new layer: taking the quantizer off a copy would take it off the class, which ``model`` has too.
        layer: nn.Linear | nn.Conv2d
        if step.geometry is None:
            layer = nn.Linear(shape[1], shape[0])
        else:
            layer = nn.Conv2d(shape[1] * step.geometry["groups"], shape[0], (shape[2], shape[3]), **step.geometry)
        layer.weight = nn.Parameter(step.weight * per_channel(weight_scale, len(shape)))  # jacob2018 Eq. 1
        unit = weight_scale * network.grids[network.inputs[name][0]].scale / 2.0**step.bias_fraction
        layer.bias = nn.Parameter(step.bias * unit)
        if len(reading.calls_of(call.layer)) == 1:
            replace_module(reading.root, call.layer, layer)
        else:  # each call has a bias of its own, as it has steps of its own
            call.node.target = f"decoded_{call.node.name}"
            reading.root.add_module(call.node.target, layer)
    return fx.GraphModule(reading.root, reading.graph)
