"""What ``--dry-run`` prints: the resolved experiment, every cell with its FLOPs, and an estimate of time."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING

from harness.measure.targets import MOST
from harness.planning import suites
from harness.planning.budget import Budget, amount, budgets
from harness.planning.experiment import Experiment, cells, study_key
from harness.planning.price import THROUGHPUT, Estimate, estimate
from harness.tuning.search import curves
from harness.tuning.trials import caveat, knob_of, trial_seed, trials, tunes

if TYPE_CHECKING:
    from harness.training.ledger import Shape


def text(experiment: Experiment, shape: Shape, typical_tokens: tuple[float, float], jobs: int) -> str:
    """The whole preview, lines joined; raises HarnessError where the budget is too small for a step."""
    return "\n".join(_lines(experiment, shape, typical_tokens, jobs))


def seconds(amount: float) -> str:
    """A duration as a person says it: ``under 1 s``, ``40 s``, ``3 min 20 s``, ``2 h 5 min``."""
    whole = max(0, round(amount))
    if whole == 0:
        return "under 1 s"
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60} s"
    return f"{whole // 3600} h {whole % 3600 // 60} min"


def _about(amount: float) -> str:
    return f"{'about ' * (round(amount) > 0)}{seconds(amount)}"


def _lines(experiment: Experiment, shape: Shape, typical_tokens: tuple[float, float], jobs: int) -> Iterator[str]:
    spending = budgets(experiment, shape, typical_tokens)
    guess = estimate(experiment, shape, typical_tokens, spending, jobs)
    for name, value in experiment.model_dump(mode="json", exclude={"algorithms", "safety_suites", "safety_detectors"}).items():
        if value is not None:
            yield f"{name} = {json.dumps(value)}"
    yield from suites.said(experiment.safety_suites, experiment.safety_detectors)
    yield ""
    every = list(cells(experiment))
    width = max(len(cell.label) for cell in every)
    for cell in every:
        yield f"{cell.label:<{width}}  {spending[cell.budget]}  {_about(guess.cells[cell.budget])}"
    yield ""
    yield from _trials(experiment, spending, guess, jobs)
    total = sum(spending[cell.budget].limit for cell in every)
    at = ", ".join(experiment.budget)
    yield f"Study {experiment.task}-{study_key(experiment)[:8]}: {len(every)} cells at {at}, {amount(total, experiment.match)} together."
    yield (
        f"Estimate: {seconds(guess.total)} with {jobs} process{'es' if jobs > 1 else ''}, of it {seconds(guess.stage)} per seed "
        f"for the shared reference; assumes {THROUGHPUT / 1e9:g} GFLOP/s per process: an order of magnitude. "
        "Starting up, the steps' own overhead and the page come on top: a dozen seconds of CPU at least. Nothing was run."
    )


def _trials(experiment: Experiment, spending: Mapping[str, Budget], guess: Estimate, jobs: int) -> Iterator[str]:
    """Every trial with its price, and how many more the KL targets may take; nothing for a comparison at declared settings."""
    if not tunes(experiment):
        return
    budget = max(spending.values(), key=lambda each: each.limit)
    every = list(trials(experiment, budget.spec)) if experiment.tune else []
    for cell in every:
        yield f"trial-{cell.label}  {budget}  {_about(guess.cells[budget.spec])}"
    aimed = _aimed(experiment)
    more = f" and at most {aimed} for the KL targets" if aimed else ""
    most, price = len(every) + aimed, amount((len(every) + aimed) * budget.limit, experiment.match)
    reference = guess.stage * (trial_seed(experiment) not in experiment.seeds)
    time = _about(reference + math.ceil(most / jobs) * guess.cells[budget.spec])
    yield (
        f"Tuning before the cells: {len(every)} trials{more}, on seed {trial_seed(experiment)} and tuning prompts; {price} "
        f"charged to tuning, to no cell's budget; {time} more than the estimate below. "
        "The settings that the trials choose take the place of those above."
    )
    if said := caveat(experiment):
        yield said


def _aimed(experiment: Experiment) -> int:
    """How many trials the KL targets may take: a scan of each grid unless its values were tuned, then a few per target and curve."""
    turned = [plan for plan in experiment.algorithms if knob_of(plan)] if experiment.kl_targets else []
    scanned = sum(len(plan.settings) for plan in turned) * (not experiment.tune)
    return scanned + MOST * len(experiment.kl_targets) * sum(len(curves(plan)) for plan in turned)
