"""Samples of a prompt ranked by their scores and learnt from as pairs, by any loss on pairs, against a reference that may follow.

Sampling, scoring, budget and steps are those of ``groups``; the loss is a preference loss as the offline loop takes it. Per processed
token of a model of N weights a rollout costs 12 N FLOPs with one epoch (sampling, reference and reward model 2 N each, and 6 N for every
epoch), and 2 N less where the reference is the policy that sampled, whose log-probs sampling has found.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Literal, NamedTuple

import torch
from torch import Tensor

from harness.models.readings import TokenValues
from harness.training.batches import Example
from harness.training.groups import GroupRun, Scored
from harness.training.ledger import Shape
from harness.training.loss_inputs import loss_inputs, metrics
from harness.training.preference import PreferenceLoss
from harness.training.returned import checked
from harness.training.rollout_budget import RolloutBudget
from harness.types import Group, Setting, TokenPair, Update

if TYPE_CHECKING:
    from harness.models.metered import Metered

Following = Literal["sft", "last", "ema"]
BOTH = (0, 1)  # the sides of a pair
SPENT = 0.1  # a pair whose gradient is a tenth of what it is at the reference, or less, is told nothing any more
FREE = Shape(0, 0, 0, 0)


class Duels(NamedTuple):
    """The best and the worst sample of each prompt as a pair; log-probs when sampled and under the reference, (pairs, 2), nats."""

    pairs: list[TokenPair]
    logps: Tensor
    reference: Tensor
    metrics: dict[str, float]


@dataclass(frozen=True)
class TwoLongest:
    """A policy that learns from two responses of a group, as a rollout's budget prices it before it is known which two."""

    policy: Metered

    def price(self, group: Group) -> float:
        """Nothing: sampling has given the log-probs."""
        return 0.0

    def learning(self, group: Group) -> float:
        """FLOPs of one forward and one backward, at most."""
        return self.policy.shape.learning([Group(group.prompt, tuple(sorted(group.responses, key=len)[-2:]))])


@dataclass
class DuelRun(GroupRun):
    """One run. ``follows``: the reference is ``sft``, the policy that sampled ``last``, or an ``ema``.

    That average goes ``pull`` of its way to the policy after every step.
    """

    follows: Following = "sft"
    pull: float = 0.0
    mean: Metered | None = field(init=False, default=None)

    def __post_init__(self) -> None:
        if self.follows == "ema":
            self.mean = self.setup.policy.frozen()
        super().__post_init__()

    def duels(self) -> Iterator[Duels]:
        """Rollouts as pairs; what is between the best and the worst is only scored."""
        for rollout in self.sample():
            found = ranked(rollout)
            if self.follows != "sft":  # k1 checks the KL to the SFT model, which these log-probs are not of
                found.metrics.pop("k1")
            yield found

    def fight(self, duels: Duels, loss: PreferenceLoss, hyperparameters: Mapping[str, Setting]) -> Iterator[Update]:
        """Optimiser steps on the mean loss of the pairs; those of equal scores count and teach nothing."""
        groups = [Group(pair.prompt, (pair.chosen, pair.rejected)) for pair in duels.pairs]
        yield from self.steps(groups, duels.metrics, partial(self._duel, duels, loss, hyperparameters))

    def _priced(self) -> RolloutBudget:
        reference = {"sft": None, "last": FREE, "ema": self.setup.policy.shape}[self.follows]
        learner, learns = TwoLongest(self.setup.policy), self.reward is not None
        sizes = (self.samples_per_prompt, self.epochs, self.minibatches)
        return RolloutBudget(self.setup, learner, *sizes, learns_reward=learns, reference=reference, learnt=2)

    def _referred(self, groups: Sequence[Group], old: TokenValues) -> TokenValues:
        if self.follows == "last":
            return old
        return (self.mean or self.setup.reference).token_logps(groups)

    def _duel(
        self, duels: Duels, loss: PreferenceLoss, hyperparameters: Mapping[str, Setting], part: Sequence[int]
    ) -> Callable[[Metered, slice], dict[str, float]]:
        """How a step on these pairs learns by the loss: its value, and what the offline loop says of pairs."""
        examples, reference = [Example(duels.pairs[i], BOTH) for i in part], duels.reference[list(part)]

        def one(policy: Metered, piece: slice) -> dict[str, float]:
            mine, known = examples[piece], reference[piece]
            logps = policy.logps([example.group() for example in mine]).view(-1, 2)
            values = told(loss, hyperparameters, mine, logps, known.to(logps))
            value = values.sum() / len(examples)
            policy.backward(value)
            means = metrics(mine, logps.detach(), known.to(logps))
            return {"loss": float(value.detach()), **{name: mean * len(mine) / len(examples) for name, mean in means.items()}}

        return one

    def _step(self, groups: Sequence[Group], one: Callable[[Metered, slice], Mapping[str, float]]) -> dict[str, float]:
        found = super()._step(groups, one)
        if self.mean is not None:
            self.mean.follow(self.setup.policy, self.pull)
        return found


