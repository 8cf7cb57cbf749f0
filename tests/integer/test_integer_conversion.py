"""From simulated to integer: bit for bit where the maths says so, within one unit elsewhere, clear refusals."""

import copy
import operator

import pytest
import strategies  # noqa: F401  (loads the profile of the property tests)
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from fewbits.bn_folding import fold_model
from fewbits.core.quantizer import quantize_weights
from fewbits.integer.conversion import decoded, to_integers
from fewbits.integer.preparation import prepare
from fewbits.integer.reading import weight_integers
from fewbits.integer.steps import Layer
from fewbits.mixed_precision import learn_weight_bits
from fewbits.mobileone import MobileNetV1, reparameterize
from fewbits.nets import MLP, LeNet5, ResNet18, VGGSmall
from fewbits.uniform import UniformQuantizer

NETWORKS = {
    "MLP": (lambda: MLP((49, 32, 10), batch_norm=True), (1, 7, 7)),
    "VGG-small": (lambda: VGGSmall(1, 16, 10, (8, 8, 8, 8, 8, 8)), (1, 16, 16)),
    "LeNet-5": (LeNet5, (1, 28, 28)),
    "MobileNet": (lambda: reparameterize(MobileNetV1(widths=(8, 16), depths=(1, 2)).eval()), (3, 16, 16)),
    "ResNet-18": (lambda: ResNet18(3, 10, "cifar"), (3, 4, 4)),
}


def simulated(name: str, bits: int = 8) -> tuple[nn.Module, torch.Tensor]:
    make, shape = NETWORKS[name]
    torch.manual_seed(0)
    images = torch.rand(24, *shape) - 0.3
    return prepare(fold_model(make().eval()), images, bits, bits).double(), images.double()


@pytest.mark.parametrize("bits", [8, 4])
@pytest.mark.parametrize("name", NETWORKS)
@torch.no_grad()
def test_with_ties_to_even_the_decoded_simulation_is_equal_bit_for_bit(name, bits):
    model, images = simulated(name, bits)
    network = to_integers(model, images[:1], "even")
    codes = network.grids["input"].encode(images)
    before = model(images)
    real = decoded(model, network)(network.grids["input"].decode(codes))
    assert torch.equal(model(images), before)
    result = network(codes)
    assert torch.equal(network.output_grid.encode(real), result)
    assert result.unique().numel() > 10  # a network that answers always the same would pass, too


@torch.no_grad()
def test_the_comparison_notices_another_tie_rule_and_another_bias():
    model, images = simulated("ResNet-18")
    network = to_integers(model, images[:1], "double")
    codes = network.grids["input"].encode(images)
    assert not torch.equal(network.output_grid.encode(decoded(model, network)(images)), network(codes))
    model, images = simulated("LeNet-5")
    network = to_integers(model, images[:1], "even")
    codes = network.grids["input"].encode(images)
    assert not torch.equal(network.output_grid.encode(model(network.grids["input"].decode(codes))), network(codes))


@settings(max_examples=40)
@given(st.integers(0, 2**31), st.integers(2, 8), st.sampled_from(["upward", "away", "even", "double"]))
@torch.no_grad()
def test_one_layer_is_within_one_unit_of_its_simulation(seed, bits, rounding):
    """The float32 simulation with its own, unrounded biases; whatever the tie rule, one step at most."""
    torch.manual_seed(seed)
    model = nn.Sequential(nn.Conv2d(2, 4, 3, padding=1), nn.ReLU())
    images = torch.randn(8, 2, 5, 5)
    prepared = prepare(model, images, bits, 8)
    network = to_integers(prepared, images[:1], rounding)
    codes = network.grids["input"].encode(images)
    expected = network.output_grid.encode(prepared(network.grids["input"].decode(codes).float()))
    assert (expected.int() - network(codes).int()).abs().max() <= 1


@torch.no_grad()
def test_fine_biases_remove_most_differences_at_few_bits():
    """At 2 bits one step of input times weight is a large number to round a bias to."""
    torch.manual_seed(0)
    images = torch.rand(200, 16).double()
    model = prepare(MLP((16, 32, 10)), images.float(), 2, 2).double()
    counts = []
    for bias_fraction in (0, 8):
        network = to_integers(model, images[:1], "even", bias_fraction)
        off = network.output_grid.encode(model(images)).int() - network(network.grids["input"].encode(images)).int()
        counts.append(int((off != 0).sum()))
    assert counts[0] > 500 > 100 > counts[1]
    with pytest.raises(ValueError, match="bias_fraction must lie"):
        to_integers(model, images[:1], "even", 17)


