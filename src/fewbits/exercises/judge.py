"""How an exercise is judged: inputs from hypothesis, an independent oracle, a counterexample in plain words."""

import copy
import re
import textwrap
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from fewbits.core.extras import extra

with extra("book"):
    from hypothesis import HealthCheck, Phase, given, settings
    from hypothesis.errors import FlakyFailure
    from hypothesis.strategies import SearchStrategy

LINE = 84  # characters that fit on the page
EXAMPLES = 60  # inputs that a right answer meets
# Derandomized: the same inputs in every run. No database: what an earlier answer failed on is not tried first.
SETTINGS = settings(
    max_examples=EXAMPLES,
    derandomize=True,
    database=None,
    deadline=None,
    report_multiple_bugs=False,
    phases=[Phase.generate, Phase.shrink],
    suppress_health_check=list(HealthCheck),
)


def close(answer: Tensor, expected: Tensor, **inputs: Any) -> bool:
    """Whether two results agree up to the rounding of float32, in which a reader may well compute.

    The inputs are small and coarse: no wrong answer comes this near for all of them.

    Args:
        answer, expected: two tensors of the same shape, in float64.
        inputs: those of the exercise; not needed here.
    """
    return torch.allclose(answer, expected, rtol=1e-5, atol=1e-6)


@dataclass(frozen=True)
class Exercise:
    """A function that the reader completes.

    Attributes:
        chapter: whose exercise it is.
        task: what the three dots stand for.
        result: what the function returns, in words that explain a value.
        means: how the oracle finds it.
        inputs: a strategy for each argument, by its name.
        oracle: computes the result from the same arguments.
        agrees: (answer, expected, **inputs) -> whether the answer is right; there may be several right ones. Both
            are tensors in float64 of the same shape.
    """

    chapter: str
    task: str
    result: str
    means: str
    inputs: Mapping[str, SearchStrategy]
    oracle: Callable[..., Any]
    agrees: Callable[..., bool] = close


@dataclass(frozen=True)
class Verdict:
    """What :func:`fewbits.exercises.check` says; it displays as its text, in lines, and is true if the answer is right.

    Attributes:
        state: "right", "wrong" or "open" (not done yet).
        text: the verdict in words, with the counterexample.
    """

    state: str
    text: str

    def __bool__(self) -> bool:
        return self.state == "right"

    def __repr__(self) -> str:
        return textwrap.fill(self.text, LINE)


class _Wrong(Exception):
    """The answer is wrong for one input; the message says why."""


class _Open(Exception):
    """The function still has its gap."""


def judge(exercise: Exercise, function: Callable) -> Verdict:
    """Compare ``function`` with the oracle of an exercise on the inputs that hypothesis draws.

    Raises:
        TypeError: ``function`` cannot be called.
    """
    if not callable(function):
        raise TypeError(f"function must be a function, got {type(function).__name__}")
    names = list(exercise.inputs)

    def compare(**inputs: Any) -> None:
        _compare(exercise, function, {name: inputs[name] for name in names})

    test = SETTINGS(given(**exercise.inputs)(compare))
    try:
        test()
    except _Open:
        return Verdict("open", f"{exercise.chapter}: not done yet. Replace the three dots by {exercise.task}.")
    except _Wrong as wrong:
        return Verdict("wrong", f"{exercise.chapter}: not right yet. {wrong}")
    except FlakyFailure:
        text = "For the same arguments it gives sometimes one result and sometimes another."
        return Verdict("wrong", f"{exercise.chapter}: not right yet. {text}")
    return Verdict("right", f"{exercise.chapter}: right. It agrees with {exercise.result}, {exercise.means}.")


def _compare(exercise: Exercise, function: Callable, inputs: dict[str, Any]) -> None:
    case = ", ".join(f"{name} = {_words(value)}" for name, value in inputs.items())
    copies = copy.deepcopy(inputs)
    try:
        answer = function(**copies)
    except Exception as error:  # whatever a reader's code may raise
        if isinstance(error, NotImplementedError) or re.search("ellipsis", str(error), re.IGNORECASE):
            raise _Open from None
        raise _Wrong(f"For {case} it raises {type(error).__name__}: {error}") from None
    if answer is None or _holds_gap(answer):
        raise _Open
    expected = exercise.oracle(**inputs)
    if not _agrees(exercise, answer, expected, inputs):
        right = f"{_words(expected)}, {exercise.result}, {exercise.means}"
        raise _Wrong(f"For {case} it returns {_words(answer)} instead of {right}.")
    for name, value in inputs.items():
        if _words(copies[name]) != _words(value):
            changed = f"changes its argument {name} to {_words(copies[name])}"
            raise _Wrong(f"For {case} the result is right, but the function {changed}.")


def _agrees(exercise: Exercise, answer: Any, expected: Any, inputs: dict[str, Any]) -> bool:
    try:
        a, b = (_tensor(each) for each in (answer, expected))
    except (TypeError, ValueError, RuntimeError):
        return False  # not a number, nor made of numbers
    return a.shape == b.shape and exercise.agrees(a, b, **inputs)


def _holds_gap(answer: Any) -> bool:
    return answer is ... or (isinstance(answer, tuple | list) and any(map(_holds_gap, answer)))


def _tensor(value: Any) -> Tensor:
    """A number, a tensor, an array, or nested lists and tuples of them, in float64."""
    if isinstance(value, tuple | list):
        return torch.stack([_tensor(each) for each in value]) if value else torch.empty(0, dtype=torch.float64)
    if isinstance(value, np.ndarray):
        value = value.copy()  # torch takes no negative strides
    return torch.as_tensor(value, dtype=torch.float64).detach()


def _words(value: Any) -> str:
    """A value as a reader writes it: lists for tensors, six digits for floats, whole floats without a point's zeros."""
    if isinstance(value, Tensor | np.ndarray | np.generic):
        value = value.tolist()
    if isinstance(value, list):
        return f"[{', '.join(map(_words, value))}]"
    if isinstance(value, tuple):
        return f"({', '.join(map(_words, value))})"
    return f"{value:.6g}" if isinstance(value, float) else str(value)
