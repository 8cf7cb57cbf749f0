"""Shared codebooks: what is stored, what is trained, and what is refused."""

import copy

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given
from hypothesis import strategies as st
from strategies import BAD_FLOATS, BAD_VALUES, DTYPES, same_bits, shapes, tensors
from torch import nn

from fewbits.core.packing import unpack
from fewbits.core.quantizer import encode_weights, stored_bits
from fewbits.nets import LeNet5, count_parameters, lenet_300_100
from fewbits.vector import INITS, ProductQuantizer, SharedWeights, index_bits, share_weights, squared_error

K = st.integers(2, 9)


@pytest.mark.parametrize("dtype", DTYPES)
def test_shared_weights_simulated_and_stored_agree(dtype):
    @given(tensors(dtype, largest=1e30), K, st.sampled_from((*INITS, "optimal")))
    def check(x, k, init):
        quantizer = SharedWeights(x, k, init)
        y, codes = quantizer(x), quantizer.encode(x)
        assert y.dtype == dtype
        assert torch.equal(y, codes.decode())
        assert torch.equal(quantizer(y), y)
        assert ((y == 0) | (x != 0)).all()
        assert torch.equal(y[x == 0], x[x == 0])
        levels = len(quantizer.codebook())
        assert levels <= k
        assert len(codes.packed()) == -(-x.numel() * codes.bits // 8)
        assert codes.nbits == codes.bits * x.numel() + 32 * (levels + 1)
        assert torch.equal(unpack(codes.packed(), codes.bits, x.numel()), codes.values.flatten())

    check()


@given(tensors(shape=(3, 7), elements=st.integers(-40, 40).map(lambda n: n / 8)), K)
def test_enough_values_change_nothing(x, k):
    assert torch.equal(SharedWeights(x, 30, "optimal")(x), x)
    assert len(SharedWeights(x, k)(x).unique()) <= k


def test_fewer_bits_by_hand():
    x = torch.tensor([[0.9, 1.1, 0.0], [-2.0, -1.8, 0.0]])
    quantizer = SharedWeights(x, 3)
    torch.testing.assert_close(quantizer(x), torch.tensor([[1.0, 1.0, 0.0], [-1.9, -1.9, 0.0]]))
    codes = quantizer.encode(x)
    assert codes.values.tolist() == [[2, 2, 0], [1, 1, 0]]
    assert codes.bits == 2
    assert codes.packed() == bytes([0b01_00_10_10, 0b00_01])
    assert "3 values for 6 weights" in str(quantizer)


@pytest.mark.parametrize(("k", "bits"), [(1, 1), (2, 1), (3, 2), (4, 2), (5, 3), (256, 8), (257, 9)])
def test_index_bits(k, bits):
    assert index_bits(k) == bits


def test_the_gradient_of_a_centroid_is_the_sum_over_its_members():
    x = torch.randn(20, 30, dtype=torch.float64)
    x[x.abs() < 0.5] = 0
    quantizer = SharedWeights(x, 5)
    upstream = torch.randn(20, 30, dtype=torch.float64)
    latent = x.clone().requires_grad_()
    (quantizer(latent) * upstream).sum().backward()
    members = [upstream[quantizer.codes == code].sum() for code in range(1, 5)]
    torch.testing.assert_close(quantizer.centroids.grad, torch.stack(members), rtol=1e-12, atol=1e-12)
    assert latent.grad is None


def test_training_moves_the_codebook_and_nothing_else():
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(8, 6), nn.ReLU(), nn.Linear(6, 3))
    with torch.no_grad():
        model[0].weight[0] = 0
    share_weights(model, lambda name, weight: SharedWeights(weight, 4))
    codes = copy.deepcopy(encode_weights(model))
    optimizer = torch.optim.Adam([p for p in model.parameters() if p.requires_grad], 0.1, weight_decay=0.1)
    images, labels = torch.randn(32, 8), torch.randint(3, (32,))
    first = F.cross_entropy(model(images), labels)
    for _ in range(20):
        loss = F.cross_entropy(model(images), labels)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    assert loss < first
    for name, after in encode_weights(model).items():
        assert torch.equal(after.values, codes[name].values)
        assert not torch.equal(after.levels, codes[name].levels)
    assert (model[0].weight[0] == 0).all()
    # 48 codes of 2 bits and 4 levels, one of them the zero; 18 codes of 2 bits and 4 levels; a scale each; 9 biases.
    assert stored_bits(model) == 2 * (48 + 18) + 32 * (4 + 4 + 2 + 9)


def test_a_saved_network_comes_back():
    model = share_weights(nn.Sequential(nn.Linear(4, 3)), lambda name, weight: SharedWeights(weight, 4))
    other = share_weights(nn.Sequential(nn.Linear(4, 3)), lambda name, weight: SharedWeights(weight, 4))
    other.load_state_dict(model.state_dict())
    assert torch.equal(other[0].weight, model[0].weight)


