"""The processor model against a simulation that moves every bit and every digit, one cycle at a time."""

import math
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fewbits.core.macs import LayerWork
from fewbits.mixed_precision import LayerCycles, Processor, network_cycles

IDEAL = Processor(lanes=1, columns=1, load_bits=None, store_bits=None, fill=0, setup=0)


def work(filters: int = 4, weights: int = 3, positions: int = 5, name: str = "conv") -> LayerWork:
    return LayerWork(name, "conv", filters, weights * positions, weights, positions)


# --- The simulation ---------------------------------------------------------------------------------------------------


class Column:
    """One column of the array: its filter's weights come in digit by digit, after the pipeline has been filled."""

    def __init__(self, weights: int, bits: int, digit_bits: int, fill: int):
        self.fill = fill
        self.weights = [bits] * weights  # bits of each weight that are still to come
        self.digit_bits = digit_bits

    def tick(self) -> None:
        if self.fill:
            self.fill -= 1
        elif self.weights:
            self.weights[0] -= self.digit_bits
            if self.weights[0] <= 0:
                self.weights.pop(0)

    @property
    def busy(self) -> bool:
        return bool(self.fill or self.weights)


class Simulation:
    """A layer on a processor, simulated cycle by cycle from what the units do; nothing is computed ahead.

    ``busy`` counts the cycles of each unit.
    """

    def __init__(self, processor: Processor, layer: LayerWork, weight_bits: list[int]):
        self.p, self.layer = processor, layer
        filters = sorted(weight_bits, reverse=True) if processor.sort_filters else list(weight_bits)
        self.groups = []
        while filters:
            self.groups.append(filters[: processor.columns])
            filters = filters[processor.columns :]
        self.to_load = list(range(len(self.groups)))
        self.to_compute = [
            (group, range(layer.output_positions)[start : start + processor.lanes])
            for group in range(len(self.groups))
            for start in range(0, layer.output_positions, processor.lanes)
        ]
        self.loaded: set[int] = set()  # groups in a weight buffer
        self.weight_buffers = self.output_buffers = 2 if processor.overlap else 1  # those that are free
        self.loading: tuple[int, float] | None = None  # group, bits to come
        self.columns: list[Column] = []
        self.outputs: list[float] = []  # bits of each pass that waits to be stored
        self.storing: float | None = None  # bits still to leave
        self.busy = {"load": 0, "compute": 0, "store": 0}

    def alone(self) -> bool:
        """Without overlap a unit starts only when the others rest."""
        return self.p.overlap or (self.loading is None and not self.columns and self.storing is None)

    def start_units(self) -> bool:
        """Start or finish whatever can be without time passing; True if something happened."""
        if self.storing is not None and self.storing <= 0:
            self.storing = None
            self.output_buffers += 1
        elif self.storing is None and self.outputs and self.alone():
            self.storing = self.outputs.pop(0)
        elif self.columns and not any(column.busy for column in self.columns):
            group, positions = self.to_compute.pop(0)
            self.columns = []
            self.outputs.append(
                0 if self.p.store_bits is None else len(self.groups[group]) * len(positions) * self.p.activation_bits
            )
            if not any(later == group for later, _ in self.to_compute):
                self.loaded.remove(group)
                self.weight_buffers += 1
        elif self.loading is not None and self.loading[1] <= 0:
            self.loaded.add(self.loading[0])
            self.loading = None
        elif (
            not self.columns
            and self.to_compute
            and self.to_compute[0][0] in self.loaded
            and self.output_buffers
            and self.alone()
        ):
            self.output_buffers -= 1
            size, digit = self.layer.weights_per_filter, self.p.digit_bits
            self.columns = [Column(size, bits, digit, self.p.fill) for bits in self.groups[self.to_compute[0][0]]]
        elif self.loading is None and self.to_load and self.weight_buffers and self.alone():
            self.weight_buffers -= 1
            group = self.to_load.pop(0)
            bits = [bits for bits in self.groups[group] for _ in range(self.layer.weights_per_filter)]
            self.loading = (group, 0 if self.p.load_bits is None else sum(bits))
        else:
            return False
        return True

    def run(self) -> int:
        """Cycles until the last output is stored."""
        cycle = self.p.setup
        while True:
            while self.start_units():
                pass
            if not (self.columns or self.loading or self.storing is not None):
                assert [self.to_load, self.to_compute, self.outputs] == [[], [], []], "the simulation is stuck"
                return cycle
            cycle += 1
            if self.columns:
                self.busy["compute"] += 1
                for column in self.columns:
                    column.tick()
            if self.loading:
                self.busy["load"] += 1
                self.loading = (self.loading[0], self.loading[1] - self.p.load_bits)
            if self.storing is not None:
                self.busy["store"] += 1
                self.storing -= self.p.store_bits


