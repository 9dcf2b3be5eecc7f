"""Records of a run on disk, schema 1: one folder per cell, its ``record.json`` written last, so that a folder with one is finished.

Layout of a study: ``experiment.json``, ``references/seed<k>/``, ``cells/<name>/`` and ``report/``. Readers skip what they do not know and
say why; they never guess. Nothing here imports torch.
"""

from __future__ import annotations

import gzip
import json
import zlib
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from harness.errors import HarnessError
from harness.store import ahead, pooling
from harness.store.files import compressed, line, plain, write_bytes, write_json
from harness.store.lines import Row, rows, shared

__all__ = ["Cell", "Reference", "Row", "Study", "compressed", "line", "plain", "read", "studies", "write_bytes", "write_json"]

SCHEMA = 1
DIGITS = 7
RECORD, METRICS, SAMPLES = "record.json", "metrics.jsonl", "samples.jsonl.gz"
TIMES, LOG, EXPERIMENT, POLICY = "times.json", "log.txt", "experiment.json", "policy"
MARKS = "marks.jsonl"  # of a run that is not finished: what was measured so far, for whoever watches
ON_THE_WAY = "policies"  # those of the marks on the way, a folder each
FRONTIERS, TEMPERATURES, TEMPERATURE_ROWS = "frontiers", "temperatures.json", "temperatures.jsonl.gz"
KINDS = ("cell", "reference", "trial", "frontier")
STATUSES = ("finished", "diverged", "failed")


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
        return ahead.taken(path, sample_rows) if path.exists() else []


def sample_rows(path: Path) -> list[Row]:
    """The rows of a samples.jsonl.gz; HarnessError where it is not whole or holds something else."""
    try:
        return shared(rows(path, _unpacked(path.read_bytes())))
    except (OSError, EOFError, zlib.error) as error:
        raise HarnessError(f"{path.parent.name}/{path.name} is not a whole gzip file: {error}") from error


def _unpacked(content: bytes) -> bytes:
    """What a gzip file holds, in half of gzip's own time where it is of one piece, as those that are written here."""
    piece = zlib.decompressobj(wbits=31)
    found = piece.decompress(content)
    return found if piece.eof and not piece.unused_data else gzip.decompress(content)


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
