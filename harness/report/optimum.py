"""The optimal frontiers of a study: estimated from the samples in its records, all seeds together."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Any, NamedTuple

import numpy as np

from harness.measure.frontier import Line, frontier, mixture_ratios, win_scores
from harness.measure.statistics import Array, Interval, two_way_intervals
from harness.report.points import interval_of, resampler
from harness.store.records import Cell, Reference, Row

WIN, GOLD = "win_sft", "gold"


class Spot(NamedTuple):
    """A point of an optimal frontier: KL in nats and the score there with intervals over prompts, and the effective sample size."""

    kl: Interval
    value: Interval
    ess: float


class Optimum(NamedTuple):
    """The optimal frontier of one axis. ``kl`` and ``value`` are (tilts, seeds, prompts), None where a record holds only ``spots``.

    ``seeds`` and ``prompts`` are the ids along their axes.

    ``samples`` of the reference and ``others`` of ``policies`` are what a prompt was estimated from; ``ended`` says that the line
    stopped for want of effective samples.
    """

    spots: Sequence[Spot]
    samples: int
    ended: bool
    kl: Array | None = None
    value: Array | None = None
    others: int = 0
    policies: int = 0
    seeds: tuple[int, ...] = ()
    prompts: tuple[int, ...] = ()
    exact: bool = False  # of every response there is, each with its probability: ``samples`` of them


class _Seed(NamedTuple):
    """What one seed's frontiers are estimated from: rows of the reference's samples, and of the policies' where there are any."""

    seed: int
    judge: str
    rows: Sequence[Row]
    counts: Sequence[int]
    others: Sequence[Row]
    exact: bool = False


def optima(references: Sequence[Reference], mixtures: Sequence[Cell] = ()) -> Mapping[str, Optimum]:
    """The frontiers of win rate and of gold, by the axis that they bound; none where no record holds reference samples."""
    return _optima(tuple(references), tuple(mixtures))


@lru_cache(maxsize=4)
def _optima(references: tuple[Reference, ...], mixtures: tuple[Cell, ...]) -> Mapping[str, Optimum]:
    seeds = [_seed(reference, mixtures) for reference in references]
    if not seeds or any(not each.rows or _prompts(each.rows) != _prompts(seeds[0].rows) for each in seeds):
        return _recorded(references)
    if all(each.exact for each in seeds):
        return {WIN: _exact(seeds, "win"), GOLD: _exact(seeds, GOLD)}
    wins = [frontier(win_scores(table(each.rows, each.judge), _others(each, each.judge)), _ratios(each)) for each in seeds]
    return {WIN: _joined(wins, seeds), GOLD: _joined([frontier(_pooled(each, GOLD), _ratios(each)) for each in seeds], seeds)}


def _exact(seeds: Sequence[_Seed], key: str) -> Optimum:
    """The frontier of a score of every response: tilts of the reference's own probabilities, as sharp as any that is tried."""
    lines = [frontier(table(each.rows, key), table(each.rows, "probability"), smallest_ess=0.0) for each in seeds]
    return _joined(lines, seeds)._replace(exact=True)


def _seed(reference: Reference, mixtures: Sequence[Cell]) -> _Seed:
    """The samples of a seed; a mixture that failed, was skipped or saw other prompts adds nothing."""
    rows, seed = frontier_rows(reference.samples()), int(reference.record.get("seed", 0))
    if every := frontier_rows(reference.samples(), "responses"):
        return _Seed(seed, GOLD, every, (), (), exact=True)
    judge = str((reference.record.get("judge") or {}).get("primary", GOLD))
    for mixture in mixtures:
        record = mixture.record
        if record.get("seed") == reference.record.get("seed") and record.get("status") == "finished" and record.get("counts"):
            others = frontier_rows(mixture.samples(), "frontier-mixture")
            if rows and _prompts(others) == _prompts(rows) and len(rows[0][GOLD]) == record["counts"][0]:
                return _Seed(seed, judge, rows, record["counts"], others)
    return _Seed(seed, judge, rows, (), ())


def _others(seed: _Seed, key: str) -> Array | None:
    return table(seed.others, key) if seed.others else None


def _pooled(seed: _Seed, key: str) -> Array:
    return np.hstack([table(seed.rows, key), table(seed.others, key)]) if seed.others else table(seed.rows, key)


def _ratios(seed: _Seed) -> Array | None:
    return mixture_ratios(table(seed.others, "log_ratios").transpose(1, 0, 2), seed.counts) if seed.others else None


def frontier_rows(rows: Sequence[Row], name: str = "frontier") -> list[Row]:
    """The rows of the reference's samples (or of another slice) in order of the prompts; empty where a record holds none."""
    return sorted((row for row in rows if row.get("slice") == name), key=lambda row: int(row["prompt_id"]))


def table(rows: Sequence[Row], key: str) -> Array:
    """A column of the rows, one line per prompt."""
    return np.array([row[key] for row in rows], dtype=np.float64)


def _prompts(rows: Sequence[Row]) -> list[int]:
    return [int(row["prompt_id"]) for row in rows]


def _joined(lines: Sequence[Line], seeds: Sequence[_Seed]) -> Optimum:
    """The seeds' lines as one, tilt by tilt (in standard deviations of the seed's own scores), as far as every seed's reaches.

    Intervals are over the prompts, for these seeds.
    """
    tilts = min(len(line.kl) for line in lines)
    kl, value, ess = (np.stack([getattr(line, name)[:tilts] for line in lines], axis=1) for name in ("kl", "value", "ess"))
    bounds = [two_way_intervals(each.mean(1)[:, None], generator=resampler(), resamples=1000) for each in (kl, value)]
    spots = [Spot(x, y, float(size.mean())) for x, y, size in zip(*bounds, ess, strict=True)]
    counts = min((each.counts for each in seeds), key=len) or [len(seeds[0].rows[0][GOLD])]
    axes = tuple(each.seed for each in seeds), tuple(_prompts(seeds[0].rows))
    return Optimum(spots, counts[0], any(line.ended for line in lines), kl, value, sum(counts[1:]), len(counts) - 1, *axes)


def _recorded(references: Sequence[Reference]) -> Mapping[str, Optimum]:
    """The gold frontier that an older record holds as points, of the first seed that has one."""
    none: list[dict[str, Any]] = []
    points = next((reference.record["frontier"] for reference in references if reference.record.get("frontier")), none)
    found = [(point, interval_of(point["kl"]), interval_of(point["gold"])) for point in points]
    spots = sorted(Spot(kl, gold, float(point["ess"])) for point, kl, gold in found if kl and gold)
    return {GOLD: Optimum(spots, int(points[0]["samples"]), any(point.get("ended") for point in points))} if spots else {}
