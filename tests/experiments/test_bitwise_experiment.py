"""The race's clockwork, its other contestants, its claims and its figures."""

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
from fewbits.experiments.bitwise.turns import Times, in_turns, speedups
from fewbits.experiments.comparison import TASKS
from fewbits.plots import bitwise as figures

pytestmark = pytest.mark.usefixtures("book_theme")


# --- Turns ------------------------------------------------------------------------------------------------------------


def test_a_turn_counts_with_its_mean_and_ratios_are_of_the_same_round():
    """Calls of 12 and 6 ms: two of the former and four of the latter fit in a turn of 20 ms. Round 2 is three times as
    slow for both, and CPU time is half of all time."""
    now, round_of = [0.0], {"a": 0, "b": 0}
    lengths = {"a": 0.012, "b": 0.006}

    def call(name):
        round_of[name] += 1
        slow = round_of[name] > {"a": 3, "b": 5}[name]  # after a first call and one turn
        now[0] += lengths[name] * (3 if slow else 1)

    calls = {name: lambda name=name: call(name) for name in lengths}
    times = in_turns(calls, 2, wall=lambda: now[0], cpu=lambda: now[0] / 2)
    assert times["a"].wall == pytest.approx([0.012, 0.036])
    assert times["b"].wall == pytest.approx([0.006, 0.018])
    assert times["a"].cpu == pytest.approx([0.006, 0.018])
    for by_wall in (True, False):
        assert speedups(times, by_wall)["b"] == pytest.approx({"speedup": 2, "low": 2, "high": 2})


def test_the_ratio_is_the_median_over_rounds_with_its_range():
    times = {"a": Times([4.0, 4.0, 8.0], [2.0, 2.0, 2.0]), "b": Times([2.0, 1.0, 1.0], [1.0, 2.0, 4.0])}
    assert speedups(times)["b"] == {"speedup": 1.0, "low": 0.5, "high": 2.0}
    assert speedups(times, by_wall=True)["b"] == {"speedup": 4.0, "low": 2.0, "high": 8.0}
    assert speedups(times)["a"] == {"speedup": 1.0, "low": 1.0, "high": 1.0}


def test_a_call_may_measure_itself():
    times = in_turns({"peer": lambda: 0.25}, 1)["peer"]
    assert (times.wall, times.cpu) == ([0.25], [0.25])


# --- Contestants ------------------------------------------------------------------------------------------------------


def test_others_multiply():
    assert others.torch_products(3, 4, 5)["torch float32"]().shape == (3, 4)
    assert others.onnx_float(3, 4, 8)()[0].dtype == np.float32
    assert others.onnx_int8(3, 4, 8)()[0].dtype == np.int32
    assert torch.is_tensor(others.torch_int8(32, 16, 8)())
    assert others.onnx_few_bits(16, 256, 4)()[0].shape == (1, 16)


def test_a_peer_is_asked_over_a_pipe(tmp_path, monkeypatch):
    script = tmp_path / "peer.py"
    answer = "import sys\nprint('product', flush=True)\nfor line in sys.stdin: print(len(line) / 10, flush=True)\n"
    script.write_text(answer)
    monkeypatch.setattr(others, "__file__", str(tmp_path / "others.py"))
    peer = others.Peer("python3")
    assert peer.questions == ["product"]
    assert peer.seconds("product", 1, 2, 3) == 1.4
    peer.close()


def test_the_trained_network_is_exact_on_bits():
    _, pixels, images = race.trained_network()
    assert pixels.shape == (1000, 784)
    assert np.allclose(pixels / 127.5 - 1, images.flatten(1), atol=1e-6)


# --- Claims -----------------------------------------------------------------------------------------------------------


def small_run(monkeypatch, tmp_path, *options: str):
    """The whole experiment, on shapes so small that it takes no time."""
    monkeypatch.setenv("FEWBITS_RESULTS", str(tmp_path))
    monkeypatch.setattr("fewbits.evidence.records.code_version", lambda: "unknown")  # the tree may have changes
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
    assert both["command"].eq("python -m fewbits.experiments bitwise --rounds 1").all()
    ratios = both.set_index(["task", "contestant", "threads", "run"])["speedup"]
    (part,) = claims["bitwise/lut-gemv"]["parts"]
    expected = [ratios["vector", "tables 4 bits", 1, n] for n in (1, 2)]
    assert part["values"] == pytest.approx(expected)
    assert part["runs"] == ["run 1", "run 2"]
    assert claims["bitwise/lut-gemv"]["word"] == "undecided"  # two runs are no five


