"""The experiment ``fpga``: what it measures on a few images, its claims, and its figures."""

import matplotlib

matplotlib.use("Agg")

import numpy as np
import pytest
import torch
from quantized_networks import quantized

from fewbits import evidence
from fewbits.experiments.fpga import claims as fpga_claims
from fewbits.experiments.fpga import run as fpga
from fewbits.experiments.inq.networks import small_data, small_net
from fewbits.inq import encode_frozen
from fewbits.mobileone import reparameterize
from fewbits.plots import fpga as figures

pytestmark = pytest.mark.usefixtures("book_theme")


@pytest.fixture(scope="module")
def results(tmp_path_factory):
    """Tables of a small network and 40 images, in a folder of their own."""
    folder = tmp_path_factory.mktemp("results")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("FEWBITS_RESULTS", str(folder))
        patch.setattr("fewbits.evidence.records.code_version", lambda: "unknown")  # the tree may have changes
        patch.setattr(fpga, "FRACTIONS", (16, 4))
        patch.setattr(fpga, "INTEGERS", (16, 2))
        patch.setattr(fpga, "inq_network", lambda name, form: None)  # without the accuracy before INQ
        torch.manual_seed(0)
        model = quantized(reparameterize(small_net(0).eval()))
        data = small_data()
        codes = encode_frozen(model)
        fpga.measure("mobilenet", model, codes, data, 40, "test")
        first = {path.name: path.read_bytes() for path in folder.glob("*.csv")}
        patch.setattr(fpga, "ShiftAdderNet", None)  # nothing may be computed again
        fpga.measure("mobilenet", model, codes, data, 40, "test")
        assert {path.name: path.read_bytes() for path in folder.glob("*.csv")} == first
        return {kind: evidence.rows(f"fpga_{kind}") for kind in ("accuracy", "census", "formats")}


def test_tables_of_a_small_network(results):
    accuracy = results["accuracy"].set_index("form")
    assert accuracy.loc["inq"].differing == 0
    assert (accuracy.images == 40).all()
    assert len(results["census"]) == 8
    formats = results["formats"]
    assert len(formats) == 5  # Q16.16, Q16.4 and Q2.16 wrap, Q16.16 and Q2.16 saturate
    both = formats[(formats.integer_bits == 16) & (formats.fraction_bits == 16)]
    assert both.accuracy.nunique() == 1
    assert both.accuracy.iloc[0] == accuracy.loc["Q16.16"].accuracy


def test_claims_of_a_small_network(results):
    claims = {claim["id"]: claim for claim in fpga_claims.network_claims("mobilenet", results)}
    accuracy = results["accuracy"].set_index("form")
    (change,) = claims["fpga/accuracy-fixed-vs-float-mobilenet"]["parts"]
    assert change["values"] == pytest.approx([accuracy.accuracy["Q16.16"] - accuracy.accuracy["inq"]])
    assert change["images"]["of"] == 40
    outside, bits = claims["fpga/overflow-mobilenet"]["parts"]
    assert outside["values"] == [0]
    assert bits["values"] == [results["census"].integer_bits.max()]
    (origin,) = bits["origins"]
    assert origin["command"] == "test"


def test_only_the_format_of_the_proposed_network_is_a_claim_of_the_article(results):
    tables = {kind: table.assign(network="mobileone") for kind, table in results.items()}
    assert [claim["kind"] for claim in fpga_claims.network_claims("mobilenet", results)] == ["own", "own"]
    assert [claim["kind"] for claim in fpga_claims.network_claims("mobileone", tables)] == ["own", "paper"]


def test_images_gained_and_lost():
    labels, before, now = torch.tensor([0, 1, 2, 3, 4]), torch.tensor([0, 1, 0, 0, 0]), torch.tensor([0, 0, 2, 3, 1])
    # The second is lost, the third and the fourth are gained; the last changes from one wrong class to another.
    assert fpga.compare(now, before, labels) == {"accuracy": 60.0, "differing": 4, "gained": 2, "lost": 1}


def test_recorded_claims_follow_from_the_recorded_tables():
    stored = {claim["id"]: claim for claim in evidence.load("fpga")}
    kinds = ("accuracy", "formats", "census", "correlations", "speed")
    made = fpga_claims.make_claims({kind: evidence.rows(f"fpga_{kind}") for kind in kinds})
    assert {claim["id"] for claim in made} == stored.keys()
    for claim in made:
        for new, old in zip(claim["parts"], stored[claim["id"]]["parts"], strict=True):
            assert new["values"] == pytest.approx(old["values"])


def test_recorded_times_follow_from_the_model():
    layers = fpga.layers_table()
    assert layers.equals(evidence.rows("fpga_layers"))
    assert np.allclose(fpga.correlations_table(layers).pearson, evidence.rows("fpga_correlations").pearson)


# --- Figures ----------------------------------------------------------------------------------------------------------


def test_the_bits_of_a_shift_are_those_of_the_number():
    axis = figures.shift_by_hand(-93, 2, True, 4, 4).axes[0]
    bits = "".join(text.get_text() for text in axis.texts if text.get_text() in ("0", "1"))
    assert bits == "10100011" + "11101000" + "11" + "00011000"
    assert "24 / 16 = 1.5" in [text.get_text() for text in axis.texts]


def test_the_element_has_a_wire_of_33_bits():
    texts = [text.get_text() for text in figures.processing_element().axes[0].texts]
    assert texts.count("33") == 1


def test_lost_accuracy_is_drawn_downwards_in_a_panel_for_each_overflow(results):
    frame = results["formats"].assign(lost=3.0)
    fractions, wrap, saturate = figures.accuracy_by_format({"net": frame}).axes
    assert (fractions.lines[0].get_ydata() == 3).all()
    assert fractions.yaxis_inverted()
    for axis, overflow in ((wrap, "wrap"), (saturate, "saturate")):
        there = frame[(frame.fraction_bits == 16) & (frame.overflow == overflow)]
        assert axis.lines[0].get_xdata().tolist() == sorted(there.integer_bits)
    assert sorted(wrap.lines[0].get_xdata()) == [2, 16]


def test_layers_are_counted_by_their_largest_shift():
    axes = figures.largest_shifts({"one": [8, 5, 8], "other": [5]}).axes
    drawn = [{bar.get_x() + bar.get_width() / 2: bar.get_height() for bar in axis.patches} for axis in axes]
    assert drawn == [{8: 2, 5: 1}, {5: 1}]
    assert [axis.get_title(loc="left") for axis in axes] == ["one", "other"]


def test_bits_by_layer_and_times(results):
    axis = figures.integer_bits_by_layer(results["census"]).axes[0]
    assert axis.lines[0].get_ydata().tolist() == results["census"].integer_bits.tolist()
    layers = evidence.rows("fpga_layers").query("network == 'ResNet-18'")
    titles = [axes.get_title(loc="left") for axes in figures.time_on_processors(layers).axes]
    found = evidence.rows("fpga_correlations").set_index(["network", "processor", "metric"]).pearson
    assert f"shift-adder: r = {found['ResNet-18', 'shift-adder', 'macs_bits']:.2f}" in titles
