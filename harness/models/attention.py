"""Attention inside groups: tokens of one flat row gathered into buckets of similar length, attended to, and gathered back.

Two ways to compute the same thing: torch's fused attention, and explicit products with a softmax between them, which is the faster one
where oneDNN multiplies (harness/models/kernels.py).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

# Query-key products that one more bucket costs in calls of small kernels: 0.15 ms a layer against 4 ns a product and head, of 4 heads.
BUCKET_COST = 10_000
# And what its own shapes cost where every new shape does (``kernels.rounded``): 6 products of 0.5 ms, shared by few layers.
SHAPE_COST = 60_000


@dataclass(frozen=True)
class Bucket:
    """Groups attended to together: ``rows`` (groups, longest) flat positions, ``mask`` (groups, longest, keys): True may be attended.

    There are as many keys as tokens in a group, or more in front where what came before was read before.
    ``causal`` where every group is a prompt alone: padding comes last, so that each token may see all before it, and half is not computed.
    """

    rows: Tensor
    mask: Tensor
    causal: bool = False

    @cached_property
    def bias(self) -> Tensor:
        """The mask as what is added to scores, (groups, 1, 1, longest, keys): 0, or minus infinity."""
        zeros = torch.zeros(self.mask.shape, device=self.mask.device)
        return zeros.masked_fill_(~self.mask, float("-inf"))[:, None, None]

    @property
    def products(self) -> int:
        """Query-key products per head."""
        return self.mask.numel()

    def attend(self, query: Tensor, key: Tensor, value: Tensor, scaling: float, *, explicit: bool) -> Tensor:
        """Queries (groups, heads, longest, d), keys and values with their own heads, a divisor, and length, to an output like queries."""
        if explicit:
            return attend_explicitly(query, key, value, self.bias.to(torch.promote_types(query.dtype, torch.float32)), scaling)
        shared, mask = query.shape[1] != key.shape[1], None if self.causal else self.mask.unsqueeze(1)
        return F.scaled_dot_product_attention(query, key, value, mask, is_causal=self.causal, scale=scaling, enable_gqa=shared)


def attend_explicitly(query: Tensor, key: Tensor, value: Tensor, bias: Tensor, scaling: float) -> Tensor:
    """softmax(scaling q k^T + bias) v by two batched products; scores in float32 at least. Heads that share keys are rows of one."""
    groups, heads, longest, size = query.shape
    shared, keys = heads // key.shape[1], key.shape[2]
    exact = torch.promote_types(query.dtype, torch.float32)
    q = (query.to(exact) * scaling).reshape(-1, shared * longest, size)
    k, v = key.to(exact).reshape(-1, keys, size), value.reshape(-1, keys, size)
    with torch.autocast(query.device.type, enabled=False):  # the last bit of a score of 40 is a quarter in bfloat16
        scores = torch.bmm(q, k.transpose(1, 2)).view(groups, -1, shared, longest, keys)
    weights = scores.add_(bias).softmax(-1).to(v.dtype)
    return torch.bmm(weights.view(-1, shared * longest, keys), v).view(query.shape)


class Gathering:
    """Where a flat row's tokens stand in buckets, for one number of heads; gathers there and back, without adding up in either direction.

    Cells are ordered by bucket, group, head and position, so that each bucket's part is one contiguous block. Tokens in no bucket, which
    fill the row up, get anybody's output and no gradient.
    """

    def __init__(self, buckets: Sequence[Bucket], present: Sequence[Tensor], tokens: int, heads: int) -> None:
        head = torch.arange(heads, device=buckets[0].rows.device)[:, None]
        cells = torch.cat([(bucket.rows[:, None] * heads + head).flatten() for bucket in buckets])
        filled = torch.cat([there[:, None].expand(-1, heads, -1).flatten() for there in present])
        taken = filled.nonzero().squeeze(1)
        kept = cells.index_select(0, taken)
        self.there, self.padding = cells, (~filled).nonzero().squeeze(1)
        self.back = torch.zeros(tokens * heads, dtype=torch.long, device=cells.device).index_copy_(0, kept, taken)
        missing = torch.ones(tokens * heads, dtype=torch.bool, device=cells.device).index_fill_(0, kept, False)
        self.missing = missing.nonzero().squeeze(1)
        self.shapes = [(len(b.rows), heads, b.rows.shape[1]) for b in buckets]

    def spread(self, x: Tensor) -> list[Tensor]:
        """(1, heads, tokens, d) to (groups, heads, longest, d) of each bucket; padding cells repeat token 0."""
        flat = _moved(x[0].transpose(0, 1).reshape(-1, x.shape[-1]), self.there, self.back, self.missing)
        parts = torch.split(flat, [groups * heads * longest for groups, heads, longest in self.shapes])
        return [part.view(*shape, -1) for part, shape in zip(parts, self.shapes, strict=True)]

    def collect(self, parts: Sequence[Tensor]) -> Tensor:
        """The buckets' outputs as (1, tokens, heads, d)."""
        size = parts[0].shape[-1]
        cells = torch.cat([part.reshape(-1, size) for part in parts]) if len(parts) > 1 else parts[0].reshape(-1, size)
        return _moved(cells, self.back, self.there, self.padding).view(1, -1, parts[0].shape[1], size)


class _Moved(torch.autograd.Function):
    """Rows moved by an index whose inverse is known, so that the gradient is moved back and not added up.

    ``absent`` are the rows that the move leaves out: their gradient is zero. Rows that it repeats are padding, which nothing reads.
    """

    @staticmethod
    def forward(ctx: Any, x: Tensor, index: Tensor, inverse: Tensor, absent: Tensor) -> Tensor:
        ctx.inverse, ctx.absent = inverse, absent
        return x.index_select(0, index)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None, None, None]:
        moved = gradient.index_select(0, ctx.inverse)
        return (moved.index_fill_(0, ctx.absent, 0.0) if len(ctx.absent) else moved), None, None, None


def _moved(x: Tensor, index: Tensor, inverse: Tensor, absent: Tensor) -> Tensor:
    return _Moved.apply(x, index, inverse, absent)  # type: ignore[no-any-return, no-untyped-call]


def bucketed(lengths: Sequence[int], cost: int) -> list[list[int]]:
    """Indices of groups in buckets, the cheapest way to cut the order of lengths; ``cost``, of a bucket, keeps small batches in one."""
    order = sorted(range(len(lengths)), key=lengths.__getitem__)
    longest = np.array([lengths[index] for index in order], dtype=np.int64)
    if len(order) * int(longest[-1] ** 2 - longest[0] ** 2) <= cost:
        return [list(range(len(order)))]
    best, cut = np.zeros(len(order) + 1, dtype=np.int64), [0]
    for end in range(1, len(order) + 1):
        costs = best[:end] + (end - np.arange(end)) * longest[end - 1] ** 2 + cost
        cut.append(int(costs.argmin()))
        best[end] = costs[cut[-1]]
    found, end = [], len(order)
    while end > 0:
        found.append(sorted(order[cut[end] : end]))
        end = cut[end]
    return found[::-1]
