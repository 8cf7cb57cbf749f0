"""How many test vectors a second does the gate-level simulator run? Beside it the plain loop that it is compared with.

A vector is one pair for a processing element, and one set of 32 pairs for the dot product. Synthesis is not counted.
With ``--record`` the figures go to ``data/results/fpga_gates_simulators.csv``, which chapter ``fpga_gates`` shows.
"""

import sys
import time
from collections.abc import Callable

import numpy as np
import pandas as pd

from fewbits import evidence
from fewbits.fpga import shift_adder
from fewbits.fpga.netlist import Netlist
from fewbits.fpga.synthesis import WIDE, synthesize

CYCLES, LANES = 32, 4096


def best(work: Callable[[], object], turns: int = 3) -> float:
    """Seconds of the fastest of ``turns`` runs."""
    seconds = []
    for _ in range(turns):
        started = time.perf_counter()
        work()
        seconds.append(time.perf_counter() - started)
    return min(seconds)


def main() -> None:
    """Print vectors a second: both simulators of the shift PE, then larger circuits gate by gate."""
    rng = np.random.default_rng(0)
    x = rng.integers(-(2**31), 2**31, (CYCLES, LANES))
    codes = rng.integers(0, 32, x.shape)
    bits = rng.integers(0, 2**32, (2, *x.shape))
    many_x, many_codes = rng.integers(-(2**31), 2**31, (8, LANES, 32)), rng.integers(0, 32, (8, LANES, 32))
    count = 20_000
    pairs = list(zip(x.ravel()[:count].tolist(), codes.ravel()[:count].tolist(), strict=True))
    loop = best(lambda: [shift_adder.product(value, code) for value, code in pairs])
    rows = [{"circuit": "shift_pe", "simulator": "plain loop", "LUTs": 0, "vectors_per_s": round(count / loop)}]
    print(f"{'shift_pe, plain loop':40s}{count / loop:12,.0f} vectors/s")
    circuits = {
        "shift_pe": {"x": x, "code": codes, "start": np.zeros_like(x)},
        "float_multiply": {"a": bits[0], "b": bits[1]},
        "float_add": {"a": bits[0], "b": bits[1]},
        "dot": {"x": many_x, "weights": many_codes},
    }
    for top, stimulus in circuits.items():
        netlist = Netlist(synthesize(top, WIDE if "code" in stimulus or "weights" in stimulus else {}))
        vectors = int(np.prod(next(iter(stimulus.values())).shape[:2]))
        seconds = best(lambda netlist=netlist, stimulus=stimulus: netlist.run(stimulus))
        name = f"{top}, {len(netlist.luts)} LUTs, gate level"
        print(f"{name:40s}{vectors / seconds:12,.0f} vectors/s", flush=True)
        row = {"circuit": top, "simulator": "gates", "LUTs": len(netlist.luts)}
        rows.append(row | {"vectors_per_s": round(vectors / seconds)})
    if "--record" in sys.argv:
        device = evidence.provenance("", 0)["device"]
        evidence.write_rows("fpga_gates_simulators", pd.DataFrame(rows).assign(device=device))


if __name__ == "__main__":
    main()
