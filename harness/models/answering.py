"""Policies whose weights nobody trained: the same model asked after worked examples, or the best of several answers that it gives.

Each is a ``Metered`` on the very weights of another, so that it is measured and charged like any policy.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from harness.errors import HarnessError
from harness.models.metered import Metered
from harness.models.packing import Past
from harness.models.readings import Divergence, TokenValues, divergence
from harness.types import Group, Sample

Prompts = Sequence[tuple[int, ...]]
Scores = Callable[[Sequence[Group], Sequence[Sample]], Tensor]  # of the samples of each group in order, (samples,), higher is better
TOGETHER = 16  # groups whose distributions over the vocabulary are held at once


class _Same(Metered):
    """Another way of asking the weights of ``policy``, charged to its ledger."""

    def __init__(self, policy: Metered) -> None:
        super().__init__(policy.model, eos=policy.eos, pad=policy.pad, ledger=policy.ledger, head=policy.head)

    def _made(self, model: Any, head: nn.Linear | None) -> Any:
        return Metered(model, eos=self.eos, pad=self.pad, ledger=self.ledger, head=head)


class Prompted(_Same):
    """What the weights say of a prompt that follows ``examples``, token ids that are read, and charged, before every prompt."""

    def __init__(self, policy: Metered, examples: tuple[int, ...], longest: int) -> None:
        """``longest`` is a prompt with its response, tokens; HarnessError where both do not fit the model's context."""
        super().__init__(policy)
        self.examples = examples
        limit = getattr(policy.model.config, "max_position_embeddings", math.inf)
        if len(examples) + longest > limit:
            said = f"{len(examples)} tokens of examples and {longest} of prompt and response"
            raise HarnessError(f"{said} do not fit the model's context of {limit}; ask for fewer examples.")

    def read(self, prompts: Prompts, max_tokens: int, samples: int = 1) -> Past | None:
        """See ``Metered``; the examples are read with each prompt."""
        return super().read(self._after(prompts), max_tokens, samples)

    def sample(self, prompts: Prompts, **how: Any) -> list[list[Sample]]:
        """See ``Metered``."""
        return super().sample(self._after(prompts), **how)

    def token_logps_and_entropies(
        self, groups: Sequence[Group], *, entropies: bool = True, past: Past | None = None
    ) -> tuple[TokenValues, TokenValues]:
        """See ``Metered``."""
        return super().token_logps_and_entropies(self._grouped(groups), entropies=entropies, past=past)

    def distributions(self, groups: Sequence[Group], past: Past | None = None) -> tuple[Tensor, Tensor]:
        """See ``Metered``."""
        return super().distributions(self._grouped(groups), past)

    @torch.no_grad()
    def divergence(self, other: Metered, groups: Sequence[Group], past: Past | None = None, theirs: Past | None = None) -> Divergence:
        """See ``Metered``; the other is asked without the examples. Prompts are read anew, a few groups at a time."""
        found = []
        for start in range(0, len(groups), TOGETHER):
            piece = groups[start : start + TOGETHER]
            (mine, lengths), (their, _) = self.distributions(piece), other.distributions(piece)
            targets = torch.tensor([token for group in piece for ids in group.responses for token in ids], device=mine.device)
            found.append([TokenValues(column, lengths).sums() for column in divergence(mine, their.to(mine), targets)])
        return Divergence(*(torch.cat(column) for column in zip(*found, strict=True)))

    def _after(self, prompts: Prompts) -> list[tuple[int, ...]]:
        return [(*self.examples, *prompt) for prompt in prompts]

    def _grouped(self, groups: Sequence[Group]) -> list[Group]:
        return [Group((*self.examples, *group.prompt), group.responses) for group in groups]


class BestOf(_Same):
    """The best by ``scores`` of ``n`` answers; every answer costs so many samples, and what the scores cost.

    Nobody knows its log-probs, so it is asked for none: its KL to the weights' own answers is ``kl_bound`` at most, log n - (n - 1)/n, an
    upper bound and no equality (Beirami et al. 2024, arXiv 2401.01879; Yang et al. 2024, arXiv 2404.01730).
    """

    def __init__(self, policy: Metered, scores: Scores, n: int) -> None:
        super().__init__(policy)
        self.scores, self.n = scores, n
        self.kl_bound = math.log(n) - (n - 1) / n

    def read(self, prompts: Prompts, max_tokens: int, samples: int = 1) -> Past | None:
        """See ``Metered``."""
        return super().read(prompts, max_tokens, samples * self.n)

    def sample(self, prompts: Prompts, *, samples: int = 1, **how: Any) -> list[list[Sample]]:
        """See ``Metered``; the log-probs of a sample are those that the weights drew it with. Of equals the one drawn first."""
        drawn = super().sample(prompts, samples=samples * self.n, **how)
        groups = [Group(prompt, tuple(sample.ids for sample in row)) for prompt, row in zip(prompts, drawn, strict=True)]
        scores = self.scores(groups, [sample for row in drawn for sample in row]).view(len(drawn), samples, self.n)
        best = scores.argmax(2).tolist()
        return [[row[k * self.n + place] for k, place in enumerate(places)] for row, places in zip(drawn, best, strict=True)]
