"""Integer-only networks, bit for bit (jacob2018).

:func:`prepare` puts quantizers where integers need them, :func:`to_integers` walks the graph of the result and gives an
:class:`IntegerNetwork`, :func:`to_onnx` writes that down for other runtimes.
"""

from fewbits.integer.conversion import decoded, to_integers
from fewbits.integer.network import IntegerNetwork
from fewbits.integer.onnx_export import run, session, to_onnx
from fewbits.integer.preparation import prepare
from fewbits.integer.steps import Grid, Layer

__all__ = ["Grid", "IntegerNetwork", "Layer", "decoded", "prepare", "run", "session", "to_integers", "to_onnx"]
