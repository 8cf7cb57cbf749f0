"""The contestants that are not ours: torch, ONNX Runtime, and a binary peer in another environment."""

import subprocess
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F

from fewbits.core.extras import extra

with extra("onnx"):
    import onnx
    import onnxruntime
    from onnx import TensorProto, helper, numpy_helper


def torch_products(m: int, n: int, k: int) -> dict[str, Callable[[], object]]:
    """``(m, k) @ (k, n)`` in float32 and bfloat16, in whatever torch calls (MKL, oneDNN)."""
    a, w = torch.randn(m, k), torch.randn(n, k)
    half_a, half_w = a.bfloat16(), w.bfloat16()
    return {"torch float32": lambda: F.linear(a, w), "torch bfloat16": lambda: F.linear(half_a, half_w)}


def torch_int8(m: int, n: int, k: int) -> Callable[[], object]:
    """``torch._int_mm``."""
    a, w = (torch.randint(-127, 128, shape, dtype=torch.int8) for shape in ((m, k), (n, k)))
    return lambda: torch._int_mm(a, w.T)


def onnx_float(m: int, n: int, k: int) -> Callable[[], object]:
    """``MatMul`` in float32 of a constant matrix, with AVX-512 also where MKL, which torch calls, takes AVX2."""
    rng = np.random.default_rng(0)
    a, w = (rng.standard_normal(shape).astype(np.float32) for shape in ((m, k), (k, n)))
    node = helper.make_node("MatMul", ["a", "w"], ["y"])
    session = _session([node], {"w": w}, TensorProto.FLOAT, (m, k), TensorProto.FLOAT, (m, n))
    return lambda: session.run(None, {"a": a})


def onnx_int8(m: int, n: int, k: int) -> Callable[[], object]:
    """``MatMulInteger`` of uint8 and constant int8 matrices, which ONNX Runtime may lay out beforehand."""
    rng = np.random.default_rng(0)
    a = rng.integers(0, 256, (m, k)).astype(np.uint8)
    # 7 bits: without VNNI pairs of products are added in 16 bits, where 2 · 255 · 127 would saturate.
    w = rng.integers(-64, 65, (k, n)).astype(np.int8)
    node = helper.make_node("MatMulInteger", ["a", "w"], ["y"])
    session = _session([node], {"w": w}, TensorProto.UINT8, (m, k), TensorProto.INT32, (m, n))
    return lambda: session.run(None, {"a": a})


def onnx_few_bits(n: int, k: int, bits: int, block: int = 128) -> Callable[[], object]:
    """``MatMulNBits`` of one float32 vector and (n, k) weights of 2 or 4 bits, computed in int8 where it can.

    The call itself checks nothing; its first output is compared with the product of the decoded weights.
    """
    rng = np.random.default_rng(0)
    codes = rng.integers(0, 1 << bits, (n, k)).astype(np.uint8)
    each = 8 // bits
    packed = np.sum([codes[:, i::each] << (bits * i) for i in range(each)], axis=0).astype(np.uint8)
    packed = packed.reshape(n, k // block, -1)
    scales = np.full((n, k // block), 0.01, np.float32)
    node = helper.make_node(
        "MatMulNBits",
        ["a", "w", "scales"],
        ["y"],
        domain="com.microsoft",
        K=k,
        N=n,
        bits=bits,
        block_size=block,
        accuracy_level=4,
    )
    session = _session(
        [node], {"w": packed, "scales": scales.reshape(-1)}, TensorProto.FLOAT, (1, k), TensorProto.FLOAT, (1, n)
    )
    a = rng.integers(0, 16, (1, k)).astype(np.float32)
    want = a @ ((codes.astype(np.float32) - (1 << (bits - 1))) * 0.01).T
    got = session.run(None, {"a": a})[0]
    if np.abs(got - want).max() > 0.02 * np.abs(want).max():
        raise ValueError(f"MatMulNBits with {bits} bits computes something else")
    return lambda: session.run(None, {"a": a})


def _session(nodes, constants: dict, kind: int, shape: tuple, out_kind: int, out_shape: tuple):
    graph = helper.make_graph(
        nodes,
        "product",
        [helper.make_tensor_value_info("a", kind, shape)],
        [helper.make_tensor_value_info("y", out_kind, out_shape)],
        [numpy_helper.from_array(value, name) for name, value in constants.items()],
    )
    domains = [helper.make_opsetid("", 17), helper.make_opsetid("com.microsoft", 1)]
    model = helper.make_model(graph, opset_imports=domains, ir_version=8)
    onnx.checker.check_model(model)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1  # then it computes in the calling thread
    options.log_severity_level = 3
    return onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])


class Peer:
    """Peers in the environment of ``python`` (see ``peer.py``), asked over a pipe.

    Attributes:
        questions: what this environment can answer: "product", "vector".
    """

    def __init__(self, python: str):
        script = Path(__file__).with_name("peer.py")
        self._process = subprocess.Popen(
            [python, str(script)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        to, back = self._process.stdin, self._process.stdout
        assert to is not None  # both are pipes
        assert back is not None
        self._to, self._back = to, back
        self.questions = self._back.readline().split()

    def seconds(self, question: str, *sizes: int) -> float:
        """CPU seconds of one product there."""
        self._to.write(f"{question} {' '.join(map(str, sizes))}\n")
        self._to.flush()
        return float(self._back.readline())

    def close(self) -> None:
        """End the other process."""
        self._to.close()
        self._process.wait()
