"""Records of a run on disk, schema 1: one folder per cell, its ``record.json`` written last, so that a folder with one is finished.

Layout of a study: ``experiment.json``, ``references/seed<k>/``, ``cells/<name>/`` and ``report/``. Readers skip what they do not know and
say why; they never guess. Nothing here imports torch.
"""

from __future__ import annotations

import gzip
import json
import os
import shutil
import traceback
import zlib
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from types import TracebackType
from typing import Any

from harness.errors import HarnessError
from harness.store import pooling
from harness.store.files import compressed, line, opened_alone, plain, shortened, sync_folder, write_bytes, write_json
from harness.store.lines import Row, rows, shared

__all__ = ["Cell", "CellWriter", "Reference", "Row", "Study", "compressed", "line", "plain", "read", "studies", "write_bytes", "write_json"]

SCHEMA = 1
DIGITS = 7
RECORD, METRICS, SAMPLES = "record.json", "metrics.jsonl", "samples.jsonl.gz"
TIMES, LOG, EXPERIMENT, POLICY = "times.json", "log.txt", "experiment.json", "policy"
MARKS = "marks.jsonl"  # of a run that is not finished: what was measured so far, for whoever watches
ON_THE_WAY = "policies"  # those of the marks on the way, a folder each
FRONTIERS, TEMPERATURES, TEMPERATURE_ROWS = "frontiers", "temperatures.json", "temperatures.jsonl.gz"
KINDS = ("cell", "reference", "trial", "frontier")
STATUSES = ("finished", "diverged", "failed")


class CellWriter:
    """The one writer of a run's folder. Used as a context: an exception inside leaves its traceback in log.txt and no record.

    Opening a folder starts the run anew: an older record is removed first, so that the folder counts as unfinished until ``finish``.
    """

    def __init__(self, folder: Path) -> None:
        """Open ``folder`` (made if absent) and drop what an earlier, killed or redone run left; HarnessError where another is writing."""
        self.folder = folder
        self._samples: list[str] = []
        folder.mkdir(parents=True, exist_ok=True)
        self._log = opened_alone(folder / LOG)
        for name in (RECORD, SAMPLES, TIMES, TEMPERATURES, TEMPERATURE_ROWS, MARKS):
            (folder / name).unlink(missing_ok=True)
        for name in (POLICY, ON_THE_WAY):
            shutil.rmtree(folder / name, ignore_errors=True)
        sync_folder(folder)
        self._metrics = (folder / METRICS).open("w", encoding="utf-8", newline="\n")

    def __enter__(self) -> CellWriter:
        """The writer itself."""
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        """Close the streams; what was raised inside is noted and goes on."""
        if error is not None:
            self.note("".join(traceback.format_exception(kind, error, trace)).rstrip())
        self._metrics.close()
        self._log.close()

    def log(self, row: Mapping[str, Any]) -> None:
        """Append one row to metrics.jsonl; it survives the end of the process, and after ``sync`` that of the machine."""
        self._metrics.write(line(row) + "\n")
        self._metrics.flush()

    def sync(self) -> None:
        """Make the rows logged so far durable; called at checkpoints."""
        self._metrics.flush()
        os.fsync(self._metrics.fileno())

    def samples(self, rows: Iterable[Mapping[str, Any]]) -> None:
        """Keep sample rows for samples.jsonl.gz, in the order given, and make the metrics so far durable.

        Numbers keep ``DIGITS`` significant digits: models compute in float32, and what is noise does not compress.
        """
        self._samples.extend(line(shortened(plain(row), DIGITS)) for row in rows)
        self.sync()

    def mark(self, row: Mapping[str, Any]) -> None:
        """Append what was measured at a mark to marks.jsonl, which lasts until ``finish``: record and samples then say all of it."""
        with (self.folder / MARKS).open("a", encoding="utf-8", newline="\n") as stream:
            stream.write(line(row) + "\n")

    def written(self) -> tuple[list[Row], list[Row]]:
        """The sample rows and the rows of the log so far, as a reader will find them."""
        log = self.folder / METRICS
        return [json.loads(text) for text in self._samples], rows(log, log.read_bytes())

    def note(self, text: str) -> None:
        """Append a line to log.txt."""
        self._log.write(text + "\n")
        self._log.flush()

    @contextmanager
    def extra(self) -> Iterator[None]:
        """For what stands beside the record and can be measured again: an error inside is noted in log.txt and goes no further."""
        try:
            yield
        except Exception:
            self.note(traceback.format_exc())

    def finish(self, record: Mapping[str, Any], times: Mapping[str, Any]) -> None:
        """Write the samples, the times and, last, the record: the commit marker. The record's ``schema`` is filled in."""
        if record.get("kind") not in KINDS or record.get("status", "finished") not in STATUSES:
            raise HarnessError(f"A record needs a kind in {KINDS} and a status in {STATUSES}.")
        self.sync()
        write_bytes(self.folder / SAMPLES, compressed("".join(text + "\n" for text in self._samples)))
        write_json(self.folder / TIMES, times)
        write_json(self.folder / RECORD, {**record, "schema": SCHEMA})
        (self.folder / MARKS).unlink(missing_ok=True)


@dataclass(frozen=True, eq=False)
class Cell:
    """One finished folder: its record at once, everything else when asked for."""

    folder: Path
    record: Row

    @cached_property
    def times(self) -> Row:
        """Seconds by phase, device and peak memory; empty where the file is absent."""
        return _mapping(self.folder / TIMES) if (self.folder / TIMES).exists() else {}

    def metrics(self) -> list[Row]:
        """The rows of metrics.jsonl; a last line without a newline was torn by a killed process and is dropped."""
        path = self.folder / METRICS
        return rows(path, path.read_bytes()) if path.exists() else []

    def samples(self) -> list[Row]:
        """The rows of samples.jsonl.gz in the order in which they were written, read once; HarnessError where they cannot be."""
        return self._samples

    @cached_property
    def _samples(self) -> list[Row]:
        path = self.folder / SAMPLES
        try:
            return shared(rows(path, gzip.decompress(path.read_bytes()))) if path.exists() else []
        except (OSError, EOFError, zlib.error) as error:
            raise HarnessError(f"{path.parent.name}/{path.name} is not a whole gzip file: {error}") from error


