"""Which cells run again: those that failed or whose algorithm's file changed, and not those whose change was undone."""

from __future__ import annotations

from pathlib import Path

import pytest

from harness import compare
from harness.budget import Budget
from harness.experiment import AlgorithmPlan, Cell, Experiment, cell_fingerprint, cells, resolve
from harness.store import records
from harness.types import Defaults

BUDGET = Budget("2epochs", "flops", 1e12, 1e12)
SPENDING = {"2epochs": BUDGET, "4epochs": Budget("4epochs", "flops", 2e12, 2e12)}


def experiment(*names: str, **flags: str) -> Experiment:
    return resolve({"task": "toy", "algorithms": list(names), **flags}, None, Defaults(algorithms=("dpo",), model="tiny-64"))


def folder_of(study: Path, given: Experiment, cell: Cell) -> Path:
    return study / "cells" / f"{cell.label}-{cell_fingerprint(given, cell, SPENDING[cell.budget].limit)[:8]}"


def recorded(folder: Path, status: str, plan: AlgorithmPlan | None = None) -> Path:
    with records.CellWriter(folder) as writer:
        algorithm = {"name": plan.name, "hash": plan.sha256} if plan else {}
        writer.finish({"kind": "cell", "status": status, "algorithm": algorithm, "number": 0.1 + 0.2}, {})
    return folder


def left(given: Experiment, study: Path, *, force: bool = False) -> set[str]:
    for plan in given.algorithms:
        compare._supersede(study, plan)
    return {name for name, _, _ in compare._cell_jobs(given, study, SPENDING, 0, force)}


def test_what_finished_or_diverged_is_skipped_and_what_failed_is_tried_again(tmp_path: Path) -> None:
    given = experiment("dpo")
    first, second, third = cells(given)
    for cell, status in ((first, "finished"), (second, "diverged"), (third, "failed")):
        recorded(folder_of(tmp_path, given, cell), status)
    assert left(given, tmp_path) == {third.label}
    assert left(given, tmp_path, force=True) == {first.label, second.label, third.label}


def test_a_budget_added_to_a_finished_grid_runs_alone(tmp_path: Path) -> None:
    """The finished cells keep their folders, whose names say no budget because there was one; taking it away again runs nothing."""
    before, after = experiment("dpo"), experiment("dpo", budget="1x,2x")
    for cell in cells(before):
        recorded(folder_of(tmp_path, before, cell), "finished")
    assert left(after, tmp_path) == {cell.label for cell in cells(after) if cell.budget == "4epochs"}
    for cell in cells(after):
        if cell.budget == "4epochs":
            recorded(folder_of(tmp_path, after, cell), "finished")
    assert left(after, tmp_path) == left(before, tmp_path) == left(experiment("dpo", budget="2x"), tmp_path) == set()


def test_an_edit_that_is_undone_finds_its_old_record_again(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    mine = tmp_path / "mine.py"
    original = "def algorithm(chosen, *, delta: int = 1): ...\n"  # no positive float: one cell
    mine.write_text(original)
    before = experiment(str(mine))
    (cell,) = cells(before)
    old = recorded(folder_of(tmp_path, before, cell), "finished", cell.algorithm)
    content = (old / records.RECORD).read_bytes()

    mine.write_text(original.replace("= 1", "= 2"))
    after = experiment(str(mine))
    assert left(after, tmp_path) == {cell.label}
    assert "mine changed" in capsys.readouterr().out
    assert records.status(old) == "superseded"
    assert left(after, tmp_path) == {cell.label}
    assert capsys.readouterr().out == ""  # said once
    newer = next(cells(after))
    new = recorded(folder_of(tmp_path, after, newer), "finished", newer.algorithm)

    mine.write_text(original)
    assert left(before, tmp_path) == set()
    assert (old / records.RECORD).read_bytes() == content
    assert records.status(new) == "superseded"


def test_a_convention_that_names_a_setting_is_recorded_at_its_value(tmp_path: Path) -> None:
    from harness.cell import Plan, _blank

    flags = {"task": "toy", "algorithms": ["ipo"], "set": ["ipo.normalize=mean"]}
    given = resolve(flags, None, Defaults(algorithms=("dpo",), model="tiny-64"))
    cell = next(cells(given))
    assert _blank(Plan(given, cell, BUDGET, tmp_path))["algorithm"]["conventions"] == {"reduction": "mean"}


def test_the_plan_of_a_study_is_the_one_first_saved(tmp_path: Path) -> None:
    first, later = experiment("dpo"), experiment("dpo", "kto")
    plan = compare._plan(first, tmp_path)
    assert plan == {"plan": {"algorithms": ["dpo"], "seeds": [0]}}
    records.write_json(tmp_path / records.EXPERIMENT, {**first.model_dump(mode="json"), **plan})
    assert compare._plan(later, tmp_path) == plan
