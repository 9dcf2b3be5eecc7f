"""What algorithms ask of a task's data that the data do not have: then they are left out or refused before anything runs. No torch."""

from __future__ import annotations

import math

import numpy as np

from harness.data.shapes import PRESETS, Table
from harness.planning import settings
from harness.planning.experiment import Experiment
from harness.planning.plan import AlgorithmPlan
from harness.plugins import registry
from harness.plugins.effort import ANNOTATIONS, needs
from harness.plugins.registry import Entry
from harness.types import Pair, Task

# What an annotation of a pair is, and which data have it.
MEANT = {
    "margin": "by how much each chosen response was rated higher",
    "agreement": "how many annotators sided with each label",
}
BROUGHT = {
    "margin": "data with a margin, or with a score of both responses, do: --data (docs/data.md)",
    "agreement": "data that say it of every pair do: --data (docs/data.md)",
}


def lacking(experiment: Experiment, task: Task) -> dict[str, str]:
    """Why each algorithm that cannot run on these data cannot, in one line, by its name."""
    found = {}
    for plan in experiment.algorithms:
        entry = registry.find("algorithms", plan.path or plan.name)
        if said := _annotation(entry, experiment, task) or _judged(entry, plan, task) or _enumerable(entry, experiment, task):
            found[plan.name] = f"{plan.name} {said}"
    return found


def _annotation(entry: Entry, experiment: Experiment, task: Task) -> str:
    """An annotation that it names and pairs of these data do not have; of single labelled responses ``labelled`` speaks."""
    for name, said in ANNOTATIONS.items():
        if said in needs(entry.declaration) and not experiment.single and (without := _without(name, experiment, task)):
            return f"needs {said} ({MEANT[name]}), and {without} have none; {BROUGHT[name]}."
    return ""


def _without(annotation: str, experiment: Experiment, task: Task) -> str:
    """Which pairs do not have an annotation; an empty string where all have it."""
    if task.pairs is None and task.choices is None:
        drawn = f"pairs that are sampled and labelled (labels {experiment.labels!r} of task {experiment.task})"
        return "" if annotation == "agreement" else drawn
    pairs = task.pairs[: experiment.pairs] if task.pairs is not None else _enumerated(task)
    missing = sum(getattr(pair, annotation) is None for pair in pairs)
    return f"{missing} of {len(pairs)} pairs of {task.source}" if missing else ""


def _enumerated(task: Task) -> list[Pair]:
    """Pairs of a task whose responses can be enumerated, under a reference to which all are alike: they are annotated as any are."""
    assert task.choices is not None
    size = len(task.choices.prompts), len(task.choices.responses)
    return task.choices.pairs(np.random.default_rng(0), np.full(size, -math.log(size[1])), 1)


def _judged(entry: Entry, plan: AlgorithmPlan, task: Task) -> str:
    """That it trains on a reward which nobody knows."""
    if task.score is None and any(settings.oracle(entry, {**entry.defaults, **setting}) for setting in plan.settings):
        return f"trains on the reward that judges, and {task.source} brings none: its judge is a model fitted on labels."
    return ""


def _enumerable(entry: Entry, experiment: Experiment, task: Task) -> str:
    """That it trains by what takes language models alone, or answers in another way than by its own probabilities."""
    if task.choices is None:
        return ""
    package, declared = entry.declaration.metadata.get("requires"), entry.declaration
    if package and not declared.loss and isinstance(PRESETS.get(experiment.model), Table):
        return f"trains by {package}, which takes language models, and model {experiment.model!r} is none."
    if declared.metadata.get("untrained"):
        return "answers in another way than its weights do, and policies of this task are measured by their own probabilities."
    return ""
