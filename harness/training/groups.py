"""Groups of samples as they are drawn, scored and learnt from where the group itself is the baseline and no value function is needed.

Log-probs of the policy that sampled are those that sampling found, so no forward reads a rollout again. Per processed token of a model
of N weights a rollout costs 12 N FLOPs with one epoch: sampling, reference and reward model 2 N each, and 6 N for every epoch.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator, Sequence
from dataclasses import dataclass, field, fields, replace
from itertools import chain
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar

import torch
from torch import Tensor

from harness.errors import HarnessError
from harness.training import rollout as on_policy
from harness.training.episodes import divided
from harness.training.reward import Pooling, RewardModel, fit_reward_model
from harness.training.rollout_budget import RolloutBudget
from harness.training.schedule import schedule
from harness.types import Group, Sample, Setup, Update

if TYPE_CHECKING:
    from harness.models.metered import Metered

S = TypeVar("S")
KL_GROUPS = 32  # groups of a rollout on which ``kl`` is measured at most


class Tokens(NamedTuple):
    """What a loss knows of every token, each (tokens,): log-probs of sampling and of the reference, its response's advantage and length."""

    old: Tensor
    reference: Tensor
    advantages: Tensor
    lengths: Tensor


TokenLoss = Callable[[Tensor, Tokens], Tensor]  # log-probs of the policy and what is known to a loss per token, all (tokens,)


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
        learner, learns = Alone(self.setup.policy), self.reward is not None
        self.budget = RolloutBudget(self.setup, learner, self.samples_per_prompt, self.epochs, self.minibatches, learns_reward=learns)
        self.start = self.setup.ledger.spent

    def sample(self) -> Iterator[Scored]:
        """Rollouts until not even one group fits into what is left; each is to be used up before the next is drawn."""
        iterations = self.iterations
        while size := self.budget.size(iterations):
            iterations = max(iterations - 1, 1)
            groups, samples = self._drawn(size)
            if groups:
                yield self._scored(groups, samples)

    def learn(self, rollout: Scored, advantages: Tensor, loss: TokenLoss) -> Iterator[Update]:
        """``epochs`` x ``minibatches`` optimiser steps on the sum of ``loss`` over a response's tokens, averaged over responses.

        ``advantages`` are (groups, samples). Fewer steps where a budget of steps or seconds ends first; the first update describes the
        rollout.
        """
        for groups, known, metrics in self.parts(rollout, advantages):
            with self.setup.ledger.phase("update"):
                found = metrics | self._step(groups, known, loss)
            yield Update("rollout", int(self.setup.ledger.counts["steps"]), found)

    def parts(self, rollout: Scored, advantages: Tensor) -> Iterator[tuple[list[Group], list[Tensor], dict[str, float]]]:
        """What each optimiser step learns from: groups, the columns of ``Tokens`` of each, (4, tokens), and with the first the metrics."""
        known, metrics = _known(rollout, advantages), rollout.metrics
        for epoch in range(self.epochs):
            order = torch.randperm(len(known), generator=self.setup.generator).tolist() if epoch else range(len(known))
            for part in on_policy.minibatches(order, self.minibatches):
                if not self.setup.ledger.affords(steps=1):
                    return
                yield [rollout.groups[i] for i in part], [known[i] for i in part], metrics
                metrics = {}

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
        scores, metrics = self._scores(groups, samples)
        with setup.ledger.phase("reference"), torch.no_grad():
            reference = setup.reference.token_logps(groups)
        old = reference._replace(values=reference.values.new_tensor(list(chain(*(sample.logps for sample in samples)))))
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

    def _scores(self, groups: Sequence[Group], samples: Sequence[Sample]) -> tuple[Tensor, dict[str, float]]:
        """What this run maximises, (responses,), and the means of the proxy and of gold; gold is only looked at unless it is the reward."""
        setup, metrics = self.setup, {}
        if setup.score is not None:
            with setup.ledger.phase("evaluation"):
                gold = torch.as_tensor(setup.score([g.prompt for g in groups for _ in g.responses], samples), dtype=torch.float32)
            metrics["gold"] = float(gold.mean())
        if self.reward is None:
            setup.ledger.count(labels=len(samples))
            return gold.to(setup.policy.device), metrics
        with setup.ledger.phase("rollout"):
            scores = self.reward.scores(groups)
        return scores, metrics | {"proxy": float(scores.mean())}

    def _step(self, groups: Sequence[Group], known: Sequence[Tensor], loss: TokenLoss) -> dict[str, float]:
        """One optimiser step on these groups, in slices that fit memory: loss, mean ratio of policy to sampling, gradient norm, rate."""
        ledger, responses = self.setup.ledger, len(groups) * self.samples_per_prompt
        count = sum(columns.shape[1] for columns in known)

        def one(policy: Metered, piece: slice) -> tuple[float, float]:
            logps, tokens = policy.token_logps(groups[piece]).values, Tokens(*torch.cat(list(known[piece]), dim=1))
            value = loss(logps, tokens).sum() / responses
            policy.backward(value)
            return float(value.detach()), float((logps.detach() - tokens.old).exp().sum()) / count

        value, ratio = (sum(column) for column in zip(*self.setup.policy.in_parts(groups, one), strict=True))
        ledger.count(steps=1, pairs=responses / 2)
        stats = self.setup.policy.step((ledger.spent - self.start) / (ledger.limit - self.start))
        return {"loss": value, "ratio": ratio, "gradient_norm": stats.gradient_norm, "learning_rate": stats.learning_rate}


