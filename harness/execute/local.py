"""A grid of jobs over processes of this machine: a pool from the standard library, and who must wait for whom."""

from __future__ import annotations

import logging
import multiprocessing
import os
import signal
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from dataclasses import dataclass
from importlib import import_module
from typing import Any

from harness.errors import HarnessError
from harness.execute import starting
from harness.execute.allocation import give_back

QUIET = {
    "HF_HUB_DISABLE_TELEMETRY": "1",
    "HF_DATASETS_DISABLE_PROGRESS_BARS": "1",
    "TOKENIZERS_PARALLELISM": "false",
    "TRANSFORMERS_VERBOSITY": "error",
}
# Beside other work MKL would take fewer threads than it is told to, and other sums give another model: same seed, other bytes.
STEADY = {"MKL_DYNAMIC": "FALSE", "OMP_DYNAMIC": "FALSE"}
EVERY_SECONDS = 0.25  # how often one worker reports

Heard = Callable[[str, str, float, float | None], None]


@dataclass(frozen=True)
class Job:
    """One call of a picklable function, ``function(*arguments, report) -> status``, once the jobs named in ``after`` are done.

    ``threads`` is how many it sets for itself; None: those of its process.
    """

    name: str
    function: Callable[..., str]
    arguments: tuple[Any, ...]
    after: tuple[str, ...] = ()
    threads: int | None = None


def run_jobs(
    jobs: Sequence[Job],
    *,
    workers: int,
    threads: int,
    verbose: bool,
    heard: Heard,
    done: Callable[[str, str], None],
    prepare: Callable[[], object] | None = None,
) -> None:
    """Run every job in ``workers`` processes of ``threads`` threads each, which call ``prepare`` first; an error in it is a job's.

    ``heard(job, stage, share, loss)`` hears of progress.

    Jobs run beside each other while their threads are no more than those of all processes: threads that wait for a core wait busily.

    An error in a job is raised here, after which nothing new starts; a worker that died is one clear line, and what is finished is kept.
    """
    context = starting.context(STEADY if verbose else {**STEADY, **QUIET})
    messages, over = context.Queue(), context.Event()
    with _listening(messages, heard):
        pool = ProcessPoolExecutor(workers, mp_context=context, initializer=_begin, initargs=(messages, over, threads, prepare, verbose))
        try:
            for _ in range(min(workers, len(jobs))):  # all at once: the first job leaves cores free while its process still imports
                pool.submit(_warm)
            _drain(pool, list(jobs), done, threads=threads, most=workers * threads)
        except BrokenProcessPool as error:
            raise HarnessError(
                "a worker process was killed, most often for want of memory; finished cells are kept. Run it again with --jobs 1."
            ) from error
        finally:
            over.set()
            pool.shutdown(wait=True, cancel_futures=True)


def _drain(pool: ProcessPoolExecutor, waiting: list[Job], done: Callable[[str, str], None], *, threads: int, most: int) -> None:
    finished: set[str] = set()
    running: dict[Future[str], Job] = {}
    while waiting or running:
        able = [job for job in waiting if finished.issuperset(job.after)]
        for job in sorted(able, key=lambda job: -(job.threads or threads)):  # those that need the whole machine while it is free
            busy = sum(each.threads or threads for each in running.values())
            if not running or busy + (job.threads or threads) <= most:
                waiting.remove(job)
                running[pool.submit(_call, job)] = job
        ready, _ = wait(running, return_when=FIRST_COMPLETED)
        for future in ready:
            job = running.pop(future)
            done(job.name, future.result())
            finished.add(job.name)


@contextmanager
def _listening(messages: Any, heard: Heard) -> Iterator[None]:
    """Pass on what workers say until the block ends."""

    def listen() -> None:
        while (message := messages.get()) is not None:
            heard(*message)

    thread = threading.Thread(target=listen, daemon=True)
    thread.start()
    try:
        yield
    finally:
        messages.put(None)
        thread.join(timeout=5)


def _begin(messages: Any, over: Any, threads: int, prepare: Callable[[], object] | None, verbose: bool) -> None:
    """Set up a worker: its threads, and silence from the libraries below unless asked for. The one place that seeds global state.

    Ctrl-C reaches every process of a terminal. It ends what a worker does, and nothing where it does nothing: its parent lets it go.
    """
    global _messages, _over, _unready, _interrupted
    _messages, _over = messages, over
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    _interrupted = signal.default_int_handler if before == signal.SIG_DFL else before
    os.environ["OMP_NUM_THREADS"] = str(threads)
    os.environ |= STEADY
    if not verbose:
        os.environ.update(QUIET)
    threading.Thread(target=_leave_with_parent, daemon=True).start()
    import torch

    torch.set_num_threads(threads)
    torch.manual_seed(0)
    logging.basicConfig(level=logging.INFO if verbose else logging.WARNING, format="%(name)s: %(message)s")
    try:
        if prepare is not None:
            prepare()
    except HarnessError as error:  # raised here it would break the pool, and nobody would read it
        _unready = error
    if not verbose:
        from transformers.utils.logging import disable_progress_bar

        disable_progress_bar()  # type: ignore[no-untyped-call]


def _leave_with_parent() -> None:
    """End this worker once its command is gone: a killed one must not leave hours of work running behind it.

    The command is seldom the process that this one was forked from, which lives for as long as its forks do.
    """
    command = multiprocessing.parent_process()
    assert command is not None
    command.join()
    os._exit(1)


def _warm() -> None:
    """Import what every job needs, where nothing else has."""
    import_module(starting.NEEDED)


_messages: Any = None
_over: Any = None  # an event: no job begins any more, not even one that a worker had been given
_unready: HarnessError | None = None
_interrupted: Any = None  # what answers Ctrl-C during a job; nothing does under nohup


def _call(job: Job) -> str:
    if _unready is not None:
        raise _unready
    said = 0.0
    stage_said = ""

    def report(stage: str, share: float, loss: float | None) -> None:
        nonlocal said, stage_said
        now = time.monotonic()
        if stage != stage_said or now - said > EVERY_SECONDS:
            said, stage_said = now, stage
            _messages.put((job.name, stage, share, loss))

    signal.signal(signal.SIGINT, _interrupted)
    try:
        if _over.is_set():
            raise KeyboardInterrupt
        return job.function(*job.arguments, report)
    finally:
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        give_back()
