"""Training and evaluation mode of a network."""

from collections.abc import Iterator
from contextlib import contextmanager

from torch import nn


@contextmanager
def evaluating(model: nn.Module) -> Iterator[None]:
    """All of ``model`` in evaluation mode inside the ``with``; afterwards each part is in the mode that it had.

    ``model.train()`` would not do: a part may have been in evaluation mode on its own.
    """
    modes = [(module, module.training) for module in model.modules()]
    model.eval()
    try:
        yield
    finally:
        for module, mode in modes:
            module.training = mode
