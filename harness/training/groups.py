"""Groups of samples as they are drawn, scored and learnt from where the group itself is the baseline and no value function is needed.

Log-probs of the policy that sampled are those that sampling found, so no forward reads a rollout again. Per processed token of a model
of N weights a rollout costs 12 N FLOPs with one epoch: sampling, reference and reward model 2 N each, and 6 N for every epoch.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from itertools import chain
from typing import TYPE_CHECKING, NamedTuple

import torch
from torch import Tensor

from harness.errors import HarnessError
from harness.models.readings import TokenValues
from harness.training import rollout as on_policy
from harness.training.episodes import divided
from harness.training.reward import RewardModel
from harness.training.rollout_budget import RolloutBudget
from harness.training.sampled import scored
from harness.training.schedule import schedule
from harness.types import Group, Sample, Setup, Update

if TYPE_CHECKING:
    from harness.models.metered import Metered

KL_GROUPS = 32  # groups of a rollout on which ``kl`` is measured at most


class Tokens(NamedTuple):
    """What a loss knows of every token, each (tokens,): log-probs of sampling and of the reference, its response's advantage and length."""

    old: Tensor
    reference: Tensor
    advantages: Tensor
    lengths: Tensor


TokenLoss = Callable[[Tensor, Tokens], Tensor]  # log-probs of the policy and what is known to a loss per token, all (tokens,)
# Of these groups of a rollout: a function that learns from a slice of them and returns its share of the step's metrics.
Lesson = Callable[[Sequence[int]], "Callable[[Metered, slice], Mapping[str, float]]"]


class Scored(NamedTuple):
    """A rollout: groups; rewards and log-probs of each response under policy and reference, (groups, samples) in nats; metrics.

    ``tokens`` are (2, tokens) log-probs of sampling and of the reference, for each group.
    """

    groups: Sequence[Group]
    scores: Tensor
    logps: Tensor
    reference: Tensor
    tokens: Sequence[Tensor]
    metrics: dict[str, float]


@dataclass(frozen=True)
class Alone:
    """A policy without a value function, as a rollout's budget prices it."""

    policy: Metered

    def price(self, group: Group) -> float:
        """Nothing: sampling has given the log-probs."""
        return 0.0

    def learning(self, group: Group) -> float:
        """FLOPs of one forward and one backward."""
        return self.policy.shape.learning([group])


