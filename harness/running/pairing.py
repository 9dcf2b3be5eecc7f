"""The preference pairs of a seed: whose responses are compared, who labels them, and what the task adds of its own."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from harness.data import labels
from harness.data.pairs import Draw, different, drawn, labelled, ordered
from harness.data.tokenise import Tokens
from harness.errors import HarnessError
from harness.measure.enumerated import likelihoods
from harness.models.metered import Metered
from harness.planning.experiment import Experiment
from harness.types import Pair, Response, Task, TokenPair

HELDOUT = 256
Models = Callable[[str], Metered]
"""The policies that responses may be sampled from, by name: ``sft`` and ``older-policy``."""


@dataclass
class Sources:
    """Where a pair's two responses may come from, on fresh training prompts; streams of its own for prompts, samples and writing."""

    task: Task
    tokens: Tokens
    models: Models
    seed: int

    def __post_init__(self) -> None:
        self.texts, self.written = np.random.default_rng((self.seed, 2)), np.random.default_rng((self.seed, 7))
        self.sampler = torch.Generator().manual_seed(self.seed * 1000 + 2)

    def draw(self, origin: str) -> Draw:
        """The draw of pairs whose responses come from ``origin``."""
        if origin == "references":
            return self._references
        if origin == "mixture":
            return self._mixture
        return lambda n: self._sampled(self.models(origin), n)

    def _sampled(self, policy: Metered, n: int) -> list[tuple[str, Response, Response]]:
        prompts, tokens = self.task.training_prompts(self.texts, n), self.tokens
        rows = policy.sample(tokens.prompts(prompts), samples=2, max_tokens=self.task.max_response_tokens, generator=self.sampler)
        return [(p, *(Response(tokens.text(s.ids), s.ids, s.finished) for s in row)) for p, row in zip(prompts, rows, strict=True)]  # type: ignore[misc]

    def _references(self, n: int) -> list[tuple[str, Response, Response]]:
        """Two responses of the data's own writer to each prompt, as token ids."""
        if self.task.write is None:
            raise HarnessError(f"pairs_from: task {self.task.name} has no writer of references; legal here: sft, older-policy.")
        prompts = self.task.training_prompts(self.texts, n)
        both = list(zip(*(self.task.write(self.written, prompts) for _ in range(2)), strict=True))
        groups = self.tokens.groups(prompts, both)
        return [
            (prompt, Response(first.text, group.responses[0]), Response(second.text, group.responses[1]))
            for prompt, (first, second), group in zip(prompts, both, groups, strict=True)
        ]

    def _mixture(self, n: int) -> list[tuple[str, Response, Response]]:
        """Half the pairs from the SFT reference, half from the writer, in random order."""
        rows = [*self._sampled(self.models("sft"), (n + 1) // 2), *self._references(n // 2)]
        return [rows[int(index)] for index in self.written.permutation(len(rows))]


def sampled(experiment: Experiment, task: Task, tokens: Tokens, models: Models, seed: int) -> tuple[list[TokenPair], list[TokenPair]]:
    """Training pairs labelled as assumed, and held-out pairs of the reference's samples ordered by the reward itself."""
    assert task.score is not None
    sources, label = Sources(task, tokens, models, seed), labels.LABELS[experiment.labels]
    own = task.own_pairs(np.random.default_rng((seed, 8)), experiment.pairs) if task.own_pairs else []
    with models("sft").ledger.phase("pairs"):
        rows = drawn(sources.draw(experiment.pairs_from), experiment.pairs - len(own))
    assumed: Any = (experiment.agreement, experiment.length_weight)
    first = label(labels.evidence(task, rows), *assumed)
    pairs = labelled(rows, first, np.random.default_rng((seed, 3)))
    fresh = different(sources.draw("sft")(2 * HELDOUT))
    if not fresh:
        raise HarnessError(
            f"held-out pairs: the SFT reference answers each of {2 * HELDOUT} prompts twice in the same way; lower sft_steps."
        )
    found = labels.evidence(task, fresh)
    heldout = ordered(fresh, found.gaps, label(found, *assumed))[:HELDOUT]
    return tokens.pairs(_mixed(pairs, own, experiment.labels, seed)), tokens.pairs(heldout)


def enumerated(task: Task, tokens: Tokens, reference: Metered, pairs: int, seed: int) -> tuple[list[TokenPair], list[TokenPair]]:
    """Training pairs of a task whose responses can be enumerated, given what the reference says of all; the task's held-out ones."""
    assert task.choices is not None
    with reference.ledger.phase("pairs"), torch.no_grad():
        known = likelihoods(reference, task.choices, tokens)
    train = task.choices.pairs(np.random.default_rng((seed, 2)), known, pairs)
    return tokens.pairs(train), tokens.pairs(task.heldout_pairs)


def by_side(pairs: Sequence[TokenPair], logps: torch.Tensor) -> torch.Tensor:
    """Log-probs of every response of these pairs in order, (responses,), as (pairs, 2): chosen and rejected, nan where there is none."""
    found = logps.new_full((len(pairs), 2), torch.nan)
    found[torch.tensor([[side in pair.sides for side in (0, 1)] for pair in pairs], device=logps.device)] = logps
    return found


def _mixed(pairs: list[Pair], own: list[Pair], assumed: str, seed: int) -> list[Pair]:
    """The task's own pairs among the drawn ones, in random order; certain, but coin flips too where all labels are shuffled."""
    if not own:
        return pairs
    generator = np.random.default_rng((seed, 9))
    certain = 0.5 if assumed == "shuffled" else 1.0
    own = labelled([(p.prompt, p.chosen, p.rejected) for p in own], np.full(len(own), certain), generator)
    both = [*pairs, *own]
    return [both[int(index)] for index in generator.permutation(len(both))]
