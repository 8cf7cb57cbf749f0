"""Cycles of an array of shift-adders: the layers of yokota2024 one after the other, or all at once.

The article gives no times; the model is ours. It counts cycles and computes no values. What it shares with the
filter-wise processor is in :mod:`fewbits.mixed_precision.processor`.
"""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from fewbits.core.checks import check_bits
from fewbits.core.macs import LayerWork
from fewbits.fpga.accelerator import STREAMED, WAIT, Array
from fewbits.fpga.layers import ShiftLayer
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


@dataclass(frozen=True)
class AcceleratorLayer:
    """An instruction of the accelerator.

    Attributes:
        name: of its layer, or of the two that it computes together.
        cycles: from its first step to the first step of the next instruction.
        macs: multiply-accumulates of an image, biases not counted.
    Source: own (model)
    """

    name: str
    cycles: int
    macs: int

    def utilization(self, array: Array) -> float:
        """Share of the shift-adders of ``array`` that have work, averaged over the cycles."""
        return self.macs / (self.cycles * array.elements)


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


def accelerator_cycles(
    layers: Sequence[ShiftLayer], array: Array, height: int = 32, width: int = 32
) -> list[AcceleratorLayer]:
    """Cycles of each instruction of the accelerator in ``rtl/accelerator.v``, from shapes alone.

    A word has 32 channels: an input of C channels has ``groups = ceil(C / 32)`` words a pixel; an output of M channels
    has ``slices = ceil(M / columns)``. Then

    * a pointwise layer takes ``groups * slices`` cycles a pixel;
    * the first layer ``slices``, and one more for each column of its input that completes no window: one in a row if
      the stride is 1, every second one if it is 2;
    * a depthwise layer, two rows at a time if the stride is 1, a cycle for each column and each ``columns`` channels;
    * with ``array.stream``, a separable convolution what its pointwise half takes, and ``groups`` for each column that
      completes no window.

    To each come the cycles until its last result is in memory.

    Args:
        layers: of :attr:`fewbits.fpga.network.ShiftAdderNet.layers`.
        array: columns, and whether depthwise layers stream.
        height, width: of an image.
    Source: own (model)
    """
    found: list[AcceleratorLayer] = []
    waiting: ShiftLayer | None = None  # a depthwise layer whose pointwise half comes next
    for layer in layers:
        if layer.pool:
            height = width = 1
        outputs, size = layer.codes.shape[0], layer.codes.shape[2]
        groups, slices = math.ceil(layer.channels / 32), math.ceil(outputs / array.columns)
        rows, columns = layer.output_size(height, width)
        name, wait, macs = layer.name, WAIT, layer.codes.size * rows * columns
        unused = 1 if layer.stride == 1 else columns  # input columns of a row that complete no window
        if size == 1 and waiting is not None:
            name, wait, macs = f"{waiting.name}+{name}", WAIT + STREAMED, macs + waiting.codes.size * rows * columns
            steps = rows * groups * ((1 if waiting.stride == 1 else columns) + columns * slices)
            waiting = None
        elif size == 1:
            steps = rows * columns * groups * slices
        elif layer.groups == 1:
            steps = rows * (unused + columns * slices)
        elif array.stream:
            waiting, height, width = layer, rows, columns
            continue
        else:
            parts = slices if groups == 1 else groups * array.parts
            steps = (math.ceil(rows / 2) if layer.stride == 1 else rows) * (unused + columns) * parts
        found.append(AcceleratorLayer(name, steps + wait, macs))
        height, width = rows, columns
    return found
