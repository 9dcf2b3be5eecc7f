"""What a report shows of a study: one point per algorithm, setting and budget, its seeds together, each number with interval and n."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from harness.measure.statistics import Array, Interval, paired_difference, two_way_interval
from harness.report.escape import deeply, visible
from harness.report.numbers import (
    by_mark,
    charged,
    interval_of,
    limit_of,
    metrics,
    per_prompt,
    point_label,
    setting_label,
    short,
    shown,
    within,
)
from harness.report.sound import problem
from harness.store.records import Cell, Reference, Row, Study, read

# What other rooms import from here.
__all__ = [
    "Loaded",
    "Point",
    "by_algorithm",
    "by_mark",
    "charged",
    "every_point",
    "generator_for",
    "interval_of",
    "largest",
    "limit_of",
    "load",
    "metrics",
    "per_prompt",
    "points",
    "reference_metric",
    "setting_label",
    "within",
]

SHOWN = "finished"
ORACLE = " (oracle)"  # after the name of an algorithm where it trains on what judges it, so that it is taken for no other


@dataclass(frozen=True, eq=False)
class Point:
    """The finished cells of one algorithm at one setting and one budget, one per seed, in order of the seeds."""

    algorithm: str
    setting: str
    cells: tuple[Cell, ...]

    @property
    def budget(self) -> str:
        """The budget as it was written, such as ``4epochs``."""
        return str((self.head.get("budget") or {}).get("spec", ""))

    @property
    def limit(self) -> float:
        """The budget in the unit that was matched (FLOPs where nothing else is said)."""
        return limit_of(self.head)

    @property
    def head(self) -> Row:
        """The record of the first seed: everything that seeds share."""
        return self.cells[0].record

    @property
    def control(self) -> bool:
        """Whether the algorithm is a control."""
        return bool(self.head["algorithm"].get("control"))

    @property
    def oracle(self) -> bool:
        """Whether the runs trained on what judges them, labels that others do not have."""
        return bool(self.head["algorithm"].get("oracle"))

    @property
    def ranked(self) -> bool:
        """Whether the algorithm is one of those compared: a control and an oracle are shown and ranked with nothing."""
        return not (self.control or self.oracle)

    @property
    def knob(self) -> str:
        """The setting's value alone, for a label beside a point."""
        return ", ".join(short(value) for value in shown(self.head).values()) or "default"

    @property
    def seeds(self) -> tuple[int, ...]:
        """The seeds that finished."""
        return tuple(int(cell.record.get("seed", 0)) for cell in self.cells)

    @cached_property
    def rows(self) -> tuple[Mapping[tuple[float, str], list[Row]], ...]:
        """Sample rows of every cell by (mark, slice), read once."""
        return tuple(by_mark(cell.samples()) for cell in self.cells)

    @property
    def marks(self) -> list[float]:
        """The marks before the end at which every seed was measured and the policy had started to move."""
        seen = [{c["mark"] for c in cell.record["checkpoints"] if not c.get("final") and c.get("started", True)} for cell in self.cells]
        return sorted(set.intersection(*seen)) if seen else []

    def get(self, key: str, mark: float | None = None) -> Interval | None:
        """A metric at a mark (None: the end), or None where it is not defined.

        One seed: the interval in the record. Several: the mean over seeds with the two-way interval where the samples give per-prompt
        values, else the mean without bounds (NaN), for prompt intervals of different seeds cannot be joined.
        """
        if (key, mark) not in self._known:
            self._known[key, mark] = self._measured(key, mark)
        return self._known[key, mark]

    @cached_property
    def _known(self) -> dict[tuple[str, float | None], Interval | None]:
        return {}

    def _measured(self, key: str, mark: float | None) -> Interval | None:
        recorded = [interval_of(metrics(cell.record, mark).get(key)) for cell in self.cells]
        found = [each for each in recorded if each is not None]
        if len(found) < len(recorded) or not found:
            return None
        if len(found) == 1:
            return found[0]
        table = self.table(key, mark)
        if table is None:
            return Interval(float(np.mean([each.value for each in found])), math.nan, math.nan, min(each.n for each in found))
        return within(key, two_way_interval(table, generator=generator_for(self.algorithm, self.setting, key)))

    def value(self, key: str, mark: float | None = None) -> float | None:
        """The mean over seeds of a metric at a mark, without bounds; None where it is not defined."""
        found = [interval_of(metrics(cell.record, mark).get(key)) for cell in self.cells]
        values = [each.value for each in found if each is not None]
        return float(np.mean(values)) if len(values) == len(self.cells) else None

    def table(self, key: str, mark: float | None = None) -> Array | None:
        """Per-prompt values, (seeds, prompts), or None where a seed lacks them or measured other prompts."""
        columns = [per_prompt(rows, key, _mark_of(cell.record, mark)) for rows, cell in zip(self.rows, self.cells, strict=True)]
        if any(not column or list(column) != list(columns[0]) for column in columns):
            return None
        return np.array([list(column.values()) for column in columns])

    def rises(self) -> Interval | None:
        """How much the win rate rose over the last stretch of the first seed's budget, paired by prompt, or None if unknown."""
        if not self.marks:
            return None
        rows, record = self.rows[0], self.cells[0].record
        late, early = per_prompt(rows, "win_sft", _mark_of(record, None)), per_prompt(rows, "win_sft", self.marks[-1])
        common = [prompt for prompt in early if prompt in late]
        if len(common) < 2:
            return None
        generator = generator_for(self.algorithm, self.setting, "rises")
        return paired_difference([late[p] for p in common], [early[p] for p in common], generator=generator)


