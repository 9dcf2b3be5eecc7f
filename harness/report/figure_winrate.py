"""Figures of the room on win rates: who beats whom, and win rates against the temperature of decoding."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from harness.measure.statistics import Interval, label
from harness.report import drawing, layout
from harness.report.drawing import Drawing
from harness.report.palette import INK, Look
from harness.report.points import Point, reference_metric
from harness.report.winrate import Tournament, at, chosen, known
from harness.store.records import Reference

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

PANELS = {"win_reference": "Against the data's own responses", "win_sft": "Against samples of the SFT reference"}
CELL = 0.44  # inches of a field of the matrix, at most
DODGE = 0.012  # of the axis, between algorithms measured at one temperature
LEAST = 3  # temperatures that make a figure: two are a table


def matrix(found: Tournament, looks: Mapping[str, Look]) -> Drawing:
    """How often the row's algorithm beats the column's, ties one half, beside the strengths that all pairs together give."""
    names, count = found.result.names, len(found.result.names)
    figure, axes, strengths = _matrix_panels(count, layout.room_for(names))
    _fields(axes, found)
    _strengths(strengths, found, looks)
    for panel in (axes, strengths):
        panel.tick_params(axis="y", length=0)
        panel.set_ylim(count - 0.5, -0.5)
    slant: Any = {"rotation": 90} if layout.stacked() else {"rotation": 45, "ha": "right", "rotation_mode": "anchor"}
    axes.set_xticks(range(count), names, **slant)
    axes.set_yticks(range(count), names)
    strengths.set_yticks(range(count), names if layout.stacked() else [""] * count)
    caption = "Left: share of prompts on which the row's response has the higher score, a tie one half, between algorithms of the same "
    caption += "seed on the same prompts; one setting each. White is one half, orange above, purple below; intervals are in the table. "
    caption += f"Right: Bradley-Terry strengths from all pairs, {label(found.seeds)}; controls and runs that have not converged have none."
    rows = list(_pairs(found))
    texts = [f"{row['algorithm']} beats {row['opponent']} {row['value']:.2f}" for row in rows]
    return Drawing("headtohead", figure, rows, "Algorithms against each other", caption, "Matrix of win shares. " + "; ".join(texts) + ".")


def _matrix_panels(count: int, left: float) -> tuple[Figure, Axes, Axes]:
    """The figure with the matrix and, beside it or on a narrow sheet under it, the strengths; rows of both are as tall."""
    below, top, low = max(0.5, (1.0 if layout.stacked() else 0.72) * left), 0.3, 0.7  # names of columns are slanted
    wide = layout.width() - left - 0.1
    if layout.stacked():
        size, bar = min(CELL, wide / count), 0.2
        figure = drawing.new(layout.width(), below + size * count + top + low + bar * count)
        return (
            figure,
            layout.box(figure, left, low + bar * count + below, size * count, size * count),
            layout.box(figure, left, 0.4, wide, bar * count),
        )
    size = min(CELL, 0.47 * layout.width() / count)
    figure = drawing.new(layout.width(), below + size * count + top)
    beside = left + size * count + 0.35
    strengths = layout.box(figure, beside, below, layout.width() - beside - 0.1, size * count)
    return figure, layout.box(figure, left, below, size * count, size * count), strengths


def _fields(axes: Axes, found: Tournament) -> None:
    shares = np.array([[each.value for each in line] for line in found.result.shares])
    np.fill_diagonal(shares, np.nan)
    edges = np.arange(len(shares) + 1) - 0.5
    axes.pcolormesh(edges, edges, np.ma.masked_invalid(shares), cmap="PuOr_r", vmin=0, vmax=1, edgecolors="white", linewidth=0.6)
    for i, j in np.argwhere(np.isfinite(shares)):
        dark = abs(shares[i, j] - 0.5) > 0.3
        axes.text(j, i, f"{shares[i, j]:.2f}", ha="center", va="center", fontsize=7, color="white" if dark else INK)
    axes.tick_params(axis="x", length=0)
    axes.grid(visible=False)
    axes.spines[:].set_visible(False)
    axes.set_title("Row beats column")


def _strengths(axes: Axes, found: Tournament, looks: Mapping[str, Look]) -> None:
    for position, point in enumerate(found.points):
        strength, look = found.result.strengths[point.algorithm], looks[point.algorithm]
        if not point.ranked or point.rising or math.isnan(strength.value):
            continue
        if not math.isnan(strength.lower + strength.upper):
            axes.plot([strength.lower, strength.upper], [position, position], color=look.colour, linewidth=1.0)
        axes.plot([strength.value], [position], marker=look.marker, color=look.colour, markersize=5, linestyle="none")
    axes.axvline(0, color=INK, linewidth=0.6)
    axes.grid(axis="y", visible=False)
    room = axes.get_window_extent().width / axes.figure.dpi
    axes.set_xlabel("strength, log odds of beating the average" if room > 2.4 else "strength, log odds")
    axes.set_title("Bradley-Terry strengths")


def _pairs(found: Tournament) -> list[dict[str, Any]]:
    return [
        {"algorithm": name, "setting": point.setting, "opponent": other.algorithm, "opponent_setting": other.setting}
        | share._asdict()
        | {"ties": tie.value, "ties_lower": tie.lower, "ties_upper": tie.upper}
        for name, point, line, ties in zip(found.result.names, found.points, found.result.shares, found.ties, strict=True)
        for other, share, tie in zip(found.points, line, ties, strict=True)
        if other is not point
    ]


def temperatures(found: Sequence[Point], references: Sequence[Reference], looks: Mapping[str, Look]) -> Drawing | None:
    """Win rate against temperature, one setting per algorithm; None where fewer than three temperatures were measured."""
    shown = [point for point in chosen(found) if len(known(point.cells)) + 1 >= LEAST]
    if not shown:
        return None
    figure, panels = layout.panels(len(PANELS), 1.75)
    ticks = sorted({1.0, *(each for point in shown for each in known(point.cells))})
    rows: list[dict[str, Any]] = []
    for axes, (key, title) in zip(panels, PANELS.items(), strict=True):
        rows += _panel(axes, key, shown, references, looks)
        axes.set_title(title)
        axes.set_xlabel("temperature (0: greedy)")
        axes.axhline(0.5, color=INK, linewidth=0.6)
        axes.set_xlim(-0.06, 1.06)
        axes.set_xticks(ticks, [f"{tick:g}" for tick in ticks])
    panels[0].set_ylabel("win rate, ties one half")
    layout.legend_below(figure, *panels[0].get_legend_handles_labels(), most=4)
    caption = (
        "One setting per algorithm, 95 % intervals; the opponents do not change with the temperature, and SFT samples were drawn at 1. "
    )
    caption += "Only at temperature 1 do win rate and KL describe one distribution. Points are moved sideways a little, so as not to hide "
    caption += "each other. The left panel is the one of Rafailov et al. 2023, Figure 2 (right)."
    texts = [f"{row['algorithm']} at {row['temperature']:g}: {row['value']:.2f}" for row in rows if row["panel"] == "win_sft"]
    return Drawing("temperatures", figure, rows, "Win rate against temperature", caption, "; ".join(texts) + ".")


def _panel(
    axes: Axes, key: str, points: Sequence[Point], references: Sequence[Reference], looks: Mapping[str, Look]
) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = []
    for position, point in enumerate(points):
        look = looks[point.algorithm]
        curve = {each: at(point.cells, key, each) for each in known(point.cells)} | {1.0: point.get(key)}
        style: Any = {"color": look.colour, "marker": look.marker, "linestyle": look.line, "markerfacecolor": look.face}
        about = {"panel": key, "algorithm": point.algorithm, "setting": point.setting}
        rows += _curve(axes, curve, about, style, moved=(position - (len(points) - 1) / 2) * DODGE)
    if len(known(references)) + 1 >= LEAST:
        curve = {each: at(references, key, each) for each in known(references)} | {1.0: reference_metric(references, key)}
        about = {"panel": key, "algorithm": "SFT reference", "setting": ""}
        rows += _curve(axes, curve, about, {"color": "#888888", "linestyle": (0, (4, 2))})
    return rows


def _curve(
    axes: Axes, curve: Mapping[float, Interval | None], about: Mapping[str, str], style: Mapping[str, Any], moved: float = 0.0
) -> list[dict[str, Any]]:
    """One line with the interval of each of its points; the rows behind it."""
    found = {temperature: each for temperature, each in curve.items() if each is not None}
    x = np.array(list(found)) + moved
    name = f"{about['algorithm']}  {about['setting']}".strip()
    axes.plot(x, [each.value for each in found.values()], label=name, markersize=4, linewidth=1.0, **style)
    for place, each in zip(x, found.values(), strict=True):
        if not math.isnan(each.lower + each.upper):
            axes.plot([place, place], [each.lower, each.upper], color=style["color"], linewidth=0.8)
    return [{**about, "temperature": temperature, **each._asdict()} for temperature, each in found.items()]
