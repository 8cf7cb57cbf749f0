"""The experiment ``vector`` on a tiny network: it resumes, its claims follow from its tables; and its figures."""

import matplotlib

matplotlib.use("Agg")

import lzma

import numpy as np
import pandas as pd
import pytest
import torch
from torch import nn

from fewbits import evidence
from fewbits.core import container
from fewbits.data import Dataset
from fewbits.experiments.vector import claims, mobilenet, training
from fewbits.experiments.vector import run as experiment
from fewbits.mobileone import MobileNetV1, reparameterize
from fewbits.plots import vector as figures
from fewbits.training import save_model
from fewbits.vector import optimal_centroids

pytestmark = pytest.mark.usefixtures("book_theme")

TABLES = ("vector_runs", "vector_inits", "vector_streams", "vector_sizes")
COMMAND = "python -m fewbits.experiments vector --data mnist"


@pytest.fixture
def tiny(tmp_path, monkeypatch):
    """A network of 12-10-4 on random images, and results in a folder of their own."""
    monkeypatch.setenv("FEWBITS_RESULTS", str(tmp_path))
    monkeypatch.setattr("fewbits.evidence.records.code_version", lambda: "a" * 40)
    monkeypatch.setattr(experiment, "checkpoint_path", lambda name: tmp_path / f"{name}.safetensors")
    monkeypatch.setitem(training.NETWORKS, "lenet-300-100", lambda: nn.Sequential(nn.Linear(12, 10), nn.Linear(10, 4)))
    monkeypatch.setitem(training.KEEP, "lenet-300-100", {"0": 0.5, "1": 0.5})
    recipe = training.Recipe(train=1, retrain=1, fine_tune=1, soft=2, soft_batch=16, tau=0.1, inits=True)
    generator = torch.Generator().manual_seed(0)
    images, labels = torch.randn(64, 12, generator=generator), torch.randint(4, (64,), generator=generator)
    for name in ("mnist", "mnist5k"):
        monkeypatch.setitem(training.RECIPES, (name, "lenet-300-100"), recipe)
    return lambda name: Dataset(name, images, labels, images[:20], labels[:20], tuple("0123"))


def test_every_phase_is_recorded_once_and_makes_claims(tiny, tmp_path):
    data = tiny("mnist")
    for seed in (0, 1):
        experiment.run_missing(data, "lenet-300-100", seed, f"{COMMAND} --seeds {seed + 1}")
    before = {table: evidence.rows(table) for table in TABLES}
    runs = before["vector_runs"]
    assert runs[runs.seed == 0].stage.tolist() == [
        "float", "pruned", "shared", "fine-tuned", "huffman", "arithmetic", "trained", "argmax", "arithmetic",
    ]  # fmt: skip
    # Wherever something is recorded, nothing is run again.
    experiment.run_missing(data, "lenet-300-100", 0, COMMAND)
    assert all(evidence.rows(table).equals(frame) for table, frame in before.items())
    made = claims.make_claims(*before.values())
    stored = evidence.record("vector", made, command="test", wall_s=0)
    assert {claim["id"].removeprefix("vector/") for claim in stored} == {
        "index-bits", "deep-imagenet", "deep-lenet-300-100", "deep-lenet-5", "soft-lenet-300-100", "soft-lenet-5",
        "deep-file", "soft-file", "linear-init-best", "linear-after-tuning", "least-error-before-tuning",
        "least-error-after-tuning", "huffman-rule", "huffman-above-entropy-deep", "huffman-above-entropy-soft",
        "arithmetic-above-entropy-deep", "arithmetic-above-entropy-soft", "file-beats-xz",
    }  # fmt: skip
    # Each value names the run that it comes from: here two, one a seed.
    for claim in stored:
        own = [origin["command"] for origin in claim.get("provenance", [])]
        exact = claim["id"] in ("vector/index-bits", "vector/huffman-rule", "vector/deep-imagenet")
        missing = claim["id"] in ("vector/deep-lenet-5", "vector/soft-lenet-5", "vector/linear-init-best")
        assert own == [] if missing else exact or own == [f"{COMMAND} --seeds 1", f"{COMMAND} --seeds 2"]
    assert not list(tmp_path.glob("*.fewbits"))


