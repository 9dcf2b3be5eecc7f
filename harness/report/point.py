"""One point of a report: an algorithm at one setting and one budget, its seeds together, each number with its interval and its n."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from harness.measure.statistics import Array, Interval, paired_two_way, two_way_interval, two_way_intervals
from harness.report.numbers import (
    BEFORE,
    CHANGE,
    Marked,
    Table,
    by_prompt,
    interval_of,
    limit_of,
    marked,
    metrics,
    per_prompt,
    resampler,
    short,
    shown,
    within,
)
from harness.store.records import Cell, Row

QUARTER_LEFT = 0.75  # the mark from which the last quarter of the budget is judged
NOT_CONVERGED = " \u2020"


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
    def untrained(self) -> bool:
        """Whether no policy was trained: answering is what costs, and the budget was not spent."""
        return bool(self.head["algorithm"].get("untrained"))

    @property
    def hollow(self) -> bool:
        """Whether it is drawn dashed and hollow, off every score: it had labels that others lack, or its cost is none of theirs."""
        return self.oracle or self.untrained

    @property
    def foreign(self) -> bool:
        """Whether the runs were trained elsewhere: what they spent was declared, or is unknown, and no ledger counted it."""
        return bool((self.head.get("compute") or {}).get("declared"))

    @property
    def ranked(self) -> bool:
        """Whether the algorithm is one of those compared; controls, oracles and what trains nothing are shown, ranked with nothing."""
        return not (self.control or self.hollow)

    @property
    def knob(self) -> str:
        """The knob's value alone, for a label beside a point; every value where the setting has no knob. Tables name all of a setting."""
        named, knob = shown(self.head), self.head["algorithm"].get("knob")
        return short(named[knob]) if knob in named else ", ".join(short(value) for value in named.values()) or "default"

    @property
    def seeds(self) -> tuple[int, ...]:
        """The seeds that finished."""
        return tuple(int(cell.record.get("seed", 0)) for cell in self.cells)

    @cached_property
    def rows(self) -> tuple[Marked, ...]:
        """Sample rows of every cell by (mark, slice), read once."""
        return tuple(marked(cell) for cell in self.cells)

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
            self.ask((key,), mark)
        return self._known[key, mark]

    def ask(self, keys: Iterable[str], mark: float | None = None) -> None:
        """Compute what ``get`` will give of several metrics, at the price of few: those of the same prompts are resampled together."""
        groups: dict[tuple[int, ...], list[tuple[str, Array]]] = {}
        for key in keys:
            if (key, mark) not in self._known:
                found, table = self._measured(key, mark)
                self._known[key, mark] = found
                if table is not None:
                    groups.setdefault(table.shape, []).append((key, table))
        for group in groups.values():
            intervals = two_way_intervals([table for _, table in group], generator=resampler())
            made = {(key, mark): self._cut(key, each, mark, table) for (key, table), each in zip(group, intervals, strict=True)}
            self._known.update(made)

    @cached_property
    def _known(self) -> dict[tuple[str, float | None], Interval | None]:
        return {}

    def _measured(self, key: str, mark: float | None) -> tuple[Interval | None, Array | None]:
        """A metric without the interval over seeds, and the table that this is to be computed from, where there is one."""
        recorded = [interval_of(metrics(cell.record, mark).get(key)) for cell in self.cells]
        found = [each for each in recorded if each is not None]
        if len(found) < len(recorded) or not found:
            return None, None
        if len(found) == 1:
            return self._cut(key, found[0], mark, self.table(key, mark)), None
        blank = Interval(float(np.mean([each.value for each in found])), math.nan, math.nan, min(each.n for each in found))
        return blank, self.table(key, mark)

    def _cut(self, key: str, interval: Interval, mark: float | None, values: Array | None = None) -> Interval:
        """The interval within what the metric can be; of a change, within what the reference's own level leaves room for."""
        before = self.table(f"{key.removesuffix(CHANGE)}{BEFORE}", mark) if key.endswith(CHANGE) else None
        return within(key, interval, values, None if before is None else two_way_interval(before, generator=resampler()))

    def value(self, key: str, mark: float | None = None) -> float | None:
        """The mean over seeds of a metric at a mark, without bounds; None where it is not defined."""
        found = [interval_of(metrics(cell.record, mark).get(key)) for cell in self.cells]
        values = [each.value for each in found if each is not None]
        return float(np.mean(values)) if len(values) == len(self.cells) else None

    def table(self, key: str, mark: float | None = None) -> Array | None:
        """Per-prompt values, (seeds, prompts), or None where a seed lacks them or measured other prompts."""
        columns = [by_prompt(rows, key, _mark_of(cell.record, mark)) for rows, cell in zip(self.rows, self.cells, strict=True)]
        if any(not prompts or prompts != columns[0][0] for prompts, _ in columns):
            return None
        return np.array([values for _, values in columns])

    def shared_table(self, key: str, mark: float | None = None) -> Table | None:
        """Values by seed and prompt with the prompts' ids, of the prompts that every seed measured; None where a seed lacks the metric."""
        columns = [per_prompt(rows, key, _mark_of(cell.record, mark)) for rows, cell in zip(self.rows, self.cells, strict=True)]
        common = sorted(set.intersection(*(set(column) for column in columns)))
        return Table(tuple(common), np.array([[column[prompt] for prompt in common] for column in columns])) if common else None

    @cached_property
    def rise(self) -> Interval | None:
        """How much the win rate rose over the last quarter of the budget, two-way over seeds and paired by prompt; None if unknown."""
        mark = next((mark for mark in self.marks if abs(mark - QUARTER_LEFT) < 0.05), None)
        late, early = self.shared_table("win_sft"), None if mark is None else self.shared_table("win_sft", mark)
        if late is None or early is None or len(common := sorted({*late.prompts} & {*early.prompts})) < 2:
            return None
        generator = resampler()
        return paired_two_way(late.only(common), early.only(common), generator=generator)

    @property
    def rising(self) -> bool:
        """Whether the win rate still rose over the last quarter of the budget, its interval above 0: not converged."""
        return self.rise is not None and self.rise.lower > 0

    @property
    def title(self) -> str:
        """The algorithm's name as tables print it, marked where it has not converged."""
        return self.algorithm + NOT_CONVERGED * self.rising


def _mark_of(record: Mapping[str, Any], mark: float | None) -> float:
    return float(record["checkpoints"][-1]["mark"]) if mark is None else mark
