"""PPO on the gold reward itself: an oracle that shows what PPO's optimiser reaches where the reward model is not in its way.

It is PPO (algorithms/ppo.py) without a reward model: every sample is scored by the judge, which is a label that no other algorithm
has. So it is drawn dashed and hollow and never ranked. A competent PPO comes near the optimal frontier with it (results/LOG.md).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal

from algorithms.ppo import PPO

grid = {"kl_coef": (1.0, 0.5, 0.2)}
search = {
    "learning_rate": (2.5e-4, 4e-3, "log", "as PPO's"),
    "value_learning_rate": (7.5e-4, 1.2e-2, "log", "as PPO's"),
    "clip": (0.25, 4.0, "log", "as PPO's"),
}
family = "online"
source = "Ouyang et al. 2022, arXiv 2203.02155, with the judge's reward in the reward model's place"
oracle = True
optimum = "reward-tilt"  # of the judge's reward
cost = "20 N"  # PPO's without a reward model


@dataclass(frozen=True)
class PPOGold(PPO):
    """PPO with its reward fixed."""

    name: ClassVar[str] = "ppo_gold"

    reward: Literal["gold"] = "gold"


algorithm = PPOGold()
