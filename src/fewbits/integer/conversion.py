"""From a fake-quantized network to an integer-only one: one walk over its graph (Jacob et al. 2018, Sec. 2).

Fold batch normalization first (:func:`fewbits.bn_folding.fold_model`), then put in the quantizers that are missing
(:func:`fewbits.integer.preparation.prepare`). A value of the walk is either an int32 sum or finished codes. Layers,
additions and pools make sums of codes; a quantizer makes codes of a sum.
"""

import copy
from collections.abc import Callable
from dataclasses import dataclass, replace

import torch
from torch import Tensor, fx, nn
from torch.fx.passes.shape_prop import ShapeProp

from fewbits.core.channels import per_channel
from fewbits.core.checks import check_bits
from fewbits.core.quantizer import LAYERS
from fewbits.integer.network import IntegerNetwork
from fewbits.integer.preparation import ADDS, kind_of, read_graph
from fewbits.integer.reading import conv_geometry, grid_of, weight_integers
from fewbits.integer.requantization import FRACTION_BITS, fixed_point
from fewbits.integer.steps import Add, Flatten, GlobalAverage, Grid, Layer, MaxPool, Requantizer, Step, largest_sums
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


def to_integers(model: nn.Module, image: Tensor, rounding: str = "upward", bias_fraction: int = 0) -> IntegerNetwork:
    """The integer-only form of a fake-quantized network, e.g. of what :func:`prepare` returns.

    Layers keep the codes of their weight quantizers. Biases become int32 in steps of input scale × weight scale, or
    ``2**bias_fraction`` times finer; the sum is shifted left to meet them. With few bits those steps are coarse. A
    channel whose bias would take more than 2**30 steps is *faint*: its weights are next to nothing beside its bias.
    Its weight scale is widened until the bias fits, and its codes are rounded again.

    Args:
        model: in evaluation mode, every range fixed, BN folded.
        image: (1, …) an example of the input; only its shape counts.
        rounding: tie rule of all requantizations, see :mod:`fewbits.integer.requantization`.
        bias_fraction: 0 to 16; other runtimes know 0 only.
    Raises:
        TypeError: the network contains an operation that has no integer form here; the message names it.
        ValueError: a quantizer is missing or has no fixed range, its codes do not fit 8 bits, or int32 may overflow.
    """
    walk = _Walk(rounding, check_bits(bias_fraction, 0, "bias_fraction"))
    graph, modules = read_graph(model)
    ShapeProp(fx.GraphModule(model, graph)).propagate(image)
    for node in graph.nodes:
        try:
            walk.visit(node, kind_of(node, modules))
        except ValueError as error:
            raise ValueError(f"{node.name}: {error}") from error
    return IntegerNetwork(walk.steps, walk.inputs, walk.grids, walk.weight_scales, tuple(image.shape[1:]))


