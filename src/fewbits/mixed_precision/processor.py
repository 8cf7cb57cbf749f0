"""Cycles of a processor that gives every filter its own number of weight bits.

maki2018 built such a processor on an FPGA: the weights of each filter have as many bits as that filter needs,
and the time follows the bits. The article gives no model of its time in closed form. The model here is ours: an array
that processes weights digit by digit, and the overheads that keep it from running at full speed, each of which can be
switched off. It counts cycles and computes no values.
"""

import math
import operator
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from fewbits.core.checks import check_bits
from fewbits.core.macs import LayerWork


@dataclass(frozen=True)
class LayerCycles:
    """Where the cycles of one layer go.

    Args:
        total: from the start of the layer to its last stored output.
        compute: cycles in which the array works, with the filling of its pipeline.
        load: cycles in which weights are loaded.
        store: cycles in which outputs are stored.
    Source: own (model of a processor)
    """

    total: int
    compute: int
    load: int
    store: int

    @property
    def bound(self) -> str:
        """The unit that is busy longest: "compute", "load" or "store" (the first of them if they are equal)."""
        return max(("compute", "load", "store"), key=lambda unit: getattr(self, unit))


@dataclass(frozen=True)
class Processor:
    """An array of ``lanes`` × ``columns`` processing elements, weights processed digit by digit.

    A column works on one filter, a lane on one output position; so up to ``columns`` filters (a *group*) and ``lanes``
    positions (a *tile*) are in the array at a time. A weight enters its column digit by digit, ``digit_bits`` bits a
    cycle, and all lanes of the column use it: a *pass*, one group on one tile, takes
    ``weights_per_filter * ceil(bits / digit_bits)`` cycles. A layer takes one pass for each group and tile; all tiles
    of a group come first, then the next group. A linear layer has one position, so it keeps one lane busy.

    What makes it slower than MACs × bits / (lanes · columns · digit_bits), and how to switch it off:

    * *Idle elements*: the last group or tile of a layer may not fill the array. ``lanes=1, columns=1`` never idles.
    * *Whole digits*: bits are rounded up to digits. ``digit_bits=1`` wastes nothing.
    * *Waiting filters*: the columns start a pass together, so the filter with the most digits decides. With
      ``sort_filters`` they are sorted, widest first, so that filters of similar width share a group; otherwise they
      keep the layer's order.
    * *Pipeline fill*: ``fill`` cycles at the start of each pass. 0 switches it off.
    * *Loading*: each weight is loaded once, ``load_bits`` bits a cycle, before the first pass of its group; the weights
      of a group start in a fresh cycle. ``None`` loads in no time.
    * *Storing*: outputs have ``activation_bits`` bits and leave after their pass, ``store_bits`` bits a cycle.
      ``None`` stores in no time.
    * *Set-up*: ``setup`` cycles before each layer. 0 switches it off.

    With ``overlap`` there are two weight buffers and two output buffers: while a group computes, the weights of the
    next one are loaded, and while a pass computes, the outputs of the one before are stored. A unit that finds no free
    or no full buffer waits. Without ``overlap`` the three take turns. Layers follow each other without overlap. Inputs
    are in memory on the chip and cost no time, for depthwise convolutions too, where each column reads its own channel.

    Raises:
        TypeError: an argument is not an int (or None, or a bool, where that is allowed).
        ValueError: an argument is out of range, below 1 (``fill`` and ``setup``: below 0).
    Source: own (model of a processor like that of maki2018)
    """

    lanes: int = 32
    columns: int = 32
    digit_bits: int = 1
    load_bits: int | None = 64
    store_bits: int | None = 64
    activation_bits: int = 8
    fill: int = 16
    setup: int = 256
    overlap: bool = True
    sort_filters: bool = True

    def __post_init__(self) -> None:
        check_counts(self, ("lanes", "columns", "load_bits", "store_bits", "fill", "setup"))
        check_bits(self.digit_bits, name="digit_bits")
        check_bits(self.activation_bits, name="activation_bits")

    def cycles(self, work: LayerWork, weight_bits: Sequence[int]) -> int:
        """Cycles of one layer, for a batch of one.

        Args:
            weight_bits: bits of each filter, 1 to 16, ``work.filters`` of them.
        Raises:
            TypeError, ValueError: ``weight_bits`` is not as many integers, or one is out of range.
        """
        return self.profile(work, weight_bits).total

    def profile(self, work: LayerWork, weight_bits: Sequence[int]) -> LayerCycles:
        """Cycles of one layer by unit, and so what bounds it. Arguments and errors as in :meth:`cycles`."""
        bits = list(map(operator.index, weight_bits))
        for bit in set(bits):
            check_bits(bit, name="weight_bits")
        if len(bits) != work.filters:
            raise ValueError(f"weight_bits must have one entry for each of {work.filters} filters, got {len(bits)}")
        if self.sort_filters:
            bits.sort(reverse=True)
        groups = [bits[first : first + self.columns] for first in range(0, len(bits), self.columns)]
        tiles = math.ceil(work.output_positions / self.lanes)
        in_last_tile = work.output_positions - (tiles - 1) * self.lanes
        times = []
        for group in groups:
            compute = work.weights_per_filter * math.ceil(max(group) / self.digit_bits) + self.fill
            load = transfer_cycles(work.weights_per_filter * sum(group), self.load_bits)
            full, last = (
                transfer_cycles(len(group) * positions * self.activation_bits, self.store_bits)
                for positions in (min(self.lanes, work.output_positions), in_last_tile)
            )
            times.append((load, compute, full, last))
        compute = tiles * sum(compute for _, compute, _, _ in times)
        load = sum(load for load, _, _, _ in times)
        store = sum((tiles - 1) * full + last for _, _, full, last in times)
        total = _overlapped(times, tiles) if self.overlap else compute + load + store
        return LayerCycles(self.setup + total, compute, load, store)


