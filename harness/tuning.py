"""A comparison tuned before it runs: trials on tuning prompts, the winners of the common judge, and the knobs that reach declared KLs.

Pure bookkeeping over records of trials: what is to run is handed to ``run``, which skips what has been run, so that a tuned comparison
resumes like any other.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from harness.experiment import Cell, Experiment
from harness.measure.targets import Reached, nearest, next_knob
from harness.measure.tuning import Trial, efforts, winners
from harness.plan import AlgorithmPlan
from harness.trials import knob_of, trial, trial_seed, trials, won
from harness.types import Setting

Run = Callable[[Sequence[Cell]], list[Trial]]
"""Runs the trials that have no record yet and returns all of them as read from their records, in the order asked for."""


def tuned(experiment: Experiment, budget: str, run: Run) -> Experiment:
    """The experiment with tuned settings: the proxy's winner at every grid value, then the knob at every KL target that is reached."""
    base = {"seed": trial_seed(experiment), "drawn": experiment.tune}
    if experiment.tune:
        found = run(list(trials(experiment, budget)))
        chosen, spent = winners(found), efforts(found)
        plans = tuple(won(plan, chosen, spent, base) for plan in experiment.algorithms)
        experiment = experiment.model_copy(update={"algorithms": plans})
    return aimed(experiment, budget, run) if experiment.kl_targets else experiment


def aimed(experiment: Experiment, budget: str, run: Run) -> Experiment:
    """The experiment with every algorithm's knob where its KL on tuning prompts is a target's, searched in rounds of trials."""
    searches = [Search(experiment, budget, plan, knob) for plan in experiment.algorithms if (knob := knob_of(plan))]
    wanted = [cell for search in searches for cell in search.scan()]
    while wanted:
        results = run(wanted)
        for search in searches:
            search.learn([(cell, each) for cell, each in zip(wanted, results, strict=True) if cell.algorithm is search.plan])
        wanted = [cell for search in searches for cell in search.further()]
    plans = {search.plan.name: search.aimed() for search in searches}
    return experiment.model_copy(update={"algorithms": tuple(plans.get(plan.name, plan) for plan in experiment.algorithms)})


@dataclass
class Search:
    """What is known of one algorithm's KL along its knob: by knob the KL in nats (0 where a run gave none) and the setting."""

    experiment: Experiment
    budget: str
    plan: AlgorithmPlan
    knob: str
    seen: dict[float, float] = field(default_factory=dict)
    settings: dict[float, dict[str, Setting]] = field(default_factory=dict)
    spent: dict[float, int] = field(default_factory=dict)
    trials: list[Trial] = field(default_factory=list)

    def scan(self) -> list[Cell]:
        """A trial for every grid value."""
        return [self._cell(setting, None) for setting in self.plan.settings]

    def further(self) -> list[Cell]:
        """The next trial for every target that is neither reached nor given up; one that serves two targets is run once."""
        found: dict[float, Cell] = {}
        for target in self.experiment.kl_targets:
            knob = next_knob(self.seen, target, self.spent.get(target, 0))
            at = nearest(self.seen, target)
            if knob is not None and at is not None:
                self.spent[target] = self.spent.get(target, 0) + 1
                found.setdefault(knob, self._cell({**self.settings[at.knob], self.knob: self._whole(knob)}, target))
        return list(found.values())

    def learn(self, results: Sequence[tuple[Cell, Trial]]) -> None:
        """Take in what trials measured."""
        for cell, each in results:
            knob = float(cell.setting[self.knob])
            self.seen[knob], self.settings[knob] = each.kl or 0.0, dict(cell.setting)
            self.trials.append(each)

    def aimed(self) -> AlgorithmPlan:
        """The plan at the knobs nearest to the targets, each once, with what every target came to."""
        near = [found for target in self.experiment.kl_targets if (found := nearest(self.seen, target)) is not None]
        knobs = list(dict.fromkeys(each.knob for each in near))
        if not knobs:
            return self.plan
        targets = [{**each._asdict(), "words": each.words(self.knob, self.seen)} for each in near]
        notes = tuple({**self._note(knob), "targets": targets, "kl_trials": len(self.trials)} for knob in knobs)
        return self.plan.model_copy(update={"settings": tuple(self.settings[knob] for knob in knobs), "tuning": notes})

    def _note(self, knob: float) -> dict[str, Any]:
        """What tuning said of the grid value whose setting this knob took over, now at this knob."""
        others = {name: value for name, value in self.settings[knob].items() if name != self.knob}
        for setting, note in zip(self.plan.settings, self.plan.tuning, strict=False):
            if {name: value for name, value in setting.items() if name != self.knob} == others:
                return {**note, "grid": {**note["grid"], self.knob: self.settings[knob][self.knob]}}
        grid = {name: value for name, value in self.settings[knob].items() if name not in self.plan.search}
        return {"tuned": False, "grid": grid, "seed": trial_seed(self.experiment), "drawn": self.experiment.tune}

    def _cell(self, setting: dict[str, Setting], target: float | None) -> Cell:
        return trial(self.experiment, self.budget, self.plan, setting, {"target": target, "grid": {self.knob: setting[self.knob]}})

    def _whole(self, knob: float) -> Setting:
        """The knob in the type that the grid gives it."""
        first = self.plan.settings[0][self.knob]
        return round(knob) if isinstance(first, int) else knob


__all__ = ["Reached", "Run", "Search", "aimed", "tuned"]
