"""Integer-only networks: every element against plain Python, no floating point at run time, bounds, files."""

import pytest
import strategies  # noqa: F401  (loads the profile of the property tests)
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from integer_reference import run
from torch import nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from fewbits.bn_folding import fold_model
from fewbits.core.quantizer import quantize_weights
from fewbits.integer.conversion import to_integers
from fewbits.integer.network import IntegerNetwork
from fewbits.integer.preparation import prepare
from fewbits.integer.requantization import ROUNDINGS
from fewbits.integer.steps import Flatten, Grid, Layer, Requantizer
from fewbits.mobileone import MobileNetV1, MobileOne, reparameterize
from fewbits.nets import MLP, LeNet5, ResNet18, VGGSmall
from fewbits.ternary import TWN
from fewbits.training import load_state, save_state
from fewbits.uniform import UniformQuantizer, quantize_model


class Residual(nn.Module):
    """A convolution, a residual add with a depthwise branch, max-pool, average pool: every kind of step."""

    def __init__(self, inputs: int, width: int, kernel: int, stride: int, pool: bool, average: bool, size: int):
        super().__init__()
        self.stem = nn.Conv2d(inputs, width, kernel, stride, kernel // 2)
        self.branch = nn.Conv2d(width, width, 3, 1, 1, groups=width)
        self.relu, self.relu2 = nn.ReLU(), nn.ReLU()
        self.pool = nn.MaxPool2d(3, 2, 1) if pool else nn.Identity()
        side = -(-size // stride)
        side = -(-side // 2) if pool else side
        self.average, self.flatten = nn.AdaptiveAvgPool2d(1) if average else nn.Identity(), nn.Flatten()
        self.fc = nn.Linear(width if average else width * side * side, 3)

    def forward(self, x):
        x = self.relu(self.stem(x))
        x = self.relu2(x + self.branch(x))
        return self.fc(self.flatten(self.average(self.pool(x))))


descriptions = st.fixed_dictionaries(
    {
        "seed": st.integers(0, 2**31),
        "inputs": st.integers(1, 2),
        "size": st.integers(3, 5),
        "offset": st.sampled_from([0.0, 1.0, -3.0]),
        "bits": st.tuples(st.integers(2, 8), st.integers(2, 8)),
        "channel_axis": st.sampled_from([0, None]),
        "rounding": st.sampled_from(ROUNDINGS),
        "bias_fraction": st.sampled_from([0, 8]),
    }
)
perceptrons = st.builds(
    lambda hidden: lambda inputs, size: MLP((inputs * size**2, *hidden, 3)), st.lists(st.integers(1, 5), max_size=2)
)
residuals = st.builds(
    lambda width, kernel, stride, pool, average: (
        lambda inputs, size: Residual(inputs, width, kernel, stride, pool, average, size)
    ),
    st.integers(1, 3),
    st.sampled_from([1, 3]),
    st.integers(1, 2),
    st.booleans(),
    st.booleans(),
)


@settings(max_examples=60)
@given(descriptions, st.one_of(perceptrons, residuals))
def test_every_element_equals_big_integers(drawn, make):
    """Random networks, bits and shapes, random codes; every value after every step."""
    torch.manual_seed(drawn["seed"])
    shape = (drawn["inputs"], drawn["size"], drawn["size"])
    images = torch.randn(8, *shape) + drawn["offset"]
    prepared = prepare(make(*shape[:2]), images, *drawn["bits"], channel_axis=drawn["channel_axis"])
    network = to_integers(prepared, images[:1], drawn["rounding"], drawn["bias_fraction"])
    grid = network.grids["input"]
    codes = torch.randint(grid.q_min, grid.q_max + 1, (2, *shape), dtype=grid.dtype)
    values = network.trace(codes)
    for index, image in enumerate(codes.tolist()):
        expected = run(network, image)
        assert values.keys() == expected.keys()
        for name, value in values.items():
            assert value[index].tolist() == expected[name], name


def test_the_reference_notices_a_damaged_multiplier():
    network, images = small(MLP((9, 4, 3)), (1, 3, 3))
    codes = network.grids["input"].encode(images[:4])
    first = next(name for name, step in network.steps.items() if isinstance(step, Layer))
    before = [run(network, image)[first] for image in codes.tolist()]
    network.steps[first].output.multiplier.add_(2**24)  # one part in a hundred
    assert [run(network, image)[first] for image in codes.tolist()] != before


def small(model: nn.Module, shape: tuple[int, ...], weight_bits: int = 8, activation_bits: int = 8):
    torch.manual_seed(1)
    images = torch.rand(16, *shape)
    prepared = prepare(model.eval(), images, weight_bits, activation_bits)
    return to_integers(prepared, images[:1]), images


BOOK = {
    "MLP": (lambda: MLP((49, 16, 10), batch_norm=True), (1, 7, 7)),
    "VGG-small": (lambda: VGGSmall(1, 16, 10, (4, 4, 8, 8, 8, 8)), (1, 16, 16)),
    "LeNet-5": (LeNet5, (1, 28, 28)),
    "ResNet-18": (lambda: ResNet18(3, 10, "imagenet"), (3, 32, 32)),
    "MobileNet": (lambda: reparameterize(MobileNetV1(widths=(4, 8), depths=(1, 2)).eval()), (3, 8, 8)),
    "MobileOne": (lambda: reparameterize(MobileOne(widths=(4, 8), depths=(1, 2), branches=2).eval()), (3, 8, 8)),
}


INTEGERS = (torch.bool, torch.int8, torch.uint8, torch.int32, torch.int64)


class NoFloats(TorchDispatchMode):
    """Refuses every operation that reads or makes a floating point tensor."""

    calls = 0

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        result = function(*args, **(kwargs or {}))
        for leaf in tree_leaves((args, kwargs, result)):
            if isinstance(leaf, torch.Tensor):
                assert leaf.dtype in INTEGERS, f"{function} with {leaf.dtype}"
            assert not isinstance(leaf, float), f"{function} with a float"
        self.calls += 1
        return result


@pytest.mark.parametrize("name", BOOK)
def test_networks_of_the_book_run_without_floating_point(name):
    make, shape = BOOK[name]
    network, images = small(fold_model(make().eval()), shape)
    codes = network.grids["input"].encode(images[:2])
    with NoFloats() as guard:
        result = network(codes)
    assert guard.calls > 10
    assert result.dtype == torch.uint8
    assert result.shape == (2, 100 if "Mobile" in name else 10)


def test_the_guard_notices_floats():
    network, images = small(MLP((9, 3)), (1, 3, 3))
    with pytest.raises(AssertionError, match="float"), NoFloats():
        network.grids["input"].encode(images)
    with pytest.raises(AssertionError, match="float"), NoFloats():
        network.predict(images)


def by_hand(weight: list, bias: list, largest: int = 255, factor: tuple[int, int] = (2**30, 0)) -> Layer:
    multiplier, shift = (torch.tensor(part, dtype=torch.int32) for part in factor)
    output = Requantizer(multiplier, shift, 0, 0, 255, "upward", False)
    return Layer(
        torch.tensor(weight, dtype=torch.int8), torch.tensor(bias, dtype=torch.int32), 0, 8, None, 0, largest, output
    )


def test_a_layer_by_hand():
    """3 · 5 − 2 · 4 + 10 = 17; times ½ is 8.5, upward 9. The other: −3 · 5 = −15, negative, 0."""
    layer = by_hand([[3, -2], [-3, 0]], [10, 0])
    codes = torch.tensor([[5, 4]], dtype=torch.uint8)
    assert layer.accumulate(codes).tolist() == [[17, -15]]
    assert layer(codes).tolist() == [[9, 0]]


def test_bound_is_reached_and_overflow_refused():
    layer = by_hand([[127, -127]], [-1000])
    worst = torch.tensor([[0, 255]], dtype=torch.uint8)
    assert int(layer.accumulate(worst)) == -127 * 255 - 1000
    assert layer.bound == 2 * 127 * 255 + 1000
    by_hand([[1]], [2**31 - 256])
    with pytest.raises(ValueError, match="beyond an int32"):
        by_hand([[1]], [2**31 - 255])


@pytest.mark.parametrize("bits", [2, 3, 4, 8])
def test_save_and_load(bits, tmp_path):
    network, images = small(VGGSmall(1, 8, 10, (4, 4, 8, 8, 8, 8), batch_norm=False), (1, 8, 8), bits, bits)
    network.save(tmp_path / "n.safetensors")
    loaded = IntegerNetwork.load(tmp_path / "n.safetensors")
    codes = network.grids["input"].encode(images)
    assert torch.equal(loaded(codes), network(codes))
    assert (loaded.grids, loaded.inputs) == (network.grids, network.inputs)
    assert all(torch.equal(loaded.weight_scales[name], scale) for name, scale in network.weight_scales.items())


def test_few_bits_make_small_files(tmp_path):
    sizes = {}
    for bits in (8, 4, 2):
        network, _ = small(MLP((784, 64, 10)), (1, 28, 28), bits, 8)
        network.save(tmp_path / "n.safetensors")
        sizes[bits] = (tmp_path / "n.safetensors").stat().st_size
        weights = sum(layer.weight.numel() for layer in network.layers().values())
        rest = 74 * (32 + 32 + 8)
        assert network.stored_bits() == weights * bits + rest
    assert sizes[8] - sizes[4] == pytest.approx(784 * 64 // 2, rel=0.02)
    assert sizes[4] - sizes[2] == pytest.approx(784 * 64 // 4, rel=0.02)


def test_load_refuses_other_files(tmp_path):
    from fewbits.training import save_state

    save_state(tmp_path / "x.safetensors", {"steps": 1})
    with pytest.raises(ValueError, match="holds no integer network"):
        IntegerNetwork.load(tmp_path / "x.safetensors")
    with pytest.raises(FileNotFoundError):
        IntegerNetwork.load(tmp_path / "none.safetensors")


def test_inputs_are_checked():
    network, _ = small(MLP((9, 3)), (1, 3, 3), activation_bits=8)
    with pytest.raises(TypeError, match="codes must be an integer"):
        network(torch.zeros(1, 1, 3, 3))
    with pytest.raises(ValueError, match="codes must lie between 0 and 255"):
        network(torch.full((1, 1, 3, 3), 256))


def test_grid_of_int8_and_uint8():
    grid = Grid(0.5, 0, -127, 127)
    assert grid.encode(torch.tensor([-100.0, 0.25, 0.75])).tolist() == [-127, 0, 2]
    assert (grid.dtype, grid.largest) == (torch.int8, 127)
    assert Grid(0.5, 3, 0, 15).decode(torch.tensor([0, 15], dtype=torch.uint8)).tolist() == [-1.5, 6.0]
    assert Grid(0.5, 3, 0, 15).largest == 12


def test_quantized_networks_of_the_book_are_taken_as_they_are():
    """What ``uniform.quantize_model`` makes lacks two quantizers only, and keeps its own; ternary weights fit too."""
    torch.manual_seed(0)
    images = torch.rand(32, 1, 4, 4)
    uniform = quantize_model(MLP((16, 8, 3)), 4, 4, images)
    ternary = quantize_weights(MLP((16, 8, 3)), TWN, skip=())
    for model, bits in ((uniform, 4), (ternary, 2)):
        prepared = prepare(model, images)
        network = to_integers(prepared, images[:1])
        assert [layer.weight_bits for layer in network.layers().values()] == [bits, bits]
        simulated = network.output_grid.encode(prepared(images)).int()
        assert (simulated - network(network.grids["input"].encode(images)).int()).abs().max() <= 1
    assert network.layers()["1"].weight.unique().tolist() == [-1, 0, 1]
    assert prepare(uniform, 9 * images).get_submodule("2.1").high == uniform[2][1].high


def test_int8_activations():
    model = nn.Sequential(UniformQuantizer(8), nn.Linear(4, 4), UniformQuantizer(6), nn.Linear(4, 2))
    images = torch.randn(16, 4)
    prepared = prepare(model, images)
    network = to_integers(prepared, images[:1])
    assert [grid.dtype for grid in network.grids.values()] == [torch.int8, torch.int8, torch.uint8]
    codes = network.grids["input"].encode(images)
    values = network.trace(codes)
    assert [run(network, image) for image in codes.tolist()] == [
        {name: value[index].tolist() for name, value in values.items()} for index in range(len(codes))
    ]
    assert isinstance(network.steps["1"], Layer)
    assert not any(isinstance(step, Flatten) for step in network.steps.values())


def test_a_file_with_unknown_steps_is_refused_by_name(tmp_path):
    images = torch.randn(8, 4)
    network = to_integers(prepare(nn.Sequential(nn.Linear(4, 3)).eval(), images), images[:1])
    network.save(tmp_path / "n.safetensors")
    tree = load_state(tmp_path / "n.safetensors")
    for change in ({"kind": "Newer"}, {"surprise": 1}):
        newer = tree | {"steps": {"0": tree["steps"]["0"] | change}}
        save_state(tmp_path / "newer.safetensors", newer)
        with pytest.raises(ValueError, match=r"newer\.safetensors: holds an integer network of another version"):
            IntegerNetwork.load(tmp_path / "newer.safetensors")


def test_images_must_be_finite():
    images = torch.randn(8, 4)
    network = to_integers(prepare(nn.Sequential(nn.Linear(4, 3)).eval(), images), images[:1])
    with pytest.raises(ValueError, match="images holds NaN or Inf"):
        network.predict(torch.full((1, 4), torch.nan))