def test_the_chapters_files_hold_the_recorded_networks(tiny, tmp_path):
    experiment.run_missing(tiny("mnist5k"), "lenet-300-100", 0, COMMAND)
    runs = evidence.rows("vector_runs").set_index("stage")
    for name, stage in (("pruned", "pruned"), ("deep", "huffman"), ("soft", "argmax")):
        path = tmp_path / f"vector-lenet-300-100-{name}.fewbits"
        assert path.stat().st_size == runs.bytes[stage]
        model = training.NETWORKS["lenet-300-100"]()
        model.load_state_dict(container.load(path))
        assert training.percent(model, tiny("mnist5k")) == runs.accuracy[stage]
    assert evidence.rows("vector_mixture").step.nunique() == experiment.SNAPSHOTS + 1


def frames():
    """Tables as the experiment writes them, with numbers that are easy to follow."""
    runs = [
        {"data": "mnist", "network": "lenet-300-100", "seed": seed, "settings": "paper", "method": method}
        | {"stage": stage, "accuracy": accuracy + (seed - 0.5) / 100, "bytes": size + 100, "weight_bytes": size}
        for seed in (0, 1)
        for method, stage, accuracy, size in (
            ("float", "float", 98.3, 1_066_440),
            ("deep compression", "pruned", 98.4, 100_000),
            ("deep compression", "shared", 98.4, 33_000),
            ("deep compression", "huffman", 98.35, 26_661),
            ("soft weight-sharing", "argmax", 97.3, 13_330),
        )
    ]
    inits = [
        {"data": "mnist", "network": "lenet-300-100", "seed": seed, "settings": "first", "method": "k-means"}
        | {"init": init, "bits": bits}
        | {"error": (3 - gain) / 2**bits, "before": 90 + gain, "after": 95 + gain + bits}
        for seed in (0, 1)
        for bits in (2, 3, 4, 5)
        for init, gain in (("linear", 2), ("density", 1), ("random", 0), ("optimal", 1.5))
    ]
    streams = [
        {"data": "mnist", "network": "lenet-300-100", "seed": seed, "settings": "paper", "method": method}
        | {"symbols": n, "entropy": h, "huffman": length, "arithmetic": 1.001 * h}
        for seed in (0, 1)
        for method, n, h, length in (
            ("deep compression", 1000, 4.0, 4.02),
            ("deep compression", 100, 2.0, 2.5),
            ("soft weight-sharing", 10, 1.0, 1.25),
        )
    ]
    sizes = [
        {"data": "mnist", "network": "lenet-300-100", "seed": seed, "settings": "paper", "method": "deep compression"}
        | {"xz of indices": 29_437.1}
        for seed in (0, 1)
    ]
    return [pd.DataFrame(rows) for rows in (runs, inits, streams, sizes)]


def parts(*tables):
    made = {claim["id"].removeprefix("vector/"): claim["parts"] for claim in claims.make_claims(*tables)}
    return {(slug, part.get("name")): part for slug, found in made.items() for part in found}


