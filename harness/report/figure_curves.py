"""Outcomes against compute: separate runs filled and joined by solid lines, the marks of one run hollow and dotted."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from harness.report import layout
from harness.report.curves import OUTCOMES, Stop, finished, on_the_way
from harness.report.drawing import Drawing
from harness.report.palette import Look
from harness.report.points import Point

if TYPE_CHECKING:
    from matplotlib.axes import Axes


def draw(curves: Mapping[str, Sequence[Point]], looks: Mapping[str, Look], unit: str) -> Drawing | None:
    """A panel for each outcome that some run has, or None where none has; ``unit`` is what was matched, in words."""
    keys = [key for key in OUTCOMES if any(finished(points, key) for points in curves.values())]
    if not keys:
        return None
    figure, panels = layout.panels(len(keys), 2.0)
    rows = [row for axes, key in zip(panels, keys, strict=True) for row in _panel(axes, key, curves, looks, unit)]
    layout.legend_below(figure, *panels[0].get_legend_handles_labels())
    caption = (
        "Filled points joined by solid lines are separate runs, each annealed over its own budget, with 95 % intervals. Hollow points on "
        "dotted lines are marks of the largest run, whose learning rate had not yet fallen: they are not what a smaller budget gives. "
        "One setting per algorithm, the one that comparisons are made at."
    )
    return Drawing("curves", figure, rows, "Win rate and gold reward against compute", caption, _alternative(rows))


def _panel(axes: Axes, key: str, curves: Mapping[str, Sequence[Point]], looks: Mapping[str, Look], unit: str) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = []
    for position, (name, points) in enumerate(curves.items()):
        ends, marks = finished(points, key), on_the_way(points, key)
        _ends(axes, ends, looks[name], name, 1 + 0.012 * (position - len(curves) / 2))
        _marks(axes, [*marks, *ends[-1:]], looks[name])
        rows += [_row(key, stop) for stop in (*marks, *ends)]
    axes.set_xscale("log")
    _ticks(axes, sorted({row["spent"] for row in rows if row["kind"] == "finished"}))
    axes.set_xlabel(f"spent by a run, {unit}")
    axes.set_ylabel("share" if key == "win_sft" else "reward")
    axes.set_title(OUTCOMES[key][0].upper() + OUTCOMES[key][1:])
    if key == "win_sft":
        axes.axhline(0.5, color="#888888", linewidth=0.8, linestyle=(0, (1, 2)), zorder=1)
    return rows


def _ends(axes: Axes, stops: Sequence[Stop], look: Look, name: str, shift: float) -> None:
    """Finished runs with intervals, moved sideways by a percent or so, that intervals at one budget do not hide each other."""
    xs, ys = [stop.amount * shift for stop in stops], [stop.outcome.value for stop in stops]
    style: dict[str, Any] = {"color": look.colour, "marker": look.marker, "markerfacecolor": look.face}
    axes.plot(xs, ys, linestyle=look.line, linewidth=1.3, markersize=4.5, label=name, zorder=4, **style)
    for x, stop in zip(xs, stops, strict=True):
        if not math.isnan(stop.outcome.lower + stop.outcome.upper):
            axes.plot([x, x], stop.outcome[1:3], color=look.colour, linewidth=0.8, zorder=3)


def _marks(axes: Axes, stops: Sequence[Stop], look: Look) -> None:
    """Marks on the way of one run, joined to its end."""
    xs, ys = [stop.amount for stop in stops], [stop.outcome.value for stop in stops]
    axes.plot(xs, ys, linestyle=":", linewidth=0.7, color=look.colour, alpha=0.7, zorder=2)
    hollow: dict[str, Any] = {"markerfacecolor": "white", "markeredgewidth": 0.6, "linestyle": "none"}
    axes.plot(xs[:-1], ys[:-1], marker=look.marker, markersize=3.2, color=look.colour, alpha=0.8, zorder=2, **hollow)


def _ticks(axes: Axes, amounts: Sequence[float]) -> None:
    """A tick at every budget (amounts within 5 % of one another are one), and none between."""
    kept: list[float] = []
    for amount in amounts:
        if not kept or amount > 1.05 * kept[-1]:
            kept.append(amount)
    axes.set_xticks(kept, [f"{amount:.3g}" for amount in kept])
    axes.set_xticks([], minor=True)


def _row(key: str, stop: Stop) -> dict[str, Any]:
    kind = "finished" if stop.mark is None else f"mark {stop.mark:g}"
    named = {"panel": key, "algorithm": stop.point.algorithm, "setting": stop.point.setting, "budget": stop.point.budget, "kind": kind}
    return named | {"spent": stop.amount} | dict(zip(("value", "lower", "upper", "n"), stop.outcome, strict=True))


def _alternative(rows: Sequence[Mapping[str, Any]]) -> str:
    ends = [row for row in rows if row["kind"] == "finished"]
    return "Curves over compute. " + "; ".join(
        f"{row['algorithm']} {row['panel']} {row['value']:.3f} at {row['spent']:.3g}" for row in ends
    )
