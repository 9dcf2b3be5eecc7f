"""Iterative DPO: rounds of sampling, labelling and DPO on what was sampled (Xu et al. 2023, arXiv 2312.16682; Dong et al. 2024).

A reward model is fitted as for PPO and labels every round. In a round the policy as it is answers fresh prompts ``samples_per_prompt``
times each, the best answer by reward is chosen and the worst rejected, and dpo's loss (algorithms/dpo.py) is learnt from them for
``epochs``, in ``minibatches`` steps each. ``reference`` is that of the round: ``sft``, as in Dong et al., or ``last``, the policy that
the round started from, as in Xu et al.; then nothing holds the policy to where it began but the number of rounds.

Before a round's first step the first update says what the reference is still worth on the round's pairs (``validity`` in
harness/training/duels.py): log-perplexity and gap under it, the loss, log 2 where the policy is the reference, and how much of the
gradient is left of what it is there. Costs: harness/training/duels.py, and sampling, reward and reference for what is not learnt from.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar, Literal

from algorithms.dpo import algorithm as dpo
from harness.training.duels import DuelRun, validity
from harness.training.sampled import Sampled
from harness.types import Setup, Update

# Above DPO's, for labels without noise ask for more. KL 1.5, 1.8 and 3.7 in one quick run of one seed; not measured at a full budget.
grid = {"beta": (30.0, 8.0, 0.7)}
search = {
    "learning_rate": (2.5e-4, 4e-3, "log", "as PPO's"),
    "clip": (0.25, 4.0, "log", "as PPO's"),
}
family = "online"
oracle = {"reward": "gold"}  # a run on the judge's own reward
source = "Xu et al. 2023, arXiv 2312.16682; Dong et al. 2024, arXiv 2405.07863"
optimum = "none known"
cost = "12 N"


@dataclass(frozen=True)
class IterativeDPO(Sampled):
    """Hyperparameters beside those of ``Sampled``; ``iterations`` are the rounds, and steps as many as PPO's by default."""

    name: ClassVar[str] = "iterative_dpo"
    KNOB: ClassVar[str] = "beta"
    POSITIVE: ClassVar[tuple[str, ...]] = ("epochs", "minibatches")

    beta: float = 0.1
    iterations: int = 3
    samples_per_prompt: int = 2
    epochs: int = 1
    minibatches: int = 24
    reference: Literal["sft", "last"] = "sft"

    def updates(self, setup: Setup) -> Iterator[Update]:
        """An update per optimiser step: the reward model's (phase ``reward``), then the policy's (phase ``rollout``)."""
        mine = self.told(setup)
        reward = yield from mine.reward_model(setup)
        shape = (mine.iterations, mine.samples_per_prompt, mine.missing_eos_penalty, mine.epochs, mine.minibatches)
        run, hyperparameters = DuelRun(setup, reward, *shape, follows=mine.reference), {"beta": mine.beta, "label_smoothing": 0.0}
        for number, duels in enumerate(run.duels(), 1):
            setup.policy.optimise(learning_rate=mine.learning_rate, clip=mine.clip)  # a training of its own
            said = {"round": float(number), **validity(duels, dpo, hyperparameters)}
            yield from run.fight(duels._replace(metrics=duels.metrics | said), dpo, hyperparameters)


algorithm = IterativeDPO
