"""The shift-adder array's cycles: against a schedule that places every multiply-add, and the network of the paper."""

import itertools

import pytest
import strategies  # noqa: F401  (loads the profile)
from hypothesis import given
from hypothesis import strategies as st

from fewbits.core.macs import LayerWork, layer_work
from fewbits.fpga.latency import ShiftAdderArray, pipeline
from fewbits.mixed_precision import LayerCycles
from fewbits.mobileone import MobileNetV1, reparameterize

small = st.integers(1, 7)


def work(filters: int, weights: int, positions: int) -> LayerWork:
    return LayerWork("conv", "conv", filters, weights * positions, weights, positions)


@given(small, small, small, small, small)
def test_every_shift_add_has_its_cycle(filters, weights, positions, columns, taps):
    """In one cycle: one position, at most so many filters, at most so many weights of each, each once."""
    array = ShiftAdderArray(columns, taps, load_bits=None, fill=0, setup=0)
    schedule: dict[tuple, set] = {}
    for o, k, p in itertools.product(range(filters), range(weights), range(positions)):
        element = o % columns, k % taps
        place = schedule.setdefault((o // columns, k // taps, p), set())
        assert element not in place  # no element works twice in a cycle
        place.add(element)
    assert array.cycles(work(filters, weights, positions)) == len(schedule)
    assert array.elements(work(filters, weights, positions)) == len(set().union(*schedule.values()))


def test_one_layer_by_hand():
    array = ShiftAdderArray(columns=2, taps=4, load_bits=8, fill=3, setup=10)
    layer = work(3, weights=6, positions=5)  # 2 × 2 rounds for each of 5 positions; 90 bits to load
    assert array.profile(layer) == LayerCycles(10 + 23, 23, 12, 0)
    assert array.profile(layer, weight_bits=16) == LayerCycles(10 + 36, 23, 36, 0)
    assert array.profile(layer, weight_bits=16).bound == "load"


@given(small, small, small, st.integers(2, 16))
def test_bits_cost_loading_only(filters, weights, positions, bits):
    layer = work(filters, weights, positions)
    assert ShiftAdderArray(load_bits=None).cycles(layer, bits) == ShiftAdderArray(load_bits=None).cycles(layer, 2)
    assert ShiftAdderArray().cycles(layer, bits) >= ShiftAdderArray().cycles(layer, 2)


def test_pipeline_of_the_paper():
    works = layer_work(reparameterize(MobileNetV1().eval()), (3, 32, 32))
    array = ShiftAdderArray()
    assert array.elements(works[1]) + array.elements(works[2]) == 1312  # the layer from 32 to 32 channels
    elements, cycles = pipeline(array, works)
    assert elements == 27 * 32 + 11 * 1312 + 32 * 32
    assert cycles == 1024  # later stages have fewer pixels and more channels, in equal measure
    assert sum(work.macs for work in works) == 12_033_024


@pytest.mark.parametrize("name", ["columns", "taps", "load_bits", "fill", "setup"])
def test_bad_arrays_are_refused(name):
    with pytest.raises(ValueError, match=name):
        ShiftAdderArray(**{name: -1})
    with pytest.raises(TypeError, match=f"{name} must be an int, got float"):
        ShiftAdderArray(**{name: 1.5})


@pytest.mark.parametrize("bits", [1, 17])
def test_bad_bits_are_refused(bits):
    with pytest.raises(ValueError, match="weight_bits must lie between 2 and 16"):
        ShiftAdderArray().cycles(work(1, 1, 1), bits)
