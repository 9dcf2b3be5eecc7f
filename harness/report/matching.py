"""Whether a study's compute is matched, and its order under other matches: by executed FLOPs and by device-seconds."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from itertools import combinations
from typing import NamedTuple

import numpy as np

from harness.measure.accounting import consumption, matched_amount, spread
from harness.measure.budget_curves import Curve, at
from harness.measure.statistics import Interval, two_way_interval
from harness.report.numbers import Table
from harness.report.points import Point, resampler, within
from harness.store.records import Cell
from harness.training.ledger import CHARGED, UNITS

MATCHED = 0.02  # largest relative spread of what a budget limits that is still called matched

Spent = Callable[[Cell, float | None], float]  # what a cell had spent at a mark (None: the end); NaN where it is not recorded


def unit(found: Sequence[Point]) -> str:
    """What the budgets of these points limit, in words."""
    matches = {str((point.head.get("budget") or {}).get("match", "flops")) for point in found}
    return UNITS.get(matches.pop(), "of several units") if len(matches) == 1 else "of several units"


def widest(found: Sequence[Point]) -> float | None:
    """The largest relative spread, over budgets, of what they limit between finished cells; None where a cell does not say.

    What trains nothing stands beside: its cost is that of answers.
    """
    budgets: dict[float, list[float]] = {}
    for point in (point for point in found if not point.untrained):
        budgets.setdefault(point.limit, []).extend(matched_amount(cell.record, cell.times) for cell in point.cells)
    spreads = [spread(amounts) for amounts in budgets.values()]
    return max((each for each in spreads if each is not None), default=None) if None not in spreads else None


def unknown(found: Sequence[Point]) -> list[str]:
    """The algorithms of which some run does not say what it used of that which budgets limit."""
    cells = [(point.algorithm, cell) for point in found for cell in point.cells]
    return sorted({name for name, cell in cells if math.isnan(matched_amount(cell.record, cell.times))})


def at_most(relative: float) -> str:
    """A relative spread in per cent of one decimal, rounded up: ``0.1`` of .0004, for none that is there is at most 0."""
    return f"{math.ceil(1000 * relative - 1e-6) / 10:.1f}"


def matching(found: Sequence[Point]) -> str:
    """One sentence on compute; it uses the word only where the spread at every budget allows it."""
    relative, budgets = widest(found), len({point.limit for point in found})
    if relative is None and any(point.foreign for point in found):
        return f"Compute is not compared: what {', '.join(unknown(found))} spent is unknown."
    if relative is None:
        return "No charged compute was recorded."
    between = "between cells" if budgets == 1 else f"between cells of one budget, at each of {budgets} budgets"
    charged = f"{'charged ' if unit(found) == UNITS['flops'] else ''}{unit(found)}"
    if relative <= MATCHED:
        return f"Compute is matched: {charged} differ by at most {at_most(relative)} % {between}."
    excess = f"spread over {100 * relative:.3g} % {between}, more than the {100 * MATCHED:g} % allowed"
    return f"Compute differs: {charged} {excess}."


def canonical(cell: Cell, mark: float | None) -> float:
    """Charged canonical FLOPs at a mark; records from before marks said so give the share of the budget."""
    if mark is None:
        return consumption(cell.record, cell.times)["canonical"]
    checkpoint = next(each for each in cell.record["checkpoints"] if each["mark"] == mark)
    if "spent" in checkpoint:
        return float(checkpoint["spent"]["canonical"])
    budget = cell.record.get("budget") or {}
    return float(checkpoint["share"] * budget["flops"]) if budget.get("match", "flops") == "flops" else math.nan


def executed(cell: Cell, mark: float | None) -> float:
    """Executed FLOPs of the charged phases at a mark."""
    if mark is None:
        return consumption(cell.record, cell.times)["executed"]
    checkpoint = next(each for each in cell.record["checkpoints"] if each["mark"] == mark)
    return float((checkpoint.get("spent") or {}).get("executed", math.nan))


def seconds(cell: Cell, mark: float | None) -> float:
    """Wall seconds of the charged phases at a mark."""
    if mark is None:
        wall = cell.times.get("wall") or {}
        return float(sum(wall.get(phase) or 0.0 for phase in CHARGED)) if wall else math.nan
    return float((cell.times.get("marks") or {}).get(str(mark), math.nan))


ACCOUNTS: Mapping[str, Spent] = {"canonical FLOPs": canonical, "executed FLOPs": executed, "device-seconds": seconds}


class Known(NamedTuple):
    """Win rates of one algorithm at one amount with the seeds and prompts that they belong to."""

    seeds: tuple[int, ...]
    table: Table


class Level(NamedTuple):
    """Win rates at one amount of something, by algorithm; empty with the reason where they cannot be computed."""

    amount: float
    rates: Mapping[str, Interval]
    tables: Mapping[str, Known]
    reason: str


def level(curves: Mapping[str, Sequence[tuple[Point, float | None]]], spent: Spent) -> Level:
    """Win rates where every algorithm has spent what the one that spent least did in all; ``curves`` are points and marks in order."""
    joined = {name: _curve(stops, spent) for name, stops in curves.items()}
    made = {name: each[0] if each else None for name, each in joined.items()}
    if missing := [name for name, curve in made.items() if curve is None]:
        return Level(math.nan, {}, {}, f"not recorded at two or more places for {', '.join(missing)}")
    known = {name: curve for name, curve in made.items() if curve is not None}
    amount = min(curve.amounts[-1] for curve in known.values())
    tables = {name: at(curve, amount) for name, curve in known.items()}
    if short := [name for name, table in tables.items() if table is None]:
        return Level(amount, {}, {}, f"first measured beyond {amount:.3g}: {', '.join(short)}")
    found = {name: table for name, table in tables.items() if table is not None}
    rates = {name: within("win_sft", two_way_interval(table, generator=resampler())) for name, table in found.items()}
    prompts = {name: each[1] for name, each in joined.items() if each}
    return Level(amount, rates, {name: Known(curves[name][-1][0].seeds, Table(prompts[name], each)) for name, each in found.items()}, "")


def _curve(stops: Sequence[tuple[Point, float | None]], spent: Spent) -> tuple[Curve, tuple[int, ...]] | None:
    """The win rates of one algorithm over what it spent, on the prompts measured at every stop, and those; None below two known stops."""
    tables = [point.shared_table("win_sft", mark) for point, mark in stops]
    amounts = [float(np.mean([spent(cell, mark) for cell in point.cells])) for point, mark in stops]
    if len(stops) < 2 or not all(np.diff(amounts) > 0) or not np.isfinite(amounts).all() or any(table is None for table in tables):
        return None
    common = sorted(set.intersection(*({*table.prompts} for table in tables if table is not None)))
    return (Curve(tuple(amounts), [table.only(common) for table in tables if table is not None]), tuple(common)) if common else None


class Swap(NamedTuple):
    """Two algorithms whose paired difference of win rate changes its sign between two accounts, with first - second in each."""

    first: str
    second: str
    accounts: tuple[str, str]
    differences: tuple[Interval, Interval]


def swaps(levels: Mapping[str, Level]) -> list[Swap]:
    """Every pair that is ordered one way at equal canonical FLOPs and another way in another account, on what both have in common."""
    base, *others = ((name, each) for name, each in levels.items() if each.rates)
    made = [
        Swap(first, second, (base[0], name), (difference(base[1], first, second), difference(other, first, second)))
        for name, other in others
        for first, second in combinations(base[1].rates, 2)
    ]
    return [each for each in made if np.sign(each.differences[0].value) * np.sign(each.differences[1].value) < 0]


def difference(where: Level, first: str, second: str) -> Interval:
    """Win rate of the first less that of the second, paired by the seeds and prompts that both have; NaN where they have none."""
    one, other = where.tables[first], where.tables[second]
    seeds = sorted({*one.seeds} & {*other.seeds})
    prompts = sorted({*one.table.prompts} & {*other.table.prompts})
    if not seeds or not prompts:
        return Interval(math.nan, math.nan, math.nan, 0)
    ours, theirs = (each.table.only(prompts)[[each.seeds.index(seed) for seed in seeds]] for each in (one, other))
    return two_way_interval(ours - theirs, generator=resampler())
