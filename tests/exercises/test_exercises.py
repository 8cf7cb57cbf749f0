"""Every exercise calls a right answer right, each wrong one wrong with a counterexample, and a gap not done yet."""

import math

import numpy as np
import pytest
import torch
from hypothesis import assume, given
from hypothesis import strategies as st
from strategies import tensors
from torch.nn import functional

import fewbits
from fewbits import UniformQuantizer, ternary
from fewbits.binary import binary_inner_product
from fewbits.compensation import gptq
from fewbits.core.codes import Codes
from fewbits.core.packing import pack_signs
from fewbits.evidence.intervals import paired_interval
from fewbits.exercises import EXERCISES, check
from fewbits.exercises.weights import mean_products, scale_of_all_codes, solved_for_the_free, ternary_error
from fewbits.fpga.accelerator import WAIT, Array
from fewbits.fpga.latency import accelerator_cycles
from fewbits.fpga.layers import ShiftLayer
from fewbits.fpga.shift_adder import signed_shift
from fewbits.inq import largest_exponent


def best_scale(x, gain=lambda total, k: total**2 / k):
    total = x.abs().sort(descending=True).values.cumsum(0)
    k = torch.arange(1, len(x) + 1)
    best = gain(total, k).argmax()
    return total[best] / k[best]


def step_gradient(x, step, q_min, q_max):
    v = x / step
    return torch.where(v <= q_min, q_min, torch.where(v >= q_max, q_max, v.round() - v))


def folded(weight, bias, gamma, beta, mean, variance, eps):
    c = gamma / math.sqrt(variance + eps)
    return c * weight, c * (bias - mean) + beta


def merged(three, one):
    eye = torch.eye(len(one), dtype=one.dtype)[:, :, None, None]
    return three + functional.pad(one + eye, (1, 1, 1, 1))


def compensated(w, rounded, H):
    inverse = torch.linalg.inv(H)
    return w - (w[0] - rounded) / inverse[0, 0] * inverse[0]


def planes_by_bits(planes, signs, count):
    return sum((2 * (plane & signs).bit_count() - plane.bit_count()) << p for p, plane in enumerate(planes))


def cycles(pixels, channels, outputs, lanes, columns, wait):
    return pixels * math.ceil(channels / lanes) * math.ceil(outputs / columns) + wait


def filter_steps(weight, gamma, variance, eps, bits):
    return gamma.abs() / (variance + eps).sqrt() * weight.abs().amax(1) / (2 ** (bits - 1) - 1)


def interval(variance):
    def ends(gained, lost, count):
        plus, minus = (gained + 1) / (count + 2), (lost + 1) / (count + 2)
        half = 1.96 * math.sqrt(variance(plus, minus) / (count + 2))
        return 100 * (plus - minus - half), 100 * (plus - minus + half)

    return ends


def worth(rule, every=all):
    """rule: (by how much less it loses than a cheaper one, band) -> whether that suffices."""

    def each(costs, losses, band):
        methods = list(zip(costs, losses, strict=True))
        return [every(rule(b - loss, band) for a, b in methods if a < cost) for cost, loss in methods]

    return each


