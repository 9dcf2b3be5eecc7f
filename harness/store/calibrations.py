"""How judges agree with labels, as records: ``calibrations/`` beside the studies, written by ``harness judge --calibrate``."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path

from harness.store.files import compressed, line, write_bytes, write_json
from harness.store.records import SCHEMA, Row

FOLDER, KIND = "calibrations", "calibration"


def write(folder: Path, key: str, facts: Mapping[str, object], rows: Sequence[Mapping[str, object]]) -> Path:
    """Write a calibration, its pairs first, in place of an earlier one of the same key; the path of the record."""
    write_bytes(folder / f"{key}.jsonl.gz", compressed("".join(line(row) + "\n" for row in rows)))
    path = folder / f"{key}.json"
    write_json(path, {**facts, "schema": SCHEMA, "kind": KIND})
    return path


def read(results: Path) -> list[Row]:
    """Every calibration that stands beside the studies of a folder, in the order of their names; what cannot be read is passed over."""
    return [found for path in paths(results) if (found := _read(path)) is not None]


def paths(results: Path) -> list[Path]:
    """The files of the records."""
    return sorted((results / FOLDER).glob("*.json"))


def _read(path: Path) -> Row | None:
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    whole = isinstance(found, dict) and found.get("schema") == SCHEMA and found.get("kind") == KIND
    return found if whole and all(isinstance(found.get(part), dict) for part in ("judge", "data", "metrics")) else None
