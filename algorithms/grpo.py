"""GRPO: clipped ratios on advantages standardised within a group (Shao et al. 2024, arXiv 2402.03300, equations 3 and 4).

A reward model is fitted as for PPO. Then, for G samples of a prompt with rewards r, A_i = (r_i - mean r) / (std r + 1e-4) at every token
of response i, and with rho = pi / pi_old and u = ref / pi of a token the loss is

    1/G sum_i 1/|y_i| sum_t [-min(rho A_i, clip(rho, 1 - ratio_clip, 1 + ratio_clip) A_i) + beta (u - log u - 1)].

Every response weighs the same whatever its length, so a token of a long one weighs less. The last term estimates KL(pi || ref) without
bias (k3), but on samples of pi its gradient is that of KL(ref || pi); and dividing by the group's own deviation changes what is
maximised from prompt to prompt. So the optimum is not that of E[r] - beta KL. Costs: harness/training/groups.py.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from typing import ClassVar

from torch import Tensor

from harness.training.groups import GroupRun, Tokens
from harness.training.rollout import policy_loss
from harness.training.sampled import Sampled
from harness.types import Setup, Update

grid = {"beta": (1.0, 0.2, 0.04)}  # 0.04 is the paper's
search = {
    "learning_rate": (2.5e-4, 4e-3, "log", "as PPO's"),
    "clip": (0.25, 4.0, "log", "as PPO's"),
}
family = "online"
oracle = {"reward": "gold"}  # a run on the judge's own reward
source = "Shao et al. 2024, arXiv 2402.03300, eq. 3 and 4"
optimum = "none known"
cost = "12 N"
FLAT = 1e-4  # TRL's: added to a group's deviation, so that a group of equals asks for nothing


@dataclass(frozen=True)
class GRPO(Sampled):
    """Hyperparameters beside those of ``Sampled``; rollouts and optimiser steps are as many as PPO's by default."""

    name: ClassVar[str] = "grpo"
    KNOB: ClassVar[str] = "beta"
    POSITIVE: ClassVar[tuple[str, ...]] = ("epochs", "minibatches", "ratio_clip")

    beta: float = 0.04  # of k3 beside advantages of variance 1
    iterations: int = 12
    epochs: int = 1
    minibatches: int = 6
    ratio_clip: float = 0.2

    def updates(self, setup: Setup) -> Iterator[Update]:
        """An update per optimiser step: the reward model's (phase ``reward``), then the policy's (phase ``rollout``)."""
        mine = self.told(setup)
        reward = yield from mine.reward_model(setup)
        setup.policy.optimise(learning_rate=mine.learning_rate, clip=mine.clip)
        loss = partial(clipped, ratio_clip=mine.ratio_clip, beta=mine.beta)
        run = GroupRun(setup, reward, mine.iterations, mine.samples_per_prompt, mine.missing_eos_penalty, mine.epochs, mine.minibatches)
        for rollout in run.sample():
            yield from run.learn(rollout, standardised(rollout.scores), loss)


def standardised(rewards: Tensor) -> Tensor:
    """Each reward less its group's mean, over the group's unbiased standard deviation; both (groups, samples), at least two samples."""
    return (rewards - rewards.mean(1, keepdim=True)) / (rewards.std(1, keepdim=True) + FLAT)


def clipped(logps: Tensor, tokens: Tokens, *, ratio_clip: float, beta: float) -> Tensor:
    """A token's clipped loss and beta k3, over its response's length, (tokens,): summed over a response, the loss is a mean."""
    apart = tokens.reference - logps
    surrogate = policy_loss(logps, tokens.old, tokens.advantages, clip=ratio_clip)
    return (surrogate + beta * (apart.exp() - apart - 1)) / tokens.lengths


algorithm = GRPO