@dataclass(frozen=True)
class Loaded(Study):
    """A study whose points are made once: whoever asks for them shares the samples they read and the numbers they computed."""

    @cached_property
    def every_point(self) -> list[Point]:
        """The points of all budgets, as ``every_point`` gives them."""
        return _points(self.cells)

    @cached_property
    def points(self) -> list[Point]:
        """The points of the largest budget, as ``points`` gives them."""
        return largest(self.every_point)


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
    return Loaded(study.folder, deeply(study.experiment), kept, own, seen, study.unfinished, tried, lines)


def points(study: Study) -> list[Point]:
    """The points of a study at its largest budget: controls last, algorithms by name, settings along their own KL."""
    return study.points if isinstance(study, Loaded) else largest(_points(study.cells))


def every_point(study: Study) -> list[Point]:
    """The points of a study at all its budgets, those of one algorithm and setting by falling budget."""
    return study.every_point if isinstance(study, Loaded) else _points(study.cells)


def largest(found: Sequence[Point]) -> list[Point]:
    """The points of the largest budget that finished: what a page shows where it does not speak of budgets."""
    most = max((point.limit for point in found), default=0.0)
    return [point for point in found if point.limit == most]


def _points(cells: Sequence[Cell]) -> list[Point]:
    groups: dict[tuple[str, str, float], list[Cell]] = {}
    for cell in cells:
        if cell.record["status"] == SHOWN and cell.record.get("checkpoints"):
            key = (name_of(cell.record["algorithm"]), point_label(cell.record), limit_of(cell.record))
            groups.setdefault(key, []).append(cell)
    found = [
        Point(name, label, tuple(sorted(group, key=lambda c: int(c.record.get("seed", 0))))) for (name, label, _), group in groups.items()
    ]
    along = {(point.algorithm, point.setting): _kl_of(point) for point in sorted(found, key=lambda point: point.limit)}
    return sorted(found, key=lambda each: (each.control, each.algorithm, along[each.algorithm, each.setting], each.setting, -each.limit))


def name_of(algorithm: Mapping[str, Any]) -> str:
    """What an algorithm is called on a page."""
    return f"{algorithm['name']}{ORACLE if algorithm.get('oracle') else ''}"


def by_algorithm(found: Sequence[Point]) -> dict[str, list[Point]]:
    """The points of each algorithm, in the order of ``points``."""
    groups: dict[str, list[Point]] = {}
    for point in found:
        groups.setdefault(point.algorithm, []).append(point)
    return groups


def reference_metric(references: Sequence[Reference], key: str) -> Interval | None:
    """A metric of the SFT reference: one seed's recorded interval, over several the mean with the two-way interval where prompts agree."""
    found = [each for each in (interval_of(metrics(r.record, None).get(key)) for r in references) if each is not None]
    if len(found) < 2:
        return found[0] if found else None
    columns = [per_prompt(by_mark(r.samples()), key, 0.0) for r in references]
    if len(found) == len(columns) and all(column and list(column) == list(columns[0]) for column in columns):
        table = np.array([list(column.values()) for column in columns])
        return within(key, two_way_interval(table, generator=generator_for("reference", "", key)))
    return Interval(float(np.mean([each.value for each in found])), math.nan, math.nan, min(each.n for each in found))


def generator_for(*parts: str) -> np.random.Generator:
    """A generator that depends on what it is for and on nothing else: the same records give the same report."""
    digest = hashlib.sha256("\0".join(parts).encode()).digest()
    return np.random.default_rng(int.from_bytes(digest[:8], "big"))


def _mark_of(record: Mapping[str, Any], mark: float | None) -> float:
    return float(record["checkpoints"][-1]["mark"]) if mark is None else mark


def _kl_of(point: Point) -> float:
    found = [interval_of(metrics(cell.record, None).get("kl")) for cell in point.cells]
    return float(np.mean([each.value for each in found if each is not None] or [math.inf]))