@torch.no_grad()
def test_powers_of_two_need_no_double_precision():
    """Scales that are powers of two and biases on their grid: float32 computes exactly, so it must agree."""
    torch.manual_seed(0)
    model = nn.Sequential(UniformQuantizer(8), nn.Linear(16, 8), nn.ReLU(), UniformQuantizer(8, signed=False))
    model[0].set_range(-127 / 64, 127 / 64)
    model[3].set_range(0, 255 / 32)
    quantize_weights(model, lambda: UniformQuantizer(8), skip=())
    model[1].parametrizations.weight[0].set_range(-127 / 256, 127 / 256)
    model[1].bias.data = torch.randint(-(2**12), 2**12, (8,)) / 2.0**14
    images = torch.randn(1000, 16)
    network = to_integers(model.eval(), images[:1], "even")
    codes = network.grids["input"].encode(images)
    assert torch.equal(network.output_grid.encode(model(images)), network(codes))
    total = network.steps["1"].accumulate(codes)
    assert (total % 512 == 256).sum() > 10  # ties do occur; one step of the output is 512 of the sum
    upward = to_integers(model, images[:1], "upward")(codes)
    assert not torch.equal(upward, network(codes))


def test_erased_channels_keep_their_bias():
    """A channel that weight decay has negligible: its weights are 1e-20 beside a bias of 0.5. Another is exactly 0."""
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(4, 3), nn.ReLU())
    with torch.no_grad():
        model[0].weight[1] *= 1e-20
        model[0].weight[2] = 0
        model[0].bias[:] = torch.tensor([0.1, 0.5, 0.25])
    images = torch.rand(32, 4)
    prepared = prepare(model, images)
    network = to_integers(prepared, images[:1])
    real = network.output_grid.decode(network(network.grids["input"].encode(images)))
    assert (real[:, 1:] - torch.tensor([0.5, 0.25])).abs().max() < network.output_grid.scale / 2 + 1e-9
    layer = network.steps["0"]
    assert layer.weight[1:].abs().sum() == 0
    assert layer.bias[1:].abs().min() >= 2**30 - 1
    assert layer.bound < 2**31


@pytest.mark.parametrize(
    ("layers", "error", "message"),
    [
        ([nn.Linear(4, 4), nn.BatchNorm1d(4)], TypeError, "BatchNorm1d.* has no integer form"),
        ([nn.Linear(4, 4), nn.Sigmoid()], TypeError, "Sigmoid.* has no integer form"),
        ([nn.Unflatten(1, (4, 1, 1)), nn.AdaptiveAvgPool2d(2)], TypeError, "has no integer form"),
        ([nn.Unflatten(1, (1, 4)), nn.Conv1d(1, 1, 3)], TypeError, "has no integer form"),
    ],
)
def test_refused_operations(layers, error, message):
    images = torch.rand(8, 4)
    with pytest.raises(error, match=message):
        to_integers(prepare(nn.Sequential(*layers), images), images[:1])


def test_refusals_name_the_place():
    images = torch.rand(8, 4)
    with pytest.raises(ValueError, match="use prepare first"):
        to_integers(nn.Sequential(nn.Linear(4, 4)).eval(), images[:1])
    prepared = prepare(nn.Sequential(nn.Linear(4, 4), nn.ReLU(), nn.Linear(4, 2)), images)
    unquantized = copy.deepcopy(prepared)
    unquantized.get_submodule("quantize__0").low.fill_(torch.nan)
    with pytest.raises(ValueError, match=r"quantize__0.*calibrate it first"):
        to_integers(unquantized, images[:1])
    prepared.get_submodule("quantize__0").set_range(0, 1e-12)
    with pytest.raises(ValueError, match="beyond 2\\*\\*30"):
        to_integers(prepared, images[:1])
    reflecting = prepare(nn.Sequential(nn.Conv2d(1, 1, 3, padding=1, padding_mode="reflect")), torch.rand(4, 1, 4, 4))
    with pytest.raises(ValueError, match="padded by a number of zeros"):
        to_integers(reflecting, torch.rand(1, 1, 4, 4))


def test_weights_of_more_than_8_bits_are_refused():
    layer = nn.Linear(4, 4)
    quantize_weights(layer := nn.Sequential(layer), lambda: UniformQuantizer(9), skip=())
    with pytest.raises(ValueError, match="at most 8 bits"):
        weight_integers(layer[0])


