"""The first screen of the page: what was compared, at what compute, and what was found, claiming no more than the seeds support."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

from harness.measure.statistics import Interval, label
from harness.measure.statistics.significance import LEVEL
from harness.plural import plural
from harness.report import matching, tables
from harness.report.comparing import Comparison, baseline, chosen, comparisons
from harness.report.declared import how, settings
from harness.report.points import Loaded, Point, by_algorithm, every_point
from harness.report.tables import Line, Value

HALF = 0.5  # the win rate of the reference against itself
NOTHING = "Nothing was found: no cell finished."


class Glance(NamedTuple):
    """A small table: (heading, unit) of its columns of numbers, a line per algorithm, and its caption."""

    headings: list[tuple[str, str]]
    lines: list[Line]
    caption: str


class Overview(NamedTuple):
    """A sentence on what was compared, sentences on what was found, and one row per algorithm; None where none finished."""

    lead: str
    answers: list[str]
    table: Glance | None


def overview(study: Loaded, found: Sequence[Point]) -> Overview:
    """What a reader must know first, from the points of the largest budget."""
    if not found:
        return Overview("No cell finished.", [NOTHING], None)
    made, base = comparisons(study, found), baseline(study, found)
    answers = [*_above(found), _against(made, base, chosen(found)) if base else "No algorithm to compare with another finished."]
    return Overview(_lead(study, found), answers, _table(found, made, base))


def _lead(study: Loaded, found: Sequence[Point]) -> str:
    """What was compared on what, how many seeds and prompts, at what compute, by which judge."""
    head, groups = found[0].head, by_algorithm(found)
    kinds = [(sum(group[0].ranked for group in groups.values()), "algorithm")]
    kinds += [(sum(getattr(group[0], kind) for group in groups.values()), kind) for kind in ("control", "oracle")]
    who = " and ".join(plural(number, kind) for number, kind in kinds if number)
    judge = (head.get("judge") or {}).get("primary")
    return (
        f"{who} at {plural(len(found), 'setting')}, {plural(_seeds(found), 'seed')}, {_trained(found)}"
        f"{f'judged by {judge} on' if judge else 'judged on'} {_prompts(found)} prompts. {matching.matching(every_point(study))}"
    )


def _trained(found: Sequence[Point]) -> str:
    """For how long, from what: as far as the records say, for outcomes that were imported do not."""
    head, limit = found[0].head, found[0].limit
    spec, model = (head.get("budget") or {}).get("spec", "the same budget"), head.get("model") or {}
    spent = f"each trained for {limit:.3g} {matching.unit(found)} ({spec})" if limit else ""
    start = f"from its seed's SFT reference of {model.get('name', '?')}, {model.get('parameters', 0):,} parameters" if model else ""
    return " ".join(filter(None, (spent, start))) + "; " * bool(spent or start)


def _prompts(found: Sequence[Point]) -> str:
    counts = sorted({each.n for point in found if (each := _outcome(point)) is not None})
    return " to ".join(map(str, dict.fromkeys([counts[0], counts[-1]]))) if counts else "0"


def _outcome(point: Point) -> Interval | None:
    return point.get("win_sft") or point.get("win_reference")


def _above(found: Sequence[Point]) -> list[str]:
    """Who beats the SFT reference at one setting each, by the whole interval; nothing where no win rate against it was measured."""
    rates = {point.algorithm: each for point in settings(found).values() if (each := point.get("win_sft")) is not None}
    if not rates:
        return []
    above = [name for name, each in rates.items() if each.lower > HALF]
    below = [name for name, each in rates.items() if each.upper < HALF]
    open_ = [name for name in rates if name not in above and name not in below]
    said = "; ".join(f"{what}: {', '.join(names)}" for names, what in ((above, "above"), (below, "below"), (open_, "undecided")) if names)
    return [f"Win rate against samples of the SFT reference, the whole interval on one side of one half ({label(_seeds(found))}): {said}."]


def _seeds(found: Sequence[Point]) -> int:
    return min((len(point.cells) for point in found), default=1)


def _against(made: Sequence[Comparison], base: str, settings: dict[str, Point]) -> str:
    """What the declared comparisons with the baseline show: those tested and significant, else why nothing is ranked."""
    if not made:
        return "One algorithm finished: there is none to rank it against."
    tested = [each for each in made if each.verdict and each.verdict.testable and not each.rising and not each.exploratory]
    shown = [f"{each.name} {_points(each.difference)} points" for each in tested if each.verdict and each.verdict.significant]
    if shown:
        return f"Differ from {base} in win rate (adjusted p <= {LEVEL:g}): {'; '.join(shown)}. See Comparisons."
    rising = [each.name for each in made if each.rising and each.verdict and each.verdict.testable and not each.exploratory]
    held = f" Not ranked, as it or {base} has not converged: {', '.join(rising)}." if rising else ""
    if tested:
        none = f"No algorithm is shown to differ from {base} in win rate ({len(tested)} tested); see Comparisons for what could be seen."
        return none + held
    if rising:
        return f"Among the algorithms nothing is ranked.{held}"
    off = [f"{each.name} {_points(each.difference)}" for each in made if _decided(each)]
    leaning = f"Intervals of differences from {base} that leave out 0, neither tested nor adjusted: {'; '.join(off)} points." if off else ""
    none = f"No difference from {base} has an interval that leaves out 0."
    return f"Among the algorithms nothing is ranked: {plural(_least(made), 'seed')} cannot decide a test. {leaning or none}"


def _least(made: Sequence[Comparison]) -> int:
    return min((len(each.seeds) for each in made if each.seeds), default=1)


def _decided(each: Comparison) -> bool:
    found = each.difference
    return found is not None and not each.rising and (found.lower > 0 or found.upper < 0)


def _points(found: Interval | None) -> str:
    """A difference of shares in percentage points with its bounds."""
    if found is None:
        return ""
    bounds = "[no bounds]" if math.isnan(found.lower + found.upper) else f"[{100 * found.lower:+z.1f}, {100 * found.upper:+z.1f}]"
    return f"{100 * found.value:+z.1f} {bounds}"


def _table(found: Sequence[Point], made: Sequence[Comparison], base: str | None) -> Glance:
    """One setting per algorithm, the one that is compared: win rate, difference from the baseline, gold, KL; in order of names."""
    gaps, gold = {each.name: each for each in made}, any(point.get("gold") for point in found)
    lines = []
    for name, point in settings(found).items():
        values = [tables.value(point.get("win_sft"), 2), _gap(gaps.get(name), base=name == base, ranked=point.ranked)]
        values += [tables.value(point.get("gold"), 2)] if gold else []
        lines.append(Line(point.title, point.setting, str(len(point.cells)), [*values, tables.value(point.get("kl"), 2)], []))
    heads = [("win rate", "vs SFT"), (f"less {base}" if base else "difference", "points"), *[("gold", "reward")] * gold, ("KL", "nats")]
    caption = f"One setting per algorithm, {how(found)}, chosen without a look at the outcome; in order of name, not of merit. "
    return Glance(heads, lines, f"{caption}95 % intervals, n = {_prompts(found)} prompts.")


def _gap(found: Comparison | None, *, base: bool, ranked: bool) -> Value:
    """The difference from the baseline in points, or why there is none."""
    if found is None or found.difference is None:
        return Value("", reason="baseline" if base else "no pair" if ranked else "not ranked")
    number, _, bounds = _points(found.difference).partition(" ")
    return Value(number, bounds)
