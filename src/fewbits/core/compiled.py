"""Numba's ``njit`` for code that may lie, and run, where nothing can be written."""

from collections.abc import Callable
from typing import Any

import numba


def njit(signature_or_function: Any = None, *, cache: bool = False, **options: Any) -> Any:
    """:func:`numba.njit`, which keeps compiled code in a cache on the disk only where the disk lets it.

    Numba refuses ``cache=True`` when neither the folder of the source nor that of the user can be written, as in a
    container that runs as another user. Then the function is compiled anew in each process.

    Args:
        signature_or_function, options: of :func:`numba.njit`: the function alone, or options for a decorator.
        cache: keep the compiled code on the disk if possible.
    """
    if callable(signature_or_function):
        return _compiled(signature_or_function, None, cache, options)

    def decorate(function: Callable) -> Any:
        return _compiled(function, signature_or_function, cache, options)

    return decorate


def _compiled(function: Callable, signature: Any, cache: bool, options: dict[str, Any]) -> Any:
    try:
        return numba.njit(signature, cache=cache, **options)(function)
    except RuntimeError as error:
        if not cache or "cannot cache" not in str(error):
            raise
        return numba.njit(signature, **options)(function)
