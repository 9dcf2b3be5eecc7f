"""Which rows of a table are the best within noise: all whose paired interval against the best covers 0, where the seeds allow a mark."""

from __future__ import annotations

import math
from collections.abc import Collection, Sequence

import numpy as np

from harness.measure.statistics import two_way_interval
from harness.report import findings
from harness.report.comparing import paired
from harness.report.points import Point, resampler


def marked(found: Sequence[Point], key: str) -> Collection[Point]:
    """The rows to mark in a column where more is better; none where the seeds do not support a mark (``unsupported`` says why).

    The best is the row of the highest mean among those that are ranked and have converged; controls, oracles and runs that still
    improve neither win nor are marked. A row without a seed and prompt in common with the best cannot be told from it, and is no match.
    """
    if unsupported(found):
        return ()
    known = [(point, value) for point in _candidates(found) if (value := point.value(key)) is not None and math.isfinite(value)]
    if len(known) < 2:
        return ()
    best = max(known, key=lambda each: each[1])[0]
    return [point for point, _ in known if point is best or _level(best, point, key)]


def unsupported(found: Sequence[Point]) -> str:
    """Why nothing may be marked: too few seeds for a test of the declared family, or nothing to choose from; empty where marks stand."""
    candidates = _candidates(found)
    if len({point.algorithm for point in candidates}) < 2:
        return "fewer than two algorithms are ranked and have converged"
    return findings.seeds_line(candidates).rstrip(".")


def _candidates(found: Sequence[Point]) -> list[Point]:
    return [point for point in found if point.ranked and not point.rising]


def _level(best: Point, other: Point, key: str) -> bool:
    """Whether the paired interval of the difference from the best reaches 0."""
    _, table = paired(best, other, key)
    if table is None:
        return False
    interval = two_way_interval(np.asarray(table), generator=resampler())
    return not interval.lower > 0
