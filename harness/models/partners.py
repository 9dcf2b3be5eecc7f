"""Processes that compute gradients of the shards of a batch on one set of weights, forked from the one that steps them.

Threads of one process that keep gradients wait for each other between any two kernels: an SFT step of the embedded model takes two of them
64 ms, two processes 52 and one thread 85 (docs/performance.md). What comes out is that of threads, bit for bit: the same shards, added up
in the same order.
"""

from __future__ import annotations

import mmap
import os
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from multiprocessing.connection import Connection, Pipe
from typing import TYPE_CHECKING, Any, NamedTuple, NoReturn, TypeVar

import torch
from torch import Tensor, nn

from harness.errors import HarnessError
from harness.models import shards, threads
from harness.training.ledger import Ledger
from harness.types import Group

if TYPE_CHECKING:
    from harness.models.metered import Metered

R = TypeVar("R")
M = TypeVar("M", bound="Metered")
Part = Callable[[M, Sequence[Group], float], R]
Whole = Callable[[Sequence[Group], float], list[R]]

ALIGNED = 64  # bytes, as torch aligns what it allocates: kernels may take another path elsewhere


class Partner(NamedTuple):
    """A forked process: its id, the way to talk to it, and where it leaves the gradients of every weight that learns."""

    process: int
    link: Connection
    gradients: list[Tensor]


@contextmanager
def partnered(model: M, function: Part[M, R]) -> Iterator[Whole[R]]:
    """Until the block ends: what ``function(model, part, total)`` gives of every part of a batch, in order, its gradients added up.

    Parts, twins and charges are those of ``shards.in_parts``, which is what works where threads cannot be processes: on one thread, on
    an accelerator, on another system than Linux. ``function`` charges by the model's methods alone. Raises what it raised, in whatever
    process; HarnessError where one was killed.
    """
    number = threads.count(model.device)
    if number == 1 or sys.platform != "linux":
        yield lambda groups, total: shards.in_parts(model, groups, lambda each, part: function(each, groups[part], total))
        return
    with threads.alone(), ExitStack() as ending:
        weights = _shared([weight for weight in model.parameters() if weight.requires_grad])
        partners: list[Partner] = []
        for _ in range(number - 1):
            partners.append(_forked(model, weights, function, partners))
            ending.callback(_dismissed, partners[-1])
        yield lambda groups, total: _together(model, weights, partners, function, groups, total)


def _together(model: M, weights: list[nn.Parameter], partners: list[Partner], function: Part[M, R], groups: Any, total: float) -> list[R]:
    """One batch: every partner's shard is given out, this process does the first, and all gradients meet in the model's."""
    first, *rest = [groups[shard] for shard in shards.balanced(groups, len(partners) + 1)]
    busy = partners[: len(rest)]
    for partner, shard in zip(busy, rest, strict=True):
        with suppress(BrokenPipeError):  # of one that is gone nothing will be heard either
            partner.link.send((shard, total))
    try:
        found = [_own(model, first, function, total)]
    finally:  # whatever happens here: what is not heard now would be taken for the answer to the next batch
        answers = [_heard(partner) for partner in busy]
    for partner, (row, flops, learnt) in zip(busy, map(_raised, answers), strict=True):
        found.append(row)
        model.ledger.charge(*flops)
        for weight, gradient, has in zip(weights, partner.gradients, learnt, strict=True):
            if has:
                weight.grad = gradient.clone() if weight.grad is None else weight.grad.add_(gradient)
    return [each for row in found for each in row]


def _own(model: M, groups: Sequence[Group], function: Part[M, R], total: float) -> list[R]:
    """What the function gives of a shard's parts in this process."""
    return shards.in_parts(model, groups, lambda each, part: function(each, groups[part], total))


def _heard(partner: Partner) -> Any:
    """What a partner says of its shard, or what it met."""
    try:
        return partner.link.recv()
    except (EOFError, ConnectionResetError):
        return HarnessError("a process that computes gradients was killed, most often for want of memory.")


def _raised(answer: Any) -> Any:
    if isinstance(answer, Exception):
        raise answer
    return answer


def _shared(weights: list[nn.Parameter]) -> list[nn.Parameter]:
    """The weights, from now on in memory that forks share."""
    for weight, place in zip(weights, _room(weights), strict=True):
        weight.data = place.copy_(weight.data)
    return weights


def _room(weights: Sequence[Tensor]) -> list[Tensor]:
    """Memory that forks share, a tensor like each of these; it is given back with the last of them."""
    starts, end = [], 0
    for weight in weights:
        starts.append(end)
        end += -(-weight.nbytes // ALIGNED) * ALIGNED
    memory = mmap.mmap(-1, max(end, 1))
    return [
        torch.frombuffer(memory, dtype=weight.dtype, count=weight.numel(), offset=start).view(weight.shape)
        for weight, start in zip(weights, starts, strict=True)
    ]


def _forked(model: M, weights: list[nn.Parameter], function: Part[M, R], others: Sequence[Partner]) -> Partner:
    """A process that serves until its link closes. It keeps nothing of the others' links open, or they would outlive this one."""
    gradients = _room(weights)
    ours, theirs = Pipe()
    process = os.fork()
    if process == 0:
        try:  # nothing of what this process was about to do may be done twice, not even where Ctrl-C comes now
            for link in (ours, *(other.link for other in others)):
                link.close()
            _serve(model, weights, function, theirs, gradients)
        finally:
            os._exit(0)
    theirs.close()
    return Partner(process, ours, gradients)


def _serve(model: M, weights: list[nn.Parameter], function: Part[M, R], link: Connection, gradients: list[Tensor]) -> NoReturn:
    """Answer with a shard's values, FLOPs and which weights learnt; EOFError when the link closes."""
    while True:
        groups, total = link.recv()
        model.ledger = Ledger(float("inf"))
        try:
            values = _own(model, groups, function, total)
        except Exception as error:
            link.send(error)
            continue
        learnt = [weight.grad is not None for weight in weights]
        for weight, place in zip(weights, gradients, strict=True):
            if weight.grad is not None:
                place.copy_(weight.grad)
                weight.grad = None
        link.send((values, (sum(model.ledger.canonical.values()), sum(model.ledger.executed.values())), learnt))


def _dismissed(partner: Partner) -> None:
    """Let a partner go; the ledger counts the CPU seconds that it took once it is waited for."""
    partner.link.close()
    os.waitpid(partner.process, 0)
