"""What every policy of a seed is measured against: prompts, frozen opponents, judge, reference and probes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import NamedTuple

from harness.data.tokenise import Tokens
from harness.measure.answers import Questions
from harness.measure.judge import ScoreJudge
from harness.models.metered import Metered
from harness.models.packing import Past
from harness.models.resting import Resting
from harness.training.reward import RewardModel
from harness.types import Array, Demonstration, Probe, Response, TokenPair, Twin


class Standing(NamedTuple):
    """What one judge scored those whom a policy meets: ``opponents`` (prompts, samples) and the data's own ``references`` (prompts,)."""

    opponents: Array
    references: Array


@dataclass(frozen=True)
class Yardstick:
    """What every policy of one seed is measured against: the same prompts, opponents, judge, reference and probes.

    ``opponents`` are texts of frozen SFT samples, (prompts)(samples); ``standings`` hold what each column of the judge scored them and
    the data set's own responses. ``refusals`` are the reference's masses by probe,
    ``heldout_logps`` (pairs, 2) its log-probs of the held-out pairs. ``tuner`` scores what is measured on tuning prompts. ``questions``
    are the safety suites that are asked at the end.
    """

    tokens: Tokens
    reference: Metered
    judge: ScoreJudge
    evaluation: Sequence[Demonstration]
    opponents: Sequence[Sequence[Response]]
    standings: Mapping[str, Standing]
    probes: Sequence[Probe]
    twins: Mapping[str, Twin]
    refusals: Mapping[str, Array]
    proxy: RewardModel | None
    heldout: Sequence[TokenPair]
    heldout_logps: Array
    gold: bool
    seed: int
    tuner: RewardModel | None = None
    questions: Questions = field(default_factory=Questions)

    @cached_property
    def reference_past(self) -> Past | None:
        """The evaluation prompts where the reference has read them, once for all marks of a run; None where they take too much memory."""
        return self._read(self.reference)

    @cached_property
    def proxy_past(self) -> Past | None:
        """The evaluation prompts where the proxy reward model has read them."""
        return None if self.proxy is None else self._read(self.proxy.model)

    def rest(self) -> None:
        """Let a reference that is only asked at marks leave memory, and what it has read with it."""
        if isinstance(self.reference, Resting):
            self.__dict__.pop("reference_past", None)
            self.reference.rest()

    def _read(self, model: Metered) -> Past | None:
        return model.read(self.tokens.prompts([d.prompt for d in self.evaluation]), self.tokens.max_response)

    @property
    def opponent_scores(self) -> Array:
        """The primary judge's scores of the frozen opponents, (prompts, samples)."""
        return self.standings[self.judge.primary].opponents


def first(past: Past | None, n: int) -> Past | None:
    """The first ``n`` of the prompts, where there are any that were read."""
    return None if past is None else past.first(n)
