"""Pairs: labelled by a draw at the probability given, ordered where the reward itself decides, never of one text twice."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from harness.data.pairs import Draw, drawn, labelled, ordered, read_pairs, write_pairs
from harness.errors import HarnessError
from harness.types import Response, TokenPair


def rows(n: int) -> list[tuple[str, Response, Response]]:
    return [("p", Response("a", (1,)), Response("b", (2,)))] * n


def test_a_label_is_one_draw_and_agreement_is_what_most_annotators_say() -> None:
    first = np.repeat([0.8, 0.3], 2000)
    pairs = labelled(rows(4000), first, np.random.default_rng(2))
    said = np.array([pair.chosen.text == "a" for pair in pairs])
    assert said[:2000].mean() == pytest.approx(0.8, abs=0.04)
    assert said[2000:].mean() == pytest.approx(0.3, abs=0.04)
    assert {(pair.agreement or 0) for pair in pairs[:2000]} == {0.8}
    assert {(pair.agreement or 0) for pair in pairs[2000:]} == {0.7}


def test_pairs_of_one_text_are_drawn_again() -> None:
    generator = np.random.default_rng(1)

    def draw(n: int) -> list[tuple[str, Response, Response]]:
        return [("p", Response(str(a), (int(a),)), Response(str(b), (int(b),))) for a, b in generator.integers(0, 2, (n, 2))]

    found = drawn(draw, 100)
    assert len(found) == 100
    assert all(a.ids != b.ids for _, a, b in found)


@pytest.mark.parametrize("draw", [lambda n: [("p", Response("a", (1,)), Response("a", (1,)))] * n, lambda n: []])
def test_whoever_says_the_same_each_time_is_not_asked_for_ever(draw: Draw) -> None:
    asked: list[int] = []

    def counted(n: int) -> list[tuple[str, Response, Response]]:
        asked.append(n)
        return draw(n)

    with pytest.raises(HarnessError, match=r"of 1600 prompts only 0 were answered in two different ways, and 80 are wanted.*sft_steps"):
        drawn(counted, 80)
    assert asked == [80] * 20
    with pytest.raises(HarnessError, match="of 1000 prompts"):
        drawn(draw, 1)


def test_ordered_pairs_have_the_better_response_first_and_no_ties() -> None:
    pairs = ordered(rows(3), np.array([1.0, -2.0, 0.0]), np.array([0.7, 0.2, 0.5]))
    assert [(pair.chosen.text, pair.agreement) for pair in pairs] == [("a", 0.7), ("b", 0.8)]


def test_pairs_survive_their_file(tmp_path: Path) -> None:
    pairs = [TokenPair(0, (1, 2), (3, 4), (5,), agreement=0.75), TokenPair(1, (1,), (2,), (3,), margin=1.5, weight=0.5)]
    write_pairs(tmp_path / "pairs.jsonl", pairs)
    assert read_pairs(tmp_path / "pairs.jsonl") == pairs
