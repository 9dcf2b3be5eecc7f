"""Intervals: the prompt bootstrap of one training run, paired differences, and the two-way bootstrap over seeds and prompts.

Pure functions on arrays. The unit of a claim about an algorithm is the training seed; a prompt interval says how well one trained
model was measured, and its label says that the seed is not in it. Percentile intervals (Efron 1979); the two-way bootstrap is the
pigeonhole bootstrap (Owen 2007, arXiv 0712.1111), which is conservative for the interaction of seeds and prompts.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

Array = NDArray[np.float64]

BLOCK = 4_000_000  # numbers drawn at once: 32 MB


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
    lower, upper = _percentiles(_resampled_means(means, generator, resamples), level)
    return Interval(float(means.mean()), lower, upper, len(means))


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
    values, and below 5 seeds also by t(S - 1) / z, because so few seeds say little of their own spread.
    """
    table = np.asarray(values, dtype=np.float64)
    if table.ndim != 2 or not table.size or not np.isfinite(table).all():
        raise ValueError(f"values must be a finite table of (seeds, prompts); got shape {table.shape}")
    seeds, prompts = table.shape
    if seeds == 1:
        return prompt_interval(table[0], generator=generator, resamples=resamples, level=level)
    mean = table.mean()
    seed_part, prompt_part = table.mean(1) - mean, table.mean(0) - mean
    interaction = table - mean - seed_part[:, None] - prompt_part[None, :]
    seed_weights, prompt_weights = _weights(seeds, generator, resamples), _weights(prompts, generator, resamples)
    crossed = np.einsum("bs,bs->b", seed_weights, prompt_weights @ interaction.T)
    replicates = mean + _seed_factor(seeds, level) * (seed_weights @ seed_part) + prompt_weights @ prompt_part + crossed
    lower, upper = _percentiles(replicates, level)
    return Interval(float(mean), lower, upper, prompts)


def _weights(size: int, generator: np.random.Generator, resamples: int) -> Array:
    """Shares of each of ``size`` items in bootstrap samples, (resamples, size); counted draws, 20 times faster than multinomials."""
    drawn = generator.integers(0, size, size=(resamples, size)) + size * np.arange(resamples)[:, None]
    return np.bincount(drawn.ravel(), minlength=resamples * size).reshape(resamples, size) / size


def _seed_factor(seeds: int, level: float) -> float:
    """What the seeds' part of a two-way replicate is multiplied by."""
    from scipy.special import ndtri, stdtrit  # lazily: scipy.special is light, scipy.stats costs 0.8 s

    tail = 0.5 + level / 2
    few = float(stdtrit(seeds - 1, tail) / ndtri(tail)) if seeds < 5 else 1.0
    return few * float(np.sqrt(seeds / (seeds - 1)))


def _resampled_means(values: Array, generator: np.random.Generator, resamples: int) -> Array:
    """Means of ``resamples`` bootstrap samples, (resamples,), drawn in blocks that bound the memory."""
    rows = max(1, BLOCK // len(values))
    parts = [
        values[generator.integers(0, len(values), size=(min(rows, resamples - start), len(values)))].mean(1)
        for start in range(0, resamples, rows)
    ]
    return np.concatenate(parts)


def _percentiles(replicates: Array, level: float) -> tuple[float, float]:
    lower, upper = np.quantile(replicates, [(1 - level) / 2, (1 + level) / 2])
    return float(lower), float(upper)
