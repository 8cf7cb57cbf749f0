"""Integer networks as C: compiled by the system's compiler, every output equals that of the network, bit for bit."""

import itertools
import re
import shutil
import subprocess
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import strategies  # noqa: F401  (loads the profile of the property tests)
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from test_integer import Residual
from test_integer_codes import with_inq_codes
from torch import Tensor, nn

from fewbits.bn_folding import fold_model
from fewbits.integer import IntegerNetwork, prepare, to_c_header, to_integers, write_c
from fewbits.integer.requantization import ROUNDINGS, fixed_point
from fewbits.integer.steps import Add, Grid, Layer, Requantizer
from fewbits.mobileone import MobileNetV1, reparameterize
from fewbits.nets import MLP, LeNet5
from fewbits.uniform import UniformQuantizer

COMPILER = shutil.which("cc") or shutil.which("gcc")
pytestmark = pytest.mark.skipif(COMPILER is None, reason="needs a compiler of C, cc or gcc")
STRICT = ["-std=c99", "-O1", "-Wall", "-Wextra", "-Wpedantic", "-Wconversion", "-Wmissing-prototypes", "-Werror"]


def compile_c(folder: Path, *arguments: str) -> bool:
    done = subprocess.run([str(COMPILER), *STRICT, *arguments], cwd=folder, capture_output=True, text=True, check=False)
    return done.returncode == 0 or pytest.fail(done.stderr[:3000])


@pytest.fixture(scope="session")
def sanitizer(tmp_path_factory) -> list[str]:
    """Where the compiler has it: the program ends with an error where C leaves a result undefined."""
    folder = tmp_path_factory.mktemp("sanitizer")
    (folder / "empty.c").write_text("int main(void) { return 0; }\n", "ascii")
    flags = ["-fsanitize=undefined", "-fno-sanitize-recover=all"]
    done = subprocess.run([str(COMPILER), *flags, "empty.c"], cwd=folder, capture_output=True, check=False)
    return flags if done.returncode == 0 else []


def outputs(network: IntegerNetwork, codes: Tensor, folder: Path, flags: list[str]) -> Tensor:
    """What the program says of codes (N, …), in the shape and dtype of the network's own outputs."""
    compile_c(folder, "-DFEW_BITS_MAIN", *flags, "few_bits.c", "-o", "program")
    return run(network, codes, folder)


def run(network: IntegerNetwork, codes: Tensor, folder: Path) -> Tensor:
    given_bytes = codes.contiguous().numpy().tobytes()
    done = subprocess.run([str(folder / "program")], input=given_bytes, capture_output=True, check=False)
    assert (done.returncode, done.stderr) == (0, b"")
    expected = network(codes[:1])
    return torch.frombuffer(bytearray(done.stdout), dtype=expected.dtype).reshape(len(codes), *expected.shape[1:])


def converted(make: Callable[[], nn.Module], shape: tuple[int, ...], bits: int = 8) -> tuple[IntegerNetwork, Tensor]:
    """A network, and random codes for it."""
    torch.manual_seed(0)
    model, images = make().eval(), torch.rand(16, *shape) - 0.3
    network = to_integers(prepare(fold_model(model), images, bits, 8), images[:1])
    return network, random_codes(network, 20)


def random_codes(network: IntegerNetwork, count: int) -> Tensor:
    grid = network.grids["input"]
    return torch.randint(grid.q_min, grid.q_max + 1, (count, *network.input_shape), dtype=grid.dtype)


# --- Networks ---------------------------------------------------------------------------------------------------------


class Shortcut(nn.Module):
    """A residual block that halves the image, with a convolution in its shortcut, after another block."""

    def __init__(self):
        super().__init__()
        self.stem, self.first = nn.Conv2d(3, 4, 3, padding=1), nn.Conv2d(4, 4, 3, padding=1)
        self.second, self.shortcut = nn.Conv2d(4, 8, 3, 2, 1), nn.Conv2d(4, 8, 1, 2)
        self.fc = nn.Linear(8, 5)

    def forward(self, x):
        x = self.stem(x).relu()
        x = (x + self.first(x)).relu()
        x = (self.second(x) + self.shortcut(x)).relu()
        return self.fc(x.mean((2, 3)))


