"""The whole network as one accelerator: simulated on test images, synthesized at every size.

Four parts, each resumable: a row that is recorded is not measured again.

* ``simulation``: CIFAR-100 test images in Verilator, against ``ShiftAdderNet`` bit for bit; five images layer by layer.
* ``resources``: counts of Yosys for the chip of the ZCU102, with memories, at every size of the array.
* ``accuracy``: all test images at 16 and 32 bits, for each float network that was trained.
* ``clock``: a column of the array, placed and routed for an ECP5, whose tools are open.

Written are ``data/results/fpga_network_<part>.csv`` and the claims, ``fpga_network.json``.
"""

import hashlib
import json
import resource
import tempfile
import time
from collections import Counter
from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd
import torch
from torch import nn

from fewbits import evidence
from fewbits.core import container
from fewbits.core.codes import StoredForm
from fewbits.core.files import write_whole
from fewbits.data import Dataset
from fewbits.experiments.common import codes_path, merge_rows, recorded, run_folder
from fewbits.experiments.fpga_network.claims import CLOCK_HZ, IMAGES, make_claims
from fewbits.experiments.mobileone.cifar100 import cifar100
from fewbits.fpga.accelerator import Q6_10, Array, Program, compile_network
from fewbits.fpga.fixed_point import Q16_16, QFormat
from fewbits.fpga.latency import accelerator_cycles
from fewbits.fpga.network import ShiftAdderNet
from fewbits.fpga.place import Placement, place
from fewbits.fpga.simulation import Simulator, sources
from fewbits.fpga.synthesis import Synthesis, synthesize
from fewbits.mobileone import MobileNetV1, reparameterize

PARTS = ("simulation", "resources", "accuracy", "clock")
NETWORK, VARIANT = "inq-mobileone-mean-only-aligned-distilled", "mean-only+aligned+distilled"
ARRAYS = (Array(4), Array(8), Array(16), Array(32), Array(32, stream=True))
SIMULATED = ARRAYS[3:]
BLOCK, DUMPED = 50, 5  # images of one run of the simulator, and images that are compared layer by layer
OTHERS = (Q16_16, QFormat(7, 9), QFormat(8, 8))  # formats beside Q6.10, for one network
# What is placed: module and parameters; on an ECP5-5G of the fastest grade, with the clock in mind that is assumed.
CIRCUITS: dict[str, tuple[str, dict[str, int]]] = {
    "column of 32 elements": ("column", {"WIDTH": 16, "SLICE": 6}),
}
CHIP = ("--um5g-85k", "--package", "CABGA756", "--speed", "8")
KEYS = {
    "simulation": ["shift_adders"],
    "resources": ["shift_adders"],
    "accuracy": ["seed", "form"],
    "clock": ["circuit"],
}
COLUMNS = {
    "simulation": ["shift_adders", "images", "equal", "cycles"],
    "resources": ["shift_adders", "LUT", "LUTRAM", "FF", "BRAM", "DSP"],
    "accuracy": ["seed", "form", "change"],
    "clock": ["circuit", "MHz"],
}


def add_arguments(parser) -> None:
    """Options of ``python -m fewbits.experiments fpga_network``."""
    parser.add_argument("--part", choices=PARTS, help="only this part")
    sizes = [array.elements for array in ARRAYS]
    parser.add_argument("--shift-adders", type=int, choices=sizes, help="only the array of this size")
    parser.add_argument("--images", type=int, default=IMAGES, help=f"test images to simulate (default {IMAGES:,})")


def run(options, command: str) -> None:
    """Measure what is missing, then write tables and claims."""
    evidence.code_version()
    started = time.perf_counter()
    for name in PARTS if options.part is None else (options.part,):
        {"simulation": simulation, "resources": resources, "accuracy": accuracies, "clock": clocks}[name](
            options, command
        )
    record(command, time.perf_counter() - started)


def record(command: str, wall_s: float) -> None:
    """Write the claims that the recorded tables give."""
    tables = {name: recorded(f"fpga_network_{name}", COLUMNS[name]) for name in PARTS}
    evidence.record("fpga_network", make_claims(tables), command=command, wall_s=wall_s)


def network(seed: int = 0) -> tuple[nn.Module, dict[str, StoredForm]]:
    """The structure of the network, without weights, and the codes of its file."""
    codes = container.load_codes(codes_path(NETWORK + (f"-{seed}" if seed else "")))
    return reparameterize(MobileNetV1().eval()).to("meta"), dict(codes)


def program(array: Array) -> Program:
    """The program of the network for one array."""
    return compile_network(*network(), array)


def missing(part: str, **row: object) -> bool:
    """Whether the table of a part has no such row."""
    table = recorded(f"fpga_network_{part}", COLUMNS[part])
    return not (table[list(row)] == pd.Series(row)).all(axis=1).any()


def keep(part: str, row: Mapping[str, object], command: str, started: float) -> None:
    """Write a row of a part's table, with its provenance."""
    seconds = round(time.perf_counter() - started, 1)
    frame = pd.DataFrame([{**row, "seconds": seconds}])
    print(frame.to_string(index=False), flush=True)
    merge_rows(f"fpga_network_{part}", evidence.stamped(frame, command, seconds), KEYS[part])


def chosen(arrays: Sequence[Array], options) -> list[Array]:
    """Those of ``arrays`` that the options ask for."""
    return [array for array in arrays if options.shift_adders in (None, array.elements)]


# --- The parts ---


