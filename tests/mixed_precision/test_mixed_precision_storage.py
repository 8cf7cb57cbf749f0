"""Filter-wise codes, distribution-based steps and sensitivity: packed and measured, against closed forms and loops."""

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from strategies import BAD_BITS, BAD_FLOATS, BAD_VALUES, DTYPES, same_bits, tensors
from torch import nn

from fewbits.core.filter_codes import HEADER_BITS, FilterCodes, nearest_code, unpack_filters
from fewbits.core.packing import code_range
from fewbits.core.quantizer import quantize_weights, stored_bits, weight_layers
from fewbits.mixed_precision import DistributionQuantizer, filter_sensitivity, layer_sensitivity
from fewbits.nets import MLP
from fewbits.uniform import UniformQuantizer


@st.composite
def filter_codes(draw):
    """Codes of some filters, of some widths, on some axis."""
    widths = draw(st.lists(st.integers(1, 16), min_size=1, max_size=6))
    size = draw(st.integers(1, 5))
    rows = [draw(st.lists(integers_of_one(width), min_size=size, max_size=size)) for width in widths]
    values = torch.tensor(rows, dtype=torch.int32).reshape(len(widths), size)
    scale = torch.tensor(draw(st.lists(st.floats(2**-10, 8, width=32), min_size=len(widths), max_size=len(widths))))
    if draw(st.booleans()):
        return FilterCodes(values, torch.tensor(widths), scale[:, None], 0)
    return FilterCodes(values.T, torch.tensor(widths), scale[None], -1)


def integers_of_one(width):
    low, high = code_range(width, signed=True)
    return st.one_of(st.sampled_from([low, high]), st.integers(low, high))


# --- codes with a width per filter ------------------------------------------------------------------------------------


def test_by_hand():
    values = torch.tensor([[3, -4], [1, -2], [0, 3]], dtype=torch.int8)
    codes = FilterCodes(values, torch.tensor([3, 2, 3]), torch.tensor([[0.5], [2.0], [1.0]]))
    assert codes.decode().tolist() == [[1.5, -2], [2, -4], [0, 3]]
    assert codes.nbits == 3 * 2 + 2 * 2 + 3 * 2 + 3 * HEADER_BITS
    # widths 2, 1, 2 in 4 bits each; three float32; the 2-bit filter; the two 3-bit filters
    scales = bytes.fromhex("0000003f 00000040 0000803f".replace(" ", ""))
    assert codes.packed() == bytes([0x12, 0x02]) + scales + bytes([0b10_01]) + bytes([0b00_100_011, 0b0110])


@given(filter_codes())
def test_what_is_packed_can_be_read_back(codes):
    data = codes.packed()
    back = unpack_filters(data, tuple(codes.values.shape), codes.channel_axis)
    assert torch.equal(back.values, codes.values)
    assert torch.equal(back.bits.long(), codes.bits)
    assert same_bits(back.decode(), codes.decode())
    parts = 1 + len(codes.bits.unique())
    assert 0 <= 8 * len(data) - codes.nbits <= 7 * parts
    for damaged in (data[:-1], data + b"\0", b""):
        with pytest.raises(ValueError, match="data has"):
            unpack_filters(damaged, tuple(codes.values.shape), codes.channel_axis)


def test_a_damaged_header_is_noticed():
    codes = FilterCodes(torch.ones(2, 8, dtype=torch.int32), torch.tensor([2, 2]), torch.ones(2, 1))
    data = bytearray(codes.packed())
    data[0] += 1  # the first filter now claims 3 bits
    with pytest.raises(ValueError, match="data has"):
        unpack_filters(bytes(data), (2, 8))


@pytest.mark.parametrize(
    ("values", "bits", "scale", "error", "message"),
    [
        (torch.tensor([[4], [0]]), [3, 3], torch.ones(2, 1), ValueError, "values must lie between -4 and 3"),
        (torch.tensor([[0.0], [0]]), [3, 3], torch.ones(2, 1), TypeError, "values must be an integer tensor"),
        (torch.tensor([[0], [0]]), [3], torch.ones(2, 1), ValueError, r"bits must have shape \(2,\)"),
        (torch.tensor([[0], [0]]), [3, 17], torch.ones(2, 1), ValueError, "bits must lie between 1 and 16"),
        (torch.tensor([[0], [0]]), [0, 3], torch.ones(2, 1), ValueError, "bits must lie between 1 and 16"),
        (torch.tensor([[0], [0]]), [3.0, 3.0], torch.ones(2, 1), TypeError, "bits must be an integer tensor"),
        (torch.tensor([[0], [0]]), [3, 3], torch.ones(2), ValueError, r"scale must have shape \(2, 1\)"),
        (torch.empty(0, 3, dtype=torch.int32), [], torch.ones(0, 1), ValueError, r"values are empty: shape \(0, 3\)"),
        (torch.empty(2, 0, dtype=torch.int32), [3, 3], torch.ones(2, 1), ValueError, "values are empty"),
    ],
)
def test_bad_codes_are_refused(values, bits, scale, error, message):
    with pytest.raises(error, match=message):
        FilterCodes(values, torch.tensor(bits), scale)