def signed() -> nn.Module:
    """Symmetric quantizers: codes are int8, and uint8 after the ReLU, though their grid has negative codes too."""
    features = [UniformQuantizer(8), nn.Conv2d(2, 3, 3), UniformQuantizer(5), nn.MaxPool2d(2, padding=1)]
    more = [nn.Conv2d(3, 3, 2), nn.ReLU(), UniformQuantizer(7), nn.Flatten(), nn.Linear(27, 4), UniformQuantizer(8)]
    return nn.Sequential(*features, *more)


def oblong() -> nn.Module:
    """Nothing is square: kernels, strides, padding, dilation and images differ in rows and columns."""
    pool = nn.MaxPool2d((4, 3), (1, 2), (2, 0), dilation=(2, 1), ceil_mode=True)
    features = [
        nn.Conv2d(4, 6, (1, 3), (2, 1), (2, 1), groups=2),
        nn.ReLU(),
        pool,
        nn.Conv2d(6, 4, (3, 2), (1, 2), (0, 1)),
    ]
    return nn.Sequential(*features, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 3))


NETWORKS = {
    "dense": (lambda: MLP((49, 16, 10), batch_norm=True), (1, 7, 7), 8),
    "LeNet-5": (LeNet5, (1, 28, 28), 8),
    "separable": (lambda: reparameterize(MobileNetV1(widths=(4, 8), depths=(1, 2)).eval()), (3, 8, 8), 8),
    "residual": (lambda: Residual(3, 4, 3, 2, True, True, 9), (3, 9, 9), 8),
    "shortcut": (Shortcut, (3, 9, 9), 8),
    "4 bits": (LeNet5, (1, 28, 28), 4),
    "signed": (signed, (2, 8, 8), 8),
    "oblong": (oblong, (4, 13, 6), 8),
    "one layer": (lambda: nn.Linear(5, 3), (5,), 8),
    "INQ": (lambda: with_inq_codes(Residual(2, 3, 3, 1, False, True, 5).eval(), 5), (2, 5, 5), 8),
}


@pytest.mark.parametrize("name", NETWORKS)
def test_the_program_is_the_network(name, tmp_path, sanitizer):
    make, shape, bits = NETWORKS[name]
    network, codes = converted(make, shape, bits)
    write_c(network, tmp_path)
    expected = network(codes)
    assert torch.equal(outputs(network, codes, tmp_path, sanitizer), expected)
    assert expected.unique().numel() > 5


def test_a_weight_of_128_is_there_in_the_test_of_inq():
    network, _ = converted(*NETWORKS["INQ"][:2])
    assert any(layer.weight.dtype == torch.int16 for layer in network.layers().values())


class Drawn(nn.Module):
    """Steps in a row, each after a ReLU or not; a residual add wherever the shapes allow one."""

    def __init__(self, parts: list[nn.Module], relus: list[bool]):
        super().__init__()
        self.parts, self.relus = nn.ModuleList(parts), relus
        self.flatten, self.fc = nn.Flatten(), nn.LazyLinear(4)

    def forward(self, x):
        for part, relu in zip(self.parts, self.relus, strict=True):
            y = part(x)
            y = nn.functional.relu(y) if relu and not isinstance(part, nn.MaxPool2d) else y
            x = x + y if isinstance(part, nn.Conv2d) and part.stride == (1, 1) and part.groups > 1 else y
        return self.fc(self.flatten(x))


@st.composite
def convolutions(draw, channels: int):
    """A convolution of odd shape, or a depthwise one that a residual add goes around."""
    if channels > 1 and draw(st.booleans()):
        return nn.Conv2d(channels, channels, 3, 1, 1, groups=channels), channels
    groups = draw(st.sampled_from([g for g in (1, 2, 3) if channels % g == 0]))
    outputs = groups * draw(st.integers(1, 3))
    kernel = draw(st.sampled_from([1, 2, 3, (1, 3), (3, 2)]))
    stride, padding = draw(st.sampled_from([2, (1, 2), (2, 1)])), draw(st.sampled_from([1, 2, (0, 1), (2, 1)]))
    return nn.Conv2d(channels, outputs, kernel, stride, padding, groups=groups, bias=draw(st.booleans())), outputs


