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

from harness.training import rollout as on_policy
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


class Rollout(NamedTuple):
    """Sampled groups; for each, (2, tokens) old log-probs and whitened advantages and (2, steps) old values and returns; metrics."""

    groups: Sequence[Group]
    tokens: Sequence[Tensor]
    steps: Sequence[Tensor]
    metrics: dict[str, float]


class Critic(Protocol):
    """Policy and value function as one thing that is priced, read and trained; charges the current phase."""

    @property
    def policy(self) -> Metered:
        """The model that speaks."""

    def optimise(self, *, learning_rate: float, value_learning_rate: float, clip: float) -> None:
        """Fresh optimisers; the rates are peaks, ``clip`` is the gradient norm allowed."""

    def price(self, group: Group) -> float:
        """FLOPs of one forward that gives the group's log-probs and values; learning from it costs three times as much."""

    def steps(self, groups: Sequence[Group]) -> Sequence[Group]:
        """The groups with a token for every step, hence one more in a response that has a step after its EOS."""

    def read(self, groups: Sequence[Group], parts: int) -> Reading:
        """Log-probs, entropies and values; log-probs in the ``parts`` minibatches that learning will use, so that ratios are exact."""

    def learn(self, groups: Sequence[Group], policy_loss: Loss, value_loss: Loss) -> Learnt:
        """Add the gradients of a loss of the log-probs (tokens,) and of a loss of the values (steps,)."""

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

    def steps(self, groups: Sequence[Group]) -> Sequence[Group]:
        """See ``Critic``."""
        return stretched(groups, self.limit, self.policy.eos)

    def read(self, groups: Sequence[Group], parts: int) -> Reading:
        """Values of the whole rollout at once, log-probs in its minibatches."""
        values = self.value.scalars(self.steps(groups), at="state")
        read = [self.policy.token_logps_and_entropies(part) for part in on_policy.minibatches(groups, parts)]
        return Reading(torch.cat([logps.values for logps, _ in read]), torch.cat([entropies.values for _, entropies in read]), values)

    def learn(self, groups: Sequence[Group], policy_loss: Loss, value_loss: Loss) -> Learnt:
        """One backward after the other, so that only one model's activations are held."""
        logps = self.policy.token_logps(groups).values
        first = policy_loss(logps)
        self.policy.backward(first)
        second = value_loss(self.value.scalars(self.steps(groups), at="state").values)
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

    def steps(self, groups: Sequence[Group]) -> Sequence[Group]:
        """See ``Critic``."""
        return stretched(groups, self.limit, self.policy.eos)

    def read(self, groups: Sequence[Group], parts: int) -> Reading:
        """Everything from one forward of each minibatch."""
        read = [self._forward(part, entropies=True) for part in on_policy.minibatches(groups, parts)]
        values, lengths = (torch.cat([part.values[i] for part in read]) for i in (0, 1))
        together = type(read[0].values)(values, lengths)
        return Reading(torch.cat([part.logps for part in read]), torch.cat([part.entropies for part in read]), together)

    def learn(self, groups: Sequence[Group], policy_loss: Loss, value_loss: Loss) -> Learnt:
        """One backward of the policy loss plus ``coefficient`` times the value loss."""
        read = self._forward(groups, entropies=False)
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


def stretched(groups: Sequence[Group], limit: int, token: int) -> Sequence[Group]:
    """The groups with ``token`` appended to every response of fewer than ``limit`` tokens.

    Which token is read there plays no role: only the state that precedes it is used, and attention looks back.
    """
    if not limit:
        return groups
    return [Group(g.prompt, tuple((*ids, token) if len(ids) < limit else ids for ids in g.responses)) for g in groups]


def divided(columns: Tensor, groups: Sequence[Group]) -> Sequence[Tensor]:
    """(rows, tokens) of all responses cut into one tensor per group."""
    return torch.split(columns, [sum(map(len, group.responses)) for group in groups], dim=1)


def add_gradients(critic: Critic, rollout: Rollout, part: Sequence[int], *, ratio_clip: float, value_clip: float) -> dict[str, float]:
    """Add the gradients of both clipped losses on these groups, in slices that fit memory; returns both losses, ratio, clip fraction.

    The value loss is a mean over the part's steps, everything else over its tokens.
    """
    groups = [rollout.groups[i] for i in part]
    counts = sum(rollout.tokens[i].shape[1] for i in part), sum(rollout.steps[i].shape[1] for i in part)
    totals = torch.zeros(4)
    for piece in critic.policy.micro(groups):
        tokens, steps = (torch.cat([columns[i] for i in part[piece]], dim=1) for columns in (rollout.tokens, rollout.steps))
        totals += _learn(critic, groups[piece], tokens, steps, ratio_clip, value_clip, counts)
    return dict(zip(("policy_loss", "value_loss", "ratio", "clip_fraction"), totals.tolist(), strict=True))


def _learn(
    critic: Critic, groups: Sequence[Group], tokens: Tensor, steps: Tensor, ratio_clip: float, value_clip: float, counts: tuple[int, int]
) -> Tensor:
    """The slice's share, (4,), of what ``add_gradients`` returns."""
    (old, advantages), (before, returns) = tokens, steps
    learnt = critic.learn(
        groups,
        lambda logps: on_policy.policy_loss(logps, old, advantages, clip=ratio_clip).sum() / counts[0],
        lambda values: on_policy.value_loss(values, before, returns, clip=value_clip).sum() / counts[1],
    )
    ratio, clipped = on_policy.ratio_statistics(learnt.logps, old, clip=ratio_clip)
    return torch.tensor([learnt.policy_loss, learnt.value_loss, ratio * len(old) / counts[0], clipped * len(old) / counts[0]])
