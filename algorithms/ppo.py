"""PPO with a Bradley-Terry reward model (Ouyang et al. 2022, arXiv 2203.02155; details of Huang et al. 2024, arXiv 2403.17031).

First a reward model is fitted on the same pairs that the offline losses see, and charged to this run. Then, until the budget is spent:
sample responses to fresh prompts, score them, subtract kl_coef (log pi - log ref) at every token, estimate advantages, and take
``epochs`` x ``minibatches`` optimiser steps on the clipped losses of policy and value function. The value function is a model of its
own, initialised from the reward model. The mathematics is in harness/training/rollout.py.
"""

from __future__ import annotations

from collections.abc import Generator, Iterator, Sequence
from dataclasses import dataclass, fields, replace
from itertools import accumulate, chain
from typing import TYPE_CHECKING, ClassVar, Literal, NamedTuple

import torch
from torch import Tensor

from harness import HarnessError
from harness.training import rollout as on_policy
from harness.training.reward import RewardModel, fit_reward_model, heldout_quality
from harness.types import Group, Sample, Setup, Update

if TYPE_CHECKING:
    from harness.models.metered import Metered

ALIASES = ("ppo_rlhf",)
grid = {"kl_coef": (1.2, 0.45, 0.17)}  # about KL 0.5, 1.5 and 3 on tuning prompts
family = "online"
source = "Ouyang et al. 2022, arXiv 2203.02155"


@dataclass(frozen=True)
class PPO:
    """Hyperparameters. Per processed token a rollout costs 10 N FLOPs and its use 12 N ``epochs``; shared prompts are paid once."""

    name: ClassVar[str] = "ppo"

    kl_coef: float = 0.3  # beta of E[reward] - beta KL
    target_kl: float = 0.0  # nats per sequence that an adaptive coefficient steers to; 0 keeps the coefficient fixed
    kl_gain: float = 1.0
    reward: Literal["model", "gold"] = "model"  # gold: the task's own score, labels that the offline losses do not have
    reward_pooling: Literal["sum", "last"] = "sum"
    reward_share: float = 0.3  # of the budget, at most
    reward_epochs: float = 1.0
    reward_learning_rate: float = 4e-3
    reward_batch: int = 32  # pairs
    iterations: int = 12
    samples_per_prompt: int = 4
    epochs: int = 1
    minibatches: int = 6
    ratio_clip: float = 0.2
    value_clip: float = 0.2
    gamma: float = 1.0
    decay: float = 0.95  # lambda of GAE
    missing_eos_penalty: float = 1.0
    learning_rate: float = 1e-3
    value_learning_rate: float = 3e-3
    clip: float = 1.0  # gradient norm

    def __post_init__(self) -> None:
        for name in ("iterations", "samples_per_prompt", "epochs", "minibatches", "reward_batch", "learning_rate", "value_learning_rate"):
            if not getattr(self, name) > 0:
                raise HarnessError(f"ppo.{name} = {getattr(self, name)}: must be above 0.")
        if not self.kl_coef >= 0:
            raise HarnessError(f"ppo.kl_coef = {self.kl_coef}: must not be negative.")
        if not 0 < self.reward_share < 1:
            raise HarnessError(f"ppo.reward_share = {self.reward_share}: must lie between 0 and 1.")

    def updates(self, setup: Setup) -> Iterator[Update]:
        """An update per optimiser step: the reward model's (phase ``reward``), then the policy's (phase ``rollout``)."""
        known = {field.name for field in fields(self)}
        settings = replace(self, **{key: value for key, value in setup.settings.items() if key in known})
        if settings.reward == "gold" and setup.score is None:
            raise HarnessError("ppo.reward = 'gold': this task has no gold score; legal here: model.")
        reward = (yield from settings._fit(setup)) if settings.reward == "model" else None
        critic = reward.model.fork() if reward else setup.policy.fork(scalar_head=True)
        yield from Run(settings, setup, reward, critic).updates()

    def _fit(self, setup: Setup) -> Generator[Update, None, RewardModel]:
        """Fit the reward model within its share of the budget; one more update carries its quality on held-out pairs."""
        reward = yield from fit_reward_model(
            setup.policy.fork(scalar_head=True),
            setup.pairs,
            generator=setup.generator,
            budget=self.reward_share * setup.ledger.limit,
            epochs=self.reward_epochs,
            pooling=self.reward_pooling,
            learning_rate=self.reward_learning_rate,
            batch_pairs=self.reward_batch,
        )
        if setup.heldout:
            yield Update("reward", setup.ledger.counts["steps"], heldout_quality(reward, setup.heldout))
        return reward

    def price(self, policy: Metered, group: Group) -> float:
        """FLOPs of a sampled group until it is used up: four scorings (three on gold), then ``epochs`` updates of policy and critic."""
        words, scalar = policy.shape.scoring([group]), policy.shape.scalar().scoring([group])
        scoring = 2 * words + (2 if self.reward == "model" else 1) * scalar  # old and reference log-probs; values and rewards
        return scoring + 3 * self.epochs * (words + scalar)


