"""INQ: its codebook against exact rational arithmetic, its schedule against every optimizer, resuming bit for bit."""

import copy
import math
from fractions import Fraction
from types import SimpleNamespace

import matplotlib

matplotlib.use("Agg")

import pandas as pd
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given
from hypothesis import strategies as st
from strategies import BAD_BITS, BAD_FLOATS, BAD_VALUES, DTYPES, floats, same_bits, tensors
from torch import nn
from torch.nn.utils import parametrize

from fewbits import evidence
from fewbits.core.packing import unpack
from fewbits.core.powers import nearest_power
from fewbits.data import Dataset
from fewbits.experiments import __main__ as cli
from fewbits.experiments.common import checkpoint_path, codes_path
from fewbits.experiments.inq import claims as records
from fewbits.experiments.inq import run as experiment
from fewbits.experiments.inq import training
from fewbits.experiments.mobileone.claims import small_claims as mobileone_claims
from fewbits.inq import (
    ALEXNET,
    GOOGLENET,
    Inq,
    InqQuantizer,
    halving,
    largest_exponent,
    least_error_exponent,
    lowest_exponent,
)
from fewbits.mobileone import reparameterize
from fewbits.plots import inq as figures
from fewbits.plots.theme import COLORS, NEUTRALS
from fewbits.training import fit, load_model, load_state, save_state

BITS = st.integers(2, 7)
MODERATE = st.floats(-8, 8, width=32).filter(lambda value: value == 0 or abs(value) > 1e-30)


def codebook(n1: int, bits: int) -> list[Fraction]:
    """All codewords, as the paper writes them: 0 and ±2^n for n = n2 … n1."""
    n2 = n1 + 1 - 2 ** (bits - 1) // 2
    powers = [Fraction(2) ** n for n in range(n2, n1 + 1)]
    return [-p for p in reversed(powers)] + [Fraction(0)] + powers


def nearest(value: float, n1: int, bits: int) -> Fraction:
    """By trying all codewords; of two that are equally near, the one farther from 0."""
    exact = Fraction(value)
    return min(codebook(n1, bits), key=lambda word: (abs(word - exact), -abs(word)))


# --- Codebook --------------------------------------------------------------------------------------------------------


def test_five_bits_are_seventeen_codewords():
    quantizer = InqQuantizer(5)
    weights = torch.linspace(-1, 1, 10_001)
    assert len(quantizer(weights).unique()) == 17 == len(codebook(0, 5))
    assert sorted(quantizer.encode(weights).values.unique().tolist()) == [*range(9), *range(17, 25)]
    assert lowest_exponent(0, 5) == -7


def test_codes_by_hand():
    # max 0.9: 4·0.9/3 = 1.2, so n1 = 0 and at 3 bits n2 = -1. Borders: 0.25, 0.75.
    x = torch.tensor([0.9, 0.75, -0.74, 0.25, -0.25, 0.24, -0.1, 0.0])
    codes = InqQuantizer(3).encode(x)
    assert codes.decode().tolist() == [1, 1, -0.5, 0.5, -0.5, 0, 0, 0]
    # Sign in bit 2, e in bits 1 and 0; zero has the field 0 whatever its sign.
    assert codes.values.tolist() == [0b010, 0b010, 0b101, 0b001, 0b101, 0b000, 0b000, 0b000]
    assert codes.scale.item() == 0.5
    assert codes.packed() == bytes([0b01_010_010, 0b0_101_001_1, 0b000_000_00])
    assert codes.nbits == 8 * 3 + 32


@pytest.mark.parametrize("dtype", DTYPES)
def test_forward_is_the_nearest_codeword_and_equals_the_stored_one(dtype):
    @given(tensors(dtype, largest=1e30), BITS)
    def check(x, bits):
        quantizer = InqQuantizer(bits)
        y, codes = quantizer(x), quantizer.encode(x)
        assert y.dtype == dtype
        assert same_bits(y, codes.decode())
        assert same_bits(y, y + 0.0)  # no -0.0
        assert same_bits(quantizer(x.contiguous()), y)
        assert torch.equal(quantizer(y), y)
        assert torch.equal(unpack(codes.packed(), bits, x.numel()), codes.values.flatten().int())
        assert len(codes.packed()) == math.ceil(x.numel() * bits / 8)
        n1 = largest_exponent(x, bits)
        assert [Fraction(v) for v in y.flatten().tolist()] == [nearest(v, n1, bits) for v in x.flatten().tolist()]

    check()


@given(tensors(elements=MODERATE), st.integers(-6, 6), BITS)
def test_a_given_n1_clips_what_is_larger(x, n1, bits):
    y = InqQuantizer(bits, n1)(x)
    assert [Fraction(v) for v in y.flatten().tolist()] == [nearest(v, n1, bits) for v in x.flatten().tolist()]


