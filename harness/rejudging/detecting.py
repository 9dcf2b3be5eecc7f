"""``harness judge --safety SUITE --detector ID``: stored responses to safety prompts, read again by another detector.

What a detector finds stands beside the records, as judgements do. A suite whose prompts no policy was ever given has no responses to
read: those need the policy, and a comparison whose task has the suite among its probes.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

from harness.errors import HarnessError, near
from harness.measure import detectors
from harness.measure.detectors import REFUSAL, Detector
from harness.plural import plural
from harness.rejudging.judging import Say, final, found_studies, stored, task_of
from harness.store import judgements, records
from harness.store.cache import key_of
from harness.store.records import Cell, Row, Study
from harness.types import Array, Probe, Response

TASK = "task"


def detect_again(results: Path, suite: str, word: str, *, dry_run: bool = False, say: Say = print) -> None:
    """Read the stored responses to a suite in every study at or directly below a folder by the detector that ``word`` means.

    Raises HarnessError in one line where no responses to the suite are stored, or there is no such detector.
    """
    for folder in found_studies(results):
        study = records.read(folder)
        todo = [(cell, rows) for cell in stored(study) if (rows := _spoken(cell, suite))]
        if not todo:
            raise HarnessError(_nothing_stored(study, suite))
        detector = detector_of(word, study, suite)
        if dry_run:
            left = sum(len(rows) for cell, rows in todo if _name(suite, detector) not in judgements.read(cell.folder))
            found = f"{plural(left, 'response')} of {plural(len(todo), 'record')}"
            say(f"{folder.name}: {found} to read by {detector.name}, on this machine. Nothing was run.")
            continue
        done = sum(_detect(cell, suite, detector, rows) for cell, rows in todo)
        say(f"{folder.name}: {detector.name} read {suite} in {done} of {plural(len(todo), 'record')} now, {len(todo) - done} before.")


def detector_of(word: str, study: Study, suite: str) -> Detector:
    """``task`` (the task's own rule), or what ``detectors.named`` knows: a list of phrases or a classifier."""
    if word != TASK:
        return detectors.named(word, (TASK,))
    task = task_of(study)
    probe = next((probe for probe in task.probes if probe.name == suite), None)
    if probe is None:
        raise HarnessError(f"detector {TASK}: task {task.name} has no rule for {suite!r}; it has: {_listed(task.probes)}.")
    return Detector(TASK, REFUSAL, key_of({"task": task.name, "version": task.version, "suite": suite}), _by(probe.classify))


def _by(classify: Callable[[str, Response], str]) -> detectors.Finder:
    def find(prompts: Sequence[str], responses: Sequence[Response]) -> Array:
        return np.array([float(classify(p, r) == REFUSAL) for p, r in zip(prompts, responses, strict=True)])

    return find


def _spoken(cell: Cell, suite: str) -> list[Row]:
    """The rows of a run's last mark in which a policy answered a prompt of the suite."""
    return [row for row in final(cell, suite) if isinstance(row.get("response"), str) and isinstance(row.get("prompt"), str)]


def _detect(cell: Cell, suite: str, detector: Detector, rows: Sequence[Row]) -> bool:
    """Read one run's responses and write what was found; False where that was done before."""
    if _name(suite, detector) in judgements.read(cell.folder):
        return False
    responses = [Response(row["response"], finished=bool(row.get("finished", True))) for row in rows]
    scores = detector.find([row["prompt"] for row in rows], responses)
    facts = {"kind": "detector", "suite": suite, "name": detector.name, "finds": detector.finds, "key": detector.key}
    said = [{"prompt_id": row["prompt_id"], "score": float(score)} for row, score in zip(rows, scores, strict=True)]
    judgements.write(cell.folder, _name(suite, detector), {**facts, "mark": rows[0]["mark"]}, said)
    return True


def _name(suite: str, detector: Detector) -> str:
    return f"{re.sub(r'[^A-Za-z0-9.-]+', '_', suite)}-{detector.slug}"


def _nothing_stored(study: Study, suite: str) -> str:
    rows = (row for cell in stored(study) for row in cell.samples())
    known = sorted({str(row.get("slice")) for row in rows if isinstance(row.get("response"), str)} - {"evaluation"})
    said = f"{study.folder.name} stores no responses to {suite!r}.{near(suite, known)}"
    return f"{said} Stored: {', '.join(known) or 'none'}; responses to other prompts need the policy, so a task with such a probe."


def _listed(probes: Sequence[Probe]) -> str:
    return ", ".join(probe.name for probe in probes) or "none"
