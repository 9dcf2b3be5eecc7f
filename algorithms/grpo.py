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
from typing import TYPE_CHECKING, ClassVar, Literal

from torch import Tensor

from harness.training.groups import GroupRun, Tokens, chosen, fit_on_share, refuse_illegal
from harness.training.rollout import policy_loss
from harness.types import Setup, Update

if TYPE_CHECKING:
    from harness.types import RewardFit

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
class GRPO:
    """Hyperparameters; rollouts and optimiser steps are as many as PPO's by default."""

    name: ClassVar[str] = "grpo"

    beta: float = 0.04  # of k3 beside advantages of variance 1
    reward: Literal["model", "gold"] = "model"  # gold: the task's own score, labels that the offline losses do not have
    reward_pooling: Literal["sum", "last"] = "sum"
    reward_share: float = 0.3  # of the budget, at most
    reward_epochs: float = 1.0
    reward_learning_rate: float = 2e-3
    reward_batch: int = 32  # pairs
    iterations: int = 12
    samples_per_prompt: int = 4
    epochs: int = 1
    minibatches: int = 6
    ratio_clip: float = 0.2
    missing_eos_penalty: float = 1.0
    learning_rate: float = 1e-3
    clip: float = 1.0  # gradient norm

    def __post_init__(self) -> None:
        counts = ("iterations", "epochs", "minibatches", "reward_batch", "ratio_clip", "learning_rate")
        refuse_illegal(self, positive=counts, knob="beta")

    def updates(self, setup: Setup) -> Iterator[Update]:
        """An update per optimiser step: the reward model's (phase ``reward``), then the policy's (phase ``rollout``)."""
        mine = chosen(self, setup)
        reward = (yield from mine._fit(setup)) if mine.reward == "model" else None
        setup.policy.optimise(learning_rate=mine.learning_rate, clip=mine.clip)
        loss = partial(clipped, ratio_clip=mine.ratio_clip, beta=mine.beta)
        run = GroupRun(setup, reward, mine.iterations, mine.samples_per_prompt, mine.missing_eos_penalty, mine.epochs, mine.minibatches)
        for rollout in run.sample():
            yield from run.learn(rollout, standardised(rollout.scores), loss)

    def _fit(self, setup: Setup) -> RewardFit:
        """The reward model, on its share of the budget."""
        return fit_on_share(
            setup,
            share=self.reward_share,
            epochs=self.reward_epochs,
            pooling=self.reward_pooling,
            learning_rate=self.reward_learning_rate,
            batch_pairs=self.reward_batch,
        )


def standardised(rewards: Tensor) -> Tensor:
    """Each reward less its group's mean, over the group's unbiased standard deviation; both (groups, samples), at least two samples."""
    return (rewards - rewards.mean(1, keepdim=True)) / (rewards.std(1, keepdim=True) + FLAT)


def clipped(logps: Tensor, tokens: Tokens, *, ratio_clip: float, beta: float) -> Tensor:
    """A token's clipped loss and beta k3, over its response's length, (tokens,): summed over a response, the loss is a mean."""
    apart = tokens.reference - logps
    surrogate = policy_loss(logps, tokens.old, tokens.advantages, clip=ratio_clip)
    return (surrogate + beta * (apart.exp() - apart - 1)) / tokens.lengths


algorithm = GRPO
