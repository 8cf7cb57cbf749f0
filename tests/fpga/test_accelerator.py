"""The whole network in Verilog: every bit is that of ``ShiftAdderNet``, every cycle that of the model."""

import dataclasses

import numpy as np
import pytest
import torch
from quantized_networks import quantized
from shift_maps import maps
from torch import nn

from fewbits.core import container
from fewbits.core.macs import layer_work
from fewbits.experiments.common import codes_path
from fewbits.fpga.accelerator import CHANNELS, FIELDS, LANES, Array, compile_network, instruction_word
from fewbits.fpga.fixed_point import QFormat
from fewbits.fpga.latency import accelerator_cycles
from fewbits.fpga.network import ShiftAdderNet
from fewbits.fpga.simulation import Simulator, missing_tools, sources
from fewbits.inq import encode_frozen
from fewbits.mobileone import MobileNetV1, reparameterize

WORDS = "not installed (README: optional system packages)"
VERILATOR = pytest.mark.skipif(bool(missing_tools()), reason=f"Verilator is {WORDS}")

LARGEST = Array(32)
BEST = "inq-mobileone-mean-only-aligned-distilled"


def small_model(seed: int = 0) -> nn.Sequential:
    """Both kinds of depthwise layers, channels that fill no word or several, classes that fill no slice."""
    torch.manual_seed(seed)
    model = nn.Sequential(
        nn.Conv2d(3, 8, 3, padding=1), nn.ReLU(),
        nn.Conv2d(8, 8, 3, padding=1, groups=8), nn.ReLU(),
        nn.Conv2d(8, 40, 1), nn.ReLU(),
        nn.Conv2d(40, 40, 3, stride=2, padding=1, groups=40), nn.ReLU(),
        nn.Conv2d(40, 70, 1), nn.ReLU(),
        nn.Conv2d(70, 70, 3, padding=1, groups=70), nn.ReLU(),
        nn.Conv2d(70, 36, 1), nn.ReLU(),
        nn.AdaptiveAvgPool2d(1), nn.Flatten(1),
        nn.Linear(36, 10),
    )  # fmt: skip
    with torch.no_grad():
        for number, parameter in enumerate(model.parameters()):
            parameter.mul_(2.0 ** (number % 5 - 1))  # exponents on both sides of 0
    return quantized(model)


