"""The calibration curve of a reward model: how often labels agree with it against how sure it is, a point per equally filled bin."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from harness.report import drawing
from harness.report.drawing import Drawing
from harness.report.palette import INK

NAME, SIDE = "calibration", 3.4  # inches
Point = tuple[float, float, float, float, int]


def draw(points: Sequence[Point], title: str) -> Drawing:
    """The curve of points (how sure, how often labels agree, its bounds, pairs); on the diagonal a model is as sure as it may be."""
    figure = drawing.new(SIDE, SIDE)
    axes = figure.subplots()
    figure.subplots_adjust(left=0.15, right=0.97, top=0.92, bottom=0.13)
    axes.plot((0.5, 1), (0.5, 1), color="#999999", linewidth=0.8)
    for sure, agreed, lower, upper, _ in points:
        axes.plot((sure, sure), (lower, upper), color=INK, linewidth=0.8)
        axes.plot(sure, agreed, marker="o", markersize=3.5, color=INK)
    axes.set_xlim(0.48, 1.02)
    axes.set_ylim(min(0.4, *(point[2] for point in points if point[2] == point[2]), 0.4) - 0.02, 1.02)
    axes.set_xlabel("probability of the response that it prefers")
    axes.set_ylabel("labels that prefer the same, 95 %")
    axes.set_title(title)
    names = ("sure", "agreed", "lower", "upper", "pairs")
    rows: list[Mapping[str, Any]] = [dict(zip(names, point, strict=True)) for point in points]
    return Drawing(NAME, figure, rows, title, "Equally filled bins; intervals over prompts.", f"{title}: calibration curve")


def save(points: Sequence[Point], title: str, folder: Path) -> list[Path]:
    """Write ``calibration`` as svg, png and csv and return them."""
    with drawing.style():
        made = draw(points, title)
        drawing.write(made, folder, ("svg", "png"))
    (folder / f"{NAME}.csv").write_text(drawing.table(made.rows), encoding="utf-8")
    return [folder / f"{NAME}.{kind}" for kind in ("svg", "png", "csv")]
