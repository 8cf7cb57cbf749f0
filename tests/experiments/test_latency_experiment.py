"""The latency experiment: correlations by scipy, tables by hand, convolutions by torch, claims from the tables."""

import math

import numpy as np
import pandas as pd
import pytest
import torch
import torch.nn.functional as F
from figure_rules import struck_through
from scipy import stats

from fewbits import evidence
from fewbits.core.macs import LayerWork
from fewbits.experiments.mixed_precision import latency as experiment
from fewbits.experiments.mixed_precision import latency_cpu as cpu
from fewbits.experiments.mixed_precision import latency_tables as tables
from fewbits.experiments.mixed_precision.latency_claims import make_claims
from fewbits.experiments.mixed_precision.latency_statistics import correlations
from fewbits.mixed_precision import Processor
from fewbits.plots import mixed_precision_latency as figures

pytestmark = pytest.mark.usefixtures("book_theme")


@pytest.fixture(scope="module")
def layers() -> dict[str, list]:
    return {network: tables.network_layers(network) for network in tables.NETWORKS}


@pytest.fixture(scope="module")
def table(layers) -> pd.DataFrame:
    """The table of layers with a CPU that takes 1 ms for each layer, at every width."""
    rows = [
        {
            "network": network,
            "layer": layer.like,
            "backend": "onnxruntime",
            "arithmetic": "int8",
            "instructions": "AVX2",
        }
        | {"bits": bits, "batch": 1, "milliseconds": 1.0}
        for network, its_layers in layers.items()
        for layer in its_layers
        if layer.like == layer.work.name
        for bits in (8, 16)
    ]
    return tables.layers_table(layers, pd.DataFrame(rows))


# --- Correlations -----------------------------------------------------------------------------------------------------


def test_correlations_are_those_of_scipy():
    rng = np.random.default_rng(0)
    x = rng.integers(0, 6, 40).astype(float)  # with ties
    y = x**3 + 30 * rng.standard_normal(40)
    found = correlations(x, y, range(40))
    assert found["n"] == 40
    assert found["pearson"] == pytest.approx(stats.pearsonr(x, y).statistic, abs=1e-4)
    assert found["spearman"] == pytest.approx(stats.spearmanr(x, y).statistic, abs=1e-4)


def test_interval_is_near_the_one_of_fisher():
    """For many normal points the bootstrap and Fisher's transformation agree."""
    rng = np.random.default_rng(1)
    x = rng.standard_normal(400)
    y = x + rng.standard_normal(400)
    low, high = stats.pearsonr(x, y).confidence_interval(0.95)
    found = correlations(x, y, range(400))
    assert (found["pearson_low"], found["pearson_high"]) == pytest.approx((low, high), abs=0.02)


def test_points_of_one_group_are_not_counted_as_independent():
    rng = np.random.default_rng(2)
    x = rng.standard_normal(20)
    y = x + rng.standard_normal(20)
    single = correlations(x, y, range(20))
    twice = correlations([*x, *x], [*y, *y], [*range(20), *range(20)])
    assert (twice["n"], single["n"]) == (40, 20)
    kinds = ("pearson", "pearson_low", "pearson_high", "spearman", "spearman_low", "spearman_high")
    assert [twice[kind] for kind in kinds] == pytest.approx([single[kind] for kind in kinds])
    fooled = correlations([*x, *x], [*y, *y], range(40))
    assert fooled["pearson_high"] - fooled["pearson_low"] < 0.8 * (single["pearson_high"] - single["pearson_low"])


def test_correlations_that_do_not_exist():
    constant = correlations([1, 1, 1, 1], [1, 2, 3, 4], range(4))
    assert all(math.isnan(constant[kind]) for kind in ("pearson", "pearson_low", "spearman", "spearman_high"))
    few = correlations([1, 2, 3], [1, 2, 4], range(3))
    assert few["spearman"] == 1
    assert math.isnan(few["spearman_low"])
    with pytest.raises(ValueError, match="groups must be of equal size, got sizes 1 to 2"):
        correlations([1, 2, 3], [1, 2, 4], ["a", "a", "b"])


# --- Tables -----------------------------------------------------------------------------------------------------------


