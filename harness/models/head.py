"""The output head: hidden states to logits, and to log-probs of chosen tokens without ever holding all logits of a large vocabulary.

log pi(y) = z_y - logsumexp(z) with z = W h. What is kept for the backward is h and the logsumexp of each position; the logits of a chunk
are computed once more there: p = exp(z - logsumexp(z)), dz = (1[y] - p) g.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from harness.models import kernels, precision
from harness.models.readings import chosen

MASKED_LOGIT = -1e9  # finite, so that p log p of a masked token is 0 and not NaN
CHUNK = 8_000_000  # logits held at once, 32 MB of float32; below four times as many nothing is gained by cutting


class OutputHead:
    """The output head of a model; ``masked`` is a token that no distribution of ours may emit, if there is one."""

    def __init__(self, model: Any, masked: int | None) -> None:
        self.model, self.masked = model, masked
        self._mask: Tensor | None = None

    def logits(self, hidden: Tensor) -> Tensor:
        """(positions, vocabulary), float32 at least."""
        with precision.of(self.model):
            logits = self.model.get_output_embeddings()(hidden)
        logits = logits.to(precision.wide(logits.dtype))
        return logits if self.masked is None else logits + self.mask(logits)  # type: ignore[no-any-return]

    def log_probs(self, hidden: Tensor) -> Tensor:
        """(positions, vocabulary), nats; whoever needs them whole asks for a part of the positions at a time (``parts``)."""
        return self.logits(hidden).log_softmax(-1)

    def chosen(self, states: Tensor, targets: Tensor, entropies: bool) -> tuple[Tensor, Tensor]:
        """The log-prob of each target and the entropy of its distribution, (positions,); see ``readings.chosen``."""
        more = kernels.rounded(len(targets)) - len(targets)
        states, filled = F.pad(states, (0, 0, 0, more)), F.pad(targets, (0, more))
        found = self._in_chunks if self.cut(len(filled)) else self._at_once
        logps, spread = found(states, filled, entropies)
        return logps[: len(targets)], spread[: len(targets)]

    def _at_once(self, states: Tensor, targets: Tensor, entropies: bool) -> tuple[Tensor, Tensor]:
        return chosen(self.log_probs(states), targets, entropies)

    def _in_chunks(self, states: Tensor, targets: Tensor, entropies: bool) -> tuple[Tensor, Tensor]:
        head = self.model.get_output_embeddings()
        dtype = torch.bfloat16 if precision.mixed(self.model) else states.dtype
        weight, bias = (None if x is None else x.to(dtype) for x in (head.weight, head.bias))
        mask = None if self.masked is None else self.mask(states.new_empty(0, len(head.weight), dtype=precision.wide(dtype)))
        size = self._chunk()
        return _Chosen.apply(states.to(dtype), weight, bias, mask, targets, entropies, size)  # type: ignore[no-any-return, no-untyped-call]

    def cut(self, positions: int) -> bool:
        """Whether log-probs of so many positions are computed in chunks: a plain linear head, and more logits than should be held."""
        head = self.model.get_output_embeddings()
        return type(head) is nn.Linear and positions * len(head.weight) > 4 * CHUNK

    def parts(self, positions: int) -> list[slice]:
        """How to cut positions so that few logits are held at once; one part where that gains nothing."""
        return list(_parts(positions, self._chunk())) if self.cut(positions) else [slice(0, positions)]

    def _chunk(self) -> int:
        return max(1, CHUNK // len(self.model.get_output_embeddings().weight))

    def mask(self, logits: Tensor) -> Tensor:
        """(vocabulary,): 0, and a large negative number at the masked token."""
        if self._mask is None or self._mask.dtype != logits.dtype or self._mask.device != logits.device:
            mask = logits.new_zeros(logits.shape[-1])
            mask[self.masked] = MASKED_LOGIT
            self._mask = mask  # whole, for another thread may be reading it
        return self._mask


class _Chosen(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, states: Tensor, weight: Tensor, bias: Tensor | None, mask: Tensor | None, targets: Tensor, entropies: bool, size: int
    ) -> tuple[Tensor, Tensor]:
        wide = precision.wide(states.dtype)
        norms, logps, spread = (states.new_zeros(len(states), dtype=wide) for _ in range(3))
        for part in _parts(len(states), size):
            logits = _logits(states[part], weight, bias, mask)
            norms[part] = logits.logsumexp(-1)
            logps[part] = logits.gather(1, targets[part, None]).squeeze(1) - norms[part]
            if entropies:
                spread[part] = norms[part] - ((logits - norms[part, None]).exp_() * logits).sum(-1)
        ctx.save_for_backward(states, weight, bias, mask, targets, norms)
        ctx.size = size
        ctx.mark_non_differentiable(spread)
        return logps, spread

    @staticmethod
    def backward(ctx: Any, gradient: Tensor, _: Tensor) -> tuple[Tensor | None, ...]:
        states, weight, bias, mask, targets, norms = ctx.saved_tensors
        learnt = ctx.needs_input_grad[1]  # not under an adapter
        to_states, to_weight = torch.empty_like(states), torch.zeros_like(weight, dtype=norms.dtype) if learnt else None
        to_bias = torch.zeros_like(bias, dtype=norms.dtype) if learnt and bias is not None else None
        for part in _parts(len(states), ctx.size):
            slopes = (_logits(states[part], weight, bias, mask) - norms[part, None]).exp_().mul_(-gradient[part, None])
            slopes.scatter_add_(1, targets[part, None], gradient[part, None])
            if to_bias is not None:
                to_bias += slopes.sum(0)
            slopes = slopes.to(weight.dtype)
            to_states[part] = slopes @ weight
            if to_weight is None:
                continue
            if slopes.dtype == to_weight.dtype:
                to_weight.addmm_(slopes.t(), states[part])
            else:
                to_weight += slopes.t() @ states[part]
        found = tuple(None if each is None else each.to(weight.dtype) for each in (to_weight, to_bias))
        return to_states, *found, None, None, None, None


def _logits(states: Tensor, weight: Tensor, bias: Tensor | None, mask: Tensor | None) -> Tensor:
    """(positions, vocabulary), float32 at least."""
    logits = nn.functional.linear(states, weight, bias)
    logits = logits.to(precision.wide(logits.dtype))
    return logits if mask is None else logits.add_(mask)


def _parts(positions: int, size: int) -> Iterator[slice]:
    return (slice(start, start + size) for start in range(0, positions, size))