# chapter: (right answer, wrong answers with what their counterexample must say)
ANSWERS = {
    "uniform": (
        lambda x, scale, bits: (x / scale).round().clamp(1 - 2 ** (bits - 1), 2 ** (bits - 1) - 1),
        {
            "forgets the range": (lambda x, scale, bits: (x / scale).round(), "bits = 2 it returns [2]"),
            "rounds ties up": (
                lambda x, scale, bits: (x / scale + 0.5).floor().clamp(1 - 2 ** (bits - 1), 2 ** (bits - 1) - 1),
                "it returns [1] instead of [0], the nearest code of each element, found by trying all codes",
            ),
            "has one code too many": (
                lambda x, scale, bits: (x / scale).round().clamp(-(2 ** (bits - 1)), 2 ** (bits - 1) - 1),
                "it returns [-2]",
            ),
        },
    ),
    "binary": (
        lambda a, b, count: count - 2 * (a ^ b).bit_count(),
        {
            "counts agreements only": (lambda a, b, count: count - (a ^ b).bit_count(), "a = 0, b = 1, count = 4"),
            "counts ones in common": (lambda a, b, count: 2 * (a & b).bit_count() - count, "a = 0, b = 0, count = 4"),
        },
    ),
    "ternary": (
        best_scale,
        {
            "does not divide by k": (lambda x: best_scale(x, lambda total, k: total**2), "it returns"),
            "keeps all": (
                lambda x: x.abs().mean(),
                "x = [0, 1] it returns 0.5 instead of 1, the scale of the smallest squared error",
            ),
            "is TWN": (lambda x: ternary.TWN().codes_and_scale(x)[1], "found by trying all codes"),
        },
    ),
    "low_bitwidth": (
        lambda x, bits: round(x * (2**bits - 1)) / (2**bits - 1),
        {
            "takes 2^k steps": (lambda x, bits: round(x * 2**bits) / 2**bits, "it returns"),
            "rounds down": (
                lambda x, bits: math.floor(x * (2**bits - 1)) / (2**bits - 1),
                "it returns 0 instead of 0.0666667, the nearest level",
            ),
        },
    ),
    "learned_step": (
        lambda x, step, q_min, q_max: step_gradient(x, step, q_min, q_max).sum(),
        {
            "has the sign reversed": (lambda **given: -step_gradient(**given).sum(), "it returns"),
            "forgets the clipped": (
                lambda x, step, q_min, q_max: ((x / step).round() - x / step).sum(),
                "found by automatic differentiation",
            ),
        },
    ),
    "logarithmic": (
        lambda x: round(math.log2(x)),
        {
            "rounds down": (lambda x: math.floor(math.log2(x)), "x = 3 it returns 1"),
            "is nearest on the linear scale": (
                lambda x: math.floor(math.log2(4 * x / 3)),
                "instead of 2, the exponent of the nearest power on the logarithmic scale, found by comparing",
            ),
        },
    ),
    "inq": (
        lambda x: largest_exponent(x, 5),
        {
            "rounds the logarithm": (lambda x: round(math.log2(x.abs().max())), "found by comparing distances."),
            "forgets negative weights": (
                lambda x: math.floor(math.log2(4 * x.max() / 3)),
                "x = [-1] it raises ValueError",
            ),
        },
    ),
    "mixed_precision": (
        lambda bits, weights: sum(b * n for b, n in zip(bits, weights, strict=True)) / sum(weights),
        {"is the mean over layers": (lambda bits, weights: sum(bits) / len(bits), "bits = [1, 2], weights = [1, 2]")},
    ),
    "vector": (
        lambda grad, codes, count: torch.bincount(codes, grad, count),
        {
            "takes the mean": (
                lambda grad, codes, count: (
                    torch.bincount(codes, grad, count) / torch.bincount(codes, minlength=count).clamp(min=1)
                ),
                "the gradient of each shared value, found by automatic differentiation.",
            ),
            "keeps the last": (
                lambda grad, codes, count: grad.new_zeros(count).scatter(0, codes, grad),
                "codes = [0, 0, ",
            ),
        },
    ),
    "compensation": (
        compensated,
        {
            "has the sign reversed": (
                lambda w, rounded, H: torch.cat([w[:1] * 0 + rounded, 2 * w[1:] - compensated(w, rounded, H)[1:]]),
                "instead of",
            ),
            "leaves the others": (
                lambda w, rounded, H: torch.cat([w[:1] * 0 + rounded, w[1:]]),
                "the weights that leave the smallest error, found by solving equations for the free ones.",
            ),
            "moves the next only": (
                lambda w, rounded, H: torch.cat([compensated(w, rounded, H)[:2], w[2:]]),
                "instead of",
            ),
            "takes H for its inverse": (
                lambda w, rounded, H: compensated(w, rounded, torch.linalg.inv(H)),
                "instead of",
            ),
            "forgets the diagonal": (
                lambda w, rounded, H: w - (w[0] - rounded) * torch.linalg.inv(H)[0],
                "instead of",
            ),
        },
    ),
    "mobileone": (
        merged,
        {
            "forgets the identity": (lambda three, one: three + functional.pad(one, (1, 1, 1, 1)), "three = [[[[0"),
            "adds 1 everywhere": (
                lambda three, one: three + functional.pad(one + 1, (1, 1, 1, 1)),
                "read from their answer to a single 1",
            ),
        },
    ),
    "bn_folding": (
        folded,
        {
            "forgets eps": (lambda eps, **given: folded(eps=0, **given), "variance = "),
            "forgets the mean": (lambda mean, **given: folded(mean=0, **given), "mean = 1"),
            "divides by the variance": (
                lambda variance, eps, **given: folded(variance=(variance + eps) ** 2, eps=0, **given),
                "it returns",
            ),
        },
    ),
    "integer": (
        lambda total, multiplier, shift: (total * multiplier + (1 << (shift - 1))) >> shift,
        {
            "rounds down": (lambda total, multiplier, shift: (total * multiplier) >> shift, "total = 1, multiplier"),
            "rounds ties to even": (
                lambda total, multiplier, shift: round(total * multiplier / 2**shift),
                "total = 1, multiplier = 1, shift = 1 it returns 0 instead of 1, the nearest integer, a tie upward",
            ),
        },
    ),
    "bitwise": (
        planes_by_bits,
        {
            "takes planes for signs": (
                lambda planes, signs, count: sum(
                    (count - 2 * (plane ^ signs).bit_count()) << p for p, plane in enumerate(planes)
                ),
                "planes = [0]",
            ),
            "gives all planes the same place": (
                lambda planes, signs, count: sum(planes_by_bits([plane], signs, count) for plane in planes),
                "planes = [0, 1]",
            ),
        },
    ),
    "fpga": (
        signed_shift,
        {
            "negates first": (
                lambda x, sign, n: (-x if sign else x) >> n,
                "x = 1, sign = 1, n = 1 it returns -1 instead of 0, the shifted word with its sign",
            ),
            "rounds toward 0": (lambda x, sign, n: (-1) ** sign * int(x / 2**n), "x = -1, sign = 0, n = 1"),
        },
    ),
    "fpga_gates": (
        lambda a, b, carry: (a ^ b ^ carry, (a & b) | (carry & (a ^ b))),
        {
            "forgets a carry": (
                lambda a, b, carry: (a ^ b ^ carry, a & b),
                "it returns (0, 0) instead of (0, 1), the bits",
            )
        },
    ),
    "noise": (
        lambda values, t: t * values.std() / len(values) ** 0.5,
        {
            "divides by n": (lambda values, t: t * values.std(correction=0) / len(values) ** 0.5, "values = [0, 1]"),
            "is the deviation of one run": (lambda values, t: t * values.std(), "values = [0, 1], t = 1"),
        },
    ),
    "fpga_network": (
        cycles,
        {
            "keeps every element at work": (
                lambda pixels, channels, outputs, lanes, columns, wait: (
                    math.ceil(pixels * channels * outputs / (lanes * columns)) + wait
                ),
                "outputs = 2, lanes = 2, columns = 1, wait = 0 it returns 1 instead of 2, the cycle of the last result",
            ),
            "waits after each step": (
                lambda wait, **given: cycles(wait=0, **given) * (1 + wait),
                "outputs = 2, lanes = 1, columns = 1, wait = 1 it returns 4 instead of 3",
            ),
            "rounds down": (
                lambda pixels, channels, outputs, lanes, columns, wait: (
                    pixels * (channels // lanes) * (outputs // columns) + wait
                ),
                "columns = 2, wait = 0 it returns 0 instead of 1",
            ),
            "forgets to wait": (lambda wait, **given: cycles(wait=0, **given), "wait = 1 it returns 1 instead of 2"),
        },
    ),
    "your_network": (
        filter_steps,
        {
            "has one step for the layer": (
                lambda **given: filter_steps(**given).max().expand(2),
                "the step of each folded filter, read from the answers of layer and normalization to a single 1",
            ),
            "is not folded": (
                lambda gamma, variance, eps, **given: filter_steps(
                    gamma=torch.ones(2), variance=torch.ones(2), eps=0, **given
                ),
                "it returns [1, 1] instead of [0.894427, 0.894427]",
            ),
            "forgets negative factors": (
                lambda gamma, **given: filter_steps(gamma=gamma, **given) * gamma.sign(),
                "gamma = [1, -1]",
            ),
            "forgets negative weights": (
                lambda weight, **given: filter_steps(weight=weight.amax(1, keepdim=True), **given),
                "weight = [[1, 1], [1, -2]]",
            ),
            "divides by all codes": (
                lambda bits, **given: filter_steps(bits=bits + 1, **given),
                "bits = 2 it returns",
            ),
        },
    ),
    "real_network": (
        interval(lambda plus, minus: plus + minus - (plus - minus) ** 2),
        {
            "forgets the mean": (interval(lambda plus, minus: plus + minus), "gained = 0, lost = 1, count = 8"),
            "adds two variances": (
                interval(lambda plus, minus: plus * (1 - plus) + minus * (1 - minus)),
                "gained = 0, lost = 0, count = 8 it returns (-26.2962, 26.2962) instead of (-27.7186, 27.7186), both",
            ),
            "has the sides reversed": (
                lambda gained, lost, count: interval(lambda plus, minus: plus + minus - (plus - minus) ** 2)(
                    lost, gained, count
                ),
                "found from a list with +1, -1 or 0 for each image.",
            ),
        },
    ),
    "method_map": (
        worth(lambda less, band: less > band),
        {
            "forgets the band": (
                worth(lambda less, band: less > 0),
                "it returns [True, True, True] instead of [False, True, True], whether each method is worth its price",
            ),
            "lets a tie pass": (worth(lambda less, band: less > -band), "losses = [0, 0, 0], band = 0.75"),
            "has the sign reversed": (worth(lambda less, band: -less > band), "losses = [1, 0, 0]"),
            "asks one cheaper method only": (
                worth(lambda less, band: less > band, every=any),
                "costs = [1, 1, 1], losses = [0, 0, 0]",
            ),
            "forgets the costs": (
                lambda costs, losses, band: [loss < min(losses) + band for loss in losses],
                "losses = [0, 0, 1], band = 0.75 it returns [True, True, False] instead of [True, True, True]",
            ),
        },
    ),
}
WRONG = [(chapter, name) for chapter, (_, wrong) in ANSWERS.items() for name in wrong]


def test_every_exercise_has_answers():
    assert ANSWERS.keys() == EXERCISES.keys()


@pytest.mark.parametrize("chapter", EXERCISES)
def test_a_right_answer_is_right(chapter):
    verdict = check(chapter, ANSWERS[chapter][0])
    assert verdict, verdict.text
    assert verdict.state == "right"
    assert verdict.text.startswith(f"{chapter}: right. It agrees with ")
    assert repr(verdict).split() == verdict.text.split()
    assert max(map(len, repr(verdict).splitlines())) <= 84


@pytest.mark.parametrize(("chapter", "name"), WRONG)
def test_a_wrong_answer_is_wrong_with_a_small_counterexample(chapter, name):
    function, words = ANSWERS[chapter][1][name]
    verdict = check(chapter, function)
    assert not verdict
    assert verdict.state == "wrong"
    assert verdict.text.startswith(f"{chapter}: not right yet. For ")
    assert words in verdict.text
    assert check(chapter, function) == verdict  # the same words every time


def raises_not_implemented(**inputs):
    raise NotImplementedError


GAPS = {
    "three dots": lambda **inputs: ...,
    "nothing": lambda **inputs: None,
    "two results": lambda **inputs: (..., ...),
    "used further": lambda **inputs: (...).argmax(),
    "added": lambda **inputs: 1 + ...,
    "called": lambda **inputs: math.floor(...),
    "given to torch": lambda **inputs: torch.round(...),
    "refused": raises_not_implemented,
}


@pytest.mark.parametrize("gap", GAPS)
def test_a_gap_is_not_done_yet(gap):
    verdict = check("ternary", GAPS[gap])
    assert (bool(verdict), verdict.state) == (False, "open")
    assert verdict.text == "ternary: not done yet. Replace the three dots by " + EXERCISES["ternary"].task + "."


def test_an_error_of_the_reader_s_code_is_told_with_its_input():
    verdict = check("logarithmic", lambda x: 1 // 0)
    assert (
        verdict.text
        == "logarithmic: not right yet. For x = 1 it raises ZeroDivisionError: integer division or modulo by zero"
    )


def test_an_answer_that_depends_on_the_number_of_calls_is_wrong():
    calls = []

    def changing(x):
        calls.append(x)
        return math.floor(math.log2(x)) if len(calls) == 4 else round(math.log2(x)) + (len(calls) > 6)

    assert check("logarithmic", changing).state == "wrong"


def in_lists(x, scale, bits):
    q_max = 2 ** (bits - 1) - 1
    return [max(-q_max, min(q_max, round(value / scale))) for value in x.tolist()]


def by_views(three, one):
    kernel = three.clone()
    kernel[:, :, 1, 1] += one[:, :, 0, 0] + torch.eye(len(one))
    return kernel.flip(3).numpy()[..., ::-1]


# name: (chapter, a right answer in another style than the page's)
STYLES = {
    "lists": ("uniform", in_lists),
    "tuples": ("uniform", lambda **given: tuple(in_lists(**given))),
    "arrays": ("uniform", lambda **given: np.array(in_lists(**given))),
    "bytes": ("uniform", lambda **given: torch.tensor(in_lists(**given), dtype=torch.int8)),
    "strides that are negative": ("mobileone", by_views),
    "single precision": ("low_bitwidth", lambda x, bits: torch.tensor(x).mul_(2**bits - 1).round_() / (2**bits - 1)),
    "numbers of numpy": ("mixed_precision", lambda bits, weights: np.average(bits, weights=weights)),
    "numbers of numpy in single precision": (
        "noise",
        lambda values, t: np.float32(t * values.std() / len(values) ** 0.5),
    ),
    "one tensor for two results": ("bn_folding", lambda **given: torch.tensor(folded(**given))),
    "a list of tensors": ("your_network", lambda **given: list(filter_steps(**given))),
    "ones and zeros": ("method_map", lambda **given: np.array(worth(lambda a, b: a > b)(**given), dtype=np.int64)),
    "a table": ("fpga_gates", lambda a, b, carry: [(0, 0), (1, 0), (0, 1), (1, 1)][a + b + carry]),
}


@pytest.mark.parametrize("style", STYLES)
def test_a_right_answer_in_another_style_is_right(style):
    chapter, function = STYLES[style]
    verdict = check(chapter, function)
    assert verdict, verdict.text


@pytest.mark.parametrize("chapter", EXERCISES)
@pytest.mark.parametrize("answer", ["1", 1j, {}, (1,), [[1], 2], torch.ones(5), float("nan"), 2**70, len])
def test_an_answer_of_another_kind_is_wrong_for_every_exercise(chapter, answer):
    assert check(chapter, lambda **inputs: answer).state == "wrong"


@pytest.mark.parametrize("chapter", EXERCISES)
@pytest.mark.parametrize("factor", [-1, 1.001, 2])
def test_a_multiple_of_the_right_answer_is_wrong(chapter, factor):
    def multiple(**inputs):
        answer = ANSWERS[chapter][0](**inputs)
        return factor * torch.as_tensor(answer, dtype=torch.float64)

    assert check(chapter, multiple).state == "wrong"


def planes_from_the_last(planes, signs, count):
    total = 0
    while planes:
        total = 2 * total + planes_by_bits([planes.pop()], signs, count)
    return total


# name: (chapter, an answer that is right and changes an argument, the words of the verdict)
CHANGING = {
    "a tensor": (
        "ternary",
        lambda x: best_scale(x.abs_()),
        "For x = [-1] the result is right, but the function changes its argument x to [1].",
    ),
    "a list": (
        "bitwise",
        planes_from_the_last,
        "For planes = [0], signs = 0, count = 4 the result is right, but the function changes its argument planes to "
        "[].",
    ),
}


@pytest.mark.parametrize("name", CHANGING)
def test_a_function_that_changes_its_argument_is_wrong_and_the_oracle_does_not_see_it(name):
    chapter, function, words = CHANGING[name]
    assert check(chapter, function).text == f"{chapter}: not right yet. {words}"


def test_unknown_exercises_and_things_that_cannot_be_called_are_refused():
    with pytest.raises(ValueError, match=r"chapter must be one of uniform, binary, .*, got 'octary'"):
        check("octary", best_scale)
    with pytest.raises(TypeError, match="function must be a function, got int"):
        check("ternary", 3)


# --- The oracles are those of the package -----------------------------------------------------------------------------


@given(tensors(torch.float64, shape=(4,), largest=8, odd_layouts=False))
def test_the_oracle_of_ternary_agrees_with_the_package(x):
    x = (4 * x).round() / 4
    codes, scale = ternary.exact_ternary(x)
    error = (x - scale * codes).square().sum().item()
    assert abs(ternary_error(x, scale_of_all_codes(x)) - error) < 1e-9


@given(st.integers(0, 15), st.integers(0, 15), st.integers(4, 7))
def test_the_oracle_of_binary_agrees_with_the_package(a, b, count):
    signs = [torch.tensor([2.0 * (word >> i & 1) - 1 for i in range(count)]) for word in (a, b)]
    words = [pack_signs(each) for each in signs]
    assert EXERCISES["binary"].oracle(a, b, count) == binary_inner_product(*words, count)


@given(tensors(torch.float64, shape=(3,), largest=8, odd_layouts=False), mean_products())
def test_the_oracle_of_compensation_agrees_with_the_package(w, H):
    """GPTQ rounds the second weight after it has made up for the first."""
    start = Codes(w[None].round().long(), 8, torch.tensor(1.0, dtype=torch.float64))
    moved = solved_for_the_free(w, w[0].round().item(), H)
    for value in (w[0], moved[1]):  # a tie may go either way
        assume((value % 1 - 0.5).abs() > 1e-6)
    # By default the package keeps the nearest points where they are better; here GPTQ itself is meant.
    found = gptq(w[None], start, H[None], damping=0.0, keep_better=False)
    assert found.values[0, 1] == moved[1].round()


@given(st.integers(1, 256), st.integers(1, 256), st.integers(1, 8), st.sampled_from([16, 32]))
def test_the_answer_of_a_network_on_a_chip_agrees_with_the_model_of_its_cycles(channels, outputs, side, columns):
    codes, bias = np.zeros((outputs, channels, 1, 1), np.uint8), np.zeros(outputs, np.int64)
    layer = ShiftLayer("pointwise", codes, 0, 5, bias, groups=1, stride=1, padding=0, relu=True, pool=False)
    (found,) = accelerator_cycles([layer], Array(columns), side, side)
    assert cycles(side**2, channels, outputs, 32, columns, WAIT) == found.cycles


@given(**{name: EXERCISES["your_network"].inputs[name] for name in ("weight", "gamma", "variance", "eps", "bits")})
def test_the_oracle_of_your_network_agrees_with_the_package(weight, gamma, variance, eps, bits):
    layer, norm = torch.nn.Linear(2, 2, bias=False).double(), torch.nn.BatchNorm1d(2, eps=eps).double()
    with torch.no_grad():
        layer.weight.copy_(weight)
        norm.weight.copy_(gamma)
        norm.running_var.copy_(variance)
    folded_layer = fewbits.fold(torch.nn.Sequential(layer, norm).eval())[0]
    scale = UniformQuantizer(bits, channel_axis=0).encode(folded_layer.weight.detach()).scale
    assert torch.allclose(EXERCISES["your_network"].oracle(weight, gamma, variance, eps, bits), scale.flatten())


@given(st.integers(0, 30), st.integers(0, 30), st.integers(60, 90))
def test_the_oracle_of_photographs_agrees_with_the_package(gained, lost, count):
    assert EXERCISES["real_network"].oracle(gained, lost, count) == pytest.approx(
        paired_interval(gained, lost, count), abs=1e-3
    )
