"""Every measurement of an algorithm, at marks and at the ends of its budgets, as tables that one resample weighs alike."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from harness.measure.statistics import Array
from harness.report.points import Point


class Measured(NamedTuple):
    """One measurement: ``values`` (keys, seeds, prompts), 0 where ``seen`` (seeds, prompts) is 0: a mark sees the first prompts alone."""

    point: Point
    mark: float | None
    values: Array
    seen: Array


def measurements(points: Sequence[Point], keys: Sequence[str]) -> list[Measured]:
    """The measurements of an algorithm's points that have all of ``keys``, on the seeds of its first point."""
    found = []
    for point in points:
        if point.seeds == points[0].seeds:
            for mark in (*point.marks, None):
                tables = [point.table(key, mark) for key in keys]
                if all(table is not None for table in tables):
                    found.append((point, mark, np.array(tables)))
    prompts = max((table.shape[2] for *_, table in found), default=0)
    return [_padded(point, mark, table, prompts) for point, mark, table in found]


def _padded(point: Point, mark: float | None, table: Array, prompts: int) -> Measured:
    room = ((0, 0), (0, 0), (0, prompts - table.shape[2]))
    return Measured(point, mark, np.pad(table, room), np.pad(np.ones_like(table[:1]), room)[0])
