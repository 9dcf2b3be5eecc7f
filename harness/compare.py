"""The straight line: an experiment becomes a study of recorded cells at matched compute. Reports are made from what it recorded."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from harness.called import answers
from harness.commands.progress import GridView
from harness.data.shapes import shape
from harness.execute.allocation import SMALL, keep
from harness.execute.device import use
from harness.execute.kernels import choose
from harness.execute.local import Job, run_jobs
from harness.measure.tuning import Trial, trial
from harness.planning import footing, room
from harness.planning.budget import Budget, budgets
from harness.planning.experiment import Cell, Experiment, cell_fingerprint, cells, fingerprint, study_key
from harness.plugins import registry
from harness.report.escape import visible
from harness.running import superseding, work
from harness.running.superseding import settled
from harness.store import failing, records, temperatures
from harness.store.standing import restate
from harness.tuning.search import tuned
from harness.tuning.trials import caveat, trial_seed, tunes
from harness.types import Task
from harness.watching import trackers
from harness.watching.following import Closing, followed

answers(__name__)

MEMORY_SHARE = 0.6


def carry_out(
    experiment: Experiment,
    results: Path,
    *,
    task: Task,
    jobs: int | None = None,
    force: bool = False,
    verbose: bool = False,
    report_to: Sequence[str] = (),
) -> Path:
    """Run what is not finished yet and return the study's folder; ``report_to`` names trackers. Parents import no torch."""
    size = shape(experiment.model, len(task.vocabulary), footing.lora(experiment))
    spending = budgets(experiment, size, task.typical_tokens)
    study = results / f"{experiment.task}-{study_key(experiment)[:8]}"
    told = trackers.opened(report_to, results, study.name)
    records.write_json(
        study / records.EXPERIMENT,
        {**experiment.plain(), **_note(experiment, spending, task), **_plan(experiment, study)},
    )
    for plan in experiment.algorithms:
        superseding.edited(study, plan)
    workers = jobs or processes(size.blocks + size.head, experiment.threads)
    experiment = _tuned(experiment, study, _trial_budget(spending), workers, verbose=verbose, force=force, told=told)
    todo = list(_jobs(experiment, study, spending, force))
    room.refuse(experiment, size, sum(job.function is work.run_cell for job in todo), results)
    if todo:
        execute(experiment, todo, workers, verbose, told)
    for said in (_unkept(experiment, study), *_distances(study)):
        if said:
            print(said)
    return study


def _note(experiment: Experiment, spending: Mapping[str, Budget], task: Task) -> dict[str, Any]:
    """What experiment.json says beside the experiment; ``budget_flops`` is the largest budget."""
    largest = max((budget.flops or 0.0 for budget in spending.values()), default=0.0)
    amounts = {"budgets": [budget._asdict() for budget in spending.values()], "budget_flops": largest or None}
    return {"fingerprint": fingerprint(experiment), "study": study_key(experiment), "notes": list(task.notes), **amounts}


def _plan(experiment: Experiment, study: Path) -> dict[str, Any]:
    """Algorithms and seeds of the study as first saved, under ``plan``: what joins them later is exploratory."""
    now = {"algorithms": [plan.name for plan in experiment.algorithms], "seeds": list(experiment.seeds)}
    file = study / records.EXPERIMENT
    saved = json.loads(file.read_text(encoding="utf-8")) if file.exists() else {}
    return {"plan": saved.get("plan") or now}


def failures(study: Path, experiment: Experiment) -> list[str]:
    """Names of the experiment's cells and trials that failed, and of references and frontiers whose last measurement failed."""
    return [folder.name for folder, _ in _failed(study, experiment)] + failing.names(study)


def reasons(study: Path, experiment: Experiment) -> list[str]:
    """Why each of the experiment's cells and trials failed, a line each, as its record says it."""
    failed = ((folder.name, (record.get("failure") or {}).get("message")) for folder, record in _failed(study, experiment))
    return [visible(f"{name}: {message}", lines=False) for name, message in failed]


def _failed(study: Path, experiment: Experiment) -> list[tuple[Path, dict[str, Any]]]:
    """Folders and records of runs that failed, of algorithms that the experiment has: the study may hold others, asked for before."""
    names = {plan.name for plan in experiment.algorithms}
    failed = [(folder, records.read_one(folder)) for folder in superseding.folders(study) if records.status(folder) == "failed"]
    return [(folder, record) for folder, record in failed if record.get("algorithm", {}).get("name") in names]


