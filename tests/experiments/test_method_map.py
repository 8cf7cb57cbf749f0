"""The map of methods: circuits compute what they are counted for, costs add up, runs resume, figures draw."""

import dataclasses
import functools
import json

import matplotlib

matplotlib.use("Agg")

import numpy as np
import pandas as pd
import pytest
import torch
from tool_files import ROOT, tool

from fewbits import evidence
from fewbits.evidence import records
from fewbits.experiments.comparison import Task, prepared
from fewbits.experiments.method_map import methods as map_methods
from fewbits.experiments.method_map import run as method_map
from fewbits.experiments.method_map.circuits import KINDS, UNITS, mean_cost, synthesize_unit
from fewbits.experiments.method_map.methods import ENTRIES, Entry, every
from fewbits.fpga.netlist import Netlist
from fewbits.fpga.synthesis import synthesize
from fewbits.nets import MLP
from fewbits.plots import method_map as figures

pytestmark = pytest.mark.usefixtures("book_theme")

N, VECTORS = 4, 200


# --- Circuits ---------------------------------------------------------------------------------------------------------


def expected_sum(kind: str, bits: int, exponents: int, x, codes, entries):
    """By plain integers: (VECTORS,)."""
    sign = np.where(codes >> (bits - 1) & 1, -1, 1)
    if kind == "sign by sign":
        return (x == codes).sum(1)
    weights = {
        "sign": lambda: 2 * codes - 1,
        "ternary": lambda: np.where(codes & 1, np.where(codes & 2, -1, 1), 0),
        "power of two": lambda: sign * np.array([0, *(2**e for e in range(exponents))])[codes & (2 ** (bits - 1) - 1)],
        "integer": lambda: np.where(codes >= 2 ** (bits - 1), codes - 2**bits, codes),
        "codebook": lambda: entries[codes],
        "choice": lambda: codes,
    }[kind]()
    return (x * weights).sum(1)


@pytest.mark.parametrize(
    ("kind", "bits", "activation_bits"),
    [
        ("sign by sign", 1, 1),
        ("sign", 1, 8),
        ("ternary", 2, 8),
        ("power of two", 5, 8),
        ("power of two", 4, 8),
        ("integer", 3, 8),
        ("integer", 4, 4),
        ("codebook", 2, 8),
        ("choice", 1, 8),
    ],
)
def test_the_netlist_that_is_counted_computes_the_sum(kind, bits, activation_bits):
    exponents = {5: 8, 4: 7}.get(bits, 8)
    parameters = {"N": N, "KIND": KINDS[kind], "W": bits, "A": activation_bits, "EXPONENTS": exponents}
    netlist = Netlist(synthesize("few_bit_dot", parameters, dsp=False))
    rng = np.random.default_rng(0)
    x = rng.integers(0, 2**activation_bits, (VECTORS, N))
    x[0] = 2**activation_bits - 1  # the largest sum of either sign
    codes = rng.integers(0, 2**bits, (VECTORS, N))
    if kind == "power of two":  # what lies above the largest exponent is no code
        codes = rng.integers(0, exponents + 1, (VECTORS, N)) + rng.integers(0, 2, (VECTORS, N)) * 2 ** (bits - 1)
    if kind == "ternary":
        codes[codes == 2] = 0
    codes[0] = codes[0, 0]
    entries = rng.integers(-128, 128, 2**bits)
    cycles = 1 + 2 + 1  # one for the products, two for the tree of four
    stimulus = {"x": x, "weights": codes, "entries": np.tile(entries & 255, (VECTORS, 1))}
    found = netlist.run({name: np.tile(a, (cycles, 1, 1)) for name, a in stimulus.items()})["sum"][-1]
    product = {"power of two": activation_bits + exponents, "integer": activation_bits + bits, "codebook": 16}
    width = product.get(kind, activation_bits + 1) + 2
    signed = found.astype(np.int64)
    signed = np.where(signed >> (width - 1) & 1, signed - (1 << width), signed)
    assert np.array_equal(signed, expected_sum(kind, bits, exponents, x, codes, entries))


def test_units_have_names():
    with pytest.raises(ValueError, match="unknown unit 'int9'"):
        synthesize_unit("int9")


def test_mean_cost_by_hand():
    tables = {"a": 10.0, "b": 100.0}
    # 30 products of 10 tables, 10 products of half 10 and half 100.
    assert mean_cost([{"a": 1}, {"a": 0.5, "b": 0.5}], [30, 10], tables) == (300 + 550) / 40


# --- Methods ----------------------------------------------------------------------------------------------------------


def test_entries_name_known_units_and_styles():
    from fewbits.plots import COLORS

    for name, entry in ENTRIES.items():
        assert entry.style in COLORS, name
        for layer in entry.units or ():
            assert set(layer) <= set(UNITS), name


