"""Integer networks on compiled kernels against their steps: the same codes, on each path."""

from dataclasses import replace
from itertools import pairwise

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from fewbits.bitwise import dots, isa
from fewbits.bn_folding import fold_model
from fewbits.integer import Layer, prepare, to_integers
from fewbits.integer.kernels import compile_network
from fewbits.nets import LeNet5, ResNet18

PATHS = [name for name in dots.KERNELS if name in isa.available()]


def integers(model: nn.Module, images: torch.Tensor, bits: int = 8, **more):
    return to_integers(prepare(fold_model(model.eval()), images, bits, bits), images[:1], **more)


def assert_same(network, images: torch.Tensor) -> set[str]:
    """The names of the kernels that ran."""
    codes = network.grids["input"].encode(images)
    for path in PATHS:
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv("FEWBITS_ISA", path)
            fast = compile_network(network)
        assert torch.equal(fast(codes), network(codes)), path
    return set(fast.kernels.values())


@settings(deadline=None, max_examples=40)  # a new path compiles
@given(
    st.sampled_from([1, 3, 16, 17, 33]),
    st.sampled_from([1, 5, 16, 31, 40]),
    st.sampled_from([1, 2, 3]),
    st.sampled_from([1, 2]),
    st.sampled_from([0, 1, 2]),
    st.sampled_from([3, 5, 8]),
    st.integers(0, 1000),
)
def test_convolutions_of_all_shapes(channels, filters, kernel, stride, padding, side, seed):
    torch.manual_seed(seed)
    first = nn.Conv2d(channels, filters, kernel, stride, padding)
    images = torch.randn(3, channels, side, side + 1)  # a zero point that is not 0
    assert assert_same(integers(nn.Sequential(first, nn.ReLU()), images), images) == {"products"}


@pytest.mark.parametrize("channels", [16, 17, 32, 40])
@pytest.mark.parametrize(("kernel", "stride", "padding"), [(3, 1, 1), (3, 2, 1), (2, 1, 0), (5, 2, 2)])
def test_depthwise_convolutions(channels, kernel, stride, padding):
    torch.manual_seed(channels)
    layer = nn.Conv2d(channels, channels, kernel, stride, padding, groups=channels)
    images = torch.randn(2, channels, 6, 7)
    assert assert_same(integers(nn.Sequential(layer), images), images) == {"depthwise"}


@pytest.mark.parametrize(("sizes", "count"), [((4, 2), 1), ((13, 40, 10), 7), ((784, 100, 10), 65), ((64, 33, 5), 130)])
def test_linear_layers(sizes, count):
    torch.manual_seed(count)
    layers = [nn.Linear(*pair) for pair in pairwise(sizes)]
    images = torch.rand(count, sizes[0])
    assert assert_same(integers(nn.Sequential(*layers), images), images) == {"products"}


def test_whole_networks():
    torch.manual_seed(0)
    images = torch.rand(2, 1, 28, 28)
    assert {"products", "flatten"} <= assert_same(integers(LeNet5(), images), images)
    images = torch.rand(2, 3, 16, 16)
    assert {"products", "add"} <= assert_same(integers(ResNet18(), images), images)


@pytest.mark.parametrize("sides", [(9, 10), (20, 21)])  # PyTorch counts small images of bytes in a byte
def test_pools_of_many_channels_have_a_kernel_and_few_do_not_matter(sides):
    torch.manual_seed(0)
    images = torch.rand(2, 3, *sides)
    for filters in (4, 16, 24):
        model = nn.Sequential(nn.Conv2d(3, filters, 3), nn.ReLU(), nn.MaxPool2d(3, 2), nn.Conv2d(filters, 2, 1))
        assert "max" in assert_same(integers(model, images), images)


