"""Judging by comparison: a judge shown two responses, asked both ways round where their order can matter.

A judge that prefers what it sees first makes a policy win by its place. Asked both ways round, a verdict that turns with the order is
a tie, and how often that happens is part of the result (Zheng et al. 2023, arXiv 2306.05685, section 3.4).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple, Protocol

import numpy as np

from harness.errors import HarnessError
from harness.measure.statistics import Interval, prompt_interval
from harness.types import Array, Response


class PairwiseJudge(Protocol):
    """Compares responses. ``order_sensitive`` says whether a response's place may sway it: true of what reads both at once."""

    @property
    def name(self) -> str:
        """What it is called."""
        ...

    @property
    def order_sensitive(self) -> bool:
        """Whether a response's place may sway it."""
        ...

    def __call__(self, prompts: Sequence[str], first: Sequence[Response], second: Sequence[Response]) -> Array:
        """1 where the first response is better, 0 where the second is, 1/2 for a tie, (prompts,)."""
        ...


class Verdicts(NamedTuple):
    """What a judge decided: ``wins`` of ours, 1, 1/2 or 0, (prompts,); the other two are None for a judge that order cannot sway.

    ``consistency`` is the share of comparisons whose verdict is the same both ways round; ``position`` is by how much more often than
    one half the response shown first wins, both orders together, a tie counting 1/2.
    """

    wins: Array
    consistency: Interval | None = None
    position: Interval | None = None

    def __str__(self) -> str:
        """The judge's own quality in one line."""
        if self.consistency is None or self.position is None:
            return "asked once: the order of the responses cannot matter to this judge"
        return (
            f"asked both ways round, disagreement counts as a tie: consistency {_said(self.consistency)}, position {_said(self.position)}"
        )


def ask(
    judge: PairwiseJudge,
    prompts: Sequence[str],
    ours: Sequence[Response],
    theirs: Sequence[Response],
    *,
    generator: np.random.Generator,
    both_ways: bool = True,
) -> Verdicts:
    """The verdicts on ours against theirs, prompt by prompt.

    Raises HarnessError where an order-sensitive judge is to be asked one way round only, or answers anything but 0, 1/2 or 1.
    """
    if not judge.order_sensitive:
        return Verdicts(_answers(judge, prompts, ours, theirs))
    if not both_ways:
        raise HarnessError(
            f"judge {judge.name}: the order of the two responses may sway it, so one order decides nothing; ask it both ways round."
        )
    forward, backward = _answers(judge, prompts, ours, theirs), _answers(judge, prompts, theirs, ours)
    agreed = forward == 1 - backward
    consistency = prompt_interval(agreed.astype(float), generator=generator)
    return Verdicts(np.where(agreed, forward, 0.5), consistency, prompt_interval((forward + backward) / 2 - 0.5, generator=generator))


def _answers(judge: PairwiseJudge, prompts: Sequence[str], first: Sequence[Response], second: Sequence[Response]) -> Array:
    found = np.asarray(judge(prompts, first, second), dtype=np.float64)
    if found.shape != (len(prompts),) or not np.isin(found, (0.0, 0.5, 1.0)).all():
        raise HarnessError(f"judge {judge.name}: one answer of 0, 1/2 or 1 for each of {len(prompts)} comparisons is wanted.")
    return found


def _said(found: Interval) -> str:
    return f"{found.value:.2f} [{found.lower:.2f}, {found.upper:.2f}], n={found.n}"