def run_of_the_race(number: int = 1, **changed: float) -> pd.DataFrame:
    """Rows of one run, made up. ``changed`` names contestants of the first product by the first word of their names."""
    rows = []
    for m, n, k in race.SHAPES:
        times = {"torch float32": 60.0, "onnxruntime int8": 30.0, "xnor": 5.0, "numkong": 10.0}
        if m == 784:
            times["xnor"] = 20.0
        if m == 1024:
            times |= changed
        rows += [{"task": f"product {m} {n} {k}", "contestant": c, "milliseconds": t} for c, t in times.items()]
    for name, value in {"torch float32": 9.0, "torch float32, channels last": 8.0, "xnor, with packing": 1.0}.items():
        rows.append({"task": "convolution 56 64", "contestant": name, "milliseconds": value})
    for name, value in {"torch float32": 4.0, "onnxruntime int8": 4.0, "planes 3×3": 4.0, "tables 3×3": 2.0}.items():
        rows.append({"task": "few bits", "contestant": name, "milliseconds": value})
    for name in ("torch float32", "onnxruntime 4 bits", "tables 4 bits"):
        rows.append({"task": "vector", "contestant": name, "milliseconds": 2.0})
    rows += [{"task": "network", "contestant": name, "milliseconds": 2.0} for name in ("float32", "packed")]
    rows += [{"task": "threads", "contestant": "xnor", "threads": t, "milliseconds": 4.0 - t} for t in (1, 2)]
    rows = [{"threads": 1} | row for row in rows]
    return pd.DataFrame(rows).assign(gops=100.0, run=number, path="avx2", cpu="one")


def claims_of(table: pd.DataFrame) -> dict[str, dict]:
    roofs = pd.DataFrame([{"roof": "paired tables", "value": 125.0, "run": run} for run in table.run.unique()])
    claims = make_claims(table, roofs, {"words": 30.0, "avx2": 15.0, "vpopcnt": 29.0})
    for claim in claims:
        evidence.validate(claim)
    return {claim["id"].split("/")[1]: claim for claim in claims}


def test_each_shape_is_a_part():
    claims = claims_of(run_of_the_race())
    values = {(slug, part.get("name")): part["values"] for slug, claim in claims.items() for part in claim["parts"]}
    assert values["xnor-vs-float", "784×256×2304"] == [3.0]  # 60 / 20
    assert values["xnor-vs-float", "1024×1024×4096"] == [12.0]
    assert values["xnor-vs-peer", "784×256×2304"] == [0.5]
    assert values["convolution-vs-float", "56×56×64"] == [8.0]  # against the faster layout
    assert values["three-bit-vs-int8", None] == [2.0]  # the better of both ways
    assert values["threads", None] == [1.5]
    assert values["share-of-roof", None] == [80.0]
    assert values["memory-1-32", None] == [30.0]
    assert values["memory-layout", None] == [15.0]


def test_five_runs_decide_and_one_slow_shape_is_enough_to_fail():
    words = {}
    for runs in (4, 5):
        table = pd.concat([run_of_the_race(n, numkong=10.0 + n / 100) for n in range(1, runs + 1)])
        words[runs] = {slug: evidence.word(claim) for slug, claim in claims_of(table).items()}
    assert words[4]["xnor-vs-float"] == "undecided"
    assert words[5]["xnor-vs-float"] == "does not hold"  # 12, 12 and 12, but 3 on one shape
    assert words[5]["convolution-vs-float"] == "holds"
    assert words[5]["memory-1-32"] == "carries over"


def test_each_processor_and_path_has_claims_of_its_own():
    first, same = run_of_the_race(1), run_of_the_race(2)
    wide = run_of_the_race(3).assign(cpu="two", path="vpopcnt", speedup=run_of_the_race().milliseconds / 100)
    claims = claims_of(pd.concat([first, same, wide]))
    part = claims["threads"]["parts"][0]
    assert (part["runs"], part["path"], part["processor"]) == (["run 1", "run 2"], "avx2 kernels", "one")
    (part,) = claims["threads-two-vpopcnt"]["parts"]
    assert (part["runs"], part["path"], part["processor"]) == (["run 3"], "vpopcnt kernels", "two")
    assert part["values"] == [pytest.approx(2 / 3)]  # the recorded ratio counts, not the times
    assert claims["xnor-vs-float"]["parts"][0]["holds"] == {"min": 4.5}
    assert claims["xnor-vs-float-two-vpopcnt"]["parts"][0]["holds"] == {"min": 25.0}
    assert claims["memory-layout-two-vpopcnt"]["parts"][0]["values"] == [29.0]
    assert claims["threads-two-vpopcnt"]["statement"].endswith(" (two, vpopcnt kernels)")
    assert "share-of-roof-two-vpopcnt" not in claims  # its roof was not measured
    assert "bytes-vs-int8" not in claims  # nor this contestant


