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

HEADINGS = ("algorithm", "setting", "seeds", "difference, points", "95 % interval", "p", "adjusted p", "detectable, points", "verdict")
CAPTION = (
    "Win rate against the SFT reference, algorithm less baseline, paired by seed and prompt, in percentage points. p: two-sided "
    "sign-flip test over seeds; adjusted: Holm over the family. Detectable: the true difference that this study would tell from 0 in "
    "80 % of repetitions; a smaller one was not looked for."
)


def section(study: Loaded, found: Sequence[Point], looks: Looks) -> Section | None:
    """The room, or None where fewer than two algorithms can be compared."""
    made, base = comparisons(study, found), baseline(study, found)
    if not made or base is None:
        return None
    rows = [_row(each) for each in made]
    return Section(
        name="comparisons",
        title="Comparisons",
        paragraphs=[_family(made, base, chosen(found)), *_limits(made, late_seeds(study, found))],
        figures=[drawn] if (drawn := figure_comparisons.draw(made, base, looks)) else [],
        tables=[Grid(HEADINGS, rows, f"{CAPTION} n = {_prompts(made)} prompts.")],
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


def _row(each: Comparison) -> list[str]:
    seeds = str(len(each.seeds)) if each.seeds else ""
    if each.difference is None:
        return [each.name, each.setting, seeds, "", "", "", "", "", each.reason]
    lower, upper = each.difference.lower, each.difference.upper
    bounds = "[no bounds]" if math.isnan(lower + upper) else f"[{100 * lower:+z.1f}, {100 * upper:+z.1f}]"
    tested = each.verdict is not None and each.verdict.testable
    p, adjusted = (f"{each.verdict.p:.2g}", f"{each.verdict.adjusted:.2g}") if tested and each.verdict else ("", "")
    detectable = "" if each.detectable is None else f"{100 * each.detectable:.1f}"
    name = each.name + NOT_CONVERGED * each.rising
    return [name, each.setting, seeds, f"{100 * each.difference.value:+z.1f}", bounds, p, adjusted, detectable, _verdict(each)]


def _verdict(each: Comparison) -> str:
    """One of: not converged, exploratory, not testable with the smallest p, significant, not significant."""
    if each.rising:
        return "not converged, it or the baseline: not ranked"
    if each.exploratory or each.verdict is None:
        return "exploratory"
    if not each.verdict.testable:
        return f"not testable (smallest adjusted p {each.verdict.smallest:.2g})"
    return f"differs, adjusted p <= {LEVEL:g}" if each.verdict.significant else "no difference shown"


def _seeds(made: Sequence[Comparison]) -> int:
    return min((len(each.seeds) for each in made if each.seeds), default=1)


def _prompts(made: Sequence[Comparison]) -> str:
    counts = sorted({each.difference.n for each in made if each.difference is not None})
    return " to ".join(map(str, dict.fromkeys([counts[0], counts[-1]]))) if counts else "0"