@given(st.integers(-6, 0), st.booleans())
def test_ties_go_away_from_zero(exponent, down):
    border = torch.tensor(1.5 * 2.0 ** (exponent - 1))
    x = torch.nextafter(border, torch.tensor(0.0)) if down else border
    assert InqQuantizer(5, 0)(x).item() == 2.0 ** (exponent - down)
    assert InqQuantizer(5, 0)(-x).item() == -(2.0 ** (exponent - down))


def test_the_lowest_border_is_half_of_the_lowest_codeword():
    below = math.nextafter(2.0**-8, 0)
    assert InqQuantizer(5, 0)(torch.tensor([2.0**-8, below], dtype=torch.float64)).tolist() == [2.0**-7, 0]


@pytest.mark.parametrize("dtype", DTYPES)
def test_the_largest_exponent_is_the_formula(dtype):
    @given(floats(dtype, 1e30).filter(lambda value: abs(value) > 1e-30))
    def check(value):
        n1 = largest_exponent(torch.tensor([value, value / 2], dtype=dtype), 5)
        # n1 = ⌊log2(4 s / 3)⌋ without a logarithm: 2^n1 <= 4 s / 3 < 2^(n1 + 1)
        assert Fraction(2) ** n1 <= Fraction(4) * abs(Fraction(value)) / 3 < Fraction(2) ** (n1 + 1)
        assert 2.0**n1 == nearest_power(torch.tensor(abs(value), dtype=torch.float64)).item()

    check()


def test_extreme_magnitudes_stay_in_the_range_of_normal_numbers():
    largest, tiny = torch.finfo(torch.float32).max, torch.finfo(torch.float32).tiny
    assert InqQuantizer(5)(torch.tensor([largest, -largest])).tolist() == [2.0**127, -(2.0**127)]
    assert largest_exponent(torch.tensor([tiny]), 5) == -126 + 7
    assert InqQuantizer(5)(torch.tensor([tiny, tiny / 2, tiny / 4])).tolist() == [tiny, tiny, 0]
    assert InqQuantizer(5)(torch.tensor([1e-45])).tolist() == [0]
    with pytest.raises(ValueError, match=r"n1 must lie between -119 and 127 .* got 128"):
        InqQuantizer(5, 128)(torch.ones(1))
    with pytest.raises(ValueError, match="n1 must lie between"):
        InqQuantizer(5, -120)(torch.ones(1))


def test_all_zero_one_element_half_precision_and_gradient():
    assert same_bits(InqQuantizer()(-torch.zeros(2, 3)), torch.zeros(2, 3))
    assert InqQuantizer()(torch.tensor(-3.0)).item() == -4
    half = torch.randn(3, 5).half()
    assert same_bits(InqQuantizer()(half), InqQuantizer()(half.float()))
    x = torch.randn(4, 6, requires_grad=True)
    grad = torch.randn(4, 6)
    InqQuantizer()(x).backward(grad)
    assert torch.equal(x.grad, grad)


@pytest.mark.parametrize(("x", "error", "message"), [*BAD_FLOATS.values(), *BAD_VALUES.values()])
def test_bad_weights_are_refused(x, error, message):
    for function in (InqQuantizer(), InqQuantizer().encode, lambda x: largest_exponent(x, 5)):
        with pytest.raises(error, match=message):
            function(x)


@pytest.mark.parametrize(("bits", "error"), [*BAD_BITS.values(), (1, ValueError), (8, ValueError)])
def test_bad_bits_and_exponents_are_refused(bits, error):
    with pytest.raises(error, match="bits must"):
        InqQuantizer(bits)
    with pytest.raises(TypeError, match="n1 must be an int"):
        InqQuantizer(5, 0.5)


@given(tensors(shape=(7,), elements=MODERATE), st.integers(2, 5))
def test_no_exponent_near_by_has_a_smaller_error(x, bits):
    def error(n1):
        return (InqQuantizer(bits, n1)(x.double()) - x.double()).square().sum().item()

    best, paper = least_error_exponent(x, bits), largest_exponent(x, bits)
    assert paper - 3 <= best <= paper
    assert error(best) == min(error(n1) for n1 in range(paper - 3, paper + 3))


def test_at_two_bits_the_paper_s_exponent_is_not_the_best_for_normal_weights():
    x = torch.randn(2000, generator=torch.Generator().manual_seed(0))
    assert least_error_exponent(x, 2) < largest_exponent(x, 2)


def test_schedules():
    assert halving(4) == (0.5, 0.75, 0.875, 1.0)
    assert halving(1) == (1.0,)
    for schedule in (halving(6), ALEXNET, GOOGLENET):
        assert list(schedule) == sorted(set(schedule))
        assert schedule[-1] == 1
    with pytest.raises(ValueError, match="stages"):
        halving(0)


