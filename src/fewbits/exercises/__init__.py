"""Your turn: functions that the reader completes and an oracle judges, questions, and known bugs with switches.

::

    from fewbits.exercises import check
    check("ternary", my_function)  # right, not done yet, or a small counterexample

Each exercise has an oracle that computes the same by other means: brute force, fractions, or automatic differentiation.
hypothesis draws the inputs, the same ones in every run, and shrinks what fails.
"""

from fewbits.exercises.catalogue import EXERCISES, check
from fewbits.exercises.judge import Exercise, Verdict
from fewbits.exercises.known_bugs import BUGS, Bug, inject
from fewbits.exercises.questions import Question, Questions, questions

__all__ = [
    "BUGS",
    "EXERCISES",
    "Bug",
    "Exercise",
    "Question",
    "Questions",
    "Verdict",
    "check",
    "inject",
    "questions",
]