@st.composite
def networks(draw):
    torch.manual_seed(draw(st.integers(0, 2**31)))
    inputs = channels = draw(st.integers(1, 3))
    parts: list[nn.Module] = []
    for _ in range(draw(st.integers(0, 3))):
        if draw(st.booleans()):
            dilation = draw(st.integers(1, 2))
            settings = {"stride": draw(st.integers(1, 2)), "ceil_mode": draw(st.booleans()), "dilation": dilation}
            parts.append(nn.MaxPool2d(2, padding=draw(st.integers(0, 1)), **settings))
        else:
            part, channels = draw(convolutions(channels))
            parts.append(part)
    if draw(st.booleans()):
        parts.append(nn.AdaptiveAvgPool2d(1))
    return Drawn(parts, [draw(st.booleans()) for _ in parts]), (
        inputs,
        draw(st.integers(7, 10)),
        draw(st.integers(7, 9)),
    )


@settings(max_examples=30)
@given(
    networks(),
    st.tuples(st.integers(2, 8), st.integers(2, 8)),
    st.sampled_from([0, None]),
    st.sampled_from(ROUNDINGS),
    st.sampled_from([0, 3, 6]),
)
def test_random_networks(tmp_path_factory, sanitizer, drawn, bits, channel_axis, rounding, bias_fraction):
    model, shape = drawn
    images = torch.randn(8, *shape)
    model(images)
    prepared = prepare(model.eval(), images, *bits, channel_axis=channel_axis)
    network = to_integers(prepared, images[:1], rounding, bias_fraction)
    folder = tmp_path_factory.mktemp("random")
    write_c(network, folder)
    codes = random_codes(network, 10)
    assert torch.equal(outputs(network, codes, folder, sanitizer), network(codes))


# --- Ties, by hand ----------------------------------------------------------------------------------------------------

FACTORS = (0.5, 0.25, 0.75, 1 / 16, 3 / 32, 1.0, 1.5, 3.0, 40.0, 2.0**-32, 2.0**-40, 0.3)


def ties(rounding: str, zero_point: int = 0) -> IntegerNetwork:
    """One input, twice of which is an output for each factor: at ½ every odd sum is a tie."""
    multiplier, shift = fixed_point(torch.tensor(FACTORS, dtype=torch.float64))
    weight, bias = torch.ones(len(FACTORS), 1, dtype=torch.int8), torch.zeros(len(FACTORS), dtype=torch.int32)
    output = Requantizer(multiplier, shift, zero_point, -128, 127, rounding, False)
    layer = Layer(weight, bias, 0, 8, None, 0, 128, output)
    grids = {"input": Grid(1.0, 0, -128, 127), "layer": Grid(1.0, zero_point, -128, 127)}
    return IntegerNetwork({"layer": layer}, {"layer": ("input",)}, grids, {}, (1,))


@pytest.mark.parametrize("rounding", ROUNDINGS)
def test_every_code_and_every_kind_of_tie(rounding, tmp_path, sanitizer):
    network = ties(rounding, zero_point=3)
    codes = torch.arange(-128, 128, dtype=torch.int8)[:, None]
    write_c(network, tmp_path)
    found = outputs(network, codes, tmp_path, sanitizer)
    assert torch.equal(found, network(codes))
    # -3/2 and 3/2 by hand: up, away from zero, to even; gemmlowp's first rounding goes up.
    by_hand = {"upward": (-1, 2), "away": (-2, 2), "even": (-2, 2), "double": (-1, 2)}[rounding]
    assert tuple(found[[125, 131], 0].int().tolist()) == tuple(code + 3 for code in by_hand)