class Rollout(NamedTuple):
    """Sampled groups; for each, (4, tokens): old log-probs, old values, whitened advantages, returns; what there is to report."""

    groups: Sequence[Group]
    tokens: Sequence[Tensor]
    metrics: dict[str, float]


class Run:
    """One run: the models, and what changes from rollout to rollout (the KL coefficient, the expected price of a group)."""

    def __init__(self, settings: PPO, setup: Setup, reward: RewardModel | None, critic: Metered) -> None:
        self.settings, self.setup, self.reward, self.critic = settings, setup, reward, critic
        self.policy, self.ledger = setup.policy, setup.ledger
        self.start, self.kl_coef = setup.ledger.spent, settings.kl_coef
        prompt = sum(len(pair.prompt) for pair in setup.pairs) // len(setup.pairs)
        response = sum(len(pair.chosen) + len(pair.rejected) for pair in setup.pairs) // (2 * len(setup.pairs))
        self.expected = self._price([Group(prompt * (0,), settings.samples_per_prompt * (response * (0,),))])

    def updates(self) -> Iterator[Update]:
        """Rollouts and their optimiser steps until not even one group fits into what is left."""
        self.policy.optimise(learning_rate=self.settings.learning_rate, clip=self.settings.clip)
        self.critic.optimise(learning_rate=self.settings.value_learning_rate, clip=self.settings.clip)
        iterations = self.settings.iterations
        while size := self._size(iterations):
            iterations = max(iterations - 1, 1)
            groups, samples = self._sample(size)
            if groups:
                yield from self._use(self._assess(groups, samples))

    def _size(self, iterations: int) -> int:
        """Groups of the next rollout, so that ``iterations`` equal ones spend what is left; 0 where not one fits.

        The last rollout draws a twentieth more than should fit: what the lengths decide is trimmed, and little is left over.
        """
        affordable = int(self.ledger.remaining / self.expected)
        if iterations == 1:
            return affordable + (affordable + 19) // 20
        return min(affordable, max(affordable // iterations, self.settings.minibatches))

    def _price(self, groups: Sequence[Group]) -> float:
        """FLOPs to sample and use up the groups."""
        shape = self.policy.shape
        sampling = sum(shape.sampling(len(group.prompt), [len(response) for response in group.responses]) for group in groups)
        return sampling + sum(self.settings.price(self.policy, group) for group in groups)

    def _sample(self, size: int) -> tuple[list[Group], list[Sample]]:
        """``size`` sampled groups less those whose use would break the budget, and their samples in order."""
        settings, setup = self.settings, self.setup
        prompts = setup.prompts(size)  # over-long ones are left out, so there may be fewer
        if not prompts:
            raise HarnessError("ppo: no training prompt fits the task's limit of prompt tokens.")
        with self.ledger.phase("rollout"):
            drawn = self.policy.sample(
                prompts, samples=settings.samples_per_prompt, max_tokens=setup.max_response_tokens, generator=setup.generator
            )
        self.ledger.count(prompts=len(prompts))
        groups = [Group(prompt, tuple(sample.ids for sample in row)) for prompt, row in zip(prompts, drawn, strict=True)]
        self.expected = self._price(groups) / len(groups)
        costs = accumulate(settings.price(self.policy, group) for group in groups)
        kept = sum(cost <= self.ledger.remaining for cost in costs)
        return groups[:kept], list(chain(*drawn[:kept]))

    def _assess(self, groups: list[Group], samples: list[Sample]) -> Rollout:
        """Scores, old log-probs, values, per-token rewards and whitened advantages of a rollout, with its statistics."""
        settings = self.settings
        scores, judged = self._scores(groups, samples)
        with self.ledger.phase("reference"), torch.no_grad():
            reference, mask = self.setup.reference.token_logps(groups).padded()
        with self.ledger.phase("rollout"), torch.no_grad():
            values = self.critic.scalars(groups, at="state").padded()[0]
            # the batches of the first epoch, so that its ratios are exactly 1 where nothing has moved yet
            parts = [self.policy.token_logps_and_entropies(part) for part in on_policy.minibatches(groups, settings.minibatches)]
        logps, entropy = (torch.zeros_like(reference).masked_scatter(mask, torch.cat([p[i].values for p in parts])) for i in (0, 1))
        finished = torch.tensor([sample.finished for sample in samples], device=scores.device)
        scores = on_policy.penalise_missing_eos(scores, finished, settings.missing_eos_penalty)
        rewards = on_policy.token_rewards(logps, reference, mask, scores, kl_coef=self.kl_coef)
        advantages = on_policy.generalised_advantages(rewards, values, mask, gamma=settings.gamma, decay=settings.decay)
        returns = advantages + values
        metrics = judged | {
            "k1": float((logps - reference).sum(1).mean()),
            "kl_coef": self.kl_coef,
            "entropy": float(entropy.sum(1).mean()),
            "value_explained_variance": float(on_policy.explained_variance(values, returns, mask)),
            "length": float(mask.sum(1).float().mean()),
            "eos_rate": float(finished.float().mean()),
        }
        flat = torch.stack([tensor[mask] for tensor in (logps, values, on_policy.whiten(advantages, mask), returns)])
        return Rollout(groups, torch.split(flat, [_tokens(group) for group in groups], dim=1), metrics)

    def _scores(self, groups: Sequence[Group], samples: Sequence[Sample]) -> tuple[Tensor, dict[str, float]]:
        """What this run maximises, (responses,), and the means of the proxy and of gold; gold is only looked at unless it is the reward."""
        setup, metrics = self.setup, {}
        if setup.score is not None:
            with self.ledger.phase("evaluation"):
                gold = torch.as_tensor(setup.score([g.prompt for g in groups for _ in g.responses], samples), dtype=torch.float32)
            metrics["gold"] = float(gold.mean())
        if self.reward is None:
            self.ledger.count(labels=len(samples))
            return gold.to(self.policy.device), metrics
        with self.ledger.phase("rollout"):
            scores = self.reward.scores(groups)
        return scores, metrics | {"proxy": float(scores.mean())}

    def _use(self, rollout: Rollout) -> Iterator[Update]:
        """``epochs`` x ``minibatches`` optimiser steps; the first update describes the rollout, which then moves the KL coefficient."""
        metrics = rollout.metrics
        for epoch in range(self.settings.epochs):
            order = torch.randperm(len(rollout.groups), generator=self.setup.generator).tolist() if epoch else range(len(rollout.groups))
            for part in on_policy.minibatches(order, self.settings.minibatches):
                with self.ledger.phase("update"):
                    metrics = metrics | self._step(rollout, part)
                yield Update("rollout", self.ledger.counts["steps"], metrics)
                metrics = {}
        if self.settings.target_kl > 0:
            kl, target, gain = rollout.metrics["k1"], self.settings.target_kl, self.settings.kl_gain
            self.kl_coef = on_policy.adapted_coefficient(self.kl_coef, kl, target=target, gain=gain)

    def _step(self, rollout: Rollout, part: Sequence[int]) -> dict[str, float]:
        """One optimiser step of policy and critic on these groups: token means of both clipped losses, in slices that fit memory."""
        settings, groups = self.settings, [rollout.groups[i] for i in part]
        tokens = sum(map(_tokens, groups))
        totals = torch.zeros(4)
        for piece in self.policy.micro(groups):
            old, before, advantages, returns = torch.cat([rollout.tokens[i] for i in part[piece]], dim=1)
            logps = self.policy.token_logps(groups[piece]).values
            policy_loss = on_policy.policy_loss(logps, old, advantages, clip=settings.ratio_clip).sum() / tokens
            self.policy.backward(policy_loss)
            values = self.critic.scalars(groups[piece], at="state").values
            value_loss = on_policy.value_loss(values, before, returns, clip=settings.value_clip).sum() / tokens
            self.critic.backward(value_loss)
            ratio, clipped = on_policy.ratio_statistics(logps, old, clip=settings.ratio_clip)
            totals += torch.tensor([policy_loss.item(), value_loss.item(), ratio * len(old) / tokens, clipped * len(old) / tokens])
        progress = (self.ledger.spent - self.start) / (self.ledger.limit - self.start)
        stats = self.policy.step(progress)
        self.critic.step(progress)
        self.ledger.count(steps=1)
        names = ("policy_loss", "value_loss", "ratio", "clip_fraction")
        return dict(zip(names, totals.tolist(), strict=True)) | {"gradient_norm": stats.gradient_norm, "learning_rate": stats.learning_rate}


def _tokens(group: Group) -> int:
    return sum(map(len, group.responses))


algorithm = PPO