def test_networks_have_the_layers_that_they_should(layers):
    assert {network: len(its_layers) for network, its_layers in layers.items()} == {"ResNet-18": 21, "MobileNet": 24}
    resnet = layers["ResNet-18"]
    assert len({layer.like for layer in resnet}) == 12
    assert [layer.kind for layer in resnet].count("3×3") == 16
    assert [layer.kind for layer in layers["MobileNet"]].count("depthwise") == 11
    shapes = {layer.work.name: (layer.work.weights, layer.work.output_positions) for layer in resnet}
    for layer in resnet:
        assert shapes[layer.like] == (layer.work.weights, layer.work.output_positions)


def test_a_batch_uses_the_same_weights_at_more_positions():
    work = LayerWork("a", "conv", 4, 6, 2, 3)
    assert tables.batched(work, 16) == LayerWork("a", "conv", 4, 96, 2, 48)


def test_layers_table_by_hand(table):
    rows = table[(table.layer == "layer4.1.conv2") & (table.bits == 8)].set_index(["backend", "batch"])
    assert set(rows.weight_bits_total) == {512 * 512 * 9 * 8}
    assert rows.macs_bits["processor", 16] == 16 * 512 * 512 * 9 * 49 * 8
    work = LayerWork("x", "conv", 512, 4608 * 49, 4608, 49)
    assert rows.cycles["processor", 1] == Processor().cycles(work, [8] * 512)
    assert rows.milliseconds["onnxruntime", 1] == 1.0
    assert rows.like["processor", 1] == "layer4.0.conv2"


def test_allocations_by_hand(layers, table):
    allocations = tables.allocations_table(layers, table, 3)
    counts = allocations.groupby(["network", "backend", "scope"]).size()
    assert len(counts) == 6
    assert set(counts) == {3}
    on_cpu = allocations[allocations.backend == "onnxruntime"]
    assert set(on_cpu.milliseconds[on_cpu.network == "ResNet-18"]) == {21.0}  # 1 ms a layer
    model = allocations[allocations.backend == "processor"]
    assert (model["no overheads"] == model["macs_bits"]).all()
    assert (model["cycles"] == model["default"]).all()
    assert model["mean_bits"].between(2, 8).all()
    again = tables.allocations_table(layers, table, 3)
    pd.testing.assert_frame_equal(allocations, again)


def test_random_bits_have_the_scope_that_they_should(layers):
    rng = np.random.default_rng(0)
    by_layer = tables.random_bits(layers["MobileNet"], "layer", rng)
    assert all(len(set(bits)) == 1 for bits in by_layer.values())
    by_filter = tables.random_bits(layers["MobileNet"], "filter", rng)
    assert max(len(set(bits)) for bits in by_filter.values()) > 3
    for layer in layers["MobileNet"]:
        assert len(by_filter[layer.work.name]) == len(by_layer[layer.work.name]) == layer.work.filters
    assert {bit for bits in [*by_layer.values(), *by_filter.values()] for bit in bits} == set(range(2, 9))


def test_correlations_of_a_small_run(layers, table):
    small = {"MobileNet": layers["MobileNet"]}
    mobile = table[table.network == "MobileNet"]
    found = experiment.correlations_table(small, mobile, tables.allocations_table(small, mobile, 10))
    ideal = found[(found.variant == "no overheads") & (found.metric == "MACs×bits")]
    assert len(ideal) == 4  # layers at two batch sizes, allocations by layer and by filter
    assert (ideal.pearson == 1).all()
    assert found[found.backend == "onnxruntime"].pearson[found.points == "layers"].isna().all()  # its times do not vary
    counts = found[(found.points == "layers") & (found.bits == "8 and 16") & (found.batch == 1)].set_index("subset").n
    assert set(counts["all"]) == {28}
    assert set(counts["with repeats"]) == {48}
    assert set(counts["without depthwise"]) == {16}
    assert set(counts["without both"]) == {14}


# --- The CPU ----------------------------------------------------------------------------------------------------------

SHAPE = cpu.ConvShape(4, 6, 3, 2, 2, 7)


