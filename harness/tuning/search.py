"""A comparison tuned before it runs: trials on tuning prompts, the winners of the common judge, and the knobs that reach declared KLs.

Pure bookkeeping over records of trials: what is to run is handed to ``run``, which skips what has been run, so that a tuned comparison
resumes like any other.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import zip_longest
from typing import Any

from harness.measure.targets import Reached, nearest, next_knob
from harness.measure.tuning import Trial, efforts, label, winners
from harness.planning.experiment import Cell, Experiment
from harness.planning.plan import AlgorithmPlan
from harness.tuning.trials import grid_value, knob_of, trial, trial_seed, trials, won
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
    turned = {plan.name: [Search(experiment, budget, each, knob) for each in curves(plan)] for plan, knob in _knobs(experiment)}
    searches = [search for each in turned.values() for search in each]
    wanted = [(search, cell) for search in searches for cell in search.scan()]
    while wanted:
        results = run([cell for _, cell in wanted])
        for (search, cell), each in zip(wanted, results, strict=True):
            search.learn(cell, each)
        wanted = [(search, cell) for search in searches for cell in search.further()]
    plans = [_joined([search.aimed() for search in turned[plan.name]]) if plan.name in turned else plan for plan in experiment.algorithms]
    return experiment.model_copy(update={"algorithms": tuple(plans)})


def curves(plan: AlgorithmPlan) -> list[AlgorithmPlan]:
    """The plan cut into parts whose grid values differ in the knob alone: with another second setting, KL along it is another curve."""
    groups: dict[str, list[tuple[dict[str, Setting], dict[str, Any]]]] = {}
    for setting, note in zip_longest(plan.settings, plan.tuning):
        groups.setdefault(_along(plan, setting), []).append((setting, note))
    return [_part(plan, rows) for rows in groups.values()]


def _part(plan: AlgorithmPlan, rows: Sequence[tuple[dict[str, Setting], dict[str, Any]]]) -> AlgorithmPlan:
    notes = tuple(note for _, note in rows if note is not None)
    return plan.model_copy(update={"settings": tuple(setting for setting, _ in rows), "tuning": notes})


def _knobs(experiment: Experiment) -> list[tuple[AlgorithmPlan, str]]:
    return [(plan, knob) for plan in experiment.algorithms if (knob := knob_of(plan))]


def _along(plan: AlgorithmPlan, setting: Mapping[str, Setting]) -> str:
    """What a grid value says beside the knob, in words; empty where the knob is all."""
    others = {name: value for name, value in grid_value(plan, setting).items() if name != plan.knob}
    return label(others) if others else ""


def _joined(parts: Sequence[AlgorithmPlan]) -> AlgorithmPlan:
    settings, notes = ([each for part in parts for each in getattr(part, name)] for name in ("settings", "tuning"))
    return parts[0].model_copy(update={"settings": tuple(settings), "tuning": tuple(notes)})


@dataclass
class Search:
    """What is known of KL along a knob where all else in the grid is the same: by knob KL in nats (None: none measured) and setting."""

    experiment: Experiment
    budget: str
    plan: AlgorithmPlan
    knob: str
    seen: dict[float, float | None] = field(default_factory=dict)
    settings: dict[float, dict[str, Setting]] = field(default_factory=dict)
    spent: dict[float, int] = field(default_factory=dict)
    trials: int = 0

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

    def learn(self, cell: Cell, found: Trial) -> None:
        """Take in what a trial measured: no KL where it failed or diverged, so that nothing is concluded from it."""
        knob = float(cell.setting[self.knob])
        self.seen[knob] = found.kl if found.status == "finished" else None
        self.settings[knob] = dict(cell.setting)
        self.trials += 1

    def aimed(self) -> AlgorithmPlan:
        """The plan at the knobs nearest to the targets, each once, with what every target came to; as it is where no trial gave a KL."""
        near = {target: nearest(self.seen, target) for target in self.experiment.kl_targets}
        knobs = dict.fromkeys(found.knob for found in near.values() if found is not None)
        settings = [self.settings[knob] for knob in knobs] or list(self.plan.settings)
        about = {"targets": [self._outcome(target, found) for target, found in near.items()], "kl_trials": self.trials}
        notes = tuple({**self._note(setting), **about} for setting in settings)
        return self.plan.model_copy(update={"settings": tuple(settings), "tuning": notes})

    def _outcome(self, target: float, found: Reached | None) -> dict[str, Any]:
        """What a target came to, the curve named where the algorithm has several."""
        known = {"target": target, "reached": False} if found is None else found._asdict()
        words = "not reached: no trial gave a KL" if found is None else found.words(self.knob, self.seen)
        along = _along(self.plan, self.plan.settings[0])
        return {**known, "words": f"{along}: {words}" if along else words}

    def _note(self, taken: Mapping[str, Setting]) -> dict[str, Any]:
        """What tuning said of the grid value whose setting was taken over, now at the knob of this one."""
        others = {name: value for name, value in taken.items() if name != self.knob}
        for setting, note in zip(self.plan.settings, self.plan.tuning, strict=False):
            if {name: value for name, value in setting.items() if name != self.knob} == others:
                return {**note, "grid": {**note["grid"], self.knob: taken[self.knob]}}
        base = {"seed": trial_seed(self.experiment), "drawn": self.experiment.tune}
        return {"tuned": False, "grid": grid_value(self.plan, taken), **base}

    def _cell(self, setting: dict[str, Setting], target: float | None) -> Cell:
        return trial(self.experiment, self.budget, self.plan, setting, {"target": target, "grid": grid_value(self.plan, setting)})

    def _whole(self, knob: float) -> Setting:
        """The knob in the type that the grid gives it."""
        first = self.plan.settings[0][self.knob]
        return round(knob) if isinstance(first, int) else knob


__all__ = ["Reached", "Run", "Search", "aimed", "tuned"]
