"""The page's room on frontiers: scores of each algorithm's envelope on both axes, efficiency, pairs, and the compute that a value takes."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from harness.measure.statistics import Interval
from harness.report import findings, tables
from harness.report.optimum import GOLD, WIN, Optimum, optima
from harness.report.points import NOT_CONVERGED, Loaded, Point, by_algorithm, every_point
from harness.report.reach import LEVELS, Reach, Reached, reach
from harness.report.scores import AT, Board, Scores, board, efficiency, scores
from harness.report.section import Grid, Looks, Section

KL_RANGE = 3.0  # where a record of an older version declares none
TITLES = {WIN: "win rate", GOLD: "gold"}
DIGITS = {WIN: 3, GOLD: 2}
ALONE = "Only algorithms that are told what the judge knows finished: they are measured against the optimum and scored against nobody."


def section(study: Loaded, found: Sequence[Point], looks: Looks) -> Section | None:
    """Scores of finished runs against KL; None where no two runs can be put on one board."""
    top = float(study.experiment.get("kl_range") or KL_RANGE)
    boards = _boards([point for point in found if not point.hollow], study)
    everyone = _boards(found, study)
    if not everyone:
        return None
    shares = _efficiency(everyone, optima(study.references, study.frontiers))
    if not boards:
        return Section("frontier-scores", "Scores over the frontier", paragraphs=[ALONE, *_lines(study)], tables=[shares])
    scored = {key: scores(each, top) for key, each in boards.items()}
    measured = [point for point in every_point(study) if not point.hollow]
    reached = reach(measured)
    return Section(
        "frontier-scores",
        "Scores over the frontier",
        paragraphs=[_meaning(top, scored), *_orders(boards, scored), *_left_out(boards, reached), *_lines(study)],
        tables=[
            *(_scores(boards[key], scored[key], top) for key in boards),
            _pairs(boards, scored),
            shares,
            _reach(reached, _titles(measured)),
        ],
    )


def _boards(found: Sequence[Point], study: Loaded) -> dict[str, Board]:
    """The runs that can be scored, by axis; empty where there are none."""
    return {key: made for key in (WIN, GOLD) if (made := board(found, study.references, key)) is not None}


def _meaning(top: float, scored: Mapping[str, Scores]) -> str:
    points = next(iter(scored.values())).points
    return (
        f"An algorithm's envelope E(k) is the best value among its finished runs with KL at most k, and the reference's own at KL 0. "
        f"Its points are chosen on the even prompts and scored on the odd ones, and the other way round, and the two are averaged, so that "
        f"no score profits from having been chosen by it; {points} {'points' if points != 1 else 'point'} per algorithm, spread along KL "
        f"where it has more. The score is the mean of E over KL 0 to {top:g}, the range that the task declares; beyond its last point an "
        f"envelope is counted flat and marked so. Marks of unfinished runs, and algorithms that are told what the judge knows, stay out; "
        f"the latter are held against the optimum below."
    )


def _orders(boards: Mapping[str, Board], scored: Mapping[str, Scores]) -> list[str]:
    """Where the population optima lie, and whether the two axes order pairs differently: only converged ones that the seeds decide."""
    said = [_optima(next(iter(boards.values())))]
    if len(scored) < 2 or not scored[WIN].pairs:
        return said
    if boards[WIN].start.shape[0] < 2:
        return [*said, "Whether the two axes order algorithms alike is not said: that takes two seeds or more."]
    rising = {point.algorithm for each in boards.values() for point in each.points if point.rising}
    pairs = {pair: (scored[WIN].pairs[pair][0], scored[GOLD].pairs[pair][0]) for pair in scored[WIN].pairs if pair in scored[GOLD].pairs}
    asked = {pair: found for pair, found in pairs.items() if not rising & {*pair}}
    sure = {pair: found for pair, found in asked.items() if all(_decided(each) for each in found)}
    if pairs and not asked:
        return [*said, f"Whether the two axes order algorithms alike is not said: of {len(pairs)} pairs none has converged."]
    turned = ", ".join(f"{a} and {b}" for (a, b), (win, gold) in sure.items() if win.value * gold.value < 0)
    less = f", {len(pairs) - len(asked)} more left out as not converged" if len(asked) < len(pairs) else ""
    return [
        *said,
        f"Pairs of algorithms: {len(asked)}{less}; {len(sure)} {'has' if len(sure) == 1 else 'have'} the intervals of both differences "
        f"(win rate and gold) off 0; in opposite orders on the two axes: {turned or 'none'}.",
    ]


def _titles(points: Sequence[Point]) -> dict[str, str]:
    """Each algorithm's name, marked where one of its settings has not converged."""
    return {name: name + NOT_CONVERGED * any(point.rising for point in group) for name, group in by_algorithm(points).items()}


