"""Modular arithmetic: questions that belong to one split, answers that a checker reads without mercy, a reward made of checks."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.errors import HarnessError
from harness.types import Response
from tasks.arithmetic import score, task
from tasks.worlds.arithmetic_sums import VOCABULARY, Question, check, draw, read, write

QUESTION = Question(4, 7, 3, 5)
RIGHT = "4 + 7 is 11 , 11 * 3 is 33 , 33 mod 5 is 3 ."

questions = st.builds(Question, st.integers(0, 9), st.integers(0, 9), st.integers(1, 9), st.integers(3, 9))


@given(questions)
def test_a_question_is_read_back_and_its_own_work_passes(question: Question) -> None:
    a, b, c, m = question
    assert read(question.text) == question
    work = f"{a} + {b} is {a + b} , {a + b} * {c} is {(a + b) * c} , {(a + b) * c} mod {m} is {question.answer} ."
    assert check(question, work, finished=True) == (True, True, 3)
    assert not check(question, work, finished=False).verified
    assert set(work.split()) | set(question.text.split()) <= set(VOCABULARY)


@pytest.mark.parametrize(
    ("text", "formatted", "steps"),
    [
        ("4 + 7 is 12 , 12 * 3 is 36 , 36 mod 5 is 1 .", True, 2),  # a slip, carried on
        ("4 + 7 is 12 , 12 * 3 is 36 , 36 mod 5 is 3 .", True, 1),  # right by chance at the end: not verified
        ("4 + 7 is 11 , 12 * 3 is 36 , 36 mod 5 is 1 .", False, 0),  # what is carried is not what was found
        ("7 + 4 is 11 , 11 * 3 is 33 , 33 mod 5 is 3 .", False, 0),  # another question
        ("4 + 7 is 11 , 11 * 3 is 33 , 33 mod 5 is 3", False, 0),
        ("so 3 .", False, 0),
        (RIGHT + " " + RIGHT, False, 0),
        ("", False, 0),
        ("4 + 7 is 11 , 11 * 3 is 33 , 33 mod 0 is 3 .", False, 0),
    ],
)
def test_what_is_wrong_is_not_verified(text: str, formatted: bool, steps: int) -> None:
    assert check(QUESTION, text, finished=True) == (False, formatted, steps)


def test_the_reward_is_the_check_with_the_format_and_the_steps() -> None:
    found = score([QUESTION.text] * 3, [Response(RIGHT), Response("4 + 7 is 12 , 12 * 3 is 36 , 36 mod 5 is 1 ."), Response("so 3 .")])
    assert found["gold"].tolist() == pytest.approx([1.5, 0.4, 0.0])
    assert found["verified"].tolist() == [1, 0, 0] and found["steps"].tolist() == [3, 2, 0]
    assert [len(values) for values in score([], []).values()] == [0] * 5


def test_writers_are_right_as_often_as_their_slips_and_shortcuts_leave() -> None:
    """Of the three kinds by share: .25 (.98^4) + .45 (.85^4) + .30 (.65^4), and what a slip hits by chance."""
    generator = np.random.default_rng(0)
    asked = [draw(generator, "train") for _ in range(4000)]
    checks = [check(each, write(generator, each), finished=True) for each in asked]
    right = 0.25 * 0.98**4 + 0.45 * 0.85**4 + 0.30 * 0.65**4
    assert np.mean([each.verified for each in checks]) == pytest.approx(right, abs=0.04)
    assert np.mean([each.formatted for each in checks]) == pytest.approx(0.25 * 0.98 + 0.45 * 0.85 + 0.30 * 0.65, abs=0.03)


def test_splits_are_disjoint_and_repeat() -> None:
    made, again, generator = task(), task("embedded", limit=9), np.random.default_rng(3)
    train = {row.prompt for row in made.demonstrations(generator, 500)} | set(made.training_prompts(generator, 500))
    tuning, evaluation = ({row.prompt for row in rows} for rows in (made.tuning, made.evaluation))
    assert [len(tuning), len(evaluation)] == [256, 384]
    assert not train & (tuning | evaluation) and not tuning & evaluation
    assert list(again.evaluation) == list(made.evaluation[:9]) and again.version == made.version
    assert {row.prompt for row in task(seed=1).evaluation} != evaluation


def test_what_is_no_question_of_this_world_is_named() -> None:
    with pytest.raises(HarnessError, match=r"makes its own questions; it cannot read 'sums\.csv'"):
        task("sums.csv")
    with pytest.raises(ValueError, match="asks nothing"):
        read("what is love ?")