# --- Schedule --------------------------------------------------------------------------------------------------------


def network(seed: int = 0) -> nn.Sequential:
    torch.manual_seed(seed)
    return nn.Sequential(
        nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.Conv2d(4, 8, 3, groups=2), nn.Flatten(), nn.Linear(32, 3)
    )


def problem():
    generator = torch.Generator().manual_seed(7)
    return torch.randn(48, 1, 6, 6, generator=generator), torch.randint(3, (48,), generator=generator)


def values(inq: Inq) -> list[torch.Tensor]:
    return [getattr(layer, kind).detach().clone() for layer, kind, _ in inq.parts.values()]


def test_the_largest_are_frozen_first_by_hand():
    layer = nn.Linear(4, 1, bias=False)
    layer.weight.data = torch.tensor([[0.3, -0.9, 0.05, 0.6]])  # n1 = 0
    inq = Inq(layer)
    inq.step(0.5)
    assert layer.weight.tolist()[0] == pytest.approx([0.3, -1, 0.05, 0.5])
    assert inq.share == 0.5
    with torch.no_grad():
        layer.parametrizations.weight.original += 0.2  # as an optimizer may
    assert layer.weight.tolist()[0] == pytest.approx([0.5, -1, 0.25, 0.5])
    inq.step(0.75)
    assert layer.weight.tolist()[0] == pytest.approx([0.5, -1, 0.25, 0.5])
    inq.step(1.0)
    assert inq.encode()["weight"].values.tolist() == [[7, 24, 6, 7]]
    assert inq.finish() is layer
    assert dict(layer.named_parameters()).keys() == {"weight"}
    assert layer.weight.tolist() == [[0.5, -1, 0.25, 0.5]]


def test_equal_magnitudes_are_taken_in_order():
    layer = nn.Linear(6, 1, bias=False)
    layer.weight.data = torch.tensor([[0.7, -0.7, 0.7, -0.7, 0.7, 0.7]])
    inq = Inq(layer)
    inq.step(0.5)
    assert inq.parts["weight"][2].frozen.tolist() == [[True] * 3 + [False] * 3]


@given(st.lists(st.floats(0.01, 1.0), min_size=1, max_size=4), st.sampled_from(["magnitude", "random"]))
def test_steps_are_nested_and_have_the_stated_size(fractions, partition):
    model = network()
    before = [layer.weight.detach().clone() for layer in (model[0], model[3], model[5])]
    inq = Inq(model, biases=True, partition=partition)
    masks = [torch.zeros_like(part.frozen) for _, _, part in inq.parts.values()]
    for fraction in sorted(fractions):
        inq.step(fraction)
        for index, (layer, kind, part) in enumerate(inq.parts.values()):
            assert part.frozen.sum() == round(fraction * part.frozen.numel())
            assert (masks[index] <= part.frozen).all()
            masks[index] = part.frozen.clone()
            weight = getattr(layer, kind)
            assert torch.equal(weight, torch.where(part.frozen, weight, part(weight)))
    for weight, name in zip(before, ("0.weight", "3.weight", "5.weight"), strict=True):
        frozen = inq.parts[name][2].frozen
        if partition == "magnitude" and frozen.any() and not frozen.all():
            assert weight.abs()[frozen].min() >= weight.abs()[~frozen].max()


def test_the_random_partition_depends_on_the_seed_only():
    masks = []
    for seed in (0, 0, 1):
        inq = Inq(network(), partition="random", seed=seed)
        inq.step(0.5)
        masks.append(inq.parts["5.weight"][2].frozen)
    assert torch.equal(masks[0], masks[1])
    assert not torch.equal(masks[0], masks[2])


OPTIMIZERS = {
    "SGD": lambda p: torch.optim.SGD(p, 0.1, momentum=0.9, nesterov=True, weight_decay=0.1),
    "Adam": lambda p: torch.optim.Adam(p, 0.05, weight_decay=0.1),
    "AdamW": lambda p: torch.optim.AdamW(p, 0.05, weight_decay=0.5),
    "RMSprop": lambda p: torch.optim.RMSprop(p, 0.01, momentum=0.9, weight_decay=0.1),
    "Rprop": lambda p: torch.optim.Rprop(p, 0.05),
    "LBFGS": lambda p: torch.optim.LBFGS(p, 0.1, line_search_fn="strong_wolfe"),
}


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_a_frozen_weight_never_changes_and_the_others_do(name):
    images, labels = problem()
    model = network()
    optimizer = OPTIMIZERS[name](list(model.parameters()))  # made before, and kept: it has momentum of all weights

    def closure():
        optimizer.zero_grad()
        loss = F.cross_entropy(model(images), labels)
        loss.backward()
        return loss

    optimizer.step(closure)
    inq = Inq(model, biases=True)
    for fraction in halving(3):
        inq.step(fraction)
        before, masks = values(inq), [part.frozen.clone() for _, _, part in inq.parts.values()]
        for _ in range(3):
            optimizer.step(closure)
        for old, new, mask in zip(before, values(inq), masks, strict=True):
            assert same_bits(old[mask], new[mask])
            if 1 < mask.sum() < mask.numel():
                assert (old[~mask] != new[~mask]).any()
        for layer, kind, part in inq.parts.values():
            assert not layer.parametrizations[kind].original.grad[part.frozen].any()
    latents = [layer.parametrizations[kind].original for layer, kind, _ in inq.parts.values()]
    if name in ("SGD", "Adam", "AdamW"):  # what would have happened without the parametrization
        assert any((latent != value).any() for latent, value in zip(latents, values(inq), strict=True))


