"""The accelerator in Verilator: images in, logits and cycles out."""

import importlib.resources
import shutil
import subprocess
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from fewbits.fpga.accelerator import CHANNELS, Program
from fewbits.fpga.synthesis import rtl

TOOLS = ("verilator", "make", "g++")
CAPACITY = 250  # images of a run
TOP = "accelerator_bench"
FAST = ("-O3", "--x-assign", "fast", "-MAKEFLAGS", "OPT_FAST=-O3\\ -march=native")
QUICK = ("-MAKEFLAGS", "OPT_FAST=-O0 OPT_SLOW=-O0 OPT_GLOBAL=-O0")
MODULES = (
    "accelerator",
    "average_pool",
    "block_ram",
    "carry_tree",
    "column",
    "delay",
    "depthwise_column",
    "feature_memory",
    "preshift",
    "row_select",
    "sequencer",
    "shift_term",
    "window",
)


def missing_tools() -> list[str]:
    """Which programs that a simulation needs are not installed.

    Source: own (check)
    """
    return [name for name in TOOLS if shutil.which(name) is None]


@dataclass(frozen=True, eq=False)
class Run:
    """What a simulation found.

    Attributes:
        logits: (N, classes) int64, in the format.
        cycles: (N,) int64: from start to the last cycle in which the accelerator is busy.
        maps: for each instruction (N, channels, height, width) int64, what it wrote into the feature memory; channels
            and pixels that it did not write are 0. Empty unless they were asked for.
    Source: own (simulation)
    """

    logits: np.ndarray
    cycles: np.ndarray
    maps: list[np.ndarray]


def sources() -> dict[str, str]:
    """The Verilog of the accelerator and its modules: text by file name.

    Source: own (sources of the circuits)
    """
    return {name: text for name, text in rtl().items() if name.removesuffix(".v") in MODULES}


class Simulator:
    """An accelerator, compiled for one program in a folder that exists.

    Args:
        program: its array and parameters are built in; its memories are files, written again by :meth:`load`.
        folder: everything is written there.
        verilog: text by file name, :func:`sources` if left out.
        optimize: False compiles in half the time and runs ten times slower: for a few images.
    Raises:
        FileNotFoundError: Verilator, or a compiler that it needs, is not installed.
        RuntimeError: Verilator or the compiler refuses; its message is passed on.
    Source: own (simulation)
    """

    def __init__(
        self, program: Program, folder: str | Path, verilog: Mapping[str, str] | None = None, optimize: bool = True
    ):
        if missing := missing_tools():
            raise FileNotFoundError(f"the simulation cannot run: {', '.join(missing)} not installed")
        self.program, self.folder = program, Path(folder)
        verilog = sources() if verilog is None else verilog
        bench = importlib.resources.files("fewbits.fpga") / "rtl" / "bench"
        texts = {name: (bench / name).read_text("utf-8") for name in (f"{TOP}.v", "main.cpp")}
        texts |= {**verilog, "parameters.vh": parameters(program)}
        for name, text in texts.items():
            (self.folder / name).write_text(text, "utf-8")
        self.load(program)
        # The wrappers that Verilator writes for a module compiled by itself are SystemVerilog, ours is not.
        build = ["verilator", "--cc", "--exe", "--timing", "--build", "--hierarchical", "+1364-2005ext+v"]
        build += ["-Wno-fatal", "-Wno-lint", "--top-module", TOP, *(FAST if optimize else QUICK)]
        _call([*build, f"{TOP}.v", *sorted(verilog), "main.cpp"], self.folder)

    def load(self, program: Program) -> None:
        """Write the memories of a program, whose array and parameters must be those that were built.

        Raises:
            ValueError: they are others.
        """
        if (program.array, program.parameters) != (self.program.array, self.program.parameters):
            raise ValueError("program must have the array and the parameters that the simulator was built for")
        self.program = program
        program.write(self.folder)

    def run(self, images: np.ndarray, dump: bool = False, options: Iterable[str] = ()) -> Run:
        """Compute images.

        Args:
            images: (N, channels, height, width) integers in the format, at most ``CAPACITY``.
            dump: return the feature maps too, which takes longer.
            options: words for ``$test$plusargs`` in Verilog of your own.
        Raises:
            ValueError: too many, none, or another shape, or they do not fit the format.
            RuntimeError: the simulation ended without all logits.
        """
        if not 0 < len(images) <= CAPACITY:
            raise ValueError(f"images must be 1 to {CAPACITY}, got {len(images)}")
        (self.folder / "images.mem").write_text(self.program.image_text(images), "ascii")
        words = [f"images={len(images)}", *["dump"] * dump, *options]
        _call([f"obj_dir/V{TOP}", *(f"+{word}" for word in words)], self.folder)
        logits, cycles = self._logits(len(images))
        return Run(logits, cycles, self._maps(len(images)) if dump else [])

    def _logits(self, count: int) -> tuple[np.ndarray, np.ndarray]:
        array, outputs = self.program.array, self.program.outputs
        slices = -(-outputs // array.columns)
        logits = np.zeros((count, slices * array.columns), np.int64)
        cycles, seen = [], np.zeros((count, slices), bool)
        for line in (self.folder / "logits.txt").read_text("ascii").splitlines():
            kind, number, *rest = line.split()
            if kind == "image":
                cycles.append(int(rest[1]))
            else:
                place = int(number)
                logits[len(cycles), place * array.columns :][: array.columns] = self._numbers(rest[0], array.columns)
                seen[len(cycles), place] = True
        if len(cycles) != count or not seen.all():
            raise RuntimeError(f"the simulation ended with {seen.all(axis=1).sum()} of {count} images")
        return logits[:, :outputs], np.array(cycles)

    def _numbers(self, digits: str, count: int) -> np.ndarray:
        width = self.program.array.form.width
        word = int(digits, 16)
        return self.program.array.form.wrap(np.array([word >> width * i & (1 << width) - 1 for i in range(count)]))

    def _maps(self, count: int) -> list[np.ndarray]:
        columns = self.program.array.columns
        maps = [np.zeros((count, *shape), np.int64) for shape in self.program.shapes]
        image, before = 0, 0
        for line in (self.folder / "maps.txt").read_text("ascii").splitlines():
            layer, banks, part, address, *words = line.split()
            number = int(layer)
            image, before = image + (number < before), number
            words_a_pixel = self.program.instructions[number]["out_words"]
            pixel, word = divmod(int(address) % 32, words_a_pixel)
            channel = word * CHANNELS + int(part) * columns
            for bank in range(4):
                if banks[3 - bank] == "1":
                    row = int(address) // 32 * 4 + bank
                    second = banks.count("1") == 2 and bank % 2
                    values = self._numbers(words[1 if second else 0], columns)
                    target = maps[number][image, channel : channel + columns, row : row + 1, pixel : pixel + 1]
                    target[...] = values[: len(target), None, None]
        return maps


def parameters(program: Program) -> str:
    """What the test bench includes: parameters of ``accelerator``, size of an image, and images of a run at most.

    Source: own (simulation)
    """
    _, height, width = program.image_shape
    settings = program.parameters | {"PIXELS": height * width, "ROW": width, "CAPACITY": CAPACITY}
    return "".join(f"localparam {name} = {value};\n" for name, value in settings.items())


def _call(command: list[str], folder: Path) -> None:
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(f"{command[0]} failed: {(done.stdout[-1000:] + done.stderr[-2000:]).strip()}")
