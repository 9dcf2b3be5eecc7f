"""Numbers of a record and of its sample rows: metrics with intervals, means by prompt, what a cell spent and what it was allowed."""

from __future__ import annotations

import math
import operator
from collections.abc import Mapping, Sequence
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np

from harness.measure.accounting import charged
from harness.measure.statistics import Array, Interval, prompt_means
from harness.measure.verdicts import possible, possible_change, seen
from harness.report.once import once
from harness.store.records import Cell, Row

__all__ = ["Table", "by_mark", "charged", "interval_of", "limit_of", "metrics", "per_prompt", "point_label", "resampler", "setting_label"]

CHANGE = "_delta"  # what the name of a paired change against the reference ends with
BEFORE = "_before"  # and that of the reference's own level, which rows of its slice hold as ``before``
NUMBERS = {int, float, bool}  # what JSON has
# What a metric can be: shares and masses, also of outcomes by how their names begin, and what is never below 0.
SHARE, NOT_NEGATIVE, ANY = (0.0, 1.0), (0.0, math.inf), (-math.inf, math.inf)
OUTCOMES = ("win_", "tie_", "harmful_", "borderline_")
COUNTED = ("eos_rate", "preference_accuracy", "heldout_label_accuracy")  # outcomes too: each is one or the other
SHARES = (*COUNTED, "repetition", "rouge_l", "distinct_2", "refusal_mass", "over_refusal_mass")
AMOUNTS = ("kl", "kl_per_token", "forward_kl", "length", "entropy", "demonstration_nll")
POSSIBLE = dict.fromkeys(SHARES, SHARE) | dict.fromkeys(AMOUNTS, NOT_NEGATIVE)


class Table(NamedTuple):
    """Values, (seeds, prompts), and the ids of the prompts."""

    prompts: tuple[int, ...]
    values: Array

    def only(self, prompts: Sequence[int]) -> Array:
        """The columns of these prompts, in their order."""
        place = {prompt: position for position, prompt in enumerate(self.prompts)}
        return self.values[:, [place[prompt] for prompt in prompts]]


def metrics(record: Mapping[str, Any], mark: float | None) -> Mapping[str, Any]:
    """The metrics of the checkpoint at a mark (None: the last), empty where there is none."""
    checkpoints = record.get("checkpoints") or []
    if mark is None:
        return checkpoints[-1]["metrics"] if checkpoints else {}
    return next((checkpoint["metrics"] for checkpoint in checkpoints if checkpoint["mark"] == mark), {})


def interval_of(value: Mapping[str, Any] | None) -> Interval | None:
    """A recorded ``{value, lower, upper, n}``; a missing, null or NaN value is None, missing bounds are NaN."""
    if value is None or value.get("value") is None or math.isnan(value["value"]):
        return None
    lower, upper = (math.nan if value.get(key) is None else float(value[key]) for key in ("lower", "upper"))
    return Interval(float(value["value"]), lower, upper, int(value.get("n") or 0))


class Marked(dict[tuple[float, str], list[Row]]):
    """Sample rows by (mark, slice), with the ids of their prompts and the metrics that were asked for, which many figures ask for again."""

    @cached_property
    def means(self) -> dict[tuple[str, float], tuple[Sequence[int], Array]]:
        """What ``by_prompt`` gave of a metric at a mark."""
        return {}

    def prompts(self, at: tuple[float, str]) -> tuple[list[int], bool]:
        """The prompt of each row there, and whether they ascend: one sample each, in order, as they are recorded."""
        if at not in self._known:
            found = [int(row["prompt_id"]) for row in self[at]]
            self._known[at] = found, all(map(operator.lt, found, found[1:]))
        return self._known[at]

    @cached_property
    def _known(self) -> dict[tuple[float, str], tuple[list[int], bool]]:
        return {}


def marked(cell: Cell) -> Marked:
    """The sample rows of a cell by (mark, slice), grouped once."""
    return _marked((cell,))


@once
def _marked(cells: Sequence[Cell]) -> Marked:
    return by_mark(cells[0].samples())


def by_mark(rows: Sequence[Row]) -> Marked:
    """Sample rows grouped by (mark, slice)."""
    groups, last, group = Marked(), None, list[Row]()
    for row in rows:
        if (at := (row.get("mark", 1.0), row.get("slice", "evaluation"))) != last:  # most rows are where the row before was
            last, group = at, groups.setdefault((float(at[0]), str(at[1])), [])
        group.append(row)
    return groups


def per_prompt(rows: Marked, key: str, mark: float) -> dict[int, float]:
    """Means of a metric by prompt, in order of the prompts, from the sample rows of one mark; empty where a value is missing."""
    prompts, means = by_prompt(rows, key, mark)
    return dict(zip(prompts, means.tolist(), strict=True))