def test_n1_is_that_of_the_start_and_larger_weights_are_clipped():
    layer = nn.Linear(4, 1, bias=False)
    layer.weight.data = torch.tensor([[0.9, 0.1, 0.1, 0.1]])
    inq = Inq(layer)
    inq.step(0.25)
    with torch.no_grad():
        layer.parametrizations.weight.original[0, 1:] = torch.tensor([7.0, -1.6, 1.49])
    assert inq.outgrown() == {"weight": 2}
    inq.step(1.0)
    assert layer.weight.tolist() == [[1, 1, -1, 1]]
    assert InqQuantizer()(torch.tensor([7.0, -1.6])).tolist() == [8, -2]  # what a later n1 would make of them


def test_a_choice_of_n1_is_used_for_each_tensor():
    model = network()
    inq = Inq(model, 3, biases=True, choose_n1=lambda tensor, bits: tensor.dim())
    inq.step(1.0)
    scales = {name: codes.scale.item() for name, codes in inq.encode().items()}
    assert scales == {name: 2.0 ** (part[2].frozen.dim() - 1) for name, part in inq.parts.items()}
    assert int(inq.parts["0.weight"][2].n1) == 4


def test_encode_is_what_the_finished_network_holds():
    model = network()
    inq = Inq(model, biases=True)
    inq.step(1.0)
    codes = inq.encode()
    x = problem()[0]
    logits = model(x)
    inq.finish()
    assert torch.equal(model(x), logits)
    held = dict(model.named_parameters())
    assert codes.keys() == {f"{layer}.{kind}" for layer in (0, 3, 5) for kind in ("weight", "bias")}
    for name, code in codes.items():
        assert same_bits(code.decode(), held[name])
        assert code.nbits == 5 * held[name].numel() + 32
    assert model.state_dict().keys() == network().state_dict().keys()
    with pytest.raises(ValueError, match="cannot finish: the schedule is finished"):
        inq.finish()


def test_channels_last_freezes_the_same_weights():
    plain, other = Inq(network()), Inq(network().to(memory_format=torch.channels_last))
    for inq in (plain, other):
        inq.step(0.5)
    for a, b in zip(values(plain), values(other), strict=True):
        assert same_bits(a, b)


# --- Resuming --------------------------------------------------------------------------------------------------------


def run_inq(folder=None, minutes=None, upto=99):
    """INQ with training; with a folder and minutes=0, only one epoch of the first stage that is not complete."""
    images, labels = problem()
    model = network()
    inq = Inq(model, biases=True, partition="random")
    for stage, fraction in enumerate(halving(3)[:upto]):
        inq.step(fraction)
        optimizer = torch.optim.SGD(model.parameters(), 0.1, momentum=0.9, weight_decay=0.01)
        checkpoint = None if folder is None else folder / f"stage-{stage}"
        arguments = {"epochs": 3, "optimizer": optimizer, "batch_size": 16, "checkpoint": checkpoint}
        if len(fit(model, images, labels, minutes=minutes, **arguments)) < 3:
            return None
    return model


def test_an_interrupted_run_ends_with_the_same_bits(tmp_path):
    expected = run_inq()
    calls = 0
    while (resumed := run_inq(tmp_path, minutes=0)) is None:
        calls += 1
    assert calls == 6  # two interruptions in each of three stages
    for (name, a), b in zip(expected.state_dict().items(), resumed.state_dict().values(), strict=True):
        assert same_bits(a, b), name


@pytest.mark.parametrize("part", ["frozen", "fixed", "original"])
def test_the_comparison_notices_each_part_of_the_state(tmp_path, part):
    expected = run_inq().state_dict()
    run_inq(tmp_path, minutes=0)
    state = load_state(tmp_path / "stage-0")
    path = "5.parametrizations.weight." + ("original" if part == "original" else f"0.{part}")
    tensor = state["model"][path]
    state["model"][path] = ~tensor if part == "frozen" else tensor + 0.25
    save_state(tmp_path / "stage-0", state)
    while (resumed := run_inq(tmp_path, minutes=0)) is None:
        pass
    assert any(not same_bits(a, b) for a, b in zip(expected.values(), resumed.state_dict().values(), strict=True))