def _trial_budget(spending: Mapping[str, Budget]) -> Budget:
    """What a trial may spend: what a cell of the largest budget may."""
    return max(spending.values(), key=lambda budget: budget.limit)


def _tuned(
    experiment: Experiment, study: Path, budget: Budget, workers: int, *, verbose: bool, force: bool, told: Sequence[Closing] = ()
) -> Experiment:
    """The experiment with the settings that its trials chose; as it is where none are asked for. Trials that have a record are kept.

    A trial that has a record may have been run for another reason. It then says the new one, the first of this comparison: winners are
    chosen by what records say, here and on pages.
    """
    if not tunes(experiment):
        return experiment
    if said := caveat(experiment):
        print(said)
    done: set[Path] = set()
    ran: set[Path] = set()

    def run(wanted: Sequence[Cell]) -> list[Trial]:
        marks = [cell_fingerprint(experiment, cell, budget.limit)[:8] for cell in wanted]
        folders = [_folder(study, cell, mark) for cell, mark in zip(wanted, marks, strict=True)]
        left = {folder: cell for folder, cell in zip(folders, wanted, strict=True) if (force and folder not in done) or not settled(folder)}
        if left:
            execute(experiment, list(_trial_jobs(experiment, budget, left, prepared=bool(ran))), workers, verbose, told)
            ran.update(left)
        for folder, cell in zip(folders, wanted, strict=True):
            if folder not in done:
                restate(folder, cell.trial or {})
                done.add(folder)
        return [trial(records.read_one(folder)) for folder in folders]

    found = tuned(experiment, budget.spec, run)
    superseding.retuned(study, found, done)
    return found


def _trial_jobs(experiment: Experiment, budget: Budget, left: Mapping[Path, Cell], *, prepared: bool) -> Iterator[Job]:
    """The trials in these folders, behind the shared stages of their seed unless an earlier round prepared them."""
    seed = trial_seed(experiment)
    first = f"reference-seed{seed}"
    if not prepared:
        yield Job(first, work.prepare, (experiment, seed), threads=experiment.stage_threads)
    for folder, cell in left.items():
        yield Job(f"trial-{cell.label}", work.run_cell, (experiment, cell, budget, folder), () if prepared else (first,))


def execute(experiment: Experiment, todo: list[Job], workers: int, verbose: bool, told: Sequence[Closing] = ()) -> None:
    """Run jobs in processes of this machine and show how far they are; an error in one is raised here. ``told`` hear of each run."""
    folders = {job.name: Path(str(job.arguments[-1])) for job in todo if job.function is work.run_cell}
    with GridView(len(todo)) as view, followed(folders, view, told):
        threads, prepare = experiment.threads, partial(_ready, experiment)
        run_jobs(todo, workers=workers, threads=threads, prepare=prepare, verbose=verbose, heard=view.update, done=view.finish)


def _ready(experiment: Experiment) -> None:
    """What a worker sets up for this experiment before its first job."""
    size = shape(experiment.model, 1)
    keep(size.blocks + size.head)
    use(experiment.device, experiment.attention)
    choose(experiment.kernels, size.width)


def _jobs(experiment: Experiment, study: Path, spending: Mapping[str, Budget], force: bool) -> Iterator[Job]:
    """What is left to do: for each seed its shared stages first, then the reference and the cells that wait for them, then frontiers."""
    for seed in experiment.seeds:
        of_reference = list(reference_jobs(experiment, study, seed, force=force))
        left = list(_cell_jobs(experiment, study, spending, seed, force))
        if not left and len(of_reference) == 1 and failing.settled(study / records.FRONTIERS / f"seed{seed}"):
            continue
        first, *measured = of_reference
        # Before the frontier as well: only in the first have the shared stages the threads that they are keyed by.
        yield first
        yield from measured[:-1]
        yield from left
        yield from measured[-1:]  # short, so that it fills what the last cells leave of the cores
        before = tuple(job.name for job in (*of_reference, *left))
        yield Job(f"frontier-seed{seed}", work.measure_mixture, (experiment, seed, study), before, threads=experiment.stage_threads)


