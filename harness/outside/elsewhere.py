"""``harness evaluate``: a checkpoint trained elsewhere, measured against a seed's reference, prompts and judge as every policy is.

Nothing is trained but what the seed shares, where it is not in the cache. The record is that of a cell, so the page shows it beside the
others; what it cost is what somebody declares, or unknown, and then no sentence calls its compute matched. This file needs no torch:
``harness.outside.visitor`` measures, in a process of its own.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import harness.compare as engine
from harness.checkpoints import place
from harness.commands import asked
from harness.data import vocabulary
from harness.data.shapes import PRESETS, check_folder, shape
from harness.errors import HarnessError
from harness.execute.local import Job
from harness.planning import footing
from harness.planning.budget import Budget, budgets
from harness.planning.experiment import Cell, Experiment, cell_fingerprint, fingerprint, study_key
from harness.planning.plan import AlgorithmPlan
from harness.plugins import registry
from harness.running import superseding
from harness.store import records
from harness.store.hashes import weights_hash
from harness.types import Task

UNKNOWN = "unknown"


class Declared(NamedTuple):
    """What somebody says that a checkpoint cost; None where it is unknown."""

    flops: float | None = None
    device_hours: float | None = None
    device: str = ""

    @property
    def compute(self) -> dict[str, Any]:
        """As a record holds it: no ledger counted any of it."""
        return {"declared": True, "canonical": {} if self.flops is None else {"update": self.flops}, "executed": {}, "counts": {}}

    @property
    def times(self) -> dict[str, Any]:
        """As the file of a run's times holds it: empty where nothing is known."""
        if self.device_hours is None:
            return {}
        seconds = 3600 * self.device_hours
        return {"wall": {"update": seconds}, "total_wall": seconds, "device": self.device or "declared, not named", "declared": True}


class Visit(NamedTuple):
    """A checkpoint to be measured: where it is, where its record goes, and what is declared of it."""

    model: str
    cell: Cell
    budget: Budget
    folder: Path
    declared: Declared


def amount(text: str, flag: str) -> float | None:
    """A declared amount: a number above 0, or ``unknown``, which is None."""
    if text.strip().lower() == UNKNOWN:
        return None
    try:
        found = float(text)
    except ValueError:
        found = math.nan
    if not (math.isfinite(found) and found > 0):
        raise HarnessError(f"{flag} {text!r}: a number above 0 or 'unknown' is wanted.")
    return found


def evaluate(
    model: Path, name: str, task: str, results: Path, *, seed: int | None = None, declared: Declared | None = None, verbose: bool = False
) -> Path:
    """Measure the checkpoint in a transformers folder as the algorithm ``name`` in a study of ``task``; the study's folder comes back.

    The study is the one below ``results``, or a new one with the task's defaults where there is none. ``seed`` says whose reference it
    meets: the first where none is named. A checkpoint that was measured before under the same declaration is not measured again.

    Raises:
        HarnessError: no such task or seed, several studies, a study of another engine, a folder that is no checkpoint or has another
            vocabulary, a name that is taken; one line each, before anything is measured.
    """
    check_folder(str(model))
    entry = registry.find("tasks", task)
    study = _study(results, entry.name)
    experiment, world = _experiment(study, task)
    _refuse_vocabulary(model, experiment, world)
    study = study or results / f"{experiment.task}-{study_key(experiment)[:8]}"
    visit = _visit(model, _name(name, study, entry.name), study, experiment, world, seed, declared or Declared())
    if not (study / records.EXPERIMENT).exists():
        _write_experiment(study, experiment, visit, world)
    superseding.edited(study, visit.cell.algorithm)
    if superseding.settled(visit.folder) and _said(visit.folder) == (visit.declared.compute, visit.declared.times):
        return study
    shared = list(engine.reference_jobs(experiment, study, visit.cell.seed))
    job = Job(visit.cell.label, _measure, (experiment, visit), (shared[0].name,))
    engine.execute(experiment, [*shared, job], 1, verbose)
    if records.status(visit.folder) != "finished":
        raise HarnessError(f"{name} could not be measured: {(records.read_one(visit.folder).get('failure') or {}).get('message')}")
    return study


def _study(results: Path, task: str) -> Path | None:
    """The study of a task at or directly below a folder, None where there is none."""
    every = {folder: _written(folder) for folder in records.studies(results)}
    found = [folder for folder, written in every.items() if written.get("task") == task and "imported" not in written]
    if len(found) > 1:
        named = ", ".join(folder.name for folder in found)
        raise HarnessError(f"Several studies of task {task} below {results}: {named}. Name one: --results {found[0]}")
    return found[0] if found else None