def _decided(found: Interval) -> bool:
    return found.lower > 0 or found.upper < 0


def _optima(found: Board) -> str:
    """Which frontier each algorithm's loss would lead to with infinitely many pairs, as its file declares."""
    kinds: dict[str, list[str]] = {}
    for name, group in by_algorithm(found.points).items():
        kinds.setdefault(str(group[0].head["algorithm"].get("optimum") or "none known"), []).append(name)
    each = "; ".join(f"{kind}: {', '.join(names)}" for kind, names in kinds.items())
    return f"Population optimum as each algorithm declares it (which tilt of the reference its loss has as its minimum): {each}."


def _left_out(boards: Mapping[str, Board], reached: Reach) -> list[str]:
    names = dict.fromkeys(name for each in boards.values() for name in each.left_out)
    said = [f"Not scored, for want of a seed or of prompts that the others have: {', '.join(names)}."] if names else []
    return [*said, f"No part in the compute that a win rate takes: {'; '.join(reached.left_out)}."] if reached.left_out else said


def _lines(study: Loaded) -> list[str]:
    """Why the optimal frontiers of a seed have no policies among their proposals, each reason once."""
    said: dict[str, list[str]] = {}
    for each in study.frontiers:
        failure = (each.record.get("failure") or {}).get("message")
        if why := f"failed: {failure}" if failure else each.record.get("skipped"):
            said.setdefault(str(why), []).append(str(each.record.get("seed", 0)))
    return [f"Optimal frontiers, seed {', '.join(seeds)}: {why}." for why, seeds in said.items()]


def _scores(found: Board, made: Scores, top: float) -> Grid:
    """One row per algorithm: mean of the envelope, where it is flat, the envelope at fixed KL, the dominated share."""
    name, digits, titles = TITLES[found.key], DIGITS[found.key], _titles(found.points)
    rows = []
    for algorithm, area in made.area.items():
        first, end = made.ends[algorithm]
        at = [_at(made.at.get((algorithm, kl)), kl, first, end, digits) for kl in AT]
        flat = f"flat from {end:.2f}" if end < top else ""
        rows.append([titles[algorithm], number(area, digits), flat, *at, number(made.dominated.get(algorithm), 2, "no rival")])
    heads = ["algorithm", f"mean {name}, KL 0 to {top:g}", "last point", *(f"{name} at KL {kl:g}" for kl in AT), "dominated share"]
    caption = f"Envelopes of {name} against KL, {findings.interval_line(found.points)} Below its first point an envelope is the "
    caption += "reference's own value. Dominated share: of an algorithm's points, those for which another's has no more KL and no less "
    return Grid(heads, rows, caption + f"{name}. n={found.start.shape[1]} prompts.", 1)


def _at(value: Interval | None, kl: float, first: float, end: float, digits: int) -> str:
    """The envelope at a KL; where no point has so little, that is the reference's own value and no measurement of the algorithm."""
    if value is not None:
        return number(value, digits)
    return f"(KL begins at {first:.2f})" if kl < first else f"(KL ends at {end:.2f})"


