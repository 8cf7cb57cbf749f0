"""The floating-point circuits as synthesized, gate by gate, against NumPy's float32."""

import numpy as np
import pytest
from float_vectors import corners, numpy_product, numpy_sum, pairs

from fewbits.fpga.netlist import Netlist
from fewbits.fpga.synthesis import rtl, synthesize

LANES = 8192


def stream(values: np.ndarray, latency: int) -> np.ndarray:
    """(n,) into (cycles, LANES), with cycles of zeros at the end in which the pipeline runs empty."""
    cycles = -(-len(values) // LANES) + latency
    filled = np.zeros(cycles * LANES, np.uint64)
    filled[: len(values)] = values
    return filled.reshape(cycles, LANES)


def compute(netlist: Netlist, latency: int, **inputs: np.ndarray) -> np.ndarray:
    """The output for each vector, (n,) uint32."""
    count = len(next(iter(inputs.values())))
    (found,) = netlist.run({name: stream(values, latency) for name, values in inputs.items()}).values()
    return found[latency:].ravel()[:count].astype(np.uint32)


@pytest.mark.parametrize(
    ("top", "latency", "reference"), [("float_multiply", 3, numpy_product), ("float_add", 5, numpy_sum)]
)
def test_netlist_is_numpy_on_400_000_pairs(top, latency, reference):
    a, b = pairs(200_000)
    assert len(a) > 400_000
    assert (compute(Netlist(synthesize(top)), latency, a=a, b=b) == reference(a, b)).all()


def test_processing_element_multiplies_then_adds():
    netlist = Netlist(synthesize("float_pe"))
    rng = np.random.default_rng(5)
    x, weight, addend = rng.normal(size=(3, 20_000)).astype(np.float32).view(np.uint32)
    x[:500], weight[:500], addend[:500] = rng.choice(corners(), (3, 500))
    latency, lanes = 8, 500
    shape = (len(x) // lanes, lanes)
    padded = [np.concatenate([side.reshape(shape), np.zeros((latency, lanes), np.uint32)]) for side in (x, weight)]
    # The addend is due with the product, three cycles after its factors.
    late = np.roll(np.concatenate([addend.reshape(shape), np.zeros((latency, lanes), np.uint32)]), 3, axis=0)
    found = netlist.run({"x": padded[0], "weight": padded[1], "addend": late})["sum"][latency:].ravel()
    assert (found == numpy_sum(numpy_product(x, weight), addend)).all()


def test_numpy_reference_by_hand():
    one, tiny, least = 0x3F800000, 0x00800000, 0x00000001
    assert numpy_product(np.array([one]), np.array([tiny])) == tiny
    # Half of the least normal number is subnormal: flushed. So is a subnormal input.
    assert numpy_product(np.array([0xBF000000]), np.array([tiny])) == 0x80000000
    assert numpy_sum(np.array([one]), np.array([least])) == one
    assert numpy_sum(np.array([one]), np.array([0xBF800000])) == 0
    assert numpy_sum(np.array([0x80000000]), np.array([0x80000000])) == 0x80000000
    # 1 - 2^-24 times the least normal number lies below it with 24 bits, though a subnormal number would be rounded up.
    assert numpy_product(np.array([0x3F7FFFFF]), np.array([tiny])) == 0


def test_damaged_multiplier_is_noticed():
    sources = rtl()
    sources["float_multiply.v"] = sources["float_multiply.v"].replace("guard && (sticky || kept[0])", "guard && sticky")
    a, b = pairs(1000)
    found = compute(Netlist(synthesize("float_multiply", sources=sources)), 3, a=a, b=b)
    assert (found != numpy_product(a, b)).any()