@given(st.integers(-40, 40), st.integers(1, 40))
def test_the_nearest_code_rounds_halves_away_from_zero(numerator, denominator):
    code = nearest_code(torch.tensor(float(numerator)), torch.tensor(float(denominator)))
    assert code.item() == math.copysign((2 * abs(numerator) + denominator) // (2 * denominator), numerator)


# --- distribution-based steps -----------------------------------------------------------------------------------------


def test_step_and_bits_by_hand():
    x = torch.tensor([[3.0, -1.0, 1.0, -3.0], [1.0, -1.0, 1.0, -1.0], [0.0, 0.0, 0.0, 0.0]])
    step, bits = DistributionQuantizer(0.5).steps_and_bits(x)  # σ = √5, 1, 0
    assert step.flatten().tolist() == pytest.approx([0.5 * math.sqrt(5), 0.5, 1])
    assert bits.tolist() == [3, 3, 2]  # K = 3 (2.68 rounded), 2, and at least 1
    assert DistributionQuantizer(0.5)(x)[1].tolist() == [1, -1, 1, -1]
    assert DistributionQuantizer(10.0)(x).tolist() == [[0.0] * 4] * 3


@pytest.mark.parametrize("dtype", DTYPES)
@given(data=st.data())
def test_simulated_and_stored_agree(dtype, data):
    x = data.draw(tensors(dtype, shape=(3, 4), largest=1e30))
    axis = data.draw(st.sampled_from([0, 1]))
    quantizer = DistributionQuantizer(data.draw(st.floats(0.01, 5)), axis, data.draw(st.integers(2, 10)))
    y, codes = quantizer(x), quantizer.encode(x)
    assert torch.equal(y, codes.decode())
    assert same_bits(y, y + 0.0)  # no -0.0
    assert codes.bits.max() <= quantizer.max_bits
    assert ((y - x).abs() <= 0.51 * codes.scale).all()
    last = codes.values.abs().amax(1 - axis).clamp(min=1)
    assert (last < 2 ** (codes.bits - 1)).all()
    assert (2 * last >= 2 ** (codes.bits - 1)).all()  # one bit less would not do


def test_filters_are_scaled_alike_and_outliers_cost_bits():
    generator = torch.Generator().manual_seed(1)
    x = torch.randn(2, 10_000, generator=generator, dtype=torch.float64) * torch.tensor([[0.01], [30.0]]).double()
    quantizer = DistributionQuantizer(0.5, max_bits=16)
    error = (quantizer(x) - x).square().mean(1) / x.var(1)
    assert error.tolist() == pytest.approx([0.5**2 / 12] * 2, rel=0.03)  # step² / 12
    x[0, 0] = 1.0
    _, bits = quantizer.steps_and_bits(x)
    assert bits[0] > bits[1]


def test_its_gradient_is_straight():
    w = torch.randn(4, 6, requires_grad=True)
    grad = torch.randn(4, 6)
    DistributionQuantizer(0.5)(w).backward(grad)
    assert torch.equal(w.grad, grad)


@pytest.mark.parametrize(("x", "error", "message"), [*BAD_FLOATS.values(), *BAD_VALUES.values()])
def test_bad_weights_are_refused(x, error, message):
    for method in (DistributionQuantizer(0.5), DistributionQuantizer(0.5).encode):
        with pytest.raises(error, match=message):
            method(x)


def test_bad_arguments_are_refused():
    for ratio in (0.0, -1.0, math.nan, math.inf):
        with pytest.raises(ValueError, match="ratio must be positive and finite"):
            DistributionQuantizer(ratio)
    for bits, error in BAD_BITS.values():
        with pytest.raises(error, match="max_bits"):
            DistributionQuantizer(0.5, max_bits=bits)


def test_a_stored_network_counts_its_headers():
    torch.manual_seed(0)
    model = quantize_weights(nn.Sequential(nn.Conv2d(2, 4, 3, bias=False)), lambda: DistributionQuantizer(0.5), skip=())
    _, bits = DistributionQuantizer(0.5).steps_and_bits(model[0].parametrizations.weight.original)
    assert stored_bits(model) == 18 * bits.sum() + 4 * (4 + 32)


# --- sensitivity ------------------------------------------------------------------------------------------------------


def network() -> MLP:
    torch.manual_seed(0)
    return MLP((4, 3, 5, 2)).eval()


def total(model: nn.Module) -> float:
    """A score that sees every weight."""
    return sum(layer.weight.double().sum().item() for layer in weight_layers(model).values())


def test_sensitivity_changes_one_layer_at_a_time():
    model = network()
    before = {name: layer.weight.detach().clone() for name, layer in weight_layers(model).items()}
    found = layer_sensitivity(model, lambda: UniformQuantizer(2), total)
    assert list(found) == list(before)
    for name, weight in before.items():
        change = (UniformQuantizer(2)(weight) - weight).double().sum().item()
        assert found[name] - total(model) == pytest.approx(change, abs=1e-5)
        assert same_bits(weight_layers(model)[name].weight, weight)


def test_the_changes_of_all_filters_add_up_to_that_of_their_layer():
    model = network()
    whole = layer_sensitivity(model, lambda: UniformQuantizer(3), total)
    for name, layer in weight_layers(model).items():
        single = filter_sensitivity(model, name, lambda: UniformQuantizer(3), total)
        assert len(single) == len(layer.weight)
        assert sum(value - total(model) for value in single) == pytest.approx(whole[name] - total(model), abs=1e-5)
    with pytest.raises(ValueError, match="layer_name '9' is no layer"):
        filter_sensitivity(model, "9", lambda: UniformQuantizer(3), total)


def test_the_network_is_restored_even_if_the_score_fails():
    model = network()
    before = [p.detach().clone() for p in model.parameters()]

    def fail(model):
        raise RuntimeError("score")

    with pytest.raises(RuntimeError, match="score"):
        layer_sensitivity(model, lambda: UniformQuantizer(2), fail)
    assert all(torch.equal(a, b) for a, b in zip(before, model.parameters(), strict=True))
