"""What may and may not be said about a study: counts, matching of compute, seeds, convergence. Text made of numbers."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import NamedTuple

from harness.measure.statistics import label
from harness.measure.statistics.significance import LEVEL, smallest_p
from harness.report.matching import MATCHED, matching, widest
from harness.report.points import NOT_CONVERGED, Point, every_point, metrics, points
from harness.store.records import Row, Study

# The authors' own summary of arXiv 2210.10760, https://www.alignmentforum.org/posts/shcSdHGPhnLQkpSbX
KL_CAVEAT = (
    "KL distance between the initial and optimized policies is not a reliable measure of optimization power "
    "when comparing different methods"
)
UNTUNED = "Untuned: knobs and learning rates are declared defaults, not found with equal effort; a tuned comparison may come out otherwise."
FOREIGN = (
    "Trained elsewhere: {}. What it cost, on which data, and whether it trained on what judges it is as declared, if at all; nothing here "
    "checked it."
)
KL_SOURCE = "Gao, Schulman and Hilton 2022, the authors' summary of arXiv 2210.10760"


class Counts(NamedTuple):
    """Cells by what became of them."""

    run: int
    shown: int
    diverged: int
    failed: int
    unfinished: int
    skipped: int = 0

    def __str__(self) -> str:
        """All in one line; records that could not be read or pooled only where there are some."""
        lost = f"{self.diverged} diverged, {self.failed} failed, {self.unfinished} unfinished"
        return f"{self.run} cells run, {self.shown} shown, {lost}" + (f", {self.skipped} not readable or not poolable" * bool(self.skipped))


def counts(study: Study) -> Counts:
    """How many cells were run, shown, and lost."""
    found = Counter(cell.record["status"] for cell in study.cells)
    shown = sum(len(point.cells) for point in every_point(study))
    return Counts(len(study.cells), shown, found["diverged"], found["failed"], len(study.unfinished), len(study.skipped))


def seeds_line(found: Sequence[Point]) -> str:
    """What the number of seeds forbids; empty where the seeds are enough for a test at the declared level."""
    seeds = min((len(point.cells) for point in found), default=0)
    family = max(1, len({point.algorithm for point in found if point.ranked}) - 1)
    smallest = smallest_p(seeds, family)
    if seeds == 1:
        return "1 seed: no ranking. Another training seed may reorder the algorithms; every interval here leaves that out."
    if seeds and smallest > LEVEL:
        least = f"The smallest adjusted p that {seeds} seeds can give for {family} comparisons is {smallest:.2g}"
        return f"{seeds} seeds: not testable. {least}; read the intervals."
    return ""


def interval_line(found: Sequence[Point]) -> str:
    """What the intervals of this report are."""
    return label(min((len(point.cells) for point in found), default=1)) + "."


def cautions(study: Study) -> list[str]:
    """Everything that may not be concluded from this study, most important first."""
    found = points(study)
    said = [watermark(study) and f"{watermark(study)}: this run is too small to mean anything; it shows that the machinery works."]
    said += [short(study), seeds_line(found)]
    said.append(f"Intervals: {interval_line(found)}")
    relative, foreign = widest(every_point(study)), [point for point in found if point.foreign]
    if (relative is not None and relative > MATCHED) or (relative is None and foreign):
        said.append(matching(every_point(study)) + " Differences between algorithms may be differences of compute.")
    if len(foreign) < len(found) and not any(point.head.get("tuned") for point in found):
        said.append(UNTUNED)
    if foreign:
        said.append(FOREIGN.format(", ".join(sorted({point.algorithm for point in foreign}))))
    said += [*unfinished_learning(found), oracles(found)]
    lost = counts(study)
    if lost.diverged or lost.failed or lost.unfinished:
        each = f"{lost.diverged} diverged, {lost.failed} failed, {lost.unfinished} unfinished"
        said.append(f"Cells lost: {each}. What is missing may be what is worst.")
    return [each for each in said if each]


def short(study: Study) -> str:
    """How little the runs of a trial trained, on how much, and what that leaves open; empty for a real measurement."""
    counted = [found for cell in study.cells if (found := cell.record.get("compute", {}).get("counts", {})).get("steps")]
    if not watermark(study) or not counted:
        return ""
    steps, pairs = [round(each["steps"]) for each in counted], max(round(each.get("unique_pairs", 0)) for each in counted)
    most = f"{min(steps)} to {max(steps)}" if len({*steps}) > 1 else f"{steps[0]}"
    return (
        f"Short, and one model: {most} optimiser steps a run, on at most {pairs} pairs. "
        "What longer training, more data or another model would do is not in it."
    )


def oracles(found: Sequence[Point]) -> str:
    """One sentence that names the algorithms that trained on what judges them; empty where none did."""
    names = sorted({point.algorithm for point in found if point.oracle})
    labels = "it buys labels that the others do not have" if len(names) == 1 else "they buy labels that the others do not have"
    said = f"Not ranked: {', '.join(names)}, trained on the reward that judges; {labels}, drawn dashed and hollow." if names else ""
    return f"{said} {untrained(found)}".strip()


def untrained(found: Sequence[Point]) -> str:
    """One sentence that names what trains no policy; empty where everything does."""
    names = sorted({point.algorithm for point in found if point.untrained and not point.oracle})
    return f"Not ranked: {', '.join(names)}; no policy is trained, and what costs is an answer." if names else ""


def watermark(study: Study) -> str:
    """What is written across a page and its figures: empty for a real measurement."""
    records = [cell.record for cell in study.cells]
    if any(record.get("quick") for record in records):
        return "QUICK — not a measurement"
    return "TRIAL — not a measurement" if any(record.get("trial") for record in records) else ""


def unfinished_learning(found: Sequence[Point]) -> list[str]:
    """Which settings' win rates still rose at the end of the budget, and of which that is not known; none where all have converged."""
    rising = [f"{point.algorithm} {point.setting}" for point in found if point.rising]
    unknown = [f"{point.algorithm} {point.setting}" for point in found if point.rise is None]
    said = []
    if rising:
        rose = "the win rate still rose over the last quarter of the budget, its interval above 0,"
        said.append(f"Not converged, marked{NOT_CONVERGED} and not ranked: {rose} for {', '.join(rising)}.")
    if unknown:
        who = "any setting" if len(unknown) == len(found) else ", ".join(unknown)
        said.append(f"Convergence not measured: no win rate at a mark three quarters through the budget for {who}.")
    return said


def losses(study: Study) -> list[tuple[str, str, str]]:
    """(cell, status, reason) of every cell that is not shown, unreadable and unfinished ones included."""
    lost = [
        (cell_name(cell.record), cell.record["status"], str(cell.record.get("failure") or "no reason recorded"))
        for cell in study.cells
        if cell.record["status"] != "finished" or not metrics(cell.record, None)
    ]
    return (
        lost
        + [(name, "unfinished", "no record was written") for name in study.unfinished]
        + [(name, "skipped", "") for name in study.skipped]
    )


def cell_name(record: Row) -> str:
    """A cell in words."""
    setting = ", ".join(f"{key}={value}" for key, value in record.get("setting", {}).items())
    return f"{record['algorithm']['name']} {setting} seed {record.get('seed', 0)}".replace("  ", " ")
