"""pass@k against k: a curve for every algorithm, the reference's in grey, k in doublings."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from harness.measure.statistics import Interval
from harness.report import layout
from harness.report.drawing import Drawing
from harness.report.palette import Look
from harness.report.points import Point

if TYPE_CHECKING:
    from matplotlib.axes import Axes

Curve = Mapping[int, Interval]
GREY = "#666666"


def draw(curves: Mapping[Point, Curve], start: Curve, looks: Mapping[str, Look]) -> Drawing | None:
    """Curves with 95 % intervals at every k; None where nothing is measured."""
    if not curves:
        return None
    figure, (axes,) = layout.panels(1, 2.6)
    rows = _curve(axes, start, "SFT reference", "", {"color": GREY, "linestyle": (0, (4, 2)), "linewidth": 1.2}) if start else []
    for place, (point, curve) in enumerate(curves.items(), 1):
        look = looks[point.algorithm]
        style = {"color": look.colour, "linestyle": look.line, "marker": look.marker, "markerfacecolor": look.face, "markersize": 4}
        shift = 1 + 0.02 * (place - len(curves) / 2)
        rows += _curve(axes, curve, point.title, point.setting, {"linewidth": 1.3, **style}, shift)
    axes.set_xscale("log", base=2)
    ks = sorted({row["k"] for row in rows})
    axes.set_xticks(ks, [str(k) for k in ks])
    axes.set_xticks([], minor=True)
    axes.set_xlabel("k, samples of a question")
    axes.set_ylabel("pass@k, share of questions")
    layout.legend_below(figure, *axes.get_legend_handles_labels())
    caption = (
        "The chance that one of k samples passes the check, with 95 % intervals; points at one k are moved apart. Of every algorithm the "
        "setting with the highest pass@1, chosen on these numbers, which flatters it a little; all settings are in the table."
    )
    return Drawing("passes", figure, rows, "pass@k against k", caption, _alternative(rows))


def _curve(axes: Axes, curve: Curve, name: str, setting: str, style: Mapping[str, Any], shift: float = 1.0) -> list[dict[str, Any]]:
    ks = sorted(curve)
    axes.plot([k * shift for k in ks], [curve[k].value for k in ks], label=name, zorder=3, **style)
    for k in ks:
        axes.plot([k * shift] * 2, curve[k][1:3], color=style["color"], linewidth=0.8, zorder=2)
    return [{"algorithm": name, "setting": setting, "k": k, **curve[k]._asdict()} for k in ks]


def _alternative(rows: list[dict[str, Any]]) -> str:
    return "pass@k. " + "; ".join(f"{row['algorithm']} {row['value']:.3f} at k = {row['k']}" for row in rows)
