"""Every measurement of an algorithm, at marks and at the ends of its budgets, as tables that one resample weighs alike."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np

from harness.measure.statistics import Array
from harness.report.points import Point, Table


class Measured(NamedTuple):
    """One measurement: ``values`` (keys, seeds, prompts), 0 where ``seen`` (seeds, prompts) is 0: a mark sees fewer prompts than an end."""

    point: Point
    mark: float | None
    values: Array
    seen: Array


class Measurements(NamedTuple):
    """Measurements on the same seeds and prompts, both by their ids, and what was left out, each with its reason."""

    found: Sequence[Measured]
    seeds: tuple[int, ...]
    prompts: tuple[int, ...]
    left_out: Sequence[str]

    def only(self, seeds: Sequence[int], prompts: Sequence[int]) -> list[Measured]:
        """The measurements on some of the seeds and prompts, in this order, those that saw none of the prompts left out."""
        cut = np.ix_(np.array([self.seeds.index(seed) for seed in seeds]), np.searchsorted(self.prompts, prompts))
        kept = [each._replace(values=np.array([table[cut] for table in each.values]), seen=each.seen[cut]) for each in self.found]
        return [each for each in kept if each.seen.any()]


def measurements(points: Sequence[Point], keys: Sequence[str]) -> Measurements:
    """The measurements of an algorithm's points that have all of ``keys``, on seeds that these points share.

    The seeds are those of some point, and of all such choices the one that keeps most runs. A point that lacks one of them, or has no
    measurement, is left out and named; so are a point's further seeds.
    """
    tables = {point: dict(_tables(point, keys)) for point in points}
    seeds = _shared([point.seeds for point, found in tables.items() if found])
    kept = {point: found for point, found in tables.items() if found and {*seeds} <= {*point.seeds}}
    prompts = sorted({prompt for found in kept.values() for table in found.values() for prompt in table[0].prompts})
    made = [_placed(point, mark, table, seeds, prompts) for point, found in kept.items() for mark, table in found.items()]
    return Measurements(made, seeds, tuple(prompts), _left_out(tables, keys, seeds))


def _tables(point: Point, keys: Sequence[str]) -> Iterator[tuple[float | None, list[Table]]]:
    """The tables of every mark and of the end that have all of ``keys``, on the prompts that all of them have."""
    for mark in (*point.marks, None):
        found = [table for key in keys if (table := point.shared_table(key, mark)) is not None]
        common = sorted(set.intersection(*({*table.prompts} for table in found))) if len(found) == len(keys) else []
        if common:
            yield mark, [Table(tuple(common), table.only(common)) for table in found]


def _shared(kinds: Sequence[tuple[int, ...]]) -> tuple[int, ...]:
    """Of the points' seeds those on which most runs can be kept."""
    return max(kinds, key=lambda seeds: (len(seeds) * sum({*seeds} <= {*each} for each in kinds), seeds), default=())


def _placed(point: Point, mark: float | None, tables: Sequence[Table], seeds: Sequence[int], prompts: Sequence[int]) -> Measured:
    values, seen = np.zeros((len(tables), len(seeds), len(prompts))), np.zeros((len(seeds), len(prompts)))
    columns = np.searchsorted(prompts, tables[0].prompts)
    rows = [point.seeds.index(seed) for seed in seeds]
    for key, table in enumerate(tables):
        values[key][:, columns] = table.values[rows]
    seen[:, columns] = 1
    return Measured(point, mark, values, seen)


def _left_out(tables: dict[Point, dict[float | None, list[Table]]], keys: Sequence[str], seeds: Sequence[int]) -> list[str]:
    """Points and seeds without a part in the measurements, each with the reason."""
    said = []
    for point, found in tables.items():
        name = " ".join(filter(None, (point.algorithm, point.setting, point.budget)))
        missing, further = sorted({*seeds} - {*point.seeds}), sorted({*point.seeds} - {*seeds})
        if not found:
            said.append(f"{name} (no {' and '.join(keys)} by prompt)")
        elif missing:
            said.append(f"{name} ({_seeds(missing)} missing)")
        elif further:
            said.append(f"{name}'s {_seeds(further)} (other runs lack {'it' if len(further) == 1 else 'them'})")
    return said


def _seeds(seeds: Sequence[int]) -> str:
    return f"seed{'s' * (len(seeds) > 1)} {', '.join(map(str, seeds))}"
