"""Memory files: a circuit that reads them computes what the plain loops compute from the codes."""

import re
import subprocess
from pathlib import Path

import numpy as np
import pytest
import strategies  # noqa: F401  (loads the profile of the property tests)
import torch
from hypothesis import given
from hypothesis import strategies as st
from rtl_bench import need
from torch import nn

from fewbits.core import container
from fewbits.core.codes import Codes
from fewbits.experiments.common import codes_path
from fewbits.experiments.inq.networks import small_net
from fewbits.fpga import Memory, read_memory_file, write_memory_files
from fewbits.fpga.fixed_point import Q16_16, QFormat
from fewbits.fpga.network import ShiftAdderNet
from fewbits.fpga.shift_adder import dot
from fewbits.fpga.synthesis import rtl
from fewbits.inq import Inq, InqQuantizer, exponent_of
from fewbits.mobileone import reparameterize
from fewbits.ternary import TWN

FILE = "inq-small-5-bit"
PAPER = "inq-mobileone-inq"
LAYERS = {-1: "features.8", 0: "features.4", 5: "features.10"}  # of the paper's network, by n1


def inq_codes(model: nn.Module, bits: int = 5, biases: bool = True) -> dict:
    inq = Inq(model, bits, biases=biases)
    inq.step(1.0)
    return inq.encode()


def convolution() -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(2, 4, 3, groups=2), nn.ReLU(), nn.Conv2d(4, 3, 1))


# --- By hand ----------------------------------------------------------------------------------------------------------


def test_a_file_by_hand(tmp_path):
    """±2^n at 5 bits: n1 = 0 and n2 = -7, so 1 is e = 8, ½ is e = 7, and 2^-7 is e = 1; a minus is bit 4."""
    weight = InqQuantizer(5)(torch.tensor([[1.0, -0.5], [0.0, -(2.0**-7)]]))
    codes = {"fc.weight": InqQuantizer(5).encode(weight), "fc.bias": torch.tensor([1.5, -(2.0**-16)])}
    paths = write_memory_files(codes, tmp_path)
    assert {name: path.name for name, path in paths.items()} == {
        "fc.weight": "L0_fc_weight.mem",
        "fc.bias": "L0_fc_bias.mem",
    }
    assert paths["fc.weight"].read_text("ascii") == (
        '// {"name": "fc.weight", "shape": [2, 2], "width": 5, "n1": 0}\n08\n17\n00\n11\n'
    )
    assert paths["fc.bias"].read_text("ascii") == (
        '// {"name": "fc.bias", "shape": [2], "width": 32, "fraction_bits": 16}\n00018000\nffffffff\n'
    )
    parameters = dict(re.findall(r"(\w+) = (-?\d+);", (tmp_path / "network.vh").read_text("ascii")))
    assert parameters == {
        "L0_FC_OUTPUTS": "2",
        "L0_FC_WORDS": "2",
        "L0_FC_WIDTH": "5",
        "L0_FC_N1": "0",
        "L0_FC_BIAS_WIDTH": "32",
        "L0_FC_BIAS_FRACTION": "16",
    }


# --- Back again -------------------------------------------------------------------------------------------------------


def test_a_whole_network_is_what_the_shift_adder_network_holds(tmp_path):
    """From the file of a trained network; its biases are INQ codes."""
    paths = write_memory_files(codes_path(FILE), tmp_path)
    codes = container.load_codes(codes_path(FILE))
    net = ShiftAdderNet.from_codes(reparameterize(small_net(0).eval()).to("meta"), codes)
    assert set(paths) == set(codes)
    for layer in net.layers:
        weight, bias = (read_memory_file(paths[f"{layer.name}.{kind}"]) for kind in ("weight", "bias"))
        np.testing.assert_array_equal(weight.words.reshape(layer.codes.shape), layer.codes)
        assert (weight.n1, weight.width) == (layer.n1, layer.bits)
        np.testing.assert_array_equal(bias.words, layer.bias)
        assert (bias.fraction_bits, bias.width) == (16, 32)


