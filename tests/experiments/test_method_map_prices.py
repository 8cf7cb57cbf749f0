"""Prices of the map on images: constant weights, multiplier blocks, energy, time on a CPU."""

import functools

import numpy as np
import pandas as pd
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from fewbits.binary import BinaryConnect
from fewbits.compensation import MXQuantizer, NVFP4Quantizer
from fewbits.core.codes import Codes
from fewbits.core.quantize import quantize
from fewbits.core.quantizer import encode_weights
from fewbits.experiments.compensation.circuits import UNITS as BLOCK_UNITS
from fewbits.experiments.method_map import prices
from fewbits.experiments.method_map.circuits import UNITS
from fewbits.inq import InqQuantizer
from fewbits.learned_step import LSQ
from fewbits.logarithmic import LogQuantizer
from fewbits.nets import VGGSmall
from fewbits.ternary import TWN, ExactTernary
from fewbits.uniform import UniformQuantizer

GRIDS = {
    "sign": BinaryConnect,
    "TWN": TWN,
    "exact ternary": ExactTernary,
    "LSQ": lambda: LSQ(2),
    "uniform": lambda: UniformQuantizer(3, channel_axis=0),
    "log": lambda: LogQuantizer(4),
    "INQ": lambda: InqQuantizer(5),
}


def codes_of(quantizer, seed=0, shape=(8, 4, 3, 3)):
    weights = torch.randn(shape, generator=torch.Generator().manual_seed(seed))
    quantizer(weights)  # a learned step starts
    return quantizer.encode(weights)


def with_levels(codes: Codes, levels: tuple[float, ...]) -> Codes:
    return Codes(codes.values % 3, 2, torch.tensor(1.0), levels=torch.tensor(levels), signed=False)


@pytest.mark.parametrize("name", GRIDS)
@settings(deadline=None, max_examples=10)
@given(seed=st.integers(0, 2**32 - 1))
def test_weights_are_multiples_of_whole_numbers(name, seed):
    codes = codes_of(GRIDS[name](), seed)
    whole, real = prices.whole_numbers(codes), codes.decode().flatten(1)
    for row, weights in zip(whole, real, strict=True):
        place = int(row.abs().argmax())
        assert not row.any() if not weights.any() else torch.allclose(row * weights[place] / row[place], weights)


