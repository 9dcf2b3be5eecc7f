"""What was typed, resolved: flags and a file become experiments with their tasks, each with its price. No torch."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from harness.commands import preview
from harness.data import pinning
from harness.data.shapes import shape
from harness.errors import HarnessError
from harness.planning import choosing, experiment, footing, labelled, settings, usable, vary
from harness.planning.experiment import Experiment
from harness.planning.lacking import lacking
from harness.plugins import registry
from harness.types import Task

WITHIN = ("split", "revision")  # flags that complete ``data``


def resolve(flags: dict[str, Any], file: Path | None) -> tuple[Experiment, Task]:
    """The experiment and the task that it is about; HarnessError where an algorithm asks what the data do not have."""
    resolved, world = _resolved(flags, file)
    if lacks := lacking(resolved, world):
        raise HarnessError(" ".join(lacks.values()))
    return resolved, world


def _resolved(flags: dict[str, Any], file: Path | None) -> tuple[Experiment, Task]:
    """The experiment and its task, whatever its algorithms ask; the task's module may import numpy, never torch."""
    written = experiment.read(file) if file else {}
    chosen = {**written, **flags}
    if "task" not in chosen:
        names = ", ".join(entry.name for entry in registry.describe("tasks"))
        raise HarnessError(f"No task named; give --task NAME or 'task = ...' in the experiment file. Known tasks: {names}.")
    entry = registry.find("tasks", str(chosen["task"]))
    flags, source = _located(flags, chosen.get("data"), file)
    flags |= _suites(chosen.get("safety_suites"), file)
    options, rest = settings.of_task(entry, written.get("task_options", {}), flags.get("set", ()), f"{file}: ")
    world: Task = registry.load_entry(entry).task(source, **options)
    labelled.refuse_mixed(world)
    named = {**flags, "task": entry.name, "task_path": None if entry.module else str(entry.path), "set": rest, "task_options": options}
    facts: dict[str, Any] = {"task_version": world.version, "judges": world.judge_names}
    facts |= {"available_pairs": world.brought_pairs, "single": world.single}
    resolved = experiment.resolve(named, file, world.defaults, **facts)
    choosing.refuse(resolved, world)
    footing.refuse_chat(resolved, resolved.model, dialogues=world.chat)
    footing.refuse_tokens(resolved, resolved.model, world.vocabulary, dialogues=world.chat)
    labelled.refuse(resolved)
    return resolved, world


def _located(flags: Mapping[str, Any], data: str | None, file: Path | None) -> tuple[dict[str, Any], str | None]:
    """The flags with ``data`` as it will be read, its split and revision in it, every hub id at a commit; and that text itself."""
    rest = {name: value for name, value in flags.items() if name not in WITHIN}
    within = {name: str(flags[name]) for name in WITHIN if flags.get(name)}
    if data is None or data == "embedded":
        if within:
            raise HarnessError(f"--{' and --'.join(within)} say where in --data rows are, and no --data is given.")
        return rest, data
    source = pinning.pinned(data, lock=file and pinning.lock_of(file), **within)
    return {**rest, "data": source}, source


def _suites(words: Any, file: Path | None) -> dict[str, Any]:
    """The safety suites at the commits of the file's lock, where it has one."""
    lock = file and pinning.lock_of(file)
    if not lock or not lock.is_file() or not isinstance(words, list | tuple):
        return {}
    return {"safety_suites": pinning.pinned_suites(words, lock)}


def left_out(flags: dict[str, Any], file: Path | None) -> tuple[dict[str, Any], dict[str, str]]:
    """The flags without algorithm files that cannot be planned, and why each is left out; see ``planning.usable``."""
    return usable.usable(flags, experiment.read(file) if file else {})


def variations(flags: dict[str, Any], varied: Sequence[str], file: Path | None) -> tuple[list[tuple[Experiment, Task]], dict[str, str]]:
    """The experiments to run, each a study of its own: the one given and one for each other value of each assumption that varies.

    And why algorithms are left out of them that ask what the data do not have, by name; HarnessError where none is left.
    """
    values = vary.asked(varied, (experiment.read(file) if file else {}).get(vary.KEY, {}))
    found: dict[str, tuple[Experiment, Task]] = {}
    left: dict[str, str] = {}
    for each in vary.variations(flags, values):
        resolved, world = _resolved(each, file)
        lacks = lacking(resolved, world)
        kept = _without(resolved, lacks)
        found[experiment.study_key(kept)], left = (kept, world), left | lacks
    return list(found.values()), left


def _without(resolved: Experiment, lacks: Mapping[str, str]) -> Experiment:
    """The experiment without these algorithms; HarnessError where none is left, or its baseline is one of them."""
    kept = tuple(each for each in resolved.algorithms if each.name not in lacks)
    if not kept or resolved.baseline in lacks:
        raise HarnessError(" ".join(lacks.values() if not kept else (f"baseline {resolved.baseline!r}:", lacks[str(resolved.baseline)])))
    return resolved.model_copy(update={"algorithms": kept})


def priced(resolved: Experiment, world: Task, jobs: int | None) -> str:
    """Every cell with its price, as text; HarnessError where the model is unusable or the budget too small."""
    size = shape(resolved.model, len(world.vocabulary), footing.lora(resolved))
    if size.head == 0:
        raise HarnessError(f"Model {resolved.model!r} is made from a task's own vocabulary, which this data has not; give --model FOLDER.")
    return preview.text(resolved, size, world.typical_tokens, jobs or len(os.sched_getaffinity(0)))
