"""What a report shows of a study: one point per algorithm, setting and budget, its seeds together, each number with interval and n."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from harness.measure.statistics import Interval, two_way_interval
from harness.report.escape import deeply, visible
from harness.report.numbers import (
    Table,
    by_mark,
    charged,
    interval_of,
    limit_of,
    marked,
    metrics,
    per_prompt,
    point_label,
    resampler,
    setting_label,
    within,
)
from harness.report.once import once
from harness.report.point import NOT_CONVERGED, Point
from harness.report.sound import problem
from harness.store.files import uncollected
from harness.store.records import Cell, Reference, Study, read

# What other rooms import from here.
__all__ = [
    "NOT_CONVERGED",
    "Loaded",
    "Point",
    "Table",
    "by_algorithm",
    "by_mark",
    "charged",
    "every_point",
    "interval_of",
    "largest",
    "limit_of",
    "load",
    "metrics",
    "per_prompt",
    "points",
    "reference_metric",
    "resampler",
    "setting_label",
    "within",
]

SHOWN = "finished"
ORACLE = " (oracle)"  # after the name of an algorithm where it trains on what judges it, so that it is taken for no other
BOUND = " (KL at its bound)"  # after the name of one whose KL is known to be no more than where it is drawn


@dataclass(frozen=True)
class Loaded(Study):
    """A study whose texts are harmless and whose records were looked through."""

    @property
    def every_point(self) -> list[Point]:
        """The points of all budgets, as ``every_point`` gives them."""
        return every_point(self)

    @property
    def points(self) -> list[Point]:
        """The points of the largest budget, as ``points`` gives them."""
        return points(self)


@uncollected()
def load(folder: Path) -> Loaded:
    """The study in a folder with every text of its records made harmless, whatever shows it later: page, figure, CSV or terminal.

    A cell whose files cannot be read, or say what cannot be, is left out and named among the skipped ones.
    """
    study = read(folder)
    cells = tuple(replace(cell, record=deeply(cell.record)) for cell in study.cells)
    references = tuple(replace(reference, record=deeply(reference.record)) for reference in study.references)
    trials = tuple(replace(trial, record=deeply(trial.record)) for trial in study.trials)
    problems = {each: said for each in (*cells, *references, *trials, *study.frontiers) if (said := problem(each))}
    skipped = (*study.skipped, *problems.values())
    kept = tuple(cell for cell in cells if cell not in problems)
    own = tuple(reference for reference in references if reference not in problems)
    tried = tuple(trial for trial in trials if trial not in problems)
    lines = tuple(each for each in study.frontiers if each not in problems)
    seen = tuple(map(visible, skipped))
    return Loaded(study.folder, deeply(study.experiment), kept, own, seen, study.unfinished, tried, lines, tuple(map(visible, study.newer)))


def points(study: Study) -> list[Point]:
    """The points of a study at its largest budget: controls last, algorithms by name, settings along their own KL."""
    return largest(_points(study.cells))


def every_point(study: Study) -> list[Point]:
    """The points of a study at all its budgets, those of one algorithm and setting by falling budget."""
    return list(_points(study.cells))


def largest(found: Sequence[Point]) -> list[Point]:
    """The points of the largest budget that finished: what a page shows where it does not speak of budgets."""
    most = max((point.limit for point in found), default=0.0)
    return [point for point in found if point.limit == most]


@once
def _points(cells: Sequence[Cell]) -> tuple[Point, ...]:
    """The same points for whoever asks: they share the samples they read and the numbers they computed."""
    groups: dict[tuple[str, str, float], list[Cell]] = {}
    for cell in cells:
        if cell.record["status"] == SHOWN and cell.record.get("checkpoints"):
            key = (name_of(cell.record["algorithm"]), point_label(cell.record), limit_of(cell.record))
            groups.setdefault(key, []).append(cell)
    found = [
        Point(name, label, tuple(sorted(group, key=lambda c: int(c.record.get("seed", 0))))) for (name, label, _), group in groups.items()
    ]
    along = {(point.algorithm, point.setting): _kl_of(point) for point in sorted(found, key=lambda point: point.limit)}
    return tuple(
        sorted(found, key=lambda each: (each.control, each.algorithm, along[each.algorithm, each.setting], each.setting, -each.limit))
    )


def name_of(algorithm: Mapping[str, Any]) -> str:
    """What an algorithm is called on a page."""
    return f"{algorithm['name']}{ORACLE if algorithm.get('oracle') else ''}{BOUND if algorithm.get('bounded') else ''}"


def by_algorithm(found: Sequence[Point]) -> dict[str, list[Point]]:
    """The points of each algorithm, in the order of ``points``."""
    groups: dict[str, list[Point]] = {}
    for point in found:
        groups.setdefault(point.algorithm, []).append(point)
    return groups


def reference_metric(references: Sequence[Reference], key: str) -> Interval | None:
    """A metric of the SFT reference: one seed's recorded interval, over several the mean with the two-way interval where prompts agree."""
    found = [each for each in (interval_of(metrics(r.record, None).get(key)) for r in references) if each is not None]
    if not found:
        return None
    columns = [per_prompt(marked(r), key, 0.0) for r in references]
    known = len(found) == len(columns) and all(column and list(column) == list(columns[0]) for column in columns)
    table = np.array([list(column.values()) for column in columns]) if known else None
    if len(found) == 1:
        return within(key, found[0], table)
    if table is not None:
        return within(key, two_way_interval(table, generator=resampler()), table)
    return Interval(float(np.mean([each.value for each in found])), math.nan, math.nan, min(each.n for each in found))


def _kl_of(point: Point) -> float:
    found = [interval_of(metrics(cell.record, None).get("kl")) for cell in point.cells]
    return float(np.mean([each.value for each in found if each is not None] or [math.inf]))
