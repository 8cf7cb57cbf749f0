"""How fast is the bit-accurate network of the closing chapter? The 159,236-parameter network at 32 × 32, 128 images.

Every figure is a ratio to PyTorch's float32 of the same round, on the same images and as many threads: one, and one for
each core. PyTorch runs in both memory layouts, in batches of 32, which suit the cache.

The limit: a vector of numbers takes a load, a shift and an addition. A core that starts two vector loads, and two
vector shifts, a cycle does 16 shift-adds a cycle at best with registers of 32 bytes (AVX2), and 32 with registers of 64
(AVX-512). Weights that are 0 cost nothing. Cycles are measured too: a chain of multiplications and additions of
integers, each pair of which takes 4. ``NUMBA_CPU_NAME=znver3 NUMBA_CPU_FEATURES=+avx2,+fma,+bmi,+bmi2,+popcnt`` asks
for the smaller registers where there are larger ones.

With ``--record`` the figures are added to ``data/results/fpga_speed.csv``, which the chapter shows. PyTorch's speed
depends on where its memory happens to lie, and stays the same within a process: run it five times.
"""

import copy
import sys
import time

import numpy as np
import pandas as pd
import torch
from numba import njit
from turns import print_ratios

from fewbits import evidence
from fewbits.bitwise import isa
from fewbits.core.processors import usable_cores
from fewbits.experiments.common import recorded
from fewbits.experiments.fpga.run import inq_network
from fewbits.fpga.network import ShiftAdderNet
from fewbits.inq import Inq
from fewbits.mobileone import MobileNetV1, reparameterize

IMAGES, BATCH, VECTORS_A_CYCLE, CHAIN = 128, 32, 2, 4
FLOAT = "float32, channels last"


@njit
def chain(count):
    value = np.uint64(count)
    for _ in range(count):
        value = value * value + np.uint64(1)  # nothing that a compiler could shorten
    return value


def clock(count: int = 2_000_000) -> float:
    """Cycles a second of one core."""
    chain(1)
    seconds = []
    for _ in range(20):
        started = time.perf_counter()
        chain(count)
        seconds.append(time.perf_counter() - started)
    return CHAIN * count / min(seconds)


def trained_or_random() -> torch.nn.Module:
    """The trained INQ network, or the same with random weights where it has not been trained."""
    for name in ("mobilenet", "mobileone"):
        model = inq_network(name)
        if model is not None:
            return model
    inq = Inq(copy.deepcopy(reparameterize(MobileNetV1().eval())), biases=True)
    inq.step(1.0)
    return inq.finish()


@torch.no_grad()
def main() -> None:
    evidence.code_version()
    started = time.perf_counter()
    model = trained_or_random()
    net = ShiftAdderNet(model)
    images = torch.randn(IMAGES, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    integers = net.encode(images)
    last = copy.deepcopy(model).to(memory_format=torch.channels_last)
    rearranged = images.contiguous(memory_format=torch.channels_last)
    _, census = net.count_overflows(integers[:32])
    additions = sum(layer["additions"] for layer in census.values()) // 32
    print(f"{IMAGES} images through 159,236 weights, {additions / 1e6:.1f} million shift-adds an image without zeros")
    register = 64 if "avx512f" in isa.features() else 32
    shift_adds_a_cycle = VECTORS_A_CYCLE * register // 4
    tables = []
    for threads in sorted({1, usable_cores()}):
        torch.set_num_threads(threads)
        steps = {
            "shift-adder": lambda threads=threads: net.run(integers, threads),
            FLOAT: lambda: [last(batch) for batch in rearranged.split(BATCH)],
            "float32, contiguous": lambda: [model(batch) for batch in images.split(BATCH)],
        }
        print(f"threads: {threads}")
        rows = pd.DataFrame(print_ratios(steps, FLOAT))
        rows["images_per_s"] = (IMAGES / rows.seconds).round(1)
        limit = threads * shift_adds_a_cycle * clock() / additions
        speed = rows.images_per_s[0]
        share = f"{speed / limit:.0%} of the limit, {limit:.0f} with registers of {register} bytes"
        print(f"  shift-adder: {speed:.0f} images/s, {share}")
        tables.append(rows.assign(threads=threads, shift_adds=additions, limit=round(limit, 1)))
    if "--record" in sys.argv:
        command, wall_s = "python benchmarks/bench_fpga.py --record", time.perf_counter() - started
        before = recorded("fpga_speed", ["run"])
        number = 1 + int(before["run"].max()) if len(before) else 1
        rows = pd.concat(tables).assign(run=number, register=register)
        rows = evidence.stamped(rows, command, wall_s)
        rows = pd.concat([before, rows], ignore_index=True) if len(before) else rows
        evidence.write_rows("fpga_speed", rows)


if __name__ == "__main__":
    main()