@pytest.mark.parametrize("rounding", ROUNDINGS)
@pytest.mark.parametrize("shift", [-3, 0, 4])
def test_addition_of_all_pairs_of_codes(rounding, shift, tmp_path, sanitizer):
    """Both operands and all their codes; the first is signed, and the second is not."""
    one = torch.tensor([2**30], dtype=torch.int32), torch.tensor([-1], dtype=torch.int32)
    picks = torch.eye(2, dtype=torch.int8)[:, None], torch.zeros(1, dtype=torch.int32)
    grids = {"input": Grid(1.0, 0, -128, 127), "a": Grid(1.0, 0, -128, 127), "b": Grid(1.0, 128, 0, 255)}
    steps: dict = {
        name: Layer(
            weight,
            picks[1],
            0,
            8,
            None,
            0,
            128,
            Requantizer(*one, grid.zero_point, grid.q_min, grid.q_max, "even", False),
        )
        for (name, grid), weight in zip(list(grids.items())[1:], picks[0], strict=True)
    }
    multipliers = torch.tensor([2**27, 3 * 2**25], dtype=torch.int32)
    output = Requantizer(torch.tensor(0), torch.tensor(shift, dtype=torch.int32), -1, -128, 127, rounding, False)
    steps["sum"], grids["sum"] = Add(multipliers, (5, 120), output), Grid(1.0, -1, -128, 127)
    network = IntegerNetwork(steps, {"a": ("input",), "b": ("input",), "sum": ("a", "b")}, grids, {}, (2,))
    codes = torch.cartesian_prod(torch.arange(-128, 128), torch.arange(-128, 128)).to(torch.int8)
    write_c(network, tmp_path)
    assert torch.equal(outputs(network, codes, tmp_path, sanitizer), network(codes))


# --- Faults are noticed -----------------------------------------------------------------------------------------------


def test_a_changed_shift_in_the_header_is_noticed(tmp_path):
    network, codes = converted(LeNet5, (1, 28, 28))
    header = write_c(network, tmp_path)
    text = header.read_text("ascii")
    (last,) = re.findall(r"int32_t s6_7_shift\[10\] = \{\n    (-?\d+),", text)
    header.write_text(re.sub(r"(s6_7_shift\[10\] = \{\n    )-?\d+", rf"\g<1>{int(last) + 1}", text), "ascii")
    found = outputs(network, codes, tmp_path, [])
    different = (found != network(codes)).any(0)
    assert different.tolist() == [True] + [False] * 9


FAULTS = {
    "ties": ("rounding == AWAY && x < 0", "rounding == AWAY", "away"),
    "even": ("rounded % 2 != 0", "rounded % 2 == 0", "even"),
    "second rounding": ("right, AWAY", "right, UPWARD", "double"),
    "half": ("<< (places - 1)", "<< (places - 2)", "upward"),
    "factor of the first channel": ("step->per_channel ? channel : 0", "0 * channel", "upward"),
    "zero point": ("scaled + step->out_zero_point", "scaled", "upward"),
    "clipping": ("code > step->q_max", "code > step->q_max + 1", "upward"),
}


@pytest.mark.parametrize("name", FAULTS)
def test_a_planted_fault_in_the_program_is_noticed(name, tmp_path):
    good, bad, rounding = FAULTS[name]
    network = ties(rounding, zero_point=3)
    write_c(network, tmp_path)
    runner = tmp_path / "few_bits.c"
    assert runner.read_text("ascii").count(good) == 1
    runner.write_text(runner.read_text("ascii").replace(good, bad), "ascii")
    codes = torch.arange(-128, 128, dtype=torch.int8)[:, None]
    assert not torch.equal(outputs(network, codes, tmp_path, []), network(codes))


# --- What the program promises ----------------------------------------------------------------------------------------


def test_no_floating_point_and_no_heap(tmp_path):
    network, _ = converted(LeNet5, (1, 28, 28))
    write_c(network, tmp_path)
    code = re.sub(r"/\*.*?\*/", "", (tmp_path / "few_bits.c").read_text("ascii"), flags=re.DOTALL)
    assert re.findall(r"\b(float|double|malloc|calloc|free|\d+\.\d*)\b", code) == []
    arrays = (tmp_path / "network.h").read_text("ascii").split("#ifdef FEW_BITS_STEPS")[1]
    assert "." not in re.sub(r"/\*.*?\*/|\n     \.\w+ = ", "", arrays)