@given(st.data())
def test_every_memory_is_read_as_it_was_written(data):
    signed = data.draw(st.booleans())
    width = data.draw(st.integers(1, 32))
    shape = tuple(data.draw(st.lists(st.integers(1, 3), min_size=1, max_size=4)))
    low, high = (-(1 << width - 1), (1 << width - 1) - 1) if signed else (0, (1 << width) - 1)
    count = int(np.prod(shape))
    words = data.draw(st.lists(st.integers(low, high) | st.sampled_from([low, high]), min_size=count, max_size=count))
    form = {"fraction_bits": data.draw(st.integers(0, 31))} if signed else {"n1": data.draw(st.integers(-60, 60))}
    memory = Memory(data.draw(st.text()), shape, width, np.array(words, np.int64).reshape(shape), **form)
    again = Memory.parse(memory.text())
    np.testing.assert_array_equal(again.words, memory.words)
    facts = ("name", "shape", "width", "n1", "fraction_bits")
    assert [getattr(again, fact) for fact in facts] == [getattr(memory, fact) for fact in facts]
    assert memory.text().isascii()


GOOD = '// {"name": "fc.weight", "shape": [2, 1], "width": 5, "n1": 0}\n08\n17\n'


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "no memory file of fewbits"),
        ("08\n17\n", "no memory file of fewbits"),
        ("// [1, 2]\n08\n", "no memory file of fewbits"),
        (GOOD.replace("n1", "n2"), "fc.weight: a memory file has either n1 or fraction_bits"),
        (GOOD.replace("17", "20"), "fc.weight: word 1 has not 5 bits: '20'"),
        (GOOD.replace("17", "-1"), "fc.weight: word 1 has not 5 bits: '-1'"),
        (GOOD.replace("17", "xx"), "fc.weight: word 1 has not 5 bits: 'xx'"),
        (GOOD.replace("17\n", "17\n00\n"), r"fc.weight: 3 words do not fill the shape \(2, 1\)"),
        (GOOD.replace("17\n", ""), r"fc.weight: 1 words do not fill the shape \(2, 1\)"),
    ],
)
def test_another_file_is_refused_by_name(text, message, tmp_path):
    assert Memory.parse(GOOD).words.tolist() == [[8], [23]]
    (tmp_path / "a.mem").write_text(text, "ascii")
    with pytest.raises(ValueError, match=f"a.mem: {message}"):
        read_memory_file(tmp_path / "a.mem")


# --- In a simulator ---------------------------------------------------------------------------------------------------

BENCH = """`timescale 1ns/1ns
module bench;
`include "network.vh"
    // All outputs of one layer for one x, a product a cycle: shift_pe needs 3 cycles, and the bias is added at the end.
    localparam N = {LAYER}_OUTPUTS * {LAYER}_WORDS;
    reg [{LAYER}_WIDTH-1:0] weights [0:N-1];
    localparam LEFT = {LAYER}_N1 > 0 ? {LAYER}_N1 : 0;  // shift_pe shifts to the right
    localparam RIGHT = {LAYER}_N1 < 0 ? -{LAYER}_N1 : 0;
    reg signed [{LAYER}_BIAS_WIDTH-1:0] biases [0:{LAYER}_OUTPUTS-1];
    reg signed [31:0] xs [0:{LAYER}_WORDS-1];
    reg clk, start;
    reg signed [31+LEFT:0] x;
    reg [4:0] code;
    wire [31+LEFT:0] sum;
    reg signed [31:0] y;
    shift_pe #(.WIDTH(32 + LEFT), .RIGHT(RIGHT)) dut (.clk(clk), .start(start), .x(x), .code(code), .sum(sum));
    integer cycle, result;
    initial begin
        $readmemh("{layer}_weight.mem", weights);
        $readmemh("{layer}_bias.mem", biases);
        $readmemh("x.mem", xs);
        result = $fopen("sums.txt", "w");
        clk = 0;
        for (cycle = 0; cycle < N + 3; cycle = cycle + 1) begin
            start = cycle % {LAYER}_WORDS == 0;
            x = xs[cycle % {LAYER}_WORDS] <<< LEFT;
            code = cycle < N ? weights[cycle] : 0;
            #1 clk = 1;
            #1 clk = 0;
            if (cycle >= 2 && (cycle - 2) % {LAYER}_WORDS == {LAYER}_WORDS - 1 && cycle - 2 < N) begin
                y = sum[31:0] + biases[(cycle - 2) / {LAYER}_WORDS];
                $fdisplay(result, "%0d", y);
            end
        end
        $fclose(result);
        $finish;
    end
endmodule
"""


