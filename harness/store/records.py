"""Records of a run on disk, schema 1: one folder per cell, its ``record.json`` written last, so that a folder with one is finished.

Layout of a study: ``experiment.json``, ``references/seed<k>/``, ``cells/<name>/`` and ``report/``. Readers skip what they do not know and
say why; they never guess. Nothing here imports torch.
"""

from __future__ import annotations

import gzip
import io
import json
import math
import os
import shutil
import tempfile
import traceback
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np

from harness.errors import HarnessError

SCHEMA = 1
RECORD, METRICS, SAMPLES = "record.json", "metrics.jsonl", "samples.jsonl.gz"
TIMES, LOG, EXPERIMENT, POLICY = "times.json", "log.txt", "experiment.json", "policy"
KINDS = ("cell", "reference")
STATUSES = ("finished", "diverged", "failed")

Row = dict[str, Any]


def plain(value: Any) -> Any:
    """The value in JSON's own types: numpy scalars and arrays as numbers and lists, NaN and infinities as null, keys as strings."""
    if value is None or isinstance(value, str | bool | int):
        return value
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, np.generic | np.ndarray):
        return plain(value.tolist())
    if isinstance(value, Mapping):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, Sequence | set | frozenset):
        return [plain(item) for item in (sorted(value) if isinstance(value, set | frozenset) else value)]
    raise HarnessError(f"A record holds numbers, text, lists and mappings; got {type(value).__name__}.")


def line(row: Mapping[str, Any]) -> str:
    """One row as canonical JSON: sorted keys, floats as ``repr`` writes them, no newline."""
    return json.dumps(plain(row), sort_keys=True, ensure_ascii=False, allow_nan=False, separators=(",", ":"))


def write_bytes(path: Path, content: bytes) -> None:
    """Replace a file atomically and durably: temp file in the same folder, fsync, rename, fsync of the folder; mode 0644."""
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(handle, "wb") as stream:
            stream.write(content)
            stream.flush()
            os.fsync(stream.fileno())
        Path(temporary).chmod(0o644)  # mkstemp makes 0600: unreadable to whoever shares the results
        os.replace(temporary, path)  # noqa: PTH105  the standard name of the atomic rename
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise
    _sync_folder(path.parent)


def write_json(path: Path, value: Any) -> None:
    """Write a value as canonical, indented JSON, atomically. NaN and infinities become null."""
    text = json.dumps(plain(value), sort_keys=True, ensure_ascii=False, allow_nan=False, indent=1)
    write_bytes(path, (text + "\n").encode())


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


class CellWriter:
    """The one writer of a run's folder. Used as a context: an exception inside leaves its traceback in log.txt and no record.

    Opening a folder starts the run anew: an older record is removed first, so that the folder counts as unfinished until ``finish``.
    """

    def __init__(self, folder: Path) -> None:
        """Open ``folder`` (made if absent) and drop what an earlier, killed or redone run left in it."""
        self.folder = folder
        self._samples: list[str] = []
        folder.mkdir(parents=True, exist_ok=True)
        for name in (RECORD, SAMPLES, TIMES):
            (folder / name).unlink(missing_ok=True)
        shutil.rmtree(folder / POLICY, ignore_errors=True)
        _sync_folder(folder)
        self._metrics = (folder / METRICS).open("w", encoding="utf-8", newline="\n")
        self._log = (folder / LOG).open("w", encoding="utf-8", newline="\n")

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
        """Keep sample rows for samples.jsonl.gz, in the order given, and make the metrics so far durable."""
        self._samples.extend(line(row) for row in rows)
        self.sync()

    def note(self, text: str) -> None:
        """Append a line to log.txt."""
        self._log.write(text + "\n")
        self._log.flush()

    def finish(self, record: Mapping[str, Any], times: Mapping[str, Any]) -> None:
        """Write the samples, the times and, last, the record: the commit marker. The record's ``schema`` is filled in."""
        if record.get("kind") not in KINDS or record.get("status", "finished") not in STATUSES:
            raise HarnessError(f"A record needs a kind in {KINDS} and a status in {STATUSES}.")
        self.sync()
        write_bytes(self.folder / SAMPLES, compressed("".join(text + "\n" for text in self._samples)))
        write_json(self.folder / TIMES, times)
        write_json(self.folder / RECORD, {**record, "schema": SCHEMA})


