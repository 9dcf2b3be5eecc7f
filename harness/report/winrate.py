"""What the room on win rates shows, gathered from records: who beats whom, rates with lengths held equal, rates at other temperatures."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import NamedTuple

import numpy as np

from harness.measure.length_control import Controlled, Fit, Matches, controlled, fit
from harness.measure.statistics import Array, Interval, paired_two_way, two_way_interval, two_way_intervals
from harness.measure.statistics.strengths import HeadToHead, head_to_head, outcomes
from harness.report import comparing
from harness.report.declared import settings
from harness.report.numbers import Marked, interval_of, metrics, per_prompt, within
from harness.report.once import once
from harness.report.points import Point, resampler
from harness.store import temperatures
from harness.store.records import Cell, Row

FITTED = "judge"  # the column of a fitted judge, in records from before the deciding column was named
OLD = "recorded before single outcomes were kept"
UNSAID = "no length of the opponents was imported"


class Tournament(NamedTuple):
    """One setting per algorithm against every other on ``seeds`` common to all: wins as in ``HeadToHead``, ``ties`` in the same layout."""

    points: list[Point]
    seeds: int
    result: HeadToHead
    ties: list[list[Interval]]


def chosen(found: Sequence[Point]) -> list[Point]:
    """One setting per algorithm, in the order given: those that are compared elsewhere too, controls and oracles beside them."""
    named = {**comparing.chosen(found), **settings([point for point in found if not point.ranked])}
    return [point for point in found if named.get(point.algorithm) is point]


@once
def tournament(found: Sequence[Point]) -> Tournament | None:
    """Every chosen setting but oracles against every other, on the seeds and prompts that all have; None where fewer than two meet."""
    candidates = [point for point in chosen(found) if judging(point) and not point.hollow]
    seeds = sorted(set.intersection(*(set(point.seeds) for point in candidates))) if candidates else []
    columns = [[_scores(point, seed) for seed in seeds] for point in candidates]
    prompts = sorted(set.intersection(*(set(column) for each in columns for column in each))) if seeds else []
    if len(candidates) < 2 or not prompts:
        return None
    tables = np.array([[[column[prompt] for prompt in prompts] for column in each] for each in columns])
    names = [point.algorithm for point in candidates]
    result = head_to_head(dict(zip(names, tables, strict=True)), generator=resampler())
    return Tournament(candidates, len(seeds), result, _ties(tables, resampler()))


def _ties(tables: Array, generator: np.random.Generator) -> list[list[Interval]]:
    """Tie rates of every pair from scores (algorithms, seeds, prompts); 1 on the diagonal."""
    count, _, prompts = tables.shape
    rows, columns = np.triu_indices(count, 1)
    equal = (outcomes(tables[rows], tables[columns]) == 0.5).astype(np.float64)
    lines = [[Interval(1.0, 1.0, 1.0, prompts)] * count for _ in range(count)]
    for i, j, found in zip(rows, columns, two_way_intervals(equal, generator=generator), strict=True):
        lines[i][j] = lines[j][i] = within("tie_", found)
    return lines


def judging(point: Point) -> str:
    """The column of sample rows that decides a win; empty where the rows have none."""
    named = (point.head.get("judge") or {}).get("primary")
    known = _final(point, 0)[0] if _final(point, 0) else {}
    return next((name for name in (named, "gold", FITTED) if name and name in known), "")


def _final(point: Point, position: int) -> list[Row]:
    """Evaluation rows of the last checkpoint of one seed."""
    cell = point.cells[position]
    return point.rows[position].get((float(cell.record["checkpoints"][-1]["mark"]), "evaluation"), [])


def _scores(point: Point, seed: int) -> dict[int, float]:
    position = point.seeds.index(seed)
    mark = float(point.cells[position].record["checkpoints"][-1]["mark"])
    return per_prompt(point.rows[position], judging(point), mark)


@once
def length_controlled(found: Sequence[Point]) -> dict[Point, Controlled]:
    """The length-controlled win rate against SFT samples of every point; the prompts' terms are shared by all points of a seed."""
    met = {(point, seed): _matches(_final(point, position)) for point in found for position, seed in enumerate(point.seeds)}
    joint: dict[tuple[Point, int], tuple[Fit, int]] = {}
    for seed in sorted({seed for _, seed in met}):
        groups: dict[tuple[int, ...], list[Point]] = {}
        for point in found:
            if (match := met.get((point, seed))) is not None:
                groups.setdefault(match.wins.shape, []).append(point)
        for together in groups.values():
            fitted = fit([match for point in together if (match := met[point, seed]) is not None])
            joint |= {(point, seed): (fitted, position) for position, point in enumerate(together)}
    return {point: _controlled(point, met, joint) for point in found}


