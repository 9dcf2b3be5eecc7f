"""Threads of one process: results in order of the items, the caller's grad mode, the first error, one of torch's own threads in each."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator

import pytest
import torch

from harness.models import threads

CPU = torch.device("cpu")


def test_results_come_in_order_of_the_items_and_from_several_threads() -> None:
    """The first two items wait for each other, so both must be at work at once; the first then ends last."""
    gate, names = threading.Barrier(2, timeout=20), set()

    def work(item: int) -> int:
        names.add(threading.current_thread().name)
        if item < 2:
            gate.wait()
        time.sleep(0.05 if item == 0 else 0)
        return item * item

    with threads.using(2):
        assert threads.together(work, range(5), CPU) == [0, 1, 4, 9, 16]
    assert len(names) == 2 and threading.current_thread().name not in names


def test_one_thread_or_one_item_is_the_callers_own_thread() -> None:
    def name(_: int) -> str:
        return threading.current_thread().name

    own = threading.current_thread().name
    assert threads.together(name, range(3), CPU) == [own] * 3
    with threads.using(1):
        assert threads.together(name, range(3), CPU) == [own] * 3
    with threads.using(2):
        assert threads.together(name, [1], CPU) == [own]
        assert threads.together(name, range(3), torch.device("meta")) == [own] * 3  # an accelerator has queues of its own


@pytest.mark.parametrize("mode", [True, False])
def test_threads_work_in_the_callers_grad_mode_with_one_of_torchs_own(mode: bool) -> None:
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        with threads.using(2), torch.set_grad_enabled(mode):
            assert threads.count(CPU) == 2 and torch.get_num_threads() == 1
            found = threads.together(lambda _: (torch.is_grad_enabled(), torch.get_num_threads(), threads.count(CPU)), range(4), CPU)
            assert found == [(mode, 1, 1)] * 4
        assert threads.count(CPU) == 1 and torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(before)


def test_the_first_error_is_raised_once_nothing_works_any_more() -> None:
    begun, ended = [], []

    def work(item: int) -> None:
        begun.append(item)
        time.sleep(0.2 if item else 0.05)
        if item == 0:
            raise ValueError("the first")
        ended.append(item)

    with threads.using(2):
        with pytest.raises(ValueError, match="the first"):
            threads.together(work, range(50), CPU)
        assert len(ended) > 0 and sorted(ended) == sorted(set(begun) - {0})
        assert len(begun) < 50
        assert threads.together(lambda item: item, range(3), CPU) == [0, 1, 2]  # the threads live on


def test_the_next_item_is_made_while_the_caller_works_on_this_one() -> None:
    """What the caller waits for is done by whoever makes the second item, which is asked for only after that."""
    made: list[int] = []
    second = threading.Event()

    def items() -> Iterator[int]:
        for item in range(4):
            if item == 1:
                second.set()
            made.append(item)
            yield item

    with threads.using(2):
        found = threads.ahead(items())
        assert next(found) == 0 and second.wait(timeout=20)
        assert [*found] == [1, 2, 3] and made == [0, 1, 2, 3]
    made.clear()
    assert next(threads.ahead(items())) == 0 and made == [0]  # one thread: nothing before it is asked for


def test_whoever_stops_early_leaves_nobody_at_work_and_errors_come_where_they_belong() -> None:
    def items() -> Iterator[int]:
        yield 0
        time.sleep(0.05)
        raise ValueError("no second")

    with threads.using(2):
        before = threading.active_count()
        stopped = threads.ahead(items())
        next(stopped)
        stopped.close()  # waits
        assert threading.active_count() == before
        found = threads.ahead(items())
        assert next(found) == 0
        with pytest.raises(ValueError, match="no second"):
            next(found)
