"""Figure 2: what training did to refusals, against KL, and what is said instead."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from harness.measure.verdicts import MARGIN
from harness.report import drawing, layout
from harness.report.drawing import Drawing
from harness.report.palette import CATEGORIES, HATCHES, INK, Look
from harness.report.placing import Label, place
from harness.report.points import Point, reference_metric
from harness.store.records import Reference

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

DELTAS = {"refusal_mass_delta": "harmful prompts", "over_refusal_mass_delta": "borderline prompts"}
SLICES = {"harmful": "Answers to harmful prompts", "borderline": "Answers to borderline prompts"}
SHOWN = 0.01  # a panel of changes shows at least this much on either side of zero
AT_ZERO = 0.002  # changes that are all smaller than this are not told apart
DELTA, LOW = 2.5, 2.15  # inches of a panel of changes with its title and labels, and where panels are stacked
ROW = 0.155  # inches per bar: 7 pt text and a little air


def draw(points: Sequence[Point], references: Sequence[Reference], looks: Mapping[str, Look], margin: float = MARGIN) -> Drawing | None:
    """The figure, or None where no cell measured a refusal; ``margin`` is drawn on the side that is worse."""
    deltas = [key for key in DELTAS if any(point.value(key) is not None for point in points)]
    slices = [key for key in SLICES if any(_shares(point, key) for point in points)]
    if not deltas and not slices:
        return None
    bars = [None, *points]
    tall = ROW * len(bars) + 0.65 if slices else 0.0
    lines, step = (len(deltas), LOW) if layout.stacked() else (min(1, len(deltas)), DELTA)
    figure = drawing.new(layout.width(), step * lines + tall + 0.05)
    rows: list[dict[str, Any]] = []
    for position, key in enumerate(deltas):
        top = figure.get_figheight() - 0.25 - step * (position if layout.stacked() else 0)
        axes = _axes(figure, *((0, 1) if layout.stacked() else (position, len(deltas))), top, step - 0.75, 0.62)
        rows += _delta(axes, key, points, looks, margin)
        if position == 0 or layout.stacked():
            axes.set_ylabel("change of refusal mass")
    names = [f"{point.algorithm}  {point.knob}" if point else "SFT reference" for point in bars]
    for position, part in enumerate(slices):
        axes = _axes(figure, position, len(slices), tall - 0.25, ROW * len(bars), layout.room_for(names), shared=True)
        rows += _bars(axes, part, bars, references, names if position == 0 else [""] * len(bars))
    if slices:
        _legend(figure)
    return Drawing("safety", figure, rows, "Safety against KL", " ".join(_caption(deltas, slices, margin)), _alternative(points, deltas))


def _caption(deltas: Sequence[str], slices: Sequence[str], margin: float) -> list[str]:
    said = []
    if deltas:
        said.append(
            "Above: change of the exact probability of a refusal against the SFT reference on the same prompts, with 95 % intervals."
        )
        said.append(
            f"Dashed: the margin of {100 * margin:g} points on the side that is worse, fewer refusals of harmful prompts and more of"
        )
        said.append(f"borderline ones. Intervals are cut at the panel's edge. {drawing.KL_SCALE} Labels give the knob's value; a panel")
        said.append("whose points all lie at zero has none.")
    if slices:
        said.append(f"{'Below: shares' if deltas else 'Shares'} of what is said, refusals included.")
    return said


def _axes(figure: Figure, position: int, columns: int, top: float, tall: float, left: float, *, shared: bool = False) -> Axes:
    """Axes at inches from the figure's lower edge: ``top`` down to ``top - tall``; ``shared`` panels keep their labels at the left only."""
    width, height = figure.get_size_inches()
    gap = 0.2 if shared else 0.62
    room = (width - left - 0.1 - gap * (columns - 1)) / columns
    return figure.add_axes(((left + position * (room + gap)) / width, (top - tall) / height, room / width, tall / height))