def test_prepare_puts_quantizers_where_sums_end():
    """Input, relu, conv without relu, addition, pool, logits: one each; borders keep 8 bits."""
    torch.manual_seed(0)
    images = torch.rand(4, 3, 6, 6)
    prepared = prepare(fold_model(ResNet18(3, 10, "cifar").eval()), images, 4, 4)
    inside = {name: module.bits for name, module in prepared.named_modules() if name.startswith("quantize_")}
    assert len(inside) == 1 + 1 + 8 * 3 + 3 + 1 + 1  # input, stem, blocks (relu, conv, add), shortcuts, pool, fc
    assert sorted(inside.values()) == [4] * 29 + [8, 8]
    network = to_integers(prepared, images[:1])
    assert list(network.inputs["add"]) == ["conv1", "layer1.0.conv2"][::-1]
    assert all(isinstance(network.steps[name], Layer) for name in ("conv1", "layer2.0.downsample.0", "fc"))


def test_prepare_leaves_the_model_alone():
    model = MLP((4, 3, 2))
    before = copy.deepcopy(model.state_dict())
    prepare(model, torch.rand(8, 4))
    assert model.state_dict().keys() == before.keys()
    assert all(torch.equal(model.state_dict()[name], value) for name, value in before.items())


# Networks of other people


class Computes(nn.Module):
    """``forward`` is what it is given, of its parts and x."""

    def __init__(self, forward, **parts):
        super().__init__()
        for name, part in parts.items():
            self.add_module(name, part)
        self.compute = forward

    def forward(self, x):
        return self.compute(self._modules, x)


def twice_pooled(m, x):
    return m["out"](m["flat"](m["pool"](m["a"](x)) + m["pool"](m["b"](x))))


def functional(m, x):
    x = F.relu(m["a"](x), inplace=True)
    x = torch.add(F.max_pool2d(x, 2), F.max_pool2d(m["b"](x).relu(), 2))
    return m["out"](F.dropout(x, training=False).view(x.size(0), -1))


PARTS = {
    "a": lambda: nn.Conv2d(1, 4, 3, padding=1),
    "b": lambda: nn.Conv2d(4, 4, 3, padding=1),
    "pool": lambda: nn.MaxPool2d(2),
    "relu": nn.ReLU,
    "flat": nn.Flatten,
    "out": lambda: nn.Linear(64, 3),
    "small": lambda: nn.Linear(4, 3),
    "out16": lambda: nn.Linear(16, 3),
}
OTHERS = {
    "pool called twice": lambda m, x: m["out16"](m["flat"](m["pool"](m["relu"](m["b"](m["pool"](m["a"](x))))))),
    "convolution called twice": lambda m, x: m["out"](m["flat"](m["pool"](m["b"](m["relu"](m["b"](m["a"](x))))))),
    "functions and methods": functional,
    "in place": lambda m, x: m["out"](m["flat"](m["pool"](operator.iadd(y := m["a"](x), m["b"](y)) + y))),
    "mean of pixels": lambda m, x: m["small"](m["a"](x).relu().mean((2, 3))),
    "x + x": lambda m, x: m["out"](m["flat"](m["pool"](m["a"](x) + m["a"](x)))),
    "reshape": lambda m, x: m["out"](m["pool"](m["a"](x)).reshape(-1, 64)),
}


@pytest.mark.parametrize("name", OTHERS)
@torch.no_grad()
def test_calls_and_not_modules_become_steps(name):
    torch.manual_seed(0)
    model = Computes(OTHERS[name], **{part: make() for part, make in PARTS.items()}).double().eval()
    images = torch.randn(16, 1, 8, 8).double()
    prepared = prepare(model, images).double()
    network = to_integers(prepared, images[:1], "even")
    codes = network.grids["input"].encode(images)
    real = decoded(prepared, network)(network.grids["input"].decode(codes))
    assert torch.equal(network.output_grid.encode(real), network(codes))
    scale = network.output_grid.scale
    assert (network.output_grid.decode(network(codes)) - model(images)).abs().max() < 0.1 * model(images).abs().max()
    assert (network.output_grid.decode(network(codes)) - prepared(images)).abs().max() < 1.5 * scale