def test_claims_by_hand():
    found = {key: part["values"] for key, part in parts(*frames()).items()}
    assert found["deep-lenet-300-100", "size"] == pytest.approx([40.0, 40.0], abs=1e-3)
    assert found["deep-lenet-300-100", "error"] == pytest.approx([-0.05, -0.05])
    assert found["soft-lenet-300-100", "size"] == pytest.approx([80.0, 80.0], abs=0.01)
    assert found["soft-lenet-300-100", "error"] == pytest.approx([1.0, 1.0])
    assert found["deep-file", "lenet-300-100"] == pytest.approx([1_066_540 / 26_761] * 2, abs=1e-3)
    assert found["deep-file", "lenet-5"] == []
    assert found["linear-after-tuning", "random"] == pytest.approx([2.0, 2.0])
    assert found["linear-after-tuning", "density"] == pytest.approx([1.0, 1.0])
    assert found["least-error-before-tuning", None] == pytest.approx([-0.5, -0.5])
    assert found["huffman-rule", None] == [0, 0]
    assert found["huffman-above-entropy-deep", "lenet-300-100"] == pytest.approx([100 * 70 / 4200] * 2, abs=1e-3)
    assert found["huffman-above-entropy-soft", "lenet-300-100"] == pytest.approx([25.0, 25.0])
    assert found["arithmetic-above-entropy-soft", "lenet-300-100"] == pytest.approx([0.1, 0.1])
    assert found["file-beats-xz", None] == pytest.approx([1.1, 1.1])
    assert found["index-bits", None] == [0]


def test_a_small_file_is_no_success_when_the_accuracy_is_gone():
    made = {claim["id"]: claim for claim in claims.make_claims(*frames())}
    soft = made["vector/soft-lenet-300-100"]
    size, error = soft["parts"]
    assert evidence.holds(size) == "yes"
    assert evidence.holds(error) == "no"
    assert evidence.word(soft) == "does not carry over"


def test_a_file_that_is_smaller_than_the_papers_does_not_agree_with_it():
    size = parts(*frames())["soft-lenet-300-100", "size"]
    assert size["agrees"] == {"value": 64, "margin": pytest.approx(6.4)}
    assert evidence.agrees(size) == "no"  # 80 times


def test_one_run_decides_nothing():
    tables = [table[table.seed == 0] for table in frames()]
    made = {claim["id"]: evidence.word(claim) for claim in claims.make_claims(*tables)}
    assert made["vector/deep-lenet-300-100"] == made["vector/file-beats-xz"] == "undecided"


def test_doctored_tables_change_the_claims():
    runs, inits, streams, sizes = frames()
    streams.loc[0, "huffman"] = 5.0
    inits.loc[inits.init == "density", "after"] += 3
    found = parts(runs, inits, streams, sizes)
    assert found["huffman-rule", None]["values"] == [1, 0]
    assert evidence.holds(found["huffman-rule", None]) == "no"
    assert found["linear-after-tuning", "density"]["values"] == pytest.approx([-2.0, -2.0])


def test_the_linear_start_is_compared_with_the_better_one_of_the_others():
    """Han's claim, bit for bit: at 4 bits the density start is ahead, at 3 bits nothing is claimed."""
    runs, inits, streams, sizes = frames()
    starts = pd.DataFrame(
        {"data": "cifar100", "network": "mobilenet", "seed": seed, "settings": "paper", "method": "k-means"}
        | {"init": init, "bits": bits, "before": value + bits + seed}
        for seed in (0, 1)
        for bits in (2, 3, 4, 5, 6, 7, 8)
        for init, value in (("linear", 50), ("density", 52 if bits == 4 else 49), ("random", 40))
    )
    made = {claim["id"]: claim for claim in claims.make_claims(runs, pd.concat([inits, starts]), streams, sizes)}
    best = made["vector/linear-init-best"]
    found = {part["name"]: part["values"] for part in best["parts"]}
    assert found == {f"bits-{bits}": [-2, -2] if bits == 4 else [1, 1] for bits in (2, 4, 5, 6, 7, 8)}
    assert evidence.answers(best)["holds"] == "no"
    assert found == {part["name"]: part["values"] for part in claims.start_claim(starts)["parts"]}


