"""The Verilog of ``fewbits.fpga.rtl``, in Verilator and in Icarus Verilog, computes what the plain loops compute."""

import numpy as np
import pytest
from float_vectors import numpy_product, numpy_sum, pairs
from rtl_bench import Job, run
from shift_vectors import CORNERS, fixed_reference, signed32, sums_of_runs, wrapped_dots

from fewbits.fpga.synthesis import WIDE, rtl

SIMULATORS = ["verilator", "icarus"]
# Vectors of each simulator: Icarus interprets and is a hundred times slower.
COUNTS = {
    "verilator": {"pe": 100_000, "dot": 20_000, "float": 200_000, "layer": 60},
    "icarus": {"pe": 20_000, "dot": 200, "float": 5_000, "layer": 0},
}


@pytest.fixture(scope="module", params=SIMULATORS)
def results(request, tmp_path_factory):
    """Inputs and outputs of every module that is run, by a short name."""
    counts = COUNTS[request.param]
    rng = np.random.default_rng(1)
    x, code = rng.integers(-(2**31), 2**31, counts["pe"]), rng.integers(0, 32, counts["pe"])
    # All pairs of a corner and a code come first.
    edge, codes = (side.ravel() for side in np.meshgrid(CORNERS, np.arange(32)))
    x[: edge.size], code[: edge.size] = edge, codes
    start = (rng.random(counts["pe"]) < 0.2).astype(int)
    start[0] = 1
    weight = rng.integers(-(2**31), 2**31, counts["pe"])
    many_x, many_codes = rng.integers(-(2**31), 2**31, (counts["dot"], 32)), rng.integers(0, 32, (counts["dot"], 32))
    a, b = pairs(counts["float"])
    pe = {"start": (1, start), "x": (32, x), "code": (5, code)}
    dots = {"x": (32, many_x), "weights": (5, many_codes)}
    floats = {"a": (32, a), "b": (32, b)}
    jobs = {
        "wrap": Job("shift_pe", WIDE, pe, ("sum", 32)),
        "saturate": Job("shift_pe", WIDE | {"SATURATE": 1}, pe, ("sum", 32)),
        "fixed": Job("fixed_pe", {}, {"start": (1, start), "x": (32, x), "weight": (32, weight)}, ("sum", 32)),
        "dot": Job("dot", WIDE, dots, ("sum", 32)),
        "dot saturate": Job("dot", WIDE | {"SATURATE": 1}, dots, ("sum", 32)),
        "product": Job("float_multiply", {}, floats, ("product", 32)),
        "sum": Job("float_add", {}, floats, ("sum", 32)),
    }
    found = run(request.param, rtl(), list(jobs.values()), tmp_path_factory.mktemp(request.param))
    return {name: (job.inputs, outputs) for (name, job), outputs in zip(jobs.items(), found, strict=True)}


@pytest.mark.parametrize("overflow", ["wrap", "saturate"])
def test_shift_pe_is_the_plain_loop(results, overflow):
    inputs, outputs = results[overflow]
    start, x, code = (inputs[name][1] for name in ("start", "x", "code"))
    assert (signed32(outputs[3:]) == sums_of_runs(start, x, code, overflow)[:-3]).all()


def test_fixed_pe_is_the_plain_loop(results):
    inputs, outputs = results["fixed"]
    start, x, weight = (inputs[name][1] for name in ("start", "x", "weight"))
    assert (signed32(outputs[3:]) == fixed_reference(start, x, weight)[:-3]).all()


@pytest.mark.parametrize(("name", "latency"), [("dot", 7), ("dot saturate", 8)])
def test_dot_product_is_the_plain_loop(results, name, latency):
    inputs, outputs = results[name]
    exact = wrapped_dots(inputs["x"][1], inputs["weights"][1], saturate=name != "dot")
    assert (signed32(outputs[latency:]) == exact[:-latency]).all()


@pytest.mark.parametrize(("name", "latency", "reference"), [("product", 3, numpy_product), ("sum", 5, numpy_sum)])
def test_floating_point_is_numpy(results, name, latency, reference):
    inputs, outputs = results[name]
    assert (outputs[latency:] == reference(inputs["a"][1], inputs["b"][1])[:-latency]).all()


# --- The layer ---


