"""Times of single convolutions on this machine's CPU, one thread, in ONNX Runtime and in torch (oneDNN)."""

import math
import tempfile
import time
import warnings
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from torch import nn

from fewbits import evidence
from fewbits.bitwise import isa
from fewbits.core.extras import extra
from fewbits.experiments.common import recorded

with extra("onnx"):
    import onnx
    import onnxruntime
    from onnx import TensorProto, helper, numpy_helper

SECONDS, LEAST_CALLS = 0.15, 2  # of one measurement; the shortest call counts
TABLE = "mixed_precision_latency_measured"
KEYS = ["network", "layer", "backend", "bits", "batch", "instructions"]


@dataclass(frozen=True)
class ConvShape:
    """A square convolution with padding ``kernel // 2`` on a square image of ``size`` pixels a side.

    A linear layer is a 1×1 convolution of an image of one pixel.
    """

    inputs: int
    outputs: int
    kernel: int
    stride: int
    groups: int
    size: int

    @property
    def output_size(self) -> int:
        return math.ceil(self.size / self.stride)

    @property
    def weight_shape(self) -> tuple[int, int, int, int]:
        return self.outputs, self.inputs // self.groups, self.kernel, self.kernel


# Its time is what a call costs before any work is done.
EMPTY = ConvShape(1, 1, 1, 1, 1, 1)


def shortest_call(call: Callable[[], object], seconds: float = SECONDS) -> float:
    """Milliseconds of the shortest of many calls; others only tell what else the machine does."""
    call()
    best, started = math.inf, time.perf_counter()
    calls = 0
    while calls < LEAST_CALLS or time.perf_counter() - started < seconds:
        before = time.perf_counter()
        call()
        best = min(best, time.perf_counter() - before)
        calls += 1
    return 1e3 * best


# --- ONNX Runtime -----------------------------------------------------------------------------------------------------


def onnx_call(shape: ConvShape, bits: int, batch: int) -> tuple[Callable[[], object], str]:
    """A call of the convolution in ONNX Runtime, and the arithmetic that it really uses.

    Args:
        bits: 8 (``QLinearConv``, uint8 inputs, int8 weights), 16 or 32 (``Conv`` in that floating point type).
    """
    rng = np.random.default_rng(0)
    # 7 bits: without VNNI instructions int8 kernels add pairs of products in 16 bits, where 2 · 255 · 127 overflows.
    weight = rng.integers(-64, 65, shape.weight_shape)
    image = rng.integers(0, 256, (batch, shape.inputs, shape.size, shape.size))
    quantized = bits == 8
    dtype = {8: np.uint8, 16: np.float16, 32: np.float32}[bits]
    kind = {8: TensorProto.UINT8, 16: TensorProto.FLOAT16, 32: TensorProto.FLOAT}[bits]
    constants: dict[str, Any] = {"weight": weight.astype(np.int8 if quantized else dtype)}
    names = ["x", "weight"]
    if quantized:
        for tensor, scale, zero in (("x", 0.01, np.uint8(0)), ("weight", 0.01, np.int8(0)), ("y", 1.0, np.uint8(0))):
            constants |= {f"{tensor}_scale": np.float32(scale), f"{tensor}_zero": zero}
        names = ["x", "x_scale", "x_zero", "weight", "weight_scale", "weight_zero", "y_scale", "y_zero"]
    node = helper.make_node(
        "QLinearConv" if quantized else "Conv",
        names,
        ["y"],
        kernel_shape=[shape.kernel] * 2,
        strides=[shape.stride] * 2,
        pads=[shape.kernel // 2] * 4,
        group=shape.groups,
    )
    output = (batch, shape.outputs, shape.output_size, shape.output_size)
    graph = helper.make_graph(
        [node],
        "layer",
        [helper.make_tensor_value_info("x", kind, image.shape)],
        [helper.make_tensor_value_info("y", kind, output)],
        [numpy_helper.from_array(np.asarray(value), name) for name, value in constants.items()],
    )
    session, operators = _session(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8))
    arithmetic = "int8" if quantized else f"float{bits}"
    if bits == 16 and "Cast" in operators:
        arithmetic = "float16 stored, float32 computed"
    feed = {"x": image.astype(dtype)}
    return lambda: session.run(None, feed), arithmetic


