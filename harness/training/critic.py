"""Where PPO's values come from: a model of its own beside the policy, or a scalar head on the policy's trunk.

Both are priced, read and trained through the same methods; which one a run has is chosen once. A step is a state that has a value: one
before every token, and where ``limit`` asks for it one more after the EOS of a response shorter than ``limit`` tokens. That last state
is read by sending one more token through the model, which is paid like any other.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import TYPE_CHECKING, NamedTuple, Protocol

import torch
from torch import Tensor

from harness.types import Group

if TYPE_CHECKING:
    from harness.models.metered import Metered
    from harness.models.optimiser import StepStats
    from harness.models.readings import TokenValues

Loss = Callable[[Tensor], Tensor]


class Reading(NamedTuple):
    """A rollout as policy and critic see it: log-probs and entropies of its tokens, nats, (tokens,), and a value of every step."""

    logps: Tensor
    entropies: Tensor
    values: TokenValues


class Learnt(NamedTuple):
    """What a backward saw: log-probs (tokens,), detached, and both losses, scalars."""

    logps: Tensor
    policy_loss: float
    value_loss: float


class Critic(Protocol):
    """Policy and value function as one thing that is priced, read and trained; charges the current phase."""

    @property
    def policy(self) -> Metered:
        """The model that speaks."""

    def optimise(self, *, learning_rate: float, value_learning_rate: float, clip: float) -> None:
        """Fresh optimisers; the rates are peaks, ``clip`` is the gradient norm allowed."""

    def price(self, group: Group) -> float:
        """FLOPs of one forward that gives the group's log-probs and values."""

    def learning(self, group: Group) -> float:
        """FLOPs of learning from the group once: that forward and its backward."""

    def steps(self, groups: Sequence[Group]) -> Sequence[Group]:
        """The groups with a token for every step, hence one more in a response that has a step after its EOS."""

    def forward(self, groups: Sequence[Group]) -> Reading:
        """Log-probs, entropies and values, with the caller's grad mode."""

    def learn(self, groups: Sequence[Group], policy_loss: Loss, value_loss: Loss, ahead: Reading | None = None) -> Learnt:
        """Add the gradients of a loss of the log-probs (tokens,) and of a loss of the values (steps,).

        Goes on from a reading made ``ahead``; charges its forward again all the same, as the price of learning has it.
        """

    def step(self, progress: float) -> StepStats:
        """Step and forget the gradients; the policy's statistics."""


@dataclass(frozen=True)
class Separate:
    """A value model of its own: as much again for every reading and every update, two backwards, two gradient norms."""

    policy: Metered
    value: Metered
    limit: int = 0  # tokens

    def optimise(self, *, learning_rate: float, value_learning_rate: float, clip: float) -> None:
        """An optimiser for each model."""
        self.policy.optimise(learning_rate=learning_rate, clip=clip)
        self.value.optimise(learning_rate=value_learning_rate, clip=clip)

    def price(self, group: Group) -> float:
        """Two forwards; the value model's head is a single output."""
        return self.policy.shape.scoring([group]) + self.value.shape.scalar().scoring(self.steps([group]))

    def learning(self, group: Group) -> float:
        """Two forwards and two backwards."""
        return self.policy.shape.learning([group]) + self.value.shape.scalar().learning(self.steps([group]))

    def steps(self, groups: Sequence[Group]) -> Sequence[Group]:
        """See ``Critic``."""
        return stretched(groups, self.limit, self.policy.eos)

    def forward(self, groups: Sequence[Group]) -> Reading:
        """A forward of each model."""
        logps, entropies = self.policy.token_logps_and_entropies(groups)
        return Reading(logps.values, entropies.values, self.value.scalars(self.steps(groups), at="state"))

    def learn(self, groups: Sequence[Group], policy_loss: Loss, value_loss: Loss, ahead: Reading | None = None) -> Learnt:
        """One backward after the other, so that only one model's activations are held, unless both were read ahead."""
        logps = _again(self, groups, ahead).logps if ahead else self.policy.token_logps(groups).values
        first = policy_loss(logps)
        self.policy.backward(first)
        second = value_loss((ahead.values if ahead else self.value.scalars(self.steps(groups), at="state")).values)
        self.value.backward(second)
        return Learnt(logps.detach(), first.item(), second.item())

    def step(self, progress: float) -> StepStats:
        """Both models."""
        stats = self.policy.step(progress)
        self.value.step(progress)
        return stats


@dataclass(frozen=True)
class Shared:
    """A scalar head on the policy: no second model to run, but the value loss moves the trunk that speaks, times ``coefficient``."""

    policy: Metered
    coefficient: float
    limit: int = 0  # tokens

    def optimise(self, *, learning_rate: float, value_learning_rate: float, clip: float) -> None:
        """One optimiser, in which the head has the value function's rate; the norm clipped is that of both gradients together."""
        self.policy.attach_head()
        self.policy.optimise(learning_rate=learning_rate, head_learning_rate=value_learning_rate, clip=clip)

    def price(self, group: Group) -> float:
        """One forward through both heads."""
        return self.policy.shape.valued().scoring(self.steps([group]))

    def learning(self, group: Group) -> float:
        """One forward and one backward through both heads."""
        return self.policy.shape.valued().learning(self.steps([group]))

    def steps(self, groups: Sequence[Group]) -> Sequence[Group]:
        """See ``Critic``."""
        return stretched(groups, self.limit, self.policy.eos)

    def forward(self, groups: Sequence[Group]) -> Reading:
        """Everything from one forward."""
        return self._forward(groups, entropies=True)

    def learn(self, groups: Sequence[Group], policy_loss: Loss, value_loss: Loss, ahead: Reading | None = None) -> Learnt:
        """One backward of the policy loss plus ``coefficient`` times the value loss."""
        read = _again(self, groups, ahead) if ahead else self._forward(groups, entropies=False)
        first, second = policy_loss(read.logps), value_loss(read.values.values)
        self.policy.backward(first + self.coefficient * second)
        return Learnt(read.logps.detach(), first.item(), second.item())

    def step(self, progress: float) -> StepStats:
        """The one model."""
        return self.policy.step(progress)

    def _forward(self, groups: Sequence[Group], *, entropies: bool) -> Reading:
        steps = self.steps(groups)
        found = self.policy.token_readings(steps, entropies=entropies)
        tokens, states = (chain.from_iterable(group.responses for group in each) for each in (groups, steps))
        real = torch.cat([torch.arange(len(state)) < len(token) for token, state in zip(tokens, states, strict=True)])
        real = real.to(found.logps.values.device)
        return Reading(found.logps.values[real], found.entropies.values[real], found.values)


def _again(critic: Critic, groups: Sequence[Group], ahead: Reading) -> Reading:
    """The reading; its forward is charged like one that is made, so that what is bought does not depend on what memory holds."""
    critic.policy.ledger.charge(sum(critic.price(group) for group in groups), 0.0)
    return ahead


def stretched(groups: Sequence[Group], limit: int, token: int) -> Sequence[Group]:
    """The groups with ``token`` appended to every response of fewer than ``limit`` tokens.

    Which token is read there plays no role: only the state that precedes it is used, and attention looks back.
    """
    if not limit:
        return groups
    return [Group(g.prompt, tuple((*ids, token) if len(ids) < limit else ids for ids in g.responses)) for g in groups]