def test_layer_is_a_separable_convolution(tmp_path):
    channels, cycles = 4, 60
    rng = np.random.default_rng(2)
    columns = rng.integers(-(2**20), 2**20, (cycles, channels, 3))
    spatial, mixing = rng.integers(0, 32, (channels, 9)), rng.integers(0, 32, (channels, channels))
    biases = rng.integers(-(2**20), 2**20, (2, channels))

    def held(values):
        return np.broadcast_to(values.ravel(), (cycles, values.size))

    inputs = {
        "columns": (32, columns.reshape(cycles, -1)),
        "depthwise_weights": (5, held(spatial)),
        "depthwise_biases": (32, held(biases[0])),
        "pointwise_weights": (5, held(mixing)),
        "pointwise_biases": (32, held(biases[1])),
    }
    # The output port is wide; one channel after the other is read from it.
    wrapper = f"""module one_channel #(parameter CHANNEL = 0) (
    input wire clk, input wire [{channels * 96 - 1}:0] columns, input wire [{channels * 45 - 1}:0] depthwise_weights,
    input wire [{channels * 32 - 1}:0] depthwise_biases, input wire [{channels * channels * 5 - 1}:0] pointwise_weights,
    input wire [{channels * 32 - 1}:0] pointwise_biases, output wire [31:0] y);
    wire [{channels * 32 - 1}:0] all;
    layer #(.CHANNELS({channels}), .EXPONENTS(15)) layer (.clk(clk), .columns(columns),
        .depthwise_weights(depthwise_weights),
        .depthwise_biases(depthwise_biases), .pointwise_weights(pointwise_weights),
        .pointwise_biases(pointwise_biases), .y(all));
    assign y = all[CHANNEL*32 +: 32];
endmodule
"""
    jobs = [Job("one_channel", {"CHANNEL": c}, inputs, ("y", 32)) for c in range(channels)]
    found = run("icarus", rtl() | {"one_channel.v": wrapper}, jobs, tmp_path)
    latency = 13
    between = np.zeros((cycles - 2, channels), np.int64)
    for c in range(channels):
        # Row by row, left to right: pixel (r, k) of the window that starts at cycle t is columns[t + k, c, r].
        windows = np.stack([columns[k : cycles - 2 + k, c, r] for r in range(3) for k in range(3)], axis=1)
        sums = wrapped_dots(windows, np.broadcast_to(spatial[c], windows.shape))
        between[:, c] = np.maximum(signed32(sums + biases[0, c]), 0)
    for c in range(channels):
        sums = wrapped_dots(between, np.broadcast_to(mixing[c], between.shape))
        expected = np.maximum(signed32(sums + biases[1, c]), 0)
        # The window is complete with its third column, two cycles after its first.
        assert (signed32(found[c][latency + 2 :]) == expected[:-latency]).all(), c
    assert (between > 0).any()
    assert (between == 0).any()


# --- Planted bugs ---

BUGS = {
    "negates before the shift": ("shift_multiply.v", "x >>> RIGHT", "(code[4] ? -x : x) >>> RIGHT"),
    "logical shift": ("shift_multiply.v", "largest >>> distance", "largest >> distance"),
    "shift too short": ("shift_multiply.v", "EXPONENTS - exponent", "EXPONENTS - 1 - exponent"),
    "zero is a power of two": ("shift_multiply.v", "exponent == 0", "code == 0"),
    "sign of the next weight": ("shift_multiply.v", "{(WIDTH+1){negative}}", "{(WIDTH+1){code[4]}}"),
    "no carry": ("shift_multiply.v", "flipped + negative", "flipped"),
    "32-bit term": ("accumulator.v", "sum_before + term", "sum_before + $signed(term[WIDTH-1:0])"),
    "limits swapped": ("accumulator.v", "{total[WIDTH+1], {(WIDTH-1){~total[WIDTH+1]}}}",
                       "{~total[WIDTH+1], {(WIDTH-1){total[WIDTH+1]}}}"),
    "start too early": ("shift_pe.v", "first[1]", "first[0]"),
}  # fmt: skip


@pytest.mark.parametrize("bug", BUGS)
def test_planted_bug_is_caught(tmp_path, bug):
    file, good, bad = BUGS[bug]
    sources = rtl()
    assert sources[file].count(good) >= 1
    sources[file] = sources[file].replace(good, bad)
    if bug == "negates before the shift":
        sources[file] = sources[file].replace("{(WIDTH+1){negative}}", "33'd0").replace("flipped + negative", "flipped")
    edge, codes = (side.ravel() for side in np.meshgrid(CORNERS, np.arange(32)))
    order = np.random.default_rng(3).permutation(edge.size)
    x, code = edge[order], codes[order]
    start = (np.arange(x.size) % 4 == 0).astype(int)
    pe = {"start": (1, start), "x": (32, x), "code": (5, code)}
    (found,) = run("icarus", sources, [Job("shift_pe", WIDE | {"SATURATE": 1}, pe, ("sum", 32))], tmp_path)
    assert (signed32(found[3:]) != sums_of_runs(start, x, code, "saturate")[:-3]).any()


FLOAT_BUGS = {
    "ties away from zero": ("float_multiply.v", "guard && (sticky || kept[0])", "guard"),
    "no sticky bit": ("float_add.v", "by16[8:0] != 0", "by16[8]"),
    "-0 from x - x": ("float_add.v", "sign3 && (normal[27] || !subtract3)", "sign3"),
    "subnormals count": ("float_add.v", "(lesser[30:23] == 0) ? 24'd0 : {1'b1", "(lesser[30:0] == 0) ? 24'd0 : {1'b1"),
    "infinity - infinity": ("float_add.v", "((lesser[30:23] == 255) && (a[31] ^ b[31]))", "1'b0"),
    "infinity times 0": ("float_multiply.v", "(a_huge && b_zero)", "1'b0"),
    "overflow wraps": ("float_multiply.v", "final_exponent >= 255", "final_exponent > 255"),
}


@pytest.mark.parametrize("bug", FLOAT_BUGS)
def test_planted_float_bug_is_caught(tmp_path, bug):
    file, good, bad = FLOAT_BUGS[bug]
    sources = rtl()
    assert sources[file].count(good) == 1
    sources[file] = sources[file].replace(good, bad)
    top, output, reference, latency = (
        ("float_add", "sum", numpy_sum, 5) if file == "float_add.v" else ("float_multiply", "product", numpy_product, 3)
    )
    a, b = pairs(500)
    (found,) = run("icarus", sources, [Job(top, {}, {"a": (32, a), "b": (32, b)}, (output, 32))], tmp_path)
    assert (found[latency:] != reference(a, b)[:-latency]).any()
