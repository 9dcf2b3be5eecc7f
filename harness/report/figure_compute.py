"""Figure 3: what each run spent: canonical FLOPs by phase, and hours by stage."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from harness.report import drawing
from harness.report.drawing import Drawing
from harness.report.escape import visible
from harness.report.palette import PHASES, stage_colour
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
    height = ROW * len(points) + 1.05
    panels = [("canonical FLOPs", "Canonical FLOPs by phase", flops)] + ([(unit, "Hours by stage", hours)] if any(hours) and unit else [])
    figure = drawing.new(drawing.TWO_COLUMNS, height)
    axes = figure.subplots(1, len(panels), squeeze=False, sharey=True)[0]
    figure.subplots_adjust(left=1.15 / 6.9, right=0.98, top=1 - 0.25 / height, bottom=0.75 / height, wspace=0.08)
    rows = [row for each, (label, title, values) in zip(axes, panels, strict=True) for row in _bars(each, label, title, points, values)]
    axes[0].set_yticks(range(len(points)), [f"{point.algorithm}  {point.knob}{UNKNOWN * point.foreign}" for point in points])
    axes[0].set_ylim(len(points) - 0.4, -0.6)
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
        axes.barh(
            np.arange(len(values)), widths, left=starts, height=0.78, color=stage_colour(stage, position), edgecolor="white", linewidth=0.3
        )
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

    handles = [Patch(facecolor=stage_colour(name, position), label=name) for position, name in enumerate(_ordered(stages))]
    figure.legend(handles=handles, loc="lower center", ncols=len(handles), borderaxespad=0.1)


def _alternative(points: Sequence[Point], flops: Sequence[Mapping[str, float]]) -> str:
    texts = [
        f"{point.algorithm} {point.setting}: " + ", ".join(f"{phase} {value:.2e}" for phase, value in each.items() if value)
        for point, each in zip(points, flops, strict=True)
    ]
    return "Stacked bars of canonical FLOPs by phase. " + "; ".join(texts) + "."
