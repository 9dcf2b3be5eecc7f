"""A language model with the ledger that it charges, and how a batch is cut so that each forward and backward fits in memory."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Self

import torch
from torch import nn

from harness.models import memory, shards, threads
from harness.models.bodies import Body, Whole, body
from harness.models.head import OutputHead
from harness.models.optimiser import Optimiser
from harness.models.readings import shape_of
from harness.training.ledger import Ledger
from harness.types import Group


class Charged:
    """A model's modules and what is known of them; ``Metered`` scores, samples and learns with them.

    ``pad`` is masked out of the distribution unless it is EOS; ``spared`` are weights whose layers keep no activations, if any do not.
    """

    def __init__(self, model: Any, *, eos: int, pad: int, ledger: Ledger, head: nn.Linear | None = None) -> None:
        self.model, self.eos, self.pad, self.ledger, self.head = model, eos, pad, ledger, head
        self.shape = shape_of(model)
        self.twins: list[Self] = []
        self.pending = [0.0, 0.0]
        self._optimiser: Optimiser | None = None
        self.output = OutputHead(model, None if pad == eos else pad)
        self.body: Body = body(model)
        self.spared: int | None = None
        model.eval()  # dropout off everywhere: log-probs of one sequence must not depend on when they are asked for

    @property
    def device(self) -> torch.device:
        """Where the weights are."""
        return torch.device(next(self.model.parameters()).device)

    def parameters(self) -> list[nn.Parameter]:
        """Every trainable parameter, the scalar head's included."""
        modules = [self.model] if self.head is None else [self.model, self.head]
        return [p for m in modules for p in m.parameters() if p.requires_grad]

    def recompute(self) -> None:
        """Keep no activations inside layers: every backward computes them again, layer by layer (Chen et al. 2016, arXiv 1604.06174)."""
        self.spared, self.body = memory.checkpoint(self.model), Whole(self.model)  # transformers' layers keep what they are told to

    def micro(self, groups: Sequence[Group], *, whole: bool = False) -> list[slice]:
        """How to cut a batch so that each forward and backward fits in memory and, unless it is to be ``whole``, in a CPU's caches."""
        hidden, beside = self.model.config.hidden_size, threads.count(self.device)
        undivided = whole or self.device.type != "cpu"
        number = 1 if undivided else memory.cached(groups, hidden, learning=torch.is_grad_enabled())
        return [
            slice(run.start + part.start, run.start + part.stop)
            for run in shards.balanced(groups, number)
            for part in memory.slices(groups[run], self.shape.layers, hidden, beside=beside)
        ]

    def holds(self, groups: Sequence[Group], times: int) -> bool:
        """Whether memory holds what a backward over a batch needs so many times at once."""
        return len(memory.slices(groups, self.shape.layers, self.model.config.hidden_size, beside=times * threads.count(self.device))) == 1

    def _fitting(self, longest: int, samples: int, max_tokens: int) -> int:
        return memory.sampling_rows(self.model, prompt=longest, samples=samples, max_tokens=max_tokens)
