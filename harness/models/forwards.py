"""Forwards over groups: packed, in pieces and threads where no gradient is kept, each charged for what it is and for what it ran."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from harness.models import kernels, shards, threads
from harness.models.packing import Packed, Past, pack
from harness.models.readings import Cost
from harness.training.ledger import Shape, sizes
from harness.types import Group

if TYPE_CHECKING:
    from harness.models.metered import Metered

Columns = tuple[Tensor, ...]


def over(
    model: Metered,
    groups: Sequence[Group],
    read: Callable[..., Columns],
    shape: Shape | None = None,
    *,
    beside: Sequence[tuple[Metered, Past | None]] = (),
    past: Past | None = None,
) -> list[Tensor]:
    """What ``read`` gives of the groups packed, column by column; in pieces, and in threads, where no gradient is kept.

    Charges each piece by ``shape``, to models ``beside`` by their own, for each of which ``read`` is given a row of its own; remembers
    what a backward will cost. What is ``past``, to this model and to those beside, is of use where all is one piece.
    """
    remember, priced = torch.is_grad_enabled(), shape or model.shape
    pieces = [groups] if remember else [groups[part] for row in shards.parts(model, groups, whole=past is not None) for part in row]
    known = past if len(pieces) == 1 else None

    def one(piece: Sequence[Group]) -> tuple[Columns, list[Cost]]:
        packed = pack(piece, model.device, known)
        rows = [packed if known is None else pack(piece, other.device, theirs) for other, theirs in beside]
        columns = read(packed, *rows)  # before the price: a row knows then which attention it took
        costs = [cost(other, row, other.shape, piece) for (other, _), row in zip(beside, rows, strict=True)]
        return columns, [cost(model, packed, priced, piece), *costs]

    found = threads.together(one, [piece for piece in pieces if piece], model.device)
    for _, costs in found:
        for payer, each in zip((model, *(other for other, _ in beside)), costs, strict=True):
            _charge(payer, each, remember=remember)
    return [torch.cat(column) for column in zip(*(columns for columns, _ in found), strict=True)]


def _charge(model: Metered, cost: Cost, *, remember: bool) -> None:
    model.ledger.charge(cost.canonical, cost.executed)
    if remember:
        canonical, executed = model.pending
        canonical += cost.canonical - cost.unlearnt / 2
        model.pending = [canonical, executed + cost.executed + (cost.again - cost.unlearnt_executed) / 2]


def cost(model: Metered, packed: Packed, shape: Shape, groups: Sequence[Group] = ()) -> Cost:
    """FLOPs of a forward over a row: of ``groups`` as everybody counts them, or of the row itself, and what really ran."""
    tokens, outputs = packed.ids.numel(), kernels.rounded(len(packed.targets))
    full = shape.forward(tokens, packed.attended, outputs)
    canonical = shape.scoring(groups) if groups else full
    spared = _spared(model, packed, shape, groups) if shape.frozen else (0.0, 0.0)
    return Cost(canonical, full - model.body.skipped(packed, outputs), _again(model, packed, shape), *spared)


def _spared(model: Metered, packed: Packed, shape: Shape, groups: Sequence[Group]) -> tuple[float, float]:
    """FLOPs of a backward that frozen weights spare it: of the groups as everybody counts them, and of the row as it was run."""
    tokens, outputs = packed.ids.numel(), kernels.rounded(len(packed.targets))
    row = shape.unlearnt(tokens, outputs)
    return sum(shape.unlearnt(*sizes(group)) for group in groups), row - model.body.skipped(packed, outputs, frozen=True)


def _again(model: Metered, packed: Packed, shape: Shape) -> float:
    """FLOPs of what a backward computes a second time: layers that kept no activations, logits that were not held."""
    tokens, outputs, found = packed.ids.numel(), kernels.rounded(len(packed.targets)), 0.0
    if model.spared is not None:
        found += shape.forward(tokens, packed.attended, 0) - 2.0 * model.spared * tokens
    if shape.head >= model.shape.head and model.output.cut(outputs):
        found += 2.0 * model.shape.head * outputs
    return found
