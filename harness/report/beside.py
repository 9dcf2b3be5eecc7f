"""Drawing beside everything else: in other processes, no more at a time than there are other cores, and each with all that waits by then.

A fork makes the pages of both processes copies that are made when they are written to, and a process of a gigabyte of rows writes to
most of them by counting references: a fork for every figure took 2 of 25 seconds, and a dozen at a time left the first process a third
of a core.

A page that is written beside another has its share of the cores. Of two cores that is the one it runs on, and the first process, whose
page waits with its figures for the other's core, hands over half of what is left once that is free.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import NoReturn

AFTER = 1  # niceness of the other processes: the first has the longest way to go and waits for them at its end
_cores: int | None = None  # this process's share of them, where it is one of several; None: all


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
        self._others = 0 if alone else (_cores or os.cpu_count() or 1) - 1
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
        self._hand_over(len(self._waiting))
        return partial(self._finish, work)

    def _hand_over(self, count: int) -> None:
        """The last so many of what waits to another process, where a core is free and this is anything at all."""
        self.busy()
        if count and len(self._running) < self._others:
            self._fork(count)

    def busy(self) -> bool:
        """Whether another process still works."""
        for process in [*self._running]:
            self._settle(process, os.WNOHANG)
        return bool(self._running)

    def _fork(self, count: int) -> None:
        """A process for the last so many that wait."""
        if self._warm is not None:
            self._warm()
            self._warm = None
        self._waiting, works = self._waiting[:-count], self._waiting[-count:]
        share = max(1, (self._others + 1) // (len(self._running) + 2))
        process = os.fork()
        if process == 0:
            _all_and_leave(works, self._niceness, share)
        self._running[process] = works

    def _settle(self, process: int, options: int = 0) -> None:
        """Take note of a process that ended; what one leaves undone, this process will do, and say what is wrong."""
        ended, status = os.waitpid(process, options)
        if ended:
            for work in self._running.pop(process):
                work.done = not status

    def _finish(self, wanted: Work) -> None:
        """Until it is done: what waits is done here meanwhile."""
        self._hand_over(len(self._waiting) // 2)
        while not wanted.done:
            running = next((process for process, works in self._running.items() if wanted in works), None)
            if self._waiting:
                self._waiting.pop(0).here()
            elif running is not None:
                self._settle(running)
            else:
                wanted.here()
            self._hand_over(len(self._waiting) // 2)


def _all_and_leave(works: Sequence[Work], niceness: int, share: int) -> NoReturn:
    """Do all of it on a share of the cores and end this process at once, whatever happens: nothing of the parent's may run twice."""
    global _cores
    _cores, status = share, 1
    try:
        os.nice(niceness)
        for work in works:
            work.do()
        status = 0
    finally:
        os._exit(status)
