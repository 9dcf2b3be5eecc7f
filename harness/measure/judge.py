"""Judging by score: who wins against whom, and what ties count."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from harness.measure.statistics.strengths import TIE, outcomes
from harness.types import Array, Group, Response, Scorer

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


def wins(ours: Array, theirs: Array, *, tie: float = TIE) -> tuple[Array, Array]:
    """Win shares and tie shares per prompt: the means of ``outcomes`` and of its ties over a prompt's opponents."""
    each = outcomes(ours[:, None], theirs[:, None] if theirs.ndim == 1 else theirs, tie)
    return each.mean(1), (each == 0.5).mean(1)