@pytest.mark.parametrize("names", [("input", "last"), ("first", "output"), ("add", "add_1"), ("quantize_x", "last")])
@torch.no_grad()
def test_users_may_name_their_modules_as_they_like(names):
    torch.manual_seed(0)
    first, last = names
    parts = {first: nn.Linear(8, 8), last: nn.Linear(8, 8), "relu": nn.ReLU()}
    model = Computes(lambda m, x: m[last](m["relu"](m[first](x))) + x, **parts).double().eval()
    images = torch.randn(32, 8).double()
    prepared = prepare(model, images).double()
    network = to_integers(prepared, images[:1], "even")
    codes = network.grids["input"].encode(images)
    real = decoded(prepared, network)(network.grids["input"].decode(codes))
    assert torch.equal(network.output_grid.encode(real), network(codes))
    assert len(network.steps) == 3
    assert not {"input", "output"} & network.steps.keys()


class Standardized(nn.Conv2d):
    def forward(self, x):
        return self._conv_forward(x, (self.weight - self.weight.mean()) / self.weight.std(), self.bias)


REFUSED = {
    "alpha": (lambda m, x: torch.add(m["a"](x), m["a"](x), alpha=2), r"add \(add\) has no integer form"),
    "a constant": (lambda m, x: m["a"](x) + 1.0, r"add \(add\) has no integer form"),
    "two outputs": (lambda m, x: (m["a"](x), m["a"](x)), "has one output"),
    "own forward": (lambda m, x: m["own"](x), r"own \(Standardized\) has no integer form"),
    "weight read": (lambda m, x: F.conv2d(x, m["a"].weight), r"a_weight \(parameter\) has no integer form"),
    "positions": (lambda m, x: m["rows"](x), r"rows \(Linear\): needs inputs \(N, K\)"),
    "dilated": (lambda m, x: m["dilated"](x), r"dilated \(Conv2d\): .* dilated"),
    "all flat": (lambda m, x: m["a"](x).flatten(), r"flatten \(flatten\) has no integer form"),
    "nothing": (lambda m, x: x, "no step between input and output"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_has_no_integer_form_is_refused_by_name(name):
    forward, message = REFUSED[name]
    parts = {"own": Standardized(1, 4, 3), "rows": nn.Linear(8, 8), "dilated": nn.Conv2d(1, 4, 3, dilation=2)}
    model = Computes(forward, a=nn.Conv2d(1, 4, 3), **parts).eval()
    images = torch.randn(8, 1, 8, 8)
    with pytest.raises((TypeError, ValueError), match=message):
        to_integers(prepare(model, images), images[:1])


def test_a_hook_is_no_part_of_a_layer():
    model = nn.Sequential(nn.Linear(4, 4), nn.ReLU()).eval()
    model[0].register_forward_hook(lambda module, inputs, output: 2 * output)
    with pytest.raises(TypeError, match=r"0 \(Linear\) has no integer form"):
        to_integers(prepare(model, torch.randn(8, 4)), torch.randn(1, 4))


def test_two_grids_for_one_value_are_refused():
    class TwoGrids(nn.Module):
        def __init__(self):
            super().__init__()
            self.a, self.one, self.two = nn.Linear(4, 4), UniformQuantizer(8), UniformQuantizer(8)

        def forward(self, x):
            y = self.a(x)
            return self.one(y) + self.two(y)

    images = torch.randn(8, 4)
    with pytest.raises(ValueError, match=r"two \(UniformQuantizer\): the result of a is quantized already"):
        to_integers(prepare(TwoGrids(), images), images[:1])


def test_what_the_output_does_not_need_is_no_step():
    model = Computes(lambda m, x: (m["a"](x), m["b"](x))[0], a=nn.Linear(4, 4), b=nn.Linear(4, 2)).eval()
    images = torch.randn(8, 4)
    network = to_integers(prepare(model, images), images[:1])
    assert list(network.steps) == ["a"]


def test_a_model_that_is_one_layer():
    images = torch.randn(16, 4)
    network = to_integers(prepare(nn.Linear(4, 3).eval(), images), images[:1])
    assert list(network.steps) == ["0"]


def test_learned_bits_become_integers():
    """Codes with a width for each filter: the widest counts."""
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(4, 3)).double()
    learn_weight_bits(model, 4)
    images = torch.randn(16, 4).double()
    prepared = prepare(model, images).double()
    network = to_integers(prepared, images[:1], "even")
    codes = network.grids["input"].encode(images)
    off = (network.output_grid.decode(network(codes)) - prepared(images)).abs().max()
    assert off < 1.5 * network.output_grid.scale