# --- sub-vectors ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("shared", [True, False])
def test_product_quantizer_simulated_and_stored_agree(shared):
    @given(shapes(2, 4).flatmap(lambda shape: tensors(shape=shape, largest=100.0)), st.integers(1, 5), K)
    def check(x, d, k):
        quantizer = ProductQuantizer(x, d, k, shared)
        y, codes = quantizer(x), quantizer.encode(x)
        assert y.dtype == x.dtype
        assert same_bits(y, codes.decode())
        assert same_bits(quantizer(y), y)
        groups = -(-x[0].numel() // d)
        assert codes.values.shape == (len(x), groups)
        assert len(codes.packed()) == -(-codes.bits * codes.values.numel() // 8)
        books, entries, width = codes.codebooks.shape
        assert (books, width) == (1 if shared else groups, d)
        assert entries <= k
        assert codes.nbits == codes.bits * len(x) * groups + 32 * books * entries * d

    check()


def test_sub_vectors_by_hand():
    """Four rows of two sub-vectors; the second column of sub-vectors is the first one upside down."""
    a, b = [1.0, 2.0], [-3.0, 5.0]
    x = torch.tensor([a + b, a + b, b + a, b + a])
    for shared in (True, False):
        quantizer = ProductQuantizer(x, 2, 2, shared)
        assert torch.equal(quantizer(x), x)
        codes = quantizer.encode(x)
        assert codes.bits == 1
        assert len(codes.packed()) == 1  # 8 indices of 1 bit for 16 weights
        assert codes.nbits == 8 + 32 * 4 * (1 if shared else 2)


def test_a_row_that_does_not_divide_is_filled_up():
    x = torch.randn(10, 1, 5, 5, generator=torch.Generator().manual_seed(0))
    quantizer = ProductQuantizer(x, 4, 10)
    assert quantizer.codes.shape == (10, 7)
    assert quantizer(x).shape == x.shape


def test_one_weight_at_a_time_is_k_means():
    x = torch.randn(30, 40, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    error = (ProductQuantizer(x, 1, 8)(x) - x).square().sum().item()
    best = squared_error(x, SharedWeights(x, 8, "optimal").centroids)
    assert best <= error < 1.1 * best


def test_own_codebooks_are_closer_but_larger():
    x = torch.randn(60, 12, generator=torch.Generator().manual_seed(0)) * torch.arange(1, 13)
    one, many = ProductQuantizer(x, 3, 8), ProductQuantizer(x, 3, 8, shared=False)
    assert (many(x) - x).square().sum() < (one(x) - x).square().sum()
    assert many.encode(x).nbits == one.encode(x).nbits + 3 * 32 * 8 * 3


@pytest.mark.parametrize("shared", [True, False])
def test_the_gradient_of_a_sub_vector_is_the_sum_over_its_members(shared):
    x = torch.randn(9, 7, dtype=torch.float64)
    quantizer = ProductQuantizer(x, 3, 4, shared)
    upstream = torch.randn(9, 7, dtype=torch.float64)
    (quantizer(x) * upstream).sum().backward()
    filled = F.pad(upstream, (0, 2)).unflatten(1, (3, 3))
    expected = torch.zeros_like(quantizer.codebooks)
    for row in range(9):
        for group in range(3):
            expected[0 if shared else group, quantizer.codes[row, group]] += filled[row, group]
    torch.testing.assert_close(quantizer.codebooks.grad, expected)


# --- bad input --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("make", [lambda x: SharedWeights(x, 4), lambda x: ProductQuantizer(x, 2, 4)])
def test_bad_weights_are_named(make):
    for value, error, message in (BAD_FLOATS | BAD_VALUES).values():
        with pytest.raises(error, match=message):
            make(value)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: SharedWeights(torch.ones(3), 1), "k must be at least 2, got 1"),
        (lambda: SharedWeights(torch.ones(3), 4, "best"), "init must be one of"),
        (lambda: SharedWeights(torch.ones(3), 4)(torch.ones(4)), r"x has shape \(4,\); .* made for \(3,\)"),
        (lambda: SharedWeights(torch.ones(3), 4).encode(torch.ones(1, 3)), r"x has shape \(1, 3\)"),
        (lambda: ProductQuantizer(torch.ones(3), 1, 2), "at least two axes"),
        (lambda: ProductQuantizer(torch.ones(3, 3), 0, 2), "d must be at least 1 and k at least 2, got 0 and 2"),
        (lambda: ProductQuantizer(torch.ones(3, 3), 1, 1), "got 1 and 1"),
        (lambda: ProductQuantizer(torch.ones(3, 3), 1, 2)(torch.ones(9)), r"made for \(3, 3\)"),
        (lambda: index_bits(0), "k must be at least 1"),
        (lambda: share_weights(nn.Sequential(nn.ReLU()), None), "no linear or convolution layer"),
    ],
)
def test_bad_arguments_are_named(call, message):
    with pytest.raises(ValueError, match=message):
        call()


def test_a_layer_is_shared_once():
    model = share_weights(nn.Sequential(nn.Linear(4, 3)), lambda name, weight: SharedWeights(weight, 4))
    with pytest.raises(ValueError, match=r"\['0'\] are parametrized already"):
        share_weights(model, lambda name, weight: SharedWeights(weight, 4))


# --- the two LeNets ---------------------------------------------------------------------------------------------------


def test_the_lenets_have_the_parameters_of_the_papers():
    for model, count in ((lenet_300_100(), 266_610), (LeNet5(), 431_080)):
        assert count_parameters(model) == count
        assert model(torch.zeros(2, 1, 28, 28)).shape == (2, 10)