@pytest.mark.parametrize("name", list(ENTRIES))
def test_every_method_trains_and_has_costs(name, monkeypatch, tmp_path):
    monkeypatch.setattr(map_methods, "TASK", Task(small_network, 2, "notebook"))
    monkeypatch.setattr(map_methods, "EPOCHS", 2)
    entry, data = ENTRIES[name], small_data()
    model = entry.train(data, 0).eval()
    units = map_methods.units_of(entry, model)
    assert len(units) == 4
    assert all(set(layer) <= set(UNITS) for layer in units)
    bits = map_methods.bits_per_weight(entry, model)
    assert 1 <= bits <= 32
    if entry.real_activations:
        rounded = map_methods.round_activations(model, data.train_images)
        hidden = torch.nn.Sequential(*rounded)[:-1](data.test_images)
        assert all(len(hidden[:, unit].unique()) <= 256 for unit in range(hidden.shape[1]))
        assert not torch.equal(rounded(data.test_images), model(data.test_images))


def small_network(activation, **options):
    return MLP((784, 6, 6, 6, 10), activation, batch_norm=True, **options)


@functools.cache
def small_data():
    generator = torch.Generator().manual_seed(0)
    images, labels = torch.rand(256, 1, 28, 28, generator=generator), torch.arange(256) % 10
    whole = prepared("mnist5k")
    return dataclasses.replace(
        whole, train_images=images, train_labels=labels, test_images=images[:50], test_labels=labels[:50]
    )


# --- Experiment -------------------------------------------------------------------------------------------------------


def test_what_is_recorded_is_not_run_again(monkeypatch, tmp_path):
    monkeypatch.setenv("FEWBITS_RESULTS", str(tmp_path))
    monkeypatch.setattr(method_map, "prepared", lambda name: small_data())
    monkeypatch.setattr(records, "code_version", lambda: "c" * 40)
    calls = []

    def train(data, seed):
        calls.append(seed)
        return small_network(torch.nn.ReLU)

    entries = {"a": Entry("float", train, every("float × float"), False)}
    method_map.train_missing(entries, [0], "first")
    table = method_map.train_missing(entries, [0, 1], "second")
    assert calls == [0, 1]
    assert table["seed"].tolist() == [0, 1]
    assert table["bits_per_weight"].tolist() == [32, 32]
    assert [origin["command"] for origin in evidence.origins(table)] == ["first", "second"]


def recorded_runs(seeds=(0, 1)):
    circuits = pd.DataFrame({"unit": list(UNITS), "LUT": [32.0 * (i + 1) for i in range(len(UNITS))]})
    rows = [
        {"data": "mnist5k", "method": name, "seed": seed, "accuracy": 95.0 + seed - i / 10, "bits_per_weight": i + 1.0}
        | {"units": json.dumps([*(entry.units or every("3 bits × 8 bits")), {"sign × sign": 1}])}
        for i, (name, entry) in enumerate(ENTRIES.items())
        for seed in seeds
    ]
    return method_map.summary(pd.DataFrame(rows), circuits)


def test_claims_by_hand():
    claims = {claim["id"].split("/")[1]: claim for claim in method_map.make_claims(recorded_runs())}
    for claim in claims.values():
        evidence.validate(claim)
    names = list(ENTRIES)
    worst = names.index("shared, 16 values")  # the last of the seven, so the least accurate here
    rounded = names.index("uniform, 8 bits, after training")
    values = {name: claim["parts"][0]["values"] for name, claim in claims.items()}
    assert values["three-bits-and-more"] == pytest.approx([worst / 10] * 2)
    assert values["eight-bits-after-training"] == pytest.approx([rounded / 10] * 2)
    place = {name: i + 1 for i, name in enumerate(UNITS)}
    work = method_map.macs()

    def cost(unit):
        return (place[unit] * sum(work[:3]) + place["sign × sign"] * work[3]) / sum(work)

    expected = cost("ternary × 8 bits") / cost("8 bits × 8 bits")
    assert values["ternary-against-8-bits"] == [pytest.approx(expected, abs=0.005)]


def test_a_value_names_the_run_of_its_worst_method():
    stamp = {"commit": "c" * 40, "date": "2026-01-01", "device": "cpu", "torch": "2", "wall_s": 1.0}
    frame = recorded_runs().assign(**stamp)
    claims = {
        claim["id"].split("/")[1]: claim
        for claim in method_map.make_claims(frame.assign(command=frame["method"] + frame["seed"].astype(str)))
    }
    origins = claims["three-bits-and-more"]["parts"][0]["origins"]
    assert [origin["command"] for origin in origins] == ["shared, 16 values0", "shared, 16 values1"]
    (table,) = {tuple(part) for part in claims["inq-against-8-bits"]["parts"]}
    assert "origins" not in table


