"""The one offline loop: every preference loss, ours and foreign, trains here, so that algorithms differ by their loss alone."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import accumulate
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from harness.errors import HarnessError
from harness.training.batches import Batch, Example, ReferenceKey, affordable, largest, of_one_length, pairs_in, passes, rows, take
from harness.training.loss_inputs import batch_statistics, check_annotations, compared, loss_inputs, metrics, paired_tokens, same_sides
from harness.training.loss_signature import BatchStatistics, TokenLogps
from harness.training.returned import checked, kept
from harness.training.reward import RewardModel
from harness.training.sampled import RewardFit
from harness.types import Group, Setting, Setup, Update

if TYPE_CHECKING:
    from harness.training.preference import PreferenceLoss


def offline_updates(algorithm: PreferenceLoss, setup: Setup) -> Iterator[Update]:
    """Optimiser steps on reshuffled epochs of the pairs until the budget is spent, the last batch shrunk to what is left.

    Stops early after an update whose loss or gradient is not finite; such an update reports its loss as it is (nan where only the
    gradient failed) and does not touch the weights. Raises HarnessError for data or batch sizes that the loss cannot use.
    """
    algorithm = algorithm.over(setup.pairs)
    hyperparameters, optimiser = algorithm.resolve(setup.settings)
    reward = (yield from RewardFit().told(setup).fitted(setup)) if algorithm.signature.reads_reward else None
    setup.policy.optimise(betas=(0.9, 0.99), **optimiser)
    run = _Run(algorithm, setup, hyperparameters, reward, setup.ledger.spent)
    stream = rows(setup.pairs, algorithm.signature, setup.generator)
    size, ledger = run.batch_size(), setup.ledger
    while True:
        shapes, taken = (setup.policy.shape, setup.reference.shape), take(stream, size)
        batch = affordable(taken, algorithm.signature, shapes[0], run.paid, ledger, setup.generator, shapes[1], run.scores)
        if batch is None and run.step == 0:
            raise ledger.too_small(f"algorithm '{algorithm.name}'")
        if batch is None:
            return
        found = run.update(batch)
        yield Update("update", run.step, found)
        if not math.isfinite(found["loss"]):
            return


@dataclass
class _Run:
    """What the loop carries from step to step: references paid for, rewards by row, (2,), the loss's own state, counts.

    ``start`` is what was spent before the loop began, on a reward model.
    """

    algorithm: PreferenceLoss
    setup: Setup
    hyperparameters: Mapping[str, Setting]
    reward: RewardModel | None
    start: float
    scores: dict[int, Tensor] = field(default_factory=dict)
    paid: set[ReferenceKey] = field(default_factory=set)
    state: dict[str, Tensor] = field(default_factory=dict)
    reference_tokens: dict[int, Sequence[Tensor]] = field(default_factory=dict)
    step: int = 0
    seen: float = 0.0
    tokens: int = 0

    def batch_size(self) -> int:
        """Rows of the data per step: pairs, in lists or not, or as many single responses (as TRL counts); no more than the data hold."""
        signature, pairs = self.algorithm.signature, self.setup.pairs
        check_annotations(pairs, signature, self.algorithm.name)
        size = min(self.setup.batch_pairs, largest(pairs, signature))
        if size < signature.least:
            raise HarnessError(f"algorithm '{self.algorithm.name}' compares rows of a batch, so it needs at least {signature.least}.")
        return size

    def update(self, batch: Batch) -> dict[str, float]:
        """One optimiser step on this batch, charged as it runs; its metrics."""
        ledger, policy = self.setup.ledger, self.setup.policy
        shared = {"z0": self._mismatched_ratio(batch.mismatched)} if batch.mismatched else {}
        with ledger.phase("reference"):
            self._refer(batch.due)
        with ledger.phase("reward"):
            self._score(batch.unscored)
        with ledger.phase("update"):
            loss, scored = self._backward(batch.examples, shared)
            found = {"loss": loss, **self._metrics(batch.examples, scored), **self._count(batch.examples)}
            if math.isfinite(loss):
                stats = policy.step((ledger.spent - self.start) / (ledger.limit - self.start))
                found |= {"gradient_norm": stats.gradient_norm, "clipped": float(stats.clipped), "learning_rate": stats.learning_rate}
                found["loss"] = loss if math.isfinite(stats.gradient_norm) else math.nan
        return found

    def _refer(self, due: Mapping[ReferenceKey, Group]) -> None:
        """Pay for these reference forwards. Sums are known; log-probs per token are computed here, once, where the loss names them."""
        groups = list(due.values())
        if groups and "ref_tokens" in self.algorithm.signature.arguments:
            with torch.no_grad():
                values, lengths = self.setup.reference.token_logps(groups)
            found = torch.split(values, lengths.tolist())
            self.reference_tokens |= {key[0]: found[2 * i : 2 * i + 2] for i, key in enumerate(due)}
        else:
            self.setup.ledger.charge(self.setup.reference.shape.scoring(groups))
        self.paid |= due.keys()

    def _score(self, unscored: Mapping[int, Group]) -> None:
        """Score these pairs by the run's reward model, once."""
        if self.reward is not None and unscored:
            groups = list(unscored.values())
            self.scores |= zip(unscored, torch.split(self.reward.scores(groups), [len(group.responses) for group in groups]), strict=True)

    def _metrics(self, examples: Sequence[Example], scored: Sequence[Tensor]) -> dict[str, float]:
        """Means over the rows that were scored, part by part; over every comparison of a list."""
        ends = [*accumulate(map(len, scored))]
        parts = [examples[end - len(logps) : end] for end, logps in zip(ends, scored, strict=True)]
        read = [compared(part, logps) for part, logps in zip(parts, scored, strict=True)]
        known = [compared(part, self._reference(part, logps))[1] for part, logps in zip(parts, scored, strict=True)]
        return metrics([e for part, _ in read for e in part], torch.cat([logps for _, logps in read]), torch.cat(known))

    def _rewards(self, examples: Sequence[Example], like: Tensor) -> Tensor:
        """Scores of both responses of each pair, (rows, 2), or of a list's, (rows, K); of the one that an unpaired row has, (rows,)."""
        both = torch.stack([self.scores[example.pair.row] for example in examples]).to(like)
        return same_sides(examples, both)[:, 0] if self.algorithm.signature.unpaired else both

    def _mismatched_ratio(self, groups: Sequence[Group]) -> Tensor:
        """Mean log pi - log ref over prompts with somebody else's response: z0 before the clamp, which is the loss's own line."""
        with torch.no_grad():
            with self.setup.ledger.phase("update"):
                policy = self.setup.policy.logps(groups)
            with self.setup.ledger.phase("reference"):
                return (policy - self.setup.reference.logps(groups)).mean()

    def _backward(self, examples: list[Example], shared: dict[str, Any]) -> tuple[float, list[Tensor]]:
        """Adds up gradients of the weighted mean loss of the batch, however memory cuts it; the loss and each part's log pi (rows, sides).

        Every part sees the state as the step found it, so a state may follow ``batch`` but not the rows of one part.
        """
        groups = [e.group() for e in examples]
        of_batch = "batch" in self.algorithm.signature.arguments  # each cut costs such a loss a forward ahead
        parts = [each for part in self.setup.policy.micro(groups, whole=of_batch) for each in of_one_length(examples, part)]
        weights = torch.tensor([e.pair.weight for e in examples], dtype=torch.float64)
        shared = {**shared, "progress": self.setup.ledger.share}
        if of_batch and len(parts) > 1:
            shared["batch"] = self._statistics_ahead(examples, groups)
        total, scored, state = 0.0, [], self.state
        for part in parts:
            logps, tokens = self._read(groups[part], examples[part])
            scored.append(logps.detach())
            state = {name: value.clone() for name, value in self.state.items()}
            values = self._values(examples[part], logps, {**shared, **tokens, "state": state})
            loss = (weights[part].to(values) * values).sum() / float(weights.sum())
            total += float(loss.detach())
            if not math.isfinite(total):
                break
            self.setup.policy.backward(loss)
        kept(state, self.algorithm.loss, self.algorithm.name)
        self.state = state
        return total, scored

    def _read(self, groups: Sequence[Group], examples: Sequence[Example]) -> tuple[Tensor, dict[str, TokenLogps]]:
        """Log pi of every response, (rows, sides), and log-probs per token where the loss names them."""
        named, found = self.algorithm.signature.arguments, {}
        if "ref_tokens" in named:
            found["ref_tokens"] = paired_tokens([each for e in examples for each in self.reference_tokens[e.pair.row]])
        if "tokens" not in named:
            return self.setup.policy.logps(groups).view(len(groups), -1), found
        read = self.setup.policy.token_logps(groups)
        found["tokens"] = paired_tokens(torch.split(read.values, read.lengths.tolist()))
        return read.sums().view(len(groups), -1), found

    def _values(self, examples: list[Example], logps: Tensor, shared: dict[str, Any]) -> Tensor:
        """The loss's value per row, (rows,); raises HarnessError where it returns anything else."""
        reference = self._reference(examples, logps)
        signature = self.algorithm.signature
        if signature.reads_reward:
            shared["reward"] = self._rewards(examples, logps)
        if "batch" in signature.arguments and "batch" not in shared:
            shared["batch"] = batch_statistics(examples, logps, reference, signature)
        values = self.algorithm.loss(**loss_inputs(examples, logps, reference, signature, shared), **self.hyperparameters)
        return checked(values, len(examples), self.algorithm.loss, self.algorithm.name)

    def _statistics_ahead(self, examples: list[Example], groups: list[Group]) -> BatchStatistics:
        """Statistics that the first part needs of the last. The pass is an artefact of memory, so it is not charged."""
        with torch.no_grad(), self.setup.ledger.phase("evaluation"):
            logps = self.setup.policy.logps(groups).view(len(groups), -1)
        return batch_statistics(examples, logps, self._reference(examples, logps), self.algorithm.signature)

    def _reference(self, examples: Sequence[Example], like: Tensor) -> Tensor:
        """Reference log-probs of both responses of each row's pair, (rows, 2); of lists of one length, (rows, K)."""
        known = self.setup.reference_logps
        further = [known[[pair.row for pair in place], 1] for place in zip(*(e.below for e in examples), strict=True)]
        return torch.cat([known[[e.pair.row for e in examples]], *(each[:, None] for each in further)], 1).to(like)

    def _count(self, examples: Sequence[Example]) -> dict[str, float]:
        """Advances the run's counts and the ledger's second page; before the step, whose rate follows the share spent with it.

        Labels are distinct pairs used: two verdicts on single responses that come from one comparison were bought once. Tokens are
        processed tokens, each prompt once per group.
        """
        ledger, signature = self.setup.ledger, self.algorithm.signature
        self.step, self.seen = self.step + 1, self.seen + pairs_in(examples, signature)
        self.tokens += sum(len(g.prompt) + sum(map(len, g.responses)) for g in (e.group() for e in examples))
        pairs, fresh = pairs_in(examples, signature), ledger.distinct(pairs=(row for e in examples for row in e.rows))
        ledger.distinct(prompts=(e.pair.prompt for e in examples))
        ledger.count(steps=1, labels=fresh, pairs=pairs, epochs=passes(pairs, self.setup.pairs))
        return {"tokens": float(self.tokens), "progress": ledger.share, "epoch": passes(self.seen, self.setup.pairs)}