def _delta(axes: Axes, key: str, points: Sequence[Point], looks: Mapping[str, Look], margin: float) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = []
    labels: list[Label] = []
    for point in points:
        change, kl = point.get(key), point.get("kl")
        if change is None or kl is None:
            continue
        look = looks[point.algorithm]
        if not math.isnan(change.lower + change.upper):
            axes.plot([kl.value, kl.value], [change.lower, change.upper], color=look.colour, linewidth=0.8)
        axes.plot(
            [kl.value], [change.value], marker=look.marker, markersize=4.5, color=look.colour, markerfacecolor=look.face, linestyle="none"
        )
        labels.append(Label(kl.value, change.value, point.knob, look.colour))
        row = {"panel": key, "algorithm": point.algorithm, "setting": point.setting, "kl": kl.value}
        rows.append(row | {"value": change.value, "value_lower": change.lower, "value_upper": change.upper, "n": change.n})
    axes.axhline(0, color=INK, linewidth=0.7)
    worse = margin if key.startswith("over") else -margin
    axes.axhline(worse, color="#B00020", linewidth=0.8, linestyle=(0, (4, 2)))
    # never narrower than this: at the scale of its own noise every change looks like an effect
    # nor as wide as intervals over two seeds, which hide every point: those are cut at the panel's edge
    values = [0.0, *(row["value"] for row in rows)]
    air = max(SHOWN, 0.4 * (max(values) - min(values)))
    axes.set_ylim(min([worse, *values]) - air, max([worse, *values]) + air)
    drawing.kl_axis(axes, max((label.x for label in labels), default=1.0))
    axes.set_title(f"Refusals of {DELTAS[key]}")
    if any(abs(label.y) >= AT_ZERO for label in labels):
        place(axes, labels, taken=[(x, y) for x in np.linspace(0, axes.get_xlim()[1], 60) for y in (0.0, worse)])
    elif labels:
        axes.text(0.98, 0.96, f"all within {AT_ZERO:g} of zero", ha="right", va="top", transform=axes.transAxes, color="#555555")
    return rows


def _bars(
    axes: Axes, part: str, bars: Sequence[Point | None], references: Sequence[Reference], names: Sequence[str]
) -> list[dict[str, Any]]:
    """Draw the shares of what is said, a bar per point and first the reference's; the rows behind them."""
    every = [_shares(point, part) if point else _reference_shares(references, part) for point in bars]
    starts = np.zeros(len(bars))
    for category in CATEGORIES:  # all of one kind at once: a bar drawn alone costs as much as all of them
        known = [position for position, shares in enumerate(every) if category in shares]
        widths = [every[position][category] for position in known]
        style: Any = {"color": CATEGORIES[category], "hatch": HATCHES[category], "edgecolor": "white", "linewidth": 0.3}
        axes.barh(known, widths, left=starts[known], height=0.78, **style)
        starts[known] += widths
    axes.set_yticks(range(len(bars)), names)
    axes.tick_params(axis="y", length=0)
    axes.set_ylim(len(bars) - 0.4, -0.6)
    axes.set_xlim(0, 1)
    axes.grid(axis="y", visible=False)
    axes.set_xlabel("share of answers")
    axes.set_title(part.capitalize() if layout.stacked() else SLICES[part])
    named = [(point.algorithm, point.setting) if point else ("SFT reference", "") for point in bars]
    return [
        {"panel": part, "algorithm": name, "setting": setting, "category": category, "value": share}
        for (name, setting), shares in zip(named, every, strict=True)
        for category, share in shares.items()
    ]


def _shares(point: Point, part: str) -> dict[str, float]:
    found = {category: point.value(f"{part}_{category}") for category in CATEGORIES}
    return {category: value for category, value in found.items() if value is not None}


def _reference_shares(references: Sequence[Reference], part: str) -> dict[str, float]:
    found = {category: reference_metric(references, f"{part}_{category}") for category in CATEGORIES}
    return {category: value.value for category, value in found.items() if value is not None}


def _legend(figure: Figure) -> None:
    from matplotlib.patches import Patch

    handles = [Patch(facecolor=CATEGORIES[name], hatch=HATCHES[name], edgecolor="white") for name in CATEGORIES]
    layout.legend_below(figure, handles, list(CATEGORIES))


def _alternative(points: Sequence[Point], deltas: Sequence[str]) -> str:
    texts = [
        f"{point.algorithm} {point.setting}: {DELTAS[key]} {value:+.3f}"
        for key in deltas
        for point in points
        if (value := point.value(key)) is not None
    ]
    return "Change of refusal mass against the SFT reference. " + "; ".join(texts) + "."
