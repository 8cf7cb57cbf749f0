"""Numba's ``njit`` for code that may lie, and run, where nothing can be written."""

from collections.abc import Callable
from typing import Any

import numba


def njit(*arguments: Any, cache: bool = False, **options: Any) -> Any:
    """:func:`numba.njit`, which keeps compiled code in a cache on the disk only where the disk lets it.

    Numba refuses ``cache=True`` when neither the folder of the source nor that of the user can be written, as in a
    container that runs as another user. Then the function is compiled anew in each process.

    Args:
        arguments, options: of :func:`numba.njit`: the function alone, or options for a decorator.
        cache: keep the compiled code on the disk if possible.
    """
    if arguments and callable(arguments[0]):
        return _compiled(arguments[0], cache, options)

    def decorate(function: Callable) -> Any:
        return _compiled(function, cache, options, *arguments)

    return decorate


def _compiled(function: Callable, cache: bool, options: dict[str, Any], *signatures: Any) -> Any:
    try:
        return numba.njit(*signatures, cache=cache, **options)(function)
    except RuntimeError as error:
        if not cache or "cannot cache" not in str(error):
            raise
        return numba.njit(*signatures, **options)(function)
