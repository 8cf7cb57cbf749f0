"""All exercises by their chapter."""

from collections.abc import Callable

from fewbits.exercises.circuits import CIRCUITS
from fewbits.exercises.judge import Exercise, Verdict, judge
from fewbits.exercises.networks import NETWORKS
from fewbits.exercises.weights import WEIGHTS

EXERCISES: dict[str, Exercise] = {exercise.chapter: exercise for exercise in (*WEIGHTS, *CIRCUITS, *NETWORKS)}


def check(chapter: str, function: Callable) -> Verdict:
    """Judge the reader's function by the oracle of a chapter.

    The function gets its arguments by name: tensors in float64, numbers, or lists. A gap, three dots in place of a
    result, counts as not done yet.

    Args:
        chapter: one of ``EXERCISES``.
        function: the completed function.
    Returns:
        A verdict, which displays as its text. A wrong answer comes with a small counterexample.
    Raises:
        ValueError: there is no such exercise.
        TypeError: ``function`` cannot be called.
    """
    if chapter not in EXERCISES:
        raise ValueError(f"chapter must be one of {', '.join(EXERCISES)}, got {chapter!r}")
    return judge(EXERCISES[chapter], function)
