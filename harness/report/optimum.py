"""The optimal frontiers of a study: estimated from the samples in its records, all seeds together."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Any, NamedTuple

import numpy as np

from harness.measure.frontier import Line, frontier, win_scores
from harness.measure.statistics import Array, Interval, prompt_interval
from harness.report.points import generator_for, interval_of
from harness.store.records import Reference, Row

WIN, GOLD = "win_sft", "gold"


class Spot(NamedTuple):
    """A point of an optimal frontier: KL in nats and the score there with intervals over prompts, and the effective sample size."""

    kl: Interval
    value: Interval
    ess: float


class Optimum(NamedTuple):
    """The optimal frontier of one axis. ``kl`` and ``value`` are (tilts, seeds, prompts), None where a record holds only ``spots``.

    ``samples`` counts what a prompt was estimated from; ``ended`` says that the line stopped for want of effective samples.
    """

    spots: Sequence[Spot]
    samples: int
    ended: bool
    kl: Array | None = None
    value: Array | None = None


def optima(references: Sequence[Reference]) -> Mapping[str, Optimum]:
    """The frontiers of win rate and of gold, by the axis that they bound; none where no record holds reference samples."""
    return _optima(tuple(references))


@lru_cache(maxsize=4)
def _optima(references: tuple[Reference, ...]) -> Mapping[str, Optimum]:
    seeds = [(reference.record, rows) for reference in references if (rows := frontier_rows(reference.samples()))]
    if len(seeds) < len(references) or not seeds or any(_prompts(rows) != _prompts(seeds[0][1]) for _, rows in seeds):
        return _recorded(references)
    judged = [str((record.get("judge") or {}).get("primary", GOLD)) for record, _ in seeds]
    wins = [frontier(win_scores(table(rows, primary))) for (_, rows), primary in zip(seeds, judged, strict=True)]
    found = {WIN: _joined(WIN, wins, len(seeds[0][1][0][GOLD]))}
    return found | {GOLD: _joined(GOLD, [frontier(table(rows, GOLD)) for _, rows in seeds], len(seeds[0][1][0][GOLD]))}


def frontier_rows(rows: Sequence[Row]) -> list[Row]:
    """The rows of the reference's samples, in order of the prompts; empty where a record holds none."""
    return sorted((row for row in rows if row.get("slice") == "frontier"), key=lambda row: int(row["prompt_id"]))


def table(rows: Sequence[Row], key: str) -> Array:
    """A column of the reference's samples, (prompts, samples)."""
    return np.array([row[key] for row in rows], dtype=np.float64)


def _prompts(rows: Sequence[Row]) -> list[int]:
    return [int(row["prompt_id"]) for row in rows]


def _joined(key: str, lines: Sequence[Line], samples: int) -> Optimum:
    """The seeds' lines as one, tilt by tilt (in standard deviations of the seed's own scores), as far as every seed's reaches."""
    tilts = min(len(line.kl) for line in lines)
    kl, value, ess = (np.stack([getattr(line, name)[:tilts] for line in lines], axis=1) for name in ("kl", "value", "ess"))
    spots = [
        Spot(over_prompts(kl[index], key, "kl"), over_prompts(value[index], key, "value"), float(ess[index].mean()))
        for index in range(tilts)
    ]
    return Optimum(spots, samples, any(line.ended for line in lines), kl, value)


def over_prompts(values: Array, *uses: str) -> Interval:
    """The mean of (seeds, prompts) with its interval over prompts, for these seeds."""
    return prompt_interval(values.mean(0), generator=generator_for("optimum", *uses), resamples=1000)


def _recorded(references: Sequence[Reference]) -> Mapping[str, Optimum]:
    """The gold frontier that an older record holds as points, of the first seed that has one."""
    none: list[dict[str, Any]] = []
    points = next((reference.record["frontier"] for reference in references if reference.record.get("frontier")), none)
    found = [(point, interval_of(point["kl"]), interval_of(point["gold"])) for point in points]
    spots = sorted(Spot(kl, gold, float(point["ess"])) for point, kl, gold in found if kl and gold)
    return {GOLD: Optimum(spots, int(points[0]["samples"]), any(point.get("ended") for point in points))} if spots else {}
