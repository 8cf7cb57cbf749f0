"""DoReFa-Net: by hand, against NumPy and float64 autograd; the noise of its gradients against a bound on chance."""

import copy
import math
from functools import partial

import numpy as np
import pandas as pd
import pytest
import torch
from figure_rules import struck_through
from hypothesis import given
from hypothesis import strategies as st
from strategies import BAD_BITS, BAD_FLOATS, BAD_VALUES, DTYPES, NAN, same_bits, tensors
from torch import nn

from fewbits import evidence
from fewbits.core.packing import unpack
from fewbits.core.quantizer import encode_weights, quantize_weights, stored_bits, weight_layers, weight_quantizers
from fewbits.data import load
from fewbits.experiments.common import checkpoint_path
from fewbits.experiments.low_bitwidth import run as experiment
from fewbits.low_bitwidth import (
    DoReFaActivation,
    DoReFaWeights,
    QuantizeGradient,
    gradient_codes,
    odd_levels,
    quantize_gradient,
    quantize_gradients,
)
from fewbits.nets import MLP
from fewbits.plots import COLORS
from fewbits.plots import low_bitwidth as figures
from fewbits.training import accuracy, load_model

BITS = st.sampled_from([1, 2, 3, 4, 8, 16])


# --- Weights and activations ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("make", [DoReFaWeights, DoReFaActivation])
@pytest.mark.parametrize("dtype", DTYPES)
def test_simulated_and_stored_agree_and_take_k_bits(make, dtype):
    @given(tensors(dtype, largest=1e30), BITS)
    def check(x, bits):
        quantizer = make(bits)
        y, codes = quantizer(x), quantizer.encode(x)
        assert y.dtype == dtype
        assert same_bits(y, codes.decode())
        assert same_bits(quantizer(x.contiguous()), y)
        assert codes.bits == bits
        assert len(codes.packed()) == -(-x.numel() * bits // 8)
        assert codes.nbits == bits * x.numel() + 32
        assert torch.equal(unpack(codes.packed(), bits, x.numel(), False), codes.values.flatten().int())

    check()


def test_weights_by_hand():
    x = torch.tensor([[0.9, -0.5, 0.3, -0.1], [0.2, -0.7, 0.05, 0.62]], dtype=torch.float64)
    # tanh(0.9) = 0.7163; tanh(0.5) / 0.7163 = 0.645, below 2/3, so 1/3; tanh(0.62) / 0.7163 = 0.769, above 2/3, so 1.
    assert (3 * DoReFaWeights(2)(x)).round(decimals=9).tolist() == [[3, -1, 1, -1], [1, -3, 1, 3]]
    # With 3 bits tanh decides: 7 · 0.645 = 4.51 lies above 4, so 5; 7 · 0.5 / 0.9 = 3.89 would have been 3.
    assert (7 * DoReFaWeights(3)(x)).round(decimals=9).tolist() == [[7, -5, 3, -1], [1, -5, 1, 5]]
    assert DoReFaWeights(1)(x).abs().unique().item() == pytest.approx(3.37 / 8)


@given(tensors(torch.float64, largest=20), st.sampled_from([2, 3, 5, 8]))
def test_weights_are_the_formula_in_numpy(x, bits):
    w = x.contiguous().numpy()
    n = 2**bits - 1
    t = np.tanh(w)
    if np.abs(t).max() < 1e-300:
        return
    position = n * (t / (2 * np.abs(t).max()) + 0.5)
    away_from_ties = np.abs(position - np.floor(position) - 0.5) > 1e-9
    expected = 2 * np.round(position) / n - 1
    y = DoReFaWeights(bits)(x).numpy()
    np.testing.assert_allclose(y[away_from_ties], expected[away_from_ties], rtol=0, atol=1e-15)


@given(tensors(torch.float64, largest=1e3), BITS)
def test_activations_are_the_formula_in_numpy(x, bits):
    n = 2**bits - 1
    expected = np.round(n * np.clip(x.contiguous().numpy(), 0, 1)) / n
    np.testing.assert_allclose(DoReFaActivation(bits)(x).numpy(), expected, rtol=1e-15, atol=0)


@pytest.mark.parametrize("bits", range(2, 17))
@pytest.mark.parametrize("dtype", DTYPES)
def test_the_grid_of_weights_ends_at_one_and_has_no_zero(bits, dtype):
    y = DoReFaWeights(bits)(torch.linspace(-2, 2, 1001, dtype=dtype))
    assert y.min() == -1
    assert y.max() == 1
    assert y.abs().min() > 0
    assert len(y.unique()) == min(len(odd_levels(bits)), 1001) or bits > 8


@given(tensors(largest=1e30), BITS)
def test_activations_twice_change_nothing(x, bits):
    once = DoReFaActivation(bits)(x)
    assert torch.equal(DoReFaActivation(bits)(once), once)


def test_weights_twice_change_something():
    """tanh bends the grid that it has made: with 4 bits 7/15 becomes 9/15."""
    once = DoReFaWeights(4)(torch.tensor([3.0, 0.5], dtype=torch.float64))
    assert (15 * once).tolist() == [15, 7]
    assert (15 * DoReFaWeights(4)(once)).tolist() == [15, 9]


def test_gradient_of_weights_is_that_of_the_formula_without_steps():
    torch.manual_seed(0)
    w = torch.randn(5, 4, dtype=torch.float64, requires_grad=True)
    upstream = torch.randn(5, 4, dtype=torch.float64)
    DoReFaWeights(3)(w).backward(upstream)
    t = w.detach().tanh()
    slope = 1 - t**2
    top = t.abs().flatten().argmax()
    expected = upstream * slope / t.abs().max()
    # The largest weight also sets the divisor: d(t_i / |t_top|) / d w_top = -t_i sign(t_top) slope_top / t_top².
    through_divisor = -(upstream * t).sum() * t.flatten()[top].sign() * slope.flatten()[top] / t.flatten()[top] ** 2
    expected.flatten()[top] += through_divisor
    torch.testing.assert_close(w.grad, expected, rtol=1e-12, atol=1e-14)


def test_gradient_with_one_bit_is_straight():
    w = torch.randn(3, 4, requires_grad=True)
    upstream = torch.randn(3, 4)
    DoReFaWeights(1)(w).backward(upstream)
    assert torch.equal(w.grad, upstream)


def test_gradient_of_activations_passes_between_0_and_1():
    x = torch.tensor([-0.1, 0.0, 0.4, 1.0, 1.1, -1e-6], requires_grad=True)
    DoReFaActivation(2)(x).sum().backward()
    assert x.grad.tolist() == [0, 1, 1, 1, 0, 0]


@pytest.mark.parametrize("make", [DoReFaWeights, DoReFaActivation])
def test_zeros_one_element_and_half_precision(make):
    zero = 1 / 15 if make is DoReFaWeights else 0.0
    assert make(4)(torch.zeros(2, 3)).tolist() == [[pytest.approx(zero)] * 3] * 2
    assert make(1)(torch.zeros(3)).tolist() == [0, 0, 0]
    assert make(4)(torch.tensor([[7.0]])).item() == 1
    half = torch.randn(3, 5).half()
    assert same_bits(make(4)(half), make(4)(half.float()))
    w = torch.zeros(3, requires_grad=True)
    make(4)(w).sum().backward()
    assert w.grad.isfinite().all()


@pytest.mark.parametrize("make", [DoReFaWeights, DoReFaActivation])
@pytest.mark.parametrize(("x", "error", "message"), BAD_FLOATS.values())
def test_what_is_no_real_tensor_is_refused(make, x, error, message):
    for method in (make(2), make(2).encode, make(1)):
        with pytest.raises(error, match=message):
            method(x)


@pytest.mark.parametrize(("x", "error", "message"), BAD_VALUES.values())
def test_nan_and_inf(x, error, message):
    for method in (DoReFaWeights(2), DoReFaWeights(2).encode, DoReFaWeights(1), DoReFaActivation(2).encode):
        with pytest.raises(error, match=message):
            method(x)
    y = DoReFaActivation(2)(torch.tensor([NAN, math.inf, -math.inf]))
    assert y.isnan().tolist() == [True, False, False]
    assert y[1:].tolist() == [1, 0]


@pytest.mark.parametrize("make", [DoReFaWeights, DoReFaActivation, partial(quantize_gradients, MLP((4, 3, 3, 2)))])
@pytest.mark.parametrize(("bits", "error"), BAD_BITS.values())
def test_bad_bits_are_refused(make, bits, error):
    with pytest.raises(error, match="bits must"):
        make(bits)


def test_layers_of_a_network():
    model = quantize_weights(MLP((8, 6, 5, 3)), lambda: DoReFaWeights(2))
    assert list(encode_weights(model)) == ["3"]
    assert stored_bits(model) == 32 * (8 * 6 + 6 + 5 + 5 * 3 + 3) + 2 * 30 + 32


# --- Gradients ------------------------------------------------------------------------------------------------------


@given(tensors(largest=1e30), BITS, st.booleans())
def test_gradient_codes_decode_to_the_quantized_gradient(grad, bits, noise):
    if grad.dim() == 0:
        return
    torch.manual_seed(3)
    codes = gradient_codes(grad, bits, noise)
    torch.manual_seed(3)
    y = quantize_gradient(grad, bits, noise)
    assert torch.equal(codes.decode(), y)
    assert codes.nbits == bits * grad.numel() + 32 * len(grad)
    # Nobody moves by more than a step; without noise, by more than half a step.
    n = 2**bits - 1
    largest = grad.abs().reshape(len(grad), -1).amax(1).reshape(codes.scale.shape)
    step = 2 * largest / n
    assert ((y - grad).abs() <= (1 if noise else 0.5) * step + 1e-6 * largest + 1e-38).all()
    assert (y.abs() <= largest * (1 + 1e-6)).all()


def test_gradient_by_hand():
    grad = torch.tensor([[1.0, -0.5, 0.1, 0.0], [0.0, 0.0, 0.0, 0.0], [-0.02, 0.01, 0.0, 0.002]], dtype=torch.float64)
    y = quantize_gradient(grad, 2, noise=False)
    # Levels ±m and ±m/3. -0.5 lies between -1 and -1/3, nearer to the latter; 0 is a tie and goes up.
    torch.testing.assert_close(3 * y[0], torch.tensor([3.0, -1, 1, 1], dtype=torch.float64))
    assert y[1].tolist() == [0, 0, 0, 0]  # m = 0
    torch.testing.assert_close(150 * y[2], torch.tensor([-3.0, 1, 1, 1], dtype=torch.float64))  # a scale of its own


def test_the_largest_gradient_of_a_sample_is_kept_with_and_without_noise():
    grad = torch.randn(50, 20, dtype=torch.float64)
    top = grad.abs().argmax(1, keepdim=True)
    for noise in (True, False):
        y = quantize_gradient(grad, 3, noise)
        torch.testing.assert_close(y.gather(1, top), grad.gather(1, top), rtol=1e-12, atol=0)


def hoeffding_radius(width: float, draws: int, numbers: int, false_alarm: float) -> float:
    """How far the mean of ``draws`` independent numbers from an interval of ``width`` may lie from its expectation.

    Hoeffding: P(|mean - E| >= t) <= 2 exp(-2 draws t² / width²) for one mean. With t as returned that is
    ``false_alarm / numbers``; for any of ``numbers`` means (union bound) it is at most ``false_alarm``.
    """
    return width * math.sqrt(math.log(2 * numbers / false_alarm) / (2 * draws))


@pytest.mark.parametrize("bits", [1, 2, 4])
def test_noise_makes_the_gradient_unbiased(bits):
    """Fails for a correct quantizer with probability below 1e-7, whatever the seed; see hoeffding_radius.

    A draw takes one of two neighbouring levels, 2 m / n apart, so that is the width. The mean of the noiseless one
    lies outside the same bound for most numbers: the test can tell the two apart.
    """
    draws, n = 20_000, 2**bits - 1
    grad = torch.tensor([1.0, -0.81, 0.52, 0.3, -0.13, 0.05, 0.01, 0.0], dtype=torch.float64)  # m = 1
    torch.manual_seed(0)
    many = quantize_gradient(grad.expand(draws, -1), bits)
    bias = many.mean(0) - grad
    radius = hoeffding_radius(2 / n, draws, len(grad), false_alarm=1e-7)
    assert (bias.abs() <= radius).all()
    assert all(len(column.unique()) <= 2 for column in many.T)  # what the width assumes
    without_noise = quantize_gradient(grad[None], bits, noise=False)[0] - grad
    assert (without_noise.abs() > radius).sum() >= 4


def test_a_biased_noise_would_be_noticed():
    """The same bound rejects noise that is shifted by a twentieth of a step."""
    draws, n = 20_000, 3
    torch.manual_seed(0)
    position = n * (torch.tensor(0.3) / 2 + 0.5) + torch.rand(draws) - 0.5 + 0.05
    mean = (2 * position.round() - n).mean() / n
    assert (mean - 0.3).abs() > hoeffding_radius(2 / n, draws, 1, 1e-7)


def test_the_noise_follows_torchs_generator():
    grad = torch.randn(4, 30)
    torch.manual_seed(1)
    first, second = quantize_gradient(grad, 2), quantize_gradient(grad, 2)
    torch.manual_seed(1)
    assert torch.equal(quantize_gradient(grad, 2), first)
    assert not torch.equal(first, second)


def test_forward_is_the_identity_and_backward_rounds():
    x = torch.randn(3, 5, requires_grad=True)
    upstream = torch.randn(3, 5)
    y = QuantizeGradient(partial(quantize_gradient, bits=2, noise=False))(x)
    assert torch.equal(y, x)
    y.backward(upstream)
    assert torch.equal(x.grad, quantize_gradient(upstream, 2, noise=False))


@pytest.mark.parametrize("noise", [True, False])
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
def test_the_gradient_keeps_its_dtype(dtype, noise):
    x = torch.randn(3, 5).to(dtype).requires_grad_()
    QuantizeGradient(partial(quantize_gradient, bits=4, noise=noise))(x).backward(torch.randn(3, 5).to(dtype))
    assert x.grad.dtype == dtype


def test_a_batch_of_numbers_has_one_number_per_sample():
    grad = torch.tensor([0.5, -2.0, 0.0])
    assert torch.equal(quantize_gradient(grad, 2), grad)  # each is its own maximum


@pytest.mark.parametrize(("grad", "error", "message"), [*BAD_FLOATS.values(), *BAD_VALUES.values()])
def test_bad_gradients_are_refused(grad, error, message):
    for function in (gradient_codes, quantize_gradient):
        with pytest.raises(error, match=message.replace("x ", "grad ", 1)):
            function(grad, 2)


def test_a_gradient_without_samples_and_a_broken_one_are_refused():
    with pytest.raises(ValueError, match="no axis of samples"):
        quantize_gradient(torch.tensor(1.0), 2)
    x = torch.randn(2, 3, requires_grad=True)
    with pytest.raises(ValueError, match="grad holds NaN or Inf"):
        QuantizeGradient(partial(quantize_gradient, bits=2))(x).backward(torch.tensor([[1.0, NAN, 0], [0, 0, 0]]))


def test_gradient_quantizers_stand_behind_the_inner_layers():
    torch.manual_seed(0)
    model = MLP((6, 5, 4, 4, 3)).double()
    names = list(model.state_dict())
    assert quantize_gradients(model, 2, noise=False) is model
    assert list(model.state_dict()) == names
    arriving = {}
    layers = [layer for layer in model if isinstance(layer, nn.Linear)]
    for index, layer in enumerate(layers):
        layer.register_full_backward_hook(lambda layer, into, out, index=index: arriving.update({index: out[0]}))
    x = torch.randn(7, 6, dtype=torch.float64, requires_grad=True)
    model(x).square().sum().backward()
    # The hooks report the gradient behind the quantizer; what the layer itself uses shows in its parameters.
    seen = []
    for index, layer in enumerate(layers):
        used = arriving[index] if index in (0, 3) else quantize_gradient(arriving[index], 2, noise=False)
        seen.append(torch.allclose(layer.bias.grad, used.sum(0)))
        if index in (1, 2):
            assert not torch.allclose(layer.bias.grad, arriving[index].sum(0))
    assert seen == [True] * 4


def test_a_network_without_inner_layers_is_refused():
    with pytest.raises(ValueError, match="no layer between"):
        quantize_gradients(MLP((4, 3, 2)), 2)


# --- The experiment and its figures ---------------------------------------------------------------------------------


def test_a_grid_with_zero_rounds_each_sample_by_its_own_largest_gradient():
    torch.manual_seed(0)
    plain = MLP((6, 20, 20, 3)).double()
    model = experiment.round_gradients(copy.deepcopy(plain), 2, "zero")
    arriving = []
    plain[3].register_full_backward_pre_hook(lambda layer, grads: arriving.append(grads[0]))
    x = torch.randn(7, 6, dtype=torch.float64)
    for network in (model, plain):
        network(x).square().sum().backward()
    largest = arriving[0].abs().amax(1, keepdim=True)
    expected = torch.where(arriving[0].abs() > largest / 2, arriving[0].sign() * largest, 0.0)
    torch.testing.assert_close(model[3].bias.grad, expected.sum(0), rtol=1e-12, atol=1e-14)
    assert not torch.allclose(plain[3].bias.grad, model[3].bias.grad)


def test_the_float_start_copies_everything():
    trained = experiment.cnn()
    for buffer in trained.buffers():
        buffer.copy_(torch.rand(buffer.shape) * 9)
    model = experiment.start_from(experiment.build_cnn("dorefa", 1, 4, 32, ""), trained)
    weights = weight_layers(trained)
    assert all(torch.equal(latent, weights[name].weight) for name, _, latent in weight_quantizers(model))
    assert len(list(weight_quantizers(model))) == 3
    assert [same_bits(a, b) for a, b in zip(model.buffers(), trained.buffers(), strict=True)] == [True] * 12


def test_claims_follow_from_the_recorded_tables():
    tables = [evidence.rows(f"low_bitwidth_{name}") for name in ("cnn", "lstm")]
    made = {claim["id"]: claim for claim in experiment.make_claims(*tables)}
    stored = {claim["id"]: claim for claim in evidence.load("low_bitwidth")}
    others = ("bit-planes", "cifar-", "words-", "row-")  # of other parts of the experiment
    assert made.keys() == {name for name in stored if not name.split("/")[1].startswith(others)}
    for name, claim in made.items():
        (part,), (other,) = claim["parts"], stored[name]["parts"]
        assert part["values"] == pytest.approx(other["values"])
        assert len(part["values"]) >= 5
        assert evidence.word(claim) == stored[name]["word"]
    doctored = tables[0].copy()
    doctored.loc[(doctored.gradient_bits == 4) & (doctored.rounding == "nearest"), "accuracy"] += 1
    changed = {claim["id"]: claim for claim in experiment.make_claims(doctored, tables[1])}
    differs = {name for name in made if changed[name]["parts"] != made[name]["parts"]}
    assert differs == {"low_bitwidth/dorefa-noise"}


def test_kept_networks_load_and_are_what_was_recorded():
    data = load("mnist5k")
    recorded = evidence.rows("low_bitwidth_cnn").fillna({"rounding": ""}).set_index([*experiment.SETTING, "seed"])
    for setting, name in experiment.KEPT.items():
        path = checkpoint_path(name)
        assert path.stat().st_size < 100_000
        model = load_model(experiment.build_cnn(*setting[:-1]), path)
        percent = 100 * accuracy(model, data.test_images, data.test_labels)
        # Another machine may round a logit differently; more than two images would be another network.
        assert percent == pytest.approx(recorded.accuracy[(*setting, 0)], abs=0.2)


@pytest.mark.usefixtures("book_theme")
def test_figures_show_what_they_are_given():
    rows = [(how, bits, bits + seed) for how in ("noise", "zero") for bits in (2, 4) for seed in (0, 2)]
    frame = pd.DataFrame(rows, columns=["rounding", "bits", "value"])
    for points_lost in (False, True):
        axes = figures.by_gradient_bits(frame, ylabel="y", title="t", points_lost=points_lost)
        lines = {line.get_label(): list(line.get_ydata()) for line in axes.lines}
        assert lines["with noise"] == lines["nearest, with 0"] == [3, 5]
        assert [2, 4, 4, 6] in lines.values()  # every run
        assert {"with noise", "nearest, with 0"} <= {text.get_text() for text in axes.texts}
    frame = pd.DataFrame({"setting": list("aab"), "method": ["float", "float", "qnn"], "value": [1.0, 3.0, -0.5]})
    (axes,) = figures.by_setting(frame, xlabel="x", title="t", unit="points").axes
    assert [label.get_text() for label in axes.get_yticklabels()] == ["a", "b"]
    assert [container.lines[0].get_xdata().tolist() for container in axes.containers] == [[2], [-0.5]]
    assert [text.get_text() for text in axes.texts] == ["+2.0", "−0.5", "points"]


def shown_means(axes) -> dict[str, float]:
    """By row of a figure of settings, the mean that is drawn."""
    names = [label.get_text() for label in axes.get_yticklabels()]
    return dict(zip(names, [each.lines[0].get_xdata()[0] for each in axes.containers], strict=True))


@pytest.mark.usefixtures("book_theme")
def test_losses_are_against_the_run_of_the_same_seed():
    rows = [
        ("float", 32, 32, 32, None, "scratch", (97, 99)),
        ("clipped", 32, 32, 32, None, "scratch", (96, 97)),
        ("dorefa", 8, 8, 32, None, "scratch", (95, 98)),
        ("dorefa", 8, 8, 4, "noise", "scratch", (92, 94)),
        ("dorefa", 8, 8, 4, "zero", "scratch", (93, 97)),
        ("dorefa", 8, 8, 2, "noise", "scratch", (80, 82)),
        ("dorefa", 1, 4, 32, None, "float", (96, 96)),
        ("dorefa", 1, 4, 32, None, "scratch, twice as long", (96, 98)),
        ("qnn linear", 8, 8, 4, "noise", "scratch", (1, 1)),
    ]
    names = ["method", "weight_bits", "activation_bits", "gradient_bits", "rounding", "start", "accuracy", "seed"]
    frame = pd.DataFrame([(*row, value, seed) for *row, values in rows for seed, value in enumerate(values)])
    frame = frame.set_axis(names, axis=1)
    lines = {line.get_label(): list(line.get_ydata()) for line in figures.losses_by_gradient_bits(frame).lines}
    assert lines["with noise"] == [15.5, 3.5]  # at 2 and 4 bits
    assert lines["nearest, with 0"] == [1.5]
    (axes,) = figures.costs_of_settings(frame).axes
    assert shown_means(axes) == {
        "float, clipped to [0, 1]": 1.5,
        "DoReFa-Net 8/8/32": 1.5,
        "DoReFa-Net 8/8/4": 5,
        "DoReFa-Net 1/4/32, float start": 2,
        "DoReFa-Net 1/4/32, 16 epochs": 1,
    }
    assert axes.containers[0].lines[0].get_color() == COLORS["float"]


@pytest.mark.usefixtures("book_theme")
def test_an_lstm_of_4_bits_is_compared_with_the_float_one_of_its_seed():
    rows = [("float", 32, 2.0, 0), ("float", 32, 2.5, 1), ("qnn ap2", 4, 2.25, 0), ("qnn ap2", 4, 3.0, 1)]
    rows += [("uniform", 4, 2.25, 0), ("uniform", 4, 2.5, 1), ("qnn linear", 3, 9.0, 0)]
    frame = pd.DataFrame(rows, columns=["method", "bits", "bits_per_character", "seed"])
    (axes,) = figures.costs_of_lstms(frame).axes
    assert shown_means(axes) == {"powers of two (AP2), one M": 0.375, "linear, a real scale a row": 0.125}


@pytest.mark.usefixtures("book_theme")
def test_the_error_of_a_rounded_number_is_its_bias_and_its_variance():
    x = torch.tensor([-0.5, 0.0, 0.5])
    draws = {"noise": torch.stack([x - 0.3, x + 0.3]), "zero": torch.zeros(1, 3)}
    figure = figures.rounded_numbers(x, draws)
    assert [axes.get_title("left") for axes in figure.axes[:2]] == ["with noise", "nearest, with 0"]
    noise, zero = (axes.collections for axes in figure.axes[2:])
    tops = [area.get_paths()[0].vertices[:, 1].max() for area in (*noise, *zero)]
    assert tops == pytest.approx([0, 0.09, 0.25, 0.25], abs=1e-6)  # bias², then with the variance on top
    words = [[text.get_text() for text in axes.texts] for axes in figure.axes[2:]]
    assert words == [["variance"], ["bias²"]]


@pytest.mark.usefixtures("book_theme")
def test_a_curve_of_sizes_is_the_share_of_smaller_ones():
    axes = figures.relative_sizes({"first": torch.tensor([[0.5, 1.0], [0.25, 1.0]])}, {2: 1 / 3})
    grid, curve = axes.lines
    assert list(grid.get_xdata()) == [1 / 3] * 2
    assert curve.get_xydata().tolist() == [[0.25, 25], [0.5, 50], [1, 75], [1, 100]]
    assert {"2 bits", "first"} <= {text.get_text() for text in axes.texts}


@pytest.mark.usefixtures("book_theme")
def test_names_of_layers_stand_beside_their_curves():
    spread = torch.linspace(-1.3, 1.3, 400)
    layers = {"first inner layer": -1.9, "second inner layer": -1.15, "third inner layer": -1.3}
    sizes = {name: (10 ** (spread + middle)).clamp(max=1) for name, middle in layers.items()}
    axes = figures.relative_sizes(sizes, {8: 1 / 255})
    for text in axes.texts:
        text.set_path_effects([])  # without their outlines, too
    assert struck_through(axes.figure) == []
    sides = [text.get_ha() for text in axes.texts[1:]]
    assert sides == ["right", "right", "left"]


def test_a_layer_whose_weight_a_module_reads_without_calling_it_is_refused():
    model = nn.Sequential(nn.Linear(4, 4), nn.MultiheadAttention(4, 2), nn.Linear(4, 2))
    with pytest.raises(ValueError, match=r"1\.out_proj is never called"):
        quantize_gradients(model, 4)
