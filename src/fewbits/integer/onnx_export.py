"""An integer network as an ONNX graph, in the forms that ONNX and QONNX have for integers, and a session to run it.

* **QOperator**: ``QLinearConv`` and its kin. Codes go from operator to operator, as in our own networks; what is no
  ONNX operator comes from ONNX Runtime's own domain, ``com.microsoft``.
* **QDQ**: floating point operators between ``DequantizeLinear`` and ``QuantizeLinear``. Read literally, that is the
  simulated network; a runtime may recognize the pattern and compute in integers.

* **QONNX**, which tools for FPGAs read: floating point operators between ``Quant`` nodes of any number of bits, each of
  which quantizes and goes back to real numbers at once. ONNX Runtime does not support them. Their own package
  ``qonnx`` is no extra here, as its executor (1.0.0) makes models of an IR version that our ONNX Runtime refuses.

A fourth form, **float**, is the network without quantizers, for comparison.

None has M0 and a shift: scales are float32 numbers, and the runtime decides how to apply their quotient.
"""

import functools
import itertools
from typing import Any

import numpy as np
import torch
from torch import Tensor

from fewbits.core.channels import per_channel
from fewbits.core.extras import extra
from fewbits.integer.network import IntegerNetwork
from fewbits.integer.steps import Add, Flatten, GlobalAverage, Grid, Layer, MaxPool, Pad, Requantizing, Step

with extra("onnx"):
    import onnx
    import onnxruntime
    from onnx import TensorProto, helper, numpy_helper

OPSET, IR_VERSION = 19, 9
_TYPES = {torch.uint8: TensorProto.UINT8, torch.int8: TensorProto.INT8}
FORMS = ("qoperator", "qdq", "qonnx", "float")
_QONNX = "qonnx.custom_op.general"


def to_onnx(network: IntegerNetwork, form: str) -> onnx.ModelProto:
    """The network as an ONNX model from input codes (``input``) to output codes (``output``).

    In the forms "float" and "qonnx" both are real numbers in float32, and so are the weights; those of "qonnx" pass a
    ``Quant`` node of their bits, as the input and every result of a layer does. A ReLU comes before it.

    Raises:
        ValueError: ``form`` is none of "qoperator", "qdq", "qonnx" and "float"; or it is "qoperator", and some codes of
            the network are int8 (ONNX Runtime's linear layer gives uint8 only); or biases have fraction bits, except in
            the form "qonnx"; or a layer has weights of more than 8 bits (INQ at 5 bits), except in the forms "qonnx"
            and "float"; or it is "qonnx", and a grid is none of whole bits.
    Source: own (the forms are those of ONNX and QONNX)
    """
    if form not in FORMS:
        raise ValueError(f"form must be one of {FORMS}, got {form!r}")
    if form == "qoperator" and any(grid.dtype == torch.int8 for grid in network.grids.values()):
        raise ValueError("form 'qoperator' needs uint8 codes throughout: use 'qdq'")
    if form != "qonnx" and any(layer.bias_fraction for layer in network.layers().values()):
        raise ValueError("ONNX has biases in steps of input scale × weight scale only: use bias_fraction=0")
    wide = [name for name, layer in network.layers().items() if layer.weight_bits > 8]
    if wide and form not in ("qonnx", "float"):
        raise ValueError(f"ONNX has weights of at most 8 bits: {wide} have more, use form 'qonnx' or 'float'")
    writer = {"qoperator": _QOperator, "qdq": _Qdq, "qonnx": _Qonnx, "float": _Float}[form](network)
    for name, step in network.steps.items():
        writer.write(name, step)
    last = next(reversed(network.steps))
    writer.node("Identity", [last], "output")
    image = torch.zeros(1, *network.input_shape, dtype=network.grids["input"].dtype)
    image += network.grids["input"].zero_point
    source, result = (
        [helper.make_tensor_value_info(port, writer.port_type(codes), ["N", *codes.shape[1:]])]
        for port, codes in (("input", image), ("output", network(image)))
    )
    graph = helper.make_graph(writer.nodes, "integer network", source, result, writer.constants)
    domains = {"": OPSET, _QONNX if form == "qonnx" else "com.microsoft": 1}
    opsets = [helper.make_opsetid(domain, version) for domain, version in domains.items()]
    return helper.make_model(graph, opset_imports=opsets, ir_version=IR_VERSION, producer_name="fewbits")


