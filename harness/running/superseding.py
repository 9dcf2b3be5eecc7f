"""Which records of a study still stand for its experiment: what finished, what another version of a file made, what tuning left behind.

Nothing is deleted: a record that no longer stands is marked, left out of reports, and current again when it is asked for again.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from pathlib import Path

from harness.planning.experiment import AlgorithmPlan, Experiment
from harness.store import records
from harness.store.standing import supersede
from harness.types import Setting

RETUNED = "tuned by an earlier comparison of this study, which chose otherwise; never pooled with what was chosen since"


def settled(folder: Path) -> bool:
    """Whether a run needs no other: it finished or diverged, be it before an edit since undone. One that failed is tried again."""
    if records.status(folder) == "superseded":
        supersede(folder, superseded=False)
    return records.status(folder) in ("finished", "diverged")


def folders(study: Path) -> list[Path]:
    """The folders of all cells and trials of a study."""
    return [*sorted((study / "cells").glob("*")), *sorted((study / "trials").glob("*"))]


def edited(study: Path, plan: AlgorithmPlan) -> None:
    """Keep, but leave out of reports, records that another version of the algorithm's file made; a changed default counts as one."""
    old = [folder for folder in folders(study) if _standing(folder) and _made_by_another(folder, plan)]
    for folder in old:
        supersede(folder)
    if old:
        print(f"{plan.name} changed: {len(old)} record{'s' if len(old) > 1 else ''} kept as superseded, its cells run anew")


def retuned(study: Path, tuned: Experiment, trials: Collection[Path]) -> None:
    """Keep, but leave out of reports by name, what an earlier tuning of the same algorithms left in a study.

    These are ``trials`` other than those that chose now, which would be taken for their rivals, and cells at settings that they no longer
    choose, which would stand beside the winners as if they were results of the same tuning. Cells that ran untuned stay.
    """
    chosen = {plan.name: [dict(setting) for setting in plan.settings] for plan in tuned.algorithms}
    old = [folder for folder in folders(study) if _standing(folder) and folder not in trials and _left_behind(folder, chosen)]
    for folder in old:
        supersede(folder, superseded=RETUNED)
    if old:
        print(f"Tuning chose otherwise than before: {len(old)} record{'s' if len(old) > 1 else ''} kept as superseded")


def _standing(folder: Path) -> bool:
    return records.status(folder) not in (None, "superseded")


def _made_by_another(folder: Path, plan: AlgorithmPlan) -> bool:
    algorithm = records.read_one(folder).get("algorithm", {})
    return bool(algorithm.get("name") == plan.name and algorithm.get("hash") != plan.sha256)


def _left_behind(folder: Path, chosen: Mapping[str, Sequence[Mapping[str, Setting]]]) -> bool:
    record = records.read_one(folder)
    name = record.get("algorithm", {}).get("name")
    if name not in chosen:
        return False
    return record.get("kind") == "trial" or ("tuning" in record and record.get("setting") not in chosen[name])
