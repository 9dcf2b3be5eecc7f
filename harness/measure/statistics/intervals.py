"""Intervals: the prompt bootstrap of one training run, paired differences, and the two-way bootstrap over seeds and prompts.

Pure functions on arrays. The unit of a claim about an algorithm is the training seed; a prompt interval says how well one trained
model was measured, and its label says that the seed is not in it. Percentile intervals (Efron 1979); the two-way bootstrap is the
pigeonhole bootstrap (Owen 2007, arXiv 0712.1111), which is conservative for the interaction of seeds and prompts.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from harness.measure.statistics import resampling
from harness.measure.statistics.resampling import (
    Array,
    draws,
    percentiles,
    prompt_means_resampled,
    resampled,
    seed_factor,
    two_way_replicates,
)


class Interval(NamedTuple):
    """An estimate with its confidence bounds. ``n`` counts prompts. The bounds are NaN where one observation allows none."""

    value: float
    lower: float
    upper: float
    n: int


def label(seeds: int, level: float = 0.95) -> str:
    """What an interval over this many seeds is called in print."""
    percent = f"{100 * level:g} %"
    if seeds < 2:
        return f"{percent} prompt bootstrap, seed not included"
    return f"{percent} two-way bootstrap over {seeds} seeds and the prompts"


def prompt_means(values: ArrayLike, clusters: ArrayLike | None = None) -> Array:
    """One mean per prompt, (prompts,), in order of the cluster labels; without labels every value is a prompt of its own.

    Raises:
        ValueError: nothing given, a NaN or infinity among the values, or labels of another length.
    """
    array = np.asarray(values, dtype=np.float64)
    if array.ndim != 1 or not len(array):
        raise ValueError(f"values must be one-dimensional and not empty; got shape {array.shape}")
    if not np.isfinite(array).all():
        raise ValueError(f"{int((~np.isfinite(array)).sum())} of {len(array)} values are not finite")
    if clusters is None:
        return array
    names = np.asarray(clusters)
    if names.shape != array.shape:
        raise ValueError(f"clusters have shape {names.shape}, values {array.shape}")
    _, position = np.unique(names, return_inverse=True)
    means: Array = np.bincount(position, weights=array) / np.bincount(position)
    return means


def prompt_interval(
    values: ArrayLike, *, clusters: ArrayLike | None = None, generator: np.random.Generator, resamples: int = 2000, level: float = 0.95
) -> Interval:
    """The mean over prompts of the mean over a prompt's samples, with its percentile bootstrap interval over prompts.

    ``values`` is (samples,), ``clusters`` the prompt of each. One prompt gives no bounds (NaN). Equal values give an interval of
    width 0, which says that the sample shows no spread, not that there is none.
    """
    means = prompt_means(values, clusters)
    if len(means) == 1:
        return Interval(float(means[0]), np.nan, np.nan, 1)
    lower, upper = percentiles(_resampled_means(means, generator, resamples), level)
    return Interval(float(means.mean()), lower, upper, len(means))


def prompt_intervals(
    columns: Sequence[ArrayLike], *, generator: np.random.Generator, resamples: int = 2000, level: float = 0.95
) -> list[Interval]:
    """``prompt_interval`` of several columns of the same prompts, (prompts,) each, from one draw of prompts for all of them."""
    means = np.array([prompt_means(column) for column in columns]).T
    if len(means) == 1:
        return [Interval(float(value), np.nan, np.nan, 1) for value in means[0]]
    centres = means.mean(0)
    spread = prompt_means_resampled(means - centres, generator, resamples)  # around 0, so that equal values keep a width of exactly 0
    bounds = [percentiles(centre + column, level) for centre, column in zip(centres, spread.T, strict=True)]
    return [Interval(float(centre), *bound, len(means)) for centre, bound in zip(centres, bounds, strict=True)]


def paired_difference(
    a: ArrayLike,
    b: ArrayLike,
    *,
    clusters: ArrayLike | None = None,
    generator: np.random.Generator,
    resamples: int = 2000,
    level: float = 0.95,
) -> Interval:
    """The mean of ``a - b`` over prompts with its prompt interval; the rows of both are the same prompts in the same order."""
    first, second = np.asarray(a, dtype=np.float64), np.asarray(b, dtype=np.float64)
    if first.shape != second.shape:
        raise ValueError(f"a paired difference needs the same prompts on both sides; got shapes {first.shape} and {second.shape}")
    return prompt_interval(first - second, clusters=clusters, generator=generator, resamples=resamples, level=level)


def two_way_interval(values: ArrayLike, *, generator: np.random.Generator, resamples: int = 2000, level: float = 0.95) -> Interval:
    """The grand mean of ``values`` (seeds, prompts) with its pigeonhole bootstrap interval; one seed gives the prompt interval.

    Seeds and prompts are resampled independently. A replicate's deviation from the mean splits into the part of the seeds, that of
    the prompts and their interaction; the seeds' part is multiplied by sqrt(S / (S - 1)), the bias of the bootstrap variance of S
    values, and by t(S - 1) / z, because so few seeds say little of their own spread. One prompt gives no bounds.
    """
    table = _table(values)
    if table.shape[0] == 1 and table.shape[1] > 1:  # the prompt interval, by weights that a report draws once
        return bounded(float(table.mean()), resampling.weights(table.shape[1], generator, resamples) @ table[0], table.shape[1], level)
    if len(table) == 1:
        return prompt_interval(table[0], generator=generator, resamples=resamples, level=level)
    return two_way_intervals(table[None], generator=generator, resamples=resamples, level=level)[0]


def two_way_intervals(tables: ArrayLike, *, generator: np.random.Generator, resamples: int = 2000, level: float = 0.95) -> list[Interval]:
    """``two_way_interval`` of each of ``tables`` (tables, seeds, prompts), all from the same resamples: many tables at the price of few."""
    stack = _stack(tables)
    means, replicates = stack.mean((1, 2)), two_way_replicates(stack, generator, resamples, level)
    return [bounded(float(mean), row, stack.shape[2], level) for mean, row in zip(means, replicates, strict=True)]


def paired_two_way(a: ArrayLike, b: ArrayLike, *, generator: np.random.Generator, resamples: int = 2000, level: float = 0.95) -> Interval:
    """The grand mean of ``a - b``, both (seeds, prompts) with the same seeds and prompts in the same order, with its two-way interval."""
    first, second = _table(a), _table(b)
    if first.shape != second.shape:
        raise ValueError(f"a paired difference needs the same seeds and prompts on both sides; got {first.shape} and {second.shape}")
    return two_way_interval(first - second, generator=generator, resamples=resamples, level=level)


def replicated(
    tables: ArrayLike,
    statistic: Callable[..., Array],
    *,
    generator: np.random.Generator,
    resamples: int = 2000,
    level: float = 0.95,
) -> Interval:
    """``statistic`` of the grand means of several tables, (tables, seeds, prompts), with its two-way interval.

    The tables hold the same seeds and prompts in the same order, and one resample weighs all of them alike, so a ratio, an area or a
    difference keeps what its parts share. ``statistic`` takes one array of means per table, all of one shape, and returns that shape:
    it is called with whole arrays of resamples, so it must be made of numpy operations. A replicate is
    ``T(both resampled) + (f - 1) (T(seeds resampled) - T)`` with the seeds' factor f of ``two_way_interval``, which it equals for a
    mean. Replicates that are not finite (a ratio over 0) are left out; where more than 1 in 20 are not, there are no bounds (NaN).
    """
    return replicated_all(tables, lambda *means: statistic(*means)[None], generator=generator, resamples=resamples, level=level)[0]


def replicated_all(
    tables: ArrayLike,
    statistics: Callable[..., Array],
    *,
    generator: np.random.Generator,
    resamples: int = 2000,
    level: float = 0.95,
) -> list[Interval]:
    """``replicated`` for many statistics of the same tables at the price of one draw: they come as rows, (statistics, resamples)."""
    values, rows = replicates(tables, statistics, generator=generator, resamples=resamples, level=level)
    prompts = np.shape(tables[0])[1]  # type: ignore[index]
    return [bounded(float(value), row, prompts, level) for value, row in zip(values, rows, strict=True)]


def replicates(
    tables: ArrayLike,
    statistics: Callable[..., Array],
    *,
    generator: np.random.Generator,
    resamples: int = 2000,
    level: float = 0.95,
) -> tuple[Array, Array]:
    """The statistics (statistics,) and their two-way replicates (statistics, resamples), as ``replicated_all`` bounds them.

    For what jumps, such as where a curve first passes a level or is highest: read it off these replicates of the curve. The seeds'
    factor is made for what varies smoothly; multiplied onto a place it would give places that nobody measured.
    """
    stack = _stack(tables)
    values = statistics(*stack.mean((1, 2))[:, None])
    factor = seed_factor(stack.shape[1], level)
    found = [
        statistics(*both) + (factor - 1) * ((statistics(*seeds) if factor > 1 else values) - values)
        for both, seeds in (resampled(stack, *drawn) for drawn in draws(stack.shape[1:], generator, resamples))
    ]
    return values[:, 0], np.concatenate(found, axis=1)


def reweighted(
    statistic: Callable[[Array], Array],
    shape: tuple[int, int],
    *,
    generator: np.random.Generator,
    resamples: int = 200,
    level: float = 0.95,
) -> Interval:
    """``statistic`` of weights (seeds, prompts) with its two-way interval: for what is fitted, not averaged, such as a regression.

    It is given many weights at once, (draws, seeds, prompts), and returns (draws,). Weights are the products of how often a seed and a
    prompt were drawn, 1 everywhere for the value itself; replicates as in ``replicated``.
    """
    seeds, prompts = shape
    factor = seed_factor(seeds, level)
    value, found = float(statistic(np.ones((1, seeds, prompts)))[0]), []
    for seed_weights, prompt_weights in draws(shape, generator, resamples):
        often = seed_weights * seeds
        moved = statistic(often[:, :, None] * (prompt_weights * prompts)[:, None, :])
        if seeds > 1:
            distinct, place = np.unique(often, axis=0, return_inverse=True)  # few seeds are drawn in few ways
            alone = statistic(np.repeat(distinct[:, :, None], prompts, 2))[place.ravel()]
            moved = moved + (factor - 1) * (alone - value)
        found.append(moved)
    return bounded(value, np.concatenate(found), prompts, level)


def _table(values: ArrayLike) -> Array:
    table = np.asarray(values, dtype=np.float64)
    if table.ndim != 2 or not table.size or not np.isfinite(table).all():
        raise ValueError(f"values must be a finite table of (seeds, prompts); got shape {table.shape}{_not_finite(table)}")
    return table


def _stack(tables: ArrayLike | Sequence[ArrayLike]) -> Array:
    shapes = {np.shape(table) for table in tables}  # type: ignore[union-attr]
    if len(shapes) != 1:
        raise ValueError(f"tables of the same seeds and prompts are wanted; got shapes {sorted(shapes)}")
    stack = np.asarray(tables, dtype=np.float64)
    if stack.ndim != 3 or not stack.size or not np.isfinite(stack).all():
        raise ValueError(f"finite tables of (seeds, prompts) are wanted; got shape {stack.shape[1:]}{_not_finite(stack)}")
    return stack


def _not_finite(array: Array) -> str:
    broken = int((~np.isfinite(array)).sum())
    return f" with {broken} of {array.size} values not finite" if broken else ""


def bounded(value: float, replicates: Array, n: int, level: float) -> Interval:
    """Percentile bounds; none for one prompt, nor where over 1 in 20 replicates are not finite."""
    kept = replicates[np.isfinite(replicates)]
    if n == 1 or len(kept) < 0.95 * len(replicates) or not np.isfinite(value):
        return Interval(value, np.nan, np.nan, n)
    return Interval(value, *percentiles(kept, level), n)


def _resampled_means(values: Array, generator: np.random.Generator, resamples: int) -> Array:
    """Means of ``resamples`` bootstrap samples, (resamples,), drawn in blocks that bound the memory."""
    rows = max(1, resampling.BLOCK // len(values))
    parts = [
        values[generator.integers(0, len(values), size=(min(rows, resamples - start), len(values)))].mean(1)
        for start in range(0, resamples, rows)
    ]
    return np.concatenate(parts)
