"""The one sampler: pre-allocated KV cache, each prompt's keys and values shared by all its samples, log-probs kept.

A row draws its tokens by numbers of its own, one for each step, made before anything is sampled. So what a prompt is answered with depends
on the generator and on its place among the prompts alone: not on how prompts are sorted, cut into chunks or dropped once they have ended.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from harness.models import threads
from harness.models.bodies import Body, read
from harness.models.decoding import Decoding, decoding
from harness.models.packing import Past
from harness.types import Sample

Prompt = tuple[int, ...]


class Speaker(NamedTuple):
    """A model's body, its output head (logits of hidden states, what may not be said masked out), the token that ends a response; where."""

    body: Body
    head: Callable[[Tensor], Tensor]
    eos: int
    device: torch.device


class Said(NamedTuple):
    """Tokens (rows, longest), EOS after the end, and their log-probs in nats, 0 after the end."""

    tokens: Tensor
    logps: Tensor


def sample(
    speaker: Speaker,
    prompts: Sequence[Prompt],
    *,
    samples: int,
    max_tokens: int,
    temperature: float,
    generator: torch.Generator,
    fitting: Callable[[int], int],
    past: Past | None = None,
) -> list[list[Sample]]:
    """Responses to every prompt, [prompt][sample]. ``fitting(longest)`` is how many prompts of so many tokens fit in memory at once.

    ``past`` are these prompts where they were read before.

    Temperature 0 is greedy; the log-probs kept are those of the distribution sampled from (of the untempered one under greedy decoding).
    Raises FloatingPointError where the model's probabilities are no numbers.
    """
    uniform = torch.rand(len(prompts), samples, max_tokens, dtype=torch.float64, generator=generator)

    def speak(chunk: list[int]) -> list[list[Sample]]:
        lengths, last, kept = past or read(speaker.body, [prompts[i] for i in chunk], speaker.device)
        cache = decoding(kept, lengths, samples, max_tokens)
        said = decode(speaker, last, cache, lengths, uniform[chunk].flatten(0, 1).to(speaker.device), temperature)
        return _samples(said, speaker.eos, samples)

    places = [list(range(len(prompts)))] if past else chunks(prompts, fitting, threads.count(speaker.device))
    found: list[list[Sample]] = [[] for _ in prompts]
    for chunk, spoken in zip(places, threads.together(speak, places, speaker.device), strict=True):
        for place, rows in zip(chunk, spoken, strict=True):
            found[place] = rows
    return found


def chunks(prompts: Sequence[Prompt], fitting: Callable[[int], int], beside: int = 1) -> list[list[int]]:
    """The prompts' places, the longest first, in chunks that fit in memory (one prompt at least), ``beside`` at a time, and pad little."""
    order, found, most = sorted(range(len(prompts)), key=lambda i: -len(prompts[i])), [], math.ceil(len(prompts) / beside)
    while order:
        size = max(1, min(most, fitting(len(prompts[order[0]])) // beside))
        found.append(order[:size])
        order = order[size:]
    return found


def decode(speaker: Speaker, last: Tensor, cache: Decoding, lengths: Tensor, uniform: Tensor, temperature: float) -> Said:
    """What every row says after its prompt. ``last`` are the hidden states after the prompts, ``uniform`` (rows, longest) the draws."""
    said = Said(torch.full(uniform.shape, speaker.eos, device=last.device), torch.zeros_like(uniform))
    rows = torch.arange(len(uniform), device=last.device)
    positions = lengths.repeat_interleave(cache.samples)
    logits = speaker.head(last).repeat_interleave(cache.samples, 0)
    alive = torch.ones(len(rows), dtype=torch.bool, device=last.device)
    for step in range(uniform.shape[1]):
        token, logp = draw(logits, temperature, uniform[rows, step])
        said.tokens[rows, step] = torch.where(alive, token, speaker.eos)
        said.logps[rows, step] = torch.where(alive, logp, 0.0)
        alive = alive & (token != speaker.eos)
        if step + 1 == uniform.shape[1] or not bool(alive.any()):
            break
        cache.step = step
        if (kept := cache.shrink(alive)) is not None:
            rows, token, alive = rows[kept], token[kept], alive[kept]
        logits = speaker.head(speaker.body.say(token, positions[rows] + step, cache))
    return said


def draw(logits: Tensor, temperature: float, uniform: Tensor) -> tuple[Tensor, Tensor]:
    """One token per row of logits (rows, vocabulary) and its log-prob (nats), float64; no top-p, no top-k.

    The token where the cumulative probability first exceeds the row's uniform number (the inverse of the distribution function).
    """
    logits = logits if temperature in (0, 1) else logits / temperature
    top = logits.amax(-1, keepdim=True)
    cumulative = (logits - top).exp().cumsum(-1, dtype=torch.float64)
    total = cumulative[:, -1:]
    if bool(total.isnan().any()):
        raise FloatingPointError("the model's next-token probabilities are not numbers")
    if temperature == 0:
        token = logits.argmax(-1, keepdim=True)
    else:  # rounding can take the product up to the whole, beyond the last token
        token = torch.searchsorted(cumulative, uniform.unsqueeze(1) * total, right=True).clamp_(max=logits.shape[1] - 1)
    logp = (logits.gather(1, token) - top).double() - total.log()
    return token.squeeze(1), logp.squeeze(1)


def _samples(said: Said, eos: int, samples: int) -> list[list[Sample]]:
    rows = []
    for ids, row in zip(said.tokens.tolist(), said.logps.tolist(), strict=True):
        finished = eos in ids
        length = ids.index(eos) + 1 if finished else len(ids)
        rows.append(Sample(tuple(ids[:length]), tuple(row[:length]), finished))
    return [rows[i : i + samples] for i in range(0, len(rows), samples)]