def _controlled(
    point: Point, met: Mapping[tuple[Point, int], Matches | None], joint: Mapping[tuple[Point, int], tuple[Fit, int]]
) -> Controlled:
    matches = [match for seed in point.seeds if (match := met[point, seed]) is not None]
    if len(matches) < len(point.seeds):
        return Controlled(None, reason=UNSAID if point.head.get("imported") else OLD)
    if len({match.wins.shape for match in matches}) > 1:
        return Controlled(None, reason="its seeds measured different prompts")
    own = [joint[point, seed] for seed in point.seeds]
    fits = [Fit(fitted.policies[[position]], fitted.prompts) for fitted, position in own]
    result = controlled(matches, fits, 0, generator=resampler())
    return result if result.rate is None else Controlled(within("win_", result.rate), result.phi)


def _matches(rows: Sequence[Row]) -> Matches | None:
    """Outcomes and differences of length by prompt; None where the rows do not hold single outcomes."""
    ordered = sorted(rows, key=lambda row: int(row["prompt_id"]))
    if not ordered or any(not row.get("wins_each") or not row.get("opponent_lengths") for row in ordered):
        return None
    wins = [row["wins_each"] for row in ordered]
    lengths = [[row["length"] - other for other in row["opponent_lengths"]] for row in ordered]
    if len({len(row) for row in (*wins, *lengths)}) > 1:
        return None
    return Matches(np.array(wins, dtype=np.float64), np.array(lengths, dtype=np.float64))


@lru_cache(512)
def _measured(cell: Cell) -> dict[float, temperatures.Measured]:
    """Read once for each cell of a loaded study."""
    return temperatures.read(cell.folder)


def known(cells: Sequence[Cell]) -> list[float]:
    """The temperatures other than 1 at which every one of these cells was measured, ascending."""
    return sorted(set.intersection(*(set(_measured(cell)) for cell in cells))) if cells else []


def at(cells: Sequence[Cell], key: str, temperature: float) -> Interval | None:
    """A metric at a temperature other than 1, over the seeds of these cells; None where a seed lacks it."""
    if temperature not in known(cells):
        return None
    found = [_measured(cell)[temperature] for cell in cells]
    table = _table([each.rows for each in found], key)
    if len(found) == 1:
        recorded = interval_of(found[0].metrics.get(key))
        return recorded and within(key, recorded, table)
    return None if table is None else within(key, two_way_interval(table, generator=resampler()), table)


def greedy_change(point: Point, key: str) -> Interval | None:
    """A metric under greedy decoding less the same at temperature 1, paired by prompt and seed; None where either is missing."""
    if 0.0 not in known(point.cells):
        return None
    greedy = _table([_measured(cell)[0.0].rows for cell in point.cells], key)
    drawn = _table([_final(point, position) for position in range(len(point.cells))], key)
    if greedy is None or drawn is None or greedy.shape != drawn.shape:
        return None
    return paired_two_way(greedy, drawn, generator=resampler())


def alarms(cells: Sequence[Cell]) -> list[tuple[int, float, str]]:
    """(seed, temperature, alarm) of the last checkpoint and of every other temperature."""
    found = [
        (int(cell.record.get("seed", 0)), 1.0, str(alarm))
        for cell in cells
        for alarm in (cell.record.get("checkpoints") or [{}])[-1].get("alarms") or ()
    ]
    other = ((cell, each) for cell in cells for each in _measured(cell).values())
    return found + [(int(cell.record.get("seed", 0)), each.temperature, str(alarm)) for cell, each in other for alarm in each.alarms]


def _table(rows: Sequence[Sequence[Row]], key: str) -> Array | None:
    """A metric by prompt, (seeds, prompts); None where a value is missing or the seeds differ in their prompts."""
    columns = [per_prompt(Marked({(1.0, "evaluation"): list(each)}), key, 1.0) for each in rows]
    if not columns or any(not column or list(column) != list(columns[0]) for column in columns):
        return None
    return np.array([list(column.values()) for column in columns])


def has_wins(found: Sequence[Point]) -> bool:
    """Whether any point has a win rate at all."""
    return any("win_sft" in metrics(cell.record, None) for point in found for cell in point.cells)