def compressed(text: str) -> bytes:
    """The text as gzip with no name and no time in its header: the same text gives the same bytes."""
    buffer = io.BytesIO()
    with gzip.GzipFile(filename="", mode="wb", fileobj=buffer, mtime=0) as stream:
        stream.write(text.encode())
    return buffer.getvalue()


@dataclass(frozen=True, eq=False)
class Cell:
    """One finished folder: its record at once, everything else when asked for."""

    folder: Path
    record: Row

    @cached_property
    def times(self) -> Row:
        """Seconds by phase, device and peak memory; empty where the file is absent."""
        path = self.folder / TIMES
        return _mapping(path) if path.exists() else {}

    def metrics(self) -> list[Row]:
        """The rows of metrics.jsonl; a last line without a newline was torn by a killed process and is dropped."""
        path = self.folder / METRICS
        return _rows(path, path.read_text(encoding="utf-8")) if path.exists() else []

    def samples(self) -> list[Row]:
        """The rows of samples.jsonl.gz, in the order in which they were written."""
        path = self.folder / SAMPLES
        return _rows(path, gzip.decompress(path.read_bytes()).decode()) if path.exists() else []


@dataclass(frozen=True, eq=False)
class Reference(Cell):
    """The SFT reference of one seed, measured like a cell at mark 0."""


@dataclass(frozen=True)
class Study:
    """Cells that may be compared with each other. ``skipped`` and ``unfinished`` name the folders left out, with the reason."""

    folder: Path
    experiment: Row
    cells: tuple[Cell, ...]
    references: tuple[Reference, ...]
    skipped: tuple[str, ...] = ()
    unfinished: tuple[str, ...] = ()


def read(study: Path) -> Study:
    """The study in a folder. Superseded records are left out; an unknown schema or a broken record is skipped with its reason."""
    experiment = study / EXPERIMENT
    if not experiment.exists():
        raise HarnessError(f"{study} holds no {EXPERIMENT}: not a study. Give the folder that a comparison wrote.")
    skipped: list[str] = []
    unfinished: list[str] = []
    cells = [Cell(folder, record) for folder, record in _records(study / "cells", "cell", skipped, unfinished)]
    references = [Reference(folder, record) for folder, record in _records(study / "references", "reference", skipped, unfinished)]
    return Study(study, _mapping(experiment), tuple(cells), tuple(references), tuple(skipped), tuple(unfinished))


def studies(root: Path) -> list[Path]:
    """The study folders under ``root``: itself if it is one, else its direct subfolders that are, sorted by name."""
    if (root / EXPERIMENT).exists():
        return [root]
    return sorted(folder for folder in root.iterdir() if (folder / EXPERIMENT).exists()) if root.is_dir() else []


def status(folder: Path) -> str | None:
    """The status of a folder's record, ``superseded`` where it was marked so, None where there is none that can be read."""
    try:
        record = _mapping(folder / RECORD)
    except HarnessError:
        return None
    return "superseded" if record.get("superseded") else str(record.get("status"))


def supersede(folder: Path, *, superseded: bool = True) -> None:
    """Mark a cell as superseded (kept on disk, left out by ``read``), or as current again, byte for byte what it was."""
    record = {name: value for name, value in _mapping(folder / RECORD).items() if name != "superseded"}
    write_json(folder / RECORD, record | ({"superseded": True} if superseded else {}))


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
            skipped.append(f"{folder.name}: {found}; this version reads schema {SCHEMA}, kind {kind!r}")
        elif not record.get("superseded"):
            yield folder, record


def _mapping(path: Path) -> Row:
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except (ValueError, OSError) as error:
        raise HarnessError(f"{path.parent.name}/{path.name} cannot be read: {error}") from error
    if not isinstance(value, dict):
        raise HarnessError(f"{path.parent.name}/{path.name} holds a {type(value).__name__}, not a mapping.")
    return value


def _rows(path: Path, text: str) -> list[Row]:
    rows: list[Row] = []
    for number, content in enumerate(text.split("\n")[:-1], start=1):  # what follows the last newline is empty or torn
        try:
            rows.append(json.loads(content))
        except ValueError as error:
            raise HarnessError(f"{path.parent.name}/{path.name}, line {number} is not JSON: {error}") from error
    return rows