def test_claims_on_record_are_those_of_the_recorded_tables():
    stored = {claim["id"]: claim for claim in evidence.load("method_map")}
    made = {claim["id"]: claim for claim in method_map.claims_of_tables()}
    assert made.keys() == stored.keys()
    for name, claim in made.items():
        assert claim["parts"][0]["values"] == pytest.approx(stored[name]["parts"][0]["values"])
        assert evidence.word(claim) == stored[name]["word"]


def test_the_record_is_complete():
    runs = evidence.rows("method_map_runs")
    assert set(runs["method"]) == set(ENTRIES)
    assert (runs.groupby("method")["seed"].nunique() >= 3).all()
    assert set(evidence.rows("method_map_units")["unit"]) == set(UNITS)


# --- Figures ----------------------------------------------------------------------------------------------------------


def words_of(figure) -> str:
    return " ".join(text.get_text() for text in figure.findobj(matplotlib.text.Text))


STYLES = {name: entry.style for name, entry in ENTRIES.items()}
INNER = {"XNOR-Net": (1.25, 3.3)}


def stored_runs():
    """Those on record: the places of the labels are made for them."""
    return method_map.summary(evidence.rows("method_map_runs"), evidence.rows("method_map_units"))


def test_figures_name_every_method():
    frame = stored_runs()
    for figure in (
        figures.bits_accuracy_tables(frame, STYLES, INNER),
        figures.cost_and_loss(frame, STYLES, INNER, 0.9),
    ):
        assert all(name in words_of(figure).replace(",\n", ", ") for name in ENTRIES)


def test_a_method_with_float_ends_is_hollow_and_joined_to_its_inner_layers():
    figure = figures.cost_and_loss(stored_runs(), STYLES, INNER, 0.9)
    dashed = [line for line in figure.axes[0].lines if line.get_linestyle() == "--" and len(line.get_xdata()) == 2]
    assert [line.get_xdata()[0] for line in dashed] == [INNER["XNOR-Net"][1]]
    hollow = [line for line in figure.axes[0].lines if line.get_markerfacecolor() == "white"]
    assert len(hollow) == 1
    assert words_of(figure).count("ends in float") == 1


def test_the_band_of_noise_is_around_no_loss():
    axes = figures.cost_and_loss(stored_runs(), STYLES, INNER, 0.75).axes[0]
    low, high = axes.patches[0].get_extents().transformed(axes.transData.inverted()).intervaly
    assert (low, high) == (pytest.approx(-0.75), pytest.approx(0.75))


def test_markers_at_one_cost_are_moved_apart_and_others_stay():
    assert figures._apart(pd.Series([1.0, 10.0, 10.0, 100.0]), 1.21) == pytest.approx([1, 10 / 1.1, 10 * 1.1, 100])
    # Moving two apart may bring the upper one too near to a third: then all three share the room.
    crowded = figures._apart(pd.Series([10.0, 10.0, 11.5]), 1.2)
    assert np.divide(crowded[1:], crowded[:-1]) == pytest.approx([1.2, 1.2])
    assert crowded[1] == pytest.approx((10 * 10 * 11.5) ** (1 / 3))


def test_the_bill_of_a_tree_is_written_above_its_bars():
    figure = figures.sum_of_products([(4, 9), (2, 10), (1, 11)])
    tree, bill = figure.axes
    assert [bar.get_height() for bar in bill.patches] == [36, 20, 11]
    assert "4 · 9 = 36" in words_of(figure)
    branches = [line for line in tree.lines if len(line.get_xdata()) == 2 and line.get_marker() != "s"]
    assert len(branches) == 4 + 2


def test_products_are_sorted_by_what_they_cost():
    costs = pd.DataFrame({"LUT": [100.0, 9.25], "packed_LUT": [80.0, 4.0]}, index=["dear", "cheap"])
    axes = figures.product_costs(costs).axes[0]
    assert [label.get_text() for label in axes.get_yticklabels()] == ["cheap", "dear"]
    assert {"9.2", "100"} <= {text.get_text() for text in axes.texts}


# --- The picture of README.md -----------------------------------------------------------------------------------------


def test_the_picture_of_the_readme_is_the_notebook_s_figure():
    readme_figure = tool("readme_figure")
    stored = readme_figure.stored_figure(readme_figure.NOTEBOOK, readme_figure.FIGURE)
    assert readme_figure.PICTURE.read_bytes() == stored, "run tools/readme_figure.py"
    assert readme_figure.PICTURE.relative_to(ROOT).as_posix() in (ROOT / "README.md").read_text()


def test_a_notebook_without_the_figure_is_named():
    readme_figure = tool("readme_figure")
    with pytest.raises(LookupError, match=r"method_map.ipynb has no picture 'fig-none': refresh the notebook"):
        readme_figure.stored_figure(readme_figure.NOTEBOOK, "fig-none")
