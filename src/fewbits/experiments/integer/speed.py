"""Times of one network in floating point, simulated and in integers, in one runtime, taking turns."""

import statistics
import time

import llvmlite.binding
import numba
import torch
from torch import nn

from fewbits.experiments.integer.networks import CALIBRATION_IMAGES, NETWORKS
from fewbits.integer import prepare, session, to_integers, to_onnx
from fewbits.integer.onnx_export import products_saturate

SPEED_NETWORKS = ("MLP", "dense", "MobileNet")
BATCHES = (1, 32)
# "16-bit sums" are those of processors without VNNI; with it the last two forms run the same kernels.
FORMS = {
    "float": ("float", {}),
    "simulated": ("qdq", {"fuse": False}),
    "integer": ("qoperator", {}),
    "integer, 16-bit sums": ("qoperator", {"guard": False}),
}


def measure(model: nn.Module, data, seconds: float) -> list[dict]:
    """Per batch size and form: milliseconds on one thread, and ratio to the float network.

    All forms run in turn until ``seconds`` have passed; the ratio is the median over the turns, so that whatever else
    the machine does hits all forms alike. Beside it stand its quartiles, and the ratio of the processor's times.
    """
    prepared = prepare(model, data.train_images[:CALIBRATION_IMAGES])
    network = to_integers(prepared, data.test_images[:1])
    sessions = {form: session(to_onnx(network, written), **settings) for form, (written, settings) in FORMS.items()}
    rows = []
    for batch in BATCHES:
        codes = network.grids["input"].encode(data.test_images[:batch])
        feeds = {form: {"input": codes.numpy()} for form in FORMS}
        feeds["float"] = {"input": network.grids["input"].decode(codes).to(torch.float32).numpy()}
        turns: list[dict[str, tuple[float, float]]] = []
        started = time.perf_counter()
        while len(turns) < 5 or time.perf_counter() - started < seconds:
            turn = {}
            for form, ready in sessions.items():
                begin, begin_cpu = time.perf_counter(), time.thread_time()
                ready.run(None, feeds[form])
                turn[form] = time.perf_counter() - begin, time.thread_time() - begin_cpu
            turns.append(turn)
        turns = turns[2:]  # two to warm up
        for form in FORMS:
            ms = 1e3 * statistics.median(turn[form][0] for turn in turns)
            ratios = [turn["float"][0] / turn[form][0] for turn in turns]
            low, ratio, high = statistics.quantiles(ratios, n=4, method="inclusive")
            cpu = sum(turn["float"][1] for turn in turns) / max(sum(turn[form][1] for turn in turns), 1e-9)
            measured = {"ms": ms, "speedup": ratio, "low": low, "high": high, "cpu_speedup": cpu}
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
            print(name, repeat, {(row["batch"], row["form"]): row["speedup"] for row in rows[-len(FORMS) * 2 :]})
    return rows