def test_memory_is_used_again(tmp_path):
    """A chain needs room for two neighbours at a time, and no more."""
    network, _ = converted(LeNet5, (1, 28, 28))
    (size,) = re.findall(r"#define MEMORY_SIZE (\d+)", to_c_header(network))
    sizes = [codes[0].numel() for codes in network.trace(random_codes(network, 1)).values()]
    assert int(size) == max(a + b for a, b in itertools.pairwise(sizes)) < sum(sizes)


def test_two_networks_in_one_program(tmp_path):
    found = {name: converted(lambda: MLP((6, 4, 2)), (6,), bits) for name, bits in (("wide", 8), ("narrow", 3))}
    for name, (network, _) in found.items():
        write_c(network, tmp_path, name)
        compile_c(tmp_path, f'-DFEW_BITS_NETWORK="{name}.h"', "-c", "few_bits.c", "-o", f"{name}.o")
    codes = [code % 200 for code in range(6)]
    (tmp_path / "main.c").write_text(
        '#include <stdio.h>\n#include "wide.h"\n#include "narrow.h"\n'
        f"int main(void) {{\n    uint8_t x[WIDE_INPUT_SIZE] = {{{', '.join(map(str, codes))}}}, y[WIDE_OUTPUT_SIZE];\n"
        + "".join(
            f'    if ({name}_run(x, y) == 0) printf("%d %d\\n", y[0] + {name.upper()}_OUTPUT_SIGNED, y[1]);\n'
            for name in found
        )
        + "    return 0;\n}\n",
        "ascii",
    )
    compile_c(tmp_path, "main.c", "wide.o", "narrow.o", "-o", "both")
    done = subprocess.run([str(tmp_path / "both")], capture_output=True, text=True, check=True)
    x = torch.tensor([codes], dtype=torch.uint8)
    expected = [network(x)[0].tolist() for network, _ in found.values()]
    assert [[int(word) for word in line.split()] for line in done.stdout.splitlines()] == expected


def test_codes_off_the_grid_and_images_cut_off_are_refused(tmp_path):
    network = ties("even")
    network.grids["input"] = Grid(1.0, 0, -7, 7)
    write_c(network, tmp_path)
    compile_c(tmp_path, "-DFEW_BITS_MAIN", "few_bits.c", "-o", "program")
    good = torch.arange(-7, 8, dtype=torch.int8)[:, None]
    assert torch.equal(run(network, good, tmp_path), network(good))
    for bad in (b"\x08", b"\xf8", b"\x80", b"\x01\x08"):
        done = subprocess.run([str(tmp_path / "program")], input=bad, capture_output=True, check=False)
        assert done.returncode == 1
        assert b"no code of the input grid" in done.stderr
    network, _ = converted(lambda: MLP((6, 4, 2)), (6,))
    write_c(network, tmp_path)
    compile_c(tmp_path, "-DFEW_BITS_MAIN", "few_bits.c", "-o", "program")
    done = subprocess.run([str(tmp_path / "program")], input=b"\x01" * 7, capture_output=True, check=False)
    assert (done.returncode, b"cut off" in done.stderr) == (1, True)


# --- Names ------------------------------------------------------------------------------------------------------------

NAMES = ["int", "a.b", "a_b", "A_b", "3", "größe", "*/ int x = 1; /*", "weight", "x" * 90 + "1", "x" * 90 + "2", "??/"]