# --- Refusals --------------------------------------------------------------------------------------------------------


def test_bad_schedules_are_refused_and_change_nothing():
    model = network()
    inq = Inq(model)
    for fraction in (0, -0.5, 1.01, math.nan):
        with pytest.raises(ValueError, match=r"fraction must lie in \(0, 1\]"):
            inq.step(fraction)
    inq.step(0.5)
    before = copy.deepcopy(model.state_dict())
    with pytest.raises(ValueError, match=r"fraction 0.4 is less than what is frozen of 0\.weight already"):
        inq.step(0.4)
    inq.step(0.5)  # again: nothing to do
    model[5].parametrizations.weight.original.data[0, 0] = math.nan
    if not inq.parts["5.weight"][2].frozen[0, 0]:
        with pytest.raises(ValueError, match=r"5\.weight holds NaN or Inf"):
            inq.step(1.0)
    for name, value in model.state_dict().items():
        assert name.endswith("original") or torch.equal(value, before[name])
    for verb in ("encode", "finish"):
        with pytest.raises(ValueError, match=rf"cannot {verb}: 50\.\d% of the parameters are frozen"):
            getattr(inq, verb)()


def test_bad_models_are_refused():
    with pytest.raises(ValueError, match="no linear or convolution layer"):
        Inq(nn.Sequential(nn.ReLU()))
    with pytest.raises(ValueError, match="partition must be 'magnitude' or 'random', got 'small'"):
        Inq(network(), partition="small")
    with pytest.raises(TypeError, match=r"0\.weight must be float32 or float64, got torch.float16"):
        Inq(network().half())
    model = network()
    Inq(model)
    with pytest.raises(ValueError, match="the weight of '0' is parametrized already"):
        Inq(model)
    tied = nn.Sequential(nn.Linear(3, 3), nn.Linear(3, 3))
    tied[1].weight = tied[0].weight
    with pytest.raises(ValueError, match=r"^0\.weight and 1\.weight are one parameter"):
        Inq(tied)
    broken = network()
    broken[3].bias.data[0] = math.inf
    Inq(copy.deepcopy(broken))  # the bias is none of its business
    with pytest.raises(ValueError, match=r"3\.bias holds NaN or Inf"):
        Inq(broken, biases=True)
    assert not hasattr(broken[0], "parametrizations")
    with pytest.raises(ValueError, match="weights and biases are both False"):
        Inq(network(), weights=False)
    with pytest.raises(ValueError, match="no linear or convolution layer with a bias to quantize"):
        Inq(nn.Sequential(nn.Linear(3, 3, bias=False)), weights=False, biases=True)


def test_biases_by_a_schedule_of_their_own():
    model, together = network(), Inq(network(), biases=True)
    weights, biases = Inq(model), Inq(model, weights=False, biases=True)
    weights.step(0.5)
    biases.step(1.0)
    assert (weights.share, biases.share) == (pytest.approx(0.5, abs=0.01), 1.0)
    for name, codes in biases.encode().items():
        assert name.endswith("bias")
        assert torch.equal(model.get_submodule(name[0]).bias, codes.decode())
    with pytest.raises(ValueError, match="the bias of '0' is parametrized already"):
        Inq(model, weights=False, biases=True)
    weights.step(1.0)
    together.step(1.0)
    both = weights.encode() | biases.encode()
    assert {name: codes.values.tolist() for name, codes in together.encode().items()} == {
        name: both[name].values.tolist() for name in together.encode()
    }
    biases.finish()
    weights.finish()
    assert not any(parametrize.is_parametrized(layer) for layer in model)


# --- Figures ---------------------------------------------------------------------------------------------------------


@pytest.mark.usefixtures("book_theme")
def test_weight_paths_jump_when_they_are_frozen_and_stay():
    weights = torch.tensor([[0.9, 0.3], [1.0, 0.28], [1.0, 0.2], [1.0, 0.25]])
    frozen = torch.tensor([[False, False], [True, False], [True, False], [True, True]])
    axis = figures.weight_paths(weights, frozen, -2, 0, names=True, title="t").axes[0]
    paths = [line.get_xydata().round(4).tolist() for line in axis.lines if line.get_color() == COLORS["inq"]]
    # Of each weight the jump, then the codeword.
    assert paths == [
        [[1, 0.9], [1, 1]],
        [[1, 1], [2, 1], [3, 1]],
        [[3, 0.2], [3, 0.25]],
        [[3, 0.25]],
    ]
    trained = [line.get_xydata().round(4).tolist() for line in axis.lines if line.get_color() == NEUTRALS[0]]
    assert trained == [[[0, 0.9], [1, 0.9]], [[0, 0.3], [1, 0.28], [2, 0.2], [3, 0.2]]]
    assert [text.get_text() for text in axis.texts] == ["50 % frozen", "100 % frozen", "0.90", "0.30"]
    ticks = ["−1", "−1/2", "−1/4", "0", "1/4", "1/2", "1"]
    assert [label.get_text() for label in axis.get_yticklabels()] == ticks


