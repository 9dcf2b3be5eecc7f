"""What every algorithm that learns from its own samples and has no value function is told alike, and the reward that it learns from."""

from __future__ import annotations

from collections.abc import Generator, Sequence
from dataclasses import dataclass, fields, replace
from typing import Any, ClassVar, Literal, Self, TypeVar

import torch
from torch import Tensor

from harness.errors import HarnessError
from harness.training.reward import RewardModel, fit_reward_model
from harness.types import Group, Sample, Setup, Update

S = TypeVar("S")
COUNTS = ("iterations", "samples_per_prompt", "reward_batch", "learning_rate")


def told(algorithm: S, setup: Setup) -> S:
    """The algorithm, a dataclass, with the run's settings; HarnessError for one that is out of bounds."""
    known = {each.name for each in fields(algorithm)}  # type: ignore[arg-type]
    return replace(algorithm, **{key: value for key, value in setup.settings.items() if key in known})  # type: ignore[type-var]


@dataclass(frozen=True)
class RewardFit:
    """How a run fits its reward model: settings of whoever asks for one, on-policy or as ``reward`` of a loss."""

    reward_pooling: Literal["sum", "last"] = "sum"
    reward_share: float = 0.3  # of the budget, at most
    reward_epochs: float = 1.0
    reward_learning_rate: float = 2e-3
    reward_batch: int = 32  # pairs

    def told(self, setup: Setup) -> Self:
        """The same with the run's settings; HarnessError for one that is out of bounds."""
        return told(self, setup)

    def fitted(self, setup: Setup) -> Generator[Update, None, RewardModel]:
        """Fit it within its share of the budget, or take one that another run made so, and show it to whoever measures it."""
        settings: dict[str, Any] = {
            "budget": self.reward_share * setup.ledger.limit,
            "epochs": self.reward_epochs,
            "pooling": self.reward_pooling,
            "learning_rate": self.reward_learning_rate,
            "batch_pairs": self.reward_batch,
        }
        model = setup.policy.fork(scalar_head=True)
        reward = yield from setup.reuse(settings, fit_reward_model(model, setup.pairs, generator=setup.generator, **settings))
        setup.inspect(reward)
        return reward


@dataclass(frozen=True)
class Sampled(RewardFit):
    """Settings of an algorithm over its own samples, which a file's dataclass extends by those of its own idea; its base class.

    A step is taken on every rollout by default, and rollouts are as many as PPO takes steps. Raises HarnessError for one out of bounds:
    what ``POSITIVE`` names beside the common ones must be above 0, and ``KNOB`` not below.
    """

    name: ClassVar[str] = ""
    KNOB: ClassVar[str] = ""
    POSITIVE: ClassVar[tuple[str, ...]] = ()

    reward: Literal["model", "gold"] = "model"  # gold: the task's own score, labels that the offline losses do not have
    iterations: int = 72
    samples_per_prompt: int = 4
    missing_eos_penalty: float = 1.0
    learning_rate: float = 1e-3
    clip: float = 1.0  # gradient norm

    def __post_init__(self) -> None:
        wrong = [(name, "must be above 0") for name in (*COUNTS, *self.POSITIVE) if not getattr(self, name) > 0]
        wrong += [(self.KNOB, "must not be negative")] * (not getattr(self, self.KNOB) >= 0)
        wrong += [("reward_share", "must lie between 0 and 1")] * (not 0 < self.reward_share < 1)
        wrong += [("samples_per_prompt", "must be 2 at least: a response is compared with others")] * (self.samples_per_prompt < 2)
        for name, why in wrong:
            raise HarnessError(f"{self.name}.{name} = {getattr(self, name)}: {why}.")

    def told(self, setup: Setup) -> Self:
        """The same with the run's settings; HarnessError where gold is asked for that the task has not."""
        settings = super().told(setup)
        if settings.reward == "gold" and setup.score is None:
            raise HarnessError(f"{self.name}.reward = 'gold': this task has no gold score; legal here: model.")
        return settings

    def reward_model(self, setup: Setup) -> Generator[Update, None, RewardModel | None]:
        """An update per step of its fit, and the reward model; None, at once, where gold is the reward."""
        return (yield from self.fitted(setup)) if self.reward == "model" else None


def scored(setup: Setup, reward: RewardModel | None, groups: Sequence[Group], samples: Sequence[Sample]) -> tuple[Tensor, dict[str, float]]:
    """What a run maximises, (responses,), and the means of the proxy and of gold; gold is only looked at unless it is the reward."""
    metrics: dict[str, float] = {}
    if setup.score is not None:
        with setup.ledger.phase("evaluation"):
            gold = torch.as_tensor(setup.score([g.prompt for g in groups for _ in g.responses], samples), dtype=torch.float32)
        metrics["gold"] = float(gold.mean())
    if reward is None:
        setup.ledger.count(labels=len(samples))
        return gold.to(setup.policy.device), metrics
    with setup.ledger.phase("rollout"):
        scores = reward.scores(groups)
    return scores, metrics | {"proxy": float(scores.mean())}
