"""The page's room on judging again: whether other judges and detectors, asked about the same stored texts, say the same."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import combinations
from typing import NamedTuple

import numpy as np

from harness.measure.statistics import Interval, label, two_way_interval
from harness.plural import plural
from harness.report import silence
from harness.report.comparing import chosen
from harness.report.declared import how
from harness.report.points import Loaded, Point, resampler, within
from harness.report.rejudged import LEAST, MOST, RECORDED, Again, Detected, Quality, detected, detectors, judges, quality, tables
from harness.report.section import Grid, Looks, Section
from harness.report.section_judges import UNDECIDED, side
from harness.store.records import Cell

HOLDS, REVERSED, UNSUPPORTED, NOT_RANKED = "holds", "reversed", "not supported", "not converged: not ranked"
MEANING = (
    "Stored samples were judged again, without the policies that gave them: on every prompt a run's response and the first SFT sample "
    "that it met, one comparison for each prompt, so that only the judge differs. Recorded outcomes are of the same single comparisons, "
    "which is why they are not those of the tables above. Cohen's kappa is the agreement beyond chance: 0 is chance, 1 always."
)


class Pair(NamedTuple):
    """The difference of two algorithms under the recorded judge and under another, on the same comparisons."""

    name: str
    seeds: int
    recorded: Interval | None
    again: Interval | None
    conclusion: str


def section(study: Loaded, found: Sequence[Point], looks: Looks) -> Section | None:
    """Agreement, win rates and the order of algorithms under every later judge, and later detectors; None where there are none."""
    asked, read = judges(study), detectors(study)
    if not asked and not read:
        return None
    primary = next((str(each) for cell in study.cells if (each := (cell.record.get("judge") or {}).get("primary"))), "the recorded judge")
    pairs = {each.key: list(_pairs(each, found)) for each in asked}
    grids = [_agreement(asked, study, primary), *(_rates(each, found, primary) for each in asked)] if asked else []
    grids += [_order(each, pairs[each.key], primary, how(list(chosen(found).values()))) for each in asked if pairs[each.key]]
    return Section(
        "again",
        "Judged again",
        paragraphs=[*[MEANING] * bool(asked), *(_said(each, pairs[each.key]) for each in asked if pairs[each.key])],
        tables=[*grids, *(_detector(each, found, study) for each in read)],
        cautions=[said for each in asked if (said := _turned(each, pairs[each.key], primary))],
    )


def _agreement(asked: Sequence[Again], study: Loaded, primary: str) -> Grid:
    rows, heard = [], any("usage" in again.facts for again in asked)  # a judge by score has always a verdict
    for again in asked:
        found = quality(again, study)
        start = [again.name, f"{found.records} of {found.of}"]
        if found.agreement is None or found.ties is None:
            none = "no verdict at all" if found.comparisons else "no prompt that every seed has"
            rows.append([*start, *_silences(found) * heard, none, *[""] * 6])
            continue
        share, kappa, count = found.agreement
        numbers = [_text(share), _text(kappa, "one answer always: nothing to agree about"), *map(_text, found.ties)]
        place = ["cannot matter: asked once"] * 2 if found.consistency is None else [_text(found.consistency), _text(found.position)]
        rows.append([*start, *_silences(found) * heard, f"{count:,}", *numbers, *place])
    headings = [
        "judge",
        "records",
        *["without a verdict"] * heard,
        "comparisons",
        f"agrees with {primary}",
        "Cohen's kappa",
        f"ties, {primary}",
        "ties, this judge",
    ]
    headings += ["same verdict both ways round", "prefers the first place by"]
    caption = f"Later judges held against {primary} on the same comparisons, of the runs that every seed has and the references. "
    caption += f"{label(_seeds(asked))}; n counts prompts. A verdict that turns with the order of the responses is a tie."
    return Grid(headings, rows, caption + silence.LEFT_OUT * heard, numeric=2)


def _silences(found: Quality) -> list[str]:
    """How many comparisons got no verdict, of how many, and their share."""
    return [f"{found.silences:,} of {found.comparisons:,}: {_text(found.silent)}" if found.comparisons else ""]


def _rates(again: Again, found: Sequence[Point], primary: str) -> Grid:
    """Every point's win rate under both judges."""
    rows, silent = [], False
    for point in found:
        known = tables(again, [point])
        if known is None:
            rows.append([point.title, point.setting, "0", "not judged", "", ""])
            continue
        seeds, stack = known
        old, least, most = (stack[0, ..., answer] for answer in (RECORDED, LEAST, MOST))
        silent |= bool((least < most).any())
        each = [within("win_", found) for found in (silence.between(old, old), silence.between(least, most))]
        change = silence.between(least - old, most - old)
        rows.append([point.title, point.setting, str(len(seeds)), *map(_text, each), _text(change, signed=True)])
    caption = f"Win rate against one SFT sample for each prompt, as recorded and judged again by {again.name}. {label(_seeds([again]))}."
    caption += silence.MEANING * silent
    return Grid(["algorithm", "setting", "seeds", *_headings(again, primary), "change"], rows, caption, numeric=3)


