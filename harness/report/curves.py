"""Curves of an outcome over compute: one stop per finished budget, or the marks of one run, and crossings between algorithms."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from itertools import combinations
from typing import NamedTuple

import numpy as np

from harness.measure.accounting import matched_amount
from harness.measure.budget_curves import Crossing, crossing
from harness.measure.statistics import Interval
from harness.report import comparing, declared
from harness.report.points import Point, limit_of, resampler
from harness.store.records import Cell

OUTCOMES = {"win_sft": "win rate against the SFT reference", "gold": "gold reward"}


class Stop(NamedTuple):
    """One place on a curve: what was spent in the unit that is matched, the outcome with its interval, and whose it is.

    ``mark`` is None for a finished, annealed run of its own; else the share at which one longer run was measured on its way.
    """

    point: Point
    mark: float | None
    amount: float
    outcome: Interval


class Crossed(NamedTuple):
    """Two algorithms and where their curves cross; None with the reason where they do not, or where it cannot be said."""

    first: str
    second: str
    crossing: Crossing | None
    reason: str = ""


def shown(everything: Sequence[Point], found: Sequence[Point]) -> Mapping[str, list[Point]]:
    """For every algorithm the points of one setting at every budget, by rising budget: the setting that comparisons are made at."""
    settings = declared.settings(found) | comparing.chosen(found)
    return {
        name: sorted((each for each in everything if (each.algorithm, each.setting) == (name, point.setting)), key=lambda each: each.limit)
        for name, point in sorted(settings.items())
    }


def finished(points: Sequence[Point], key: str) -> list[Stop]:
    """The ends of separate runs, one per budget, where what they spent is known."""
    known = [(point, outcome) for point in points if (outcome := point.get(key)) is not None and math.isfinite(_amount(point))]
    return [Stop(point, None, _amount(point), outcome) for point, outcome in known]


def on_the_way(points: Sequence[Point], key: str) -> list[Stop]:
    """The marks of the run with the largest budget, which is not annealed at any of them."""
    point = points[-1]
    marked = [(mark, outcome) for mark in point.marks if (outcome := point.get(key, mark)) is not None]
    return [Stop(point, mark, _amount(point, mark), outcome) for mark, outcome in marked]


def _amount(point: Point, mark: float | None = None) -> float:
    return float(np.mean([_spent(cell, mark) for cell in point.cells]))


def _spent(cell: Cell, mark: float | None) -> float:
    """What a cell had spent at a mark in the unit that is matched: a mark is taken after the step that passes its share of the limit."""
    if mark is None:
        return matched_amount(cell.record, cell.times)
    return float(next(each["share"] for each in cell.record["checkpoints"] if each["mark"] == mark)) * limit_of(cell.record)


def crossings(curves: Mapping[str, Sequence[Point]], key: str) -> list[Crossed]:
    """Every pair of ranked algorithms over the budgets, seeds and prompts that both have."""
    ranked = [name for name, points in curves.items() if points and points[-1].ranked]
    return [_crossed(first, second, curves[first], curves[second], key) for first, second in combinations(ranked, 2)]


def _crossed(first: str, second: str, ours: Sequence[Point], theirs: Sequence[Point], key: str) -> Crossed:
    pairs = [(a, b) for a in ours for b in theirs if a.limit == b.limit and a.seeds == b.seeds == ours[-1].seeds]
    tables = [(a.shared_table(key), b.shared_table(key)) for a, b in pairs]
    known = [(a, b) for a, b in tables if a is not None and b is not None]
    if len(known) < max(2, len(pairs)):
        return Crossed(first, second, None, "not computable: fewer than two budgets with the same seeds")
    if any(point.rising for point in (ours[-1], theirs[-1])):
        return Crossed(first, second, None, "not converged: not ranked")
    common = sorted(set.intersection(*({*table.prompts} for pair in known for table in pair)))
    sides = [[table.only(common) for table in side] for side in zip(*known, strict=True)]
    found = crossing([a.limit for a, _ in pairs], *sides, generator=resampler())
    return Crossed(first, second, found, "" if found else "no crossing within the measured range")
