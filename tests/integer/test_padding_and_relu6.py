"""ReLU6 and padding of their own in integers: equal to the simulation bit for bit, to ONNX Runtime within a unit."""

import numpy as np
import pytest
import strategies  # noqa: F401  (loads the profile of the property tests)
import torch
import torch.nn.functional as F
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from fewbits.bn_folding import equalizable_pairs, equalize, fold_model
from fewbits.core.quantizer import quantize_activations
from fewbits.integer import IntegerNetwork, prepare, to_integers, write_c
from fewbits.integer.conversion import decoded
from fewbits.integer.onnx_export import run, session, to_onnx
from fewbits.integer.steps import Pad
from fewbits.nets import EfficientNetLite0
from fewbits.uniform import UniformQuantizer, quantize_model

SIDES = st.tuples(*[st.integers(-1, 3)] * 4)


def network_of(padding, activation: nn.Module, seed: int) -> nn.Module:
    """A ReLU-like function, a padding, two convolutions; sums well above 6 and below 0."""
    torch.manual_seed(seed)
    first, second = nn.Conv2d(2, 4, 3, padding=1), nn.Conv2d(4, 4, 3, 2, groups=4)
    first.weight.data *= 12
    second.weight.data *= 3
    return nn.Sequential(first, activation, nn.ZeroPad2d(padding), second, nn.ReLU6(), nn.Flatten()).double().eval()


@given(SIDES, st.integers(0, 2**31), st.sampled_from([2, 4, 8]), st.sampled_from([nn.ReLU, nn.ReLU6]))
@torch.no_grad()
def test_padded_networks_are_their_simulation_bit_for_bit(padding, seed, bits, activation):
    model = network_of(padding, activation(), seed)
    images = torch.randn(8, 2, 6, 6).double()
    prepared = prepare(model, images, bits, bits).double()
    network = to_integers(prepared, images[:1], "even")
    codes = network.grids["input"].encode(images)
    real = decoded(prepared, network)(network.grids["input"].decode(codes))
    assert torch.equal(network.output_grid.encode(real), network(codes))


@given(st.integers(0, 2**31), st.floats(0.5, 40.0), st.booleans())
@torch.no_grad()
def test_a_relu6_ends_at_6_whatever_the_range_of_the_grid(seed, high, symmetric):
    """A range that was fixed before, above 6 or below: the last code is that of 6, or the last of the grid."""
    torch.manual_seed(seed)
    model = nn.Sequential(nn.Linear(4, 8), nn.ReLU6(), UniformQuantizer(8, symmetric, signed=False)).double()
    model[0].weight.data *= 20
    model[2].set_range(0.0, high)
    images = torch.randn(64, 4).double()
    prepared = prepare(model.eval(), images).double()
    network = to_integers(prepared, images[:1], "even")
    codes = network.grids["input"].encode(images)
    real = decoded(prepared, network)(network.grids["input"].decode(codes))
    assert torch.equal(network.output_grid.encode(real), network(codes))
    assert int(network(codes).max()) == min(255, round(6 / network.output_grid.scale))


@torch.no_grad()
def test_a_relu_in_place_of_the_relu6_is_noticed():
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(4, 8), nn.ReLU6(), UniformQuantizer(8, signed=False)).double().eval()
    model[0].weight.data *= 20
    model[2].set_range(0.0, 20.0)
    images = torch.randn(64, 4).double()
    six = to_integers(prepare(model, images).double(), images[:1], "even")
    model[1] = nn.ReLU()
    codes = six.grids["input"].encode(images)
    assert not torch.equal(six(codes), to_integers(prepare(model, images).double(), images[:1], "even")(codes))


@pytest.mark.parametrize("form", ["qoperator", "qdq"])
@pytest.mark.parametrize("high", [6.0, 20.0])
@torch.no_grad()
def test_onnx_runtime_pads_and_clips_alike(form, high):
    torch.manual_seed(0)
    quantizer = UniformQuantizer(8, signed=False)
    quantizer.set_range(0.0, high)
    model = network_of((0, 1, 2, 1), nn.Sequential(nn.ReLU6(), quantizer), 0).float()
    images = torch.randn(16, 2, 6, 6)
    network = to_integers(prepare(model, images), images[:1], "even")
    codes = network.grids["input"].encode(images)
    ours, theirs = network(codes), run(session(to_onnx(network, form)), codes)
    assert (ours.int() - theirs.int()).abs().max() <= 1
    assert (ours != theirs).float().mean() < 0.01
    assert ours.unique().numel() > 15


