"""What a report shows of a study: one point per algorithm and setting, its seeds together, each number with its interval and its n."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from harness.measure.statistics import Array, Interval, paired_difference, prompt_means, two_way_interval
from harness.report.escape import deeply
from harness.store.records import Cell, Reference, Row, Study, read
from harness.training.ledger import CHARGED

SHOWN = "finished"

# What a metric can be, by how its name begins: shares and masses, divergences, lengths.
SHARE = (0.0, 1.0)
NAMES_OF_SHARES = (
    "win_",
    "tie_",
    "eos_rate",
    "repetition",
    "refusal_mass",
    "over_refusal_mass",
    "harmful_",
    "borderline_",
    "preference_accuracy",
)
POSSIBLE = (
    *((name, SHARE) for name in NAMES_OF_SHARES),
    ("kl", (0.0, math.inf)),
    ("length", (0.0, math.inf)),
    ("entropy", (0.0, math.inf)),
)


@dataclass(frozen=True, eq=False)
class Point:
    """The finished cells of one algorithm at one setting, one per seed, in order of the seeds."""

    algorithm: str
    setting: str
    cells: tuple[Cell, ...]

    @property
    def head(self) -> Row:
        """The record of the first seed: everything that seeds share."""
        return self.cells[0].record

    @property
    def control(self) -> bool:
        """Whether the algorithm is a control."""
        return bool(self.head["algorithm"].get("control"))

    @property
    def knob(self) -> str:
        """The setting's value alone, for a label beside a point."""
        return ", ".join(_short(value) for value in self.head.get("setting", {}).values()) or "default"

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
        table = self._table(key, mark)
        if table is None:
            return Interval(float(np.mean([each.value for each in found])), math.nan, math.nan, min(each.n for each in found))
        return within(key, two_way_interval(table, generator=generator_for(self.algorithm, self.setting, key)))

    def value(self, key: str, mark: float | None = None) -> float | None:
        """The mean over seeds of a metric at a mark, without bounds; None where it is not defined."""
        found = [interval_of(metrics(cell.record, mark).get(key)) for cell in self.cells]
        values = [each.value for each in found if each is not None]
        return float(np.mean(values)) if len(values) == len(self.cells) else None

    def _table(self, key: str, mark: float | None) -> Array | None:
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


def within(key: str, interval: Interval) -> Interval:
    """The interval cut to what the metric can be: with two seeds the t-factor of 12.7 / 1.96 reaches beyond 0 and 1."""
    lowest, highest = next(
        (bounds for prefix, bounds in POSSIBLE if key.startswith(prefix) and not key.endswith("_delta")), (-math.inf, math.inf)
    )
    return interval._replace(lower=max(interval.lower, lowest), upper=min(interval.upper, highest))


def _number(row: Row, key: str) -> Any:
    """A row's value of a metric: a paired change is its mass less the reference's, a category's share is 1 where it was given."""
    if key.endswith("_delta"):
        after, before = row.get(key.removesuffix("_delta")), row.get("before")
        return None if after is None or before is None else after - before
    part, _, category = key.partition("_")
    return float(row["category"] == category) if part == row.get("slice") and "category" in row else row.get(key)


@dataclass(frozen=True)
class Loaded(Study):
    """A study whose points are made once: whoever asks for them shares the samples they read and the numbers they computed."""

    @cached_property
    def points(self) -> list[Point]:
        """The points, as ``points`` gives them."""
        return _points(self.cells)


def load(folder: Path) -> Loaded:
    """The study in a folder with every text of its records made harmless, whatever shows it later: page, figure, CSV or terminal."""
    study = read(folder)
    cells = tuple(replace(cell, record=deeply(cell.record)) for cell in study.cells)
    references = tuple(replace(reference, record=deeply(reference.record)) for reference in study.references)
    return Loaded(study.folder, deeply(study.experiment), cells, references, study.skipped, study.unfinished)


def points(study: Study) -> list[Point]:
    """The points of a study: controls last, algorithms by name, settings along their own KL."""
    return study.points if isinstance(study, Loaded) else _points(study.cells)