def test_any_name_of_a_layer_is_an_identifier(tmp_path, sanitizer):
    network, codes = converted(lambda: MLP((6, *[4] * (len(NAMES) - 1), 3)), (6,))
    kept = [name for name in network.steps if name != "input"]
    layers = list(network.layers())
    assert len(layers) == len(NAMES)
    new = (
        dict(zip(layers, NAMES, strict=True)) | {name: name for name in kept if name not in layers} | {"input": "input"}
    )
    renamed = IntegerNetwork(
        {new[name]: step for name, step in network.steps.items()},
        {new[name]: tuple(new[source] for source in sources) for name, sources in network.inputs.items()},
        {new[name]: grid for name, grid in network.grids.items()},
        {},
        network.input_shape,
    )
    header = write_c(renamed, tmp_path)
    arrays = re.findall(r"static const int\d+_t (\w+)\[", header.read_text("ascii"))
    assert len({name[:63].lower() for name in arrays}) == len(arrays) == 4 * len(NAMES)
    assert torch.equal(outputs(renamed, codes, tmp_path, sanitizer), network(codes))


@pytest.mark.parametrize("name", ["", "3d", "my-net", "_x", "a.b", "größe", "x\n"])
def test_a_name_that_is_no_identifier_is_refused(name, tmp_path):
    with pytest.raises(ValueError, match="name must be an identifier of C"):
        write_c(ties("even"), tmp_path, name)
    assert list(tmp_path.iterdir()) == []


# --- Refusals ---------------------------------------------------------------------------------------------------------


def test_a_step_that_is_unknown_is_refused_by_name():
    class Softmax:
        def __call__(self, x):
            return x

    network = ties("even")
    network.steps["last"], network.inputs["last"] = Softmax(), ("layer",)
    network.grids["last"] = network.grids["layer"]
    with pytest.raises(TypeError, match="last: the program in C has no step of the kind Softmax"):
        to_c_header(network)


class Gate(nn.Module):
    """Adds a vector of channels to every pixel."""

    def __init__(self):
        super().__init__()
        self.conv, self.pool = nn.Conv2d(2, 2, 3, padding=1), nn.AdaptiveAvgPool2d(1)

    def forward(self, x):
        x = self.conv(x)
        return x + self.pool(x)


class Rows(nn.Module):
    """A pool of images without channels, which torch takes for one image with several."""

    def __init__(self):
        super().__init__()
        self.pool, self.fc = nn.MaxPool2d(2), nn.Linear(9, 2)

    def forward(self, x):
        return self.fc(self.pool(x).flatten(1))


@pytest.mark.parametrize(
    ("make", "shape", "message"),
    [
        (Gate, (2, 5, 5), r"add: .*adds tensors of one shape only, not \(2, 5, 5\) and \(2, 1, 1\)"),
        (Rows, (6, 6), r"pool: .*no form for an image of the shape \(6, 6\)"),
        (nn.Flatten, (2, 3), "only flattens|no step|nothing quantizes"),
    ],
)
def test_what_c_cannot_express_is_refused_by_name(make, shape, message):
    torch.manual_seed(0)
    images = torch.rand(8, *shape)
    with pytest.raises(ValueError, match=message):
        to_c_header(to_integers(prepare(make(), images), images[:1]))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"rounding": "down"}, "layer: rounding must be one of"),
        ({"shift": torch.full((len(FACTORS),), 32, dtype=torch.int32)}, "layer: shift must lie between"),
        ({"shift": torch.full((len(FACTORS),), -30, dtype=torch.int32)}, r"layer: the output may reach 2\*\*30"),
        ({"multiplier": torch.full((len(FACTORS),), 1.0)}, "layer: the program in C needs int8, int16 or int32"),
    ],
)
def test_numbers_that_c_cannot_take_are_refused_by_name(change, message, monkeypatch):
    network = ties("even")
    step = network.steps["layer"]
    monkeypatch.setattr(Requantizer, "__call__", lambda self, total: total.to(torch.int8))
    network.steps["layer"] = replace(step, output=replace(step.output, **change))
    with pytest.raises(ValueError, match=message):
        to_c_header(network)


def test_a_sum_beyond_int32_is_refused_by_name():
    """The layer says that its inputs stay below 2; the grid has others."""
    network = ties("even")
    weight = torch.full((len(FACTORS), 1), 1, dtype=torch.int8)
    network.steps["layer"] = replace(network.steps["layer"], weight=weight, largest=2, bias_fraction=26)
    with pytest.raises(ValueError, match="layer: the sum may reach"):
        to_c_header(network)
