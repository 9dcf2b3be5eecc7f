"""Whether a study's report still says what its records say: made from the same bytes by the same code, it need not be made again."""

from __future__ import annotations

import hashlib
import json
import sys
from importlib.metadata import version
from pathlib import Path
from typing import Any

from harness.store import calibrations
from harness.store.files import write_bytes

NOTE = "made.json"
REPORT = "report"
DRAWN_BY = ("numpy", "scipy", "matplotlib", "jinja2", "markupsafe")
CODE = ("report", "measure", "store", "training/ledger.py", "types.py", "commands/reporting.py")


def summary(study: Path) -> str | None:
    """What was printed of a study when its report was made; None where records, code or the report itself are others now."""
    note = _read(study / REPORT / NOTE)
    return note["summary"] if note and note["of"] == source(study) and note["files"] == _files(study / REPORT) else None


def remember(study: Path, said: str) -> None:
    """Note of which records the report in a study's folder is, and what is printed of it."""
    note = {"of": source(study), "files": _files(study / REPORT), "summary": said}
    write_bytes(study / REPORT / NOTE, json.dumps(note, indent=1).encode())


def source(study: Path) -> str:
    """A hash of all that decides a study's report: every file but the report's own, and the code and libraries that make it.

    How judges agree with labels stands beside the study and is on its page, so it counts.
    """
    found = {str(path.relative_to(study)): _sha256(path) for path in _below(study) if REPORT not in path.relative_to(study).parts[:1]}
    found |= {str(path.relative_to(study.parent)): _sha256(path) for path in calibrations.paths(study.parent)}
    home = Path(__file__).parents[1]
    code = {name: [_sha256(file) for file in _code(home / name)] for name in CODE}
    made_by = [sys.version, *(version(name) for name in DRAWN_BY)]
    return hashlib.sha256(json.dumps([found, code, made_by], sort_keys=True).encode()).hexdigest()


def _code(place: Path) -> list[Path]:
    return [place] if place.is_file() else [path for path in _below(place) if "__pycache__" not in path.parts]


def _files(folder: Path) -> dict[str, str]:
    return {str(path.relative_to(folder)): _sha256(path) for path in _below(folder) if path.name != NOTE}


def _below(folder: Path) -> list[Path]:
    return sorted(path for path in folder.rglob("*") if path.is_file())


def _sha256(path: Path) -> str:
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def _read(path: Path) -> dict[str, Any] | None:
    try:
        note: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return note if isinstance(note, dict) and {"of", "files", "summary"} <= note.keys() else None