def test_float32_in_another_runtime_is_another_claim():
    """On some processors torch leaves half of each register unused; older runs lack the other runtime."""
    rows = run_of_the_race(2)
    product = rows.task.str.startswith("product")
    faster = rows[product & (rows.contestant == "torch float32")].assign(
        contestant="onnxruntime float32", milliseconds=30.0
    )
    claims = claims_of(pd.concat([run_of_the_race(1), rows, faster]))
    assert claims["xnor-vs-float"]["statement"].endswith("float32 in torch, on each of four shapes")
    assert [part["values"] for part in claims["xnor-vs-onnx-float"]["parts"]] == [[6.0], [6.0], [1.5], [6.0]]
    assert "xnor-vs-onnx-float" not in claims_of(run_of_the_race())


def test_a_run_without_the_peer_leaves_a_gap():
    alone = run_of_the_race(2)
    part = claims_of(pd.concat([run_of_the_race(1), alone[alone.contestant != "numkong"]]))["xnor-vs-peer"]["parts"][0]
    assert part["runs"] == ["run 1"]


def test_recorded_claims_follow_from_the_recorded_tables():
    stored = {claim["id"]: claim for claim in evidence.load("bitwise")}
    made = make_claims(
        evidence.rows("bitwise_race"), evidence.rows("bitwise_roofs"), memory_ratio(race.trained_network()[0])
    )
    assert {claim["id"] for claim in made} == stored.keys()
    for claim in made:
        assert [p["values"] for p in claim["parts"]] == [p["values"] for p in stored[claim["id"]]["parts"]]


def test_memory_of_the_network(monkeypatch):
    monkeypatch.setenv("FEWBITS_ISA", "plain")
    ratio = memory_ratio(binary_net(TASKS["mnist5k"].network).eval())
    floats = 4 * (784 * 128 + 2 * 128 * 128 + 128 * 10)
    assert ratio["words"] == floats / (8 * (13 * 128 + 2 * 2 * 128 + 2 * 10))
    # Panels of 64 rows: the last layer's 10 rows are filled up.
    assert ratio["plain"] == floats / (8 * (13 * 128 + 2 * 2 * 128 + 2 * 64))


# --- Figures ----------------------------------------------------------------------------------------------------------


def words_of(figure) -> str:
    return " ".join(text.get_text() for text in figure.findobj(matplotlib.text.Text))


def test_figures_say_what_they_show():
    signs = np.array([1, -1, 1])
    assert "count 1" in words_of(figures.signs_as_bits(signs, np.array([1, 1, 1])))
    ladder = figures.ladder(pd.Series({"naive": 100.0, "table": 400.0}), 50.0, 800.0)
    assert "400  (8.0×)" in words_of(ladder)
    # The number of a bar that comes near the limit is inside of it.
    long = figures.ladder(pd.Series({"naive": 100.0, "table": 700.0}), 50.0, 800.0)
    sides = {text.get_text().split()[0]: text.get_ha() for text in long.axes[0].texts}
    assert (sides["100"], sides["700"]) == ("left", "right")
    table = pd.DataFrame({"xnor": [10.0, np.nan], "numkong": [120.0, 0.5]}, index=["a", "b"])
    names = {"xnor": "XNOR", "numkong": "NumKong"}
    ratios = figures.ratios({"here": table, "there": table}, names, title="t", xlabel="x")
    drawn = words_of(ratios)
    assert {"10.0", "120", "0.5", "a", "here", "there", "XNOR", "NumKong"} <= set(drawn.split())
    assert "nan" not in drawn
    assert [line.get_xdata().tolist() for line in ratios.axes[1].lines if line.get_marker() == "s"] == [[120, 0.5]]


def test_few_bits_draws_equal_widths_only():
    speeds = pd.Series({"planes 1×1": 900.0, "planes 2×1": 5.0, "planes 3×3": 100.0, "tables 3×3": 200.0, "other": 1.0})
    figure = figures.few_bits(speeds, {"float32": 80.0})
    planes, tables = figure.axes[0].lines[:2]
    assert planes.get_xydata().tolist() == [[1, 900], [3, 100]]
    assert tables.get_xydata().tolist() == [[3, 200]]


def test_roofline_bends_where_memory_and_roof_meet():
    points = pd.DataFrame([{"label": "product", "intensity": 100.0, "gops": 40.0}])
    figure = figures.roofline(points, {"float32": 80.0}, 20.0)
    roof = figure.axes[0].lines[0]
    x, y = roof.get_data()
    assert np.allclose(y, np.minimum(80.0, 20.0 * x))
