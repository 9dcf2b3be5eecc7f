"""What may be changed in a record after it was written: whether it still stands, and of what it is a trial. Its numbers never are."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from harness.store.files import write_json
from harness.store.records import RECORD, read_one


def supersede(folder: Path, *, superseded: bool | str = True) -> None:
    """Mark a run as superseded (kept on disk, left out by ``read``), or as current again, byte for byte what it was.

    A text in place of True is the reason with which readers name what they leave out.
    """
    record = {name: value for name, value in read_one(folder).items() if name != "superseded"}
    if record:
        write_json(folder / RECORD, record | ({"superseded": superseded} if superseded else {}))


def restate(folder: Path, about: Mapping[str, Any]) -> None:
    """Let the record of a trial say that it is one of ``about``; nothing where there is no record."""
    record = read_one(folder)
    if record and record.get("trial_of") != about:
        write_json(folder / RECORD, {**record, "trial_of": dict(about)})
