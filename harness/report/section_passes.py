"""The page's room on pass@k: where answers are checked, whether one of k tries passes, against k and against the reference."""

from __future__ import annotations

import re
from collections.abc import Sequence

from harness.measure.statistics import Interval
from harness.report import figure_passes
from harness.report.points import Loaded, Point, metrics, reference_metric
from harness.report.section import Grid, Looks, Section
from harness.report.tables import value

COLUMN = re.compile(r"pass_at_(\d+)")
MEANING = (
    "Answers are checked, so a number here is a share of questions and no opinion. pass@1 is how often one sample passes; pass@k is the "
    "chance that one of k samples does, estimated without bias from the samples of each question (Chen et al. 2021), at temperature 1. "
    "Where a policy gains at small k and loses at large k, it says more often what the reference could already find, and less besides."
)


def section(study: Loaded, found: Sequence[Point], looks: Looks) -> Section | None:
    """A curve of every algorithm at its best pass@1, the reference's, and all numbers; None where nothing is checked."""
    ks = sorted({int(match[1]) for point in found for name in metrics(point.head, None) if (match := COLUMN.fullmatch(name))})
    if not ks:
        return None
    start = {k: each for k in ks if (each := reference_metric(study.references, f"pass_at_{k}"))}
    measured = {point: {k: each for k in ks if (each := point.get(f"pass_at_{k}"))} for point in found}
    rows = [["SFT reference", "", *_row(start, ks)], *([p.title, p.setting, *_row(values, ks)] for p, values in measured.items())]
    caption = "pass@k at the end of the budget, 95 % interval over seeds and prompts, n prompts."
    table = Grid(["algorithm", "setting", *(f"pass@{k}" for k in ks)], rows, caption, 2)
    drawn = figure_passes.draw(_best(measured, ks[0]), start, looks)
    return Section("passes", "Checked answers: pass@k", [MEANING], figures=[drawn] if drawn else [], tables=[table])


def _row(values: dict[int, Interval], ks: Sequence[int]) -> list[str]:
    return [" ".join(filter(None, value(values.get(k), 3, "(not measured)"))) for k in ks]


def _best(measured: dict[Point, dict[int, Interval]], first: int) -> dict[Point, dict[int, Interval]]:
    """Of every algorithm the setting with the highest pass@k at the smallest k: chosen on the numbers shown, which the figure says."""
    best: dict[str, Point] = {}
    for point, values in measured.items():
        known = best.get(point.title)
        if values and (known is None or values[first].value > measured[known][first].value):
            best[point.title] = point
    return {point: measured[point] for point in best.values()}
