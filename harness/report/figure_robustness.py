"""The comparison under other assumptions: a row per study, a marker per algorithm, win rate beside gold."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from harness.report import layout
from harness.report.drawing import Drawing
from harness.report.palette import INK, Look
from harness.report.points import Point

if TYPE_CHECKING:
    from matplotlib.axes import Axes

STEP, GAP = 0.125, 0.14  # inches between algorithms of one study, and between studies
LINE = 0.13  # inches between the lines of an assumption's name
MARGINS = layout.Margins(top=0.1)
WIDEST = 30  # characters of a line of an assumption's name

Rows = Sequence[tuple[str, Mapping[str, Point]]]


def draw(name: str, rows: Rows, looks: Mapping[str, Look], keys: Mapping[str, str]) -> Drawing:
    """The figure; ``rows`` hold an assumption with its points by algorithm, ``keys`` the metrics with their axis labels."""
    algorithms = list(dict.fromkeys(name for _, points in rows for name in points))
    shown = [key for key in keys if any(point.get(key) is not None for _, points in rows for point in points.values())]
    lines = max(len(text.split(", ")) for text, _ in rows)
    band = max(STEP * len(algorithms) + GAP, LINE * lines + GAP / 2)
    named = [_wrapped(text) for text, _ in rows]
    left = layout.room_for([line for text in named for line in text.split("\n")])
    figure, panels = layout.panels(max(1, len(shown)), band * len(rows), MARGINS._replace(left=left), gap=0.12, low=band * len(rows))
    found = [row for axes, key in zip(panels, shown, strict=False) for row in _panel(axes, key, keys[key], rows, algorithms, looks, band)]
    for place, axes in enumerate(panels):  # the names once, at the left of all
        axes.set_yticks([band * (i + 0.5) for i in range(len(rows))], named if layout.stacked() or not place else [""] * len(rows))
        axes.set_ylim(band * len(rows), 0)
    _legend(figure, algorithms, looks)
    caption = "One study per row, one marker per algorithm at the setting that its study compares, with 95 % intervals."
    return Drawing(name, figure, found, "The comparison under other assumptions", caption, _alternative(found))


def _panel(
    axes: Axes, key: str, label: str, rows: Rows, algorithms: Sequence[str], looks: Mapping[str, Look], band: float
) -> list[dict[str, Any]]:
    found = []
    for index, (assumption, points) in enumerate(rows):
        if index:
            axes.axhline(band * index, color="#DDDDDD", linewidth=0.6)
        for place, algorithm in enumerate(algorithms):
            value = points[algorithm].get(key) if algorithm in points else None
            if value is None:
                continue
            height, look = band * (index + 0.5) + STEP * (place - (len(algorithms) - 1) / 2), looks[algorithm]
            if not math.isnan(value.lower + value.upper):
                axes.plot([value.lower, value.upper], [height, height], color=look.colour, linewidth=0.9)
            axes.plot([value.value], [height], marker=look.marker, markersize=4, color=look.colour, mfc=look.face, linestyle="none")
            numbers = {"value": value.value, "lower": value.lower, "upper": value.upper, "n": value.n}
            where = {"panel": key, "assumption": assumption, "algorithm": algorithm, "setting": points[algorithm].setting}
            found.append({**where, **numbers})
    if key.startswith("win"):
        axes.axvline(0.5, color=INK, linewidth=0.7, linestyle=(0, (4, 2)))
    axes.grid(axis="y", visible=False)
    axes.tick_params(axis="y", length=0)
    axes.set_xlabel(label)
    return found


def _wrapped(text: str) -> str:
    """An assumption's name on as many lines as it has parts."""
    most = 20 if layout.stacked() else WIDEST
    return "\n".join(part if len(part) <= most else part[: most - 1] + "…" for part in text.split(", "))


def _legend(figure: Any, algorithms: Sequence[str], looks: Mapping[str, Look]) -> None:
    from matplotlib.lines import Line2D

    handles = [
        Line2D([], [], color=look.colour, marker=look.marker, mfc=look.face, markersize=4, linewidth=0.9, label=name)
        for name in algorithms
        for look in [looks[name]]
    ]
    layout.legend_below(figure, handles, algorithms)


def _alternative(rows: Sequence[Mapping[str, Any]]) -> str:
    texts = [f"{row['assumption']}, {row['algorithm']}: {row['panel']} {row['value']:.2f}" for row in rows]
    return "Win rate and gold of every algorithm under every assumption. " + "; ".join(texts) + "."
