"""Resamples of seeds and prompts: weights drawn in blocks that bound the memory, and what they make of tables (seeds, prompts)."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]

BLOCK = 4_000_000  # numbers drawn at once: 32 MB
COLUMNS = 8  # of a matrix that kernels of BLAS multiply at once; the rest of a division by it is treated apart
KEPT = 100_000_000  # bytes of weights: those of 40 sizes of up to 512 prompts, of which a page with categories asks in turn


def two_way_replicates(stack: Array, generator: np.random.Generator, resamples: int, level: float) -> Array:
    """Two-way replicates of the grand mean of each table, (tables, resamples)."""
    factor = seed_factor(stack.shape[1], level)
    means = stack.mean((1, 2))[:, None]
    found = [
        both + (factor - 1) * (alone - means)
        for both, alone in (resampled(stack, *drawn) for drawn in draws(stack.shape[1:], generator, resamples))
    ]
    return np.concatenate(found, axis=1)


def resampled(stack: Array, seed_weights: Array, prompt_weights: Array) -> tuple[Array, Array]:
    """Means of each table with seeds and prompts resampled, and with the seeds alone; each (tables, resamples).

    A table's numbers are the same to the bit whatever tables stand beside it: products of matrices treat whole groups of columns alike.
    """
    tables, seeds, prompts = stack.shape
    whole = np.zeros((-(-tables * seeds // COLUMNS) * COLUMNS, prompts))
    whole[: tables * seeds] = stack.reshape(-1, prompts)
    by_seed = (prompt_weights @ whole.T)[:, : tables * seeds].reshape(-1, tables, seeds)
    return np.einsum("bs,bts->tb", seed_weights, by_seed), np.einsum("bs,ts->tb", seed_weights, stack.mean(2))


def draws(shape: tuple[int, ...], generator: np.random.Generator, resamples: int) -> Iterator[tuple[Array, Array]]:
    """Weights of seeds and of prompts, (some, seeds) and (some, prompts), in blocks that bound the memory, ``resamples`` in all."""
    seeds, prompts = shape
    rows = max(1, BLOCK // prompts)
    for start in range(0, resamples, rows):
        some = min(rows, resamples - start)
        yield weights(seeds, generator, some), weights(prompts, generator, some)


def prompt_means_resampled(table: Array, generator: np.random.Generator, resamples: int) -> Array:
    """Means of resampled rows of a table (prompts, columns): (resamples, columns)."""
    rows = max(1, BLOCK // len(table))
    parts = [min(rows, resamples - start) for start in range(0, resamples, rows)]
    return np.concatenate([weights(len(table), generator, some) @ table for some in parts])


def weights(size: int, generator: np.random.Generator, resamples: int) -> Array:
    """Shares of each of ``size`` items in bootstrap samples, (resamples, size), read-only.

    A generator in the same state gives the same shares, so the last are kept with the state that they leave behind, ``KEPT`` bytes of
    them: a report asks for the same ones hundreds of times, and drawing them is most of its statistics.
    """
    key = (size, resamples, json.dumps(generator.bit_generator.state, default=int))
    try:
        kept = _kept.pop(key)
    except KeyError:
        kept = _weights(*key)
    found, after = _kept[key] = kept
    while len(_kept) > 1 and sum(each.nbytes for each, _ in list(_kept.values())) > KEPT:  # a list: other threads may ask meanwhile
        _kept.pop(next(iter(_kept)), None)  # the one that was asked for longest ago
    generator.bit_generator.state = after
    return found


_kept: dict[tuple[int, int, str], tuple[Array, Any]] = {}


def _weights(size: int, resamples: int, state: str) -> tuple[Array, Any]:
    """Counted draws, 20 times faster than multinomials; and the generator's state afterwards."""
    before = json.loads(state)
    bits = getattr(np.random, before["bit_generator"])()
    bits.state = before
    drawn = np.random.Generator(bits).integers(0, size, size=(resamples, size)) + size * np.arange(resamples)[:, None]
    found = np.bincount(drawn.ravel(), minlength=resamples * size).reshape(resamples, size) / size
    found.flags.writeable = False
    return found, bits.state


def seed_factor(seeds: int, level: float) -> float:
    """What the seeds' part of a two-way replicate is multiplied by; 1 for a single seed, which has no such part."""
    return few_seeds(seeds, level) * float(np.sqrt(seeds / (seeds - 1))) if seeds > 1 else 1.0


def few_seeds(seeds: int, level: float) -> float:
    """t(S - 1) / z: so few values say little of their own spread. Without it 6 seeds that differ much are covered 87 %, not 95 %."""
    from scipy.special import ndtri, stdtrit  # lazily: scipy.special is light, scipy.stats costs 0.8 s

    tail = 0.5 + level / 2
    return float(stdtrit(seeds - 1, tail) / ndtri(tail)) if seeds > 1 else 1.0


def percentiles(replicates: Array, level: float) -> tuple[float, float]:
    """The lower and upper bound that leave (1 - level) / 2 of the replicates outside on either side."""
    lower, upper = np.quantile(replicates, [(1 - level) / 2, (1 + level) / 2])
    return float(lower), float(upper)
