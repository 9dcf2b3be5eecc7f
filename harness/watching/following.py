"""Reads what running cells write, as they write it: rows of their logs, what was measured at marks, and records. No torch, no side effect.

Watching is a reader beside the line: a run knows nobody who listens to it, and one who fails takes nothing with him.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any, Protocol, Self

from harness.report.escape import visible
from harness.store import records
from harness.store.records import Row

EVERY_SECONDS = 1.0  # how often files are looked at
SHOWN = 3  # samples of a mark that whoever watches is told


class Listener(Protocol):
    """Who hears of runs. ``cell`` is the name that a run has among those followed."""

    def row(self, cell: str, row: Row) -> None:
        """A row of a run's log: ``step``, ``phase``, ``share`` and its metrics."""

    def mark(self, cell: str, mark: Row) -> None:
        """A checkpoint as a record holds it, with alarms in words and samples."""

    def end(self, cell: str, record: Row) -> None:
        """The record of a run that ended."""


class Closing(Listener, Protocol):
    """A listener that can be told that nothing more comes."""

    def close(self) -> None:
        """Finish what is still open: runs that were killed."""


class View(Listener, Protocol):
    """A listener who shows what it hears to a person."""

    def say(self, text: str) -> None:
        """Show one line."""


Signature = tuple[int, int, int]


@dataclass
class _Followed:
    """One run: how far its files were read, and what lay in its folder before it began."""

    folder: Path
    before: dict[str, Signature]
    read: dict[str, int] = field(default_factory=dict)
    told: set[float] = field(default_factory=set)
    ended: bool = False


class Follower:
    """Follows runs by name while it is used as a context; listeners hear of each thing once, in the order in which it was written.

    What an earlier run left in a folder is not told. A listener that raises is dropped, with one line to ``complain``.
    """

    def __init__(self, folders: Mapping[str, Path], listeners: Sequence[Listener], complain: Callable[[str], None]) -> None:
        self._runs = {name: _Followed(folder, _signatures(folder)) for name, folder in folders.items()}
        self._listeners, self._complain = list(listeners), complain
        self._done = threading.Event()
        self._thread = threading.Thread(target=self._follow, daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._done.set()
        self._thread.join()
        self.look()

    def look(self) -> None:
        """Tell what was written since the last look; a run whose files cannot be read is followed no further, with one line."""
        for name, run in self._runs.items():
            if run.ended:
                continue
            try:
                self._look_at(name, run)
            except Exception as error:
                run.ended = True
                self._complain(f"{name} cannot be followed: {_in_words(error)}")

    def _follow(self) -> None:
        while not self._done.wait(EVERY_SECONDS):
            self.look()

    def _look_at(self, name: str, run: _Followed) -> None:
        record = records.read_one(run.folder) if _new(run, records.RECORD) else {}  # first: what is complete by then is read below
        told = [(row.get("step", 0), "row", row) for row in _rows(run, records.METRICS)]
        found = {float(mark["mark"]): mark for mark in [*_recorded(run, record), *_rows(run, records.MARKS)]}  # at a run's end in both
        run.told.update(found)
        told += [(mark.get("step", 0), "mark", mark) for mark in found.values()]
        for _, what, each in sorted(told, key=lambda found: found[0]):  # a mark behind the rows of its step, before those of the next
            self._tell(what, name, each)
        if record:
            run.ended = True
            self._tell("end", name, record)

    def _tell(self, what: str, name: str, told: Row) -> None:
        for listener in list(self._listeners):
            try:
                getattr(listener, what)(name, told)
            except Exception as error:
                self._listeners.remove(listener)
                self._complain(f"{type(listener).__name__} stopped listening, runs go on: {_in_words(error)}")


@contextmanager
def followed(folders: Mapping[str, Path], view: View, trackers: Sequence[Closing]) -> Iterator[None]:
    """Let a view and trackers hear of runs until the block ends, the trackers by the runs' folders and in a thread of their own.

    A tracker may wait for a network; the view must not.
    """
    unique = {folder.name: folder for folder in folders.values()}
    try:
        with Follower(folders, [view], view.say), Follower(unique if trackers else {}, trackers, view.say):
            yield
    finally:
        for tracker in trackers:
            try:
                tracker.close()
            except Exception as error:
                view.say(f"{type(tracker).__name__} could not be closed: {_in_words(error)}")


def _in_words(error: Exception) -> str:
    return visible(f"{type(error).__name__}: {error}", lines=False)


def _signatures(folder: Path) -> dict[str, Signature]:
    return {name: found for name in (records.RECORD, records.METRICS, records.MARKS) if (found := _signature(folder / name))}


def _signature(path: Path) -> Signature | None:
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_ino, found.st_size, found.st_mtime_ns


def _new(run: _Followed, name: str) -> bool:
    """Whether a file is there that was not when following began."""
    found = _signature(run.folder / name)
    if found == run.before.get(name):
        return False
    run.before.pop(name, None)
    return found is not None


def _rows(run: _Followed, name: str) -> list[Row]:
    """The whole lines that were added to a file of JSON lines since it was last read."""
    if not _new(run, name):
        return []
    try:
        with (run.folder / name).open("rb") as stream:
            stream.seek(run.read.get(name, 0))
            whole, newline, _ = stream.read().rpartition(b"\n")
    except OSError:  # a run that ends takes marks.jsonl away; its record then says the same
        return []
    run.read[name] = run.read.get(name, 0) + len(whole) + len(newline)
    return [json.loads(text) for text in whole.splitlines()]


def _recorded(run: _Followed, record: Row) -> list[dict[str, Any]]:
    """The marks that a record holds and nobody told, as marks.jsonl would have: a short run is over before it is looked at."""
    left = [each for each in record.get("checkpoints") or () if float(each["mark"]) not in run.told]
    if not left:
        return []
    said = records.Cell(run.folder, record).samples()
    rows = {each["mark"]: [row for row in said if row["mark"] == each["mark"] and row["slice"] == "evaluation"] for each in left}
    return [{**each, "alarms": [], "samples": rows[each["mark"]][:SHOWN]} for each in left]
