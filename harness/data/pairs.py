"""Preference pairs sampled from a reference and labelled by a Bradley-Terry draw at a set agreement; and their file."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from scipy.optimize import brentq

from harness.errors import HarnessError
from harness.types import Array, Pair, Response, TokenPair

Draw = Callable[[int], list[tuple[str, Response, Response]]]


def label_scale(gaps: Array, agreement: float) -> float:
    """The s at which mean sigmoid(s |gap|) is ``agreement``: how often a Bradley-Terry annotator sides with the better response."""
    gaps = np.abs(gaps)
    ceiling = float(np.mean(np.where(gaps > 0, 1.0, 0.5)))
    if not 0.5 < agreement < ceiling:
        raise HarnessError(
            f"agreement {agreement}: must lie between 0.5 and {ceiling:.3f}, what perfect labels of these pairs would reach."
        )

    def excess(log_scale: float) -> float:
        return float(np.mean(1 / (1 + np.exp(-np.exp(log_scale) * gaps)))) - agreement

    return float(np.exp(brentq(excess, -12.0, 12.0)))


def sampled_pairs(
    draw: Draw, score: Callable[[Sequence[str], Sequence[Response]], Array], n: int, agreement: float, generator: np.random.Generator
) -> list[Pair]:
    """``n`` pairs of different responses, each labelled by one draw from sigmoid(s (gold_a - gold_b)).

    ``draw(k)`` gives k prompts with two samples each. Pairs of the same text teach nothing and are drawn again.
    """
    rows: list[tuple[str, Response, Response]] = []
    while len(rows) < n:
        rows += [row for row in draw(n - len(rows)) if row[1].ids != row[2].ids]
    prompts = [row[0] for row in rows]
    gaps = score(prompts, [row[1] for row in rows]) - score(prompts, [row[2] for row in rows])
    scale = label_scale(gaps, agreement)
    first = generator.random(n) < 1 / (1 + np.exp(-scale * gaps))
    return [
        Pair(prompt, *((a, b) if a_wins else (b, a)), agreement=float(1 / (1 + np.exp(-scale * abs(gap)))))
        for (prompt, a, b), a_wins, gap in zip(rows, first, gaps, strict=True)
    ]


def write_pairs(path: Path, pairs: Sequence[TokenPair]) -> None:
    """One JSON line per tokenised pair."""
    path.write_text("".join(json.dumps(pair._asdict()) + "\n" for pair in pairs), encoding="utf-8")


def read_pairs(path: Path) -> list[TokenPair]:
    """The pairs of ``write_pairs``."""
    lines = path.read_text(encoding="utf-8").splitlines()
    return [TokenPair(**json.loads(line, object_hook=_with_tuples)) for line in lines]


def _with_tuples(row: dict[str, Any]) -> dict[str, Any]:
    """JSON has lists where a value that cannot change has tuples."""
    return {name: tuple(value) if isinstance(value, list) else value for name, value in row.items()}
