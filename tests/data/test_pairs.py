"""Sampled pairs: labelled at the agreement asked for, by a draw, never of one text twice."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

from harness.data.pairs import label_scale, read_pairs, sampled_pairs, write_pairs
from harness.errors import HarnessError
from harness.types import Array, Response, TokenPair


@pytest.mark.parametrize("agreement", [0.6, 0.7, 0.85])
def test_the_scale_reaches_the_agreement(agreement: float) -> None:
    gaps = np.random.default_rng(0).normal(0, 2, 5000)
    scale = label_scale(gaps, agreement)
    assert np.mean(1 / (1 + np.exp(-scale * np.abs(gaps)))) == pytest.approx(agreement, abs=1e-6)


def test_an_agreement_that_ties_make_impossible_is_refused() -> None:
    with pytest.raises(HarnessError, match=r"agreement 0.9: must lie between 0.5 and 0.750"):
        label_scale(np.array([0.0, 0.0, 1.0, 2.0]), 0.9)


def test_labels_side_with_the_better_response_as_often_as_asked() -> None:
    generator = np.random.default_rng(1)

    def draw(n: int) -> list[tuple[str, Response, Response]]:
        values = generator.integers(0, 12, (n, 2))
        return [("p", Response(str(a), (int(a),)), Response(str(b), (int(b),))) for a, b in values]

    def score(prompts: Sequence[str], responses: Sequence[Response]) -> Array:
        return np.array([float(r.text) for r in responses])

    pairs = sampled_pairs(draw, score, 4000, 0.8, np.random.default_rng(2))
    right = np.mean([float(p.chosen.text) > float(p.rejected.text) for p in pairs])
    assert len(pairs) == 4000
    assert all(p.chosen.ids != p.rejected.ids for p in pairs)
    assert right == pytest.approx(0.8, abs=4 * np.sqrt(0.8 * 0.2 / 4000))
    assert np.mean([p.agreement or 0 for p in pairs]) == pytest.approx(0.8, abs=1e-6)


def test_pairs_survive_their_file(tmp_path: Path) -> None:
    pairs = [TokenPair(0, (1, 2), (3, 4), (5,), agreement=0.75), TokenPair(1, (1,), (2,), (3,), margin=1.5, weight=0.5)]
    write_pairs(tmp_path / "pairs.jsonl", pairs)
    assert read_pairs(tmp_path / "pairs.jsonl") == pairs
