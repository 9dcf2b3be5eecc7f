"""Judging by score: ties, and one column that decides beside second opinions."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from harness.measure.judge import gold_judge, wins
from harness.types import Array, Response


def score(prompts: Sequence[str], responses: Sequence[Response]) -> dict[str, Array]:
    """Two rewards that always disagree: one for length, one against it."""
    lengths = np.array([float(len(r.text)) for r in responses])
    return {"long": lengths, "short": -lengths}


def test_a_tie_counts_half_and_rounding_is_a_tie() -> None:
    won, tied = wins(np.array([1.0, 1.0]), np.array([[0.0, 1.0 + 1e-9], [2.0, 3.0]]))
    assert won.tolist() == [0.75, 0.0]
    assert tied.tolist() == [0.5, 0.0]


def test_the_primary_decides_and_the_others_are_named_after_it() -> None:
    judge = gold_judge(score, ("long", "short"), "short")
    assert judge.names == ("short", "long")
    assert [judge.suffix(name) for name in judge.names] == ["", "_long"]
    assert gold_judge(score, ("long", "short")).names == ("long", "short")
    found = judge.score(["p"], [], [Response("abc")])
    assert {name: found[name].tolist() for name in judge.names} == {"short": [-3.0], "long": [3.0]}
