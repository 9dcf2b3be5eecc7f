"""The compute that a win rate takes: at which measurement, at a mark or at a budget's end, an algorithm first has it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np

from harness.measure.frontier_scores import reached
from harness.measure.statistics import Array, Interval, replicated_all
from harness.report.measurements import Measured, measurements
from harness.report.optimum import WIN
from harness.report.points import Point, by_algorithm, charged, resampler

LEVELS = (0.6, 0.7, 0.8)


class Reached(NamedTuple):
    """Charged FLOPs at the first measurement with at least this win rate, whether that was a mark, and the setting; or the highest seen."""

    flops: Interval | None
    mark: float | None
    setting: str
    highest: float


def reach(points: Sequence[Point]) -> dict[str, Mapping[float, Reached]]:
    """What each algorithm needs to reach each of ``LEVELS``, over all its settings, budgets and marks."""
    found = {name: measurements(group, (WIN,)) for name, group in by_algorithm(points).items()}
    return {name: _reached(name, group) for name, group in found.items() if group}


def _flops(point: Point, mark: float | None) -> float:
    """Charged canonical FLOPs at a mark: the share of the budget that was spent there."""
    spent = []
    for cell in point.cells:
        last = cell.record["checkpoints"][-1]
        here = last if mark is None else next(each for each in cell.record["checkpoints"] if each["mark"] == mark)
        spent.append(charged(cell.record) * here["share"] / last["share"])
    return float(np.mean(spent))


def _reached(name: str, group: Sequence[Measured]) -> dict[float, Reached]:
    compute, count = np.array([_flops(each.point, each.mark) for each in group]), len(group)

    def every(*means: Array) -> Array:
        values = np.array(means[:count]) / np.array(means[count:])
        return np.array([reached(compute, values, level) for level in LEVELS])

    tables = [each.values[0] for each in group] + [each.seen for each in group]
    intervals = replicated_all(tables, every, generator=resampler(), resamples=1000)
    rates = np.array([each.values.sum() / each.seen.sum() for each in group])
    return {level: _first(found, rates, compute, group, level) for level, found in zip(LEVELS, intervals, strict=True)}


def _first(found: Interval, rates: Array, compute: Array, group: Sequence[Measured], level: float) -> Reached:
    if not (rates >= level).any():
        return Reached(None, None, "", float(rates.max()))
    first = group[int(np.where(rates >= level, compute, np.inf).argmin())]
    bounds = found._replace(lower=max(found.lower, float(compute.min())))
    return Reached(bounds, first.mark, first.point.setting, float(rates.max()))
