"""The one sampler: pre-allocated KV cache, each prompt's keys and values shared by all its samples, log-probs kept.

Every step is a flat ``(1, prompts x samples)`` row like the packing of training, so one attention interface serves both.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from harness.models.packing import Packed
from harness.types import Sample

Forward = Callable[[Tensor, Tensor, object], Tensor]


@dataclass
class Decoding:
    """Keys and values while decoding: ``prompts`` per layer (P, heads, longest, d), ``own`` per layer (2, P x S, heads, tokens, d)."""

    prompts: list[tuple[Tensor, Tensor]]
    present: Tensor
    own: Tensor
    samples: int
    step: int = 0

    def attend(self, layer: int, query: Tensor, key: Tensor, value: Tensor, scaling: float) -> Tensor:
        """Attention of one new token per sample to its prompt and to what it has already said, (1, N, heads, d)."""
        heads, size = key.shape[1], key.shape[-1]
        self.own[layer, 0, :, :, self.step] = key[0].transpose(0, 1)
        self.own[layer, 1, :, :, self.step] = value[0].transpose(0, 1)
        keys, values = self.own[layer, 0, :, :, : self.step + 1], self.own[layer, 1, :, :, : self.step + 1]
        q = query[0].transpose(0, 1).reshape(query.shape[2], heads, -1, size) * scaling
        prompt_keys, prompt_values = self.prompts[layer]
        shared = self._share(q)
        to_prompt = (shared @ prompt_keys.transpose(-1, -2)).masked_fill(~self.present, float("-inf"))
        scores = torch.cat([self._split(to_prompt), q @ keys.transpose(-1, -2)], -1)
        weights = scores.softmax(-1, dtype=torch.float32).to(q.dtype)
        longest = prompt_keys.shape[2]
        out = self._split(self._share(weights[..., :longest]) @ prompt_values) + weights[..., longest:] @ values
        return out.reshape(1, query.shape[2], -1, size)

    def _share(self, x: Tensor) -> Tensor:
        """(P x S, heads, repeats, d) to (P, heads, S x repeats, d): the samples of a prompt become rows of one product."""
        _, heads, repeats, size = x.shape
        return x.view(-1, self.samples, heads, repeats, size).transpose(1, 2).reshape(-1, heads, self.samples * repeats, size)

    def _split(self, x: Tensor) -> Tensor:
        """The inverse of ``_share``."""
        prompts, heads, rows, size = x.shape
        repeats = rows // self.samples
        return x.view(prompts, heads, self.samples, repeats, size).transpose(1, 2).reshape(-1, heads, repeats, size)


def decoding(packed: Packed, prompt_lengths: Tensor, samples: int, max_tokens: int) -> Decoding:
    """An empty cache behind the kept keys and values of a packed batch of prompts."""
    assert packed.keep is not None
    keys, _ = packed.keep[0]
    prompts, heads, longest, size = keys.shape
    present = torch.arange(longest, device=keys.device) < prompt_lengths.unsqueeze(1)
    own = keys.new_zeros(len(packed.keep), 2, prompts * samples, heads, max_tokens, size)
    return Decoding(packed.keep, present[:, None, None, :], own, samples)


def decode(
    forward: Forward,
    first: Tensor,
    cache: Decoding,
    lengths: Tensor,
    *,
    eos: int,
    max_tokens: int,
    temperature: float,
    generator: torch.Generator,
) -> list[list[Sample]]:
    """Samples for every prompt, [prompt][sample]. ``first`` are the logits after the prompts, (P, vocabulary).

    ``forward(ids, positions, layout)`` returns the logits of one flat row. Temperature 0 is greedy; the log-probs kept are those of the
    distribution sampled from (of the untempered one under greedy decoding), nats.
    """
    logits = first.repeat_interleave(cache.samples, 0)
    positions = lengths.repeat_interleave(cache.samples)
    alive = torch.ones(len(logits), dtype=torch.bool, device=logits.device)
    tokens, logps = [], []
    for step in range(max_tokens):
        token, logp = draw(logits, temperature, generator)
        tokens.append(torch.where(alive, token, eos))
        logps.append(torch.where(alive, logp, torch.zeros_like(logp)))
        alive = alive & (token != eos)
        if step + 1 == max_tokens or not bool(alive.any()):
            break
        cache.step = step
        logits = forward(tokens[-1].unsqueeze(0), (positions + step).unsqueeze(0), cache)
    return _samples(torch.stack(tokens, 1), torch.stack(logps, 1), eos, cache.samples)


def draw(logits: Tensor, temperature: float, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """One token per row of logits and its log-prob (nats); no top-p, no top-k."""
    log_probs = (logits if temperature in (0, 1) else logits / temperature).log_softmax(-1)
    token = log_probs.argmax(-1) if temperature == 0 else _drawn(log_probs, generator)
    return token, log_probs.gather(1, token.unsqueeze(1)).squeeze(1)


def _drawn(log_probs: Tensor, generator: torch.Generator) -> Tensor:
    """One token per row; FloatingPointError where a probability is no number: the model has diverged, nothing else is wrong."""
    try:
        return torch.multinomial(log_probs.exp(), 1, generator=generator).squeeze(1)
    except RuntimeError as error:
        if bool(log_probs.isnan().any()):
            raise FloatingPointError("the model's next-token probabilities are not numbers") from error
        raise


def _samples(tokens: Tensor, logps: Tensor, eos: int, samples: int) -> list[list[Sample]]:
    rows = []
    for ids, row in zip(tokens.tolist(), logps.tolist(), strict=True):
        finished = eos in ids
        length = ids.index(eos) + 1 if finished else len(ids)
        rows.append(Sample(tuple(ids[:length]), tuple(row[:length]), finished))
    return [rows[i : i + samples] for i in range(0, len(rows), samples)]


def split_prompts(prompts: Sequence[tuple[int, ...]], rows: int) -> list[Sequence[tuple[int, ...]]]:
    """The prompts in chunks of at most ``rows`` (at least one)."""
    size = max(1, rows)
    return [prompts[i : i + size] for i in range(0, len(prompts), size)]
