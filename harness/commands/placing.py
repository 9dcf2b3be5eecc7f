"""Where an algorithm lands on a task: ``compare --quick`` beside the first yardstick, in a process of its own while others are at work."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from harness.commands import asked
from harness.plugins import registry

PATIENCE = 30.0  # seconds that an interrupted comparison has to stop its workers


def words(task: str | None, algorithm: str, results: Path) -> list[str]:
    """The comparison as it is typed behind ``harness``, on the first yardstick of tasks where none is named; beside that of algorithms.

    HarnessError where the algorithm cannot run there, said before anything runs.
    """
    task = task or registry.yardsticks("tasks")[0].name
    names = list(dict.fromkeys([registry.yardsticks("algorithms")[0].name, algorithm]))
    asked.resolve({"task": task, "algorithms": names, "quick": True}, None)
    return ["compare", "--task", task, "--algorithms", ",".join(names), "--quick", "--results", str(results)]


@dataclass(frozen=True)
class Comparison:
    """A comparison that has begun. It waits where nobody hears its progress for long, so ``followed`` is called once."""

    process: subprocess.Popen[str]
    printed: IO[str]

    def followed(self) -> Iterator[str]:
        """Its lines of progress as they come, until it has ended."""
        assert self.process.stderr is not None
        yield from (line.rstrip("\n") for line in self.process.stderr)

    def ended(self) -> tuple[int, str]:
        """Its exit status and what it printed."""
        status = self.process.wait()
        self.printed.seek(0)
        return status, self.printed.read().rstrip("\n")


@contextmanager
def begun(typed: Sequence[str]) -> Iterator[Comparison]:
    """``harness`` with these words, in a session of its own; interrupted as by Ctrl-C where the block or this process ends early."""
    # -P: the folder stood in is no place to import from, as for `harness`.
    command = [sys.executable, "-P", "-m", "harness.commands.accompanied", *typed]
    pipe = subprocess.PIPE
    with (
        tempfile.TemporaryFile("w+", encoding="utf-8") as printed,
        subprocess.Popen(
            command, stdin=pipe, stdout=printed, stderr=pipe, encoding="utf-8", errors="replace", start_new_session=True
        ) as process,
    ):
        try:
            yield Comparison(process, printed)
        finally:
            _end(process)


def _end(process: subprocess.Popen[str]) -> None:
    """Let go of a process, which interrupts it and its workers, and kill what has not stopped after that."""
    try:
        process.communicate(timeout=PATIENCE)  # closes its standard input
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
