"""Times of one network in floating point, simulated and in integers, in one runtime, taking turns."""

import statistics
import time

import torch
from torch import nn

from fewbits.experiments.integer.networks import CALIBRATION_IMAGES, NETWORKS
from fewbits.integer import prepare, session, to_integers, to_onnx

SPEED_NETWORKS = ("MLP", "dense", "MobileNet")
BATCHES = (1, 32)
FORMS = {
    "float": ("float", {}),
    "simulated": ("qdq", {"fuse": False}),
    "integer": ("qoperator", {}),
    "integer, 16-bit sums": ("qoperator", {"exact": False}),
}


def measure(model: nn.Module, data, seconds: float) -> list[dict]:
    """Per batch size and form: milliseconds on one thread, and ratio to the float network.

    All forms run in turn until ``seconds`` have passed; the ratio is the median over the turns, so that whatever else
    the machine does hits all forms alike.
    """
    prepared = prepare(model, data.train_images[:CALIBRATION_IMAGES])
    network = to_integers(prepared, data.test_images[:1])
    sessions = {form: session(to_onnx(network, written), **settings) for form, (written, settings) in FORMS.items()}
    rows = []
    for batch in BATCHES:
        codes = network.grids["input"].encode(data.test_images[:batch])
        feeds = {form: {"input": codes.numpy()} for form in FORMS}
        feeds["float"] = {"input": network.grids["input"].decode(codes).to(torch.float32).numpy()}
        turns: list[dict[str, float]] = []
        started = time.perf_counter()
        while len(turns) < 5 or time.perf_counter() - started < seconds:
            turn = {}
            for form, ready in sessions.items():
                begin = time.perf_counter()
                ready.run(None, feeds[form])
                turn[form] = time.perf_counter() - begin
            turns.append(turn)
        turns = turns[2:]  # two to warm up
        for form in FORMS:
            ms = 1e3 * statistics.median(turn[form] for turn in turns)
            ratio = statistics.median(turn["float"] / turn[form] for turn in turns)
            rows.append({"batch": batch, "form": form, "ms": round(ms, 4), "speedup": round(ratio, 4)})
    return rows


def measure_all(repeats: int, seconds: float) -> list[dict]:
    """Rows of all networks, each ``repeats`` times with new sessions."""
    rows = []
    for name in SPEED_NETWORKS:
        model, data = NETWORKS[name].model(0), NETWORKS[name].data()
        for repeat in range(repeats):
            rows += [{"network": name, "repeat": repeat} | row for row in measure(model, data, seconds)]
            print(name, repeat, {(row["batch"], row["form"]): row["speedup"] for row in rows[-len(FORMS) * 2 :]})
    return rows
