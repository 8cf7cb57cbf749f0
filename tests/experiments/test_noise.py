"""Statistics of the appendix on noise: powers and seed counts against published tables and against simulation."""

import math

import numpy as np
import pandas as pd
import pytest
import torch
from scipy import stats

from fewbits import evidence
from fewbits.data import load
from fewbits.experiments.common import recorded as recorded_rows
from fewbits.experiments.noise import run as noise
from fewbits.experiments.noise.claims import make_claims, pooling_claims
from fewbits.experiments.noise.run import divergence, latent_weights, small_cnn
from fewbits.experiments.noise.statistics import power, seeds_needed


@pytest.mark.parametrize(("effect", "seeds"), [(0.2, 394), (0.5, 64), (0.8, 26), (1.0, 17), (2.0, 6)])
def test_seeds_of_two_independent_groups(effect, seeds):
    # Sample sizes per group for a two-sided t test, 5 % level, 80 % power: Cohen (1988), Table 2.4.1; G*Power.
    assert seeds_needed(effect, 1.0) == seeds


@pytest.mark.parametrize(("effect", "seeds"), [(0.2, 199), (0.5, 34), (0.8, 15), (1.0, 10)])
def test_seeds_of_pairs(effect, seeds):
    assert seeds_needed(effect, 1.0, paired=True) == seeds


def test_only_gain_over_sd_counts_and_the_sign_does_not():
    assert seeds_needed(-1.5, 3.0) == seeds_needed(0.5, 1.0)


@pytest.mark.parametrize("paired", [False, True])
def test_power_is_how_often_the_test_sees_the_gain(paired):
    generator = np.random.default_rng(0)
    a = generator.normal(0.0, 1.0, (20_000, 6))
    b = generator.normal(1.2, 1.0, (20_000, 6))
    # As pairs, b alone plays the part of the differences within a seed.
    p = (stats.ttest_1samp(b, 0, axis=1) if paired else stats.ttest_ind(a, b, axis=1)).pvalue
    assert power(1.2, 1.0, 6, paired) == pytest.approx(np.mean(p < 0.05), abs=0.012)  # 3.5 standard errors


def test_power_of_no_gain_is_the_error_rate():
    assert power(0.0, 1.0, 5) == pytest.approx(0.05)


@pytest.mark.parametrize(("sd", "n"), [(0.0, 5), (-1.0, 5), (1.0, 1)])
def test_power_refuses(sd, n):
    with pytest.raises(ValueError, match="n must be at least 2 and sd positive"):
        power(1.0, sd, n)


def test_no_seeds_show_no_gain():
    with pytest.raises(ValueError, match="gain must not be 0"):
        seeds_needed(0.0, 1.0)


@pytest.mark.parametrize(("method", "levels"), [("float", None), ("binary", 2), ("2-bit", 3)])
def test_small_cnn_quantizes_every_layer(method, levels):
    model = small_cnn(method)
    assert sum(p.numel() for p in model.parameters()) == 2722
    assert latent_weights(model).shape == (8 * 9 + 16 * 8 * 9 + 10 * 144,)
    assert model(torch.zeros(2, 1, 28, 28)).shape == (2, 10)
    for layer in (module for module in model if hasattr(module, "weight") and module.weight.dim() > 1):
        if levels is not None:
            assert all(len(row.unique()) <= levels for row in layer.weight)


def test_divergence_by_hand():
    ours = {"binary float32 constant 0": torch.tensor([[3.0, 4.0], [0.0, 2.0]])}
    theirs = {"binary float32 constant 0": torch.tensor([[3.0, 4.0], [-2.0, 2.0]])}
    first, second = divergence(ours, theirs)
    assert (first["step"], first["distance"], first["flips"]) == (1, 0.0, 0)
    assert (second["step"], second["flips"]) == (2, 1)  # 0 counts as positive
    assert math.isclose(second["distance"], 1.0)


@pytest.mark.parametrize("method", ["binary", "2-bit"])
def test_ties_in_max_pooling_make_runs_part_and_an_average_has_none(method):
    data = load("mnist5k")
    apart = {name: noise.parted(method, name, 0, data, moments=(32,))[0] for name in noise.POOLINGS}
    assert apart["average"] < 1e-12
    assert apart["maximum"] > 1e-6