def test_runs_by_the_papers_settings_count_before_the_first_ones():
    """Each with its own float networks, and with its own departures."""
    tables = frames()
    first = tables[0].assign(settings="first", accuracy=tables[0].accuracy - 1)
    first.loc[first.stage == "huffman", "weight_bytes"] = 53_322
    first = first[first.method != "soft weight-sharing"]
    both = pd.concat([first, tables[0][tables[0].method != "deep compression"]])
    for runs, factor, words in ((both, 20, 1), (pd.concat([first, tables[0]]), 40, 0)):
        made = {claim["id"]: claim for claim in claims.make_claims(runs, *tables[1:])}
        deep = made["vector/deep-lenet-300-100"]
        assert deep["parts"][0]["values"] == pytest.approx([factor] * 2, abs=1e-3)
        assert deep["parts"][1]["values"] == pytest.approx([-0.05, -0.05])
        assert sum("5-bit" in departure["what"] for departure in deep["departs"]) == words
    assert set(claims.chosen(pd.concat([first, tables[0]])).settings) == {"paper"}
    # The strength of the prior that was chosen here departs in these runs only; the first ones had another.
    for settings, strengths in (("paper", ["0.02"]), ("first", ["0.05"])):
        made = {claim["id"]: claim for claim in claims.make_claims(tables[0].assign(settings=settings), *tables[1:])}
        said = [item["what"] for item in made["vector/soft-lenet-300-100"]["departs"] if "strength" in item["what"]]
        assert [words.split(" is ")[1][:4] for words in said] == strengths


def test_other_data_make_no_claims_about_mnist():
    tables = frames()
    for table in tables:
        table["data"] = "mnist5k"
    assert {key for key, part in parts(*tables).items() if part["values"]} == {("index-bits", None)}


def test_recorded_claims_follow_from_the_recorded_tables():
    stored = {claim["id"]: claim for claim in evidence.load("vector")}
    made = claims.make_claims(*(evidence.rows(table) for table in TABLES))
    assert {claim["id"] for claim in made} == set(stored)
    for claim in made:
        known = stored[claim["id"]]
        for field in set(claim) - {"parts"}:
            assert known[field] == claim[field]
        for part, old in zip(claim["parts"], known["parts"], strict=True):
            numbers = [{field: value for field, value in p.items() if field != "origins"} for p in (old, part)]
            assert numbers[0] == numbers[1]


def test_other_sizes_by_hand():
    weight = torch.tensor([[0.0, 1.0], [1.0, 1.0]]).repeat(1, 500)
    state = {"w": weight, "b": torch.arange(3.0)}
    sizes = training.other_sizes(state)
    entropy = 2000 * -(0.25 * np.log2(0.25) + 0.75 * np.log2(0.75)) / 8
    assert sizes["entropy"] == pytest.approx(entropy + 8 + 12, abs=0.1)
    raw = weight.numpy().tobytes() + state["b"].numpy().tobytes()
    assert sizes["xz of floats"] == len(lzma.compress(raw, preset=9 | lzma.PRESET_EXTREME))
    assert training.zeros(state) == 25


def test_a_weight_that_is_all_zero_has_no_streams():
    state = {"gone": torch.zeros(3, 4), "kept": torch.eye(4), "bias": torch.zeros(3)}
    assert [(row["tensor"], row["stream"]) for row in training.streams(state)] == [
        ("kept", "gaps"),
        ("kept", "indices"),
    ]


# --- figures ----------------------------------------------------------------------------------------------------------


def test_every_init_has_a_style_of_its_own():
    assert set(figures.INIT_STYLES) == {"density", "random", "optimal"}
    assert len(set(figures.INIT_STYLES.values())) == 3


def written(figure):
    return " ".join(text.get_text() for axes in figure.axes for text in axes.texts)


