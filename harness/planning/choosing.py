"""What an experiment may ask of a task whose responses can be enumerated, and of no other. No torch."""

from __future__ import annotations

from harness.data.shapes import PRESETS, Table
from harness.errors import HarnessError
from harness.planning.experiment import Experiment
from harness.types import Task


def refuse(experiment: Experiment, task: Task) -> None:
    """Raise HarnessError where settings contradict a task whose responses can be enumerated, or need one and the task is another."""
    table = isinstance(PRESETS.get(experiment.model), Table)
    if task.choices is None:
        if table:
            legal = ", ".join(name for name, preset in PRESETS.items() if not isinstance(preset, Table))
            raise HarnessError(f"model {experiment.model!r}: is of tasks whose responses can be enumerated; legal here: {legal}.")
        return
    if task.choices.whole and experiment.pairs != task.choices.most:
        raise HarnessError(f"pairs {experiment.pairs}: this task weighs all {task.choices.most} pairs that there are; leave pairs out.")
    if table and experiment.adapted:
        raise HarnessError(f"reference_mode {experiment.reference_mode!r}: a table has no matrix for an adapter; legal here: copy, cached.")
    if experiment.tune or experiment.kl_targets or experiment.checkpoint == "best":
        said = "a tuning judge is fitted on prompts that no algorithm sees, and here all are seen"
        raise HarnessError(f"tune, kl_targets and checkpoint 'best': {said}; set what is to be compared with --set.")