class _Walk:
    """What has been written down so far; ``values`` says what each node of the graph has become."""

    def __init__(self, rounding: str, bias_fraction: int):
        self.rounding, self.bias_fraction = rounding, bias_fraction
        self.steps: dict[str, Step] = {}
        self.inputs: dict[str, tuple[str, ...]] = {}
        self.grids: dict[str, Grid] = {}
        self.weight_scales: dict[str, Tensor] = {}
        self.values: dict[fx.Node, _Sum | str | None] = {}  # a sum, the name of finished codes, or the real input

    def visit(self, node: fx.Node, kind: object) -> None:
        if node.op == "placeholder":
            self.values[node] = None
        elif node.op == "output":
            self._codes(node.args[0])
        elif isinstance(kind, UniformQuantizer):
            self.values[node] = self._quantize(node, kind)
        elif isinstance(kind, nn.Identity | nn.Dropout):
            self.values[node] = self.values[node.args[0]]
        elif isinstance(kind, nn.ReLU):
            self.values[node] = replace(self._sum(node.args[0]), relu=True)
        elif isinstance(kind, LAYERS):
            self.values[node] = self._layer(node, kind)
        elif node.op == "call_function" and kind in ADDS:
            self.values[node] = self._add(node)
        elif isinstance(kind, nn.AdaptiveAvgPool2d):
            self.values[node] = self._average(node, kind)
        elif isinstance(kind, nn.MaxPool2d):
            names = ("kernel_size", "stride", "padding", "dilation", "ceil_mode")
            self.values[node] = self._plain(node, MaxPool({name: getattr(kind, name) for name in names}))
        elif isinstance(kind, nn.Flatten) and (kind.start_dim, kind.end_dim) == (1, -1):
            self.values[node] = self._plain(node, Flatten())
        else:
            raise TypeError(f"{node.name}: {kind} has no integer form here")

    def _codes(self, node: fx.Node) -> str:
        value = self.values[node]
        if not isinstance(value, str):
            raise ValueError(f"needs codes, but nothing quantizes {node.name}: use prepare first")
        return value

    def _sum(self, node: fx.Node) -> _Sum:
        value = self.values[node]
        if not isinstance(value, _Sum):
            raise ValueError(f"must follow a layer, an addition or a pool, but {node.name} is none")
        return value

    def _plain(self, node: fx.Node, step: Step) -> str:
        source, name = self._codes(node.args[0]), str(node.target)
        self.steps[name], self.inputs[name], self.grids[name] = step, (source,), self.grids[source]
        return name

    def _quantize(self, node: fx.Node, quantizer: UniformQuantizer) -> str:
        grid, source = grid_of(quantizer), node.args[0]
        if self.values[source] is None:
            self.grids["input"] = grid
            return "input"
        total = self._sum(source)
        factor = total.scale / grid.scale
        reach = float((total.bound * factor).max())
        if reach >= 2**30:
            raise ValueError(f"the output may reach {reach:.3g} steps, beyond 2**30: is its range right?")
        least = max(grid.q_min, grid.zero_point) if total.relu else grid.q_min
        output = Requantizer(*fixed_point(factor), grid.zero_point, least, grid.q_max, self.rounding)
        self.steps[total.name] = total.step(output, grid)
        self.inputs[total.name], self.grids[total.name] = total.inputs, grid
        return total.name

    def _layer(self, node: fx.Node, layer: nn.Module) -> _Sum:
        source = self._codes(node.args[0])
        grid, name = self.grids[source], str(node.target)
        codes, bits, weight_scale = weight_integers(layer)
        bias = torch.zeros(len(codes)) if layer.bias is None else layer.bias.detach()
        steps = 2.0**self.bias_fraction
        unit = grid.scale * weight_scale / steps
        faint = (bias.double().abs() > _BIAS_LIMIT * unit) | ((codes == 0).flatten(1).all(1) & (bias != 0))
        if faint.any():
            wider = torch.where(faint, bias.double().abs() * steps / (_BIAS_LIMIT * grid.scale), weight_scale)
            codes = torch.round(codes * per_channel(weight_scale / wider, codes.dim())).to(torch.int8)
            weight_scale, unit = wider, wider * grid.scale / steps
        self.weight_scales[name] = weight_scale
        whole_bias = torch.round(bias.double() / unit).to(torch.int32)

        def step(output: Requantizer, _: Grid) -> Layer:
            return Layer(
                codes, whole_bias, self.bias_fraction, bits, conv_geometry(layer), grid.zero_point, grid.largest, output
            )

        return _Sum(name, (source,), unit, largest_sums(codes, whole_bias, grid.largest, self.bias_fraction), step)

    def _add(self, node: fx.Node) -> _Sum:
        sources = tuple(self._codes(operand) for operand in node.args)
        grids = [self.grids[source] for source in sources]

        def step(output: Requantizer, grid: Grid) -> Add:
            factors = torch.tensor([each.scale / grid.scale for each in grids], dtype=torch.float64)
            _, shift = fixed_point(factors.max())
            multipliers = torch.round(factors * 2.0 ** (FRACTION_BITS + int(shift))).to(torch.int32)
            zero_points = tuple(each.zero_point for each in grids)
            return Add(multipliers, zero_points, replace(output, multiplier=torch.zeros_like(shift), shift=shift))

        largest = max(each.scale * each.largest for each in grids)
        return _Sum(node.name, sources, torch.tensor(2 * largest, dtype=torch.float64), torch.tensor(1), step)

    def _average(self, node: fx.Node, pool: nn.AdaptiveAvgPool2d) -> _Sum:
        if pool.output_size not in (1, (1, 1)):
            raise TypeError(f"{node.name}: only a global average pool has an integer form here")
        source = self._codes(node.args[0])
        grid = self.grids[source]
        height, width = node.args[0].meta["tensor_meta"].shape[2:]
        unit = torch.tensor(grid.scale / (height * width), dtype=torch.float64)

        def step(output: Requantizer, _: Grid) -> GlobalAverage:
            return GlobalAverage(grid.zero_point, output)

        return _Sum(str(node.target), (source,), unit, torch.tensor(height * width * grid.largest), step)


@torch.no_grad()
def decoded(model: nn.Module, network: IntegerNetwork) -> nn.Module:
    """A copy of ``model`` in which every weight and bias is exactly what the integers of ``network`` mean.

    In float64, and with ties to even, the two agree in every code, but for sums that lie within the error of M0,
    2**-31, of a tie. What else separates a simulation from the integers is the difference between this copy and
    ``model``: biases that are not on a grid, and float32.

    Args:
        model: in float64, and ``network`` made from it (a scale computed in float32 is another scale).
    """
    model = copy.deepcopy(model)
    for name, step in network.layers().items():
        weight_scale, shape = network.weight_scales[name], step.weight.shape
        # A new layer: taking the quantizer off a copy would take it off the class, which ``model`` has too.
        if step.geometry is None:
            layer = nn.Linear(shape[1], shape[0])
        else:
            layer = nn.Conv2d(shape[1] * step.geometry["groups"], shape[0], shape[2:], **step.geometry)
        layer.weight = nn.Parameter(step.weight * per_channel(weight_scale, len(shape)))
        unit = weight_scale * network.grids[network.inputs[name][0]].scale / 2.0**step.bias_fraction
        layer.bias = nn.Parameter(step.bias * unit)
        model.set_submodule(name, layer)
    return model
