"""Watch what passes through modules, for as long as a ``with`` lasts."""

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Any

from torch import nn


@contextmanager
def watching(modules: Iterable[nn.Module], callback: Callable[..., Any], before: bool = False) -> Iterator[None]:
    """Call ``callback`` at each call of each of ``modules`` inside the ``with``, and no more after it or an error.

    Args:
        modules: each counts once, however often it is listed.
        callback: of (module, inputs, output), after the call; what it returns, if not None, replaces the output.
        before: call it before instead, with (module, inputs); what it returns, if not None, replaces the inputs.
    """
    handles = [
        module.register_forward_pre_hook(callback) if before else module.register_forward_hook(callback)
        for module in dict.fromkeys(modules)
    ]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()
