"""Queries of some tokens alone: nothing reads what the last layer's attention gives the others, whose keys and values are all it needs."""

from __future__ import annotations

from collections.abc import Sequence, Sized
from dataclasses import dataclass, field

import numpy as np
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
    def of(cls, places: Tensor, segments: Sequence[Sized], buckets: Sequence[Bucket], members: Sequence[Sequence[int]]) -> Asking:
        """The queries at these places of a row on a CPU; what fills a row up asks with the first group."""
        ends, asked = np.cumsum([len(segment) for segment in segments]), places.numpy()
        group = np.searchsorted(ends, asked, side="right").clip(max=len(segments) - 1)
        order, counts = group.argsort(kind="stable"), np.bincount(group, minlength=len(segments))
        first, starts = counts.cumsum() - counts, ends - np.diff(ends, prepend=0)
        made, found = [], []
        for bucket, each in zip(buckets, members, strict=True):
            columns = np.arange(counts[each].max())
            present = columns < counts[each][:, None]
            rows = np.where(present, order[(first[each][:, None] + columns).clip(max=len(asked) - 1)], 0)
            inside = np.where(present, asked[rows] - starts[each][:, None], 0)
            mask = bucket.mask.numpy()[np.arange(len(each))[:, None], inside]
            made.append(Bucket(torch.from_numpy(rows), torch.from_numpy(mask)))
            found.append(torch.from_numpy(present))
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
