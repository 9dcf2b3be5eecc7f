"""A policy whose distribution is a table: the next token depends on the prompt alone, so all of its responses can be enumerated.

It is no transformers model, but a ``Metered`` takes it like one. It starts as the reference: what is learnt is added to its logits. A
table learns a number for every prompt and response; a small network shares its weights among prompts, so that not every policy can be
written. Tokens that are no response have no probability.
"""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import torch
from torch import Tensor, nn

from harness.models.decoding import Decoding
from harness.models.head import MASKED_LOGIT
from harness.models.packing import Packed


class Enumerable(nn.Module):
    """Logits of ``reference``, (prompts, responses), plus what is learnt; ids below ``first`` are special, then prompts, then responses.

    ``hidden`` units of a network with one hidden layer, or 0 for a table. A state is a prompt, or a prompt with its response, which a
    reward model reads. It is its own body (``models.bodies.Body``), for it has no attention that a layout would arrange.
    """

    start: Tensor  # logits of each state before anything is learnt, (states, responses)

    def __init__(self, reference: Tensor, *, first: int, hidden: int = 0, seed: int = 0) -> None:
        super().__init__()
        prompts, responses = reference.shape
        self.first, self.responses = first, responses
        states = prompts * (1 + responses)
        self.register_buffer("start", torch.cat([reference, reference.new_zeros(prompts * responses, responses)]))
        self.learnt = _table(states, responses) if not hidden else _network(states, responses, hidden, seed)
        self.head = _Responses(first + prompts, responses)
        self.to(reference.dtype)
        self.config = SimpleNamespace(
            model_type="enumerable",
            hidden_size=responses,
            num_hidden_layers=1,
            num_attention_heads=1,
            head_dim=1,
            vocab_size=first + prompts + responses,
        )

    @property
    def base_model(self) -> Enumerable:
        """Itself: what a transformers model calls what is below its output head."""
        return self

    @property
    def device(self) -> torch.device:
        """Where the weights are."""
        return next(self.parameters()).device

    @property
    def dtype(self) -> torch.dtype:
        """What the weights are stored in."""
        return next(self.parameters()).dtype

    def get_output_embeddings(self) -> nn.Module:
        """The head that spreads states over token ids."""
        return self.head

    def run(self, packed: Packed, places: Tensor) -> Tensor:
        """See ``Body``: states of the tokens at ``places``, (places, responses); one that is a response's knows the prompt before it."""
        ids = packed.ids[0]
        before = torch.zeros_like(ids)
        before[packed.own] = ids[packed.sources]
        if packed.keep is not None:  # nothing is attended to, but a sampler expects keys and values of one layer
            rows, longest = len(packed.segments), max(map(len, packed.segments))
            packed.keep.append((self._nothing(rows, longest), self._nothing(rows, longest)))
        return self._states(before[places], ids[places])

    def say(self, ids: Tensor, positions: Tensor, cache: Decoding) -> Tensor:
        """See ``Body``; nothing follows a response, so this is asked only where a caller allows more than one token."""
        return self._states(torch.zeros_like(ids), ids)

    def skipped(self, packed: Packed, places: int, *, frozen: bool = False) -> float:
        """See ``Body``."""
        return 0.0

    def _nothing(self, rows: int, longest: int) -> Tensor:
        return torch.zeros(rows, 1, longest, 1, dtype=self.dtype, device=self.device)

    def _states(self, before: Tensor, ids: Tensor) -> Tensor:
        """A prompt's own row, or that of the prompt ``before`` with the response: what is neither counts as the first prompt."""
        prompts = len(self.start) // (1 + self.responses)
        column = ids - self.first - prompts
        alone, owner = ((each - self.first).clamp(0, prompts - 1) for each in (ids, before))
        state = torch.where(column >= 0, prompts + owner * self.responses + column.clamp(min=0), alone)
        found: Tensor = self.start[state] + self.learnt(state)
        return found


class _Responses(nn.Module):
    """Scatters one logit per response over all token ids; nothing of it is learnt, so it holds buffers and no parameters."""

    weight: Tensor
    bias: Tensor

    def __init__(self, before: int, responses: int) -> None:
        super().__init__()
        eye = torch.eye(responses)
        self.register_buffer("weight", torch.cat([torch.zeros(before, responses), eye]))
        self.register_buffer("bias", torch.cat([torch.full((before,), MASKED_LOGIT), torch.zeros(responses)]))

    def forward(self, states: Tensor) -> Tensor:
        return nn.functional.linear(states, self.weight, self.bias)


def _table(states: int, responses: int) -> nn.Module:
    table = nn.Embedding(states, responses)
    nn.init.zeros_(table.weight)
    return table


def _network(states: int, responses: int, hidden: int, seed: int) -> nn.Module:
    """A vector per state, one hidden layer of as many units, and a last layer of zeros, so that it starts as the reference."""
    generator = torch.Generator().manual_seed(seed)
    vectors, inner, last = nn.Embedding(states, hidden), nn.Linear(hidden, hidden), nn.Linear(hidden, responses)
    nn.init.normal_(vectors.weight, generator=generator)
    nn.init.normal_(inner.weight, std=hidden**-0.5, generator=generator)
    for zero in (inner.bias, last.weight, last.bias):
        nn.init.zeros_(zero)
    return nn.Sequential(vectors, inner, nn.Tanh(), last)


def log_probs(model: Any, prompts: int) -> Tensor:
    """Log pi(y | x) of every prompt and response, (prompts, responses), without gradients."""
    with torch.no_grad():
        states = torch.arange(prompts, device=model.device)
        found: Tensor = (model.start[states] + model.learnt(states)).log_softmax(-1)
        return found
