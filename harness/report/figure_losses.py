"""The loss over the run: one panel per algorithm, whose losses have units of their own and are compared with nobody's."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from harness.report import drawing, layout
from harness.report.drawing import Drawing
from harness.report.figure_training import BINS, SHADES, binned, titled
from harness.report.losses import LOGGED, LOSSES, minimised, of_policy
from harness.report.palette import Look
from harness.report.points import Point, by_algorithm
from harness.store.records import Row

if TYPE_CHECKING:
    from matplotlib.axes import Axes

COLUMNS, PANEL = 3, 1.75  # panels in a row of a wide sheet, and the height of one in inches with its title and key


def draw(points: Sequence[Point], looks: Mapping[str, Look]) -> Drawing | None:
    """Loss against share of the budget, first seed; None where no run logged one."""
    rows = {point: of_policy(point.cells[0].metrics()) for point in points}
    groups = by_algorithm([point for point, found in rows.items() if minimised(found)])
    if not groups:
        return None
    columns = 2 if layout.stacked() else COLUMNS
    lines = -(-len(groups) // columns)
    height = PANEL * lines + 0.35
    figure = drawing.new(layout.width(), height)
    panels = figure.subplots(lines, columns, squeeze=False).flat
    left, right = 0.45 / layout.width(), 1 - 0.14 / layout.width()
    figure.subplots_adjust(left=left, right=right, top=1 - 0.45 / height, bottom=0.42 / height, wspace=0.22 * 3 / columns, hspace=0.72)
    table: list[dict[str, Any]] = []
    for number, (name, group) in enumerate(groups.items()):
        table += _panel(panels[number], name, group, rows, looks[name])
        if number + columns >= len(groups):
            panels[number].set_xlabel("share of the budget")
    for axes in panels[len(groups) :]:
        axes.set_visible(False)
    caption = f"What each algorithm minimises, averaged within {100 / BINS:g} % of the budget, first seed; its own log, without intervals. "
    caption += "Losses of two algorithms, and of two settings of most, have different scales and are not compared. The darkest line is the "
    caption += "setting that ends nearest to the reference in KL."
    return Drawing("losses", figure, table, "Loss over the run", caption, _alternative(table))


def _panel(axes: Axes, name: str, group: Sequence[Point], rows: Mapping[Point, Sequence[Row]], look: Look) -> list[dict[str, Any]]:
    table: list[dict[str, Any]] = []
    key = minimised(rows[group[0]]) or ""
    for position, point in enumerate(group):
        x, y = binned(rows[point], key)
        axes.plot(x, y, color=look.colour, alpha=SHADES[position % len(SHADES)], linewidth=1.1, label=point.knob)
        about = {"panel": key, "algorithm": point.algorithm, "setting": point.setting}
        table += [about | {"share": float(a), "value": float(b)} for a, b in zip(x, y, strict=True)]
    layout.title(axes, titled(name, group) + f" ({LOGGED[key]})" * (key != LOSSES[0]), pad=14)
    axes.set_xlim(0, 1)
    place: Any = {"loc": "lower left", "bbox_to_anchor": (0, 1), "ncols": 5, "borderaxespad": 0.1}
    axes.legend(fontsize=7, handlelength=1.2, columnspacing=1.0, handletextpad=0.5, **place)
    return table


def _alternative(rows: Sequence[Mapping[str, Any]]) -> str:
    last = {(row["algorithm"], row["setting"], row["panel"]): row["value"] for row in rows}
    texts = [f"{name} {setting}: {LOGGED[key]} ends at {value:.3g}" for (name, setting, key), value in last.items()]
    return "Curves against share of the budget. " + "; ".join(texts) + "."