def session(model: onnx.ModelProto, fuse: bool = True, guard: bool | None = None, threads: int = 1):
    """An ONNX Runtime session on the CPU.

    Args:
        fuse: let the runtime turn QDQ into integer arithmetic. If False, QDQ runs in float32, as simulated.
        guard: move int8 weights to uint8, whose kernels are slower and never clip a sum. None asks
            :func:`products_saturate` whether this processor needs it; False is for showing what happens without.
        threads: used within an operator.
    Source: own (settings of ONNX Runtime)
    """
    guard = products_saturate() if guard is None else guard
    return _session(model, fuse, guard, threads)


@functools.cache
def products_saturate() -> bool:
    """Whether the runtime's uint8 × int8 kernels clip sums on this processor: tried out with 2 · 255 · 127.

    Without VNNI they add pairs of products in 16 bits, where that is too large.

    Source: own (probe)
    """
    size, port = 64, helper.make_tensor_value_info  # a size at which the runtime takes its fast kernels
    graph = helper.make_graph(
        [helper.make_node("MatMulInteger", ["input", "weight"], ["output"])],
        "probe",
        [port("input", TensorProto.UINT8, [size, size])],
        [port("output", TensorProto.INT32, [size, size])],
        [numpy_helper.from_array(np.full((size, size), 127, np.int8), "weight")],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", OPSET)], ir_version=IR_VERSION)
    (sums,) = _session(model, True, False, 1).run(None, {"input": np.full((size, size), 255, np.uint8)})
    return bool((sums != 255 * 127 * size).any())


def _session(model: onnx.ModelProto, fuse: bool, guard: bool, threads: int):
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads, options.inter_op_num_threads = threads, 1
    options.log_severity_level = 3
    options.add_session_config_entry("session.x64quantprecision", "1" if guard else "0")
    options.add_session_config_entry("session.disable_quant_qdq", "0" if fuse else "1")
    return onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])


def run(ready: onnxruntime.InferenceSession, codes: Tensor, batch_size: int = 500) -> Tensor:
    """Output codes of a :func:`session` for input codes.

    Source: own (batches)
    """
    parts = [ready.run(None, {"input": part.numpy()})[0] for part in codes.split(batch_size)]
    return torch.from_numpy(np.concatenate(parts))


class _Writer:
    """Nodes and constants of the graph; names of values are names of steps, others have two dots, which no step has."""

    def __init__(self, network: IntegerNetwork):
        self.network = network
        grid = network.grids["input"]
        image = torch.full((1, *network.input_shape), grid.zero_point, dtype=grid.dtype)
        self.shapes = {name: tuple(codes.shape) for name, codes in network.trace(image).items()}
        self.nodes: list[onnx.NodeProto] = []
        self.constants: list[onnx.TensorProto] = []
        self._fresh = (f"constant..{number}" for number in itertools.count())

    def node(self, kind: str, inputs: list[str], output: str, domain: str = "", **attributes) -> str:
        self.nodes.append(helper.make_node(kind, inputs, [output], domain=domain, **attributes))
        return output

    def port_type(self, codes: Tensor) -> int:
        return _TYPES[codes.dtype]

    def constant(self, value) -> str:
        name = next(self._fresh)
        array = value.contiguous().numpy() if isinstance(value, Tensor) else np.asarray(value)
        self.constants.append(numpy_helper.from_array(array, name))
        return name

    def grid(self, name: str) -> list[str]:
        """Scale and zero point of a value."""
        grid = self.network.grids[name]
        return [self.constant(np.float32(grid.scale)), self.constant(torch.tensor(grid.zero_point, dtype=grid.dtype))]

    def zero(self, name: str) -> Any:
        """The code of the real number 0 in a value."""
        grid = self.network.grids[name]
        return torch.tensor(grid.zero_point, dtype=grid.dtype)

    def weight_grid(self, name: str) -> list[str]:
        scales = self.network.weight_scales[name].float()
        return [self.constant(scales), self.constant(torch.zeros(len(scales), dtype=torch.int8))]

    def clipped(self, name: str, step: Requantizing, write) -> None:
        """Call ``write`` with a name for its result; where its codes are fewer than the dtype's, a Clip follows."""
        grid: Grid = self.network.grids[name]
        info = torch.iinfo(grid.dtype)
        if (step.output.q_min, step.output.q_max) == (info.min, info.max):
            write(name)
            return
        write(f"{name}..unclipped")
        borders = [self.constant(torch.tensor(q, dtype=grid.dtype)) for q in (step.output.q_min, step.output.q_max)]
        self.node("Clip", [f"{name}..unclipped", *borders], name)

    def write(self, name: str, step: Step) -> None:
        sources = list(self.network.inputs[name])
        if isinstance(step, MaxPool):
            sizes = self.shapes[sources[0]][2:], self.shapes[name][2:]
            self.node("MaxPool", sources, name, **_pool_attributes(step.geometry, *sizes))
        elif isinstance(step, Pad):
            left, right, above, below = step.padding
            sides = self.constant(np.array([0, 0, above, left, 0, 0, below, right]))
            self.node("Pad", [*sources, sides, self.constant(self.zero(sources[0]))], name)
        elif isinstance(step, Flatten):
            self.node("Flatten", sources, name)
        else:
            self.clipped(name, step, lambda result: self.sum_step(name, step, sources, result))

    def sum_step(self, name: str, step: Requantizing, sources: list[str], result: str) -> None:
        raise NotImplementedError