def simulation(options, command: str) -> None:
    """A row for each array that is simulated."""
    data = None
    for array in chosen(SIMULATED, options):
        if missing("simulation", shift_adders=array.elements, images=options.images):
            data = data or cifar100(torch.device("cpu"))
            started = time.perf_counter()
            keep("simulation", simulate(array, data, options.images), command, started)


def simulate(array: Array, data: Dataset, images: int) -> dict[str, object]:
    """Compare the first test images in the simulator with ``ShiftAdderNet``.

    Returns:
        a row: how many images and how many of them have equal logits, layers whose maps were compared and are equal,
        cycles of an image (the most), cycles that the model says, and images that are classified right.
    """
    model, codes = network()
    net = ShiftAdderNet.from_codes(model, codes, array.form)
    equal = correct = cycles = 0
    with tempfile.TemporaryDirectory() as folder:
        simulator = Simulator(compile_network(model, codes, array), folder)
        for first in range(0, images, BLOCK):
            block = slice(first, min(first + BLOCK, images))
            inputs = net.encode(data.test_images[block])
            found = simulator.run(inputs)
            equal += int((found.logits == net.run(inputs)).all(axis=1).sum())
            correct += int((torch.from_numpy(found.logits.argmax(1)) == data.test_labels[block]).sum())
            cycles = max(cycles, int(found.cycles.max()))
            print(f"{array.elements} shift-adders: {equal} of {block.stop} images equal", flush=True)
        layers = equal_layers(simulator, net, net.encode(data.test_images[:DUMPED]))
    counted = sum(layer.cycles for layer in accelerator_cycles(net.layers, array))
    row: dict[str, object] = {"shift_adders": array.elements, "images": images, "equal": equal, "correct": correct}
    return (
        row
        | {"instructions": len(simulator.program.names), "layers_equal": layers}
        | {
            "cycles": cycles,
            "model_cycles": counted,
        }
    )


def equal_layers(simulator: Simulator, net: ShiftAdderNet, images: np.ndarray) -> int:
    """Instructions whose whole output is that of ``ShiftAdderNet``, cut off after the same layer."""
    found = simulator.run(images, dump=True)
    expected = dict(net.maps(images))
    names = [name.rpartition("+")[2] for name in simulator.program.names]
    return sum(bool(np.array_equal(ours, expected[name])) for name, ours in zip(names, found.maps, strict=True))


def resources(options, command: str) -> None:
    """A row for each array that is synthesized."""
    for array in chosen(ARRAYS, options):
        if missing("resources", shift_adders=array.elements):
            started = time.perf_counter()
            keep("resources", count(array), command, started)


def count(array: Array) -> dict[str, object]:
    """Synthesize an accelerator, with its memories and their content.

    What Yosys found stays in the folder of the run, with seconds and megabytes: the same sources give the same again.
    So ``synthesis_s`` of a row is the time that Yosys took, at that or an earlier commit with the same sources, and
    ``seconds`` what the row took, which is little if the cells were only counted again.
    """
    made = program(array)
    verilog = sources() | made.texts()
    text = json.dumps([verilog, made.parameters], sort_keys=True)
    kept = run_folder("fpga_network") / f"cells-{hashlib.sha256(text.encode()).hexdigest()[:16]}.json"
    if not kept.exists():
        started = time.perf_counter()
        found = synthesize("accelerator", made.parameters, sources=verilog, flatten=False, memories=True)
        kept.parent.mkdir(parents=True, exist_ok=True)
        memory = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss // 1000
        about = {"synthesis_s": round(time.perf_counter() - started, 1), "megabytes": memory}
        write_whole(kept, json.dumps({"cells": dict(found.cells), "about": about}).encode())
    state = json.loads(kept.read_text("utf-8"))
    found = Synthesis("accelerator", Counter(state["cells"]), {})
    counts: dict[str, object] = {"shift_adders": array.elements, **found.counts(), "BRAM": found.block_rams}
    return counts | {"CARRY4": found.cells["CARRY4"], **state["about"]}


def accuracies(options, command: str) -> None:
    """A row for each float network, and for other formats; ``mobileone`` has recorded the accuracy in float."""
    table = evidence.rows("mobileone_cifar100").set_index(["variant", "seed"])
    data = None
    for seed, form in [(seed, Q6_10) for seed in range(3)] + [(0, form) for form in OTHERS]:
        if missing("accuracy", seed=seed, form=str(form)):
            data, started = data or cifar100(torch.device("cpu")), time.perf_counter()
            classes = ShiftAdderNet.from_codes(*network(seed), form).classify(data.test_images)
            right = 100 * float((classes == data.test_labels).double().mean())
            before = float(table.loc[VARIANT, seed].accuracy)
            row = {"seed": seed, "form": str(form), "images": len(classes), "accuracy": round(right, 2)}
            keep("accuracy", row | {"in_float": before, "change": round(right - before, 2)}, command, started)


def clocks(options, command: str) -> None:
    """A row for each circuit that is placed and routed."""
    for circuit, (top, parameters) in CIRCUITS.items():
        if missing("clock", circuit=circuit):
            started = time.perf_counter()
            (found,) = place(top, parameters, sources=sources(), chip=CHIP, aim=CLOCK_HZ // 1_000_000)
            keep("clock", {"circuit": circuit, **clock_row(found)}, command, started)


def clock_row(found: Placement) -> dict[str, float]:
    """MHz of a placed circuit, and how many tables, flip-flops, and cells of memory it takes."""
    cells = {name.removeprefix("TRELLIS_"): count for name, count in found.cells.items()}
    return {"MHz": round(found.mhz, 1)} | {name: cells.get(name, 0) for name in ("COMB", "FF", "RAMW", "DP16KD")}