@pytest.mark.usefixtures("book_theme")
def test_signal_to_noise_is_named_at_the_ends_of_its_lines():
    axis = figures.signal_to_noise({"inq": {2: 5.0, 3: 9.0}, "uniform": {2: 4.0, 3: 20.0}}).axes[0]
    assert axis.lines[0].get_xydata().tolist() == [[2, 5], [3, 9]]
    assert {text.get_text() for text in axis.texts} == {"INQ", "uniform"}


@pytest.mark.usefixtures("book_theme")
def test_accuracy_by_stage_has_a_thin_line_a_seed_and_their_mean():
    rows = [
        ("x", 0, 1, 0.5, 1.0, 5.0),
        ("x", 0, 2, 1.0, 2.0, None),
        ("x", 1, 1, 0.5, 3.0, 7.0),
        ("x", 1, 2, 1.0, 4.0, None),
    ]
    stages = pd.DataFrame(rows, columns=["s", "seed", "stage", "fraction", "frozen", "trained"])
    axis = figures.accuracy_by_stage(stages, "s", {0: 8.0, 1: 9.0}).axes[0]
    assert [line.get_ydata().tolist() for line in axis.lines[:3]] == [[8, 1, 5, 2], [9, 3, 7, 4], [8.5, 2, 6, 3]]
    ticks = [label.get_text() for label in axis.get_xticklabels()]
    assert ticks == ["float", "freeze\n50 %", "train", "freeze\n100 %"]
    assert [text.get_text() for text in axis.texts] == ["x"]


@pytest.mark.usefixtures("book_theme")
def test_scores_write_what_is_off_the_axis_at_its_edge():
    panels = {"5 bits": {"INQ": [95.0, 97.0], "rounded": [40.0, 44.0]}, "4 bits": {"INQ": [93.0]}}
    first, second = figures.scores(panels, {"5 bits": 90, "4 bits": 0}, reference=96.5).axes
    assert [label.get_text() for label in first.get_yticklabels()] == ["INQ", "rounded"]
    assert [text.get_text() for text in first.texts] == ["◂ 42"]
    means = [[line.get_xdata().tolist() for line in axis.lines if line.get_marker() == "D"] for axis in (first, second)]
    assert means == [[[96.0]], [[93.0]]]
    # The interval of two runs reaches from 83 to 109.
    arrows = [[line.get_xdata()[0] for line in axis.lines if line.get_marker() == "<"] for axis in (first, second)]
    assert arrows == [[90], []]
    assert first.get_xlim() == (90, 100)


def test_powers_of_two_are_written_as_such():
    assert [figures.power_label(v) for v in (0.0, 1.0, -0.125, 4)] == ["0", "1", "−1/8", "4"]


# --- Records ---------------------------------------------------------------------------------------------------------


def words(claims: list[dict]) -> dict[str, str]:
    for claim in claims:
        evidence.validate(claim)
    return {claim["id"]: evidence.word(claim) for claim in claims}


def test_the_frozen_check_counts_what_changed(monkeypatch):
    """The record 'none changed' comes from a count that would see a change."""
    torch.manual_seed(0)
    images, labels = problem()
    data = Dataset("test", images, labels, images, labels, ("a", "b", "c"))
    trainer = training.Trainer(data, seed=0, batch_size=16)
    model = nn.Sequential(nn.Flatten(), nn.Linear(36, 3)).eval()
    assert training.apply_inq(model, trainer, 1).changed == 0
    # Freezing that forgets what was frozen before, as in an implementation that keeps no mask.
    step = Inq.step

    def forgetful(self, fraction):
        for _, _, part in self.parts.values():
            part.frozen.zero_()
        step(self, fraction)

    monkeypatch.setattr(Inq, "step", forgetful)
    assert training.apply_inq(model, trainer, 3, lr=1.0).changed > 0


def test_distillation_asks_the_teacher_in_training_only():
    model, teacher = nn.Linear(4, 3), nn.Linear(4, 3)
    loss = training.Distillation(model, teacher, temperature=2.0)
    x, labels = torch.randn(5, 4), torch.tensor([0, 1, 2, 0, 1])
    value = loss(model.train()(x), labels)
    soft = -((teacher(x) / 2).softmax(1) * (model(x) / 2).log_softmax(1)).sum(1).mean() * 4
    assert value.item() == pytest.approx((F.cross_entropy(model(x), labels) + soft).item() / 2, rel=1e-5)
    answer = loss.answer
    model.eval()(torch.randn(5, 4))
    assert loss.answer is answer
    loss.remove()
    model.train()(torch.randn(5, 4))
    assert loss.answer is answer


