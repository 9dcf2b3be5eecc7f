"""Flat packing: every token of a batch in one row, each prompt once for all its responses, and the attention that keeps them apart.

Linear layers run on ``(1, N)`` tokens without padding. Inside attention the tokens of each group are laid out as one padded row beside
groups of similar length, so the cost is that of the groups and not of N squared. The attention is handed to transformers through its
``AttentionInterface``; which tokens see which is decided by the ``layout`` that travels with the forward call.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Protocol

import torch
from torch import Tensor

from harness.models import kernels
from harness.models.attention import BUCKET_COST, SHAPE_COST, Bucket, Gathering, bucketed
from harness.types import Group

ATTENTION = "harness_layout"


class Layout(Protocol):
    """Decides which tokens see which: queries (1, heads, N, d), keys and values (1, kv heads, N, d) to an output (1, N, heads, d)."""

    def attend(self, layer: int, query: Tensor, key: Tensor, value: Tensor, scaling: float) -> Tensor:
        """The attention's output for every token of the row."""
        ...


@dataclass
class Packed:
    """A batch of groups as one flat row. ``segments`` say of each group's tokens what they are: 0 the prompt, 1 the first response, ...

    ``targets`` are the response tokens, ``sources`` the flat positions whose hidden states predict them, ``own`` their own positions.
    When ``keep`` is a list, the padded keys and values of each layer are appended to it (the prompt's part of a KV cache), and all
    groups share one bucket.
    """

    ids: Tensor
    positions: Tensor
    segments: Sequence[Sequence[int]]
    targets: Tensor
    sources: Tensor
    own: Tensor
    lengths: Tensor
    keep: list[tuple[Tensor, Tensor]] | None = field(default=None)
    _gatherings: dict[int, Gathering] = field(default_factory=dict)

    def attend(self, layer: int, query: Tensor, key: Tensor, value: Tensor, scaling: float) -> Tensor:
        """Attention inside each group, (1, N, heads, d)."""
        queries, keys, values = (self._spread(x) for x in (query, key, value))
        if self.keep is not None:
            self.keep.append((keys[0], values[0]))
        parts = zip(self.buckets, queries, keys, values, strict=True)
        explicit = kernels.explicit(query)
        outputs = [bucket.attend(q, k, v, scaling, explicit=explicit) for bucket, q, k, v in parts]
        if self._dense:
            return outputs[0].transpose(1, 2).flatten(0, 1).unsqueeze(0)
        return self._gathering(query).collect(outputs)

    @cached_property
    def buckets(self) -> list[Bucket]:
        """The groups by similar length, each bucket one padded computation."""
        return [bucket for bucket, _ in self._laid_out]

    @property
    def attended(self) -> int:
        """Query-key products per head that the kernels really compute."""
        return sum(bucket.products for bucket in self.buckets)

    @cached_property
    def _laid_out(self) -> list[tuple[Bucket, Tensor]]:
        lengths, device = [len(segment) for segment in self.segments], self.ids.device
        starts = torch.tensor(lengths).cumsum(0) - torch.tensor(lengths)
        together = self.keep is not None or device.type != "cpu"
        cost = BUCKET_COST if kernels.in_use() == "default" else BUCKET_COST + SHAPE_COST
        members = [list(range(len(lengths)))] if together else bucketed(lengths, cost)
        found = []
        for each in members:
            segments = [self.segments[i] for i in each]
            rows, mask, present = _bucket(segments, starts[each], rounded=self.keep is None)
            found.append((Bucket(rows.to(device), mask.to(device), not any(map(any, segments))), present.to(device)))
        return found

    @cached_property
    def _dense(self) -> bool:
        """Whether the row already is one bucket without padding, as that of a single group is."""
        return len(self.buckets) == 1 and self.buckets[0].rows.numel() == self.ids.numel()

    def _spread(self, x: Tensor) -> list[Tensor]:
        """(1, heads, tokens, d) to (groups, heads, longest, d) of each bucket."""
        if self._dense:
            return [torch.unflatten(x[0], 1, self.buckets[0].rows.shape).transpose(0, 1)]
        return self._gathering(x).spread(x)

    def _gathering(self, x: Tensor) -> Gathering:
        heads = x.shape[1]
        if heads not in self._gatherings:
            self._gatherings[heads] = Gathering(self.buckets, [present for _, present in self._laid_out], x.shape[2], heads)
        return self._gatherings[heads]


def pack(groups: Sequence[Group], device: torch.device) -> Packed:
    """The groups as one flat row: prompt, first response, second response, ...; position ids restart after the prompt.

    Where shapes are rounded (``kernels.rounded``), tokens in no group fill the row up.
    """
    ids: list[int] = []
    positions: list[int] = []
    own: list[int] = []
    sources: list[int] = []
    segments: list[list[int]] = []
    for group in groups:
        start, length = len(ids), len(group.prompt)
        ids += group.prompt
        positions += range(length)
        segment = [0] * length
        for number, response in enumerate(group.responses, 1):
            first = len(ids)
            ids += response
            positions += range(length, length + len(response))
            own += range(first, len(ids))
            sources += [start + length - 1, *range(first, len(ids) - 1)][: len(response)]
            segment += [number] * len(response)
        segments.append(segment)
    lengths = [len(r) for g in groups for r in g.responses]
    filling = [0] * (kernels.rounded(len(ids)) - len(ids))
    tensor = torch.tensor(ids + filling)
    return Packed(
        tensor.unsqueeze(0).to(device),
        torch.tensor(positions + filling).unsqueeze(0).to(device),
        segments,
        tensor[own].to(device),
        torch.tensor(sources, dtype=torch.long).to(device),
        torch.tensor(own, dtype=torch.long).to(device),
        torch.tensor(lengths, dtype=torch.long).to(device),
    )


def _bucket(segments: Sequence[Sequence[int]], starts: Tensor, *, rounded: bool) -> tuple[Tensor, Tensor, Tensor]:
    """(groups, longest) flat positions, the (groups, longest, longest) mask: True may be attended, and which cells hold a token."""
    lengths = torch.tensor([len(s) for s in segments])
    longest = int(lengths.max())
    columns = torch.arange(kernels.rounded(longest) if rounded else longest)
    present = columns < lengths.unsqueeze(1)
    rows = torch.where(present, starts.unsqueeze(1) + columns, torch.zeros((), dtype=torch.long))
    segment = torch.full(present.shape, -1)
    segment[present] = torch.tensor([s for row in segments for s in row])
    causal = columns.unsqueeze(1) >= columns
    same = segment.unsqueeze(2) == segment.unsqueeze(1)
    # A padding row keeps its diagonal: a row with nothing to attend to is NaN, and NaN times a zero gradient is NaN.
    return rows, causal & (same | (segment == 0).unsqueeze(1)), present


def _layout_attention(
    module: Any, query: Tensor, key: Tensor, value: Tensor, attention_mask: Tensor | None, scaling: float | None = None, **kwargs: Any
) -> tuple[Tensor, None]:
    layout: Layout = kwargs["layout"]
    scale = query.shape[-1] ** -0.5 if scaling is None else scaling
    return layout.attend(module.layer_idx, query, key, value, scale), None


def register_attention() -> None:
    """Make the layout attention known to transformers under ``ATTENTION``; calling it again changes nothing."""
    from transformers import AttentionInterface

    AttentionInterface.register(ATTENTION, _layout_attention)
