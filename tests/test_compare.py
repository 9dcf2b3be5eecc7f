"""Which cells run again: those that failed or whose algorithm's file changed, and not those whose change was undone."""

from __future__ import annotations

from pathlib import Path

import pytest

from harness import compare
from harness.experiment import AlgorithmPlan, Cell, Experiment, cell_fingerprint, cells, resolve
from harness.store import records
from harness.types import Defaults

BUDGET = 1e12


def experiment(*names: str) -> Experiment:
    return resolve({"task": "toy", "algorithms": list(names)}, None, Defaults(algorithms=("dpo",), model="tiny-64"))


def folder_of(study: Path, given: Experiment, cell: Cell) -> Path:
    return study / "cells" / f"{cell.label}-{cell_fingerprint(given, cell, BUDGET)[:8]}"


def recorded(folder: Path, status: str, plan: AlgorithmPlan | None = None) -> Path:
    with records.CellWriter(folder) as writer:
        algorithm = {"name": plan.name, "hash": plan.sha256} if plan else {}
        writer.finish({"kind": "cell", "status": status, "algorithm": algorithm, "number": 0.1 + 0.2}, {})
    return folder


def left(given: Experiment, study: Path, *, force: bool = False) -> set[str]:
    for plan in given.algorithms:
        compare._supersede(study, plan)
    return {name for name, _, _ in compare._cell_jobs(given, study, BUDGET, 0, force)}


def test_what_finished_or_diverged_is_skipped_and_what_failed_is_tried_again(tmp_path: Path) -> None:
    given = experiment("dpo")
    first, second, third = cells(given)
    for cell, status in ((first, "finished"), (second, "diverged"), (third, "failed")):
        recorded(folder_of(tmp_path, given, cell), status)
    assert left(given, tmp_path) == {third.label}
    assert left(given, tmp_path, force=True) == {first.label, second.label, third.label}


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