def simulate(simulator: str, folder: Path, layer: str, x: np.ndarray) -> list[int]:
    """The layer's outputs for one x, by a circuit that reads the memory files in ``folder``."""
    need(simulator)
    sources = [name for name in rtl() if name in ("shift_pe.v", "shift_multiply.v", "accumulator.v")]
    for name in sources:
        (folder / name).write_text(rtl()[name], "utf-8")
    (folder / "x.mem").write_text("".join(f"{value & 0xFFFFFFFF:08x}\n" for value in x.tolist()), "ascii")
    bench = BENCH.replace("{LAYER}", layer.upper()).replace("{layer}", layer)
    (folder / "bench.v").write_text(bench, "ascii")
    if simulator == "icarus":
        build, execute = (
            ["iverilog", "-g2005", "-s", "bench", "-o", "bench.vvp", "bench.v", *sources],
            ["vvp", "bench.vvp"],
        )
    else:
        options = ["--language", "1364-2005", "-Wno-fatal", "-Wno-lint", "-O3", "--top-module", "bench"]
        build, execute = ["verilator", "--binary", *options, "bench.v", *sources], ["obj_dir/Vbench"]
    for command in (build, execute):
        done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout[-1000:] + done.stderr[-3000:]
        assert "WARNING" not in done.stdout + done.stderr  # of $readmemh: too few words, or too many
    return [int(line) for line in (folder / "sums.txt").read_text("ascii").split()]


def by_loops(codes: dict, layer: str, x: np.ndarray) -> list[int]:
    """The same from the codes, by the plain loops."""
    weight, bias = codes[f"{layer}.weight"], codes[f"{layer}.bias"]
    n1, bias_n1 = exponent_of(weight), exponent_of(bias)
    return [
        dot(x, fields.flatten().tolist(), dot([1 << 16], [field], 0, bias_n1), n1)
        for fields, field in zip(weight.values, bias.values.tolist(), strict=True)
    ]


def written(n1: int, folder: Path) -> tuple[dict, str, str, np.ndarray]:
    """Codes of the paper's network, one of its layers, the name of its files in ``folder``, and an x."""
    codes, layer = container.load_codes(codes_path(PAPER)), LAYERS[n1]
    assert exponent_of(codes[f"{layer}.weight"]) == n1
    stem = write_memory_files(codes, folder)[f"{layer}.weight"].name.removesuffix("_weight.mem")
    size = codes[f"{layer}.weight"].values[0].numel()
    return codes, layer, stem, np.random.default_rng(0).integers(-(2**31), 2**31, size)


@pytest.mark.parametrize(("simulator", "n1"), [("icarus", -1), ("icarus", 0), ("icarus", 5), ("verilator", 5)])
def test_a_circuit_reads_the_files_and_computes_the_dot_products(simulator, n1, tmp_path):
    codes, layer, stem, x = written(n1, tmp_path)
    found = simulate(simulator, tmp_path, stem, x)
    assert found == by_loops(codes, layer, x)
    assert len(set(found)) > 10


@pytest.mark.parametrize("fault", ["order", "sign", "exponent", "bias"])
def test_a_fault_in_a_file_is_noticed(fault, tmp_path):
    codes, layer, stem, x = written(-1, tmp_path)
    weight, bias, header = (tmp_path / name for name in (f"{stem}_weight.mem", f"{stem}_bias.mem", "network.vh"))
    head, *words = weight.read_text("ascii").splitlines()
    if fault == "order":
        rows = np.array(words).reshape(len(codes[f"{layer}.weight"].values), -1)
        weight.write_text("\n".join([head, *rows.T.flat]) + "\n", "ascii")
    elif fault == "sign":
        weight.write_text("\n".join([head, *(f"{int(word, 16) ^ 16:02x}" for word in words)]) + "\n", "ascii")
    elif fault == "exponent":
        text = header.read_text("ascii")
        header.write_text(re.sub(rf"({stem.upper()}_N1 = )(-?\d+)", r"\g<1>\g<2> - 1", text), "ascii")
    else:
        head, *words = bias.read_text("ascii").splitlines()
        bias.write_text("\n".join([head, *words[1:], words[0]]) + "\n", "ascii")
    assert simulate("icarus", tmp_path, stem, x) != by_loops(codes, layer, x)


# --- Names ------------------------------------------------------------------------------------------------------------


