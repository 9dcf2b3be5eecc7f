"""Figure 3: what each run spent: canonical FLOPs by phase, and hours by stage."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from harness.report import layout
from harness.report.drawing import Drawing
from harness.report.escape import visible
from harness.report.palette import PHASE_HATCHES, PHASES, stage_colour
from harness.report.points import Point
from harness.store.records import Cell

if TYPE_CHECKING:
    from matplotlib.axes import Axes

ROW = 0.155
UNKNOWN = " \u2021"  # behind what was not counted by a ledger


def draw(points: Sequence[Point]) -> Drawing | None:
    """The figure, or None where no cell says what it spent."""
    flops = [_mean([cell.record["compute"]["canonical"] for cell in point.cells]) for point in points]
    unit = hour_unit([cell for point in points for cell in point.cells])
    hours = [_mean([hours_by_stage(cell) for cell in point.cells]) for point in points] if unit else []
    if not any(flops):
        return None
    panels = [("canonical FLOPs", "Canonical FLOPs by phase", flops)] + ([(unit, "Hours by stage", hours)] if any(hours) and unit else [])
    names = [f"{point.algorithm}  {point.knob}{UNKNOWN * point.foreign}" for point in points]
    tall = ROW * len(points)
    figure, axes = layout.panels(len(panels), tall, layout.Margins(left=layout.room_for(names)), gap=0.2, low=tall)
    rows = [row for each, (label, title, values) in zip(axes, panels, strict=True) for row in _bars(each, label, title, points, values)]
    for each in axes:
        each.set_yticks(range(len(points)), names if layout.stacked() or each is axes[0] else [""] * len(points))
        each.set_ylim(len(points) - 0.4, -0.6)
    _legend(figure, [stage for _, _, values in panels for each in values for stage in each])
    caption = "Only reward, rollout, reference and update count against the budget; evaluation is listed and never charged."
    if any(point.foreign for point in points):
        caption += f" Marked{UNKNOWN}: declared by whoever trained it, not counted by a ledger; no bar where nothing was declared."
    if not unit and any(cell.times for point in points for cell in point.cells):
        caption += " Hours are left out: the cells ran on several kinds of device, whose hours are not pooled."
    return Drawing("compute", figure, rows, "Compute by phase and hours by stage", caption, _alternative(points, flops))


def hour_unit(cells: Sequence[Cell]) -> str | None:
    """``cpu-core-hours`` or ``GPU-hours`` of this device; None where devices differ, for their hours are not added up.

    Cells without times have no say.
    """
    devices = {visible(cell.times.get("device", "")) for cell in cells if cell.times}
    if len(devices) != 1:
        return None
    device = devices.pop()
    return "cpu-core-hours" if device.startswith("cpu") else f"GPU-hours ({device})" if device else None


def hours_by_stage(cell: Cell) -> dict[str, float]:
    """Wall seconds times devices (a CPU's threads, a GPU's count) over 3600, by stage; clock noise below zero counts as zero."""
    times = cell.times
    on_cpu = str(times.get("device", "")).startswith("cpu")
    devices = float(times.get("threads" if on_cpu else "devices") or 1)
    return {visible(stage): max(0.0, float(seconds or 0.0)) * devices / 3600 for stage, seconds in (times.get("wall") or {}).items()}


def _ordered(stages: Iterable[str]) -> list[str]:
    """Stages once each, in the order of a run; unknown ones after the known, by name."""
    return sorted(set(stages), key=lambda name: (list(PHASES).index(name) if name in PHASES else len(PHASES), name))


def _mean(found: Sequence[Mapping[str, float]]) -> dict[str, float]:
    names = _ordered(name for each in found for name in each)
    return {name: float(np.mean([each.get(name) or 0.0 for each in found])) for name in names}


def _bars(axes: Axes, label: str, title: str, points: Sequence[Point], values: Sequence[Mapping[str, float]]) -> list[dict[str, Any]]:
    stages = _ordered(stage for each in values for stage in each)
    starts = np.zeros(len(values))
    for position, stage in enumerate(stages):
        widths = np.array([each.get(stage, 0.0) for each in values])
        axes.barh(np.arange(len(values)), widths, left=starts, height=0.78, **_style(stage, position))
        starts += widths
    axes.grid(axis="y", visible=False)
    axes.tick_params(axis="y", length=0)
    axes.set_xlabel(label)
    axes.set_title(title)
    axes.xaxis.get_major_formatter().set_powerlimits((-2, 3))  # type: ignore[attr-defined]
    return [
        {"panel": label, "algorithm": point.algorithm, "setting": point.setting, "phase": stage, "value": value}
        for point, each in zip(points, values, strict=True)
        for stage, value in each.items()
    ]


def _legend(figure: Any, stages: Sequence[str]) -> None:
    from matplotlib.patches import Patch

    names = _ordered(stages)
    layout.legend_below(figure, [Patch(**_style(name, position)) for position, name in enumerate(names)], names)


def _style(stage: str, position: int) -> dict[str, Any]:
    """A stage's bar: a colour, and a hatch that tells it from its neighbours in grey."""
    return {"facecolor": stage_colour(stage, position), "hatch": PHASE_HATCHES.get(stage, ""), "edgecolor": "white", "linewidth": 0.3}


def _alternative(points: Sequence[Point], flops: Sequence[Mapping[str, float]]) -> str:
    texts = [
        f"{point.algorithm} {point.setting}: " + ", ".join(f"{phase} {value:.2e}" for phase, value in each.items() if value)
        for point, each in zip(points, flops, strict=True)
    ]
    return "Stacked bars of canonical FLOPs by phase. " + "; ".join(texts) + "."
