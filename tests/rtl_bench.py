"""Runs Verilog modules in Icarus Verilog or Verilator, as an oracle for the tests: neither shares code with Yosys."""

import importlib.resources
import shutil
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest

NEEDS = {"icarus": ("iverilog", "vvp"), "verilator": ("verilator", "make", "g++")}


@dataclass
class Job:
    """A module to run.

    Args:
        top, parameters: the module.
        inputs: by port, (bits of a number, (cycles,) or (cycles, k) integers; number 0 in the lowest bits).
        output: (name, bits) of the port to read.
    """

    top: str
    parameters: Mapping[str, int]
    inputs: Mapping[str, tuple[int, np.ndarray]]
    output: tuple[str, int]


def need(simulator: str) -> None:
    """Skip the test where the simulator is not installed."""
    missing = [tool for tool in NEEDS[simulator] if shutil.which(tool) is None]
    if missing:
        pytest.skip(f"{simulator} cannot run: {', '.join(missing)} not installed (README: optional system packages)")


def run(
    simulator: str, sources: Mapping[str, str], jobs: list[Job], folder: Path, blocks: Sequence[str] = ()
) -> list[np.ndarray]:
    """What the output of each job holds at the end of each cycle, before the clock edge.

    Args:
        blocks: modules that Verilator compiles once for all their copies: a large layer is then built in a minute.
    Returns:
        For each job (cycles,) uint64, or (cycles, k) where the output is wider than 64 bits and holds k numbers of 32.
    """
    need(simulator)
    for name, text in sources.items():
        (folder / name).write_text(text, "utf-8")
    for number, job in enumerate(jobs):
        for port, (bits, values) in job.inputs.items():
            (folder / f"{number}_{port}.hex").write_text(_hex_lines(values, bits), "ascii")
    (folder / "bench.v").write_text(_bench(jobs), "utf-8")
    if simulator == "icarus":
        build = ["iverilog", "-g2005", "-s", "bench", "-o", "bench.vvp", "bench.v", *sources]
        execute = ["vvp", "bench.vvp"]
    else:
        options = ["-Wno-fatal", "-Wno-lint", "-O3", "--top-module", "bench"]
        build = ["verilator", "--binary", "--language", "1364-2005", *options, "bench.v", *sources]
        if blocks:
            lines = [f'hier_block -module "{name}"\n' for name in blocks]
            (folder / "blocks.vlt").write_text("`verilator_config\n" + "".join(lines), "ascii")
            # Verilator's own --main cannot be used with --hierarchical.
            main = (importlib.resources.files("fewbits.fpga") / "rtl" / "bench" / "main.cpp").read_text("utf-8")
            (folder / "main.cpp").write_text(main.replace("Vaccelerator_bench", "Vbench"), "utf-8")
            # What it writes for a block that is compiled by itself is SystemVerilog, ours is not.
            build = ["verilator", "--cc", "--exe", "--timing", "--build", "--hierarchical", "+1364-2005ext+v", *options]
            build += ["-MAKEFLAGS", "OPT_FAST=-O0 OPT_SLOW=-O0 OPT_GLOBAL=-O0", "blocks.vlt", "bench.v", *sources]
            build += ["main.cpp"]
        execute = ["obj_dir/Vbench"]
    for command in (build, execute):
        done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout[-1000:] + done.stderr[-3000:]
    texts = [(folder / f"{number}.out").read_text("ascii").split() for number in range(len(jobs))]
    return [_numbers(text, job.output[1]) for text, job in zip(texts, jobs, strict=True)]


def _numbers(words: list[str], bits: int) -> np.ndarray:
    # A bit that is not settled prints as x or z: that is the case before the first results come out.
    values = [int(word, 16) if word.isalnum() and not set("xzXZ") & set(word) else 0 for word in words]
    if bits <= 64:
        return np.array(values, np.uint64)
    return np.array([[value >> place & 0xFFFFFFFF for place in range(0, bits, 32)] for value in values], np.uint64)


def _hex_lines(values: np.ndarray, bits: int) -> str:
    mask = (1 << bits) - 1
    numbers = values.reshape(len(values), -1).astype(object) & mask
    shifts = np.array([1 << (bits * k) for k in range(numbers.shape[1])], object)
    return "".join(f"{number:x}\n" for number in (numbers * shifts).sum(axis=1))


def _bench(jobs: list[Job]) -> str:
    """One test bench with all modules, each with its own clock and files: one build is enough for all of them."""
    parts = []
    for number, job in enumerate(jobs):
        cycles = len(next(iter(job.inputs.values()))[1])
        widths = {port: bits * values[0].size for port, (bits, values) in job.inputs.items()}
        output, bits = job.output
        declared = "".join(
            f"    reg [{width - 1}:0] {port}_{number}, next_{port}_{number};\n" for port, width in widths.items()
        )
        files = "".join(f"    integer file_{port}_{number};\n" for port in widths)
        opened = "".join(f'        file_{port}_{number} = $fopen("{number}_{port}.hex", "r");\n' for port in widths)
        # Not straight into the input: Verilator 5.006 does not notice that $fscanf changes what logic depends on.
        read = "".join(
            f'            code = $fscanf(file_{port}_{number}, "%h", next_{port}_{number});\n'
            f"            {port}_{number} = next_{port}_{number};\n"
            for port in widths
        )
        wires = ", ".join(f".{port}({port}_{number})" for port in widths)
        settings = ", ".join(f".{name}({value})" for name, value in job.parameters.items())
        parts.append(f"""{declared}{files}    reg clk_{number};
    wire [{bits - 1}:0] out_{number};
    {job.top} #({settings}) dut_{number} (.clk(clk_{number}), {wires}, .{output}(out_{number}));
    task job_{number}; begin
        clk_{number} = 0;
{opened}        result = $fopen("{number}.out", "w");
        for (cycle = 0; cycle < {cycles}; cycle = cycle + 1) begin
{read}            #1 $fdisplay(result, "%h", out_{number});
            clk_{number} = 1;
            #1 clk_{number} = 0;
        end
        $fclose(result);
    end endtask
""")
    calls = "".join(f"        job_{number};\n" for number in range(len(jobs)))
    return f"""`timescale 1ns/1ns
module bench;
    integer cycle, code, result;
{"".join(parts)}    initial begin
{calls}        $finish;
    end
endmodule
"""
