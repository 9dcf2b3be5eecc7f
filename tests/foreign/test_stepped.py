"""A loop of somebody else's, one step at a time."""

from __future__ import annotations

import threading
from collections.abc import Callable

import pytest

from harness.foreign.stepped import Told, stepped


def test_the_loop_stands_still_between_steps_and_its_end_is_ours() -> None:
    done: list[int] = []

    def loop(tell: Callable[[Told], None]) -> None:
        for number in range(3):
            done.append(number)
            tell({"number": number})

    seen = []
    for found in stepped(loop):
        seen.append(found["number"])
        assert done == seen
    assert seen == [0, 1, 2]


def test_what_the_loop_raises_is_raised_here() -> None:
    def loop(tell: Callable[[Told], None]) -> None:
        tell({})
        raise ValueError("broken")

    running = stepped(loop)
    next(running)
    with pytest.raises(ValueError, match="broken"):
        next(running)


def test_a_loop_that_is_left_ends_at_its_next_step() -> None:
    before, ended = threading.active_count(), []

    def loop(tell: Callable[[Told], None]) -> None:
        try:
            while True:
                tell({})
        finally:
            ended.append(True)

    running = stepped(loop)
    next(running)
    running.close()
    assert ended == [True] and threading.active_count() == before
