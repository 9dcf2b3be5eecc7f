"""Drawing beside everything else: in other processes, no more at a time than there are other cores, and each with all that waits by then.

A fork makes the pages of both processes copies that are made when they are written to, and a process of a gigabyte of rows writes to
most of them by counting references: a fork for every figure took 2 of 25 seconds, and a dozen at a time left the first process a third
of a core.

A page that is written beside another begins its own figures beside itself: more processes than cores for a while, the first of them first.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import NoReturn

AFTER = 5  # niceness of the other processes: the first has the longest way to go and waits for them at its end


@dataclass(eq=False)
class Work:
    """What is to be done, and whether it was."""

    do: Callable[[], None]
    done: bool = False

    def here(self) -> None:
        """Do it in this process."""
        self.do()
        self.done = True


class Beside:
    """Work in other processes where some may be forked; what is not begun when its result is wanted is done in this one."""

    def __init__(self, warm: Callable[[], None], niceness: int = AFTER) -> None:
        """``warm`` is done once before the first fork: what every process would read for itself, all then have from this one.

        ``niceness`` is what the other processes have beyond this one's.
        """
        alone = not hasattr(os, "fork") or threading.active_count() > 1
        self._others = 0 if alone else (os.cpu_count() or 1) - 1
        self._warm: Callable[[], None] | None = warm
        self._niceness = niceness
        self._waiting: list[Work] = []
        self._running: dict[int, Sequence[Work]] = {}

    def begin(self, do: Callable[[], None], result: Path) -> Callable[[], str]:
        """``start`` work that writes a file; what comes back waits for it and gives the file's text."""
        wait = self.start(do)

        def text() -> str:
            wait()
            return result.read_text(encoding="utf-8")

        return text

    def start(self, do: Callable[[], None]) -> Callable[[], None]:
        """Begin work or put it to the rest; what comes back waits for it."""
        work = Work(do)
        self._waiting.append(work)
        for process in [*self._running]:
            self._settle(process, os.WNOHANG)
        if len(self._running) < self._others:
            self._fork()
        return partial(self._finish, work)

    def _fork(self) -> None:
        """A process for everything that waits."""
        if self._warm is not None:
            self._warm()
            self._warm = None
        works, self._waiting = self._waiting, []
        process = os.fork()
        if process == 0:
            _all_and_leave(works, self._niceness)
        self._running[process] = works

    def _settle(self, process: int, options: int = 0) -> None:
        """Take note of a process that ended; what one leaves undone, this process will do, and say what is wrong."""
        ended, status = os.waitpid(process, options)
        if ended:
            for work in self._running.pop(process):
                work.done = not status

    def _finish(self, wanted: Work) -> None:
        """Until it is done: what waits is done here meanwhile."""
        while not wanted.done:
            running = next((process for process, works in self._running.items() if wanted in works), None)
            if self._waiting:
                self._waiting.pop(0).here()
            elif running is not None:
                self._settle(running)
            else:
                wanted.here()


def _all_and_leave(works: Sequence[Work], niceness: int) -> NoReturn:
    """Do all of it and end this process at once, whatever happens: nothing of the parent's may run twice."""
    status = 1
    try:
        os.nice(niceness)
        for work in works:
            work.do()
        status = 0
    finally:
        os._exit(status)
