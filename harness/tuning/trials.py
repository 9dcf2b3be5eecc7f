"""The trials of a tuned comparison as cells: the declared default and drawn points for every grid value, and what their winners become."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from harness.measure.tuning import DEFAULT, Effort, Trial, Winners, label, reused
from harness.planning import settings
from harness.planning.experiment import Cell, Experiment
from harness.planning.plan import AlgorithmPlan
from harness.plugins import registry
from harness.types import Setting


def tunes(experiment: Experiment) -> bool:
    """Whether the comparison runs trials before its cells."""
    return bool(experiment.tune or experiment.kl_targets)


def has_tuner(experiment: Experiment) -> bool:
    """Whether anything is chosen by the common tuning judge, so that every seed needs one."""
    return tunes(experiment) or experiment.checkpoint == "best"


def trial_seed(experiment: Experiment) -> int:
    """The one seed on which all trials run: declared, or the one after the largest of the comparison, on which no cell runs."""
    return max(experiment.seeds) + 1 if experiment.tuning_seed is None else experiment.tuning_seed


def caveat(experiment: Experiment) -> str:
    """What to say where settings are chosen on a seed that they are then reported on; empty where there is nothing to say."""
    return reused([trial_seed(experiment)], experiment.seeds) if tunes(experiment) else ""


def trials(experiment: Experiment, budget: str) -> Iterator[Cell]:
    """Every trial of ``tune``: for every grid value of every algorithm its declared default and as many drawn points as asked for."""
    for plan in experiment.algorithms:
        for position, setting in enumerate(plan.settings):
            for index, point in enumerate([{}, *points(experiment, plan, position)], DEFAULT):
                yield trial(experiment, budget, plan, {**setting, **point}, {"index": index, "grid": grid_value(plan, setting)})


def trial(experiment: Experiment, budget: str, plan: AlgorithmPlan, setting: Mapping[str, Setting], about: Mapping[str, Any]) -> Cell:
    """One trial; ``about`` says what it is a trial of."""
    return Cell(plan, dict(setting), trial_seed(experiment), budget, trial=about)


def grid_value(plan: AlgorithmPlan, setting: Mapping[str, Setting]) -> dict[str, Setting]:
    """What of a setting stays as the comparison asked for it: everything that is not searched."""
    return {name: value for name, value in setting.items() if name not in plan.search}


def points(experiment: Experiment, plan: AlgorithmPlan, position: int) -> list[dict[str, Setting]]:
    """The drawn points of a grid value: a Halton sequence (Halton 1960), scrambled by the tuning seed, algorithm and grid value.

    The first K points of a longer draw are the same K points. Settings that round to one another are drawn once.
    """
    if not (experiment.tune and plan.search):
        return []
    from scipy.stats import qmc  # lazily: 0.8 s that only a tuned comparison spends

    known = settings.legal(registry.find("algorithms", plan.path or plan.name))
    generator = np.random.default_rng([trial_seed(experiment), position, *plan.name.encode()])
    shares = qmc.Halton(len(plan.search), scramble=True, seed=generator).random(experiment.tune)
    return [
        {name: settings.drawn(known[name], float(share), found) for (name, found), share in zip(plan.search.items(), row, strict=True)}
        for row in shares
    ]


def won(
    plan: AlgorithmPlan, found: Mapping[tuple[str, str], Winners], spent: Mapping[str, Effort], base: Mapping[str, Any]
) -> AlgorithmPlan:
    """The plan with the proxy's winner at every grid value, and with each what its tuning says; a value that lost all trials stays."""
    chosen = [found.get((plan.name, label(grid_value(plan, setting)))) for setting in plan.settings]
    taken = [each.proxy if each is not None else None for each in chosen]
    kept = tuple(setting if each is None else _taken(plan, setting, each) for setting, each in zip(plan.settings, taken, strict=True))
    about = tuple(_about(plan, setting, each, spent, base) for setting, each in zip(plan.settings, taken, strict=True))
    return plan.model_copy(update={"settings": kept, "tuning": about})


def _taken(plan: AlgorithmPlan, setting: Mapping[str, Setting], winner: Trial) -> dict[str, Setting]:
    """The winner's setting in the order of names that labels have: the grid's first, then those searched."""
    return {**setting, **{name: winner.setting[name] for name in plan.search if name in winner.setting}}


def _about(
    plan: AlgorithmPlan, setting: Mapping[str, Setting], taken: Trial | None, spent: Mapping[str, Effort], base: Mapping[str, Any]
) -> dict[str, Any]:
    """What a tuned cell's record says of where its setting comes from."""
    effort = spent.get(plan.name)
    known = {"tuned": taken is not None, "grid": grid_value(plan, setting), **base}
    known |= {"trials": effort.trials if effort else 0, "flops": effort.flops if effort else 0.0}
    return known | ({"trial": taken.fingerprint, "score": taken.score} if taken is not None else {"reason": "every trial was lost"})


def knob_of(plan: AlgorithmPlan) -> str | None:
    """The knob that a KL target may turn: the declared one, where every grid value gives it a positive number; else None."""
    values: Sequence[Any] = [setting.get(plan.knob or "") for setting in plan.settings]
    usable = all(isinstance(value, int | float) and not isinstance(value, bool) and value > 0 for value in values)
    return plan.knob if plan.knob and usable else None
