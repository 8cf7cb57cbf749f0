"""Few Bits: quantized neural networks, from the formula to the FPGA.

The names below are the way in; each is loaded when it is first used, so that ``import fewbits`` is quick. Everything
else is in the folders: :mod:`fewbits.data`, :mod:`fewbits.training`, one folder a family, :mod:`fewbits.fpga`.
"""

import importlib
from importlib.metadata import PackageNotFoundError, version
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from fewbits.binary import BinaryConnect, XnorWeights
    from fewbits.bn_folding import fold_model as fold
    from fewbits.core.container import load, save
    from fewbits.core.quantize import quantize
    from fewbits.core.quantizer import Quantizer, attach_codes, calibrate, constrain, stored_state
    from fewbits.core.size import size_report
    from fewbits.inq import Inq, InqQuantizer
    from fewbits.integer import prepare, to_integers, to_onnx
    from fewbits.learned_step import LSQ
    from fewbits.logarithmic import LogQuantizer
    from fewbits.low_bitwidth import DoReFaActivation, DoReFaWeights
    from fewbits.mixed_precision import DistributionQuantizer, LearnedBits
    from fewbits.ternary import TTQ, TWN, ExactTernary
    from fewbits.training import accuracy, fit
    from fewbits.uniform import UniformQuantizer
    from fewbits.vector import DeepCompression, ProductQuantizer, SharedWeights, SoftSharing

# Name here -> module and name there.
_PLACES = {
    "quantize": "core.quantize",
    "size_report": "core.size",
    "save": "core.container",
    "load": "core.container",
    "stored_state": "core.quantizer",
    "attach_codes": "core.quantizer",
    "calibrate": "core.quantizer",
    "constrain": "core.quantizer",
    "Quantizer": "core.quantizer",
    "fit": "training",
    "accuracy": "training",
    "fold": "bn_folding:fold_model",
    "prepare": "integer",
    "to_integers": "integer",
    "to_onnx": "integer",
    "UniformQuantizer": "uniform",
    "LSQ": "learned_step",
    "BinaryConnect": "binary",
    "XnorWeights": "binary",
    "TWN": "ternary",
    "TTQ": "ternary",
    "ExactTernary": "ternary",
    "DoReFaWeights": "low_bitwidth",
    "DoReFaActivation": "low_bitwidth",
    "LogQuantizer": "logarithmic",
    "InqQuantizer": "inq",
    "Inq": "inq",
    "LearnedBits": "mixed_precision",
    "DistributionQuantizer": "mixed_precision",
    "SharedWeights": "vector",
    "ProductQuantizer": "vector",
    "DeepCompression": "vector",
    "SoftSharing": "vector",
}

__all__ = [
    "LSQ",
    "TTQ",
    "TWN",
    "BinaryConnect",
    "DeepCompression",
    "DistributionQuantizer",
    "DoReFaActivation",
    "DoReFaWeights",
    "ExactTernary",
    "Inq",
    "InqQuantizer",
    "LearnedBits",
    "LogQuantizer",
    "ProductQuantizer",
    "Quantizer",
    "SharedWeights",
    "SoftSharing",
    "UniformQuantizer",
    "XnorWeights",
    "accuracy",
    "attach_codes",
    "calibrate",
    "constrain",
    "fit",
    "fold",
    "load",
    "prepare",
    "quantize",
    "save",
    "size_report",
    "stored_state",
    "to_integers",
    "to_onnx",
]

try:
    __version__ = version("fewbits")
except PackageNotFoundError:  # a checkout that is on the path, and not installed
    __version__ = "0+unknown"


def __getattr__(name: str) -> Any:
    if name not in _PLACES:
        raise AttributeError(f"module 'fewbits' has no attribute {name!r}")
    module, _, there = _PLACES[name].partition(":")
    value = getattr(importlib.import_module(f"fewbits.{module}"), there or name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
