"""A measurement beside the cells that failed: of a seed's reference, or of the samples of its frontiers.

What an earlier one recorded stays, and says that the last try failed; where there is nothing to keep, the failure is the record.
"""

from __future__ import annotations

import traceback
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from harness.store import records
from harness.store.writer import CellWriter

ROOMS = ("references", records.FRONTIERS)


def failure(stage: str, error: BaseException) -> dict[str, str]:
    """What a record says of an error: the stage that it ended and its message."""
    return {"stage": stage, "message": f"{type(error).__name__}: {error}"}


def record(folder: Path, stage: str, error: BaseException, blank: Mapping[str, Any]) -> str:
    """Record a failure in ``folder``, its traceback in log.txt; ``blank`` is the record of nothing measured. Returns the status failed."""
    said = "".join(traceback.format_exception(error)).rstrip() + "\n"
    found = records.read_one(folder)
    if found.get("status") == "finished":
        with (folder / records.LOG).open("a", encoding="utf-8") as log:
            log.write(said)
        records.write_json(folder / records.RECORD, {**found, "failure": failure(stage, error)})
        return "failed"
    with CellWriter(folder) as writer:
        writer.note(said.rstrip())
        writer.finish({**blank, "status": "failed", "failure": failure(stage, error)}, {})
    return "failed"


def settled(folder: Path) -> bool:
    """Whether a measurement has finished and no later one failed: whether it need not be made again."""
    found = records.read_one(folder)
    return found.get("status") == "finished" and not found.get("failure")


def names(study: Path) -> list[str]:
    """The measurements of a study whose last try failed, such as ``references/seed0``."""
    folders = [folder for room in ROOMS for folder in sorted((study / room).glob("*"))]
    return [f"{each.parent.name}/{each.name}" for each in folders if records.read_one(each).get("failure")]
