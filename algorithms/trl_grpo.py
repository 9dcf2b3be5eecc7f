"""GRPO by TRL's own ``GRPOTrainer``, on the rollouts, reward model, rates and budget of ``grpo``.

TRL's loss ``grpo`` with k3 times beta (Shao et al. 2024, arXiv 2402.03300, equations 3 and 4), its loop and its optimiser step; prompts are
sampled, scored and made advantages of as ``grpo`` does. It needs the extra ``trl``; docs/trl.md says what is shared and what is not.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar

from algorithms.grpo import GRPO, standardised
from harness.foreign import trl_groups
from harness.training.groups import GroupRun
from harness.types import Setup, Update

grid = {"beta": (1.0, 0.2, 0.04)}  # those of grpo
search = {
    "learning_rate": (2.5e-4, 4e-3, "log", "as PPO's"),
    "clip": (0.25, 4.0, "log", "as PPO's"),
}
family = "online"
oracle = {"reward": "gold"}
source = "Shao et al. 2024, arXiv 2402.03300, eq. 3 and 4, by trl.GRPOTrainer"
optimum = "none known"
cost = "12 N"
requires = "trl"


@dataclass(frozen=True)
class TrlGRPO(GRPO):
    """The hyperparameters of ``grpo``, and one of TRL's own."""

    name: ClassVar[str] = "trl_grpo"

    weighted_kl: bool = False  # k3 times the ratio of policy to sampling, whose gradient is that of KL(pi || ref): TRL's own default

    def updates(self, setup: Setup) -> Iterator[Update]:
        """An update per optimiser step: the reward model's (phase ``reward``), then TRL's (phase ``rollout``)."""
        mine = self.told(setup)
        reward = yield from mine.reward_model(setup)
        run = GroupRun(setup, reward, mine.iterations, mine.samples_per_prompt, mine.missing_eos_penalty, mine.epochs, mine.minibatches)
        yield from trl_groups.grpo(
            setup,
            self.name,
            run,
            standardised,
            beta=mine.beta,
            ratio_clip=mine.ratio_clip,
            loss="grpo",
            weighted_kl=mine.weighted_kl,
            learning_rate=mine.learning_rate,
            clip=mine.clip,
        )


algorithm = TrlGRPO