def reference_jobs(experiment: Experiment, study: Path, seed: int, *, force: bool = False) -> Iterator[Job]:
    """The shared stages of a seed, which come first, then what its reference is measured by, where that is not settled."""
    first, folder = f"reference-seed{seed}", study / "references" / f"seed{seed}"
    yield Job(first, work.prepare, (experiment, seed), threads=experiment.stage_threads)
    if force or not failing.settled(folder):
        samples = Job(f"samples-reference-seed{seed}", work.draw_samples, (experiment, seed), (first,))
        drawn = [samples] if experiment.frontier_samples else []
        yield from drawn
        before = (first, *(job.name for job in drawn))
        yield Job(f"measure-reference-seed{seed}", work.measure_reference, (experiment, seed, folder), before)
    elif temperatures.missing(folder, experiment.temperatures):
        yield Job(f"temperatures-reference-seed{seed}", work.measure_temperatures, (experiment, seed, folder, True), (first,))


def _cell_jobs(experiment: Experiment, study: Path, spending: Mapping[str, Budget], seed: int, force: bool) -> Iterator[Job]:
    """The cells of a seed; those whose algorithm samples first, for they take longest, and a long last one keeps processes waiting."""
    first = (f"reference-seed{seed}",)
    for cell in sorted((cell for cell in cells(experiment) if cell.seed == seed), key=lambda cell: not _samples(cell)):
        budget = spending[cell.budget]
        folder = _folder(study, cell, cell_fingerprint(experiment, cell, budget.limit)[:8])
        if force or not settled(folder):
            yield Job(cell.label, work.run_cell, (experiment, cell, budget, folder), first)
        elif _lacks(experiment, folder) and (folder / records.POLICY).is_dir():
            yield Job(f"temperatures-{cell.label}", work.measure_temperatures, (experiment, seed, folder, False), first)


def _samples(cell: Cell) -> bool:
    entry = registry.find("algorithms", cell.algorithm.path or cell.algorithm.name)
    return bool(entry.declaration.metadata.get("family", "offline") != "offline")


def _lacks(experiment: Experiment, folder: Path) -> bool:
    """Whether a cell finished without being measured at every temperature."""
    return records.status(folder) == "finished" and bool(temperatures.missing(folder, experiment.temperatures))


def _unkept(experiment: Experiment, study: Path) -> str:
    """One line about cells that lack a temperature and whose policy is gone; empty where there are none."""
    lost = [folder for folder in sorted((study / "cells").glob("*")) if _lacks(experiment, folder)]
    if not lost:
        return ""
    wanted = ", ".join(f"{value:g}" for value in experiment.temperatures if value != 1)
    advice = 'run again with --force and keep_policies = "final" (--keep final)'
    cells = f"{len(lost)} finished cell{'s' if len(lost) > 1 else ''} kept no policy and"
    return f"{cells} cannot be measured at every temperature of {wanted}: {advice}."


def _distances(study: Path) -> Iterator[str]:
    """One line for every seed whose reference is far from what its policies start from, as its record says."""
    for file in sorted(study.glob(f"references/*/{records.RECORD}")):
        found = (records.read_one(file.parent).get("diagnostics") or {}).get("reference_distance") or {}
        if said := footing.distance(found):
            yield f"{file.parent.name}: {said}"


def _folder(study: Path, cell: Cell, mark: str) -> Path:
    """The cell's folder: the one that ends in its fingerprint, whatever its label was when the grid had another number of budgets."""
    room = "cells" if cell.trial is None else "trials"
    known = sorted(study.glob(f"{room}/*-seed{cell.seed}-{mark}"))
    return known[0] if known else study / room / f"{cell.label}-{mark}"


def processes(weights: int, threads: int) -> int:
    """Processes at a time: as many as the cores allow, fewer where a model's copies would not fit in memory."""
    cores = max(1, len(os.sched_getaffinity(0)) // threads)
    if weights < SMALL:  # a process uses one core well and two badly
        return cores
    need = weights * 4 * 7 + 3_000_000_000  # policy, gradients, two moments, reference, proxy and judge in float32; activations
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    return max(1, min(cores, int(memory * MEMORY_SHARE // need)))