def test_claims_follow_from_the_recorded_table():
    stored = {claim["id"]: claim for claim in evidence.load("inq")}
    made = {claim["id"]: claim for claim in records.small_claims(evidence.rows("inq_small"))}
    assert made.keys() == stored.keys()
    for name, claim in made.items():
        assert [claim.get(key) for key in ("statement", "paper")] == [
            stored[name].get(k) for k in ("statement", "paper")
        ]
        (made_part,), (stored_part,) = claim["parts"], stored[name]["parts"]
        assert (made_part["values"], made_part["runs"]) == (stored_part["values"], stored_part["runs"])
        assert evidence.word(claim) == stored[name]["word"]


def all_claims(table: pd.DataFrame) -> list[dict]:
    """Those of both chapters that the small runs give."""
    return records.small_claims(table) + mobileone_claims(table)


def small_table(changed: int = 0) -> pd.DataFrame:
    """Rows of the small runs in which every claim holds, and all seeds agree."""
    accuracies = {records.STANDARD: 97.0, records.BN_KEPT: 97.0, "one shot": 40.0, "random": 60.0}
    accuracies |= {"folded then rounded": 30.0, records.LEAST_ERROR: 97.0, records.PAPER_STAGES: 97.0}
    rows = [
        {"network": "MobileNet", "seed": seed, "setting": setting, "bits": bits, "accuracy": value, "changed": changed}
        for seed in range(4)
        for setting, value in accuracies.items()
        for bits in (5, 3)
    ]
    for seed in range(4):
        for network in ("MobileNet", "MobileOne k=4"):
            rows.append({"network": network, "seed": seed, "setting": "float", "bits": 32, "accuracy": 97.0})
        rows.append(rows[-1] | {"setting": records.STANDARD, "bits": 5, "accuracy": 97.5, "changed": changed})
        rows.append({"network": "MobileNet", "seed": seed, "setting": "INQ then folded", "bits": 5, "on_grid": 0.02})
    return pd.DataFrame(rows)


@pytest.fixture
def tiny_runs(tmp_path, monkeypatch):
    """The experiment without training: one row a network, seed and setting. Gives the list of networks trained."""
    trained = []

    def train(branches, trainer):
        trained.append((branches, trainer.seed))
        return nn.Linear(1, 1)

    def compare(model, trainer, everything):
        for setting in (records.STANDARD, "random"):
            row = {"setting": setting, "bits": 5, "accuracy": 10.0 * trainer.seed}
            yield row, [{"stage": 1, "fraction": 1.0, "frozen": 1.0}], {}

    monkeypatch.setenv("FEWBITS_RESULTS", str(tmp_path))
    monkeypatch.setattr("fewbits.evidence.records.code_version", lambda: "a" * 40)
    monkeypatch.setattr(experiment, "checkpoint_path", lambda name: tmp_path / f"{name}.safetensors")
    monkeypatch.setattr(experiment, "codes_path", lambda name: tmp_path / f"{name}.fewbits")
    monkeypatch.setattr(experiment, "NETWORKS", {"MobileNet": 0, "MobileOne k=2": 2})
    monkeypatch.setattr(experiment, "small_data", lambda: None)
    monkeypatch.setattr(experiment, "train_small", train)
    monkeypatch.setattr(experiment, "compare", compare)
    return trained


def test_an_interrupted_experiment_keeps_its_rows(tiny_runs, monkeypatch, tmp_path):
    train = experiment.train_small

    def stopped(branches, trainer):
        if trainer.seed == 1:
            raise KeyboardInterrupt
        return train(branches, trainer)

    monkeypatch.setattr(experiment, "train_small", stopped)
    with pytest.raises(KeyboardInterrupt):
        experiment.measure_missing([0, 1], "a command")
    assert len(evidence.rows("inq_small")) == len(evidence.rows("inq_small_stages")) == 2
    monkeypatch.setattr(experiment, "train_small", train)
    table = experiment.measure_missing([0, 1], "a command")
    assert tiny_runs == [(0, 0), (0, 1), (2, 1)]  # seed 0 once, and MobileNet alone
    assert len(table) == len(evidence.rows("inq_small_stages")) == 6
    assert set(zip(table.command, table.commit, strict=True)) == {("a command", "a" * 40)}
    assert not table.duplicated(records.KEYS).any()
    assert {path.name for path in tmp_path.iterdir() if path.stem.startswith("inq-small")} == {
        "inq-small.safetensors",
        "inq-small-5-bit.fewbits",
    }


