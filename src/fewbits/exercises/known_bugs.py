"""Known bugs of the field, each with a switch: a small tensor shows what it does, and a test detects it.

A switch replaces the code of a function of the package, so that every place that calls it has the bug, whatever
name it is called by. When the switch is off again the package is what it was.
"""

# The bodies below run in the modules whose functions they replace, so they use what those modules import.
import inspect
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from types import FunctionType
from typing import Any

import numpy as np
import torch

from fewbits import ternary
from fewbits.binary import binary_inner_product
from fewbits.bn_folding import folding
from fewbits.core import powers, ste
from fewbits.core.batch_norm import factor_and_offset, running_statistics
from fewbits.core.quantizer import Quantizer
from fewbits.fpga import shift_adder
from fewbits.inq import Inq, lowest_exponent
from fewbits.inq.schedule import PartlyFrozen


@dataclass(frozen=True)
class Bug:
    """A bug that has happened.

    Attributes:
        chapter: where the right way is explained.
        what: the mistake, in one sentence.
        test: the test that notices it, as pytest names it.
        right: the function that the switch changes.
        wrong: its code while the switch is on.
    """

    chapter: str
    what: str
    test: str
    right: Callable[..., Any]
    wrong: Callable[..., Any]


@contextmanager
def inject(name: str) -> Iterator[Bug]:
    """Inside the context the package has a bug. Not for several threads at once.

    Args:
        name: one of ``BUGS``.
    Raises:
        ValueError: there is no such bug.
    """
    if name not in BUGS:
        raise ValueError(f"name must be one of {', '.join(BUGS)}, got {name!r}")
    bug = BUGS[name]
    right, wrong = (inspect.unwrap(function) for function in (bug.right, bug.wrong))
    assert isinstance(right, FunctionType)
    assert isinstance(wrong, FunctionType)
    code = right.__code__
    right.__code__ = wrong.__code__
    try:
        yield bug
    finally:
        right.__code__ = code


def _ties_up(x, scale, zero_point, q_min, q_max, out=None):
    unclipped = (x / scale + 0.5).floor_().add_(zero_point)
    return torch.clamp(unclipped, q_min, q_max, out=out), unclipped


def _no_check(self):
    return None


def _three_signs(ctx, x, window):
    ctx.window = window
    ctx.save_for_backward(x)
    return x.sign()


def _padding_counts(a, b, count):
    return 2 * np.bitwise_count(~(a ^ b)).sum(-1, dtype=np.int64) - count


def _rounded_logarithm(x, border):
    power = 2.0 ** torch.floor(torch.log2(x.abs() / border))
    return torch.where((x == 0) | ~x.isfinite(), x, x.sign() * power)


def _paper_s_sign(ctx, grad):
    positive, negative, w_p, w_n = ctx.saved_tensors
    latent = grad * torch.where(positive, w_p, torch.where(negative, w_n, 1.0))
    return latent, (grad * positive).sum(), (grad * negative).sum(), None


def _smallest_first(self, weight, index):
    return -weight.abs().flatten()


def _gradient_mask_only(self, latent):
    written = self.__dict__.setdefault("written", torch.zeros_like(self.frozen))
    with torch.no_grad():
        latent.copy_(torch.where(self.frozen & ~written, self.fixed, latent))
    written.copy_(self.frozen)
    return torch.where(self.frozen, latent.detach(), latent)


def _any_mode(bn):
    mean, variance = running_statistics(bn)
    gamma, beta = factor_and_offset(bn)
    scale = gamma / torch.sqrt(variance + bn.eps)
    return scale.detach(), (beta - scale * mean).detach()


def _negation_first(x, sign, n):
    signed = -x if sign else x
    return signed >> n if n >= 0 else signed << -n


def _no_zero(code, n1=0, bits=5):
    sign, e = code >> (bits - 1), code & ((1 << (bits - 1)) - 1)
    return sign, -(lowest_exponent(n1, bits) + e - 1)


BUGS: dict[str, Bug] = {
    "ties": Bug(
        "uniform",
        "Ties are rounded up, although everything else rounds them to even.",
        "tests/uniform/test_uniform.py::test_ties_go_to_the_even_code_by_hand",
        ste.values_to_codes,
        _ties_up,
    ),
    "test-batch": Bug(
        "uniform",
        "The range of activations is read from the test batch.",
        "tests/uniform/test_uniform.py::test_a_range_that_would_come_from_the_test_batch_is_refused",
        Quantizer.check_batch,
        _no_check,
    ),
    "sign-of-zero": Bug(
        "binary",
        "The sign of 0 is 0, as in most libraries, so that a binary tensor has three values.",
        "tests/binary/test_binary.py::test_the_sign_of_both_zeros_is_plus",
        ste._Sign.forward,
        _three_signs,
    ),
    "padding": Bug(
        "binary",
        "The bits that fill up the last word count as agreements.",
        "tests/binary/test_binary.py::test_the_extremes_are_reached_whatever_the_padding",
        binary_inner_product,
        _padding_counts,
    ),
    "logarithm": Bug(
        "binary",
        "The exponent is the floor of a logarithm in floating point.",
        "tests/core/test_powers.py::test_both_neighbours_of_the_border_get_the_right_power",
        powers._power,
        _rounded_logarithm,
    ),
    "ttq-sign": Bug(
        "ternary",
        "The gradient of W_n has the sign that the paper prints.",
        "tests/test_ternary.py::test_learning_w_n_goes_downhill",
        ternary._TrainedTernary.backward,
        _paper_s_sign,
    ),
    "partition": Bug(
        "inq",
        "The partition is reversed: the smallest weights are frozen first.",
        "tests/inq/test_inq.py::test_the_largest_are_frozen_first_by_hand",
        Inq._priority,
        _smallest_first,
    ),
    "frozen-weights-move": Bug(
        "inq",
        "Only the gradient of frozen weights is masked: momentum and decay move them.",
        "tests/inq/test_inq.py::test_a_frozen_weight_never_changes_and_the_others_do",
        PartlyFrozen.forward,
        _gradient_mask_only,
    ),
    "train-mode": Bug(
        "bn_folding",
        "A batch normalization is folded while it is in train mode.",
        "tests/bn_folding/test_bn_folding.py::test_train_mode_is_refused",
        folding.bn_scale_shift,
        _any_mode,
    ),
    "negation-first": Bug(
        "fpga",
        "The word is negated before it is shifted, so that it is rounded the other way.",
        "tests/fpga/test_shift_adder.py::test_shift_then_negate_is_not_negate_then_shift",
        shift_adder.signed_shift,
        _negation_first,
    ),
    "code-0": Bug(
        "fpga",
        "The field 0 is read as an exponent, so that a weight of 0 becomes a small power of two.",
        "tests/fpga/test_shift_adder.py::test_fields_mean_what_inq_wrote",
        shift_adder.shift_of,
        _no_zero,
    ),
}
