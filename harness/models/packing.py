"""Flat packing: every token of a batch in one row, each prompt once for all its responses, and the attention that keeps them apart.

Linear layers run on ``(1, N)`` tokens without padding. Inside attention the tokens of each group are laid out as one padded row beside
groups of similar length, so the cost is that of the groups and not of N squared. The attention is handed to transformers through its
``AttentionInterface``; which tokens see which is decided by the ``layout`` that travels with the forward call.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from itertools import chain
from typing import Any, NamedTuple, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from harness.models import kernels, varlen
from harness.models.asking import Asking
from harness.models.attention import BUCKET_COST, SHAPE_COST, Bucket, Gathering, bucketed
from harness.types import Group

ATTENTION = "harness_layout"
Array = NDArray[np.int64]


class Layout(Protocol):
    """Decides which tokens see which: queries (1, heads, N, d), keys and values (1, kv heads, N, d) to an output (1, N, heads, d)."""

    def attend(self, layer: int, query: Tensor, key: Tensor, value: Tensor, scaling: float) -> Tensor:
        """The attention's output for every token of the row."""
        ...


class Past(NamedTuple):
    """Prompts that were read: lengths (P,), hidden states after them (P, hidden), and by layer what later tokens attend to.

    That is keys and values, (P, key heads, longest, d) and contiguous.
    """

    lengths: Tensor
    last: Tensor
    cache: list[tuple[Tensor, Tensor]]

    def first(self, n: int) -> Past:
        """The first ``n`` of these prompts."""
        return Past(self.lengths[:n], self.last[:n], [(keys[:n], values[:n]) for keys, values in self.cache])

    @property
    def bytes(self) -> int:
        """What it holds in memory."""
        return sum(x.numel() * x.element_size() for layer in self.cache for x in layer)

    def repeated(self, times: int) -> Past:
        """Each of these prompts so many times in a row."""
        lengths, last = (x.repeat_interleave(times, 0) for x in (self.lengths, self.last))
        return Past(lengths, last, [(k.repeat_interleave(times, 0), v.repeat_interleave(times, 0)) for k, v in self.cache])

    def before(self, layer: int, rows: Sequence[int], key: Tensor, value: Tensor) -> tuple[Tensor, Tensor]:
        """Keys and values of these prompts with later ones behind them, (rows, key heads, longest + more, d)."""
        keys, values = self.cache[layer]
        if len(rows) < len(keys):
            keys, values = keys[rows], values[rows]
        return torch.cat([keys, key], 2), torch.cat([values, value], 2)

    def seen(self, rows: Sequence[int]) -> Tensor:
        """(rows, longest): True on what the last token of each prompt attends to beside itself."""
        return torch.arange(self.cache[0][1].shape[2], device=self.lengths.device) < self.lengths[rows].unsqueeze(1) - 1


@dataclass
class Packed:
    """A batch of groups as one flat row. ``segments`` say of each group's tokens what they are: 0 the prompt, 1 the first response, ...

    ``targets`` are the response tokens, ``sources`` the flat positions whose hidden states predict them, ``own`` their own positions.
    When ``keep`` is a list, the padded keys and values of each layer are appended to it (the prompt's part of a KV cache), and all
    groups share one bucket. With a ``past`` the prompts were read before: of each only its last token is in the row.
    """

    ids: Tensor
    positions: Tensor
    segments: Sequence[Array]
    targets: Tensor
    sources: Tensor
    own: Tensor
    lengths: Tensor
    past: Past | None = None
    keep: list[tuple[Tensor, Tensor]] | None = field(default=None)
    asked: Asking | None = field(default=None)
    _gatherings: dict[int, Gathering] = field(default_factory=dict)
    _flash: bool = False

    def attend(self, layer: int, query: Tensor, key: Tensor, value: Tensor, scaling: float, asking: Tensor | None = None) -> Tensor:
        """Attention inside each group, (1, N, heads, d); of the tokens at the places ``asking`` alone, where queries are only theirs."""
        if self._by_sequence(query):
            return self._sequences.attend(query, key, value, scaling)
        asked = None if asking is None else self._asked(asking)
        keys, values = self._spread(key), self._spread(value)
        queries = self._spread(query) if asked is None else asked.gathering(query).spread(query)
        if self.keep is not None:
            self.keep.append((keys[0], values[0]))
        if self.past is not None:
            found = [self.past.before(layer, rows, k, v) for rows, k, v in zip(self._members, keys, values, strict=True)]
            keys, values = [k for k, _ in found], [v for _, v in found]
        parts = zip(self.buckets if asked is None else asked.buckets, queries, keys, values, strict=True)
        explicit = kernels.explicit(query)
        outputs = [bucket.attend(q, k, v, scaling, explicit=explicit) for bucket, q, k, v in parts]
        if asked is not None:
            return asked.gathering(query).collect(outputs)
        if self._dense:
            return outputs[0].transpose(1, 2).flatten(0, 1).unsqueeze(0)
        return self._gathering(query).collect(outputs)

    @cached_property
    def buckets(self) -> list[Bucket]:
        """The groups by similar length, each bucket one padded computation."""
        return [bucket for bucket, _ in self._laid_out]

    def undivided(self, x: Tensor) -> bool:
        """Whether attention to such tensors is one call for all tokens, so that nothing is gained by asking for some of them."""
        return x.device.type != "cpu" or varlen.usable(x)

    def _asked(self, places: Tensor) -> Asking:
        """The queries at these places, made once for as long as the same ones are asked for."""
        if self.asked is None or not torch.equal(self.asked.places, places):
            self.asked = Asking.of(places, self.segments, self.buckets, self._members)
        return self.asked

    def _by_sequence(self, query: Tensor) -> bool:
        self._flash = self.keep is None and self.past is None and varlen.usable(query)
        return self._flash

    @cached_property
    def _sequences(self) -> varlen.Sequences:
        return varlen.sequences([segment.tolist() for segment in self.segments], self.ids.device)

    @property
    def attended(self) -> int:
        """Query-key products per head that the kernels really compute, once the row was run."""
        return self._sequences.products if self._flash else sum(bucket.products for bucket in self.buckets)

    @cached_property
    def _members(self) -> list[list[int]]:
        """Which groups are in each bucket."""
        lengths = [len(segment) for segment in self.segments]
        if self.keep is not None or self.ids.device.type != "cpu":
            return [list(range(len(lengths)))]
        return bucketed(lengths, BUCKET_COST if kernels.in_use() == "default" else BUCKET_COST + SHAPE_COST)

    @cached_property
    def _laid_out(self) -> list[tuple[Bucket, Tensor]]:
        lengths, device = np.array([len(segment) for segment in self.segments]), self.ids.device
        starts, found = lengths.cumsum() - lengths, []
        for each in self._members:
            segments = [self.segments[i] for i in each]
            rows, mask, present = _bucket(segments, starts[each], rounded=self.keep is None)
            mask = mask.to(device)
            if self.past is not None:
                mask = torch.cat([self.past.seen(each).unsqueeze(1).expand(-1, mask.shape[1], -1), mask], 2)
            causal = self.past is None and not any(segment.any() for segment in segments)
            found.append((Bucket(rows.to(device), mask, causal), present.to(device)))
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


