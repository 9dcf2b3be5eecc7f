"""What a run says of itself at a mark to whoever watches: its checkpoint, alarms as they stand, samples. Nothing is measured."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from harness.planning.experiment import Experiment
from harness.report import alarms
from harness.report.alarm import Alarm
from harness.store.writer import CellWriter
from harness.watching.following import SHOWN

TEXTS = ("prompt_id", "prompt", "response", "sft_response")


def said(
    writer: CellWriter, checkpoints: Sequence[Mapping[str, Any]], judge: str, rows: Sequence[Mapping[str, Any]], experiment: Experiment
) -> list[Alarm]:
    """Write the latest checkpoint beside the run's log; the alarms that the run has raised so far come back.

    They are raised from what a reader will find on disk, so that the record and every later report agree on them. An error in doing so is
    noted in log.txt and costs the run nothing: a report raises them again.
    """
    found: list[Alarm] = []
    with writer.extra():
        head = {"checkpoints": list(checkpoints), "judge": {"primary": judge}}
        found = alarms.live(head, *writer.written(), experiment.model_dump(mode="json"))
        texts = [{name: row[name] for name in TEXTS} for row in rows if row["slice"] == "evaluation"][:SHOWN]
        writer.mark({**checkpoints[-1], "alarms": [each.plain() for each in found], "samples": texts})
    return found