def ranked(rollout: Scored) -> Duels:
    """The best response of each group, and its worst, by their scores; of equals those drawn first and last, with weight 0."""
    order = rollout.scores.argsort(dim=1, descending=True, stable=True)[:, [0, -1]]
    margins = (rollout.scores.gather(1, order) * rollout.scores.new_tensor([1, -1])).sum(1).tolist()
    pairs = [
        TokenPair(row, group.prompt, group.responses[best], group.responses[worst], margin=margin, weight=float(margin > 0))
        for row, (group, (best, worst), margin) in enumerate(zip(rollout.groups, order.tolist(), margins, strict=True))
    ]
    found = {"margin": sum(margins) / len(margins), "ties": sum(margin == 0 for margin in margins) / len(margins)}
    return Duels(pairs, rollout.logps.gather(1, order), rollout.reference.gather(1, order), rollout.metrics | found)


def told(
    loss: PreferenceLoss, hyperparameters: Mapping[str, Setting], examples: Sequence[Example], logps: Tensor, reference: Tensor
) -> Tensor:
    """The weighted loss of each pair, (pairs,); ``logps`` and ``reference`` are (pairs, 2)."""
    values = loss.loss(**loss_inputs(examples, logps, reference, loss.signature, {}), **hyperparameters)
    weights = logps.new_tensor([example.pair.weight for example in examples])
    return weights * checked(values, len(examples), loss.loss, loss.name)


def validity(duels: Duels, loss: PreferenceLoss, hyperparameters: Mapping[str, Setting]) -> dict[str, float]:
    """What the reference is still worth to the loss on pairs that the policy has just sampled, before anything is learnt from them.

    ``reference_nll`` is the log-perplexity of the pairs under it, nats per token; ``reference_gap`` the mean |h| of log-ratios, nats;
    ``reference_loss`` the loss (log 2 of DPO where the policy is the reference); ``gradient_kept`` the mean share of a pair's gradient
    that is left of what it is at the reference, and ``gradient_spent`` the share of pairs that keep a tenth or less of it.
    """
    examples = [Example(pair, BOTH) for pair in duels.pairs]
    ratios, tokens = duels.logps - duels.reference, sum(len(each) for pair in duels.pairs for each in (pair.chosen, pair.rejected))
    here, there = (_slopes(loss, hyperparameters, examples, start, duels.reference) for start in (duels.logps, duels.reference))
    kept = here[0] / there[0].clamp(min=1e-30)
    informed = torch.tensor([pair.weight > 0 for pair in duels.pairs], device=kept.device)
    kept = kept[informed] if bool(informed.any()) else kept.new_ones(1)
    return {
        "reference_nll": -float(duels.reference.sum()) / tokens,
        "reference_gap": float((ratios[:, 0] - ratios[:, 1]).abs().mean()),
        "reference_loss": float(here[1]),
        "gradient_kept": float(kept.mean()),
        "gradient_spent": float((kept <= SPENT).float().mean()),
    }


def _slopes(
    loss: PreferenceLoss, hyperparameters: Mapping[str, Setting], examples: Sequence[Example], logps: Tensor, reference: Tensor
) -> tuple[Tensor, Tensor]:
    """|d loss / d log pi| of each pair's better response, (pairs,), and the mean loss of the pairs that teach something."""
    with torch.enable_grad():
        start = logps.detach().clone().requires_grad_()
        values = told(loss, hyperparameters, examples, start, reference)
        slopes = torch.autograd.grad(values.sum(), start)[0][:, 0].abs()
    weight = sum(example.pair.weight for example in examples)
    return slopes, values.detach().sum() / max(weight, 1.0)
