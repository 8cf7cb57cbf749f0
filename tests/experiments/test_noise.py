"""Statistics of the appendix on noise: powers and seed counts against published tables and against simulation."""

import math

import numpy as np
import pytest
import torch
from scipy import stats

from fewbits.experiments.noise import run as noise
from fewbits.experiments.noise.run import divergence, latent_weights, power, seeds_needed, small_cnn


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
