"""Integer-only networks, bit for bit (jacob2018).

:func:`prepare` puts quantizers where integers need them, :func:`to_integers` walks the graph of the result and gives an
:class:`IntegerNetwork`. :func:`compile_network` gives it fast kernels, :func:`to_onnx` writes it down for other
runtimes, :func:`write_c` as C for firmware.
"""

import importlib
from typing import TYPE_CHECKING, Any

from fewbits.integer.c_export import to_c_header, write_c
from fewbits.integer.conversion import decoded, to_integers
from fewbits.integer.kernels import compile_network
from fewbits.integer.network import IntegerNetwork
from fewbits.integer.preparation import prepare
from fewbits.integer.steps import Grid, Layer

if TYPE_CHECKING:
    from fewbits.integer.onnx_export import run, session, to_onnx

__all__ = [
    "Grid",
    "IntegerNetwork",
    "Layer",
    "compile_network",
    "decoded",
    "prepare",
    "run",
    "session",
    "to_c_header",
    "to_integers",
    "to_onnx",
    "write_c",
]


def __getattr__(name: str) -> Any:
    if name not in ("run", "session", "to_onnx"):  # they need the extra "onnx", and the rest does not
        raise AttributeError(f"module 'fewbits.integer' has no attribute {name!r}")
    return getattr(importlib.import_module("fewbits.integer.onnx_export"), name)
