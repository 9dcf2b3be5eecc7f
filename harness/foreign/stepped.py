"""A loop that somebody else runs, one step at a time: it goes on in a thread of its own and waits after every step until it is asked."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from queue import SimpleQueue
from typing import Any

import torch

Told = dict[str, Any]


class Left(Exception):
    """Raised inside the loop where nobody wants its next step."""


def stepped(loop: Callable[[Callable[[Told], None]], None]) -> Iterator[Told]:
    """Yield what ``loop(tell)`` tells, the loop standing still in between; what it raises is raised here.

    Only one of the two runs at any time. Where the iterator is closed the loop ends at its next ``tell``.
    """
    told: SimpleQueue[Told | BaseException | None] = SimpleQueue()
    asked, leave, threads = threading.Semaphore(0), threading.Event(), torch.get_num_threads()

    def tell(found: Told) -> None:
        told.put(found)
        asked.acquire()
        if leave.is_set():
            raise Left

    def run() -> None:
        torch.set_num_threads(threads)  # OpenMP gives a new thread the number that the process started with
        asked.acquire()
        try:
            if not leave.is_set():
                loop(tell)
        except Left:
            pass
        except BaseException as error:  # whatever it is belongs to whoever asked
            told.put(error)
            return
        told.put(None)

    worker = threading.Thread(target=run, daemon=True)
    worker.start()
    try:
        while True:
            asked.release()
            found = told.get()
            if isinstance(found, BaseException):
                raise found
            if found is None:
                return
            yield found
    finally:
        leave.set()
        asked.release()
        worker.join()
