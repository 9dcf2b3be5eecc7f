"""Attention inside groups on a GPU: one call of torch's variable-length flash attention, without padding and without a mask.

A prompt is a sequence of its own; a response's queries meet the keys of its prompt and of itself, gathered side by side. The mask is
causal from the last key back, so that the first token of a response sees its whole prompt. Flash attention wants half precision, and
what a version of torch or a card really computes is tried once: where it is missing or wrong, padded buckets with a mask remain.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from functools import lru_cache
from itertools import accumulate
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

logger = logging.getLogger(__name__)
HALF = (torch.bfloat16, torch.float16)
CAUSAL = (-1, 0)  # everything before, nothing behind
_allowed = [True]
EXACT = 0.02  # of bfloat16, whose last bit is .008 of a number


class Sequences(NamedTuple):
    """Where the keys of each sequence lie in the row, (keys,), and where sequences of queries and of keys begin, (sequences + 1,)."""

    keys: Tensor
    query_starts: Tensor
    key_starts: Tensor
    longest_query: int
    longest_key: int

    @property
    def products(self) -> int:
        """Query-key products per head, those that the mask leaves out included."""
        return int(((self.query_starts[1:] - self.query_starts[:-1]) * (self.key_starts[1:] - self.key_starts[:-1])).sum())

    def attend(self, query: Tensor, key: Tensor, value: Tensor, scaling: float) -> Tensor:
        """(1, heads, N, d), keys and values with as many heads or a divisor of it, to (1, N, heads, d)."""
        q, k, v = (x[0].transpose(0, 1) for x in (query, key, value))
        k, v = k.index_select(0, self.keys), v.index_select(0, self.keys)
        bounds = (self.query_starts, self.key_starts, self.longest_query, self.longest_key)
        return _kernel()(q, k, v, *bounds, scale=scaling, window_size=CAUSAL, enable_gqa=q.shape[1] != k.shape[1])[None]  # type: ignore[no-any-return]


def sequences(segments: Sequence[Sequence[int]], device: torch.device) -> Sequences:
    """The sequences of a row of groups, from what each of their tokens is: 0 the prompt, 1 the first response, ... (``Packed``)."""
    keys: list[int] = []
    queries, lengths, start = [], [], 0
    for segment in segments:
        prompt = range(start, start + segment.count(0))
        first = prompt.stop
        for number in range(max(segment, default=0) + 1):
            size = segment.count(number)
            own = prompt if number == 0 else range(first, first := first + size)
            queries.append(size)
            lengths.append(size if number == 0 else len(prompt) + size)
            keys += [*own] if number == 0 else [*prompt, *own]
        start += len(segment)
    starts, bounds = (torch.tensor([0, *accumulate(sizes)], dtype=torch.int32, device=device) for sizes in (queries, lengths))
    return Sequences(torch.tensor(keys, device=device), starts, bounds, max(queries, default=0), max(lengths, default=0))


def allow(yes: bool) -> None:
    """Whether this process may attend by sequences at all; padded buckets always remain."""
    _allowed[0] = yes


def usable(x: Tensor) -> bool:
    """Whether attention to a tensor like this goes by sequences: on a GPU, in half precision, where a trial was right."""
    return _allowed[0] and x.device.type == "cuda" and x.dtype in HALF and _tried(x.device, x.dtype, x.shape[-1])


@lru_cache
def _tried(device: torch.device, dtype: torch.dtype, size: int) -> bool:
    try:
        wrong = error(device, dtype, size)
    except Exception as failure:
        logger.info("padded attention is used, for variable-length attention fails here: %s", failure)
        return False
    if not wrong <= EXACT:
        logger.info("padded attention is used, for variable-length attention is off by %.2g here", wrong)
    return wrong <= EXACT


def error(device: torch.device, dtype: torch.dtype, size: int) -> float:
    """The largest difference from masked attention over one group of two responses, outputs and gradients, by the largest value."""
    draw = torch.Generator().manual_seed(0)
    segment = [0] * 5 + [1] * 3 + [2] * 4
    q, k, v = (torch.randn((1, 4, len(segment), size), generator=draw).to(device, dtype).requires_grad_() for _ in range(3))
    kinds, places = torch.tensor(segment, device=device), torch.arange(len(segment), device=device)
    mask = (places[:, None] >= places) & ((kinds[:, None] == kinds) | (kinds == 0))
    plain = F.scaled_dot_product_attention(q, k, v, mask, scale=0.3).transpose(1, 2)
    found = sequences([segment], device).attend(q, k, v, 0.3)
    weights = torch.randn(found.shape, generator=draw).to(device, dtype)
    ours, theirs = (torch.autograd.grad((each * weights).sum(), (q, k, v)) for each in (found, plain))
    pairs = zip((found, *ours), (plain, *theirs), strict=True)
    return max(float((a - b).detach().abs().max() / b.detach().abs().max()) for a, b in pairs)


def _kernel() -> Callable[..., Any]:
    from torch.nn.attention.varlen import varlen_attn

    return varlen_attn
