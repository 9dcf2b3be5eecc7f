"""The compute that a win rate takes: at which measurement, at a mark or at a budget's end, an algorithm first has it."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np

from harness.measure.frontier_scores import reached
from harness.measure.statistics import Array, Interval, replicates
from harness.report.matching import canonical
from harness.report.measurements import Measured, measurements
from harness.report.optimum import WIN
from harness.report.points import Point, by_algorithm, resampler

LEVELS = (0.6, 0.7, 0.8)


class Reached(NamedTuple):
    """Charged FLOPs at the first measurement with at least this win rate; infinite where none has it, a bound where resamples have none.

    ``share`` is that of the resamples which have it somewhere; ``mark`` (None: an end) and ``setting`` say where; ``highest`` was seen.
    """

    flops: Interval
    share: float
    mark: float | None
    setting: str
    highest: float


class Reach(NamedTuple):
    """What each algorithm needs to reach each of ``LEVELS``, and what was left out, each with its reason."""

    levels: Mapping[str, Mapping[float, Reached]]
    left_out: Sequence[str]


def reach(points: Sequence[Point]) -> Reach:
    """What each algorithm needs to reach each of ``LEVELS``, over all its settings, budgets and marks."""
    made, left_out = {}, []
    for name, group in by_algorithm(points).items():
        found = measurements(group, (WIN,))
        compute = np.array([_flops(each) for each in found.found])
        known = [each for each, flops in zip(found.found, compute, strict=True) if math.isfinite(flops)]
        unknown = dict.fromkeys(each.point.setting for each, flops in zip(found.found, compute, strict=True) if math.isnan(flops))
        left_out += [*found.left_out, *(f"marks of {name} {setting} (FLOPs not recorded)" for setting in unknown)]
        if known:
            made[name] = _reached(known, compute[np.isfinite(compute)])
    return Reach(made, left_out)


def _flops(measured: Measured) -> float:
    """Charged canonical FLOPs at a measurement, the mean over seeds, whatever the budgets were matched on; NaN where not recorded."""
    return float(np.mean([canonical(cell, measured.mark) for cell in measured.point.cells]))


def _reached(group: Sequence[Measured], compute: Array) -> dict[float, Reached]:
    """The seeds' spread is widened in the rates, then each resample is asked: a place among measurements cannot be multiplied."""
    tables, count = [each.values[0] for each in group] + [each.seen for each in group], len(group)

    def every(*means: Array) -> Array:
        with np.errstate(invalid="ignore"):  # a resample without any prompt of a mark: 0 / 0, which reaches no level
            return np.asarray(np.array(means[:count]) / np.array(means[count:]))

    rates, resamples = replicates(tables, every, generator=resampler(), resamples=1000)
    return {level: _first(rates, resamples, compute, group, level) for level in LEVELS}


def _first(rates: Array, resamples: Array, compute: Array, group: Sequence[Measured], level: float) -> Reached:
    prompts, first = group[0].seen.shape[1], group[int(np.where(rates >= level, compute, np.inf).argmin())]
    value, places = float(reached(compute, rates[:, None], level)[0]), reached(compute, resamples, level)
    lower, upper = np.quantile(places, [0.025, 0.975], method="inverted_cdf") if prompts > 1 else (math.nan, math.nan)
    found = Interval(value, float(lower), float(upper), prompts)
    mark, setting = (first.mark, first.point.setting) if math.isfinite(value) else (None, "")
    return Reached(found, float(np.isfinite(places).mean()), mark, setting, float(rates.max()))