def test_any_name_of_a_layer_is_a_file_and_an_identifier(tmp_path):
    weight = InqQuantizer(5).encode(torch.ones(1, 1))
    names = ["", "a.b", "a_b", "A_b", "module", "7", "größe/../x", "*/ `define"]
    paths = write_memory_files({f"{name}.weight" if name else "weight": weight for name in names}, tmp_path)
    assert len({path.name.lower() for path in paths.values()}) == len(names)
    assert all(path.parent == tmp_path for path in paths.values())
    assert [read_memory_file(path).name for path in paths.values()] == list(paths)
    parameters = re.findall(
        r"^localparam (?:signed )?([A-Z]\w*) = -?\d+;", (tmp_path / "network.vh").read_text("ascii"), re.M
    )
    assert len(set(parameters)) == len(parameters) == 4 * len(names)


# --- Refusals ---------------------------------------------------------------------------------------------------------


def spoiled(**change) -> dict:
    return inq_codes(convolution()) | change


def with_field(field: int) -> Codes:
    codes = InqQuantizer(5).encode(torch.ones(3, 4, 1, 1))
    values = codes.values.clone()
    values[0, 0] = field
    return Codes(values, 5, codes.scale, levels=codes.levels, signed=False)


@pytest.mark.parametrize(
    ("codes", "message"),
    [
        (lambda: spoiled(**{"2.weight": TWN().encode(torch.randn(3, 4, 1, 1))}), "2.weight must be codes of INQ"),
        (lambda: spoiled(**{"2.weight": torch.randn(3, 4, 1, 1)}), "2.weight must be codes of INQ, got a tensor"),
        (lambda: spoiled(**{"2.weight": with_field(9)}), "2.weight .*fields that INQ does not write"),
        (lambda: spoiled(**{"2.weight": with_field(16)}), "2.weight .*fields that INQ does not write"),
        (lambda: spoiled(**{"2.bias": torch.ones(3, dtype=torch.int64)}), "2.bias must be codes of INQ or floating"),
        (lambda: spoiled(**{"2.bias": torch.tensor([0.0, 0.0, 40000.0])}), "2.bias holds a number .* Q16.16"),
        (lambda: spoiled(**{"2.bias": torch.tensor([0.0, 0.0, float("nan")])}), "2.bias: real must be finite"),
        (
            lambda: spoiled(**{"2.bias": InqQuantizer(5).encode(torch.tensor([0.0, 0.0, 2.0**20]))}),
            "2.bias holds a num",
        ),
        (lambda: spoiled(**{"3.bias": torch.zeros(3)}), "3.bias is the bias of a layer whose weight is missing"),
        (lambda: spoiled(**{"1.running_mean": torch.zeros(3)}), "1.running_mean is neither a weight nor a bias"),
        (lambda: {"0.weight": InqQuantizer(5).encode(torch.ones(3))}, "0.weight must have an axis of outputs"),
    ],
)
def test_what_is_no_inq_network_is_refused_by_name(codes, message, tmp_path):
    torch.manual_seed(0)
    with pytest.raises(ValueError, match=message):
        write_memory_files(codes(), tmp_path)
    assert list(tmp_path.iterdir()) == []
    with pytest.raises(FileNotFoundError):
        write_memory_files(tmp_path / "no.fewbits", tmp_path)


def test_the_shift_adder_network_refuses_fields_that_inq_does_not_write():
    with pytest.raises(ValueError, match=r"2.weight .*fields that INQ does not write"):
        ShiftAdderNet.from_codes(convolution(), spoiled(**{"2.weight": with_field(9)}))


@pytest.mark.parametrize("form", [Q16_16, QFormat(4, 12), QFormat(1, 31)])
def test_biases_in_any_format(form, tmp_path):
    """Rounded to the nearest where they are floating point; where they are codes, 1.0 is shifted."""
    codes = inq_codes(convolution(), 4)
    codes["0.bias"] = torch.tensor([0.25, -0.25, 0.3, -(2.0**-40)], dtype=torch.float64)
    paths = write_memory_files(codes, tmp_path, form)
    found = read_memory_file(paths["0.bias"])
    np.testing.assert_array_equal(found.words, form.encode(codes["0.bias"].numpy()))
    assert (found.width, found.fraction_bits) == (form.width, form.fraction_bits)
    exact = codes["2.bias"].decode().double().numpy()
    np.testing.assert_allclose(
        form.decode(read_memory_file(paths["2.bias"]).words), exact, atol=2.0**-form.fraction_bits
    )
    assert read_memory_file(paths["2.weight"]).width == 4
