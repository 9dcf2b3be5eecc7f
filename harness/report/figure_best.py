"""The figure of over-optimisation: gold against KL for best-of-n and the algorithms, and how far proxy runs ahead of gold."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from harness.report import drawing, layout
from harness.report.drawing import Drawing
from harness.report.overoptimisation import Best, Course, Scale, Spot
from harness.report.palette import INK, Look

if TYPE_CHECKING:
    from matplotlib.axes import Axes

RANKED: Any = {"gold": ("best of n by gold", "-", "D"), "proxy": ("best of n by the proxy", (0, (4, 1.5)), "s")}
LABELLED = (2, 4, 8, 16, 32, 64)


def draw(best: Sequence[Best], courses: Mapping[str, Course], scale: Scale, looks: Mapping[str, Look]) -> Drawing:
    """Both panels; units are the reference's standard deviations within a prompt, above the reference."""
    figure, panels = layout.panels(2, 2.1)
    rows = [*_best(panels, best, scale), *_courses(panels, courses, looks)]
    largest = max(float(row["kl"]) for row in rows)
    for axes, title, label in zip(panels, ("Gold against KL", "Proxy ahead of gold"), ("gold gain", "proxy gain - gold gain"), strict=True):
        drawing.kl_axis(axes, largest)
        axes.axhline(0, color=INK, linewidth=0.6)
        axes.set_title(title)
        axes.set_ylabel(f"{label}, reference SDs")
    layout.legend_below(figure, *panels[0].get_legend_handles_labels(), most=4, handle=2.4)
    return Drawing("best-of-n", figure, rows, "Best-of-n and over-optimisation", _caption(), _alternative(best, courses))


def _best(panels: Sequence[Axes], found: Sequence[Best], scale: Scale) -> list[dict[str, Any]]:
    rows = []
    for ranking, (label, line, marker) in RANKED.items():
        group = [each for each in found if each.ranking == ranking]
        x = np.array([each.kl for each in group])
        gold = np.array([[each.gold.value, each.gold.lower, each.gold.upper] for each in group])
        gold = (gold - scale.centre("gold").mean()) / scale.spread("gold")
        proxy = (np.array([each.proxy.value for each in group]) - scale.centre("proxy").mean()) / scale.spread("proxy")
        style: Any = {"color": INK, "linestyle": line, "marker": marker, "markersize": 3, "markerfacecolor": "white", "linewidth": 1.0}
        panels[0].plot(x, gold[:, 0], label=f"{label} (KL \N{LESS-THAN OR EQUAL TO})", **style)
        panels[1].plot(x, proxy - gold[:, 0], **style)
        for each, y in zip(group, gold[:, 0], strict=True):
            if each.n in LABELLED and ranking == "gold":
                panels[0].annotate(f"n={each.n}", (each.kl, y), (-3, 4), textcoords="offset points", fontsize=6.5, ha="right", color=INK)
        rows += [
            {"kind": label, "n": each.n, "kl": each.kl, "gold": y[0], "gold_lower": y[1], "gold_upper": y[2], "proxy": z}
            for each, y, z in zip(group, gold, proxy, strict=True)
        ]
    return rows


def _courses(panels: Sequence[Axes], courses: Mapping[str, Course], looks: Mapping[str, Look]) -> list[dict[str, Any]]:
    """An algorithm's finished runs as filled points, their marks hollow, each run joined."""
    rows = []
    for name, course in courses.items():
        runs = {spot.point: [each for each in course.spots if each.point is spot.point] for spot in course.spots}
        for number, run in enumerate(runs.values()):
            _run(panels, run, looks[name], name if number == 0 else None)
            ends = ["finished" if s.mark is None else f"mark {s.mark:g}" for s in run]
            base = [{"kind": end, "algorithm": name, "setting": s.point.setting} for s, end in zip(run, ends, strict=True)]
            rows += [each | {"kl": s.kl, "gold": s.gold, "proxy": s.proxy} for s, each in zip(run, base, strict=True)]
    return rows


def _run(panels: Sequence[Axes], run: Sequence[Spot], look: Look, label: str | None) -> None:
    """One run's measurements on both panels: marks in order, then its end."""
    for axes, values in zip(panels, ([s.gold for s in run], [s.proxy - s.gold for s in run]), strict=True):
        axes.plot([s.kl for s in run], values, color=look.colour, linewidth=0.6, linestyle=look.line, alpha=0.55)
        for final in (True, False):
            some = np.array([(s.kl, y) for s, y in zip(run, values, strict=True) if (s.mark is None) is final]).reshape(-1, 2)
            face = {"markerfacecolor": look.face if final else "white", "markeredgewidth": 1.0 if final else 0.6}
            style: Any = {"color": look.colour, "marker": look.marker, "markersize": 4.5 if final else 2.8, "linestyle": "none", **face}
            axes.plot(*some.T, label=label if final else None, **style)


def _caption() -> str:
    return (
        "Gains over the SFT reference in standard deviations of its own samples within a prompt; proxy is the reward model fitted on the "
        "training pairs. Best-of-n is drawn at its bound: its KL is at most log n - (n - 1)/n (Beirami et al. 2024), its true place left "
        f"of where it stands. Filled: finished runs; hollow: earlier marks of the same run. {drawing.KL_SCALE}"
    )


def _alternative(best: Sequence[Best], courses: Mapping[str, Course]) -> str:
    shown = [each for each in best if each.n in LABELLED]
    said = [f"best of {each.n} by {each.ranking}: KL at most {each.kl:.2f}, gold {each.gold.value:.2f}" for each in shown]
    said += [f"{name}: gold peaks at KL {course.peak.value:.2f}" for name, course in courses.items()]
    return "Two panels against KL. " + "; ".join(said) + "."
