"""The page's room on judges: where each comes from, what it shares with what was trained, and what holds under every one of them."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from itertools import combinations
from typing import Any

from harness.measure import lineage
from harness.measure.statistics import Interval, two_way_interval
from harness.plural import plural
from harness.report.comparing import chosen, paired
from harness.report.declared import how
from harness.report.points import NOT_CONVERGED, Loaded, Point, by_algorithm, resampler
from harness.report.section import Grid, Looks, Section

ROLES = {"pairs": "labels of the training pairs", "sft": "the SFT reference", "proxy": "proxy, a meter only"}
ABOVE, BELOW, UNDECIDED = "above 0", "below 0", "undecided"
UNDECIDED_ALL = f"{UNDECIDED} under all"


def section(study: Loaded, found: Sequence[Point], looks: Looks) -> Section | None:
    """Lineages, errors and caveats, and each pair of algorithms under every judge; None where no record declares its judge."""
    judge = next((cell.record["judge"] for cell in study.cells if (cell.record.get("judge") or {}).get("lineage")), None)
    if judge is None:
        return None
    pairs = list(_agreement(found, judge))
    return Section(
        "judges",
        "Judges",
        paragraphs=[*_second(judge), *_summary(pairs, judge)],
        tables=[*_lineages(judge), *_pairwise(pairs, judge, how(list(chosen(found).values())))],
        cautions=cautions(found, judge),
    )


def cautions(found: Sequence[Point], judge: Mapping[str, Any]) -> list[str]:
    """One sentence per thing that the judge shares with what algorithms trained on, and whom it concerns."""
    own = lineage.read(judge["lineage"].get(judge["primary"]))
    shared: dict[str, list[str]] = {}
    for name, group in by_algorithm([point for point in found if point.ranked]).items():
        trained = lineage.read(group[0].head.get("reward"))
        for phrase in lineage.caveats(own, trained) if own and trained else ():
            shared.setdefault(phrase, []).append(name)
    advice = "a second judge is recorded beside it, see Judges" if judge.get("others") else "ask a second judge before believing it"
    return [
        f"The judge {judge['primary']} and what {', '.join(names)} learned from share {phrase}: {advice}."
        for phrase, names in shared.items()
    ]


def _second(judge: Mapping[str, Any]) -> Iterator[str]:
    others = ", ".join(judge.get("others") or ())
    asked = f"The same responses were also judged by {others}." if others else "No second judge was asked."
    yield f"{judge['primary']} decides every win rate on this page. {asked}"


def _lineages(judge: Mapping[str, Any]) -> Iterator[Grid]:
    roles = {judge["primary"]: "judge, decides", **dict.fromkeys(judge.get("others") or (), "judge, second opinion"), **ROLES}
    rows = []
    for name, recorded in judge["lineage"].items():
        origin = lineage.read(recorded) or lineage.Lineage()
        texts = (origin.weights, origin.start, ", ".join(origin.data), origin.labeller)
        rows.append((name, roles.get(name, ""), *(text or "none" for text in texts)))
    yield Grid(
        ("name", "role", "weights or rule", "trained from", "trained on", "labelled by"), rows, "Where judges and labels come from.", 9
    )


def _agreement(found: Sequence[Point], judge: Mapping[str, Any]) -> Iterator[tuple[str, list[Interval | None]]]:
    """Every two ranked algorithms, one setting each, with the difference of their win rates under each judge, the deciding one first.

    The names of those that have not converged are marked.
    """
    keys = ["win_sft", *(f"win_sft_{name}" for name in judge.get("others") or ())]
    for first, second in combinations(chosen(found).values(), 2):
        named = f"{first.title} {first.knob} - {second.title} {second.knob}"
        yield named, [difference(first, second, key) for key in keys]


def difference(first: Point, second: Point, key: str) -> Interval | None:
    """The difference of a metric between two points, paired by seed and prompt, or None where they share no seeds and prompts."""
    _, table = paired(first, second, key)
    if table is None:
        return None
    return two_way_interval(table, generator=resampler())


def side(found: Interval | None) -> str:
    """On which side of 0 the whole interval lies."""
    if found is None or math.isnan(found.lower + found.upper):
        return UNDECIDED
    return ABOVE if found.lower > 0 else BELOW if found.upper < 0 else UNDECIDED


def verdict(differences: Sequence[Interval | None]) -> str:
    """Whether the judges agree about one pair of algorithms, by where their intervals lie."""
    sides = [side(each) for each in differences]
    if set(sides) == {UNDECIDED}:
        return UNDECIDED_ALL
    if len(set(sides)) == 1:
        return f"{sides[0]} under all"
    return "reversed" if {ABOVE, BELOW} <= set(sides) else "only under some"


def _summary(pairs: Sequence[tuple[str, list[Interval | None]]], judge: Mapping[str, Any]) -> Iterator[str]:
    if not judge.get("others") or not pairs:
        return
    said = [verdict(differences) for named, differences in pairs if NOT_CONVERGED not in named]
    unfinished = len(pairs) - len(said)
    left = f" Not converged and not counted: {unfinished}." * bool(unfinished)
    if not said:
        yield f"No pair of algorithms is compared under the judges.{left}"
        return
    yield f"{plural(len(said), 'pair')} of algorithms at one setting each. {_told(said)} An interval speaks of its own seeds alone.{left}"


def _told(said: Sequence[str]) -> str:
    """Of how many pairs an interval leaves out 0 under some judge, and what becomes of these under the others."""
    decided = [each for each in said if each != UNDECIDED_ALL]
    if not decided:
        return "Under no judge does the interval of a difference leave out 0: none tells two algorithms apart."
    holding, only, turned = (
        sum(each.endswith("0 under all") for each in decided),
        decided.count("only under some"),
        decided.count("reversed"),
    )
    return (
        f"Interval of the difference without 0 under at least one judge: {len(decided)}; of these on one side of 0 under all judges: "
        f"{holding}, under some only: {only}, reversed: {turned}."
    )


def _pairwise(pairs: Sequence[tuple[str, list[Interval | None]]], judge: Mapping[str, Any], settings: str) -> Iterator[Grid]:
    if not judge.get("others") or not pairs:
        return
    names = [judge["primary"], *judge["others"]]
    rows = [(named, *map(_text, differences), _conclusion(named, differences)) for named, differences in pairs]
    caption = f"Difference of win rate against SFT, paired by seed and prompt, under each judge; one setting each, {settings}. "
    caption += (
        "Intervals: 95 %, over the prompts and, where there are several, the seeds that both have; not adjusted for how many there are."
    )
    yield Grid(("pair", *names, "conclusion"), rows, caption, 9)


def _conclusion(named: str, differences: Sequence[Interval | None]) -> str:
    return "not converged: not ranked" if NOT_CONVERGED in named else verdict(differences)


def _text(found: Interval | None) -> str:
    if found is None:
        return "not paired: other seeds or prompts"
    bounds = "no bounds" if math.isnan(found.lower + found.upper) else f"{found.lower:+.3f}, {found.upper:+.3f}"
    return f"{found.value:+.3f} [{bounds}] n={found.n}"