bandwidths = st.none() | st.integers(1, 40)
processors = st.builds(
    Processor,
    lanes=st.integers(1, 4),
    columns=st.integers(1, 4),
    digit_bits=st.integers(1, 4),
    load_bits=bandwidths,
    store_bits=bandwidths,
    activation_bits=st.integers(1, 8),
    fill=st.integers(0, 4),
    setup=st.integers(0, 5),
    overlap=st.booleans(),
    sort_filters=st.booleans(),
)
layers = st.lists(st.integers(1, 16), min_size=1, max_size=10).flatmap(
    lambda bits: st.tuples(
        st.builds(work, st.just(len(bits)), st.integers(1, 6), st.integers(1, 12)),
        st.just(bits),
    )
)


@given(processors, layers)
def test_model_agrees_with_the_simulation(processor, layer):
    simulation = Simulation(processor, *layer)
    profile = processor.profile(*layer)
    assert simulation.run() == profile.total == processor.cycles(*layer)
    assert simulation.busy == {"load": profile.load, "compute": profile.compute, "store": profile.store}


@pytest.mark.parametrize("load_bits", [1, 3, 16])
@pytest.mark.parametrize("store_bits", [1, 3, 16])
def test_model_agrees_with_the_simulation_where_every_unit_waits_for_another(load_bits, store_bits):
    processor = Processor(3, 2, load_bits=load_bits, store_bits=store_bits, fill=1, setup=0)
    bits = [1, 8, 2, 2, 16, 1, 1, 3, 9]
    for positions in (1, 3, 4, 20):
        layer = work(len(bits), weights=4, positions=positions)
        assert Simulation(processor, layer, bits).run() == processor.cycles(layer, bits)


@settings(max_examples=300, deadline=None)
@given(
    st.integers(1, 8),
    st.integers(1, 8),
    st.integers(1, 2),
    st.lists(st.sampled_from([(16, 1, 1, 1), (16, 16, 16, 16), (3, 3, 3, 3), (1, 1, 1, 1)]), min_size=3, max_size=6),
)
def test_model_agrees_with_the_simulation_where_buffers_are_full(load_bits, store_bits, positions, groups):
    """Groups in the layer's order that take like time to compute but not to load: loading runs ahead, then falls back.

    With more than two weight buffers, or with one that is free later than it should be, the times differ.
    """
    processor = Processor(
        1, 4, load_bits=load_bits, store_bits=store_bits, activation_bits=4, fill=0, setup=0, sort_filters=False
    )
    bits = [bit for group in groups for bit in group]
    layer = work(len(bits), weights=1, positions=positions)
    assert Simulation(processor, layer, bits).run() == processor.cycles(layer, bits)


def test_a_weight_buffer_is_free_when_its_group_is_computed():
    """By hand: loads of 10, 10, 10 and 32 cycles, 16 to compute; the fourth waits for the second group, until 42."""
    bits = [16, 1, 1, 1] * 3 + [16] * 4
    processor = Processor(1, 4, load_bits=2, store_bits=None, fill=0, setup=0, sort_filters=False)
    assert processor.cycles(work(16, weights=1, positions=1), bits) == 10 + 16 + 16 + 32 + 16


def test_a_model_that_overlaps_too_much_is_noticed():
    """The longest unit alone, a tempting short cut, is no lower bound that the simulation reaches."""
    processor, layer, bits = Processor(2, 2, load_bits=4, store_bits=4, fill=0, setup=0), work(4), [4, 4, 2, 2]
    profile = processor.profile(layer, bits)
    assert Simulation(processor, layer, bits).run() > max(profile.compute, profile.load, profile.store)


# --- By hand ----------------------------------------------------------------------------------------------------------


