"""Which cells run again: those that failed or whose algorithm's file changed, and not those whose change was undone."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from harness import compare
from harness.planning.budget import Budget
from harness.planning.experiment import AlgorithmPlan, Cell, Experiment, cell_fingerprint, cells, resolve
from harness.running import superseding
from harness.store import records
from harness.store.writer import CellWriter
from harness.tuning.trials import trials
from harness.types import Defaults

BUDGET = Budget("2epochs", "flops", 1e12, 1e12)
SPENDING = {"2epochs": BUDGET, "4epochs": Budget("4epochs", "flops", 2e12, 2e12)}


def experiment(*names: str, **flags: Any) -> Experiment:
    return resolve({"task": "toy", "algorithms": list(names), **flags}, None, Defaults(algorithms=("dpo",), model="tiny-64"))


def folder_of(study: Path, given: Experiment, cell: Cell) -> Path:
    return study / "cells" / f"{cell.label}-{cell_fingerprint(given, cell, SPENDING[cell.budget].limit)[:8]}"


def recorded(folder: Path, status: str, plan: AlgorithmPlan | None = None) -> Path:
    with CellWriter(folder) as writer:
        algorithm = {"name": plan.name, "hash": plan.sha256} if plan else {}
        writer.finish({"kind": "cell", "status": status, "algorithm": algorithm, "number": 0.1 + 0.2}, {})
    return folder


def left(given: Experiment, study: Path, *, force: bool = False) -> set[str]:
    for plan in given.algorithms:
        superseding.edited(study, plan)
    return {job.name for job in compare._cell_jobs(given, study, SPENDING, 0, force)}


def test_what_finished_or_diverged_is_skipped_and_what_failed_is_tried_again(tmp_path: Path) -> None:
    given = experiment("dpo")
    first, second, third = cells(given)
    for cell, status in ((first, "finished"), (second, "diverged"), (third, "failed")):
        recorded(folder_of(tmp_path, given, cell), status)
    assert left(given, tmp_path) == {third.label}
    assert left(given, tmp_path, force=True) == {first.label, second.label, third.label}


def tried(study: Path, given: Experiment, cell: Cell, about: dict[str, Any], score: float = 0.0) -> Path:
    """A trial of an earlier comparison, run for the reason ``about``."""
    folder = study / "trials" / f"{cell.label}-{cell_fingerprint(given, cell, BUDGET.limit)[:8]}"
    found = {"tuning_score": {"value": score}, "kl": {"value": 1.0}}
    record = {"kind": "trial", "status": "finished", "trial_of": about, "setting": dict(cell.setting), "seed": cell.seed}
    record |= {"algorithm": {"name": cell.algorithm.name}, "fingerprint": cell_fingerprint(given, cell, BUDGET.limit)}
    with CellWriter(folder) as writer:
        writer.finish({**record, "checkpoints": [{"mark": 1.0, "final": True, "metrics": found}]}, {})
    return folder


def tuned(given: Experiment, study: Path) -> Experiment:
    """The experiment as its trials, which all have a record, leave it."""
    return compare._tuned(given, study, BUDGET, 1, verbose=False, force=False)


def test_a_trial_that_was_run_for_another_reason_takes_part_in_this_comparison_and_its_record_says_so(tmp_path: Path) -> None:
    """Every trial was run on the way to a KL; now the same runs are grid values and drawn points, and the drawn ones score higher."""
    given = experiment("dpo", tune=1, kl_targets=[1.0])
    wanted = list(trials(given, "2epochs"))
    folders = [tried(tmp_path, given, cell, {"target": 2.0, "grid": {}}, score=float((cell.trial or {})["index"])) for cell in wanted]
    (plan,) = tuned(given, tmp_path).algorithms
    assert all(note["tuned"] for note in plan.tuning)
    assert all("learning_rate" in setting for setting in plan.settings)
    on_disk = [records.read_one(folder)["trial_of"] for folder in folders]
    assert on_disk == [dict(cell.trial or {}) for cell in wanted]  # not what the search for a KL, which came later, asked them for


def ran_tuned(study: Path, given: Experiment, cell: Cell, **record: Any) -> Path:
    folder = recorded(folder_of(study, given, cell), "finished", cell.algorithm)
    records.write_json(folder / records.RECORD, {**records.read_one(folder), "setting": dict(cell.setting), **record})
    return folder


def test_what_an_earlier_tuning_chose_is_left_out_by_name_and_current_again_when_it_is_chosen_again(tmp_path: Path) -> None:
    given = experiment("dpo", tune=1)
    wanted = list(trials(given, "2epochs"))
    for cell in wanted:
        tried(tmp_path, given, cell, dict(cell.trial or {}), score=float((cell.trial or {})["index"]))
    other_seed = tried(tmp_path, given, wanted[0]._replace(seed=7), dict(wanted[0].trial or {}), score=99.0)
    winners = [ran_tuned(tmp_path, given, cell, tuning={"tuned": True}) for cell in cells(tuned(given, tmp_path))]
    declared = list(cells(given))
    stale, plain = ran_tuned(tmp_path, given, declared[0], tuning={"tuned": True}), ran_tuned(tmp_path, given, declared[1])
    (foreign,) = [ran_tuned(tmp_path, given, cell, tuning={"tuned": True}) for cell in list(cells(experiment("ipo")))[:1]]
    after = tuned(given, tmp_path)
    assert [records.status(folder) for folder in (stale, other_seed)] == ["superseded"] * 2
    assert {records.status(folder) for folder in (*winners, plain, foreign)} == {"finished"}
    records.write_json(tmp_path / records.EXPERIMENT, {})
    assert f"{stale.name}: {superseding.RETUNED}" in records.read(tmp_path).skipped
    assert left(given, tmp_path) == {declared[2].label}  # asked for again, the stale one needs no run
    assert records.status(stale) == "finished"
    assert len(after.algorithms[0].settings) == len(declared)


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
    from harness.running.cell import Plan, _blank

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


def test_an_algorithm_that_joins_a_finished_grid_runs_alone(tmp_path: Path) -> None:
    """Its cells, what their seed shares (in the cache by then) and the frontier that their policies may propose for; nothing else."""
    before, after = experiment("dpo", temperatures=()), experiment("dpo", "kto", temperatures=())
    for cell in cells(before):
        recorded(folder_of(tmp_path, before, cell), "finished")
    for room in ("references", records.FRONTIERS):
        recorded(tmp_path / room / "seed0", "finished")
    assert list(compare._jobs(before, tmp_path, SPENDING, False)) == []
    jobs = [job.name for job in compare._jobs(after, tmp_path, SPENDING, False)]
    joined = [cell.label for cell in cells(after) if cell.algorithm.name == "kto"]
    assert jobs == ["reference-seed0", *joined, "frontier-seed0"] and len(joined) == 3


def test_cells_that_sample_come_first(tmp_path: Path) -> None:
    """They take longest; a long last one keeps the other processes waiting."""
    names = [job.name for job in compare._jobs(experiment("dpo", "ppo", temperatures=()), tmp_path, SPENDING, False)]
    runs = [name.split("-")[0] for name in names if name.startswith(("dpo", "ppo"))]
    assert runs == sorted(runs, reverse=True) and set(runs) == {"dpo", "ppo"}


def test_the_short_measurement_of_the_reference_comes_last_of_a_seeds_jobs_and_its_samples_before_any_cell(tmp_path: Path) -> None:
    """So that no long cell ends a seed alone while the other processes have nothing to do."""
    jobs = {job.name: job for job in compare._jobs(experiment("dpo"), tmp_path, SPENDING, False)}
    first, samples, *cells, measured, frontier = jobs
    assert (first, samples, measured, frontier) == (
        "reference-seed0",
        "samples-reference-seed0",
        "measure-reference-seed0",
        "frontier-seed0",
    )
    assert all(jobs[name].after == (first,) for name in (samples, *cells)) and set(jobs[measured].after) == {first, samples}
    assert set(jobs[frontier].after) == set(jobs) - {frontier}
    assert "samples-reference-seed0" not in {job.name for job in compare.reference_jobs(experiment("dpo", frontier_samples=0), tmp_path, 0)}
