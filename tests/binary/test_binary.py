"""BinaryConnect and BinaryNet: against brevitas, plain Python and probability theory."""

import math

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from brevitas.core.quant import BinaryQuant, ClampedBinaryQuant
from brevitas.core.scaling import ConstScaling
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import binomtest
from strategies import BAD_FLOATS, BAD_VALUES, DTYPES, same_bits, tensors
from torch import nn

from fewbits.binary import (
    BinaryConnect,
    SignActivation,
    binary_inner_product,
    clip_latent,
    glorot_coefficient,
    glorot_groups,
    latent_weights,
    probability_of_plus,
)
from fewbits.core.packing import pack_signs, unpack
from fewbits.core.quantizer import quantize_weights, stored_bits, weight_quantizers
from fewbits.training import seed_everything

QUANTIZERS = {
    "weights": BinaryConnect,
    "stochastic, eval mode": lambda: BinaryConnect(stochastic=True).eval(),
    "activations": SignActivation,
}


def net() -> nn.Sequential:
    """A small network whose middle layer alone is quantized."""
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(6, 5), nn.Linear(5, 4), nn.Linear(4, 3))


# --- the quantizers ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", QUANTIZERS)
@pytest.mark.parametrize("dtype", DTYPES)
def test_simulated_and_stored_agree_and_take_one_bit(name, dtype):
    quantizer = QUANTIZERS[name]()

    @given(tensors(dtype))
    def check(x):
        y, codes = quantizer(x), quantizer.encode(x)
        expected = [1.0 if value >= 0 else -1.0 for value in x.flatten().tolist()]
        assert y.flatten().tolist() == expected
        assert y.dtype == dtype
        assert same_bits(y, codes.decode())
        assert same_bits(quantizer(y), y)
        assert codes.bits == 1
        assert len(codes.packed()) == -(-x.numel() // 8)
        assert codes.nbits == x.numel() + 32  # the scale, 1; the two levels are no data
        assert unpack(codes.packed(), 1, x.numel()).tolist() == [int(value > 0) for value in expected]

    check()


def test_the_sign_of_both_zeros_is_plus():
    zeros = torch.tensor([0.0, -0.0])
    for make in QUANTIZERS.values():
        assert make()(zeros).tolist() == [1.0, 1.0]


@given(tensors(odd_layouts=False))
def test_brevitas_gives_the_same_weights_and_gradients(x):
    reference = BinaryQuant(ConstScaling(1.0))
    grads = []
    for quantize in (BinaryConnect(), lambda w: reference(w)[0]):
        w = x.flatten().requires_grad_()
        y = quantize(w)
        y.backward(torch.linspace(-1, 2, x.numel()))
        grads.append((y.detach(), w.grad))
    assert torch.equal(grads[0][0], grads[1][0])
    assert torch.equal(grads[0][1], grads[1][1])


@given(tensors(odd_layouts=False))
def test_brevitas_gives_the_same_activations_and_gradients(x):
    x = x[(x.abs() - 1).abs() > 1e-6]  # what a clamp does on its border is nobody's definition
    if not x.numel():
        return
    reference = ClampedBinaryQuant(ConstScaling(1.0))
    grads = []
    for quantize in (SignActivation(), lambda a: reference(a)[0]):
        a = x.clone().requires_grad_()
        y = quantize(a)
        y.sum().backward()
        grads.append((y.detach(), a.grad))
    assert torch.equal(grads[0][0], grads[1][0])
    assert torch.equal(grads[0][1], grads[1][1])


def test_the_window_of_the_activation_includes_its_border():
    x = torch.tensor([-1.0001, -1.0, 0.0, 1.0, 1.0001, math.inf, math.nan], requires_grad=True)
    y = SignActivation()(x)
    y.sum().backward()
    assert y.tolist() == [-1, -1, 1, 1, 1, 1, -1]
    assert x.grad.tolist() == [0, 1, 1, 1, 0, 0, 0]


@pytest.mark.parametrize("make", QUANTIZERS.values())
@pytest.mark.parametrize(("x", "error", "message"), BAD_FLOATS.values())
def test_bad_types_are_refused(make, x, error, message):
    for method in (make(), make().encode):
        with pytest.raises(error, match=message):
            method(x)


@pytest.mark.parametrize(("x", "error", "message"), BAD_VALUES.values())
def test_values_that_are_not_finite_are_refused(x, error, message):
    for method in (BinaryConnect(), BinaryConnect(stochastic=True), BinaryConnect().encode, SignActivation().encode):
        with pytest.raises(error, match=message):
            method(x)


# --- stochastic BinaryConnect --------------------------------------------------------------------------------------


def test_plus_is_drawn_with_the_hard_sigmoid():
    """Nine two-sided binomial tests at 1e-7 each: a right implementation fails with probability < 1e-6."""
    seed_everything(1)
    count = 40_000
    quantizer = BinaryConnect(stochastic=True)
    for weight in (-1.5, -1.0, -0.9, -0.4, -0.01, 0.0, 0.3, 0.98, 1.0):
        drawn = quantizer(torch.full((count,), weight))
        assert set(drawn.tolist()) <= {-1.0, 1.0}
        plus = int((drawn == 1).sum())
        probability = min(max((weight + 1) / 2, 0.0), 1.0)
        assert probability_of_plus(torch.tensor(weight)).item() == pytest.approx(probability, abs=1e-7)
        assert binomtest(plus, count, probability).pvalue > 1e-7, (weight, plus)


def test_each_draw_is_new_independent_of_its_neighbour_and_seeded():
    """In two tests at 1e-7 for dependence, a right implementation fails with probability 2e-7."""
    quantizer = BinaryConnect(stochastic=True)
    w = torch.zeros(20_000)
    seed_everything(2)
    first, second = quantizer(w), quantizer(w)
    for a, b in ((first[:-1], first[1:]), (first, second)):
        assert binomtest(int((a == b).sum()), len(a), 0.5).pvalue > 1e-7
    seed_everything(2)
    assert torch.equal(quantizer(w), first)


def test_only_training_draws_and_the_gradient_is_straight():
    quantizer = BinaryConnect(stochastic=True)
    w = torch.linspace(-2, 2, 41, requires_grad=True)
    grad = torch.linspace(1, 3, 41)
    quantizer(w).backward(grad)
    assert torch.equal(w.grad, grad)
    sign = torch.where(w >= 0, 1.0, -1.0)
    assert torch.equal(quantizer.eval()(w), sign)
    assert torch.equal(quantizer.train().encode(w).decode(), sign)
    assert not any(torch.equal(quantizer(0 * w), quantizer(0 * w)) for _ in range(3))


# --- training ------------------------------------------------------------------------------------------------------


def test_one_step_moves_the_latent_weight_by_the_gradient_at_the_binary_one():
    model = quantize_weights(net(), BinaryConnect)
    latent = model[1].parametrizations.weight.original
    before = latent.detach().clone()
    x = torch.randn(7, 6)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    hidden = model[0](x).detach()
    binary = before.sign().requires_grad_()
    model[2](F.linear(hidden, binary, model[1].bias)).square().sum().backward()
    model.zero_grad()
    model(x).square().sum().backward()
    optimizer.step()
    torch.testing.assert_close(latent.detach(), before - 0.1 * binary.grad)


def test_clip_latent_clips_latent_weights_and_nothing_else():
    model = quantize_weights(net(), BinaryConnect)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.mul_(10)
    before = {name: parameter.detach().clone() for name, parameter in model.named_parameters()}
    assert clip_latent(model) is None
    for name, parameter in model.named_parameters():
        expected = before[name].clamp(-1, 1) if name == "1.parametrizations.weight.original" else before[name]
        assert torch.equal(parameter, expected)
    assert before["1.parametrizations.weight.original"].abs().max() > 1


def test_latent_weights_are_used_inside_the_context_only():
    model = quantize_weights(net(), lambda: BinaryConnect(stochastic=True))
    latent = model[1].parametrizations.weight.original
    with latent_weights(model):
        assert torch.equal(model[1].weight, latent)
        model.eval()
    assert torch.equal(model[1].weight, latent.sign())  # eval() inside the context has reached the quantizer
    with pytest.raises(RuntimeError, match="stop"), latent_weights(model):
        raise RuntimeError("stop")
    assert torch.equal(model[1].weight, latent.sign())


def test_glorot_groups_divide_by_the_coefficient():
    model = quantize_weights(net(), BinaryConnect, skip=("first",))
    coefficients = [math.sqrt(1.5 / (5 + 4)), math.sqrt(1.5 / (4 + 3))]
    for power in (1, 2):
        rest, *scaled = glorot_groups(model, 0.01, power)
        assert rest["lr"] == 0.01
        assert [group["lr"] for group in scaled] == pytest.approx([0.01 / c**power for c in coefficients])
        assert [group["params"] for group in scaled] == [[latent] for _, _, latent in weight_quantizers(model)]
        everything = [p for group in (rest, *scaled) for p in group["params"]]
        assert {id(p) for p in everything} == {id(p) for p in model.parameters()}
        assert len(everything) == len(list(model.parameters()))
    torch.optim.Adam(glorot_groups(model, 0.01))


def test_the_coefficient_of_a_convolution_counts_its_window():
    assert glorot_coefficient(torch.empty(8, 3, 5, 5)) == pytest.approx(math.sqrt(1.5 / (25 * (8 + 3))))


def test_a_binary_layer_takes_a_thirty_second_of_its_memory():
    model = quantize_weights(nn.Sequential(nn.Linear(256, 128, bias=False)), BinaryConnect, skip=())
    assert stored_bits(model) == 256 * 128 + 32
    assert len(model[0].parametrizations.weight[0].encode(model[0].weight.detach()).packed()) * 32 == 256 * 128 * 4


# --- XNOR and popcount ---------------------------------------------------------------------------------------------


def words_by_hand(x: torch.Tensor) -> list[int]:
    signs = [int(value >= 0) for value in x.tolist()]
    number = sum(bit << i for i, bit in enumerate(signs))
    return [number >> shift & (2**64 - 1) for shift in range(0, len(signs), 64)]


@given(st.data(), st.integers(1, 200))
def test_packed_product_equals_the_product_of_floats(data, count):
    a = data.draw(tensors(shape=(3, 1, count)))
    b = data.draw(tensors(shape=(2, count)))
    words_a, words_b = pack_signs(a), pack_signs(b)
    assert words_a.shape == (3, 1, -(-count // 64))
    assert words_a[1, 0].tolist() == words_by_hand(a[1, 0])
    signs_a, signs_b = (torch.where(x >= 0, 1.0, -1.0) for x in (a, b))
    product = binary_inner_product(words_a, words_b, count)
    assert product.dtype == np.int64
    assert product.tolist() == (signs_a[:, 0] @ signs_b.T).tolist()


@pytest.mark.parametrize("count", [1, 63, 64, 65, 127, 128, 129])
def test_the_extremes_are_reached_whatever_the_padding(count):
    plus, minus = pack_signs(torch.ones(count)), pack_signs(-torch.ones(count))
    assert binary_inner_product(plus, plus, count) == count
    assert binary_inner_product(minus, minus, count) == count
    assert binary_inner_product(plus, minus, count) == -count


def test_a_binary_linear_layer_by_words_equals_the_layer():
    layer = quantize_weights(nn.Sequential(nn.Linear(100, 16, bias=False)), BinaryConnect, skip=())
    x = SignActivation()(torch.randn(32, 100))
    products = binary_inner_product(pack_signs(x)[:, None], pack_signs(layer[0].weight), 100)
    assert products.tolist() == layer(x).tolist()


def test_words_that_do_not_fit_are_refused():
    words = pack_signs(torch.ones(100))
    with pytest.raises(ValueError, match="a has 2 words; 200 signs take 4"):
        binary_inner_product(words, words, 200)
    with pytest.raises(ValueError, match="b has 1 words; 100 signs take 2"):
        binary_inner_product(words, words[:1], 100)
    with pytest.raises(TypeError, match="b must hold uint64 words, got int64"):
        binary_inner_product(words, words.astype(np.int64), 100)
    with pytest.raises(ValueError, match="x must have at least one axis"):
        pack_signs(torch.tensor(1.0))
