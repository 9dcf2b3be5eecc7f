"""Judging by score: who wins against whom, and what ties count."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from harness.types import Array, Group, Response, Scorer

TIE = 1e-6  # scores nearer than this are a tie; gold rewards are sums of a few decimals, so equal ones differ by rounding only

ScoreResponses = Callable[[Sequence[str], Sequence[Group], Sequence[Response]], Mapping[str, Array]]


@dataclass(frozen=True)
class ScoreJudge:
    """A judge by score. ``score`` returns named arrays (responses,); ``primary`` names the one that decides.

    ``others`` name second opinions among the same arrays: asked of the same responses, recorded beside the primary, never deciding.
    """

    score: ScoreResponses
    primary: str
    others: tuple[str, ...] = ()

    @property
    def names(self) -> tuple[str, ...]:
        """All judging columns, the primary first."""
        return (self.primary, *self.others)

    def suffix(self, name: str) -> str:
        """What follows a metric's name when this column judged it: nothing for the primary."""
        return "" if name == self.primary else f"_{name}"


def gold_judge(scorer: Scorer, names: Sequence[str] = ("gold",), primary: str = "") -> ScoreJudge:
    """The judge that a task's own scores make; it reads texts, not ids. Without a ``primary`` the first name decides."""
    chosen = primary or names[0]
    others = tuple(name for name in names if name != chosen)
    return ScoreJudge(lambda prompts, groups, responses: scorer(prompts, responses), chosen, others)


def outcomes(ours: Array, theirs: Array, *, tie: float = TIE) -> Array:
    """1 for a win, 0.5 for a tie, 0 for a loss: ours (prompts,) against theirs (prompts, opponents), (prompts, opponents)."""
    gap = ours[:, None] - (theirs[:, None] if theirs.ndim == 1 else theirs)
    return np.asarray((gap > tie) + 0.5 * (np.abs(gap) <= tie), dtype=np.float64)


def wins(ours: Array, theirs: Array, *, tie: float = TIE) -> tuple[Array, Array]:
    """Win shares and tie shares per prompt: the means of ``outcomes`` and of its ties over a prompt's opponents."""
    each = outcomes(ours, theirs, tie=tie)
    return each.mean(1), (each == 0.5).mean(1)