@pytest.mark.parametrize("rounding", ["away", "even", "double"])
def test_other_tie_rules_and_shapes_run_as_before(rounding):
    torch.manual_seed(0)
    images = torch.rand(2, 4, 9, 9)
    model = nn.Sequential(nn.Conv2d(4, 4, 3, groups=2), nn.ReLU(), nn.Conv2d(4, 4, 3, groups=4))
    assert assert_same(integers(model, images), images) == {"torch"}
    network = to_integers(prepare(nn.Sequential(nn.Conv2d(4, 20, 3)).eval(), images), images[:1], rounding)
    assert assert_same(network, images) == {"torch"}


def test_fractions_of_biases_and_few_bits():
    torch.manual_seed(0)
    images = torch.rand(5, 3, 6, 6)
    network = integers(nn.Sequential(nn.Conv2d(3, 20, 3), nn.ReLU()), images, 4, bias_fraction=6)
    assert assert_same(network, images) == {"products"}


def test_codes_outside_the_grid_are_refused():
    images = torch.rand(2, 4)
    fast = compile_network(integers(nn.Sequential(nn.Linear(4, 2)), images))
    with pytest.raises(TypeError, match="codes"):
        fast(images)
    with pytest.raises(ValueError, match="codes"):
        fast(torch.full((1, 4), 300))


def test_a_step_of_another_class_computes_what_it_says():
    class Zero(Layer):
        def accumulate(self, x):
            return super().accumulate(x) * 0

    torch.manual_seed(0)
    images = torch.rand(3, 8)
    network = integers(nn.Sequential(nn.Linear(8, 4)), images)
    changed = replace(network, steps={name: Zero(**vars(step)) for name, step in network.steps.items()})
    assert assert_same(changed, images) == {"torch"}


class Recalibrated(nn.Module):
    """Adds its own mean to each channel: operands of two shapes."""

    def __init__(self):
        super().__init__()
        self.first, self.last = nn.Conv2d(3, 16, 3, padding=1), nn.Conv2d(16, 5, 1)

    def forward(self, x):
        x = self.first(x).relu()
        return self.last((x + x.mean((2, 3), keepdim=True)).relu())


class Pooled(nn.Module):
    """Takes images without an axis of channels."""

    def __init__(self):
        super().__init__()
        self.layer = nn.Linear(196, 20)

    def forward(self, x):
        return self.layer(nn.functional.max_pool2d(x, 2).flatten(1))


@pytest.mark.parametrize(("model", "shape"), [(Recalibrated(), (4, 3, 8, 8)), (Pooled(), (3, 28, 28))])
def test_operands_of_two_shapes_and_pools_without_channels_run_as_before(model, shape):
    torch.manual_seed(0)
    images = torch.rand(shape)
    assert "products" in assert_same(integers(model, images), images)


def test_rows_that_are_too_long_for_the_kernel_run_as_before():
    torch.manual_seed(0)
    images = torch.rand(2, dots.MOST_LENGTH + 1)
    assert assert_same(integers(nn.Sequential(nn.Linear(images.shape[1], 2)), images), images) == {"torch"}


@pytest.mark.parametrize(
    ("layer", "shape", "other"),
    [
        (nn.Conv2d(3, 16, 3), (2, 3, 8, 8), (2, 1, 8, 8)),
        (nn.Conv2d(16, 16, 3, groups=16), (2, 16, 8, 8), (2, 8, 8, 8)),
        (nn.Conv2d(3, 16, 3), (2, 3, 8, 8), (3, 8, 8)),
        (nn.Linear(13, 20), (2, 13), (2, 10)),
        (nn.Linear(16, 20), (2, 16), (2, 8)),
        (nn.Linear(16, 20), (2, 16), (2, 16, 1, 16)),
    ],
)
def test_codes_of_another_shape_are_refused(layer, shape, other):
    torch.manual_seed(0)
    fast = compile_network(integers(nn.Sequential(layer), torch.rand(shape)))
    with pytest.raises(ValueError, match="codes of a layer must have"):
        fast(torch.zeros(other, dtype=torch.uint8))
