"""The page's room on curves: outcomes against compute over budgets, and where algorithms cross."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from harness.measure.budget_curves import Crossing
from harness.measure.statistics import Interval
from harness.report import figure_curves, findings, matching
from harness.report.curves import OUTCOMES, Crossed, Stop, crossings, finished, on_the_way, shown
from harness.report.points import Loaded, Point, every_point
from harness.report.section import Grid, Looks, Section

ONE_BUDGET = (
    "One budget was run, so there are marks of single runs and no curve of separate ones. Whether two algorithms cross as compute grows "
    "is not computable; compare at several budgets (such as 1x,2x,4x)."
)


def section(study: Loaded, found: Sequence[Point], looks: Looks) -> Section | None:
    """The room, or None where nothing finished."""
    curves = shown(every_point(study), found)
    if not curves:
        return None
    several, unit = len({point.limit for points in curves.values() for point in points}) > 1, matching.unit(found)
    drawn = figure_curves.draw(curves, looks, unit)
    return Section(
        "curves",
        "Win rate and gold reward against compute",
        paragraphs=[] if several else [ONE_BUDGET],
        figures=[drawn] if drawn else [],
        tables=[_stops(curves, unit), *([_crossings(curves, unit)] if several else [])],
    )


def _stops(curves: Mapping[str, Sequence[Point]], unit: str) -> Grid:
    """Every place on every curve: finished budgets and the marks of the largest."""
    rows = []
    for points in curves.values():
        found = {key: [*on_the_way(points, key), *finished(points, key)] for key in OUTCOMES}
        for stop in found["win_sft"] or found["gold"]:
            same = {key: _at(stops, stop) for key, stops in found.items()}
            rows.append([stop.point.title, stop.point.setting, *_where(stop), f"{stop.amount:.4g}", *map(_interval, same.values())])
    caption = "Win rate and gold reward over what a run had spent. A mark is a place on the way of the largest run, not a budget. "
    caption += findings.interval_line([point for points in curves.values() for point in points])
    return Grid(["algorithm", "setting", "budget", "measured at", "seeds", unit, *OUTCOMES.values()], rows, caption, numeric=5)


def _where(stop: Stop) -> list[str]:
    return [stop.point.budget, "its end" if stop.mark is None else f"mark {stop.mark:g}", str(len(stop.point.cells))]


def _at(stops: Sequence[Stop], place: Stop) -> Interval | None:
    return next((stop.outcome for stop in stops if (stop.point, stop.mark) == (place.point, place.mark)), None)


def _interval(found: Interval | None) -> str:
    if found is None:
        return "not defined for this task"
    bounds = "[no bounds]" if math.isnan(found.lower + found.upper) else f"[{found.lower:.3f}, {found.upper:.3f}]"
    return f"{found.value:.3f} {bounds} n={found.n}"


def _crossings(curves: Mapping[str, Sequence[Point]], unit: str) -> Grid:
    rows = [_row(each, OUTCOMES[key]) for key in OUTCOMES for each in crossings(curves, key)]
    caption = (
        f"Where separate runs of two algorithms cross, in {unit}: lines over the logarithm, 95 % interval of two-way resamples of "
        "seeds and prompts, budgets paired by seed and prompt. A bound outside the range: the crossing may lie there, or nowhere."
    )
    return Grid(["outcome", "first", "second", "crossing"], rows, caption, numeric=4)


def _row(each: Crossed, outcome: str) -> list[str]:
    return [outcome, each.first, each.second, _said(each.crossing) if each.crossing else each.reason]


def _said(found: Crossing) -> str:
    """The place, its interval, and in which direction the first passes the second."""
    lower = "below the range" if found.lower == 0 else f"{found.lower:.3g}"
    upper = "beyond the range" if math.isinf(found.upper) else f"{found.upper:.3g}"
    way = "the first is ahead beyond it" if found.rises else "the second is ahead beyond it"
    inside = f"{100 * found.share:.0f} % of resamples cross within the range"
    return f"{found.value:.3g} [{lower}, {upper}], n={found.n}; {way}, by the means; {inside}"
