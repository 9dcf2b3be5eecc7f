"""Flat packing: every token of a batch in one row, each prompt once for all its responses, and the attention that keeps them apart.

Linear layers run on ``(1, N)`` tokens without padding. Inside attention the tokens of each group are laid out as one padded row, so the
cost is that of the groups and not of N squared. The attention is handed to transformers through its ``AttentionInterface``; which
tokens see which is decided by the ``layout`` that travels with the forward call.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

import torch
import torch.nn.functional as F
from torch import Tensor

from harness.types import Group

ATTENTION = "harness_layout"


class Layout(Protocol):
    """Decides which tokens see which: queries (1, heads, N, d), keys and values (1, kv heads, N, d) to an output (1, N, heads, d)."""

    def attend(self, layer: int, query: Tensor, key: Tensor, value: Tensor, scaling: float) -> Tensor:
        """The attention's output for every token of the row."""
        ...


@dataclass
class Packed:
    """A batch of groups as one flat row. ``rows`` maps (groups, longest) cells to flat positions; ``targets`` are the response tokens.

    ``sources`` are the flat positions whose hidden states predict the targets, ``own`` the positions of the targets themselves.
    When ``keep`` is a list, the padded keys and values of each layer are appended to it (the prompt's part of a KV cache).
    """

    ids: Tensor
    positions: Tensor
    rows: Tensor
    cells: Tensor
    mask: Tensor
    targets: Tensor
    sources: Tensor
    own: Tensor
    lengths: Tensor
    keep: list[tuple[Tensor, Tensor]] | None = field(default=None)

    def attend(self, layer: int, query: Tensor, key: Tensor, value: Tensor, scaling: float) -> Tensor:
        """Attention inside each group, (1, N, heads, d)."""
        q, k, v = (self._spread(x) for x in (query, key, value))
        if self.keep is not None:
            self.keep.append((k, v))
        repeats = q.shape[1] // k.shape[1]
        if repeats > 1:
            k, v = k.repeat_interleave(repeats, 1), v.repeat_interleave(repeats, 1)
        out = F.scaled_dot_product_attention(q, k, v, attn_mask=self.mask, scale=scaling)
        return out.transpose(1, 2).flatten(0, 1)[self.cells].unsqueeze(0)

    def _spread(self, x: Tensor) -> Tensor:
        """(1, heads, N, d) to (groups, heads, longest, d); padding cells repeat token 0 and are masked."""
        groups, longest = self.rows.shape
        flat = x[0].transpose(0, 1)[self.rows.flatten()]
        return flat.view(groups, longest, *flat.shape[1:]).transpose(1, 2)

    @property
    def attended(self) -> int:
        """Query-key products per head that the kernels really compute."""
        return int(self.rows.shape[0] * self.rows.shape[1] ** 2)


def pack(groups: Sequence[Group], device: torch.device) -> Packed:
    """The groups as one flat row: prompt, first response, second response, ...; position ids restart after the prompt."""
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
    rows, cells, mask = _rows(segments)
    tensor = torch.tensor(ids)
    return Packed(
        tensor.unsqueeze(0).to(device),
        torch.tensor(positions).unsqueeze(0).to(device),
        rows.to(device),
        cells.to(device),
        mask.to(device),
        tensor[own].to(device),
        torch.tensor(sources, dtype=torch.long).to(device),
        torch.tensor(own, dtype=torch.long).to(device),
        torch.tensor(lengths, dtype=torch.long).to(device),
    )


def _rows(segments: Sequence[Sequence[int]]) -> tuple[Tensor, Tensor, Tensor]:
    """(groups, longest) flat positions, the (N,) cells they fill, and the (groups, 1, longest, longest) mask: True may be attended."""
    lengths = torch.tensor([len(s) for s in segments])
    longest = int(lengths.max())
    starts = lengths.cumsum(0) - lengths
    columns = torch.arange(longest)
    present = columns < lengths.unsqueeze(1)
    rows = torch.where(present, starts.unsqueeze(1) + columns, torch.zeros((), dtype=torch.long))
    segment = torch.full((len(segments), longest), -1)
    segment[present] = torch.tensor([s for row in segments for s in row])
    causal = columns.unsqueeze(1) >= columns
    same = segment.unsqueeze(2) == segment.unsqueeze(1)
    mask = causal & (same | (segment == 0).unsqueeze(1))
    # A padding row keeps its diagonal: a row with nothing to attend to is NaN, and NaN times a zero gradient is NaN.
    return rows, present.flatten().nonzero().squeeze(1), mask.unsqueeze(1)


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