@torch.no_grad()
def test_the_float_form_has_the_same_function():
    model = network_of((1, 2, 0, 1), nn.ReLU6(), 0).float()
    images = torch.randn(16, 2, 6, 6)
    network = to_integers(prepare(model, images), images[:1])
    (theirs,) = session(to_onnx(network, "float")).run(None, {"input": images.numpy()})
    expected = model(images)
    assert np.abs(theirs - expected.numpy()).max() < 0.3
    assert theirs.max() == 6


def test_padding_survives_a_file_and_is_refused_in_c(tmp_path):
    model = network_of((0, 1, 0, 1), nn.ReLU6(), 0).float()
    images = torch.randn(4, 2, 6, 6)
    network = to_integers(prepare(model, images), images[:1])
    network.save(tmp_path / "net")
    again, codes = IntegerNetwork.load(tmp_path / "net"), network.grids["input"].encode(images)
    assert torch.equal(again(codes), network(codes))
    assert again.steps["2"] == Pad((0, 1, 0, 1), network.grids["0"].zero_point)
    with pytest.raises(TypeError, match="2: the program in C has no step of the kind Pad"):
        write_c(network, tmp_path)


@pytest.mark.parametrize(
    "layer",
    [nn.ConstantPad2d(1, 1.0), nn.ReflectionPad2d(1), nn.ZeroPad1d(1)],
)
def test_other_paddings_are_refused_by_name(layer):
    images = torch.randn(4, 2, 6, 6)
    model = nn.Sequential(nn.Conv2d(2, 2, 3), layer, nn.Conv2d(2, 2, 1)).eval()
    with pytest.raises(TypeError, match=r"1 \(\w+Pad\dd\) has no integer form"):
        to_integers(prepare(model, images), images[:1])


def test_padding_of_vectors_is_refused():
    images = torch.randn(4, 6, 6)
    with pytest.raises(ValueError, match=r"needs inputs \(N, C, H, W\)"):
        to_integers(prepare(nn.Sequential(nn.ZeroPad2d(1), nn.Flatten(), nn.Linear(64, 2)).eval(), images), images[:1])


@torch.no_grad()
def test_equalization_reaches_through_padding_but_not_through_relu6():
    torch.manual_seed(0)
    model = nn.Sequential(nn.Conv2d(2, 4, 1), nn.ReLU(), nn.ZeroPad2d((0, 1, 0, 1)), nn.Conv2d(4, 4, 3)).eval()
    assert equalizable_pairs(model) == [("0", "3")]
    images = torch.randn(4, 2, 6, 6)
    assert torch.allclose(equalize(model)(images), model(images), atol=1e-5)
    model[1] = nn.ReLU6()
    assert equalizable_pairs(model) == []
    along = nn.Sequential(nn.Conv1d(2, 4, 1), nn.ReLU(), nn.ZeroPad2d((0, 1, 1, -1)), nn.Conv1d(4, 4, 3)).eval()
    assert equalizable_pairs(along) == []


def test_quantize_model_serves_relu6():
    torch.manual_seed(0)
    model = nn.Sequential(nn.Conv2d(2, 4, 3), nn.ReLU6(), nn.Conv2d(4, 4, 3), nn.ReLU()).eval()
    quantized = quantize_model(model, 8, 3, torch.randn(8, 2, 6, 6))
    assert quantized[1][1].bits == quantized[3][1].bits == 3
    functional = nn.Sequential(nn.Conv2d(2, 4, 3), nn.ReLU6(), Function())
    with pytest.raises(ValueError, match=r"relu6.* is a function"):
        quantize_activations(functional, lambda: UniformQuantizer(8), (nn.ReLU, nn.ReLU6))


class Function(nn.Module):
    def forward(self, x):
        return F.relu6(x)


@torch.no_grad()
def test_a_small_efficientnet_is_its_simulation_bit_for_bit():
    """All blocks at 32 × 32 pixels, with random weights and statistics of some images."""
    torch.manual_seed(0)
    model = EfficientNetLite0(classes=5)
    images = torch.randn(8, 3, 32, 32)
    model.train()(images)
    model = fold_model(model.eval()).double()
    prepared = prepare(model, images.double()).double()
    network = to_integers(prepared, images[:1].double(), "even")
    codes = network.grids["input"].encode(images.double())
    real = decoded(prepared, network)(network.grids["input"].decode(codes))
    assert torch.equal(network.output_grid.encode(real), network(codes))
    assert sum(isinstance(step, Pad) for step in network.steps.values()) == 17
