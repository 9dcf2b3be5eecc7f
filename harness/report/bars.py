"""The bars of a figure with few seeds: over prompts alone, with the seeds themselves as dots, said in the caption."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from harness.measure.statistics import Interval, prompt_interval
from harness.report.palette import Look
from harness.report.points import Point, resampler

if TYPE_CHECKING:
    from matplotlib.axes import Axes

FEW = 5  # seeds below which a bar that holds their spread is wider than the figure


def drawn_interval(point: Point, key: str) -> Interval | None:
    """A metric with the interval that is drawn: below ``FEW`` seeds over prompts alone, for these seeds, whose own dots show the rest.

    With two seeds the two-way interval multiplies their spread by 12.7 and hides every point behind its neighbours' bars; the tables
    have it.
    """
    table = point.table(key, None) if 1 < len(point.cells) < FEW else None
    if table is None:
        return point.get(key)
    return prompt_interval(table.mean(0), generator=resampler(), resamples=1000)


def seed_dots(axes: Axes, key: str, point: Point, look: Look) -> list[dict[str, Any]]:
    """A small dot for each seed's own finished run; none where there is one seed, or so many that the bars hold their spread."""
    tables = [point.table(name, None) for name in ("kl", key)]
    if not 1 < len(point.cells) < FEW or any(table is None for table in tables):
        return []
    kl, y = (np.asarray(table).mean(1) for table in tables)
    axes.plot(kl, y, linestyle="none", marker=".", markersize=2.6, markeredgewidth=0, color=look.colour, zorder=4.5)
    base = {"panel": key, "kind": "seed", "algorithm": point.algorithm, "setting": point.setting}
    return [base | {"seeds": seed, "kl": a, "value": b} for seed, a, b in zip(point.seeds, kl, y, strict=True)]


def what_bars_are(points: Sequence[Point]) -> str:
    """The words for a caption."""
    seeds = min((len(point.cells) for point in points), default=1)
    if 1 < seeds < FEW:
        dots = "whose own runs are the small dots (the tables have the intervals over seeds)"
        return f"95 % intervals over prompts for these {seeds} seeds, {dots}"
    return "95 % intervals both ways" + (", seed not included" if seeds == 1 else "")
