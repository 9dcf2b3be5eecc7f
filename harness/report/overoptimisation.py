"""The numbers of over-optimisation: best-of-n from the reference's samples, and each algorithm's proxy, gold and KL along its runs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np

from harness.measure.best_of_n import best_of_n, best_win, kl_bound
from harness.measure.overoptimisation import Fit, Form, coefficients, distinct, gao_fit, interpolated, peak
from harness.measure.statistics import Array, Interval, replicated_all, two_way_interval
from harness.report.measurements import Measured, measurements
from harness.report.optimum import GOLD, frontier_rows, table
from harness.report.points import Point, by_algorithm, resampler
from harness.store.records import Reference

SIZES = (1, 2, 3, 4, 6, 8, 12, 16, 24, 32, 48, 64)
AT = (0.5, 1.0, 2.0, 4.0)
RANKINGS = (GOLD, "proxy")


class Scale(NamedTuple):
    """The reference's samples: tables by name, each (seeds, prompts, samples), and the spread of each within a prompt."""

    tables: Mapping[str, Array]

    def centre(self, name: str) -> Array:
        """The mean of each prompt's samples, (seeds, prompts)."""
        return np.asarray(self.tables[name].mean(2))

    def spread(self, name: str) -> float:
        """The standard deviation within a prompt, pooled over seeds and prompts."""
        return float(np.sqrt(self.tables[name].var(2, ddof=1).mean()))


class Best(NamedTuple):
    """Best-of-n by one ranking: its bound on KL, and gold, proxy and win rate with intervals; no win rate where n takes all samples."""

    ranking: str
    n: int
    kl: float
    gold: Interval
    proxy: Interval
    win: Interval | None


class Spot(NamedTuple):
    """A measurement of an algorithm: KL, and the gains of proxy and gold over the reference in the reference's standard deviations."""

    point: Point
    mark: float | None
    kl: float
    proxy: float
    gold: float


class Course(NamedTuple):
    """An algorithm along KL: its measurements, proxy minus gold at fixed KLs, where gold peaks, its drop from there, and its fit."""

    spots: Sequence[Spot]
    gaps: Mapping[float, Interval]
    peak: Interval
    drop: Interval
    fit: Fit | str
    a: Interval | None
    b: Interval | None


def scale(references: Sequence[Reference]) -> Scale | None:
    """The scores of the reference's samples over all seeds; None where a record holds none, or no proxy."""
    rows = [frontier_rows(reference.samples()) for reference in references]
    if not rows or any(not each or len(each) != len(rows[0]) or not {*RANKINGS} <= set(each[0]) for each in rows):
        return None
    return Scale({name: np.array([table(each, name) for each in rows]) for name in RANKINGS})


def best(found: Scale) -> list[Best]:
    """Best-of-n for every ranking and every n that the samples allow."""
    samples = found.tables[GOLD].shape[2]
    return [_best(found, ranking, n) for ranking in RANKINGS for n in SIZES if n <= samples]


def _best(found: Scale, ranking: str, n: int) -> Best:
    by, gold, samples = found.tables[ranking], found.tables[GOLD], found.tables[GOLD].shape[2]

    def interval(name: str, values: Sequence[Array]) -> Interval:
        return two_way_interval(np.array(values), generator=resampler(), resamples=1000)

    gold_mean, proxy_mean = (
        interval(name, [best_of_n(a, b, n) for a, b in zip(by, found.tables[name], strict=True)]) for name in (GOLD, "proxy")
    )
    win = interval("win", [best_win(a, b, n) for a, b in zip(by, gold, strict=True)]) if n < samples else None
    return Best(ranking, n, kl_bound(n), gold_mean, proxy_mean, win)


def best_fit(found: Sequence[Best], start: float) -> Fit | str:
    """The form of best-of-n on gold's gain over the reference, or why there is none."""
    try:
        return gao_fit([each.kl for each in found], [each.gold.value - start for each in found], "best-of-n")
    except ValueError as error:
        return str(error)


def courses(points: Sequence[Point], found: Scale) -> dict[str, Course]:
    """Every algorithm that has measurements with KL, proxy and gold on the reference's prompts and seeds."""
    made = {}
    for name, group in by_algorithm(points).items():
        measured = [each for each in measurements(group, ("kl", "proxy", GOLD)) if each.seen.shape == found.centre(GOLD).shape]
        if len(measured) > 1:
            made[name] = _course(name, measured, found)
    return made


def _course(name: str, group: Sequence[Measured], found: Scale) -> Course:
    gains = [_standard(each, found) for each in group]
    count, prompts = len(group), found.centre(GOLD).shape[1]
    masks = [each.seen * (np.arange(prompts) % 2 == side) for side in (0, 1) for each in group]
    tables = [row[key] * mask for key in range(3) for row, mask in zip([*gains, *gains], masks, strict=True)] + masks
    form: Form = "rl"

    def every(*means: Array) -> Array:
        kl, proxy, gold, seen = np.array(means).reshape(4, 2, count, -1)
        x, halves = kl.sum(0) / seen.sum(0), gold / seen
        gap = (proxy - gold).sum(0) / seen.sum(0)
        both = [peak(x, *halves[list(order)]) for order in ((0, 1), (1, 0))]
        a, b = coefficients(x, gold.sum(0) / seen.sum(0) * found.spread(GOLD), form)
        where, drop = (np.mean(pair, axis=0) for pair in zip(*both, strict=True))
        return np.array([where, drop, a, b, *(interpolated(x, gap, kl) for kl in AT)])

    where, drop, a, b, *gaps = replicated_all(tables, every, generator=resampler(), resamples=1000)
    spots = [_spot(each, gain) for each, gain in zip(group, gains, strict=True)]
    fit = _fit(spots, found.spread(GOLD), form)
    fitted = not isinstance(fit, str)
    where = where._replace(lower=max(where.lower, min(s.kl for s in spots)), upper=min(where.upper, max(s.kl for s in spots)))
    known = {kl: gap for kl, gap in zip(AT, gaps, strict=True) if np.isfinite(gap.value)}
    return Course(spots, known, where, drop, fit, a if fitted else None, b if fitted else None)


def _standard(each: Measured, found: Scale) -> Array:
    """KL, and proxy and gold as gains over the prompt's reference in standard deviations, (3, seeds, prompts)."""
    kl, proxy, gold = each.values
    gains = [(values - found.centre(name)) / found.spread(name) for name, values in (("proxy", proxy), (GOLD, gold))]
    return np.array([kl, *gains]) * each.seen


def _spot(each: Measured, gains: Array) -> Spot:
    kl, proxy, gold = (float(row.sum() / each.seen.sum()) for row in gains)
    return Spot(each.point, each.mark, kl, proxy, gold)


def _fit(spots: Sequence[Spot], unit: float, form: Form) -> Fit | str:
    kl = [spot.kl for spot in spots]
    try:
        return gao_fit(kl, [spot.gold * unit for spot in spots], form)
    except ValueError:
        return f"{distinct(kl)} distinct KL values from 0.1 nats on; a fit needs 8"