class _QOperator(_Writer):
    def sum_step(self, name: str, step: Requantizing, sources: list[str], result: str) -> None:
        operands = [part for source in sources for part in (source, *self.grid(source))]
        output = self.grid(name)
        if isinstance(step, Layer):
            weight = [self.constant(step.weight), *self.weight_grid(name)]
            bias = self.constant(step.bias)
            if step.geometry is None:
                self.node("QGemm", [*operands, *weight, bias, *output], result, "com.microsoft", transB=1)
            else:
                attributes = _conv_attributes(step)
                self.node("QLinearConv", [*operands, *weight, *output, bias], result, **attributes)
        elif isinstance(step, Add):
            self.node("QLinearAdd", [*operands, *output], result, "com.microsoft")
        elif isinstance(step, GlobalAverage):
            self.node("QLinearGlobalAveragePool", [*operands, *output], result, "com.microsoft", channels_last=0)


class _Qdq(_Writer):
    def sum_step(self, name: str, step: Requantizing, sources: list[str], result: str) -> None:
        real = [self.real(source, f"{name}..real{index}") for index, source in enumerate(sources)]
        total = f"{name}..sum"
        if isinstance(step, Layer):
            weight, bias = self.parameters(name, step, sources[0])
            if step.geometry is None:
                self.node("Gemm", [*real, weight, bias], total, transB=1)
            else:
                self.node("Conv", [*real, weight, bias], total, **_conv_attributes(step))
        elif isinstance(step, Add):
            self.node("Add", real, total)
        elif isinstance(step, GlobalAverage):
            self.node("GlobalAveragePool", real, total)
        self.finish(name, step, total, result)

    def real(self, source: str, result: str) -> str:
        return self.node("DequantizeLinear", [source, *self.grid(source)], result)

    def parameters(self, name: str, step: Layer, source: str) -> tuple[str, str]:
        unit = self.network.weight_scales[name].float() * self.network.grids[source].scale
        bias_grid = [self.constant(unit), self.constant(torch.zeros(len(unit), dtype=torch.int32))]
        return (
            self.node(
                "DequantizeLinear", [self.constant(step.weight), *self.weight_grid(name)], f"{name}..weight", axis=0
            ),
            self.node("DequantizeLinear", [self.constant(step.bias), *bias_grid], f"{name}..bias", axis=0),
        )

    def finish(self, name: str, step: Requantizing, total: str, result: str) -> None:
        self.node("QuantizeLinear", [total, *self.grid(name)], result)


