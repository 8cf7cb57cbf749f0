"""The race's clockwork, its other contestants, its claims and its figures."""

import json

import matplotlib

matplotlib.use("Agg")

import numpy as np
import pandas as pd
import pytest
import torch

from fewbits import evidence
from fewbits.experiments.binary.run import binary_net
from fewbits.experiments.bitwise import others, race
from fewbits.experiments.bitwise import run as bitwise
from fewbits.experiments.bitwise.claims import make_claims, memory_ratio
from fewbits.experiments.bitwise.turns import shortest
from fewbits.experiments.comparison import TASKS
from fewbits.plots import bitwise as figures

pytestmark = pytest.mark.usefixtures("book_theme")


# --- Turns ------------------------------------------------------------------------------------------------------------


def test_the_shortest_call_counts_and_the_first_does_not():
    now, durations = [0.0], {"a": iter([0.001, 3.0, 2.0, 5.0]), "b": iter([9.0, 4.0, 4.0, 1.0])}

    def call(name):
        now[0] += next(durations[name], 8.0)

    calls = {name: lambda name=name: call(name) for name in durations}
    # Fake calls take no time on the wall, so a turn makes many: the durations run out, and 8.0 follows.
    assert shortest(calls, rounds=1, seconds_each=0.5, clock=lambda: now[0]) == {"a": 2.0, "b": 1.0}


def test_a_call_may_measure_itself():
    assert shortest({"peer": lambda: 0.25}, rounds=1, seconds_each=0.1) == {"peer": 0.25}


# --- Contestants ------------------------------------------------------------------------------------------------------


def test_others_multiply():
    assert others.torch_products(3, 4, 5)["torch float32"]().shape == (3, 4)
    assert others.onnx_int8(3, 4, 8)()[0].dtype == np.int32
    assert torch.is_tensor(others.torch_int8(32, 16, 8)())
    assert others.onnx_few_bits(16, 256, 4)()[0].shape == (1, 16)


def test_a_peer_is_asked_over_a_pipe(tmp_path, monkeypatch):
    script = tmp_path / "peer.py"
    script.write_text("import sys\nfor line in sys.stdin: print(sum(map(int, line.split())) / 10, flush=True)\n")
    monkeypatch.setattr(others, "__file__", str(tmp_path / "others.py"))
    peer = others.Peer("python3")
    assert peer.seconds(1, 2, 3) == 0.6
    peer.close()


def test_the_trained_network_is_exact_on_bits():
    _, pixels, images = race.trained_network()
    assert pixels.shape == (1000, 784)
    assert np.allclose(pixels / 127.5 - 1, images.flatten(1), atol=1e-6)


# --- Claims -----------------------------------------------------------------------------------------------------------


def small_run(monkeypatch, tmp_path, *options: str):
    """The whole experiment, on shapes so small that it takes no time."""
    monkeypatch.setenv("FEWBITS_RESULTS", str(tmp_path))
    monkeypatch.setattr(race, "SHAPES", ((8, 8, 64), (4, 70, 128)))
    monkeypatch.setattr("fewbits.experiments.bitwise.claims.SHAPES", race.SHAPES)
    monkeypatch.setattr(race, "CONVS", ((4, 64),))
    monkeypatch.setattr(race, "VECTOR", 256)
    monkeypatch.setattr(race, "SMALL", (32, 32, 64))
    monkeypatch.setattr(bitwise, "roofs", lambda: {"float32": 10.0, "paired tables": 50.0, "memory": 5.0})
    from fewbits.experiments.__main__ import main

    main(["bitwise", "--rounds", "1", *options])


def test_the_experiment_adds_a_run_each_time(monkeypatch, tmp_path):
    threads = torch.get_num_threads()
    small_run(monkeypatch, tmp_path)
    first = pd.read_csv(tmp_path / "bitwise_race.csv")
    small_run(monkeypatch, tmp_path)
    torch.set_num_threads(threads)
    both = pd.read_csv(tmp_path / "bitwise_race.csv")
    assert both["run"].unique().tolist() == [1, 2]
    assert both[both.run == 1]["milliseconds"].tolist() == first["milliseconds"].tolist()
    claims = {claim["id"]: claim for claim in evidence.load("bitwise")}
    assert "bitwise/xnor-vs-peer" not in claims  # nobody was asked
    newest = both[both.run == 2].set_index(["task", "contestant", "threads"])["milliseconds"]
    expected = newest["vector", "torch float32", 1] / newest["vector", "tables 4 bits", 1]
    assert claims["bitwise/lut-gemv"]["ours"]["value"] == pytest.approx(expected)