def _points(cells: Sequence[Cell]) -> list[Point]:
    groups: dict[tuple[str, str], list[Cell]] = {}
    for cell in cells:
        if cell.record["status"] == SHOWN and cell.record.get("checkpoints"):
            key = (cell.record["algorithm"]["name"], setting_label(cell.record.get("setting", {})))
            groups.setdefault(key, []).append(cell)
    found = [
        Point(name, label, tuple(sorted(group, key=lambda c: int(c.record.get("seed", 0))))) for (name, label), group in groups.items()
    ]
    return sorted(found, key=lambda point: (point.control, point.algorithm, _kl_of(point), point.setting))


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


def metrics(record: Mapping[str, Any], mark: float | None) -> Mapping[str, Any]:
    """The metrics of the checkpoint at a mark (None: the last), empty where there is none."""
    checkpoints = record.get("checkpoints") or []
    if mark is None:
        return checkpoints[-1]["metrics"] if checkpoints else {}
    return next((checkpoint["metrics"] for checkpoint in checkpoints if checkpoint["mark"] == mark), {})


def interval_of(value: Mapping[str, Any] | None) -> Interval | None:
    """A recorded ``{value, lower, upper, n}``; a missing or null value is None, missing bounds are NaN."""
    if value is None or value.get("value") is None:
        return None
    lower, upper = (math.nan if value.get(key) is None else float(value[key]) for key in ("lower", "upper"))
    return Interval(float(value["value"]), lower, upper, int(value.get("n") or 0))


def by_mark(rows: Sequence[Row]) -> dict[tuple[float, str], list[Row]]:
    """Sample rows grouped by (mark, slice)."""
    groups: dict[tuple[float, str], list[Row]] = {}
    for row in rows:
        groups.setdefault((float(row.get("mark", 1.0)), str(row.get("slice", "evaluation"))), []).append(row)
    return groups


def per_prompt(rows: Mapping[tuple[float, str], Sequence[Row]], key: str, mark: float) -> dict[int, float]:
    """Means of a metric by prompt, in order of the prompts, from the sample rows of one mark; empty where a value is missing."""
    borderline, harmful = key.startswith(("over_refusal", "borderline")), key.startswith(("refusal", "harmful"))
    heldout = "heldout" if key == "preference_accuracy" else "evaluation"
    chosen = rows.get((mark, "borderline" if borderline else "harmful" if harmful else heldout), ())
    values = [_number(row, key) for row in chosen]
    if not chosen or any(not isinstance(value, int | float) for value in values):
        return {}
    prompts = [int(row["prompt_id"]) for row in chosen]
    means = prompt_means(np.asarray(values, dtype=np.float64), np.asarray(prompts))
    return dict(zip(sorted(set(prompts)), means.tolist(), strict=True))


def charged(record: Mapping[str, Any]) -> float:
    """Canonical FLOPs that count against the budget."""
    canonical = (record.get("compute") or {}).get("canonical") or {}
    return float(sum(canonical.get(phase) or 0.0 for phase in CHARGED))


def setting_label(setting: Mapping[str, Any]) -> str:
    """A setting as ``beta=0.1``, several values joined by commas; ``default`` where none was chosen."""
    return ", ".join(f"{key}={_short(value)}" for key, value in setting.items()) or "default"


def generator_for(*parts: str) -> np.random.Generator:
    """A generator that depends on what it is for and on nothing else: the same records give the same report."""
    digest = hashlib.sha256("\0".join(parts).encode()).digest()
    return np.random.default_rng(int.from_bytes(digest[:8], "big"))


def _mark_of(record: Mapping[str, Any], mark: float | None) -> float:
    return float(record["checkpoints"][-1]["mark"]) if mark is None else mark


def _short(value: Any) -> str:
    return f"{value:g}" if isinstance(value, float) else str(value)


def _kl_of(point: Point) -> float:
    found = [interval_of(metrics(cell.record, None).get("kl")) for cell in point.cells]
    return float(np.mean([each.value for each in found if each is not None] or [math.inf]))
