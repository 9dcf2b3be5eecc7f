"""Where the judges, the labels and the rewards of a run come from, and the refusal of a judge that an algorithm trains on."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from harness.errors import HarnessError
from harness.measure import lineage
from harness.measure.lineage import Lineage
from harness.planning import settings
from harness.planning.assumptions import BROUGHT, SINGLE
from harness.plugins import registry
from harness.types import Task

if TYPE_CHECKING:
    from harness.planning.experiment import Experiment
    from harness.running.stages import Shared

LABELLERS = {"annotators": "annotators who weigh {reward} in their own ways", "length-biased": "annotators who like {reward} and length"}


def refuse_judge_as_reward(experiment: Experiment) -> None:
    """Raise HarnessError where a setting tells an algorithm to train on the judge and its file does not declare it an oracle."""
    for plan in experiment.algorithms:
        entry = registry.find("algorithms", plan.path or plan.name)
        for setting in plan.settings:
            chosen = {**entry.defaults, **setting}
            told = next((name for name, value in chosen.items() if value == experiment.judge), None)
            if told and not settings.oracle(entry, chosen):
                raise HarnessError(
                    f"{plan.name}.{told} = {experiment.judge!r}: that is the judge, and what trains on its judge is not measured by it. "
                    f"Choose another with --judge, or declare an oracle in the file: oracle = {{{told!r}: {experiment.judge!r}}}."
                )


def judges(experiment: Experiment, shared: Shared) -> dict[str, Lineage]:
    """The lineage of every judging column: a rule is its own labeller, a fitted judge has weights, data and theirs.

    Of a judge that is none of the task's, what scores is known and no more.
    """
    task = shared.task
    brought = {experiment.judge: Lineage(weights=experiment.judge)} if experiment.judge_word else {}
    if task.score is not None:
        names = {name: f"{name} of {task.name}" for name in task.judges}
        return {name: Lineage(weights=f"{said}, version {task.version}", labeller=said) for name, said in names.items()}
    fitted = shared.judge.name if shared.judge else ""
    data = (f"judge pairs of {task.source}",)
    return brought | {name: Lineage(fitted, shared.sft.name, data, f"annotators of {task.source}") for name in task.judge_names}


def labels(experiment: Experiment, task: Task) -> str:
    """Who labelled the training pairs."""
    if experiment.labels in (BROUGHT, SINGLE):
        return f"annotators of {task.source}"
    reward = f"{task.judges[0]} of {task.name}"
    return "" if experiment.labels == "shuffled" else LABELLERS.get(experiment.labels, "{reward}").format(reward=reward)


def trained_on(experiment: Experiment, shared: Shared, *, oracle: bool) -> Lineage:
    """The lineage of the reward that a run trains on: the task's own, or what it learns from the pairs, whether as a model or implied."""
    if oracle:
        return judges(experiment, shared)[shared.task.judge_names[0]]
    return Lineage(start=shared.sft.name, data=(f"pairs {shared.pair_folder.name}",), labeller=labels(experiment, shared.task))


def refuse(experiment: Experiment, shared: Shared, reward: Lineage, *, oracle: bool) -> None:
    """Raise HarnessError where the judge shares its weights with a reward and the algorithm is not declared an oracle."""
    said = lineage.error(judges(experiment, shared)[experiment.judge], reward)
    if said and not oracle:
        raise HarnessError(f"judge {experiment.judge}: {said}; choose another with --judge.")


def recorded(experiment: Experiment, shared: Shared) -> dict[str, Any]:
    """The lineage of everything that judges or labels, as a record holds it: ``judge`` by column, the pairs, the SFT, the proxy."""
    learnt = trained_on(experiment, shared, oracle=False)
    found = {"sft": Lineage(weights=shared.sft.name, data=(f"demonstrations of {shared.task.source}",)), "pairs": learnt}
    if shared.proxy is not None:
        found["proxy"] = Lineage(shared.proxy.name, learnt.start, learnt.data, learnt.labeller)
    return {name: each.plain() for name, each in {**judges(experiment, shared), **found}.items()}