def pack(groups: Sequence[Group], device: torch.device, past: Past | None = None) -> Packed:
    """The groups as one flat row: prompt, first response, second response, ...; position ids restart after the prompt.

    Where shapes are rounded (``kernels.rounded``), tokens in no group fill the row up. Behind a ``past`` of the same prompts the row
    has of each its last token alone.
    """
    known = [0 if past is None else len(group.prompt) - 1 for group in groups]
    pieces = [piece for group, n in zip(groups, known, strict=True) for piece in (group.prompt[n:], *group.responses)]
    first = [place for g, n in zip(groups, known, strict=True) for place in (n, *[len(g.prompt)] * len(g.responses))]
    number = np.array([n for group in groups for n in range(len(group.responses) + 1)])
    sizes = np.array([len(piece) for piece in pieces])
    stops, total, (prompts,) = sizes.cumsum(), int(sizes.sum()), np.nonzero(number == 0)
    inside, segments = np.arange(total) - np.repeat(stops - sizes, sizes), np.repeat(number, sizes)
    (own,) = np.nonzero(segments)
    sources, after = own - 1, np.repeat(stops[prompts] - 1, np.diff([*prompts, len(pieces)]))
    sources[inside[own] == 0] = after[(number > 0) & (sizes > 0)]  # a response's first token is predicted where its prompt ends
    row = np.zeros((2, kernels.rounded(total)), np.int64)
    row[0, :total] = np.fromiter(chain.from_iterable(pieces), np.int64, total)
    row[1, :total] = inside + np.repeat(first, sizes)
    ids, positions = torch.from_numpy(row).to(device).unsqueeze(1)
    found = row[0, own], sources, own, sizes[number > 0]
    targets, predicted_from, places, lengths = (torch.from_numpy(each).to(device) for each in found)
    return Packed(ids, positions, np.split(segments, stops[prompts[1:] - 1]), targets, predicted_from, places, lengths, past)


def _bucket(segments: Sequence[Array], starts: Array, *, rounded: bool) -> tuple[Tensor, Tensor, Tensor]:
    """(groups, longest) flat positions, the (groups, longest, longest) mask: True may be attended, and which cells hold a token."""
    lengths = np.array([len(segment) for segment in segments])
    longest = int(lengths.max())
    columns = np.arange(kernels.rounded(longest) if rounded else longest)
    present = columns < lengths[:, None]
    rows = np.where(present, starts[:, None] + columns, 0)
    segment = np.full(present.shape, -1, np.int32)
    segment[present] = np.concatenate(segments)
    causal = columns[:, None] >= columns
    same = segment[:, :, None] == segment[:, None, :]
    # A padding row keeps its diagonal: a row with nothing to attend to is NaN, and NaN times a zero gradient is NaN.
    mask = causal & (same | (segment == 0)[:, None, :])
    return torch.from_numpy(rows), torch.from_numpy(mask), torch.from_numpy(present)


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
