"""Judges that compare: asked both ways round where order can matter, and what a swayed judge is worth."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest

from harness.errors import HarnessError
from harness.measure.pairwise import ask
from harness.types import Array, Response

SHORT, LONG = Response("a"), Response("aaa")


class Judge:
    """Prefers the longer response, but with ``bias`` of the prompts says that the first is better, whatever it is."""

    name = "toy"

    def __init__(self, bias: int = 0, order_sensitive: bool = True) -> None:
        self.bias, self.order_sensitive, self.asked = bias, order_sensitive, 0

    def __call__(self, prompts: Sequence[str], first: Sequence[Response], second: Sequence[Response]) -> Array:
        self.asked += 1
        gaps = np.array([len(a.text) - len(b.text) for a, b in zip(first, second, strict=True)])
        answers = (np.sign(gaps) + 1) / 2
        answers[: self.bias] = 1.0
        return np.asarray(answers, dtype=np.float64)


def verdicts(judge: Judge, n: int = 8, **options: bool) -> tuple[Array, float | None, float | None]:
    found = ask(judge, ["p"] * n, [LONG] * n, [SHORT] * n, generator=np.random.default_rng(0), **options)
    return found.wins, found.consistency and found.consistency.value, found.position and found.position.value


def test_a_judge_that_only_likes_the_first_place_decides_nothing() -> None:
    """Asked one way round it would say that ours always wins."""
    wins, consistency, position = verdicts(Judge(bias=8))
    assert wins.tolist() == [0.5] * 8
    assert (consistency, position) == (0.0, 0.5)


def test_disagreement_is_a_tie_and_agreement_stands() -> None:
    wins, consistency, position = verdicts(Judge(bias=2))
    assert wins.tolist() == [0.5, 0.5] + [1.0] * 6
    assert (consistency, position) == (0.75, 0.125)


def test_a_steady_judge_is_consistent_and_without_a_place_it_prefers() -> None:
    assert verdicts(Judge())[1:] == (1.0, 0.0)


def test_a_judge_that_order_cannot_sway_is_asked_once() -> None:
    judge = Judge(order_sensitive=False)
    wins, consistency, _ = verdicts(judge)
    assert (wins.tolist(), consistency, judge.asked) == ([1.0] * 8, None, 1)


def test_consistency_and_position_are_printed_with_interval_and_n() -> None:
    found = ask(Judge(bias=2), ["p"] * 8, [LONG] * 8, [SHORT] * 8, generator=np.random.default_rng(0))
    assert str(found).startswith("asked both ways round, disagreement counts as a tie: consistency 0.75 [") and "n=8" in str(found)


def test_an_answer_that_is_none_is_refused() -> None:
    class Broken(Judge):
        def __call__(self, prompts: Sequence[str], first: Sequence[Response], second: Sequence[Response]) -> Array:
            return np.full(len(prompts), 7.0)

    with pytest.raises(HarnessError, match=r"judge toy: one answer of 0, 1/2 or 1 for each of 8"):
        verdicts(Broken())
