"""A batch in shards: each forward and backward in a thread of its own, on a twin of the model that shares its weights.

Which thread ends first changes nothing: every shard has gradients and FLOPs of its own, added up afterwards in order of the shards.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import TYPE_CHECKING, TypeVar

import numpy as np

from harness.models import threads
from harness.training.ledger import Ledger
from harness.types import Group

if TYPE_CHECKING:
    from harness.models.metered import Metered

R = TypeVar("R")
M = TypeVar("M", bound="Metered")


def in_parts(model: M, groups: Sequence[Group], function: Callable[[M, slice], R]) -> list[R]:
    """``function(model, part)`` of every part of a batch, in order; what it adds by ``backward`` is added to the model's gradients.

    Parts are what fits in memory, of as many shards as there are threads. ``function`` is given the model or a twin of it, and
    charges by their methods alone.
    """
    shards = parts(model, groups)
    models = [model, *_twins(model, len(shards) - 1)]
    found = threads.together(lambda place: [function(models[place], part) for part in shards[place]], range(len(shards)), model.device)
    for twin in models[1:]:
        _hand_over(twin, model)
    return [each for row in found for each in row]


def parts(model: Metered, groups: Sequence[Group], *, whole: bool = False) -> list[list[slice]]:
    """A slice for every forward over a batch, in a list for each thread; see ``Metered.micro``."""
    return [
        [slice(shard.start + part.start, shard.start + part.stop) for part in model.micro(groups[shard], whole=whole)]
        for shard in balanced(groups, threads.count(model.device))
    ]


def balanced(groups: Sequence[Group], number: int) -> list[slice]:
    """At most ``number`` consecutive runs of groups, about equal in tokens, none of them empty unless all are."""
    ends = np.cumsum([len(group.prompt) + sum(map(len, group.responses)) for group in groups])
    if number == 1 or len(ends) < 2:
        return [slice(0, len(groups))]
    wanted = ends[-1] * np.arange(1, number) / number
    inner = np.abs(ends[:, None] - wanted).argmin(0) + 1
    bounds = sorted({0, *inner.tolist(), len(groups)})
    return [slice(start, stop) for start, stop in pairwise(bounds)]


def _twins(model: M, number: int) -> list[M]:
    """So many twins of the model, without gradients; made anew where its weights are no longer theirs."""
    places = [weight.data_ptr() for weight in model.parameters()]
    known = [twin for twin in model.twins if [weight.data_ptr() for weight in twin.parameters()] == places]
    model.twins = [*known, *(model.twin() for _ in range(number - len(known)))]
    for twin in model.twins[:number]:
        twin.ledger = Ledger(float("inf"))
        for weight in twin.parameters():
            weight.grad = None  # of a step that failed
    return model.twins[:number]


def _hand_over(twin: Metered, model: Metered) -> None:
    """The twin's gradients and FLOPs to the model's."""
    for weight, other in zip(model.parameters(), twin.parameters(), strict=True):
        if other.grad is not None:
            weight.grad = other.grad if weight.grad is None else weight.grad.add_(other.grad)
            other.grad = None
    model.ledger.charge(sum(twin.ledger.canonical.values()), sum(twin.ledger.executed.values()))
