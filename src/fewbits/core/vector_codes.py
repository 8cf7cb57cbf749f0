"""Codes that stand for several weights each: what product quantization stores."""

from dataclasses import dataclass

import torch
from torch import Tensor

from fewbits.core import packing
from fewbits.core.checks import check_integers


@dataclass(frozen=True)
class VectorCodes:
    """A tensor stored as indices into codebooks of sub-vectors of d weights, a :class:`fewbits.core.codes.StoredForm`.

    Attributes:
        values: (rows, groups) integers, every one below k.
        bits: of one index.
        codebooks: floating point, (1, k, d) if all groups share one, or (groups, k, d).
        shape: of the tensor; a row of ``groups * d`` elements may end in filler, which is dropped.

    Raises:
        TypeError: ``values`` are not integers.
        ValueError: ``bits`` is out of range, a value is no index of the codebooks, or the shapes do not fit together.
    Source: own (stored form)
    """

    values: Tensor
    bits: int
    codebooks: Tensor
    shape: torch.Size

    def __post_init__(self) -> None:
        if self.codebooks.dim() != 3 or self.values.dim() != 2 or not self.shape:
            raise ValueError("values must have 2 axes, codebooks 3, and shape at least 1")
        books, k, d = self.codebooks.shape
        rows, groups = self.values.shape
        row = self.shape[1:].numel()
        if rows != self.shape[0] or books not in (1, groups) or not 0 <= groups * d - row < max(d, 1):
            shapes = f"{tuple(self.values.shape)} and {tuple(self.codebooks.shape)}"
            raise ValueError(
                f"values and codebooks of shapes {shapes} do not make a tensor of shape {tuple(self.shape)}"
            )
        check_integers(self.values, 0, min(packing.code_range(self.bits, signed=False)[1], k - 1))

    @property
    def levels(self) -> Tensor:
        """The codebooks."""
        return self.codebooks

    @property
    def scale(self) -> Tensor:
        """1, in the dtype of the codebooks."""
        return self.codebooks.new_ones(())

    @property
    def zero_point(self) -> None:
        """None: the codebooks hold real numbers."""
        return None

    def decode(self) -> Tensor:
        """The real tensor, in the dtype of the codebooks."""
        return look_up(self.codebooks, self.values, self.shape)

    def packed(self) -> bytes:
        """The indices alone as a bit stream, row by row."""
        return packing.pack(self.values, self.bits)

    @property
    def nbits(self) -> int:
        """Bits to store: the indices, and 32 for every number of the codebooks."""
        return self.bits * self.values.numel() + 32 * self.codebooks.numel()


def look_up(codebooks: Tensor, values: Tensor, shape: torch.Size) -> Tensor:
    """The tensor of ``shape`` that ``values`` stand for; arguments as in :class:`VectorCodes`, differentiable."""
    group = torch.arange(values.shape[1], device=values.device) if len(codebooks) > 1 else 0
    rows = codebooks[group, values.long()].flatten(1)
    return rows[:, : shape[1:].numel()].reshape(shape)