@dataclass(frozen=True, eq=False)
class Reference(Cell):
    """The SFT reference of one seed, measured like a cell at mark 0."""


@dataclass(frozen=True)
class Study:
    """Cells that may be compared with each other. ``skipped`` and ``unfinished`` name the folders left out, with the reason.

    ``trials`` are runs on tuning prompts that settings were chosen by; they are no results. ``newer`` names those of the skipped folders
    that a later version wrote, which this one may not silently do without.
    """

    folder: Path
    experiment: Row
    cells: tuple[Cell, ...]
    references: tuple[Reference, ...]
    skipped: tuple[str, ...] = ()
    unfinished: tuple[str, ...] = ()
    trials: tuple[Cell, ...] = ()
    frontiers: tuple[Cell, ...] = ()  # per seed, the policies' samples that the optimal frontiers are estimated from as well
    newer: tuple[str, ...] = ()


def read(study: Path) -> Study:
    """The study in a folder. Superseded records are left out; an unknown schema or a broken record is skipped with its reason."""
    experiment = study / EXPERIMENT
    if not experiment.exists():
        raise HarnessError(f"{study} holds no {EXPERIMENT}: not a study. Give the folder that a comparison wrote.")
    skipped: list[str] = []
    unfinished: list[str] = []
    written = _mapping(experiment)
    cells = [Cell(folder, record) for folder, record in _records(study / "cells", "cell", skipped, unfinished)]
    references = [Reference(folder, record) for folder, record in _records(study / "references", "reference", skipped, unfinished)]
    trials = [Cell(folder, record) for folder, record in _records(study / "trials", "trial", skipped, unfinished)]
    foreign = pooling.foreign(written, {each.folder.name: each.record for each in (*cells, *references, *trials)})
    skipped += foreign.values()
    kept = tuple(cell for cell in cells if cell.folder.name not in foreign)
    own = tuple(reference for reference in references if reference.folder.name not in foreign)
    tried = tuple(trial for trial in trials if trial.folder.name not in foreign)
    frontiers = [Cell(folder, record) for folder, record in _records(study / FRONTIERS, "frontier", skipped, unfinished)]
    strange = pooling.foreign(written, {each.folder.name: each.record for each in frontiers})  # named as references are: by seed
    skipped += strange.values()
    lines = tuple(each for each in frontiers if each.folder.name not in strange)
    newer = tuple(each.folder for each in skipped if isinstance(each, _Newer))
    return Study(study, written, kept, own, tuple(skipped), tuple(unfinished), tried, lines, newer)


def studies(root: Path) -> list[Path]:
    """The study folders under ``root``: itself if it is one, else its direct subfolders that are, sorted by name."""
    if (root / EXPERIMENT).exists():
        return [root]
    return sorted(folder for folder in root.iterdir() if (folder / EXPERIMENT).exists()) if root.is_dir() else []


def read_one(folder: Path) -> Row:
    """The record in a run's folder; empty where there is none that can be read."""
    try:
        return _mapping(folder / RECORD)
    except HarnessError:
        return {}


def status(folder: Path) -> str | None:
    """The status of a folder's record, ``superseded`` where it was marked so, None where there is none that can be read."""
    record = read_one(folder)
    return None if not record else "superseded" if record.get("superseded") else str(record.get("status"))


def _records(parent: Path, kind: str, skipped: list[str], unfinished: list[str]) -> Iterable[tuple[Path, Row]]:
    for folder in sorted(parent.iterdir()) if parent.is_dir() else ():
        if not folder.is_dir() or folder.name == "superseded" or folder.name.startswith("."):
            continue
        if not (folder / RECORD).exists():
            unfinished.append(folder.name)
            continue
        try:
            record = _mapping(folder / RECORD)
        except HarnessError as error:
            skipped.append(str(error))
            continue
        if record.get("schema") != SCHEMA or record.get("kind") != kind:
            found = f"schema {record.get('schema')!r}, kind {record.get('kind')!r}"
            said = f"{folder.name}: {found}; this version reads schema {SCHEMA}, kind {kind!r}"
            skipped.append(_Newer.of(folder.name, said) if _later(record.get("schema")) else said)
        elif kind == "reference" and record.get("status") == "failed":
            skipped.append(f"{folder.name}: the reference could not be measured: {(record.get('failure') or {}).get('message')}")
        elif not (superseded := record.get("superseded")):
            yield folder, record
        elif isinstance(superseded, str):
            skipped.append(f"{folder.name}: {superseded}")


class _Newer(str):
    """The reason why a record of a later schema is skipped, with the name of its folder."""

    folder: str

    @classmethod
    def of(cls, folder: str, said: str) -> _Newer:
        made = cls(said)
        made.folder = folder
        return made


def _later(schema: object) -> bool:
    return isinstance(schema, int) and not isinstance(schema, bool) and schema > SCHEMA


def _mapping(path: Path) -> Row:
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except (ValueError, OSError) as error:
        raise HarnessError(f"{path.parent.name}/{path.name} cannot be read: {error}") from error
    if not isinstance(value, dict):
        raise HarnessError(f"{path.parent.name}/{path.name} holds a {type(value).__name__}, not a mapping.")
    return value