@pytest.mark.parametrize(("quantizer", "block"), [(MXQuantizer, 32), (NVFP4Quantizer, 16)])
def test_a_block_has_its_own_row(quantizer, block):
    codes = codes_of(quantizer())
    rows, real = prices.constants(codes), codes.decode().flatten(1)[:, :32].numpy()
    assert len(rows) == 8 * 32 // block
    for part in range(32 // block):
        ours, theirs = rows[8 * part : 8 * (part + 1)], real[:, block * part : block * (part + 1)]
        assert not np.delete(ours, np.s_[block * part : block * (part + 1)], axis=1).any()
        ours = ours[:, block * part : block * (part + 1)]
        scales = np.abs(theirs).max(1) / np.abs(ours).max(1)
        np.testing.assert_allclose(ours * scales[:, None], theirs, rtol=1e-6)


def test_two_magnitudes_are_two_rows():
    codes = with_levels(codes_of(TWN()), (-0.5, 0.0, 0.25))
    rows = prices.whole_numbers(codes)
    assert rows.shape == (16, 36)
    real = codes.decode().flatten(1)
    assert torch.allclose(0.25 * rows[:8] - 0.5 * rows[8:], real)


def test_a_codebook_is_rounded_to_eight_bits():
    levels = (-1.0, -0.3, 0.1, 0.77)
    codes = with_levels(codes_of(TWN()), levels)
    rows = prices.whole_numbers(codes)
    assert rows.abs().max() <= 127
    assert torch.allclose(rows / 127, codes.decode().flatten(1), atol=0.5 / 127)


def test_tables_of_constants_by_hand():
    """One layer of one filter with weights 1 and -1 by activations of 8 bits: one adder of 10 bits for two products."""
    model = torch.nn.Sequential(torch.nn.Linear(2, 1, bias=False))
    model[0].weight.data = torch.tensor([[1.0, -1.0]])
    model = quantize(model, BinaryConnect)
    works = prices.works_of(model, (2,))
    assert prices.constant_tables(model, [{"sign × 8 bits": 1}], works) == 10 / 2
    assert prices.constant_tables(model, [{"sign × 2 bits": 1}], works) == 4 / 2
    assert prices.constant_tables(model, [], works) is None


def test_float_weights_have_no_constant_price():
    model = VGGSmall(3, 8, 10, (4,) * 6).eval()
    works = prices.works_of(model, (3, 8, 8))
    assert prices.constant_tables(model, [{"float × float": 1}] * 7, works) is None


def test_fewer_bits_make_cheaper_constants():
    found = []
    for bits in (8, 4, 3, 2):
        torch.manual_seed(0)
        model = quantize(VGGSmall(3, 8, 10, (16,) * 6).eval(), functools.partial(UniformQuantizer, bits))
        works = prices.works_of(model, (3, 8, 8))
        found.append(prices.constant_tables(model, [{f"{bits} bits × 8 bits": 1}] * 7, works))
    assert found == sorted(found, reverse=True)
    assert found[0] > 2 * found[-1] > 0


@pytest.mark.parametrize(
    ("unit", "expected"),
    [
        ("float × float", 4.6),
        ("8 bits × 8 bits", 0.2 + 21 * 0.1 / 32),
        ("4 bits × 4 bits", 0.05 + 13 * 0.1 / 32),
        ("sign × 8 bits", 14 * 0.1 / 32),
        ("ternary × 8 bits", 14 * 0.1 / 32),
        ("sign × sign", 7 * 0.1 / 32),
        ("INQ × 8 bits", (16 + 21) * 0.1 / 32),
        ("codebook of 16 × 8 bits", 0.2 + 21 * 0.1 / 32),
    ],
)
def test_energy_by_hand(unit, expected):
    assert prices.picojoules(unit) == pytest.approx(expected)


def test_every_unit_has_an_energy_and_a_kernel():
    for unit in [*UNITS, *(name for name in BLOCK_UNITS if name != "E2M1 × 8 bits")]:
        assert 0 < prices.picojoules(unit) <= prices.picojoules("float × float")
        assert prices.kernel_of(unit) in prices.KERNELS
    with pytest.raises(ValueError, match="unknown unit 'nothing'"):
        prices.picojoules("nothing")


@pytest.mark.parametrize(
    ("unit", "kernel"),
    [
        ("float × float", "float32"),
        ("ternary × 8 bits", "bytes"),
        ("log 4 bits × 8 bits", "bytes"),  # 2^0 to 2^6
        ("INQ × 8 bits", "float32"),  # 2^7 is no byte
        ("codebook of 16 × 8 bits", "float32"),
        ("MXFP4 × 8 bits", "float32"),
        ("sign × sign", "signs"),
    ],
)
def test_kernels(unit, kernel):
    assert prices.kernel_of(unit) == kernel


def test_time_of_a_network_is_that_of_its_layers():
    rows = [(0, "float32", 5.0), (0, "bytes", 2.0), (1, "float32", 7.0), (1, "bytes", 3.0), (1, "signs", 1.0)]
    times = pd.DataFrame(rows, columns=["layer", "kernel", "ms"])
    assert prices.milliseconds([{"float × float": 1}] * 2, times) == 12
    assert prices.milliseconds([{"sign × sign": 1}] * 2, times) == 3  # the first layer has no kernel of signs
    assert prices.milliseconds([{"0 or 1 × 8 bits": 2}] * 2, times) == 10
    mixed = {"2 bits × 8 bits": 0.25, "4 bits × 8 bits": 0.75}
    assert prices.milliseconds([mixed, mixed], times) == 5


def test_race_has_every_layer_and_kernel():
    torch.manual_seed(0)
    model = VGGSmall(3, 32, 10, (16,) * 6).eval()
    rows = pd.DataFrame(prices.race(model, torch.rand(4, 3, 32, 32), rounds=1))
    assert rows.groupby("layer").size().tolist() == [2, 4, 4, 4, 4, 4, 2]
    assert (rows.ms > 0).all()
    assert (rows[rows.kernel == "float32"].speedup == 1).all()


def test_planes_are_convolutions():
    """What is timed computes what its name says."""
    torch.manual_seed(0)
    layer = torch.nn.Conv2d(64, 32, 3, padding=1, bias=False)
    codes = np.random.default_rng(0).integers(0, 256, (1, 8, 8, 64), np.uint8)
    words = prices._of_planes(layer, codes, 1)()
    signs = torch.where(torch.from_numpy(codes >= 128), 1.0, -1.0).permute(0, 3, 1, 2)
    sums = torch.nn.functional.conv2d(signs, torch.where(layer.weight >= 0, 1.0, -1.0), padding=1)
    expected = (sums >= 0).permute(0, 2, 3, 1).reshape(-1, 32).numpy()
    assert (np.unpackbits(words.view(np.uint8), axis=1, bitorder="little")[:, :32] == expected).all()


def test_codes_of_every_method_are_read():
    """A network of each grid; the codes come from the network, as in the driver."""
    for make in GRIDS.values():
        torch.manual_seed(0)
        model = quantize(VGGSmall(3, 8, 10, (4,) * 6).eval(), make)
        with torch.no_grad():
            model(torch.rand(2, 3, 8, 8))
        for codes in encode_weights(model).values():
            assert prices.constants(codes).shape[1] <= 32
