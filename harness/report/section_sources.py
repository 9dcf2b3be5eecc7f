"""The page's room on sources: where the data are a mixture, what each of its parts shows, which a mean over all of them hides."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from harness.measure.statistics import Interval, two_way_interval
from harness.report.numbers import resampler
from harness.report.points import Loaded, Point
from harness.report.section import Grid, Looks, Section
from harness.report.tables import value


class Measure(NamedTuple):
    """A metric that is given per source: its column in the samples, what a table calls it, digits."""

    key: str
    title: str
    digits: int


MEASURES = (Measure("win_sft", "win rate against SFT", 3), Measure("kl", "KL (nats)", 2), Measure("length", "length (tokens)", 1))
MEANING = (
    "The data are a mixture, and every prompt belongs to the part that it came from. The parts share the policy, the judge and the "
    "interval's method; they differ in their prompts alone, so a difference between columns is not paired and needs its own test."
)


def section(study: Loaded, found: Sequence[Point], looks: Looks) -> Section | None:
    """A table for each measure, a row per point and a column per source; None where no sample names its source."""
    origins = {point: _origins(point) for point in found}
    names = sorted({name for each in origins.values() for name in each.values()})
    if len(names) < 2:
        return None
    tables = [_table(measure, origins, names) for measure in MEASURES]
    return Section("sources", "By source of the data", [MEANING], tables=[table for table in tables if table.rows])


def _origins(point: Point) -> dict[int, str]:
    """The source of every evaluation prompt that names one; every seed of a study is asked the same prompts."""
    rows = (row for cell in point.rows for (_, part), rows in cell.items() if part == "evaluation" for row in rows)
    return {int(row["prompt_id"]): str(row["source"]) for row in rows if row.get("source")}


def _table(measure: Measure, origins: Mapping[Point, Mapping[int, str]], names: Sequence[str]) -> Grid:
    rows = []
    for point, named in origins.items():
        values = [_of_source(point, measure.key, [prompt for prompt, name in named.items() if name == each]) for each in names]
        if any(each is not None for each in values):
            rows.append([point.title, point.setting, *(_said(each, measure.digits) for each in values)])
    caption = f"{measure.title}, mean over the prompts of each source at the end of the budget, 95 % interval, n prompts."
    return Grid(["algorithm", "setting", *names], rows, caption, 2)


def _said(found: Interval | None, digits: int) -> str:
    text, bounds, n, reason = value(found, digits, "(no prompt of it was measured)")
    return reason or f"{text} {bounds} {n}"


def _of_source(point: Point, key: str, prompts: Sequence[int]) -> Interval | None:
    table = point.shared_table(key)
    kept = sorted(set(prompts) & set(table.prompts)) if table else []
    return two_way_interval(table.only(kept), generator=resampler()) if table and kept else None
