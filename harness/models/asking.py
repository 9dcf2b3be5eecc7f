"""Queries of some tokens alone: nothing reads what the last layer's attention gives the others, whose keys and values are all it needs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor

from harness.models.attention import Bucket, Gathering


@dataclass
class Asking:
    """Some tokens of a row as the only ones that attend: buckets of their queries, masked as those tokens are, over the groups' keys."""

    buckets: list[Bucket]
    present: list[Tensor]
    places: Tensor
    _gatherings: dict[int, Gathering] = field(default_factory=dict)

    @classmethod
    def of(cls, places: Tensor, segments: Sequence[Sequence[int]], buckets: Sequence[Bucket], members: Sequence[Sequence[int]]) -> Asking:
        """The queries at these places of a row on a CPU; what fills a row up asks with the first group."""
        ends = torch.tensor([len(segment) for segment in segments]).cumsum(0)
        group = torch.bucketize(places, ends, right=True).clamp_(max=len(segments) - 1)
        order, counts = group.argsort(stable=True), group.bincount(minlength=len(segments))
        first, starts = counts.cumsum(0) - counts, torch.cat([ends.new_zeros(1), ends[:-1]])
        made, found = [], []
        for bucket, each in zip(buckets, members, strict=True):
            columns = torch.arange(int(counts[each].max()))
            present = columns < counts[each].unsqueeze(1)
            rows = torch.where(present, order[(first[each].unsqueeze(1) + columns).clamp_(max=len(places) - 1)], 0)
            inside = torch.where(present, places[rows] - starts[each].unsqueeze(1), 0)
            made.append(Bucket(rows, bucket.mask[torch.arange(len(each)).unsqueeze(1), inside]))
            found.append(present)
        return cls(made, found, places)

    @property
    def products(self) -> int:
        """Query-key products per head."""
        return sum(bucket.products for bucket in self.buckets)

    def gathering(self, query: Tensor) -> Gathering:
        """Where queries (1, heads, places, d) stand."""
        heads = query.shape[1]
        if heads not in self._gatherings:
            self._gatherings[heads] = Gathering(self.buckets, self.present, len(self.places), heads)
        return self._gatherings[heads]