def by_prompt(rows: Marked, key: str, mark: float) -> tuple[Sequence[int], Array]:
    """The prompts and the means of ``per_prompt``, both empty where a value is missing; kept with the rows and not to be changed."""
    if (key, mark) not in rows.means:
        rows.means[key, mark] = _by_prompt(rows, key, mark)
    return rows.means[key, mark]


def _by_prompt(rows: Marked, key: str, mark: float) -> tuple[Sequence[int], Array]:
    borderline, harmful = key.startswith(("over_refusal_mass", "borderline_")), key.startswith(("refusal_mass", "harmful_"))
    heldout = "heldout" if key == "preference_accuracy" or key.startswith("heldout_") else "evaluation"
    at = (mark, "borderline" if borderline else "harmful" if harmful else heldout)
    values = _numbers(rows.get(at, ()), key)
    if not values or not set(map(type, values)) <= NUMBERS or not np.isfinite(table := np.asarray(values, dtype=np.float64)).all():
        return (), np.empty(0)
    prompts, ascending = rows.prompts(at)
    if ascending:  # nothing to average
        return prompts, table
    return sorted(set(prompts)), prompt_means(table, np.asarray(prompts))


def limit_of(record: Mapping[str, Any]) -> float:
    """A cell's budget in the unit that was matched; records from before there were units say FLOPs."""
    budget = record.get("budget") or {}
    return float(budget.get("limit") or budget.get("flops") or 0.0)


def point_label(record: Mapping[str, Any]) -> str:
    """What a cell's setting is called: a tuned one by its grid value, for what was searched is in a table of its own."""
    return f"{setting_label(shown(record))}, tuned" if record.get("tuned") else setting_label(shown(record))


def shown(record: Mapping[str, Any]) -> Mapping[str, Any]:
    """The part of a setting that names a point."""
    setting: Mapping[str, Any] = record.get("setting") or {}
    return (record.get("tuning") or {}).get("grid", setting) if record.get("tuned") else setting


def setting_label(setting: Mapping[str, Any]) -> str:
    """A setting as ``beta=0.1``, several values joined by commas; ``default`` where none was chosen."""
    return ", ".join(f"{key}={short(value)}" for key, value in setting.items()) or "default"


def short(value: Any) -> str:
    """A setting's value as a label has it."""
    return f"{value:g}" if isinstance(value, float) else str(value)


def within(key: str, interval: Interval, values: Array | None = None, reference: Interval | None = None) -> Interval:
    """The interval cut to what the metric can be: with two seeds the t-factor of 12.7 / 1.96 reaches beyond 0 and 1.

    A metric of a task's own is what its ``values`` show, and an outcome that all of them or none of them have may be otherwise on another
    prompt. A change (``_delta``) is cut to what the interval of the ``reference``'s own level leaves below and above, or, where
    that is unknown (None), to the metric's whole width.
    """
    if not key.endswith(CHANGE):
        return possible(_unseen(key, interval, values), _bounds(key, values))
    return possible_change(interval, reference, _bounds(key.removesuffix(CHANGE), None))


def _unseen(key: str, interval: Interval, values: Array | None) -> Interval:
    """The interval, wider where a counted outcome was there on every prompt or on none: a bootstrap has no spread from that."""
    outcome = key.startswith(OUTCOMES) or key in COUNTED
    if not outcome or values is None or not values.size or values.min() not in SHARE:
        return interval
    return seen(values, interval, 0.95, counted=True)


def _bounds(key: str, values: Array | None) -> tuple[float, float]:
    """The least and the largest mean of a metric: a known one's, or what whole numbers tell, which are counts where none is negative."""
    if (known := SHARE if key.startswith(OUTCOMES) else POSSIBLE.get(key)) is not None:
        return known
    if values is None or not values.size or values.min() < 0 or (values != np.floor(values)).any():
        return ANY
    return SHARE if values.max() == 1 else NOT_NEGATIVE


def _numbers(rows: Sequence[Row], key: str) -> list[Any]:
    """Each row's value of a metric: a paired change is its mass less the reference's, a category's share is 1 where it was given."""
    if key.endswith(BEFORE):  # unless a task has a column of such a name
        return [row.get(key, row.get("before")) for row in rows]
    if key.endswith(CHANGE):
        pairs = [(row.get(key.removesuffix(CHANGE)), row.get("before")) for row in rows]
        return [None if after is None or before is None else after - before for after, before in pairs]
    part, _, category = key.partition("_")
    if rows and rows[0].get("slice") == part:  # rows of one slice
        return [float(row["category"] == category) if "category" in row else row.get(key) for row in rows]
    return [row.get(key) for row in rows]


def resampler() -> np.random.Generator:
    """The one generator of a report's intervals, always in the same state: the same records give the same report.

    Every number is resampled over the same seeds and prompts, so that what two rows share shows in both, and the draws are made once.
    """
    return np.random.default_rng(0)
