"""Comparisons: every algorithm against the declared baseline, with its interval, its test over the family, and what could be seen."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from harness.measure.statistics import label
from harness.measure.statistics.significance import LEVEL, smallest_p
from harness.report import figure_comparisons
from harness.report.comparing import Comparison, baseline, chosen, comparisons, late_seeds
from harness.report.declared import how
from harness.report.points import NOT_CONVERGED, Loaded, Point
from harness.report.section import Grid, Looks, Section

CAPTION = (
    "Win rate against the SFT reference, algorithm less baseline, paired by seed and prompt, in percentage points, with its 95 % interval. "
    "Detects: the true difference that this study would tell from 0 in 80 % of repetitions; a smaller one was not looked for. "
    "p: two-sided sign-flip test over seeds, adjusted by Holm over the family and alone."
)
NOT_RANKED = " Not ranked: the algorithm or the baseline has not converged."


def section(study: Loaded, found: Sequence[Point], looks: Looks) -> Section | None:
    """The room, or None where fewer than two algorithms can be compared."""
    made, base = comparisons(study, found), baseline(study, found)
    if not made or base is None:
        return None
    return Section(
        name="comparisons",
        title="Comparisons",
        paragraphs=[_family(made, base, chosen(found)), *_limits(made, late_seeds(study, found))],
        figures=[drawn] if (drawn := figure_comparisons.draw(made, base, looks)) else [],
        tables=[_table(made)],
    )


def _family(made: Sequence[Comparison], base: str, settings: Mapping[str, Point]) -> str:
    """What is compared with what, and how its settings were chosen."""
    family = [each.name for each in made if not each.exploratory]
    names = ", ".join(family) or "none"
    return (
        f"Declared family of {len(family)}: {names}, each against {base} ({settings[base].setting}). Of each algorithm the setting is "
        f"{how(list(settings.values()))}, chosen without a look at the outcome; controls and oracles are outside. "
        f"Intervals: {label(_seeds(made))}."
    )


def _limits(made: Sequence[Comparison], late: Sequence[int]) -> list[str]:
    """What these tests cannot say: too few seeds, comparisons or seeds added after the plan."""
    said = []
    family = sum(not each.exploratory for each in made)
    if family and (smallest := smallest_p(_seeds(made), family)) > LEVEL:
        enough = next(seeds for seeds in range(2, 64) if smallest_p(seeds, family) <= LEVEL)
        count = "1 seed" if _seeds(made) == 1 else f"{_seeds(made)} seeds"
        leave = "which leave the training seed out" if _seeds(made) == 1 else "which hold the seeds' spread"
        said.append(
            f"Not testable: the smallest adjusted p that {count} can give for a family of {family} is {smallest:.2g}, above {LEVEL:g}. "
            f"{enough} seeds would allow a test. Until then no p is printed: read the intervals, {leave}."
        )
    if any(each.exploratory for each in made):
        said.append(
            "Exploratory comparisons were added after the plan of this study was saved; they stay outside the family and its tests."
        )
    if late:
        some = ", ".join(map(str, late))
        said.append(f"Seeds {some} were added after the plan was saved: if that was decided after a look at results, p is too small.")
    return said


def _table(made: Sequence[Comparison]) -> Grid:
    """One row per comparison, narrow enough for a phone: the seeds have a column where they differ, and else stand in the caption."""
    counts = {len(each.seeds) for each in made if each.seeds}
    differ = len(counts) > 1
    seeds = "" if differ or not counts else f", {max(counts)} seed{'s' * (counts != {1})}"
    heads = ("algorithm", "setting", *["seeds"] * differ, "difference, points", "adjusted p", "verdict")
    rising = NOT_RANKED if any(each.rising for each in made) else ""
    return Grid(heads, [_row(each, differ=differ) for each in made], f"{CAPTION}{rising} n = {_prompts(made)} prompts{seeds}.")


def _row(each: Comparison, *, differ: bool) -> list[str]:
    start = [each.name + NOT_CONVERGED * each.rising, each.setting, *[str(len(each.seeds) or "")] * differ]
    if each.difference is None:
        return [*start, "", "", each.reason]
    lower, upper = each.difference.lower, each.difference.upper
    bounds = "[no bounds]" if math.isnan(lower + upper) else f"[{100 * lower:+z.1f}, {100 * upper:+z.1f}]"
    detects = "" if each.detectable is None else f" detects {100 * each.detectable:.1f}"
    tested = each.verdict is not None and each.verdict.testable
    p = f"{each.verdict.adjusted:.2g} ({each.verdict.p:.2g} alone)" if tested and each.verdict else ""
    return [*start, f"{100 * each.difference.value:+z.1f} {bounds}{detects}", p, _verdict(each)]


def _verdict(each: Comparison) -> str:
    """One of: not ranked, exploratory, not testable, differs with its level, no difference shown."""
    if each.rising:
        return "not ranked"
    if each.exploratory or each.verdict is None:
        return "exploratory"
    if not each.verdict.testable:
        return "not testable"
    return f"differs, adjusted p <= {LEVEL:g}" if each.verdict.significant else "no difference shown"


def _seeds(made: Sequence[Comparison]) -> int:
    return min((len(each.seeds) for each in made if each.seeds), default=1)


def _prompts(made: Sequence[Comparison]) -> str:
    counts = sorted({each.difference.n for each in made if each.difference is not None})
    return " to ".join(map(str, dict.fromkeys([counts[0], counts[-1]]))) if counts else "0"
