"""A rollout as it is read once and learnt from in minibatches, whichever critic it is."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from harness.training import rollout as on_policy
from harness.training.critic import Critic, Reading
from harness.types import Group


class Read(NamedTuple):
    """A whole rollout as it is read once, and ``ahead``: the slices of its first minibatch with their graphs, to be learnt from first."""

    whole: Reading
    ahead: list[Reading]


class Rollout(NamedTuple):
    """Sampled groups; for each, (2, tokens) old log-probs and whitened advantages and (2, steps) old values and returns; metrics.

    ``ahead`` is emptied by the first step, whose forwards reading has made already.
    """

    groups: Sequence[Group]
    tokens: Sequence[Tensor]
    steps: Sequence[Tensor]
    metrics: dict[str, float]
    ahead: list[Reading]


def read(critic: Critic, groups: Sequence[Group], parts: int) -> Read:
    """A rollout's log-probs, entropies and values, in the ``parts`` minibatches that learning will use, so that ratios are exact.

    The first of them is read in the slices and with the graphs that its step needs, where memory holds them; nothing else is.
    """
    first, *rest = on_policy.minibatches(groups, parts)
    ahead: list[Reading] = []
    if critic.policy.holds(first, 2):  # policy and value function
        with torch.enable_grad():
            ahead = [critic.forward(first[piece]) for piece in critic.policy.micro(first)]
    else:
        rest = [first, *rest]
    with torch.no_grad():
        found = [*ahead, *(critic.forward(part) for part in rest)]
    return Read(_joined(found), ahead)


def _joined(found: Sequence[Reading]) -> Reading:
    values, lengths = (torch.cat([each.values[i].detach() for each in found]) for i in (0, 1))
    logps, entropies = torch.cat([each.logps.detach() for each in found]), torch.cat([each.entropies for each in found])
    return Reading(logps, entropies, type(found[0].values)(values, lengths))


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
        ahead = rollout.ahead.pop(0) if rollout.ahead else None
        totals += _learn(critic, groups[piece], tokens, steps, (ratio_clip, value_clip), counts, ahead)
    return dict(zip(("policy_loss", "value_loss", "ratio", "clip_fraction"), totals.tolist(), strict=True))


def _learn(
    critic: Critic,
    groups: Sequence[Group],
    tokens: Tensor,
    steps: Tensor,
    clips: tuple[float, float],
    counts: tuple[int, int],
    ahead: Reading | None,
) -> Tensor:
    """The slice's share, (4,), of what ``add_gradients`` returns."""
    (old, advantages), (before, returns), (ratio_clip, value_clip) = tokens, steps, clips
    learnt = critic.learn(
        groups,
        lambda logps: on_policy.policy_loss(logps, old, advantages, clip=ratio_clip).sum() / counts[0],
        lambda values: on_policy.value_loss(values, before, returns, clip=value_clip).sum() / counts[1],
        ahead,
    )
    ratio, clipped = on_policy.ratio_statistics(learnt.logps, old, clip=ratio_clip)
    return torch.tensor([learnt.policy_loss, learnt.value_loss, ratio * len(old) / counts[0], clipped * len(old) / counts[0]])