def _written(study: Path) -> Mapping[str, Any]:
    try:
        value = json.loads((study / records.EXPERIMENT).read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise HarnessError(f"{study.name}/{records.EXPERIMENT} cannot be read: {error}") from error
    return value if isinstance(value, dict) else {}


def _experiment(study: Path | None, task: str) -> tuple[Experiment, Task]:
    """The experiment of a study as it was saved, or that of the task's defaults, with its task."""
    if study is None:
        return asked.resolve({"task": task}, None)
    written = _written(study)
    experiment = Experiment.model_validate({key: written[key] for key in Experiment.model_fields if key in written})
    if study_key(experiment) != written.get("study"):
        said = f"{study.name} was measured by another version of the engine, of the task or of the model's weights"
        raise HarnessError(f"{said}: numbers of this one may not stand beside its own. Compare again, or give another --results.")
    module = registry.load("tasks", experiment.task_path or experiment.task)
    return experiment, module.task(experiment.source, **experiment.task_options)


def _name(name: str, study: Path, task: str) -> str:
    """The name, where it is one and no algorithm of the study has it."""
    if not re.fullmatch(r"[A-Za-z0-9][\w.+-]*", name):
        raise HarnessError(f"--as {name!r}: letters, digits, and . _ + - after the first are wanted.")
    trained = [record for folder in superseding.folders(study) if not _declared(record := records.read_one(folder))]
    if registry.canonical(name) in {registry.canonical(str((record.get("algorithm") or {}).get("name"))) for record in trained}:
        raise HarnessError(f"--as {name!r}: an algorithm of {study.name} has that name; choose another.")
    return name


def _declared(record: Mapping[str, Any]) -> bool:
    return bool((record.get("compute") or {}).get("declared"))


def _refuse_vocabulary(model: Path, experiment: Experiment, world: Task) -> None:
    """HarnessError where the checkpoint's words or outputs are not the reference's, as far as files say; the rest is left to the worker."""
    folder = None if experiment.model in PRESETS else place(experiment.model) or Path(experiment.model)
    ours = {word: i for i, word in enumerate(world.vocabulary)} if folder is None else vocabulary.words(folder)
    theirs = vocabulary.words(model)
    if theirs is not None and ours is not None:
        refuse_words(str(model), theirs, ours)
    wanted = len(world.vocabulary) if folder is None else vocabulary.outputs(folder)
    vocabulary.refuse_other_width(f"checkpoint {model}", vocabulary.outputs(model), wanted, "the reference's")


def refuse_words(model: str, theirs: Mapping[str, int], ours: Mapping[str, int]) -> None:
    """HarnessError where two vocabularies differ, with how many tokens do."""
    differing = sorted(word for word in theirs.keys() | ours.keys() if theirs.get(word) != ours.get(word))
    if differing:
        said = f"of its {len(theirs):,} tokens and the {len(ours):,} wanted, {len(differing):,} are in one alone or have another id"
        said += f", such as {differing[0]!r}"
        raise HarnessError(f"checkpoint {model}: its vocabulary is not the reference's: {said}. KL needs the same tokens.")


def _visit(model: Path, name: str, study: Path, experiment: Experiment, world: Task, seed: int | None, declared: Declared) -> Visit:
    seed = experiment.seeds[0] if seed is None else seed
    if seed not in experiment.seeds:
        raise HarnessError(f"--seed {seed}: {study.name} has no such reference. Legal: {', '.join(map(str, experiment.seeds))}.")
    size = shape(experiment.model, len(world.vocabulary), footing.lora(experiment))
    spending = budgets(experiment, size, world.typical_tokens)
    budget = max(spending.values(), key=lambda each: each.limit)
    plan = AlgorithmPlan(name=name, sha256=weights_hash(str(model)), settings=({},))
    cell = Cell(plan, {}, seed, budget.spec)
    mark = cell_fingerprint(experiment, cell, budget.limit)
    return Visit(str(model.resolve()), cell, budget, study / "cells" / f"{cell.label}-{mark[:8]}", declared)


def _write_experiment(study: Path, experiment: Experiment, visit: Visit, world: Task) -> None:
    """A new study, which nothing but the checkpoint is in: what is planned in it is for the comparison to say that comes later."""
    alone = experiment.model_copy(update={"algorithms": (visit.cell.algorithm,), "seeds": (visit.cell.seed,), "baseline": None})
    facts = {"fingerprint": fingerprint(alone), "study": study_key(alone), "notes": list(world.notes)}
    amounts = {"budgets": [visit.budget._asdict()], "budget_flops": visit.budget.flops}
    records.write_json(study / records.EXPERIMENT, {**alone.plain(), **facts, **amounts})


def _said(folder: Path) -> tuple[object, object]:
    """What was declared when a checkpoint was measured."""
    return records.read_one(folder).get("compute"), records.Cell(folder, {}).times


def _measure(experiment: Experiment, visit: Visit, report: Callable[..., None]) -> str:
    from harness.outside.visitor import measure_visitor

    return measure_visitor(experiment, visit, report)
