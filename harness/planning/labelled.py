"""What an experiment may ask of data in which responses were labelled one by one, so that there are no pairs. No torch."""

from __future__ import annotations

from harness.errors import HarnessError
from harness.planning.experiment import Experiment
from harness.plugins import registry
from harness.plugins.effort import learns_from_single, needs
from harness.plugins.registry import Entry


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
