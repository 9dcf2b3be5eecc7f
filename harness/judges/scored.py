"""A judge that scores one response at a time: the higher of two wins, and no order can sway it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from harness.measure.statistics.strengths import outcomes
from harness.types import Array, Response

Score = Callable[[Sequence[str], Sequence[Response]], Array]
Refuse = Callable[[Sequence[str], Sequence[Response]], None]


def _any(prompts: Sequence[str], responses: Sequence[Response]) -> None:
    """Refuse nothing."""


@dataclass(frozen=True)
class Scored:
    """A ``PairwiseJudge`` by score. ``key`` is what its answers depend on besides the texts, hashed; ``unit`` that of the score.

    ``facts`` say in a record what it is: weights, revision, licence; ``counts`` what happened to what it has read, such as texts that
    were too long. ``refuse`` raises HarnessError where ``score`` would for what it is given, and scores nothing.
    """

    name: str
    key: str
    score: Score
    unit: str
    facts: Mapping[str, Any] = field(default_factory=dict)
    counts: Callable[[], Mapping[str, int]] = dict
    order_sensitive: bool = False
    refuse: Refuse = _any

    @property
    def column(self) -> str:
        """The judge as the name of a column in a record: its own, and the beginning of its key, for two may share a name."""
        return f"{self.name}-{self.key[:8]}"

    def __call__(self, prompts: Sequence[str], first: Sequence[Response], second: Sequence[Response]) -> Array:
        """1 where the first response has the higher score, 0 where the second has, 1/2 for a tie, (prompts,)."""
        scores = self.score([*prompts, *prompts], [*first, *second])
        return outcomes(scores[: len(prompts)], scores[len(prompts) :])


def continued(score: Score) -> Score:
    """The score of the prompt and the response as one text, for tasks in which a response goes on where its prompt ends."""
    return lambda prompts, responses: score(
        [""] * len(prompts), [Response(joined(prompt, response.text)) for prompt, response in zip(prompts, responses, strict=True)]
    )


def joined(prompt: str, response: str) -> str:
    """Prompt and response as one text, a space between them where neither has white space at the join."""
    bare = prompt and response and not prompt[-1].isspace() and not response[0].isspace()
    return f"{prompt} {response}" if bare else prompt + response