def test_the_least_ratio_is_claimed():
    rows = []
    for m, n, k in race.SHAPES:
        times = {"torch float32": 60.0, "onnxruntime int8": 30.0, "xnor": 5.0, "numkong": 10.0}
        if m == 784:
            times["xnor"] = 20.0
        rows += [{"task": f"product {m} {n} {k}", "contestant": c, "milliseconds": t} for c, t in times.items()]
    for name, value in {"torch float32": 9.0, "torch float32, channels last": 8.0, "xnor, with packing": 1.0}.items():
        rows.append({"task": "convolution 56 64", "contestant": name, "milliseconds": value})
    for name in ("torch float32", "onnxruntime int8", "planes 3×3", "tables 3×3"):
        rows.append({"task": "few bits", "contestant": name, "milliseconds": 4.0})
    for name in ("torch float32", "onnxruntime 4 bits", "tables 4 bits"):
        rows.append({"task": "vector", "contestant": name, "milliseconds": 2.0})
    rows += [{"task": "network", "contestant": name, "milliseconds": 2.0} for name in ("float32", "packed")]
    table = pd.DataFrame(rows).assign(threads=1, gops=100.0)
    two = {"task": "threads", "contestant": "xnor", "gops": 1.0}
    table = pd.concat(
        [table, pd.DataFrame([two | {"threads": 1, "milliseconds": 3.0}, two | {"threads": 2, "milliseconds": 2.0}])]
    )
    claims = make_claims(table, {"paired tables": 125.0}, {"words": 30.0, "layout": 15.0})
    values = {claim["id"].split("/")[1]: claim["ours"]["value"] for claim in claims}
    assert values["xnor-vs-float"] == 3.0  # 60 / 20, the least
    assert values["xnor-vs-peer"] == 0.5
    assert values["convolution-vs-float"] == 8.0  # against the faster layout
    assert values["threads"] == 1.5
    assert values["share-of-roof"] == 80.0
    assert values["memory-1-32"] == 15.0
    json.dumps(claims)


def test_memory_of_the_network(monkeypatch):
    monkeypatch.setenv("FEWBITS_ISA", "plain")
    ratio = memory_ratio(binary_net(TASKS["mnist5k"].network).eval())
    floats = 4 * (784 * 128 + 2 * 128 * 128 + 128 * 10)
    assert ratio["words"] == floats / (8 * (13 * 128 + 2 * 2 * 128 + 2 * 10))
    # Panels of 64 rows: the last layer's 10 rows are filled up.
    assert ratio["layout"] == floats / (8 * (13 * 128 + 2 * 2 * 128 + 2 * 64))


# --- Figures ----------------------------------------------------------------------------------------------------------


def words_of(figure) -> str:
    return " ".join(text.get_text() for text in figure.findobj(matplotlib.text.Text))


def test_figures_say_what_they_show():
    signs = np.array([1, -1, 1])
    assert "count 1" in words_of(figures.signs_as_bits(signs, np.array([1, 1, 1])))
    ladder = figures.ladder(pd.Series({"naive": 100.0, "table": 400.0}), 50.0, 800.0)
    assert "400  (8.0×)" in words_of(ladder)
    table = pd.DataFrame({"torch float32": [2.0, 4.0], "xnor": [20.0, np.nan]}, index=["a", "b"])
    drawn = words_of(figures.race(table, {"xnor": "XNOR"}))
    assert "10.0" in drawn
    assert "nan" not in drawn
    assert "6.0 ms" in words_of(figures.parts({"float32": {"first": 2.0, "rest": 4.0}}))


def test_few_bits_draws_equal_widths_only():
    speeds = pd.Series({"planes 1×1": 900.0, "planes 2×1": 5.0, "planes 3×3": 100.0, "tables 3×3": 200.0, "other": 1.0})
    figure = figures.few_bits(speeds, {"float32": 80.0})
    planes, tables = figure.axes[0].lines[:2]
    assert planes.get_xydata().tolist() == [[1, 900], [3, 100]]
    assert tables.get_xydata().tolist() == [[3, 200]]


def test_roofline_bends_where_memory_and_roof_meet():
    points = pd.DataFrame([{"label": "product", "intensity": 100.0, "gops": 40.0, "style": "float"}])
    figure = figures.roofline(points, {"float32": (80.0, "float")}, 20.0)
    roof = figure.axes[0].lines[0]
    x, y = roof.get_data()
    assert np.allclose(y, np.minimum(80.0, 20.0 * x))
