"""The page's room on losses: how every run's optimisation went, from its own log."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from harness.report import figure_losses
from harness.report.losses import LAST, LOGGED, Logged, ends
from harness.report.points import Loaded, Point
from harness.report.section import Grid, Looks, Section

MEANING = (
    "A loss says how an optimisation went and not how good its policy is: an algorithm with the lower loss need not win more often. The "
    "gap is the implicit reward of chosen less that of rejected, accuracy the share of the batch's pairs that it orders as labelled; "
    "both on pairs that were trained on."
)


def section(study: Loaded, found: Sequence[Point], looks: Looks) -> Section | None:
    """The room, or None where no run logged anything of its optimisation."""
    logged = {point: ends(point) for point in found}
    keys = [key for key in LOGGED if any(key in each for each in logged.values())]
    if not keys:
        return None
    rows = [[point.title, point.setting, *_row(point, each, keys)] for point, each in logged.items()]
    caption = (
        f"The last {100 - 100 * LAST:.0f} % of the budget in the runs' own logs; means over its steps and then over seeds, the lowest "
    )
    caption += "and the highest seed in brackets where there are several; a range, not an interval. n counts steps of all seeds."
    drawn = figure_losses.draw(found, looks)
    table = Grid(["algorithm", "setting", "seeds", "steps, n", *(LOGGED[key] for key in keys)], rows, caption)
    return Section("losses", "Losses and gradients", [MEANING], [drawn] if drawn else [], [table])


def _row(point: Point, logged: Mapping[str, Logged], keys: Sequence[str]) -> list[str]:
    steps = max((each.steps for each in logged.values()), default=0)
    return [str(len(point.cells)), str(steps), *(_said(logged.get(key), len(point.cells)) for key in keys)]


def _said(found: Logged | None, seeds: int) -> str:
    if found is None:
        return "(not logged)"
    return f"{found.value:.3g}" + f" ({found.lowest:.3g} to {found.highest:.3g})" * (seeds > 1)
