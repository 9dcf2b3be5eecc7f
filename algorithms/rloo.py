"""RLOO: REINFORCE on whole responses with a leave-one-out baseline (Ahmadian et al. 2024, arXiv 2402.14740, section 2.3).

A reward model is fitted as for PPO. Then, for k samples of a prompt, with R(y) = r(x, y) - kl_coef log pi(y|x) / ref(y|x) (equation 3), the
gradient is (it has no number there)

    1/k sum_i [R(y_i) - 1/(k - 1) sum_{j != i} R(y_j)] grad log pi(y_i | x).

A response is one action: KL is part of its reward, and the log-prob is the sum over its tokens, not divided by their number. No ratio and
no clipping, so every rollout is good for one optimiser step. The baseline leaves the gradient unbiased, so that the optimum is that of
E[r] - kl_coef KL. Costs: harness/training/groups.py.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor

from harness.training.groups import GroupRun, Tokens
from harness.training.sampled import Sampled
from harness.types import Setup, Update

grid = {"kl_coef": (1.0, 0.2, 0.08)}  # PPO's: the objective is the same
search = {
    "learning_rate": (2.5e-4, 4e-3, "log", "as PPO's"),
    "clip": (0.25, 4.0, "log", "as PPO's"),
}
family = "online"
oracle = {"reward": "gold"}  # a run on the judge's own reward
source = "Ahmadian et al. 2024, arXiv 2402.14740, section 2.3"
optimum = "reward-tilt"  # of the reward model it is given
cost = "12 N"


@dataclass(frozen=True)
class RLOO(Sampled):
    """Hyperparameters beside those of ``Sampled``. As many optimiser steps as PPO takes by default, each on samples of its own."""

    name: ClassVar[str] = "rloo"
    KNOB: ClassVar[str] = "kl_coef"

    kl_coef: float = 0.3  # beta of E[reward] - beta KL

    def updates(self, setup: Setup) -> Iterator[Update]:
        """An update per optimiser step: the reward model's (phase ``reward``), then the policy's (phase ``rollout``)."""
        mine = self.told(setup)
        reward = yield from mine.reward_model(setup)
        setup.policy.optimise(learning_rate=mine.learning_rate, clip=mine.clip)
        run = GroupRun(setup, reward, mine.iterations, mine.samples_per_prompt, mine.missing_eos_penalty)
        for rollout in run.sample():
            returns = rollout.scores - mine.kl_coef * (rollout.logps - rollout.reference)
            yield from run.learn(rollout, leave_one_out(returns), reinforce)


def leave_one_out(returns: Tensor) -> Tensor:
    """Each return less the mean of the others of its group; both (groups, samples), at least two samples."""
    samples = returns.shape[1]
    return (returns - returns.mean(1, keepdim=True)) * samples / (samples - 1)


def reinforce(logps: Tensor, tokens: Tokens) -> Tensor:
    """-A log pi of every token, (tokens,): summed over a response, the loss whose gradient REINFORCE takes."""
    return -tokens.advantages * logps


algorithm = RLOO
