"""The declared family of comparisons: each algorithm against one baseline, at settings chosen without a look at the outcome."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np

from harness.measure.statistics import Array, Interval, two_way_interval
from harness.measure.statistics.power import components, minimum_detectable
from harness.measure.statistics.significance import Verdict, verdicts
from harness.report import declared
from harness.report.numbers import metrics, per_prompt
from harness.report.once import once
from harness.report.points import Point, resampler
from harness.store.records import Study

OUTCOME = "win_sft"


class Comparison(NamedTuple):
    """An algorithm against the baseline: paired difference, test, smallest difference that would be seen; or why there is none.

    ``seeds`` are those that both finished, ``exploratory`` says that the comparison joined after the plan was saved, ``rising`` that
    one of the two has not converged, which is then ranked with nothing.
    """

    name: str
    setting: str
    seeds: tuple[int, ...] = ()
    difference: Interval | None = None
    verdict: Verdict | None = None
    detectable: float | None = None
    exploratory: bool = False
    rising: bool = False
    reason: str = ""


def chosen(found: Sequence[Point]) -> dict[str, Point]:
    """One setting per ranked algorithm, as ``declared`` has it."""
    return declared.settings([point for point in found if point.ranked])


def baseline(study: Study, found: Sequence[Point]) -> str | None:
    """The declared baseline, else the experiment's first algorithm; None where it is not among those ranked."""
    ranked = list(chosen(found))
    named = study.experiment.get("baseline")
    order = [named] if named else [name for name in _names(study.experiment.get("algorithms")) if name in ranked] or ranked
    return order[0] if order and order[0] in ranked else None


def planned(study: Study, found: Sequence[Point]) -> list[str]:
    """The algorithms of the plan as it was first saved, the unranked ones left out; all that are there where no plan says."""
    unranked = {point.algorithm for point in found if not point.ranked}
    names = (study.experiment.get("plan") or {}).get("algorithms") or [*chosen(found)]
    return [str(name) for name in names if name not in unranked]


def comparisons(study: Study, found: Sequence[Point]) -> list[Comparison]:
    """Every algorithm against the baseline: the planned family first, tested and adjusted together, then what is exploratory.

    A planned comparison without results keeps its place in the family with p = 1: losing a run must not make the others easier.
    """
    base = baseline(study, found)
    return list(_comparisons(found, base, tuple(planned(study, found)))) if base is not None else []


@once
def _comparisons(found: Sequence[Point], base: str, family: tuple[str, ...]) -> tuple[Comparison, ...]:
    shown = chosen(found)
    others = [name for name in family if name != base] + [name for name in shown if name not in family and name != base]
    made = [_compared(shown.get(name), shown[base], name, exploratory=name not in family) for name in others]
    tables = {each.name: table for each, table in made if table is not None and not each.exploratory}
    tests = dict(zip(tables, verdicts([table.mean(1) for table in tables.values()], lost=_lost(made), generator=resampler()), strict=True))
    return tuple(each._replace(verdict=tests.get(each.name)) for each, _ in made)


def _lost(made: Sequence[tuple[Comparison, Array | None]]) -> int:
    return sum(table is None and not each.exploratory for each, table in made)


def _compared(point: Point | None, base: Point, name: str, *, exploratory: bool) -> tuple[Comparison, Array | None]:
    """A comparison without its test, and its differences (seeds, prompts)."""
    if point is None:
        return Comparison(name, "", exploratory=exploratory, reason="no finished cell at this budget"), None
    seeds, table = paired(point, base)
    blank = Comparison(name, point.setting, tuple(seeds), exploratory=exploratory, rising=point.rising or base.rising)
    if table is None:
        return blank._replace(reason="no seed and prompt in common with the baseline"), None
    generator = resampler()
    difference = two_way_interval(table, generator=generator)
    detectable = minimum_detectable(components(table), *table.shape) if min(table.shape) > 1 else None
    return blank._replace(difference=difference, detectable=detectable), table


def paired(point: Point, base: Point, key: str = OUTCOME) -> tuple[list[int], Array | None]:
    """The seeds that both have, and the differences of a metric on the prompts that all of them have, (seeds, prompts)."""
    ours, theirs = _outcomes(point, key), _outcomes(base, key)
    seeds = sorted(ours.keys() & theirs.keys())
    prompts = sorted(set.intersection(*(ours[s].keys() & theirs[s].keys() for s in seeds))) if seeds else []
    if not prompts:
        return [], None
    return seeds, np.array([[ours[s][p] - theirs[s][p] for p in prompts] for s in seeds])


def outcome_table(point: Point, key: str = OUTCOME) -> Array | None:
    """The outcome of every seed on the prompts that all seeds have, (seeds, prompts); None where a seed has none."""
    columns = _outcomes(point, key)
    prompts = sorted(set.intersection(*(set(each) for each in columns.values()))) if columns else []
    if len(columns) < len(point.cells) or not prompts:
        return None
    return np.array([[column[prompt] for prompt in prompts] for column in columns.values()])


def _outcomes(point: Point, key: str) -> dict[int, Mapping[int, float]]:
    """The outcome by prompt of every seed at the end of its budget; seeds without one are left out."""
    found: dict[int, Mapping[int, float]] = {}
    for seed, cell, rows in zip(point.seeds, point.cells, point.rows, strict=True):
        values = per_prompt(rows, key, float(cell.record["checkpoints"][-1]["mark"])) if metrics(cell.record, None) else {}
        if values:
            found[seed] = values
    return found


def late_seeds(study: Study, found: Sequence[Point]) -> list[int]:
    """Seeds that are not in the plan as it was first saved: a test whose seeds were added after a look is not what its p says."""
    known = (study.experiment.get("plan") or {}).get("seeds")
    return [] if known is None else sorted({seed for point in found for seed in point.seeds} - set(known))


def _names(algorithms: object) -> list[str]:
    """Names of the algorithms in an experiment, in its order."""
    return [str(each.get("name")) for each in algorithms if isinstance(each, Mapping)] if isinstance(algorithms, Sequence) else []
