"""What an experiment may ask of data in which responses were labelled one by one, so that there are no pairs. No torch."""

from __future__ import annotations

from harness.errors import HarnessError
from harness.planning.experiment import Experiment
from harness.plugins import registry
from harness.plugins.effort import learns_from_single, needs
from harness.plugins.registry import Entry
from harness.types import Task

LISTS = {"pairs": "pairs", "judge_pairs": "judge pairs", "tuning_pairs": "pairs of a tuning judge", "heldout_pairs": "held-out pairs"}


def refuse_mixed(task: Task) -> None:
    """Raise HarnessError where a task brings pairs and labels of single responses: in one list, or one in each of two."""
    if task.pairs is None:  # its pairs are drawn, and its held-out ones made only when they are read
        return
    kinds = {said: {pair.single for pair in getattr(task, name) or ()} for name, said in LISTS.items()}
    if len(set().union(*kinds.values())) > 1:
        words = {frozenset({False}): "compare two responses", frozenset({True}): "label one", frozenset({True, False}): "do both"}
        said = "; ".join(f"its {name} {words[frozenset(found)]}" for name, found in kinds.items() if found)
        raise HarnessError(f"task {task.name}: {said}; all of them must be of one kind.")


def refuse(experiment: Experiment) -> None:
    """Raise HarnessError where data are single labelled responses and an algorithm needs what they do not have."""
    if not experiment.single:
        return
    entries = [registry.find("algorithms", plan.path or plan.name) for plan in experiment.algorithms]
    refused = [entry for entry in entries if not learns_from_single(entry.declaration)]
    if refused:
        able = [entry.name for entry in registry.describe("algorithms") if learns_from_single(entry.declaration)]
        said = "; ".join(f"{entry.name} needs {_wanted(entry)}" for entry in refused)
        raise HarnessError(f"these data label responses one by one, and {said}. Algorithms that can run on them: {', '.join(able)}.")


def _wanted(entry: Entry) -> str:
    """What an algorithm is to have that single labelled responses are not."""
    if "reward model" in needs(entry.declaration):
        return "pairs for its reward model"
    return "rankings or pairs" if "ranked" in entry.declaration.arguments else "pairs"