def _session(model: onnx.ModelProto) -> tuple[onnxruntime.InferenceSession, set[str]]:
    """A session on one thread, and the operators that are left after ONNX Runtime has rewritten the model."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.log_severity_level = 3
    with tempfile.TemporaryDirectory() as folder:
        options.optimized_model_filepath = str(Path(folder) / "rewritten.onnx")
        session = onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
        rewritten = onnx.load(options.optimized_model_filepath)
    return session, {node.op_type for node in rewritten.graph.node}


# --- torch ------------------------------------------------------------------------------------------------------------


def torch_call(shape: ConvShape, bits: int, batch: int) -> tuple[Callable[[], object], str]:
    """A call of the convolution in torch, which hands it to oneDNN where that can do it, and its arithmetic.

    Args:
        bits: 8 (quantized convolution), 16 (bfloat16) or 32 (float32); channels last.
    """
    layout = torch.channels_last
    generator = torch.Generator().manual_seed(0)
    image = torch.rand(batch, shape.inputs, shape.size, shape.size, generator=generator).contiguous(
        memory_format=layout
    )
    options = (shape.inputs, shape.outputs, shape.kernel, shape.stride, shape.kernel // 2)
    if bits == 8:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # torch.ao is to move to another package
            layer = torch.ao.nn.quantized.Conv2d(*options, groups=shape.groups, bias=False)
            image = torch.quantize_per_tensor(image, 1 / 255, 0, torch.quint8).contiguous(memory_format=layout)
            scales, zeros = torch.full((shape.outputs,), 0.01), torch.zeros(shape.outputs, dtype=torch.long)
            weight = torch.randn(shape.weight_shape, generator=generator)
            layer.set_weight_bias(torch.quantize_per_channel(weight, scales, zeros, 0, torch.qint8), None)
        return _inference(layer, image), "int8"
    dtype = {16: torch.bfloat16, 32: torch.float32}[bits]
    convolution = nn.Conv2d(*options, groups=shape.groups, bias=False).to(dtype)
    convolution = convolution.to(memory_format=layout)  # type: ignore[call-overload]  # torch's stubs lack it
    # Without hardware for it oneDNN declines, and torch falls back on a loop that nobody has tuned.
    slow = bits == 16 and not torch.ops.mkldnn._is_mkldnn_bf16_supported()
    arithmetic = "bfloat16, not accelerated" if slow else str(dtype).removeprefix("torch.")
    return _inference(convolution.eval(), image.to(dtype)), arithmetic


def _inference(layer: nn.Module, image: torch.Tensor) -> Callable[[], object]:
    def call() -> object:
        with torch.inference_mode():
            return layer(image)

    return call


# --- All of them ------------------------------------------------------------------------------------------------------

CALLS = {"onnxruntime": onnx_call, "torch": torch_call}
BITS = (8, 16, 32)


# Units for products of 8 bits -> the features of a processor, as LLVM names them, any of which means that it has one.
UNITS = {"VNNI": {"avx512vnni", "avxvnni"}, "AMX": {"amx-int8"}}


def code_path() -> str:
    """What the kernels of both libraries choose by: registers, as torch reports them, and units for 8-bit products."""
    found = [name for name, features in UNITS.items() if features & isa.features()]
    return ", ".join([torch.backends.cpu.get_cpu_capability(), *found])


def measure(shapes: dict[tuple[str, str], ConvShape], batches: Iterable[int], rounds: int) -> pd.DataFrame:
    """Times of all shapes, in the recorded table ``mixed_precision_latency_measured``.

    Each round measures everything once, so that a moment in which the machine is busy touches one round only; the
    shortest time of all rounds is kept. A row counts its rounds, so an interrupted run goes on where it stopped.
    Rows of processors with other instructions stay. Delete rows to measure them anew.

    Args:
        shapes: (network, layer) -> its shape.
        rounds: that every row shall have in the end; what has as many is left alone.
    Returns:
        The whole table: ``network``, ``layer``, ``backend``, ``arithmetic``, ``bits``, ``batch``, ``milliseconds``,
        ``rounds``, ``instructions`` (:func:`code_path`) and ``device``.
    """
    torch.set_num_threads(1)
    torch.backends.quantized.engine = "onednn"
    instructions, device = code_path(), evidence.provenance("", 0)["device"]
    table = recorded(TABLE, [*KEYS, "arithmetic", "milliseconds", "rounds", "device"])
    rows = {tuple(row[key] for key in KEYS): row for row in table.to_dict("records")}
    for number in range(1, rounds + 1):
        for (network, layer), shape in shapes.items():
            missing = [
                (network, layer, backend, bits, batch, instructions)
                for backend in CALLS
                for bits in BITS
                for batch in batches
                if rows.get((network, layer, backend, bits, batch, instructions), {"rounds": 0})["rounds"] < number
            ]
            for key in missing:
                call, arithmetic = CALLS[key[2]](shape, *key[3:5])
                best = min(shortest_call(call), rows.get(key, {"milliseconds": math.inf})["milliseconds"])
                row = dict(zip(KEYS, key, strict=True)) | {"arithmetic": arithmetic, "milliseconds": round(best, 5)}
                rows[key] = row | {"rounds": number, "device": device}
            if missing:
                evidence.write_rows(TABLE, pd.DataFrame(rows.values()))
        print(f"round {number} of {rounds} is complete", flush=True)
    return pd.DataFrame(rows.values())
