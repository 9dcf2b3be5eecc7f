"""What a study stores that can be judged again: its runs, their last samples, and the single comparisons among these."""

from __future__ import annotations

import math
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any, NamedTuple, cast

from harness.data import places
from harness.errors import HarnessError
from harness.plugins import registry
from harness.sharing import withheld
from harness.store import records
from harness.store.records import Cell, Row, Study
from harness.types import Response, Task


class Comparison(NamedTuple):
    """A stored response and the SFT sample that it met on one prompt."""

    prompt_id: int
    prompt: str
    ours: Response
    theirs: Response

    @property
    def texts(self) -> tuple[str, str, str]:
        """What a judge reads."""
        return self.prompt, self.ours.text, self.theirs.text

    @property
    def turned(self) -> tuple[str, str, str]:
        """The same in the other order."""
        return self.prompt, self.theirs.text, self.ours.text


def found_studies(results: Path) -> list[Path]:
    """The studies at or directly below a folder; HarnessError where there is none."""
    found = records.studies(results)
    if not found:
        raise HarnessError(
            f"No study at or directly below {results}: a folder with an experiment.json is wanted; 'harness compare' makes one."
        )
    return found


def stored(study: Study) -> list[Cell]:
    """The references and the finished cells of a study."""
    return [
        *study.references,
        *(cell for cell in study.cells if cell.record.get("status") == "finished" and cell.record.get("checkpoints")),
    ]


def task_of(study: Study) -> Task:
    """The task of a study, as it is installed; HarnessError where its data are neither here nor in a folder above the study."""
    experiment = study.experiment
    module = registry.load("tasks", str(experiment.get("task_path") or experiment.get("task")))
    options, source = experiment.get("task_options") or {}, experiment.get("source")
    found = places.above(study.folder, str(source)) if source else source
    if found == source:
        return cast(Task, module.task(source, **options))
    with suppress(HarnessError):  # what lies elsewhere under this name may be anybody's
        if found is not None and _same_data(task := module.task(found, **options), experiment):
            return cast(Task, task)
    said = f"its data '{source}' are neither here nor in a folder above it, and this asks its task"
    raise HarnessError(f"{study.folder.name}: {said}. Run the command in the folder from which --data named them.")


def _same_data(task: Task, experiment: Mapping[str, Any]) -> bool:
    """Whether a task is on the data of a study: a version ends with the hash of them, behind that of the code."""
    return task.version.rpartition("-")[2] == str(experiment.get("task_version")).rpartition("-")[2]


def final(cell: Cell, part: str) -> list[Row]:
    """The rows of a slice at a run's last mark; HarnessError where their texts were withheld."""
    mark = float(cell.record["checkpoints"][-1]["mark"])
    rows = [row for row in cell.samples() if row.get("mark") == mark and row.get("slice") == part]
    if any(withheld.is_note(row.get(name)) for row in rows for name in withheld.TEXTS):
        raise HarnessError(f"{cell.folder}: its texts were withheld when it was shared, so nothing of it can be read again.")
    return rows


def comparisons(cell: Cell, cap: float = math.inf) -> list[Comparison]:
    """A run's responses at its last mark, each with the SFT sample stored beside it; none from before single outcomes were kept.

    ``cap`` is the most tokens of a response: an SFT sample as long was cut off there.
    """
    whole = [row for row in final(cell, "evaluation") if row.get("wins_each") and row.get("sft_response") is not None and "response" in row]
    return [_comparison(row, cap) for row in whole]


def references_of(study: Study) -> dict[str, list[str]]:
    """The data's own response to every evaluation prompt of a study, as its rows hold them."""
    rows = (row for cell in stored(study) for row in final(cell, "evaluation"))
    return {str(row["prompt"]): [str(row["reference_response"])] for row in rows if row.get("reference_response") and "prompt" in row}


def _comparison(row: Row, cap: float) -> Comparison:
    """The sample that a response met ended by itself if it is shorter than the cap: at the cap it was cut off, or its EOS was."""
    theirs = Response(row["sft_response"], finished=row["opponent_lengths"][0] < cap)
    return Comparison(int(row["prompt_id"]), row["prompt"], Response(row["response"], finished=bool(row.get("finished", True))), theirs)
