"""Work of one model in several threads of this process, each with one of torch's own.

Torch's own threads divide every single product and wait for each other busily: a small model gains little by them alone on its machine,
and beside other work it loses ten times as much (docs/performance.md). Threads that each do a whole part of the work meet once, at its
end, so that neither their number of cores nor their order decides what comes out.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_EXCEPTION, ThreadPoolExecutor, wait
from contextlib import contextmanager
from typing import Any, NamedTuple, TypeVar, cast

import torch

T = TypeVar("T")
R = TypeVar("R")


class _Team(NamedTuple):
    number: int
    pool: ThreadPoolExecutor


_team: _Team | None = None
_here = threading.local()
_END: Any = object()


@contextmanager
def using(number: int) -> Iterator[None]:
    """Until the block ends this process has ``number`` threads for ``together``, and one of torch's own in each."""
    global _team
    before, own = _team, torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        with ThreadPoolExecutor(number, initializer=_begin) as pool:
            _team = _Team(number, pool)
            yield
    finally:
        _team = before
        torch.set_num_threads(own)


def count(device: torch.device) -> int:
    """How many threads may share the work of a model on this device: 1 where nothing is said, on an accelerator, and inside of one."""
    if _team is None or device.type != "cpu" or getattr(_here, "busy", False):
        return 1
    return _team.number


@contextmanager
def alone() -> Iterator[None]:
    """Until the block ends this thread shares its work with no other of this process."""
    before, _here.busy = getattr(_here, "busy", False), True
    try:
        yield
    finally:
        _here.busy = before


def together(function: Callable[[T], R], items: Sequence[T], device: torch.device) -> list[R]:
    """``function`` of every item, in order of the items, computed in as many threads as ``count`` allows, with the caller's grad mode.

    Raises the first error, in order of the items, once no thread works any more.
    """
    if _team is None or count(device) == 1 or len(items) < 2:
        return [function(item) for item in items]
    mode = torch.is_grad_enabled()

    def call(item: T) -> R:
        with torch.set_grad_enabled(mode):
            return function(item)

    futures = [_team.pool.submit(call, item) for item in items]
    wait(futures, return_when=FIRST_EXCEPTION)
    for future in futures:
        future.cancel()
    wait(futures)
    return [future.result() for future in futures]


def ahead(items: Iterator[T]) -> Iterator[T]:
    """The items in order; where several threads are used, each is made while the caller works on the one before.

    A caller who stops early has had one made too many.
    """
    if _team is None or _team.number == 1:
        yield from items
        return
    with ThreadPoolExecutor(1, initializer=_begin) as maker:
        due = maker.submit(next, items, _END)
        while (item := due.result()) is not _END:
            due = maker.submit(next, items, _END)
            yield cast(T, item)


def _begin() -> None:
    _here.busy = True
    torch.set_num_threads(1)