def test_clusters_show_every_number_and_centroid():
    x = torch.tensor([-1.0, 0.0, 0.5, 2.0])
    lonely = torch.tensor([-1.0, 0.25, 1.2, 2.0])
    figure = figures.clusters(x, {"best": optimal_centroids(x, 2), "four": lonely})
    axes = figure.axes[0]
    ticks = [line for line in axes.lines if line.get_marker() == "|"]
    assert sorted(v for line in ticks for v in line.get_xdata()) == sorted(x.tolist() * 2)
    marks = [line for line in axes.lines if line.get_marker() == "v"]
    assert [line.get_xdata()[0] for line in marks] == pytest.approx([-1 / 6, 2.0, *lonely.tolist()])
    hollow = [line.get_xdata()[0] for line in marks if line.get_markerfacecolor() == "white"]
    assert hollow == pytest.approx([1.2])
    assert "squared error 1.17" in written(figure)
    assert "1.20, unused" in written(figure)


def test_squares_have_the_area_of_their_files():
    figure = figures.nested_files(frames()[0], {"lenet-300-100": "LeNet"})
    axes = figure.axes[0]
    areas = [square.get_width() * square.get_height() for square in axes.patches if square.get_fill()]
    assert areas == pytest.approx([1_066_540, 100_100, 33_100, 26_761, 13_430])
    assert axes.get_aspect() == 1
    assert "Huffman-coded\n27 kB, 40×\nerror 1.65 %" in written(figure)


def test_squares_of_all_networks_have_one_scale():
    runs = frames()[0]
    half = runs.assign(network="half", bytes=runs.bytes / 4)
    small, large = figures.nested_files(pd.concat([half, runs]), {"half": "half", "lenet-300-100": "LeNet"}).axes
    assert small.get_xlim() == large.get_xlim()
    assert 2 * small.patches[0].get_width() == pytest.approx(large.patches[0].get_width())


def test_starts_are_compared_with_the_linear_one_seed_by_seed():
    rows = [
        {"init": init, "bits": bits, "seed": seed, "error": error * (1 + seed), "before": 90 + seed + gain, "after": 95}
        for seed in (0, 1)
        for bits in (2, 3)
        for init, error, gain in (
            ("linear", 2.0, 0.0),
            ("density", 3.0, 0.1),
            ("random", 4.0, 0.2),
            ("optimal", 1.0, -0.1),
        )
    ]
    figure = figures.against_linear_start(pd.DataFrame(rows))
    marks = [
        [
            line.get_xdata()[0]
            for line in axes.lines
            if line.get_marker() in {m for _, m in figures.INIT_STYLES.values()}
        ]
        for axes in figure.axes
    ]
    # The two seeds differ by far more than the starts do, but not in pairs.
    assert marks[0] == pytest.approx([50, 100, -50] * 2)
    assert marks[1] == pytest.approx([0.1, 0.2, -0.1] * 2)
    assert marks[2] == pytest.approx([0] * 6)
    names = [label.get_text() for label in figure.axes[0].get_yticklabels()]
    assert names[:3] == ["2 bits, density", "2 bits, random", "2 bits, optimum"]


def test_an_interval_that_does_not_fit_ends_in_an_arrow():
    rows = [
        {"init": init, "bits": bits, "seed": seed, "error": 1.0, "before": 90.0, "after": after}
        for bits in (2, 3, 4)
        for seed in (0, 1)
        for init, after in (
            ("linear", 90.0),
            ("density", 90.0),
            ("random", 90.0 + (50 * (-1) ** seed if bits == 2 else 0.1 * seed)),
            ("optimal", 91.0),
        )
    ]
    figure = figures.against_linear_start(pd.DataFrame(rows))
    arrows = [[line.get_marker() for line in axes.lines if line.get_marker() in "<>"] for axes in figure.axes]
    assert arrows == [[], [], ["<", ">"]]


def test_files_are_dots_on_either_side_of_the_bound():
    figure = figures.file_sizes({"ours": 900.0, "other": 1250.0}, 1000.0)
    dots = [line.get_xdata()[0] for line in figure.axes[0].lines if line.get_marker() == "o"]
    assert dots == [0.9, 1.25]
    assert [label.get_text() for label in figure.axes[0].get_yticklabels()] == ["ours", "other"]
    assert "bound for independent weights, 1.0 kB" in written(figure)