@dataclass
class GroupRun:
    """One run: what its rollouts take, and how many optimiser steps each is good for. ``reward`` is None where gold is the reward."""

    setup: Setup
    reward: RewardModel | None
    iterations: int
    samples_per_prompt: int
    missing_eos_penalty: float
    epochs: int = 1
    minibatches: int = 1
    budget: RolloutBudget = field(init=False)
    start: float = field(init=False)

    def __post_init__(self) -> None:
        self.budget = self._priced()
        self.start = self.setup.ledger.spent

    def _priced(self) -> RolloutBudget:
        """The prices of this run's rollouts."""
        learner, learns = Alone(self.setup.policy), self.reward is not None
        return RolloutBudget(self.setup, learner, self.samples_per_prompt, self.epochs, self.minibatches, learns_reward=learns)

    def sample(self) -> Iterator[Scored]:
        """Rollouts until not even one group fits into what is left; each is to be used up before the next is drawn."""
        iterations = self.iterations
        while size := self.budget.size(iterations):
            iterations = max(iterations - 1, 1)
            groups, samples = self._drawn(size)
            if groups:
                yield self._scored(groups, samples)

    def learn(self, rollout: Scored, advantages: Tensor, loss: TokenLoss) -> Iterator[Update]:
        """Steps on the sum of ``loss`` over a response's tokens, averaged over responses; ``advantages`` are (groups, samples)."""
        yield from self.steps(rollout.groups, rollout.metrics, partial(self._lesson, rollout, columns(rollout, advantages), loss))

    def steps(self, groups: Sequence[Group], metrics: Mapping[str, float], lesson: Lesson) -> Iterator[Update]:
        """``epochs`` x ``minibatches`` optimiser steps on the groups of a rollout, fewer where a budget of steps or seconds ends first.

        The first update has ``metrics``, which describe the rollout, beside its own.
        """
        found = dict(metrics)
        for part in self.parts(len(groups)):
            with self.setup.ledger.phase("update"):
                found |= self._step([groups[i] for i in part], lesson(part))
            yield Update("rollout", int(self.setup.ledger.counts["steps"]), found)
            found = {}

    def parts(self, groups: int) -> Iterator[Sequence[int]]:
        """Which of so many groups each optimiser step learns from, until a budget of steps or seconds ends."""
        for epoch in range(self.epochs):
            order = torch.randperm(groups, generator=self.setup.generator).tolist() if epoch else range(groups)
            for part in on_policy.minibatches(order, self.minibatches):
                if not self.setup.ledger.affords(steps=1):
                    return
                yield part

    def rate(self) -> float:
        """The factor on the peak rate of the step whose price was charged last."""
        ledger = self.setup.ledger
        return schedule((ledger.spent - self.start) / (ledger.limit - self.start))

    def _drawn(self, size: int) -> tuple[list[Group], list[Sample]]:
        """``size`` sampled groups less those whose use would break the budget, and their samples in order."""
        setup = self.setup
        prompts = setup.prompts(size)  # over-long ones are left out, so there may be fewer
        if not prompts:
            raise HarnessError("no training prompt fits the task's limit of prompt tokens.")
        with setup.ledger.phase("rollout"):
            drawn = setup.policy.sample(
                prompts, samples=self.samples_per_prompt, max_tokens=setup.max_response_tokens, generator=setup.generator
            )
        setup.ledger.count(prompts=len(prompts))
        setup.ledger.distinct(prompts=prompts)
        groups = [Group(prompt, tuple(sample.ids for sample in row)) for prompt, row in zip(prompts, drawn, strict=True)]
        kept = self.budget.usable(groups)
        return groups[:kept], list(chain(*drawn[:kept]))

    def _scored(self, groups: list[Group], samples: list[Sample]) -> Scored:
        """Rewards less the penalty of a missing EOS, log-probs and statistics of a rollout; the divergence is only looked at."""
        setup, shape = self.setup, (len(groups), self.samples_per_prompt)
        scores, metrics = scored(setup, self.reward, groups, samples)
        old = _sampled(samples, setup.policy)
        with setup.ledger.phase("reference"), torch.no_grad():
            reference = self._referred(groups, old)
        with setup.ledger.phase("evaluation"):
            divergence = setup.policy.divergence(setup.reference, groups[:KL_GROUPS]).kl.mean()
        finished = torch.tensor([sample.finished for sample in samples], device=scores.device)
        rewards = on_policy.penalise_missing_eos(scores, finished, self.missing_eos_penalty).to(old.values)
        metrics |= {
            "kl": float(divergence),
            "k1": float((old.sums() - reference.sums()).mean()),
            "length": float(old.lengths.float().mean()),
            "eos_rate": float(finished.float().mean()),
        }
        tokens = divided(torch.stack([old.values, reference.values]), groups)
        return Scored(groups, rewards.view(shape), old.sums().view(shape), reference.sums().view(shape), tokens, metrics)

    def _referred(self, groups: Sequence[Group], old: TokenValues) -> TokenValues:
        """Log-probs of every token under the reference, where ``old`` are those of sampling."""
        return self.setup.reference.token_logps(groups)

    def _lesson(
        self, rollout: Scored, known: Sequence[Tensor], loss: TokenLoss, part: Sequence[int]
    ) -> Callable[[Metered, slice], dict[str, float]]:
        """How a step on these groups learns by a loss per token: its value, and the mean ratio of policy to sampling."""
        groups, mine = [rollout.groups[i] for i in part], [known[i] for i in part]
        responses, count = len(part) * self.samples_per_prompt, sum(each.shape[1] for each in mine)

        def one(policy: Metered, piece: slice) -> dict[str, float]:
            logps, tokens = policy.token_logps(groups[piece]).values, Tokens(*torch.cat(mine[piece], dim=1))
            value = loss(logps, tokens).sum() / responses
            policy.backward(value)
            return {"loss": float(value.detach()), "ratio": float((logps.detach() - tokens.old).exp().sum()) / count}

        return one

    def _step(self, groups: Sequence[Group], one: Callable[[Metered, slice], Mapping[str, float]]) -> dict[str, float]:
        """One optimiser step on these groups, in slices that fit memory: what the slices say, added up, gradient norm and rate."""
        ledger, found = self.setup.ledger, self.setup.policy.in_parts(groups, one)
        ledger.count(steps=1, pairs=sum(len(group.responses) for group in groups) / 2)
        stats = self.setup.policy.step((ledger.spent - self.start) / (ledger.limit - self.start))
        sums = {name: sum(each[name] for each in found) for name in found[0]}
        return sums | {"gradient_norm": stats.gradient_norm, "learning_rate": stats.learning_rate}


def _sampled(samples: Sequence[Sample], policy: Metered) -> TokenValues:
    """Log-probs of every token of the samples as sampling found them, float32 at least."""
    dtype = torch.promote_types(next(policy.model.parameters()).dtype, torch.float32)
    values = torch.tensor(list(chain(*(sample.logps for sample in samples))), dtype=dtype, device=policy.device)
    return TokenValues(values, torch.tensor([len(sample.ids) for sample in samples], device=policy.device))


def columns(rollout: Scored, advantages: Tensor) -> list[Tensor]:
    """The columns of ``Tokens`` for each group, (4, tokens)."""
    found = []
    for group, tokens, mine in zip(rollout.groups, rollout.tokens, advantages, strict=True):
        lengths = torch.tensor([len(ids) for ids in group.responses], device=tokens.device)
        per_response = torch.stack([mine.to(tokens), lengths.to(tokens)])
        found.append(torch.cat([tokens, per_response.repeat_interleave(lengths, dim=1)]))
    return found
