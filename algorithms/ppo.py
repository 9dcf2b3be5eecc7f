"""PPO with a Bradley-Terry reward model (Ouyang et al. 2022, arXiv 2203.02155; details of Huang et al. 2024, arXiv 2403.17031).

First a reward model is fitted on the same pairs that the offline losses see, and charged to this run. Then, until the budget is spent:
sample responses to fresh prompts, score them, subtract kl_coef (log pi - log ref) at every token, estimate advantages, and take
``epochs`` x ``minibatches`` optimiser steps on the clipped losses of policy and value function. The mathematics is in
harness/training/rollout.py, the two kinds of value function in critic.py, the size of a rollout in rollout_budget.py beside it.

What choices cost, per processed token of a model of N weights (prompt tokens included, shared prompts once), in forwards of 2 N FLOPs:
- ``value="separate"``: a model of its own, initialised from the reward model. A rollout costs 5 forwards (sample, old log-probs,
  reference, values, rewards), each epoch 6 (forward and backward of both models): 10 N + 12 N epochs.
- ``value="shared"``: a fresh scalar head on the policy. 4 forwards and 3 per epoch: 8 N + 6 N epochs, about 1.6 times the samples of
  one epoch for the same budget; but it forgoes what the reward model knows, and its loss, times ``value_coef``, moves the policy's trunk
  and takes its part of the one gradient norm that is clipped, most of it where rewards are large.
- ``reward="gold"``: a forward less and no reward model to fit, but labels that offline losses do not have.
- ``score_at="after_eos"``: TRL 1.12's place of the score. Where EOS came before the limit it is a step that has a value and no token,
  so reading and learning values takes one token more per response, and the score reaches EOS times ``decay``.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import TYPE_CHECKING, ClassVar, Literal

import torch
from torch.nn.functional import pad

from harness import HarnessError
from harness.training import rollout as on_policy
from harness.training.critic import Critic, Separate, Shared
from harness.training.episodes import Rollout, add_gradients, divided, read
from harness.training.reward import RewardModel
from harness.training.rollout_budget import RolloutBudget
from harness.training.sampled import RewardFit, scored
from harness.types import Group, Sample, Setup, Update

if TYPE_CHECKING:
    from harness.models.packing import Past

ALIASES = ("ppo_rlhf",)
COUNTS = ("iterations", "samples_per_prompt", "epochs", "minibatches", "reward_batch")
KL_GROUPS = 32  # groups of a rollout on which ``kl`` is measured: 128 samples by default
grid = {"kl_coef": (1.0, 0.2, 0.08)}  # KL 0.50, 1.61 and 2.44 on tuning prompts of seed 0
search = {
    "learning_rate": (2.5e-4, 4e-3, "log", "a factor 4 around the default, at which the embedded model trains"),
    "value_learning_rate": (7.5e-4, 1.2e-2, "log", "a factor 4 around the default: a value function may learn faster than its policy"),
    "clip": (0.25, 4.0, "log", "a factor 4 around the default"),
}
family = "online"
oracle = {"reward": "gold"}  # a run on the judge's own reward
source = "Ouyang et al. 2022, arXiv 2203.02155"
optimum = "reward-tilt"  # of the reward model it is given
cost = "22 N"  # with a value function of its own and one epoch


@dataclass(frozen=True)
class PPO(RewardFit):
    """Hyperparameters beside those of ``RewardFit``; what those with a price cost is above."""

    name: ClassVar[str] = "ppo"

    kl_coef: float = 0.3  # beta of E[reward] - beta KL
    target_kl: float = 0.0  # nats per sequence that an adaptive coefficient steers to; 0 keeps the coefficient fixed
    kl_gain: float = 1.0
    reward: Literal["model", "gold"] = "model"  # gold: the task's own score, labels that the offline losses do not have
    value: Literal["separate", "shared"] = "separate"
    value_coef: float = 0.1  # of the value loss beside the policy's on a shared trunk; plays no role with separate models
    score_at: Literal["eos", "after_eos"] = "eos"
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
        for name in (*COUNTS, "learning_rate", "value_learning_rate", "value_coef"):
            if not getattr(self, name) > 0:
                raise HarnessError(f"ppo.{name} = {getattr(self, name)}: must be above 0.")
        if not self.kl_coef >= 0:
            raise HarnessError(f"ppo.kl_coef = {self.kl_coef}: must not be negative.")
        if not 0 < self.reward_share < 1:
            raise HarnessError(f"ppo.reward_share = {self.reward_share}: must lie between 0 and 1.")

    def updates(self, setup: Setup) -> Iterator[Update]:
        """An update per optimiser step: the reward model's (phase ``reward``), then the policy's (phase ``rollout``)."""
        settings = self.told(setup)
        if settings.reward == "gold" and setup.score is None:
            raise HarnessError("ppo.reward = 'gold': this task has no gold score; legal here: model.")
        reward = (yield from settings.fitted(setup)) if settings.reward == "model" else None
        yield from Run(settings, setup, reward, settings._critic(setup, reward)).updates()

    def _critic(self, setup: Setup, reward: RewardModel | None) -> Critic:
        """The policy with its value function: a copy of the reward model (of the policy where there is none), or a head on the policy."""
        limit = setup.max_response_tokens if self.score_at == "after_eos" else 0
        if self.value == "shared":
            return Shared(setup.policy, self.value_coef, limit)
        return Separate(setup.policy, reward.model.fork() if reward else setup.policy.fork(scalar_head=True), limit)


class Run:
    """One run: the models, and what changes from rollout to rollout (the KL coefficient, the price of a group)."""

    def __init__(self, settings: PPO, setup: Setup, reward: RewardModel | None, critic: Critic) -> None:
        self.settings, self.setup, self.reward, self.critic = settings, setup, reward, critic
        self.policy, self.ledger = setup.policy, setup.ledger
        self.start, self.kl_coef = setup.ledger.spent, settings.kl_coef
        self.budget = RolloutBudget(
            setup, critic, settings.samples_per_prompt, settings.epochs, settings.minibatches, learns_reward=settings.reward == "model"
        )

    def updates(self) -> Iterator[Update]:
        """Rollouts and their optimiser steps until not even one group fits into what is left."""
        settings, iterations = self.settings, self.settings.iterations
        self.critic.optimise(learning_rate=settings.learning_rate, value_learning_rate=settings.value_learning_rate, clip=settings.clip)
        while size := self.budget.size(iterations):
            iterations = max(iterations - 1, 1)
            groups, samples, past = self._sample(size)
            if groups:
                yield from self._use(self._assess(groups, samples, past))

    def _sample(self, size: int) -> tuple[list[Group], list[Sample], Past | None]:
        """``size`` sampled groups less those whose use would break the budget, their samples in order, and their prompts as read."""
        settings, setup = self.settings, self.setup
        prompts = setup.prompts(size)  # over-long ones are left out, so there may be fewer
        if not prompts:
            raise HarnessError("ppo: no training prompt fits the task's limit of prompt tokens.")
        with self.ledger.phase("rollout"):
            how = {"samples": settings.samples_per_prompt, "max_tokens": setup.max_response_tokens}
            past = self.policy.read(prompts, **how)
            drawn = self.policy.sample(prompts, **how, generator=setup.generator, past=past)
        self.ledger.count(prompts=len(prompts))
        self.ledger.distinct(prompts=prompts)
        groups = [Group(prompt, tuple(sample.ids for sample in row)) for prompt, row in zip(prompts, drawn, strict=True)]
        kept = self.budget.usable(groups)
        return groups[:kept], list(chain(*drawn[:kept])), past

    def _assess(self, groups: list[Group], samples: list[Sample], past: Past | None) -> Rollout:
        """Scores, old log-probs, values, per-token rewards and whitened advantages of a rollout, with its statistics.

        The divergence goes on from the prompts that sampling, ``past``, and the reference have read, the first step from the forwards
        that gave log-probs and values.
        """
        settings = self.settings
        scores, judged = scored(self.setup, self.reward, groups, samples)
        with self.ledger.phase("reference"), torch.no_grad():
            seen = self.setup.reference.read([group.prompt for group in groups], 0)
            reference, mask = self.setup.reference.token_logps_and_entropies(groups, entropies=False, past=seen)[0].padded()
        with self.ledger.phase("rollout"):
            found, ahead = read(self.critic, groups, settings.minibatches)
        values, steps = found.values.padded()
        reference, mask = (pad(tensor, (0, steps.shape[1] - mask.shape[1])) for tensor in (reference, mask))
        logps, entropy = (torch.zeros_like(values).masked_scatter(mask, tokens) for tokens in (found.logps, found.entropies))
        finished = torch.tensor([sample.finished for sample in samples], device=scores.device)
        scores = on_policy.penalise_missing_eos(scores, finished, settings.missing_eos_penalty)
        rewards = on_policy.token_rewards(logps, reference, mask, scores, kl_coef=self.kl_coef, at=settings.score_at)
        advantages = on_policy.generalised_advantages(rewards, values, steps, gamma=settings.gamma, decay=settings.decay)
        returns = advantages + values
        with self.ledger.phase("evaluation"):  # only looked at, so not charged
            looked = groups[:KL_GROUPS]
            known = (each and each.first(len(looked)) for each in (past, seen))
            divergence = float(self.policy.divergence(self.setup.reference, looked, *known).kl.mean())
        metrics = judged | {
            "kl": divergence,
            "k1": float((logps - reference).sum(1).mean()),
            "kl_coef": self.kl_coef,
            "entropy": float(entropy.sum(1).mean()),
            "value_explained_variance": float(on_policy.explained_variance(values, returns, steps)),
            "length": float(mask.sum(1).float().mean()),
            "eos_rate": float(finished.float().mean()),
        }
        tokens = torch.stack([logps[mask], on_policy.whiten(advantages, mask)[mask]])
        states = torch.stack([values[steps], returns[steps]])
        return Rollout(groups, divided(tokens, groups), divided(states, self.critic.steps(groups)), metrics, ahead)

    def _use(self, rollout: Rollout) -> Iterator[Update]:
        """``epochs`` x ``minibatches`` optimiser steps, fewer where a budget of steps or seconds ends first.

        The first update describes the rollout, which then moves the KL coefficient.
        """
        metrics = rollout.metrics
        for epoch in range(self.settings.epochs):
            order = torch.randperm(len(rollout.groups), generator=self.setup.generator).tolist() if epoch else range(len(rollout.groups))
            for part in on_policy.minibatches(order, self.settings.minibatches):
                if not self.ledger.affords(steps=1):
                    return
                with self.ledger.phase("update"):
                    metrics = metrics | self._step(rollout, part)
                yield Update("rollout", int(self.ledger.counts["steps"]), metrics)
                metrics = {}
        if self.settings.target_kl > 0:
            kl, target, gain = rollout.metrics["k1"], self.settings.target_kl, self.settings.kl_gain
            self.kl_coef = on_policy.adapted_coefficient(self.kl_coef, kl, target=target, gain=gain)

    def _step(self, rollout: Rollout, part: Sequence[int]) -> dict[str, float]:
        """One optimiser step of policy and critic on these groups."""
        settings = self.settings
        metrics = add_gradients(self.critic, rollout, part, ratio_clip=settings.ratio_clip, value_clip=settings.value_clip)
        self.ledger.count(steps=1, pairs=len(part) * settings.samples_per_prompt / 2)
        stats = self.critic.step((self.ledger.spent - self.start) / (self.ledger.limit - self.start))
        return metrics | {"gradient_norm": stats.gradient_norm, "learning_rate": stats.learning_rate}


algorithm = PPO