def test_the_small_network_shows_what_is_off_the_scale():
    rows = [
        {
            "keep": keep,
            "bits": bits,
            "accuracy": accuracy * keep,
            "bytes": 10_000 * bits,
            "xz of indices": 9_000.0 * bits,
        }
        | {"entropy": 9_500.0 * bits}
        for keep in (1.0, 0.7)
        for bits, accuracy in ((3, 5), (4, 50), (5, 60))
    ]
    whole = {"keep": 1.0, "bits": 32, "accuracy": 62.0, "bytes": 600_000}
    left, right = figures.small_network(pd.DataFrame([whole, *rows])).axes
    curves = [list(line.get_ydata()) for line in left.lines if len(line.get_xdata()) == 2 and line.get_marker() in "sD"]
    assert curves == [[50, 60], [35, 42]]
    assert sum(line.get_marker() == "v" for line in left.lines) == 2
    assert [list(line.get_ydata()) for line in right.lines[:2]] == [[90] * 3, [95] * 3]


def test_the_best_gap_is_named():
    figure = figures.gap_widths(
        {"fixed": {2: 3000.0, 3: 2000.0, 4: 2500.0}, "coded": {2: 2900.0, 3: 1900.0, 4: 1800.0}}
    )
    assert {"3 bits: 2.0 kB", "4 bits: 1.8 kB"} <= {text.get_text() for text in figure.axes[0].texts}


def test_a_mixture_is_drawn_step_by_step():
    mixture = pd.DataFrame(
        [
            {"step": step, "component": j, "mixing": 0.5, "mean": (j - 1) / 10 if j else 0.0, "std": 0.01}
            for step in (0, 10, 20)
            for j in range(4)
        ]
    )
    histogram = pd.DataFrame([{"step": s, "left": k / 10, "count": 5} for s in (0, 10, 20) for k in range(-5, 5)])
    figure = figures.mixture_in_training(mixture, histogram)
    shown = [axes.get_title(loc="left") for axes in figure.axes if axes.get_visible()]
    assert shown == ["step 0", "step 10", "step 20"]


# --- the network of the INQ paper -------------------------------------------------------------------------------------


def test_without_the_checkpoint_nothing_is_written(tiny, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(mobilenet, "checkpoint_path", lambda name: tmp_path / f"{name}.safetensors")
    mobilenet.compress_mobilenet()
    assert "no inq-mobilenet-float.safetensors" in capsys.readouterr().out
    assert not list(tmp_path.iterdir())


def test_the_network_of_the_paper_is_compressed_without_training(tiny, tmp_path, monkeypatch):
    path = tmp_path / "inq-mobilenet-float.safetensors"
    save_model(reparameterize(MobileNetV1().eval()), path)
    images = torch.randn(20, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    data = Dataset("cifar100", images, torch.arange(20), images, torch.arange(20), ())
    monkeypatch.setattr(mobilenet, "checkpoint_path", lambda name: path)
    monkeypatch.setattr(mobilenet, "cifar100", lambda device: data)
    monkeypatch.setattr(mobilenet, "BITS", (3, 4))
    mobilenet.compress_mobilenet()
    table = evidence.rows("vector_mobilenet").set_index(["keep", "bits"]).bytes
    assert table[1.0, 32] > 4 * 159_236
    assert table[0.7, 3] < table[1.0, 3] < table[1.0, 4] < table[1.0, 32] / 6


def test_compressing_after_training_leaves_the_network_alone(tiny):
    torch.manual_seed(0)
    data, model = tiny("mnist"), training.NETWORKS["lenet-300-100"]()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    row = mobilenet.shared(model, data, 0.5, 8)
    assert row["bytes"] < training.size(model, "plain")
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