def small_images(form: QFormat, count: int = 3) -> np.ndarray:
    return np.random.default_rng(1).integers(form.low // 8, form.high // 8, (count, 3, 8, 8))


@pytest.fixture(scope="module")
def small(tmp_path_factory):
    """The small network on the smallest array: model, codes, program and simulator."""
    model = small_model()
    codes = encode_frozen(model)
    program = compile_network(model, codes, Array(4), 8, 8)
    return model, codes, program, Simulator(program, tmp_path_factory.mktemp("small"), optimize=False)


@VERILATOR
def test_each_map_of_the_small_network_is_that_of_the_plain_layers(small):
    model, codes, program, simulator = small
    form = program.array.form
    images = small_images(form)
    net = ShiftAdderNet.from_codes(model, codes, form)
    found, expected = simulator.run(images, dump=True), maps(net.layers, images, form)
    assert len(found.maps) == len(expected)
    for name, ours, theirs in zip(program.names, found.maps, expected, strict=True):
        assert np.array_equal(ours, theirs), name
        assert (theirs != 0).mean() > 0.05, name
    assert np.array_equal(found.logits, net.run(images))
    assert np.array_equal(found.logits, expected[-1][:, :, 0, 0])
    assert [net.run_plain(image) for image in images[:1]] == found.logits[:1].tolist()
    assert set(found.cycles.tolist()) == {
        sum(layer.cycles for layer in accelerator_cycles(net.layers, program.array, 8, 8))
    }


@VERILATOR
@pytest.mark.parametrize("array", [Array(32), Array(32, stream=True)], ids=["1024", "1312"])
def test_mobileone_from_its_file(tmp_path, array):
    model = reparameterize(MobileNetV1().eval()).to("meta")
    codes = container.load_codes(codes_path(BEST))
    program = compile_network(model, codes, array)
    net = ShiftAdderNet.from_codes(model, codes, array.form)
    images = np.random.default_rng(0).integers(-2000, 2000, (3, 3, 32, 32))
    found = Simulator(program, tmp_path, optimize=False).run(images, dump=True)
    expected = dict(zip([layer.name for layer in net.layers], maps(net.layers, images, array.form), strict=True))
    for name, ours in zip(program.names, found.maps, strict=True):
        assert np.array_equal(ours, expected[name.rpartition("+")[2]]), name
    assert np.array_equal(found.logits, net.run(images))
    model_cycles = accelerator_cycles(net.layers, array)
    assert [layer.name for layer in model_cycles] == program.names
    assert set(found.cycles.tolist()) == {sum(layer.cycles for layer in model_cycles)}
    assert found.cycles[0] <= (12_000 if array.stream else 17_500)


@VERILATOR
@pytest.mark.parametrize("array", [Array(8, form=QFormat(16, 16)), Array(16)], ids=["256, Q16.16", "512"])
def test_size_and_number_format_are_parameters(tmp_path, array):
    model = small_model(2)
    codes = encode_frozen(model)
    program = compile_network(model, codes, array, 8, 8)
    images = small_images(array.form)
    found = Simulator(program, tmp_path, optimize=False).run(images)
    assert np.array_equal(found.logits, ShiftAdderNet.from_codes(model, codes, array.form).run(images))


# --- Injected faults ---

DATA_FAULTS = {
    "schedule: a pass too few": ("scans", 2, -1),
    "schedule: a column too few": ("columns", 4, -1),
    "schedule: a group too few": ("groups", 4, -1),
    "schedule: a slice too few": ("slices", 2, -1),
    "schedule: results not waited for": ("wait", 1, -8),
    "address: weights": ("base", 3, 1),
    "address: rows of the input": ("row_step", 2, 1),
    "address: words of the output": ("out_words", 2, 1),
    "exponent of a layer": ("pre", 2, 1),
    "exponent of a window": ("window_pre", 1, 1),
    "exponent of the biases": ("one", 1, 1),
    "size of the pool": ("pool_shift", 6, -1),
}


@VERILATOR
@pytest.mark.parametrize("fault", DATA_FAULTS)
def test_a_fault_in_the_program_is_caught(small, fault):
    model, codes, program, simulator = small
    images = small_images(program.array.form)
    field, number, change = DATA_FAULTS[fault]
    instructions = [dict(instruction) for instruction in program.instructions]
    instructions[number][field] += change
    simulator.load(dataclasses.replace(program, instructions=instructions))
    found = simulator.run(images)
    simulator.load(program)
    assert not np.array_equal(found.logits, ShiftAdderNet.from_codes(model, codes, program.array.form).run(images))


@VERILATOR
def test_the_sign_of_a_weight_matters(small):
    """One weight of each layer, of the busiest channels, negated in its memory."""
    model, codes, program, simulator = small
    images = small_images(program.array.form)
    expected = maps(ShiftAdderNet.from_codes(model, codes, program.array.form).layers, images, program.array.form)
    for number, instruction in enumerate(program.instructions):
        weights = list(program.weights)
        active = (expected[number][:, : program.array.columns] != 0).sum((0, 2, 3))
        if instruction["flags"] & 2:  # depthwise: its own channel of the input must be busy too
            active *= (expected[number - 1][:, : program.array.columns] != 0).sum((0, 2, 3))
        column = int(active.argmax())
        busiest = np.argsort(-np.abs(expected[number - 1]).sum((0, 2, 3))) if instruction["flags"] & 1 == 0 else [4]
        places = [5 * (column * LANES + int(lane)) for lane in busiest if lane < CHANNELS]
        place = next(place for place in places if weights[instruction["base"]] >> place & 15)
        weights[instruction["base"]] ^= 16 << place
        simulator.load(dataclasses.replace(program, weights=weights))
        found = simulator.run(images, dump=True).maps
        simulator.load(program)
        assert not np.array_equal(found[number], expected[number]), program.names[number]


# The expression that is right, and one that is not. The simulator chooses by an option when it runs.
RTL_FAULTS = {
    "schedule: windows not cleared": ("window.v", "clear ? {CHANNELS*4*BITS{1'b0}} : middle_one", "middle_one"),
    "schedule: a sum begins a slice late": ("column.v", "first ? bias : sums[slice]", "sums[slice]"),
    "address: the bank of a row": ("accelerator.v", "above[4:2] + (b < above[1:0])", "above[4:2]"),
    "address: halves of the memory": ("accelerator.v", "!side", "side"),
    "border: the second row below": ("sequencer.v", "row + 8'd2 < height", "1'b1"),
    "border: the column to the right": ("sequencer.v", "{4{!beyond}}", "4'b1111"),
    "sign: a carry too few": ("column.v", "negative[15]", "1'b0"),
    "sign: a bias": ("column.v", "bias_term + bias_negative", "bias_term"),
    "sign: the weights": ("shift_term.v", "moved[WIDTH-1:0] ^ {WIDTH{code[4]}}", "moved[WIDTH-1:0]"),
    "rounding: logical shift": ("preshift.v", "moved[LOW +: WIDTH+7]", "moved[LOW +: WIDTH]"),
}  # fmt: skip


@pytest.fixture(scope="module")
def faulty(small, tmp_path_factory):
    """The simulator of the small network, in which each fault sleeps until an option wakes it."""
    verilog = sources()
    for number, (file, good, bad) in enumerate(RTL_FAULTS.values()):
        assert verilog[file].count(good) == 1, good
        verilog[file] = verilog[file].replace(good, f'($test$plusargs("fault{number}") != 0 ? ({bad}) : ({good}))')
    return Simulator(small[2], tmp_path_factory.mktemp("faulty"), verilog, optimize=False)


@VERILATOR
def test_no_fault_is_awake_by_itself(small, faulty):
    images = small_images(small[2].array.form)
    assert np.array_equal(faulty.run(images).logits, small[3].run(images).logits)


@VERILATOR
@pytest.mark.parametrize("fault", RTL_FAULTS)
def test_a_fault_in_the_verilog_is_caught(small, faulty, fault):
    model, codes, program, _ = small
    images = small_images(program.array.form)
    found = faulty.run(images, options=[f"fault{list(RTL_FAULTS).index(fault)}"])
    assert not np.array_equal(found.logits, ShiftAdderNet.from_codes(model, codes, program.array.form).run(images))


# --- The program ---


@pytest.mark.parametrize("field", FIELDS)
def test_a_field_that_spills_into_the_next_is_refused(field):
    zeros = dict.fromkeys(FIELDS, 0)
    last = (1 << FIELDS[field]) - 1
    word = instruction_word(zeros | {field: last})
    assert word.bit_count() == FIELDS[field]
    assert word >> sum(list(FIELDS.values())[list(FIELDS).index(field) + 1 :]) == last
    for value in (last + 1, -1):
        with pytest.raises(ValueError, match=rf"field {field} of the instruction must fit {FIELDS[field]} bits"):
            instruction_word(zeros | {field: value})


@pytest.mark.parametrize("array", [Array(4), Array(8), Array(16), Array(32), Array(32, stream=True)])
def test_the_model_counts_the_steps_of_the_program(array):
    """The counters of the sequencer, run in Python, against the model, which knows shapes only."""
    model = reparameterize(MobileNetV1().eval()).to("meta")
    codes = container.load_codes(codes_path(BEST))
    program = compile_network(model, codes, array)
    layers = ShiftAdderNet.from_codes(model, codes, array.form).layers
    counted = []
    for instruction in program.instructions:
        windowed, split, _, stride_2 = (instruction["flags"] >> bit & 1 for bit in range(4))
        steps = 0
        for column in range(instruction["columns"] + 1):
            emits = not windowed or (column % 2 if stride_2 else column > 0)
            steps += (instruction["groups"] + 1) * (instruction["slices"] + 1 if emits or split else 1)
        counted.append(steps * (instruction["scans"] + 1) + instruction["wait"])
    found = accelerator_cycles(layers, array)
    assert [layer.cycles for layer in found] == counted
    assert sum(layer.macs for layer in found) == sum(
        work.macs for work in layer_work(reparameterize(MobileNetV1().eval()), (3, 32, 32))
    )
    assert all(0 < layer.utilization(array) <= 1 for layer in found)


def test_every_weight_of_the_file_is_in_the_memories():
    model = reparameterize(MobileNetV1().eval()).to("meta")
    codes = container.load_codes(codes_path(BEST))
    nonzero = sum(int((form.values % 16 != 0).sum()) for form in codes.values())
    spatial = {name for name, form in codes.items() if name.endswith("weight") and form.shape[1:] == (1, 3, 3)}
    spatial |= {name.replace("weight", "bias") for name in spatial}
    twice = sum(int((codes[name].values % 16 != 0).sum()) for name in spatial)
    for array, expected in ((Array(32), nonzero + twice), (Array(4), nonzero + twice), (Array(32, True), nonzero)):
        program = compile_network(model, codes, array)
        words = [*program.weights, *program.window_weights]
        fields = [word >> 5 * place & 15 for word in words for place in range(word.bit_length() // 5 + 1)]
        assert sum(field != 0 for field in fields) == expected, array


def test_what_does_not_fit_is_named():
    def refused(model, match, array=LARGEST, size=8):
        model = quantized(model)
        with pytest.raises(ValueError, match=match):
            compile_network(model, encode_frozen(model), array, size, size)

    first = [nn.Conv2d(3, 8, 3, padding=1), nn.ReLU()]
    end = [nn.AdaptiveAvgPool2d(1), nn.Flatten(1), nn.Linear(8, 4)]
    refused(nn.Sequential(nn.Conv2d(3, 8, 1), nn.ReLU(), *end), "0 is no layer of the accelerator")
    refused(nn.Sequential(nn.Conv2d(4, 8, 3, padding=1), nn.ReLU(), *end), "0 is no layer of the accelerator")
    refused(nn.Sequential(*first, nn.Conv2d(8, 8, 3, padding=1), nn.ReLU(), *end), "2 is no layer of the accelerator")
    refused(nn.Sequential(*first, *end), "0 reads 64 rows of 64 words", size=64)
    spatial = [nn.Conv2d(8, 8, 3, padding=1, groups=8), nn.ReLU()]
    refused(nn.Sequential(*first, *spatial, *end), "4|6 follows an average pool")
    twice = [*spatial, nn.Conv2d(8, 8, 3, padding=1, groups=8), nn.ReLU(), nn.Conv2d(8, 8, 1)]
    refused(nn.Sequential(*first, *twice, *end), "2 must have a ReLU", Array(32, True))
    strided = nn.Conv2d(8, 8, 3, stride=2, padding=1, groups=8)
    refused(nn.Sequential(*first, strided, nn.ReLU(), nn.Conv2d(8, 8, 1), *end), "2 has stride 2 and 7 columns", size=7)
    refused(nn.Sequential(*first, nn.Conv2d(8, 4, 1)), "2 has more than one pixel")
    wide = [nn.Conv2d(3, 256, 3, padding=1), nn.ReLU(), nn.Conv2d(256, 256, 1), nn.ReLU()]
    wide += [nn.AdaptiveAvgPool2d(1), nn.Flatten(1), nn.Linear(256, 4)]
    refused(nn.Sequential(*wide), "2 takes 512 steps for a pixel, over 256", Array(4), size=4)
    three_bits = quantized(nn.Sequential(*first, *end), bits=3)
    with pytest.raises(ValueError, match="fields of 5 bits, got 3"):
        compile_network(three_bits, encode_frozen(three_bits, 3), Array(), 8, 8)
    for arguments in ({"columns": 5}, {"columns": 16, "stream": True}):
        with pytest.raises(ValueError, match="columns"):
            Array(**arguments)


def test_images_are_checked(small_program):
    with pytest.raises(ValueError, match=r"images must have shape \(N, 3, 8, 8\)"):
        small_program.image_text(np.zeros((1, 3, 8, 9), np.int64))
    with pytest.raises(ValueError, match=r"images must fit Q6\.10"):
        small_program.image_text(np.full((1, 3, 8, 8), 1 << 15))


@pytest.fixture
def small_program():
    model = small_model()
    return compile_network(model, encode_frozen(model), Array(4), 8, 8)