def _pairs(boards: Mapping[str, Board], scored: Mapping[str, Scores]) -> Grid:
    """Differences of two envelopes' means over the range that both reach."""
    titles = _titles([point for each in boards.values() for point in each.points])
    rows = []
    for pair in dict.fromkeys(pair for made in scored.values() for pair in made.pairs):
        found = {key: made.pairs[pair] for key, made in scored.items() if pair in made.pairs}
        ranges = {f"0 to {end:.2f}": TITLES[key] for key, (_, end) in found.items()}
        said = next(iter(ranges)) if len(ranges) == 1 else ", ".join(f"{each} ({name})" for each, name in ranges.items())
        values = [number(found[key][0], DIGITS[key]) if key in found else "(not scored)" for key in scored]
        rows.append([f"{titles[pair[0]]} - {titles[pair[1]]}", said, *values])
    first = next(iter(boards.values()))
    caption = "Differences of mean envelopes, pair by pair, over the range of KL that both algorithms reach; not tests, and not adjusted "
    caption += f"for how many there are. {findings.interval_line(first.points)} n={first.start.shape[1]} prompts."
    return Grid(["pair", "KL range", *(TITLES[key] for key in scored)], rows, caption, 2)


def _efficiency(boards: Mapping[str, Board], lines: Mapping[str, Optimum]) -> Grid:
    """Gain over the reference divided by the optimal gain at the same KL, point by point."""
    shares = {key: efficiency(each, lines.get(key)) for key, each in boards.items()}
    rows = []
    for point in dict.fromkeys(point for each in boards.values() for point in each.points):
        cells = [each.get(point, "not scored") for each in shares.values()]
        kl = point.get("kl")
        values = [number(cell, 2, "") if isinstance(cell, Interval) else f"({cell})" for cell in cells]
        rows.append([point.title, point.setting, number(kl, 2), *values])
    caption = "Efficiency: gain over the reference divided by the gain of the optimal frontier of that axis at the same KL; 1 is the best "
    caption += "that any policy can do. Above 1 only by chance. Empty beyond the line that was estimated: it is not extrapolated. "
    first = next(iter(boards.values()))
    if any(isinstance(share, Interval) and math.isnan(share.lower + share.upper) for each in shares.values() for share in each.values()):
        caption += "No bounds where the KL of more than 1 in 20 resamples lies beyond the line. "
    caption += f"{findings.interval_line(first.points)} n={first.start.shape[1]} prompts."
    return Grid(["algorithm", "setting", "KL", *(f"of {TITLES[key]}" for key in shares)], rows, caption, 2)


def _reach(found: Reach, titles: Mapping[str, str]) -> Grid:
    """Charged FLOPs at the first measurement that has a win rate."""
    rows = [[titles[name], *(_flops(each[level]) for level in LEVELS)] for name, each in found.levels.items()]
    caption = "Charged canonical FLOPs at the first measurement, over all settings and budgets, with at least this win rate against SFT "
    caption += "samples. A mark is a point of one annealed run, whose learning rate was not yet low: a run with that budget may do better. "
    prompts = max((each.flops.n for levels in found.levels.values() for each in levels.values()), default=0)
    caption += (
        "A bound is open (never) where so many resamples have the win rate nowhere. 95 % intervals are over the seeds and prompts seen, "
    )
    caption += (
        f"n={prompts} prompts at an end and fewer at a mark. Nothing was measured before the first mark: a number there, or a bound, "
    )
    caption += "is at most what it takes."
    return Grid(["algorithm", *(f"win rate {level:g}" for level in LEVELS)], rows, caption, 1)


def _flops(found: Reached) -> str:
    flops, beyond = found.flops, f"not reached in {100 * (1 - found.share):.3g} % of resamples" if found.share < 1 else ""
    if not math.isfinite(flops.value):
        bounds = f" [{flops.lower:.2e}, never]" if math.isfinite(flops.lower) else ""
        return f"(not reached; highest {found.highest:.2f}){bounds}{f' {beyond}' if found.share else ''}"
    where = f"{found.setting}, {'end of its budget' if found.mark is None else f'mark {found.mark:g}'}"
    bounds = f"{flops.lower:.2e}, {'never' if math.isinf(flops.upper) else f'{flops.upper:.2e}'}"
    return f"{flops.value:.2e} [{bounds}] ({'; '.join(filter(None, (where, beyond)))})"


def number(found: Interval | None, digits: int, reason: str = "") -> str:
    """A number with its bounds in one text; an absent one says why in brackets."""
    made = tables.value(found, digits, reason)
    return f"{made.text} {made.bounds}".strip() if made.text else f"({made.reason})" if made.reason else ""