def _known(rollout: Scored, advantages: Tensor) -> list[Tensor]:
    """The columns of ``Tokens`` for each group, (4, tokens)."""
    found = []
    for group, tokens, mine in zip(rollout.groups, rollout.tokens, advantages, strict=True):
        lengths = torch.tensor([len(ids) for ids in group.responses], device=tokens.device)
        per_response = torch.stack([mine.to(tokens), lengths.to(tokens)])
        found.append(torch.cat([tokens, per_response.repeat_interleave(lengths, dim=1)]))
    return found


def fit_on_share(
    setup: Setup, *, share: float, epochs: float, pooling: Pooling, learning_rate: float, batch_pairs: int
) -> Generator[Update, None, RewardModel]:
    """Fit the reward model within its share of the budget, or take one that another run made so, and show it to whoever measures it."""
    settings: dict[str, Any] = {
        "budget": share * setup.ledger.limit,
        "epochs": epochs,
        "pooling": pooling,
        "learning_rate": learning_rate,
        "batch_pairs": batch_pairs,
    }
    model = setup.policy.fork(scalar_head=True)
    reward = yield from setup.reuse(settings, fit_reward_model(model, setup.pairs, generator=setup.generator, **settings))
    setup.inspect(reward)
    return reward


def chosen(algorithm: S, setup: Setup) -> S:
    """The algorithm, a dataclass, with the run's settings; HarnessError where gold is asked for that the task has not."""
    known = {each.name for each in fields(algorithm)}  # type: ignore[arg-type]
    settings = replace(algorithm, **{key: value for key, value in setup.settings.items() if key in known})  # type: ignore[type-var]
    if getattr(settings, "reward", "model") == "gold" and setup.score is None:
        raise HarnessError(f"{getattr(algorithm, 'name', '')}.reward = 'gold': this task has no gold score; legal here: model.")
    return settings


def refuse_illegal(algorithm: Any, *, positive: Sequence[str], knob: str) -> None:
    """HarnessError that names the first setting out of bounds: ``positive`` ones, the knob, the share, and the size of a group."""
    wrong = [(name, "must be above 0") for name in positive if not getattr(algorithm, name) > 0]
    wrong += [(knob, "must not be negative")] * (not getattr(algorithm, knob) >= 0)
    wrong += [("reward_share", "must lie between 0 and 1")] * (not 0 < algorithm.reward_share < 1)
    wrong += [("samples_per_prompt", "must be 2 at least: a response is compared with others")] * (algorithm.samples_per_prompt < 2)
    for name, why in wrong:
        raise HarnessError(f"{algorithm.name}.{name} = {getattr(algorithm, name)}: {why}.")