@pytest.mark.parametrize("bits", [8, 16, 32])
@pytest.mark.parametrize("shape", [SHAPE, cpu.EMPTY])
def test_onnx_runs_the_convolution_that_is_asked_for(bits, shape):
    call, arithmetic = cpu.onnx_call(shape, bits, 2)
    (output,) = call()
    rng = np.random.default_rng(0)
    weight = torch.from_numpy(rng.integers(-64, 65, shape.weight_shape)).double()
    image = torch.from_numpy(rng.integers(0, 256, (2, shape.inputs, shape.size, shape.size))).double()
    expected = F.conv2d(image, weight, stride=shape.stride, padding=shape.kernel // 2, groups=shape.groups)
    if bits == 8:
        assert arithmetic == "int8"
        expected = (1e-4 * expected).clamp(0, 255)
        np.testing.assert_allclose(output, expected, atol=0.51)
    else:
        assert arithmetic.startswith(f"float{bits}")
        finite = expected.abs() < 60_000  # the range of float16
        np.testing.assert_allclose(output[finite], expected[finite], rtol=2e-3, atol=64)
    assert output.shape == (2, shape.outputs, shape.output_size, shape.output_size)


@pytest.mark.parametrize("bits", [8, 16, 32])
def test_torch_runs_a_convolution_of_that_shape_and_type(bits):
    call, arithmetic = cpu.torch_call(SHAPE, bits, 2)
    output = call()
    assert output.shape == (2, 6, 4, 4)
    assert output.dtype == {8: torch.quint8, 16: torch.bfloat16, 32: torch.float32}[bits]
    assert arithmetic.startswith({8: "int8", 16: "bfloat16", 32: "float32"}[bits])


def test_the_shortest_of_many_calls_counts(monkeypatch):
    clock = iter([0, 0, 5, 5, 7, 99])  # calls of 5 s and of 2 s
    monkeypatch.setattr(cpu.time, "perf_counter", lambda: next(clock))
    calls = []
    assert cpu.shortest_call(lambda: calls.append(1), seconds=0) == 2000
    assert len(calls) == 1 + cpu.LEAST_CALLS


def test_an_interrupted_measurement_goes_on(tmp_path, monkeypatch):
    monkeypatch.setenv("FEWBITS_RESULTS", str(tmp_path))
    times = iter([5.0, 4.0, 3.0, 9.0, *[6.0] * 100])
    stop_after = 3

    def measured(_call):
        nonlocal stop_after
        stop_after -= 1
        if stop_after < 0:
            raise KeyboardInterrupt
        return next(times)

    monkeypatch.setattr(cpu, "CALLS", {"onnxruntime": lambda *shape: (None, "int8")})
    monkeypatch.setattr(cpu, "BITS", (8,))
    monkeypatch.setattr(cpu, "shortest_call", measured)
    shapes = {("a", "first"): SHAPE, ("a", "second"): SHAPE}
    with pytest.raises(KeyboardInterrupt):
        cpu.measure(shapes, [1], 2)
    assert list(evidence.rows("mixed_precision_latency_measured").rounds) == [2, 1]
    stop_after = 1
    table = cpu.measure(shapes, [1], 2)
    assert list(table.milliseconds) == [3.0, 4.0]  # the least of 5 and 3; of 4 and 9
    pd.testing.assert_frame_equal(evidence.rows("mixed_precision_latency_measured"), table)
    cpu.measure(shapes, [1], 2)  # nothing left to do: a call would stop it
    # Another processor gets rows of its own.
    evidence.write_rows("mixed_precision_latency_measured", table.assign(instructions="other"))
    stop_after = 4
    both = cpu.measure(shapes, [1], 2)
    assert list(both.instructions) == ["other"] * 2 + [cpu.code_path()] * 2
    assert list(both.milliseconds) == [3.0, 4.0, 6.0, 6.0]


def test_the_path_names_the_units_for_8_bits(monkeypatch):
    monkeypatch.setattr(cpu.torch.backends.cpu, "get_cpu_capability", lambda: "AVX512")
    for features, path in ((set(), "AVX512"), ({"avx512vnni"}, "AVX512, VNNI"), ({"avxvnni", "amx-int8"}, None)):
        monkeypatch.setattr(cpu.isa, "features", lambda features=features: features)
        assert cpu.code_path() == (path or "AVX512, VNNI, AMX")


# --- Claims -----------------------------------------------------------------------------------------------------------


def test_claims_follow_from_the_recorded_table():
    """The numbers on record are those of the table, and the table's are those of its points."""
    found = evidence.rows("mixed_precision_latency_correlations")
    stored = {claim["id"]: claim for claim in evidence.load("mixed_precision") if "/correlation-" in claim["id"]}
    made = {claim["id"]: claim for claim in make_claims(found)}
    assert made.keys() == stored.keys()
    assert len(made) == 2 + found.path[found.backend == "onnxruntime"].nunique()
    for name, claim in made.items():
        assert [part["name"] for part in claim["parts"]] == ["size", "work"]
        for field in set(claim) - {"parts"}:
            assert stored[name][field] == claim[field]
        for part, old in zip(claim["parts"], stored[name]["parts"], strict=True):
            assert {field: value for field, value in old.items() if field != "origins"} == part
    table = evidence.rows("mixed_precision_latency_layers").query(
        "network == 'ResNet-18' and layer == like and batch == 1"
    )
    points = table[(table.backend == "onnxruntime") & (table.path == "AVX2") & table.bits.isin([8, 16])]
    by_hand = stats.pearsonr(points.macs_bits, points.milliseconds).statistic
    work = stored["mixed_precision/correlation-layers-cpu"]["parts"][1]
    assert work["values"] == [pytest.approx(by_hand, abs=1e-4)]


def test_only_what_the_article_measured_is_its_claim():
    kinds = {claim["id"]: claim["kind"] for claim in make_claims(evidence.rows("mixed_precision_latency_correlations"))}
    measured = {name for name in kinds if name.startswith("mixed_precision/correlation-layers-cpu")}
    assert {kinds.pop(name) for name in measured} == {"paper"}
    assert set(kinds.values()) == {"own"}


@pytest.mark.parametrize(
    ("low", "high", "size", "work"),
    [(0.2, 0.4, "yes", "no"), (0.85, 0.95, "no", "yes"), (0.4, 0.9, "undecided", "undecided"), (0.6, 0.7, "no", "no")],
)
def test_weak_and_strong_are_judged_by_whole_intervals(low, high, size, work):
    found = evidence.rows("mixed_precision_latency_correlations")
    found = found.assign(pearson=(low + high) / 2, pearson_low=low, pearson_high=high)
    for claim in make_claims(found):
        assert [evidence.holds(part) for part in claim["parts"]] == [size, work]


def test_without_measured_times_there_is_no_claim_about_a_cpu():
    found = evidence.rows("mixed_precision_latency_correlations").query("backend == 'processor'")
    assert {claim["id"].rsplit("-", 1)[1] for claim in make_claims(found)} == {"model"}


# --- Figures ----------------------------------------------------------------------------------------------------------


def test_figure_shows_every_layer_and_the_right_r(table):
    frame = table[(table.network == "MobileNet") & (table.backend == "processor") & (table.batch == 1)]
    widths = sorted(set(frame.bits))
    figure = figures.time_of_layers(frame)
    left, right = figure.axes
    markers = [line for line in left.lines if line.get_marker() != "None"]
    assert len(markers) == len(frame)
    expected = stats.pearsonr(frame.macs_bits, frame.cycles.astype(float)).statistic
    assert right.get_title(loc="left") == f"r = {expected:.2f}"
    assert left.get_ylabel() == "time of a layer (10³ cycles)"
    names = [text.get_text() for text in figure.legends[0].get_texts()]
    assert names == ["first convolution", "1×1", "depthwise", "linear layer", *(f"{bits} bits" for bits in widths)]
    assert struck_through(figure) == []


def test_figures_refuse_what_they_cannot_draw(table):
    frame = table[table.backend == "processor"]
    with pytest.raises(ValueError, match=r"no colour for \['winding'\]"):
        figures.time_of_layers(frame.assign(kind="winding"))
    with pytest.raises(ValueError, match="milliseconds in every row, or cycles in every row"):
        figures.time_of_layers(table[table.kind == "linear"])


def test_correlations_are_drawn_with_their_intervals():
    found = evidence.rows("mixed_precision_latency_correlations").query(
        "network == 'ResNet-18' and backend == 'processor' and points == 'layers' and subset == 'all' and batch == 1"
    )
    found = found[(found.bits == "8 and 16") & found.variant.isin(["default", "memory of 1 bit a cycle"])]
    figure = figures.correlations(found.assign(name=found.variant))
    axes = figure.axes[0]
    assert [label.get_text() for label in axes.get_yticklabels()] == ["default", "memory of 1 bit a cycle"]
    drawn = {bar.lines[0].get_xdata()[0]: bar.lines[2][0].get_segments()[0][:, 0] for bar in axes.containers}
    assert set(drawn) == set(found.pearson)
    for row in found.itertuples():
        assert list(drawn[row.pearson]) == pytest.approx([row.pearson_low, row.pearson_high])
    hollow = {bar.lines[0].get_xdata()[0] for bar in axes.containers if bar.lines[0].get_markerfacecolor() == "white"}
    assert hollow == set(found[found.metric == "weight size"].pearson)
