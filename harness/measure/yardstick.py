"""What every policy of a seed is measured against: prompts, frozen opponents, judge, reference and probes."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple, TypeVar

from torch import Tensor

from harness.data.tokenise import Tokens
from harness.measure.answers import Questions
from harness.measure.judge import ScoreJudge
from harness.measure.safety import refusals
from harness.models.metered import Metered
from harness.models.packing import Past
from harness.models.resting import Resting
from harness.training.reward import RewardModel
from harness.types import Array, Choices, Demonstration, Group, Probe, Response, TokenPair, Twin

R = TypeVar("R")
KEPT_BYTES = 1 << 28  # of what a model has read and a process keeps from run to run; more is read again by every run


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
    are the safety suites that are asked at the end. ``verified`` names the score that says whether a response passes a check, if any.
    Where there are ``choices`` policies are measured by enumeration (harness/measure/enumerated.py).
    ``known`` is what a process keeps from run to run of one yardstick, ``read`` what it does not.
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
    verified: str = ""
    choices: Choices | None = None
    known: dict[str, Any] = field(default_factory=dict)
    read: dict[str, Past] = field(default_factory=dict)

    @property
    def prompts(self) -> list[tuple[int, ...]]:
        """The evaluation prompts' token ids."""
        return self._once("prompts", lambda: self.tokens.prompts([d.prompt for d in self.evaluation]))

    @property
    def demonstrated(self) -> list[Group]:
        """Every evaluation prompt with the data set's own first response."""
        return self._once("demonstrated", self._demonstrated)

    def _demonstrated(self) -> list[Group]:
        return self.tokens.groups([d.prompt for d in self.evaluation], [[Response(d.responses[0])] for d in self.evaluation])

    def refused(self, probe: Probe, n: int) -> list[Group]:
        """The first ``n`` prompts of a safety slice, each with every canonical refusal."""
        return self._once(f"{n} of {probe.name}", lambda: refusals(self.tokens, probe, n))

    @property
    def reference_past(self) -> Past | None:
        """The evaluation prompts where the reference has read them, once for all marks; None where they take too much memory."""
        return self._past("reference", self.reference)

    @property
    def proxy_past(self) -> Past | None:
        """The evaluation prompts where the proxy reward model has read them."""
        return None if self.proxy is None else self._past("proxy", self.proxy.model)

    def distributions(self, frozen: Sequence[Group]) -> tuple[Tensor, Tensor]:
        """``Metered.distributions`` of the reference on frozen responses to the first evaluation prompts."""
        return self._once(
            f"distributions {len(frozen)}", lambda: self.reference.distributions(frozen, first(self.reference_past, len(frozen)))
        )

    def rest(self) -> None:
        """Let a reference that is only asked at marks leave memory, and what it has read with it."""
        if isinstance(self.reference, Resting):
            self.read.pop("reference", None)
            self.known.pop("reference", None)
            self.reference.rest()

    def _once(self, name: str, make: Callable[[], R]) -> R:
        if name not in self.known:
            self.known[name] = make()
        found: R = self.known[name]
        return found

    def _past(self, name: str, model: Metered) -> Past | None:
        found: Past | None = self.known.get(name) or self.read.get(name)
        if found is None and (found := model.read(self.prompts, self.tokens.max_response)) is not None:
            (self.known if found.bytes <= KEPT_BYTES else self.read)[name] = found
        return found

    @property
    def opponent_scores(self) -> Array:
        """The primary judge's scores of the frozen opponents, (prompts, samples)."""
        return self.standings[self.judge.primary].opponents


def first(past: Past | None, n: int) -> Past | None:
    """The first ``n`` of the prompts, where there are any that were read."""
    return None if past is None else past.first(n)
