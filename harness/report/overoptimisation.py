"""The numbers of over-optimisation: best-of-n from the reference's samples, and each algorithm's proxy, gold and KL along its runs."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

import numpy as np

from harness.measure.best_of_n import best_of_n, best_win, kl_bound
from harness.measure.overoptimisation import Fit, Form, coefficients, distinct, drops, gao_fit, interpolated
from harness.measure.statistics import Array, Interval, replicated, replicated_all, replicates, two_way_intervals
from harness.plural import plural
from harness.report.measurements import Measured, measurements
from harness.report.optimum import GOLD, frontier_rows, table
from harness.report.points import Point, by_algorithm, resampler
from harness.store.records import Reference

SIZES = (1, 2, 3, 4, 6, 8, 12, 16, 24, 32, 48, 64)
AT = (0.5, 1.0, 2.0, 4.0)
RANKINGS = (GOLD, "proxy")


class Scale(NamedTuple):
    """The reference's samples: tables by name, each (seeds, prompts, samples), the ids of both, and the spread of each within a prompt."""

    tables: Mapping[str, Array]
    seeds: tuple[int, ...]
    prompts: tuple[int, ...]

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
    """An algorithm along KL: its measurements, proxy minus gold at fixed KLs, where gold peaks, its drop from there, and its fit.

    ``peak`` is the KL of the measurement with the most gold, its interval that of the resamples' highest measurements; ``drop`` is read
    where it was not chosen (``drops``), so it may be below 0 and need not start from that very measurement.
    """

    spots: Sequence[Spot]
    gaps: Mapping[float, Interval]
    peak: Interval
    drop: Interval
    fit: Fit | str
    a: Interval | None
    b: Interval | None


class Courses(NamedTuple):
    """The courses by algorithm, and what has no part in them, each with its reason."""

    by_name: Mapping[str, Course]
    left_out: Sequence[str]


def scale(references: Sequence[Reference]) -> Scale | None:
    """The scores of the reference's samples over all seeds, on the prompts that all have; None where a record holds none, or no proxy."""
    rows = [{int(row["prompt_id"]): row for row in frontier_rows(reference.samples())} for reference in references]
    prompts = sorted(set.intersection(*map(set, rows))) if rows else []
    if not prompts or any(not {*RANKINGS} <= set(each[prompts[0]]) for each in rows):
        return None
    tables = {name: np.array([table([each[prompt] for prompt in prompts], name) for each in rows]) for name in RANKINGS}
    return Scale(tables, tuple(int(reference.record.get("seed", 0)) for reference in references), tuple(prompts))


def best(found: Scale) -> list[Best]:
    """Best-of-n for every ranking and every n that the samples allow."""
    samples = found.tables[GOLD].shape[2]
    sizes = [n for n in SIZES if n <= samples]
    return [each for ranking in RANKINGS for each in _best(found, ranking, sizes, [n for n in sizes if n < samples])]


def _best(found: Scale, ranking: str, sizes: Sequence[int], opposed: Sequence[int]) -> list[Best]:
    """One ranking at every size; wins at those that leave an opponent."""
    by = found.tables[ranking]

    def intervals(name: str, number: Callable[[Array, Array, Sequence[int]], Array], of: Sequence[int]) -> list[Interval]:
        tables = np.stack([number(a, b, of) for a, b in zip(by, found.tables[name], strict=True)], axis=1)
        return two_way_intervals(tables, generator=resampler(), resamples=1000)

    gold, proxy = (intervals(name, best_of_n, sizes) for name in (GOLD, "proxy"))
    wins = dict(zip(opposed, intervals(GOLD, best_win, opposed), strict=True))
    return [Best(ranking, n, kl_bound(n), a, b, wins.get(n)) for n, a, b in zip(sizes, gold, proxy, strict=True)]


def best_fit(found: Sequence[Best], start: float) -> Fit | str:
    """The form of best-of-n on gold's gain over the reference, or why there is none."""
    try:
        return gao_fit([each.kl for each in found], [each.gold.value - start for each in found], "reranking")
    except ValueError as error:
        return str(error)


def courses(points: Sequence[Point], found: Scale) -> Courses:
    """Every algorithm with two or more measurements of KL, proxy and gold, on the seeds and prompts that the reference's samples have."""
    made, left_out = {}, []
    for name, group in by_algorithm(points).items():
        measured = measurements(group, ("kl", "proxy", GOLD))
        seeds = [seed for seed in measured.seeds if seed in found.seeds]
        prompts = sorted({*measured.prompts} & {*found.prompts})
        left_out += [*measured.left_out, *(f"{name}'s seed {seed} (no reference samples)" for seed in measured.seeds if seed not in seeds)]
        kept = measured.only(seeds, prompts) if seeds and len(prompts) > 1 else []
        if len(kept) > 1:
            made[name] = _course(kept, [_standard(each, found, seeds, prompts) for each in kept], found.spread(GOLD))
        elif measured.found:
            left_out.append(f"{name} ({plural(len(kept), 'measurement')} on the reference's seeds and prompts)")
    return Courses(made, left_out)


def _course(group: Sequence[Measured], gains: Sequence[Array], unit: float) -> Course:
    tables, seen = [row[key] for key in range(3) for row in gains], [each.seen for each in group]
    form: Form = "rl"

    def every(*means: Array) -> Array:
        kl, proxy, gold, known = np.array(means).reshape(4, len(group), -1)
        x, gap = kl / known, (proxy - gold) / known
        return np.array([*coefficients(x, gold / known * unit, form), *(interpolated(x, gap, at) for at in AT)])

    a, b, *gaps = replicated_all([*tables, *seen], every, generator=resampler(), resamples=1000)
    spots = [_spot(each, gain) for each, gain in zip(group, gains, strict=True)]
    fit = _fit(spots, unit, form)
    fitted = not isinstance(fit, str)
    known = {kl: gap for kl, gap in zip(AT, gaps, strict=True) if np.isfinite(gap.value)}
    where, drop = _peak(spots, tables[2 * len(group) :], seen)
    return Course(spots, known, where, drop, fit, a if fitted else None, b if fitted else None)


def _peak(spots: Sequence[Spot], gold: Sequence[Array], seen: Sequence[Array]) -> tuple[Interval, Interval]:
    """Where gold is highest, and its drop from there to the largest KL.

    The seeds' spread is widened in gold, and each resample then asked for its highest measurement: a place cannot be multiplied.
    """
    kl, prompts = np.array([spot.kl for spot in spots]), seen[0].shape[1]

    def curve(*means: Array) -> Array:
        return np.asarray(np.array(means[: len(spots)]) / np.array(means[len(spots) :]))

    values, resamples = replicates([*gold, *seen], curve, generator=resampler(), resamples=1000)
    lower, upper = np.quantile(kl[resamples.argmax(0)], [0.025, 0.975], method="inverted_cdf")
    fallen = drops(kl, gold, seen)
    drop = replicated(fallen, lambda total, known: total / known, generator=resampler(), resamples=1000)
    return Interval(float(kl[values.argmax()]), float(lower), float(upper), prompts), drop


def _standard(each: Measured, found: Scale, seeds: Sequence[int], prompts: Sequence[int]) -> Array:
    """KL, and proxy and gold as gains over the prompt's reference in standard deviations, (3, seeds, prompts)."""
    cut = np.ix_(np.array([found.seeds.index(seed) for seed in seeds]), np.searchsorted(found.prompts, prompts))
    kl, proxy, gold = each.values
    gains = [(values - found.centre(name)[cut]) / found.spread(name) for name, values in (("proxy", proxy), (GOLD, gold))]
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
