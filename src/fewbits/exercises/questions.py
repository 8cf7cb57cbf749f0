"""Three questions for each chapter that has an exercise. Every answer, right or wrong, comes with its explanation."""

import html
from collections.abc import Sequence
from dataclasses import dataclass

from fewbits.exercises.question_texts import TEXTS


@dataclass(frozen=True)
class Question:
    """A question with several answers.

    Attributes:
        text: the question.
        right: the right answer, and why it is right.
        wrong: the other answers, each with what is wrong about it.
    """

    text: str
    right: tuple[str, str]
    wrong: Sequence[tuple[str, str]]

    @property
    def answers(self) -> list[tuple[str, str]]:
        """All answers in alphabetical order, each with its explanation, which says whether it is right."""
        right = (self.right[0], f"Right. {self.right[1]}")
        return sorted([right, *((answer, f"No. {why}") for answer, why in self.wrong)])


@dataclass(frozen=True)
class Questions:
    """The questions of a chapter; they display as a list of answers that can be opened.

    Attributes:
        questions: in the order in which they are shown.
    """

    questions: tuple[Question, ...]

    def __repr__(self) -> str:
        lines = []
        for number, question in enumerate(self.questions, 1):
            lines.append(f"{number}. {question.text}")
            lines += [f"   - {answer} → {why}" for answer, why in question.answers]
        return "\n".join(lines)

    def _repr_html_(self) -> str:
        parts = []
        for number, question in enumerate(self.questions, 1):
            parts.append(f"<p><strong>{number}.</strong> {html.escape(question.text)}</p>")
            parts += [
                f"<details><summary>{html.escape(answer)}</summary><p>{html.escape(why)}</p></details>"
                for answer, why in question.answers
            ]
        return "\n".join(['<div class="fb-questions">', *parts, "</div>"])


def questions(chapter: str) -> Questions:
    """Three questions on a chapter, whose answers are opened one by one.

    Args:
        chapter: one of those that have an exercise.
    Raises:
        ValueError: there are no questions for it.
    """
    if chapter not in TEXTS:
        raise ValueError(f"chapter must be one of {', '.join(TEXTS)}, got {chapter!r}")
    return Questions(tuple(Question(text, right, wrong) for text, right, *wrong in TEXTS[chapter]))
