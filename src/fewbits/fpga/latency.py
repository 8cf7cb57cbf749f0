"""Cycles of an array of shift-adders: the layers of yokota2024 one after the other, or all at once.

The article gives no times; the model is ours. It counts cycles and computes no values. What it shares with the
filter-wise processor is in :mod:`fewbits.mixed_precision.processor`.
"""

import math
from collections.abc import Iterable
from dataclasses import dataclass

from fewbits.core.checks import check_bits
from fewbits.core.macs import LayerWork
from fewbits.mixed_precision.processor import LayerCycles, check_counts, transfer_cycles


@dataclass(frozen=True)
class ShiftAdderArray:
    """Shift-adders side by side: ``columns`` filters, ``taps`` weights of each, one output position a cycle.

    yokota2024's layer from 32 to 32 channels has 32 × 9 of them for its depthwise and 32 × 32 for its pointwise half.
    The article gives no times; the model is ours. A layer takes
    ``output_positions * ceil(weights_per_filter / taps) * ceil(filters / columns)`` cycles, and ``fill`` and ``setup``
    once. A weight is one shift, *whatever its number of bits*: only loading it takes longer. The weights of a layer are
    loaded, ``load_bits`` bits a cycle, while the layer before computes; activations lie on the chip and cost no time.

    Args:
        load_bits: None loads in no time.
        fill: cycles of the pipeline, a shift and a tree of adders.
        setup: cycles before each layer.
    Raises:
        TypeError: an argument is not an int (``load_bits`` may be None).
        ValueError: an argument is below 1 (``fill`` and ``setup``: below 0).
    Source: own (model); yokota2024 Sec. 3.2 (the layer); yokota2024 Fig. 3
    """

    columns: int = 32
    taps: int = 32
    load_bits: int | None = 64
    fill: int = 16
    setup: int = 256

    def __post_init__(self) -> None:
        check_counts(self, ("columns", "taps", "load_bits", "fill", "setup"))

    def profile(self, work: LayerWork, weight_bits: int = 5) -> LayerCycles:
        """Cycles of one layer by unit, for a batch of one.

        Args:
            weight_bits: of every weight, 2 to 16.
        Raises:
            TypeError, ValueError: ``weight_bits`` is no integer, or out of range.
        """
        check_bits(weight_bits, minimum=2, name="weight_bits")
        groups = math.ceil(work.weights_per_filter / self.taps) * math.ceil(work.filters / self.columns)
        compute = self.fill + work.output_positions * groups
        load = transfer_cycles(work.weights * weight_bits, self.load_bits)
        return LayerCycles(self.setup + max(compute, load), compute, load, 0)

    def cycles(self, work: LayerWork, weight_bits: int = 5) -> int:
        """Cycles of one layer, for a batch of one; arguments and errors as in :meth:`profile`."""
        return self.profile(work, weight_bits).total

    def elements(self, work: LayerWork) -> int:
        """Shift-adders that the array needs for this layer alone: a filter of 9 weights has no use for 32."""
        return min(work.filters, self.columns) * min(work.weights_per_filter, self.taps)


def pipeline(array: ShiftAdderArray, works: Iterable[LayerWork]) -> tuple[int, int]:
    """A whole network, each layer on an array of its own, and all of them at work on different images.

    Returns:
        elements: shift-adders of all arrays together.
        cycles: between one image and the next, those of the slowest layer, without set-up: nothing changes any more.
    Source: own (model)
    """
    works = list(works)
    positions = (array.profile(work).compute - array.fill for work in works)
    return sum(array.elements(work) for work in works), max(positions)