def network_cycles(processor: Processor, works: Iterable[LayerWork], bits_by_layer: Mapping[str, Sequence[int]]) -> int:
    """Cycles of all layers, one after the other, for a batch of one.

    Args:
        works: as :func:`fewbits.core.macs.layer_work` gives them.
        bits_by_layer: name of a layer -> bits of each of its filters.
    Raises:
        ValueError: a layer is missing in ``bits_by_layer``; else as :meth:`Processor.cycles`.
    Source: own (model of a processor)
    """
    works = list(works)
    missing = [work.name for work in works if work.name not in bits_by_layer]
    if missing:
        raise ValueError(f"bits_by_layer has no bits for {', '.join(missing)}")
    return sum(processor.cycles(work, bits_by_layer[work.name]) for work in works)


def check_counts(model: object, names: Sequence[str]) -> None:
    """Refuse attributes ``names`` of a time model that are not counts.

    Raises:
        TypeError: one is not an int (``load_bits`` and ``store_bits`` may be None).
        ValueError: one is below 1 (``fill`` and ``setup``: below 0).
    Source: own (check)
    """
    for name in names:
        value, least = getattr(model, name), 0 if name in ("fill", "setup") else 1
        if value is None and name in ("load_bits", "store_bits"):
            continue
        if isinstance(value, bool) or not isinstance(value, int):
            raise TypeError(f"{name} must be an int, got {type(value).__name__}")
        if value < least:
            raise ValueError(f"{name} must be at least {least}, got {value}")


def transfer_cycles(bits: int, bits_per_cycle: int | None) -> int:
    """Cycles that ``bits`` take; 0 where ``bits_per_cycle`` is None.

    Source: own (model of a processor)
    """
    return 0 if bits_per_cycle is None else math.ceil(bits / bits_per_cycle)


def _overlapped(times: Sequence[tuple[int, int, int, int]], tiles: int) -> int:
    """Time of the last stored output if loading, computing and storing overlap.

    A pass starts when the pass before it is computed and the one before that is stored; that is also the moment when
    the outputs of the pass before begin to leave. So within a group the starts are max(compute, store) apart. Only the
    first pass of a group may have to wait for weights, which does not hold up the outputs of the pass before.

    Args:
        times: of each group, cycles (load its weights, compute one pass, store a full tile, store the last tile).
        tiles: passes of each group.
    """
    ready = 0  # the array and an output buffer are free, and the outputs of the last pass begin to leave
    leaving = 0  # cycles that these take
    loaded = 0  # the weights of this group are there
    emptied = [0, 0]  # when each weight buffer is free: when the group before last is computed
    for group, (load, compute, full, last) in enumerate(times):
        loaded = max(loaded, emptied[group % 2]) + load
        start = max(ready, loaded)
        step = max(compute, full)
        computed = start + compute
        ready = max(computed, ready + leaving)
        if tiles > 1:
            computed = ready + (tiles - 2) * step + compute
            ready += (tiles - 1) * step
        emptied[group % 2] = computed
        leaving = last
    return ready + leaving