def test_one_layer_by_hand():
    """2 × 2 elements, filters of 3, 1, 2 and 2 bits with 5 weights each, 3 positions: 2 groups × 2 tiles."""
    layer, bits = work(4, weights=5, positions=3), [3, 1, 2, 2]
    processor = Processor(2, 2, load_bits=5, store_bits=8, activation_bits=8, fill=1, setup=10)
    # Groups (3, 2) and (2, 1): load 25 / 5 and 15 / 5 cycles; a pass 5 · 3 + 1 and 5 · 2 + 1; store 4 and 2.
    assert processor.profile(layer, bits) == LayerCycles(10 + 5 + 2 * 16 + 2 * 11 + 2, 54, 8, 12)
    assert replace(processor, overlap=False).cycles(layer, bits) == 10 + 8 + 54 + 12
    # In the layer's order the groups are (3, 1) and (2, 2).
    assert replace(processor, sort_filters=False).profile(layer, bits).compute == 54
    assert replace(processor, sort_filters=False).profile(layer, [3, 1, 1, 3]).compute == 4 * 16


def test_sorting_saves_what_mixed_groups_wait():
    layer, bits = work(4), [8, 1, 8, 1]
    assert replace(IDEAL, columns=2).cycles(layer, bits) == 3 * 5 * (8 + 1)
    assert replace(IDEAL, columns=2, sort_filters=False).cycles(layer, bits) == 3 * 5 * (8 + 8)


@given(layers)
def test_without_overheads_cycles_are_macs_times_bits(layer):
    shape, bits = layer
    assert IDEAL.cycles(shape, bits) == sum(shape.macs_per_filter * bit for bit in bits)


@given(processors, layers)
def test_cycles_lie_between_the_busiest_unit_and_one_unit_after_the_other(processor, layer):
    profile = processor.profile(*layer)
    units = (profile.compute, profile.load, profile.store)
    assert processor.setup + max(units) <= profile.total <= processor.setup + sum(units)
    assert replace(processor, overlap=False).cycles(*layer) == processor.setup + sum(units)


@given(processors, layers, st.data())
def test_more_bits_never_save_cycles(processor, layer, data):
    shape, bits = layer
    place = data.draw(st.integers(0, len(bits) - 1))
    more = [bit + (index == place and bit < 16) for index, bit in enumerate(bits)]
    assert processor.cycles(shape, more) >= processor.cycles(shape, bits)


def test_what_bounds_a_layer():
    bits = [8] * 32
    assert Processor().profile(work(32, weights=576, positions=3136), bits).bound == "compute"
    assert Processor(load_bits=8).profile(work(32, weights=512, positions=1), bits).bound == "load"
    assert Processor().profile(work(32, weights=1, positions=1024), bits).bound == "store"


def test_network_is_the_sum_of_its_layers():
    first, second = work(2, name="first"), work(3, positions=2, name="second")
    bits = {"first": [4, 2], "second": [3, 3, 3], "unused": [1]}
    processor = Processor()
    expected = processor.cycles(first, [4, 2]) + processor.cycles(second, [3, 3, 3])
    assert network_cycles(processor, iter([first, second]), bits) == expected
    with pytest.raises(ValueError, match="bits_by_layer has no bits for second"):
        network_cycles(processor, [first, second], {"first": [4, 2]})


# --- Arguments --------------------------------------------------------------------------------------------------------


def test_bits_may_be_numpy_integers():
    assert Processor().cycles(work(2), np.array([3, 5])) == Processor().cycles(work(2), [3, 5])


@pytest.mark.parametrize(
    ("bits", "error", "message"),
    [
        ([4] * 3, ValueError, "weight_bits must have one entry for each of 4 filters, got 3"),
        ([4, 4, 4, 0], ValueError, "weight_bits must lie between 1 and 16, got 0"),
        ([4, 4, 4, 17], ValueError, "weight_bits must lie between"),
        ([4, 4, 4, 2.5], TypeError, "integer"),
    ],
)
def test_bad_bits_are_refused(bits, error, message):
    with pytest.raises(error, match=message):
        Processor().cycles(work(4), bits)


@pytest.mark.parametrize("name", ["lanes", "columns", "digit_bits", "load_bits", "store_bits", "activation_bits"])
def test_bad_processors_are_refused(name):
    with pytest.raises(ValueError, match=name):
        Processor(**{name: 0})
    with pytest.raises(TypeError, match=name):
        Processor(**{name: 1.5})


@pytest.mark.parametrize("name", ["fill", "setup"])
def test_negative_overheads_are_refused(name):
    with pytest.raises(ValueError, match=f"{name} must be at least 0, got -1"):
        Processor(**{name: -1})


def test_the_default_array_is_full_for_a_layer_that_fits():
    """A sanity check of the defaults: 1,024 elements, one bit a cycle."""
    layer = work(64, weights=576, positions=3136)
    profile = Processor(fill=0).profile(layer, [8] * 64)
    assert profile.compute == math.prod((64, 576, 3136, 8)) / 1024
