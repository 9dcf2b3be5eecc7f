"""Paired differences from the baseline: one line per algorithm with its interval, over the band of what could not have been seen."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from harness.measure.statistics import label
from harness.report import layout
from harness.report.comparing import Comparison
from harness.report.drawing import Drawing
from harness.report.palette import INK, Look

if TYPE_CHECKING:
    from matplotlib.axes import Axes

BAND = "#DDDDDD"
LABEL = "win rate against the SFT reference, less that of {base}, percentage points"


def draw(made: Sequence[Comparison], base: str, shown: Mapping[str, Look]) -> Drawing | None:
    """The figure, first comparison on top, in percentage points; None where nothing has a difference."""
    lines = [each for each in made if each.difference is not None]
    if not lines:
        return None
    names, tall = [_name(each) for each in reversed(lines)], 0.2 + 0.27 * len(lines)
    figure, (axes,) = layout.panels(1, tall, layout.Margins(left=layout.room_for(names), right=0.2, top=0.13))
    for height, each in enumerate(reversed(lines)):
        _line(axes, each, height, shown.get(each.name))
    axes.axvline(0, color=INK, linewidth=0.8)
    axes.set_yticks(range(len(lines)), names)
    axes.set_ylim(-0.6, len(lines) - 0.4)
    axes.grid(axis="y", visible=False)
    axes.set_xlabel(f"win rate less that of {base}, points" if layout.stacked() else LABEL.format(base=base))
    prompts = _span([each.difference.n for each in lines if each.difference])
    caption = f"Paired differences on {prompts} prompts with intervals: {label(min(len(each.seeds) for each in lines))}."
    if any(each.detectable is not None for each in lines):
        caption += " Grey: true differences smaller than the minimum detectable one."
    alternative = f"Differences in win rate from {base} with intervals: " + "; ".join(map(_words, lines)) + "."
    return Drawing("comparisons", figure, [_row(each) for each in lines], f"Differences from {base}", caption, alternative)


def _line(axes: Axes, each: Comparison, height: int, look: Look | None) -> None:
    """One comparison: the grey band, the interval, the difference; hollow where it is exploratory."""
    assert each.difference is not None
    value, lower, upper = (100 * number for number in each.difference[:3])
    colour, marker = (look.colour, look.marker) if look else (INK, "o")
    if each.detectable is not None:
        axes.barh(height, 200 * each.detectable, left=-100 * each.detectable, height=0.62, color=BAND, zorder=1)
    if not math.isnan(lower + upper):
        axes.plot([lower, upper], [height, height], color=colour, linewidth=1.4, zorder=3)
    axes.plot(
        [value], [height], marker=marker, color=colour, markerfacecolor="white" if each.exploratory else colour, markersize=5, zorder=4
    )


def _name(each: Comparison) -> str:
    return f"{each.name} (exploratory)" if each.exploratory else each.name


def _span(counts: Sequence[int]) -> str:
    return " to ".join(map(str, sorted({min(counts), max(counts)})))


def _words(each: Comparison) -> str:
    assert each.difference is not None
    value, lower, upper = (100 * number for number in each.difference[:3])
    return (
        f"{each.name} {value:+.1f} points" if math.isnan(lower + upper) else f"{each.name} {value:+.1f} [{lower:+.1f}, {upper:+.1f}] points"
    )


def _row(each: Comparison) -> dict[str, object]:
    """The comparison as the figure's CSV holds it, differences as shares."""
    assert each.difference is not None
    found = {"algorithm": each.name, "setting": each.setting, "seeds": len(each.seeds), **each.difference._asdict()}
    tested = each.verdict if each.verdict is not None and each.verdict.testable else None
    tests = {
        "p": tested and tested.p,
        "adjusted_p": tested and tested.adjusted,
        "smallest_adjusted_p": each.verdict and each.verdict.smallest,
    }
    return {**found, "detectable": each.detectable, **tests, "exploratory": each.exploratory}
