"""What a rollout costs until it is used up, and how many groups the next one may take: a run spends its budget and no more."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate
from math import inf
from typing import Protocol

from harness.training.ledger import Shape
from harness.types import Group, Setup


class Learner(Protocol):
    """What learns from a rollout, as its price is known: ``price`` of reading a group once, ``learning`` of an epoch; both FLOPs."""

    def price(self, group: Group) -> float:
        """FLOPs of reading a group before it is learnt from."""

    def learning(self, group: Group) -> float:
        """FLOPs of learning from a group once."""


@dataclass
class RolloutBudget:
    """Prices of the rollouts of one run. ``learns_reward`` says that a reward model scores them; gold costs no FLOPs.

    A group's price is that of ``samples_per_prompt`` responses to a prompt: sampled, scored by reference and reward model, read by
    policy and value function, and learnt from ``epochs`` times. ``reference`` is the shape of what scores them unless it is the run's
    reference; ``learnt`` is how many responses of a group are learnt from, 0 for all. ``expected`` is the price of a group of the last
    rollout, FLOPs; before the first it is guessed from the lengths of the pairs.
    """

    setup: Setup
    critic: Learner
    samples_per_prompt: int
    epochs: int
    minibatches: int
    learns_reward: bool
    reference: Shape | None = None
    learnt: int = 0
    expected: float = 0.0

    def __post_init__(self) -> None:
        pairs = self.setup.pairs
        prompt = sum(len(pair.prompt) for pair in pairs) // len(pairs)
        response = sum(len(pair.chosen) + len(pair.rejected) for pair in pairs) // (2 * len(pairs))
        self.expected = self.price([Group(prompt * (0,), self.samples_per_prompt * (response * (0,),))])

    def size(self, iterations: int) -> int:
        """Groups of the next rollout, so that ``iterations`` equal ones spend what is left; 0 where not one fits.

        The last rollout draws a twentieth more than should fit: what the lengths decide is trimmed, and little is left over. Where
        the budget counts steps, which do not say how many groups fit, a step learns from as many responses as an offline one; where no
        second has passed, the smallest rollout tells the speed.
        """
        ledger = self.setup.ledger
        found = ledger.fits(self.expected, pairs=self.pairs(1))
        if found == inf and not ledger.price(steps=1):
            return self.minibatches
        if found == inf:
            usual = self.minibatches * max(1, 2 * self.setup.batch_pairs // self.samples_per_prompt)
            return usual if ledger.affords(steps=1) else 0
        affordable = int(found)
        if iterations == 1:
            return affordable + (affordable + 19) // 20
        return min(affordable, max(affordable // iterations, self.minibatches))

    def usable(self, groups: Sequence[Group]) -> int:
        """How many of these sampled groups, from the first, what is left pays to use up; the lengths of all become the expected price."""
        self.expected = self.price(groups) / len(groups)
        costs = accumulate(map(self._use_price, groups))
        return sum(self.setup.ledger.affords(cost, pairs=self.pairs(n)) for n, cost in enumerate(costs, 1))

    def pairs(self, groups: int) -> float:
        """Pairs that learning from so many groups counts as: two responses in one step are one."""
        return groups * (self.learnt or self.samples_per_prompt) * self.epochs / 2

    def price(self, groups: Sequence[Group]) -> float:
        """FLOPs to sample and use up the groups."""
        shape = self.setup.policy.shape
        sampling = sum(shape.sampling(len(group.prompt), [len(response) for response in group.responses]) for group in groups)
        return sampling + sum(map(self._use_price, groups))

    def _use_price(self, group: Group) -> float:
        """FLOPs of a sampled group until it is used up: reference, reward unless it is gold, policy and values, ``epochs`` updates."""
        shape, reference = self.setup.policy.shape, self.reference or self.setup.reference.shape
        scoring = reference.scoring([group]) + (shape.scalar().scoring([group]) if self.learns_reward else 0)
        return scoring + self.critic.price(group) + self.epochs * self.critic.learning(group)
