"""The numbers that each weight can take once a quantizer has chosen its scales; a better rounding chooses from them."""

import dataclasses
from dataclasses import dataclass
from typing import TypeVar

import torch
from torch import Tensor

from fewbits.core import packing
from fewbits.core.codes import Codes, StoredForm
from fewbits.core.filter_codes import FilterCodes
from fewbits.core.float_codes import FloatCodes

Form = TypeVar("Form", bound=StoredForm)


@dataclass(frozen=True)
class Grid:
    """Points of a grid, and where they lie for each weight: ``(points[i] - zero) * scale``, i from ``low`` to ``high``.

    Attributes:
        points: (L,) float64, increasing.
        fields: (L,) int64: the integer that is stored for each.
        scale, zero: float64 of the tensor's shape; ``scale`` is not negative.
        low, high: int64 of the tensor's shape, indices into ``points``.
    Source: own (one view of all stored forms)
    """

    points: Tensor
    fields: Tensor
    scale: Tensor
    zero: Tensor
    low: Tensor
    high: Tensor

    def view(self, *shape: int) -> "Grid":
        """The same grid for a view of the tensor."""
        sides = {name: getattr(self, name).reshape(shape) for name in ("scale", "zero", "low", "high")}
        return dataclasses.replace(self, **sides)

    def at(self, place: tuple) -> "Grid":
        """The grid of the weights at an index or slice of the tensor."""
        sides = {name: getattr(self, name)[place] for name in ("scale", "zero", "low", "high")}
        return dataclasses.replace(self, **sides)

    def nearest(self, w: Tensor) -> Tensor:
        """Index of the nearest point to each weight, of two equally near ones the lower.

        Args:
            w: float64 of the tensor's shape.
        """
        borders = (self.points[:-1] + self.points[1:]) / 2
        return torch.bucketize(self._units(w), borders).clamp(self.low, self.high)

    def below(self, w: Tensor) -> Tensor:
        """Index of the largest point that is not above each weight and has one above it.

        So the weight lies between it and the next, unless it is outside the grid.
        """
        index = torch.bucketize(self._units(w), self.points, right=True) - 1
        return torch.minimum(torch.maximum(index, self.low), (self.high - 1).clamp(min=0))

    def real(self, index: Tensor) -> Tensor:
        """The numbers, float64, that indices stand for."""
        return (self.points[index] - self.zero) * self.scale

    def _units(self, w: Tensor) -> Tensor:
        return (torch.where(self.scale > 0, w / self.scale, 0.0) + self.zero).contiguous()


def grid_of(codes: StoredForm) -> Grid:
    """The grid that ``codes`` lie on.

    Symmetric signed codes (two's complement without a zero point) do not use the lowest integer, as their quantizers do
    not. Of codes that stand for the same number, such as +0 and -0, the first is used.

    Raises:
        ValueError: the codes stand for several weights each, or a scale is negative.
    Source: own (one view of all stored forms)
    """
    shape = codes.shape
    zero = torch.zeros(shape, dtype=torch.float64)
    if isinstance(codes, Codes | FloatCodes) and codes.levels is not None:
        levels = codes.levels.detach().double()
        points, place = levels[levels.isfinite()].unique(return_inverse=True)
        stored = levels.isfinite().nonzero().flatten()
        # scatter from the last to the first, so that the first code of a number remains
        fields = torch.zeros(len(points), dtype=torch.int64)
        for field, index in zip(reversed(stored.tolist()), reversed(place.tolist()), strict=True):
            fields[index] = field
        low, high = torch.zeros(shape, dtype=torch.int64), torch.full(shape, len(points) - 1)
    elif isinstance(codes, Codes):
        bottom, top = packing.code_range(codes.bits, codes.signed)
        fields = torch.arange(bottom + (codes.signed and codes.zero_point is None and codes.bits > 1), top + 1)
        points = fields.double()
        if codes.zero_point is not None:
            zero = codes.zero_point.double().expand(shape)
        low, high = torch.zeros(shape, dtype=torch.int64), torch.full(shape, len(points) - 1)
    elif isinstance(codes, FilterCodes):
        top = 2 ** (int(codes.bits.max()) - 1) - 1
        fields = torch.arange(-top, top + 1)
        points = fields.double()
        widths = codes.bits.long().reshape(codes.scale.shape).expand(shape)
        reach = 2 ** (widths - 1) - 1
        low, high = top - reach, top + reach
    else:
        raise ValueError(f"{type(codes).__name__} stand for several weights each, which cannot be rounded one by one")
    scale = codes.scale.detach().double().expand(shape)
    if (scale < 0).any():
        raise ValueError("a scale of the codes is negative")
    return Grid(points, fields, scale, zero, low, high)


def with_values(codes: Form, fields: Tensor) -> Form:
    """``codes`` with other integers, in the dtype of the present ones.

    Source: own (stored form)
    """
    return dataclasses.replace(codes, values=fields.reshape(codes.shape).to(codes.values.dtype))  # type: ignore[type-var]


def better_rows(weight: Tensor, codes: Form, other: Form, errors: tuple[Tensor, Tensor]) -> Form:
    """``other`` where its error is smaller, else ``codes``, output by output.

    Args:
        weight: (M, …).
        codes, other: of the same form.
        errors: of both, (M,) each.
    Source: own (never worse than what it starts from)
    """
    better = errors[1] < errors[0]
    chosen = torch.where(better.reshape(-1, *[1] * (weight.dim() - 1)), other.values, codes.values)
    found = with_values(codes, chosen)
    if isinstance(codes, FloatCodes) and isinstance(other, FloatCodes) and codes.block_scales is not None:
        assert other.block_scales is not None  # of the same form
        scales = torch.where(better[:, None], other.block_scales, codes.block_scales)
        return dataclasses.replace(found, block_scales=scales)  # type: ignore[type-var]
    return found
