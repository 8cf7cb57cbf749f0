"""Packages that only some parts of Few Bits need: an import without them says what to install."""

from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def extra(name: str) -> Iterator[None]:
    """Surround the imports that ``pip install "fewbits[<name>]"`` makes possible.

    Args:
        name: an extra of ``pyproject.toml``: "book", "onnx", "fpga", "data" or "photographs".
    Raises:
        ImportError: a package is not installed. The message names it and the extra.
    """
    try:
        yield
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] == "fewbits":  # a fault of ours, which no installation mends
            raise
        text = f'{error.name} is not installed; it comes with: pip install "fewbits[{name}]"'
        raise ImportError(text, name=error.name) from error
