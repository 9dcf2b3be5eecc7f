"""Several tasks at once: inter-quartile mean and probability of improvement (Agarwal et al. 2021, arXiv 2108.13264), stratified by task."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import ArrayLike

from harness.measure.statistics.intervals import Interval
from harness.measure.statistics.resampling import Array, percentiles


def interquartile_mean(
    scores: Sequence[ArrayLike], *, generator: np.random.Generator, resamples: int = 2000, level: float = 0.95
) -> Interval:
    """The mean of the middle half of all runs of all tasks, each task's scores (seeds,), with its stratified bootstrap interval.

    A quarter of the runs, rounded down, is left out at either end (``scipy.stats.trim_mean``). Scores of tasks must be on one scale.
    Bounds are NaN where every task has a single run. n counts runs.
    """
    runs = [_runs(task) for task in scores]

    def value(drawn: list[Array]) -> Array:
        together = np.sort(np.concatenate(drawn, axis=1), axis=1)
        cut = together.shape[1] // 4
        middle: Array = together[:, cut : together.shape[1] - cut].mean(1)
        return middle

    return _stratified(runs, value, generator, resamples, level)


def probability_of_improvement(
    a: Sequence[ArrayLike], b: Sequence[ArrayLike], *, generator: np.random.Generator, resamples: int = 2000, level: float = 0.95
) -> Interval:
    """The mean over tasks of P(a run of ``a`` scores above a run of ``b``), ties 1/2, with its stratified bootstrap interval.

    Both hold one array of runs per task, in the same order of tasks; the numbers of runs may differ. n counts runs of both.
    """
    if len(a) != len(b):
        raise ValueError(f"both sides need the same tasks; got {len(a)} and {len(b)}")
    runs = [_runs(task) for task in (*a, *b)]

    def value(drawn: list[Array]) -> Array:
        pairs = zip(drawn[: len(a)], drawn[len(a) :], strict=True)
        shares: Array = np.mean([_above(x, y) for x, y in pairs], axis=0)
        return shares

    return _stratified(runs, value, generator, resamples, level)


def _above(x: Array, y: Array) -> Array:
    """P(X > Y) + P(X = Y) / 2 over all pairs of runs, (resamples,)."""
    sign: Array = np.sign(x[:, :, None] - y[:, None, :])
    share: Array = 0.5 + sign.mean((1, 2)) / 2
    return share


def _runs(task: ArrayLike) -> Array:
    array = np.asarray(task, dtype=np.float64)
    if array.ndim != 1 or not len(array) or not np.isfinite(array).all():
        raise ValueError(f"finite scores (seeds,) are wanted for every task; got {array.tolist()}")
    return array


def _stratified(
    runs: Sequence[Array], value: Callable[[list[Array]], Array], generator: np.random.Generator, resamples: int, level: float
) -> Interval:
    """The statistic of all runs, and percentiles of it with runs resampled within each task."""
    if not runs:
        raise ValueError("at least one task is wanted")
    found, n = float(value([task[None] for task in runs])[0]), sum(map(len, runs))
    if all(len(task) == 1 for task in runs):
        return Interval(found, np.nan, np.nan, n)
    drawn = [task[generator.integers(0, len(task), size=(resamples, len(task)))] for task in runs]
    return Interval(found, *percentiles(value(drawn), level), n)
