"""Times of one network in floating point, simulated and in integers, in one runtime, taking turns."""

import statistics
from functools import partial

import llvmlite.binding
import numba
import torch
from torch import nn

from fewbits.experiments.bitwise.turns import Call, in_turns, speedups
from fewbits.experiments.integer.networks import CALIBRATION_IMAGES, NETWORKS
from fewbits.integer import compile_network, prepare, session, to_integers, to_onnx
from fewbits.integer.onnx_export import products_saturate

SPEED_NETWORKS = ("MLP", "dense", "MobileNet")
BATCHES = (1, 32)
# Forms in ONNX Runtime. "16-bit sums" are those of processors without VNNI; with it the last two run the same kernels.
FORMS = {
    "float": ("float", {}),
    "simulated": ("qdq", {"fuse": False}),
    "integer": ("qoperator", {}),
    "integer, 16-bit sums": ("qoperator", {"guard": False}),
}
OURS = "integer, our kernels"
ROUND_S = 0.1  # about what a turn of all forms takes


def measure(model: nn.Module, data, seconds: float) -> list[dict]:
    """Per batch size and form: milliseconds on one thread, and ratio to the float network.

    All forms run in turn for about ``seconds``. The ratio is the median over the turns, of the processor's times in the
    same turn, so that whatever else the machine does hits all forms alike. Beside it stand its range, and the ratio of
    times on the wall.
    """
    prepared = prepare(model, data.train_images[:CALIBRATION_IMAGES])
    network = to_integers(prepared, data.test_images[:1])
    forms = [form for form in FORMS if products_saturate() or "16-bit" not in form]
    sessions = {form: session(to_onnx(network, FORMS[form][0]), **FORMS[form][1]) for form in forms}
    fast = compile_network(network)
    rows = []
    for batch in BATCHES:
        codes = network.grids["input"].encode(data.test_images[:batch])
        feeds = {form: {"input": codes.numpy()} for form in forms}
        feeds["float"] = {"input": network.grids["input"].decode(codes).to(torch.float32).numpy()}
        calls: dict[str, Call] = {form: partial(ready.run, None, feeds[form]) for form, ready in sessions.items()}
        calls[OURS] = partial(fast, codes)
        times = in_turns(calls, max(5, round(seconds / ROUND_S)))
        ratios, walls = speedups(times), speedups(times, by_wall=True)
        for form, found in times.items():
            measured = {"ms": 1e3 * statistics.median(found.wall)} | ratios[form]
            measured["wall_speedup"] = walls[form]["speedup"]
            rows.append({"batch": batch, "form": form} | {name: round(v, 4) for name, v in measured.items()})
    return rows


def measure_all(repeats: int, seconds: float) -> list[dict]:
    """Rows of all networks, each ``repeats`` times with new sessions, with the processor and the kernels it allows."""
    kernels = "16-bit sums" if products_saturate() else "VNNI"
    where = {"cpu": vars(numba.config)["CPU_NAME"] or llvmlite.binding.get_host_cpu_name(), "kernels": kernels}
    rows = []
    for name in SPEED_NETWORKS:
        model, data = NETWORKS[name].model(0), NETWORKS[name].data()
        for repeat in range(repeats):
            rows += [{"network": name, "repeat": repeat} | row | where for row in measure(model, data, seconds)]
            print(
                name,
                repeat,
                {
                    (row["batch"], row["form"]): row["speedup"]
                    for row in rows
                    if row["repeat"] == repeat and row["network"] == name
                },
            )
    return rows
