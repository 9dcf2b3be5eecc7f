"""Online DPO: DPO's loss on two samples of the policy that learns, ranked as they are drawn (Guo et al. 2024, arXiv 2402.04792, OAIF).

A reward model is fitted as for PPO and stands where the paper has a language model that annotates. Then two responses to each of some
fresh prompts are sampled, the better by reward is chosen, and one step is taken on dpo's loss (algorithms/dpo.py). ``reference`` is what
its log-ratios are against: ``sft``, as in the paper; ``last``, the policy that sampled, so that nothing holds the policy to where it
began and the gap is 0 at every step; or ``ema``, a moving average of the policy (Gorbatovski et al. 2024, arXiv 2404.09656). Labels are
the sign of a difference, not a Bradley-Terry draw, so no finite reward explains them and DPO's optimum is not that of E[r] - beta KL.
Costs: harness/training/duels.py.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar, Literal

from algorithms.dpo import algorithm as dpo
from harness import HarnessError
from harness.training.duels import DuelRun
from harness.training.sampled import Sampled
from harness.types import Setup, Update

# Above DPO's, for labels without noise ask for more. KL 2.3, 2.8 and 3.3 in one quick run of one seed; not measured at a full budget.
grid = {"beta": (30.0, 8.0, 2.0)}
search = {
    "learning_rate": (2.5e-4, 4e-3, "log", "as PPO's"),
    "clip": (0.25, 4.0, "log", "as PPO's"),
}
family = "online"
oracle = {"reward": "gold"}  # a run on the judge's own reward
source = "Guo et al. 2024, arXiv 2402.04792, OAIF"
optimum = "none known"
cost = "12 N"


@dataclass(frozen=True)
class OnlineDPO(Sampled):
    """Hyperparameters beside those of ``Sampled``; a step on every rollout."""

    name: ClassVar[str] = "online_dpo"
    KNOB: ClassVar[str] = "beta"

    beta: float = 0.1
    samples_per_prompt: int = 2
    reference: Literal["sft", "last", "ema"] = "sft"
    pull: float = 0.05  # of an ema reference: the share of its way to the policy that it goes after every step

    def __post_init__(self) -> None:
        super().__post_init__()
        if not 0 < self.pull <= 1:
            raise HarnessError(f"{self.name}.pull = {self.pull}: must lie between 0 and 1.")

    def updates(self, setup: Setup) -> Iterator[Update]:
        """An update per optimiser step: the reward model's (phase ``reward``), then the policy's (phase ``rollout``)."""
        mine = self.told(setup)
        reward = yield from mine.reward_model(setup)
        setup.policy.optimise(learning_rate=mine.learning_rate, clip=mine.clip)
        shape = (mine.iterations, mine.samples_per_prompt, mine.missing_eos_penalty)
        run = DuelRun(setup, reward, *shape, follows=mine.reference, pull=mine.pull)
        for duels in run.duels():
            yield from run.fight(duels, dpo, {"beta": mine.beta, "label_smoothing": 0.0})


algorithm = OnlineDPO
