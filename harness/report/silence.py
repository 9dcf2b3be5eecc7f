"""Comparisons to which a judge gave no verdict. They are no ties: nobody said that the two responses are alike.

What is said of the judge itself (agreement, ties, consistency, position) leaves them out and says how many there were. Win rates keep
them, for leaving out what a judge cannot read would choose the prompts: the lower bound is that of all of them lost, the upper that of
all of them won, and the value lies in the middle (worst-case bounds, Horowitz and Manski 2000, doi 10.1080/01621459.2000.10473902).
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from harness.measure.statistics import Array, Interval, replicated, two_way_interval
from harness.report.points import resampler

WAYS = ("forward", "backward")
MEANING = (
    " A comparison without a verdict is no tie: it may have been won or lost, so the bounds are those of all of them lost and all of them "
    "won, and the value is the middle between."
)
LEFT_OUT = " Comparisons without a verdict both ways round are no ties; they are counted and left out of all else here."


def said(rows: Sequence[Mapping[str, Any]], facts: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """A judgement's rows, None where no verdict was given.

    A record from before silences were told apart holds them as ties: where it counts some, any of its ties may be one.
    """
    silent = (facts.get("usage") or {}).get("silent") or 0
    if not silent or any(row.get("win") is None for row in rows):
        return list(rows)
    heard = [{**row, **{way: None for way in WAYS if row.get(way) == 0.5}} for row in rows]
    return [{**row, "win": None} if None in (row.get(way, 0) for way in WAYS) else row for row in heard]


def possible(win: float, *ways: float) -> tuple[float, float]:
    """The least and the most that an outcome can have been, NaN where there was no verdict: of one order alone, that verdict or a tie."""
    if not math.isnan(win):
        return win, win
    forward, backward = (*ways, math.nan, math.nan)[:2]
    known = [each for each in (forward, 1 - backward) if not math.isnan(each)]
    return (min(known[0], 0.5), max(known[0], 0.5)) if known else (0.0, 1.0)


def between(least: Array, most: Array) -> Interval:
    """The two-way interval of what lies between two tables (seeds, prompts): from the lower bound of one to the upper of the other."""
    if (least == most).all():
        return two_way_interval(least, generator=resampler())
    low, high = (two_way_interval(table, generator=resampler()) for table in (least, most))
    return Interval((low.value + high.value) / 2, low.lower, high.upper, low.n)


def share(values: Array, decided: Array) -> Interval:
    """The mean of ``values`` (policies, seeds, prompts) where they are ``decided``, at least once, two-way over seeds and prompts."""
    if decided.all():
        return two_way_interval(values.mean(0), generator=resampler())
    tables = [np.where(decided, values, 0.0).mean(0), decided.mean(0)]
    found = replicated(tables, lambda part, whole: part / whole, generator=resampler())
    return found._replace(n=int(decided.any((0, 1)).sum()))