class _Float(_Qdq):
    def port_type(self, codes: Tensor) -> int:
        return TensorProto.FLOAT

    def zero(self, name: str) -> Any:
        return np.float32(0)

    def clipped(self, name: str, step: Requantizing, write) -> None:
        write(name)

    def real(self, source: str, result: str) -> str:
        return source

    def parameters(self, name: str, step: Layer, source: str) -> tuple[str, str]:
        scale = self.network.weight_scales[name]
        weight = step.weight * per_channel(scale, step.weight.dim())
        unit = scale * self.network.grids[source].scale / 2**step.bias_fraction
        return self.constant(weight.float()), self.constant((step.bias * unit).float())

    def finish(self, name: str, step: Requantizing, total: str, result: str) -> None:
        if step.output.ceiling is not None:
            self.node("Clip", [total, *map(self.constant, (np.float32(0), np.float32(step.output.ceiling)))], result)
        else:
            self.node("Relu" if step.output.relu else "Identity", [total], result)


class _Qonnx(_Float):
    def __init__(self, network: IntegerNetwork):
        super().__init__(network)
        self.quant("input", "input", "input..quantized")

    def node(self, kind: str, inputs: list[str], output: str, domain: str = "", **attributes) -> str:
        if self.nodes:  # the first one quantizes the input
            inputs = [f"{each}..quantized" if each == "input" else each for each in inputs]
        return super().node(kind, inputs, output, domain, **attributes)

    def quant(self, name: str, source: str, result: str) -> str:
        """A Quant node for the grid of a value."""
        grid = self.network.grids[name]
        bits, signed = grid.q_max.bit_length() + (grid.q_min < 0), grid.q_min < 0
        narrow = signed and grid.q_min == -grid.q_max
        q_max = 2 ** (bits - signed) - 1
        if (grid.q_min, grid.q_max) != (narrow - q_max - 1 if signed else 0, q_max):
            raise ValueError(f"{name}: QONNX has no grid from {grid.q_min} to {grid.q_max}")
        return self.quant_node(source, result, np.float32(grid.scale), grid.zero_point, bits, signed, narrow)

    def quant_node(
        self, source: str, result: str, scale: Any, zero_point: int, bits: int, signed: bool, narrow: bool
    ) -> str:
        numbers = [self.constant(scale), self.constant(np.float32(zero_point)), self.constant(np.float32(bits))]
        settings = {"signed": int(signed), "narrow": int(narrow), "rounding_mode": "ROUND"}
        return self.node("Quant", [source, *numbers], result, _QONNX, **settings)

    def parameters(self, name: str, step: Layer, source: str) -> tuple[str, str]:
        weight, bias = super().parameters(name, step, source)
        scale = per_channel(self.network.weight_scales[name].float(), step.weight.dim())
        narrow = int(step.weight.min()) > -(2 ** (step.weight_bits - 1))
        return self.quant_node(weight, f"{name}..weight", scale, 0, step.weight_bits, True, narrow), bias

    def finish(self, name: str, step: Requantizing, total: str, result: str) -> None:
        if step.output.q_min > self.network.grids[name].q_min:
            total = self.node("Relu", [total], f"{name}..relu")
        if step.output.q_max < self.network.grids[name].q_max:  # the ceiling of a ReLU6 within the grid
            total = self.node("Min", [total, self.constant(np.float32(step.output.ceiling))], f"{name}..ceiling")
        self.quant(name, total, result)


def _conv_attributes(step: Layer) -> dict:
    geometry = step.geometry
    assert geometry is not None, "a linear layer has no attributes of a convolution"
    return {
        "kernel_shape": list(step.weight.shape[2:]),
        "strides": list(geometry["stride"]),
        "pads": list(geometry["padding"]) * 2,
        "dilations": list(geometry["dilation"]),
        "group": geometry["groups"],
    }


def _pool_attributes(geometry: dict, before: tuple[int, ...], after: tuple[int, ...]) -> dict:
    """``ceil_mode`` becomes what it pads: PyTorch drops a window that begins in the padding, and ONNX does not."""

    def pair(value) -> list[int]:
        return [value] * 2 if isinstance(value, int) else list(value)

    names = ("kernel_size", "stride", "padding", "dilation")
    kernel, stride, padding, dilation = (pair(geometry[name]) for name in names)
    ends = [
        max((last - 1) * step + width * (size - 1) + 1 - first - pad, 0) if geometry["ceil_mode"] else pad
        for first, last, size, step, pad, width in zip(before, after, kernel, stride, padding, dilation, strict=True)
    ]
    return {"kernel_shape": kernel, "strides": stride, "pads": [*padding, *ends], "dilations": dilation}
