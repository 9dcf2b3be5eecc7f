"""What an alarm is: a rule with a threshold, the marks of a run at which it rang, and the numbers that it rang on. No torch."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from statistics import NormalDist
from typing import Any, NamedTuple

import numpy as np

from harness.measure.statistics import Array, Interval, two_way_interval
from harness.report.numbers import Marked, by_mark, by_prompt, interval_of, marked, metrics, per_prompt, resampler
from harness.store.lines import Row
from harness.store.records import Cell

LEVEL = 0.95


class Evidence(NamedTuple):
    """A number that an alarm rests on: what it is, its interval (NaN bounds where there is none) with its n, and its unit."""

    what: str
    found: Interval
    unit: str = ""

    def __str__(self) -> str:
        """In words, such as ``KL 12.1 [11.5, 12.7] nats, n=384``."""
        value, lower, upper, n = self.found
        bounds = "" if math.isnan(lower + upper) else f" [{lower:.3g}, {upper:.3g}]"
        return f"{self.what} {value:.3g}{bounds}{self.unit and ' '}{self.unit}, n={n}"


@dataclass(frozen=True)
class Run:
    """A run as far as it has come: its record, its sample rows by mark and slice, and the rows of its log."""

    record: Mapping[str, Any]
    rows: Marked
    logged: Sequence[Row]

    @classmethod
    def of(cls, record: Mapping[str, Any], samples: Sequence[Row], logged: Sequence[Row]) -> Run:
        """A run from the rows of its files."""
        return cls(record, by_mark(samples), logged)

    @classmethod
    def finished(cls, cell: Cell) -> Run:
        """A run that is over, from its folder."""
        return cls(cell.record, marked(cell), cell.metrics())

    @cached_property
    def marks(self) -> tuple[float, ...]:
        """The marks at which the policy had started to move, in order, the end among them; a kept checkpoint is no later time."""
        return tuple(mark for mark in self.measured if mark <= 1)

    @cached_property
    def measured(self) -> tuple[float, ...]:
        """Every mark at which the policy was measured after it had started to move."""
        found = self.record.get("checkpoints") or ()
        return tuple(float(each["mark"]) for each in found if each.get("started", True))

    @property
    def ended(self) -> bool:
        """Whether the run was measured at its end."""
        return any(each.get("final") for each in self.record.get("checkpoints") or ())

    def metric(self, key: str, mark: float) -> Interval | None:
        """A recorded metric with its interval; None where it was not measured."""
        return interval_of(metrics(self.record, mark).get(key))

    def values(self, key: str, mark: float) -> dict[int, float]:
        """A metric by prompt; empty where a value is missing."""
        return per_prompt(self.rows, key, mark)

    def column(self, key: str, mark: float) -> tuple[Sequence[int], Array]:
        """The prompts and the numbers of ``values``, not to be changed."""
        return by_prompt(self.rows, key, mark)

    def change(self, key: str, late: float, early: float) -> Array:
        """A metric at one mark less the same at another, by prompt, on the prompts that both measured; (prompts,), maybe empty."""
        (prompts, now), (others, then) = self.column(key, late), self.column(key, early)
        if prompts == others:
            return now - then
        after, before = self.values(key, late), self.values(key, early)
        return np.array([after[prompt] - before[prompt] for prompt in after if prompt in before])

    def texts(self, mark: float, *names: str) -> list[tuple[str, ...]]:
        """The texts of these columns in every evaluation row of a mark; none where one of them is no text."""
        columns = [[row.get(name) for row in self.rows.get((mark, "evaluation"), ())] for name in names]
        return list(zip(*columns, strict=True)) if all({*map(type, column)} <= {str} for column in columns) else []


Look = Callable[[Run, float, float], tuple[Evidence, ...]]


class Rule(NamedTuple):
    """A declared alarm. ``look(run, mark, threshold)`` gives the evidence where it rings at a mark, else nothing.

    ``meaning`` is one sentence for a reader. ``threshold`` is the default of the setting that has the rule's name under ``[alarms]``;
    ``fixed`` rules have none to set: theirs is an experiment's safety margin, a constant, or the interval alone. ``recorded`` is how the
    same alarm begins among the words of a checkpoint, where measuring writes it too.
    """

    name: str
    title: str
    meaning: str
    threshold: float
    look: Look
    fixed: bool = False
    recorded: str = ""


class Alarm(NamedTuple):
    """A rule that rang: the marks at which it did, in order, and its threshold and evidence at the last of them."""

    rule: Rule
    marks: tuple[float, ...]
    threshold: float
    evidence: tuple[Evidence, ...]

    @property
    def when(self) -> str:
        """The marks in words."""
        said = [f"{mark:g}" for mark in self.marks]
        return f"mark{'s' * (len(said) > 1)} {', '.join(said)}"

    @property
    def numbers(self) -> str:
        """The evidence in words."""
        return "; ".join(map(str, self.evidence))

    def plain(self) -> dict[str, Any]:
        """As a record holds it; ``said`` is all of it in words."""
        evidence = [{"what": each.what, "unit": each.unit, **each.found._asdict()} for each in self.evidence]
        known = {"name": self.rule.name, "marks": list(self.marks), "threshold": self.threshold, "evidence": evidence}
        return {**known, "said": str(self)}

    def __str__(self) -> str:
        """One line for a terminal."""
        return f"{self.rule.title} at {self.when}: {self.numbers}"


def mean_of(values: Array, level: float = LEVEL) -> Interval:
    """The mean over prompts with its prompt interval, always from the same resamples."""
    return two_way_interval(values[None], generator=resampler(), level=level)  # one run: over prompts, by weights drawn once


def above(values: Array, bound: float, level: float = LEVEL) -> Interval | None:
    """The mean with its interval where all of it lies above the bound; None elsewhere, and of fewer than two prompts.

    The normal interval must lie there as well. It costs nothing, so that only what may ring is resampled, and far out in the tails of few
    prompts percentiles alone are too narrow.
    """
    if len(values) < 2:
        return None
    error = float(values.std(ddof=1)) / math.sqrt(len(values))
    if float(values.mean()) - NormalDist().inv_cdf((1 + level) / 2) * error <= bound:
        return None
    found = mean_of(values, level)
    return found if found.lower > bound else None


def below(values: Array, bound: float, level: float = LEVEL) -> Interval | None:
    """The mean with its interval where all of it lies below the bound; None elsewhere, and of fewer than two prompts."""
    found = above(-values, -bound, level)
    return None if found is None else Interval(-found.value, -found.upper, -found.lower, found.n)