@pytest.mark.usefixtures("tiny_runs")
def test_rows_of_another_process_are_kept(monkeypatch):
    compare = experiment.compare

    def interrupted(model, trainer, everything):
        yield from compare(model, trainer, everything)
        monkeypatch.setattr(experiment, "compare", compare)
        experiment.measure_missing([7], "")  # what another process does in the meantime

    monkeypatch.setattr(experiment, "compare", interrupted)
    table = experiment.measure_missing([3], "")
    assert set(zip(table.network, table.seed, strict=True)) == {
        (network, seed) for network in experiment.NETWORKS for seed in (3, 7)
    }


def test_rates_are_tried_on_held_out_images(tiny_runs, monkeypatch, capsys):
    images, labels = torch.rand(40, 1, 2, 2), torch.arange(40) % 2
    data = Dataset("test", images, labels, images[:4], labels[:4], ("a", "b"))
    monkeypatch.setattr(experiment, "small_data", lambda: data)
    tested = []

    def apply(model, trainer, epochs, lr, **more):
        tested.append((trainer.data.test_images.shape, lr, more))
        return SimpleNamespace(model=lr)

    monkeypatch.setattr(experiment, "apply_inq", apply)
    monkeypatch.setattr(experiment, "reparameterize", lambda model: model)
    monkeypatch.setattr(experiment, "percent", lambda lr, data: 100 * lr)
    cli.main(["inq", "--held-out"])
    assert {shape for shape, _, _ in tested} == {(4, 1, 2, 2)}  # a tenth of the 40 training images
    assert {(lr, *more) for _, lr, more in tested} == {
        (lr, *more) for lr in experiment.RATES for more in ((), ("biases",))
    }
    table = evidence.rows("inq_small_held_out")
    assert table.groupby("rate").seed.count().to_dict() == dict.fromkeys(experiment.RATES, experiment.RATE_SEEDS)
    assert "0.30    30.0" in capsys.readouterr().out
    assert not (evidence.results_dir() / "inq.json").exists()


@pytest.mark.skipif(not (evidence.results_dir() / "inq_small.csv").exists(), reason="not recorded")
def test_the_frozen_small_networks_have_the_recorded_accuracy():
    rows = evidence.rows("inq_small").query("network == 'MobileNet' and seed == 0").set_index(["setting", "bits"])
    data = experiment.small_data()
    model = load_model(experiment.small_net(0), checkpoint_path("inq-small")).eval()
    one_image = 100 / len(data.test_labels) + 1e-9  # may fall differently in float32 on another CPU
    assert training.percent(reparameterize(model), data) == pytest.approx(rows.accuracy["float", 32], abs=one_image)
    model = load_model(reparameterize(experiment.small_net(0).eval()), codes_path("inq-small-5-bit")).eval()
    assert training.percent(model, data) == pytest.approx(rows.accuracy[records.STANDARD, 5], abs=one_image)
    assert training.on_grid(model, 5, biases=True) == 1


def test_claims_of_the_small_runs_follow_from_their_rows():
    found = words(all_claims(small_table()))
    own = {"inq/least-error-pays", "mobileone/folding-after-leaves-grid", "mobileone/folding-after-costs"}
    assert {name for name, word in found.items() if word == "holds"} == own
    assert {name for name, word in found.items() if word == "reproduced"} == {"inq/frozen-stay"}
    assert set(found.values()) == {"holds", "reproduced", "carries over"}  # mnist5k is not what the paper measured on
    assert words(records.small_claims(small_table(changed=1)))["inq/frozen-stay"] == "not reproduced"
    worse = small_table()
    worse.loc[worse.setting == records.STANDARD, "accuracy"] = 20.0
    worse.loc[worse.setting == records.LEAST_ERROR, "accuracy"] = 10.0
    worse.loc[worse.network == "MobileOne k=4", "accuracy"] = [97.0, 10.0] * 4  # float, INQ
    found = words(all_claims(worse))
    wrong = {"inq/retraining-pays", "inq/magnitude-beats-random", "mobileone/drop-smaller-digits"}
    assert {name for name, word in found.items() if word == "does not carry over"} == wrong
    wrong = {"inq/least-error-pays", "mobileone/folding-after-costs"}
    assert {name for name, word in found.items() if word == "does not hold"} == wrong


def test_one_seed_or_seeds_that_disagree_decide_nothing():
    table = small_table()
    one = words(all_claims(table[table.seed <= 1]))  # seed 0 does not count
    assert set(one.values()) == {"undecided", "reproduced"}
    assert one["inq/frozen-stay"] == "reproduced"  # counted, not estimated
    table.loc[(table.setting == "random") & (table.seed == 1), "accuracy"] = 98.0
    assert words(all_claims(table))["inq/magnitude-beats-random"] == "undecided"
