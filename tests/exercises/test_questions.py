"""Every exercise has three questions, and every answer says why it is right or wrong."""

import pytest
from bs4 import BeautifulSoup

from fewbits.exercises import EXERCISES, questions
from fewbits.exercises.question_texts import TEXTS


def test_every_exercise_has_its_questions():
    assert TEXTS.keys() == EXERCISES.keys()


@pytest.mark.parametrize("chapter", TEXTS)
def test_three_questions_with_three_explained_answers(chapter):
    asked = questions(chapter)
    assert len(asked.questions) == 3
    page = BeautifulSoup(asked._repr_html_(), "html.parser")
    assert len(page.find_all("details")) == len(page.find_all("summary")) == 9
    for question in asked.questions:
        answers, reasons = zip(*question.answers, strict=True)
        assert list(answers) == sorted(set(answers))
        assert [reason.split()[0] for reason in reasons].count("Right.") == 1
        assert all(reason.startswith(("Right. ", "No. ")) and reason.endswith(".") for reason in reasons)
        assert question.text.endswith("?")
        assert question.text in repr(asked)
        assert question.text in page.get_text()


def test_the_right_answer_is_not_always_at_the_same_place():
    places = [[why[:2] for _, why in each.answers].index("Ri") for name in TEXTS for each in questions(name).questions]
    assert min(places.count(place) for place in range(3)) > len(places) / 6


def test_a_chapter_without_questions_is_refused():
    with pytest.raises(ValueError, match=r"chapter must be one of uniform, .*, got 'octary'"):
        questions("octary")