def _headings(again: Again, primary: str) -> tuple[str, str]:
    return f"{primary}, as recorded", f"{again.name}, again"


def _pairs(again: Again, found: Sequence[Point]) -> Iterator[Pair]:
    """Every two ranked algorithms at one setting each, under both judges."""
    for first, second in combinations(chosen(found).values(), 2):
        name = f"{first.title} {first.knob} - {second.title} {second.knob}"
        known = tables(again, [first, second])
        if known is None:
            yield Pair(name, 0, None, None, f"{UNSUPPORTED}: not judged at a seed in common")
            continue
        seeds, stack = known
        one, other = stack
        old = two_way_interval(one[..., RECORDED] - other[..., RECORDED], generator=resampler())
        new = silence.between(one[..., LEAST] - other[..., MOST], one[..., MOST] - other[..., LEAST])
        unranked = first.rising or second.rising
        yield Pair(name, len(seeds), old, new, NOT_RANKED if unranked else conclusion(old, new, len(seeds)))


def conclusion(recorded: Interval, again: Interval, seeds: int) -> str:
    """Whether the order of two algorithms survives another judge: only where both intervals, over several seeds, lie off 0."""
    if seeds < 2:
        return f"{UNSUPPORTED}: 1 seed"
    sides = (side(recorded), side(again))
    if UNDECIDED in sides:
        where = "both intervals hold" if sides[0] == sides[1] else f"the {'recorded' if sides[0] == UNDECIDED else 'new'} interval holds"
        return f"{UNSUPPORTED}: {where} 0"
    return HOLDS if sides[0] == sides[1] else REVERSED


def _order(again: Again, pairs: Sequence[Pair], primary: str, settings: str) -> Grid:
    rows = [[p.name, str(p.seeds), _text(p.recorded, signed=True), _text(p.again, signed=True), p.conclusion] for p in pairs]
    caption = f"Difference of win rate on the same comparisons, paired by seed and prompt, as recorded and judged again by {again.name}; "
    caption += f"one setting each, {settings}. 95 % intervals, not adjusted for how many there are."
    return Grid(["pair", "seeds", *_headings(again, primary), "order"], rows, caption, numeric=2)


def _said(again: Again, pairs: Sequence[Pair]) -> str:
    """How many of the pairs keep their order under this judge."""
    ranked = [pair.conclusion for pair in pairs if pair.conclusion != NOT_RANKED]
    unsupported = sum(each.startswith(UNSUPPORTED) for each in ranked)
    left = f" Not converged and not counted: {len(pairs) - len(ranked)}." * (len(ranked) < len(pairs))
    return (
        f"{again.name}: {plural(len(ranked), 'pair')} of algorithms at one setting each. Order that holds under both judges: "
        f"{ranked.count(HOLDS)}; reversed: {ranked.count(REVERSED)}; not supported by the seeds and prompts under one of them: "
        f"{unsupported}.{left}"
    )


def _turned(again: Again, pairs: Sequence[Pair], primary: str) -> str:
    """The caveat about pairs whose order this judge turns round; empty where there are none."""
    names = [pair.name for pair in pairs if pair.conclusion == REVERSED]
    return f"Judged again by {again.name}, the order under {primary} is reversed for {', '.join(names)}: see Judged again." if names else ""


def _detector(again: Again, found: Sequence[Point], study: Loaded) -> Grid:
    """What one detector found in the responses to one suite."""
    finds, suite = again.facts.get("finds"), again.facts.get("suite")
    rows = [_row(point, each) for point in found if (each := detected(again, point, study)) is not None]
    caption = f"Responses to {suite} prompts, one sample each, read again by {again.name}: share of {finds}, and its change against the "
    caption += f"SFT reference of the same seed, paired by prompt. Agreement is with the recorded category. {label(_seeds([again]))}."
    headings = ["algorithm", "setting", "seeds", f"share of {finds}", "change", "verdict", "agrees with the record", "Cohen's kappa"]
    return Grid(headings, rows, caption, numeric=3)


def _row(point: Point, each: Detected) -> list[str]:
    change, agreed = each.change, each.agreement
    decided = "; ".join(filter(None, (change.name, change.note))) if change else "no reference was read"
    said = decided or "neither direction is worse"
    kept = ["", ""] if agreed is None else [_text(agreed.share), _text(agreed.kappa, "one answer always")]
    start = [point.title, point.setting, str(len(point.cells)), _text(within("win_", each.share))]
    return [*start, _text(None if change is None else change.change, signed=True), said, *kept]


def _seeds(asked: Sequence[Again]) -> int:
    """The fewest seeds that a judge saw."""
    return min((len({_seed(cell) for cell in again.runs}) for again in asked), default=1)


def _seed(cell: Cell) -> int:
    return int(cell.record.get("seed", 0))


def _text(found: Interval | None, reason: str = "", *, signed: bool = False) -> str:
    """A number with its interval and n, or the reason for its absence."""
    if found is None:
        return reason
    bounds = "no bounds" if np.isnan(found.lower + found.upper) else f"{found.lower:{'+' * signed}.3f}, {found.upper:{'+' * signed}.3f}"
    return f"{found.value:{'+' * signed}.3f} [{bounds}] n={found.n}"