def test_runs_that_start_equal_stay_equal(monkeypatch):
    monkeypatch.setattr(noise, "NUDGE", 0.0)
    assert noise.parted("binary", "maximum", 0, load("mnist5k"), torch.float32, moments=(3,)) == [0]


def test_settings_take_effect_and_initial_weights_do_not_depend_on_them():
    # torch's own float32 draw may move with the instruction set; the start of the experiment's networks must not.
    code = "; ".join(f"print(_checksum(latent_weights(_same_start('{method}', 0))))" for method in noise.QUANTIZERS)
    here = [noise._checksum(latent_weights(noise._same_start(method, 0))) for method in noise.QUANTIZERS]
    plain = {"ATEN_CPU_CAPABILITY": "default"}
    call = f"from fewbits.experiments.noise.run import _checksum, _same_start; {code}; probe()"
    lines = noise._python(call, 1, plain).splitlines()
    assert lines[:3] == here
    assert lines[-2] == "ATEN DEFAULT"
    assert torch.get_default_dtype() == torch.float32


# --- claims --------------------------------------------------------------------------------------------------------


def claims_of(*tables) -> dict:
    claims = {claim["id"].split("/")[1]: claim for claim in make_claims(*tables)}
    for claim in claims.values():
        evidence.validate(claim)
    return claims


def recorded() -> list[pd.DataFrame]:
    return [evidence.rows(f"noise_{name}") for name in ("seeds", "hardware", "frozen")]


def test_claims_on_record_are_those_of_the_recorded_tables():
    made = claims_of(*recorded())
    stored = {claim["id"].split("/")[1]: claim for claim in evidence.load("noise")}
    if len(pooling := recorded_rows("noise_pooling", [])):
        made |= {claim["id"].split("/")[1]: claim for claim in pooling_claims(pooling)}
    assert made.keys() == stored.keys()
    for name, claim in made.items():
        for part, other in zip(claim["parts"], stored[name]["parts"], strict=True):
            assert part["values"] == pytest.approx(other["values"])
        assert evidence.word(claim) == stored[name]["word"]


def test_settings_are_counted_that_end_at_another_loss():
    many, hardware, frozen = recorded()
    constant = (hardware.recipe == "constant") & (hardware.precision == "float64") & (hardware.method == "float")
    one = constant & (hardware.setting == "MKL: AVX2") & (hardware.seed == 1)
    assert one.sum() == 1
    for factor, count, word in ((1 + 1e-7, 1, "does not hold"), (1 + 1e-10, 0, "holds")):
        doctored = hardware.assign(loss=hardware.loss.where(~one, hardware.loss * factor))
        claim = claims_of(many, doctored, frozen)["float64-identical"]
        assert (claim["parts"][0]["values"], evidence.word(claim)) == ([0, count, 0], word)


def test_pooling_claims_by_hand():
    """The average keeps the runs together, the maximum does not, but for one precision."""
    cases = [
        (p, m, name, seed)
        for p in ("float64", "float32")
        for m in noise.QUANTIZERS
        for name in noise.POOLINGS
        for seed in (0, 1)
    ]
    table = pd.DataFrame(cases, columns=["precision", "method", "pooling", "seed"])
    table["step 32"] = table.pooling.map({"maximum": 1e-4, "average": 1e-14})
    claims = {claim["id"].split("/")[1]: claim for claim in pooling_claims(table)}
    values = [part["values"] for part in claims["pooling-float64"]["parts"]]
    assert values == [[-14, -14], [-14, -14], [-4, -4], [-4, -4]]
    assert evidence.word(claims["pooling-float64"]) == "holds"
    assert evidence.word(claims["pooling-float32"]) == "does not hold"
    for claim in claims.values():
        evidence.validate(claim)


def test_the_interval_of_the_seeds_is_that_of_the_standard_deviation():
    many, hardware, frozen = recorded()
    (part,) = claims_of(many, hardware, frozen)["seeds-needed"]["parts"]
    # Table of chi-squared with 19 degrees of freedom: 8.907 and 32.852.
    accuracies = many[(many.recipe == "one-cycle") & (many.method == "binary")].accuracy
    assert len(accuracies) == 20
    ends = [accuracies.std() * math.sqrt(19 / quantile) for quantile in (32.852, 8.907)]
    assert part["interval"] == [seeds_needed(1.0, sd) for sd in ends]
    assert part["interval"][0] < part["values"][0] < part["interval"][1]
