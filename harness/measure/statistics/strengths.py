"""Algorithms against each other: the head-to-head matrix of their responses to the same prompts, and Bradley-Terry strengths.

Bradley and Terry 1952: P(i beats j) = e^s_i / (e^s_i + e^s_j). Strengths are maximum likelihood by the MM iteration of Hunter 2004
(Annals of Statistics 32, 384), a tie half a win to each, centred on 0, in nats (log odds). The matrix is what was measured; strengths
put it on one line and say nothing where the matrix is not transitive.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from harness.measure.statistics.intervals import Interval, bounded
from harness.measure.statistics.resampling import Array, draws, resampled, seed_factor

TIE = 1e-6  # scores that differ by no more are a tie
STEPS, CLOSE = 2000, 1e-10


class HeadToHead(NamedTuple):
    """Names in order; ``shares[i][j]`` = how often i beats j, ties half; ``strengths`` by name, in nats; ``n`` prompts."""

    names: tuple[str, ...]
    shares: list[list[Interval]]
    strengths: dict[str, Interval]


def head_to_head(
    scores: Mapping[str, ArrayLike], *, generator: np.random.Generator, resamples: int = 2000, level: float = 0.95, tie: float = TIE
) -> HeadToHead:
    """All pairs of algorithms from the judge's scores of their responses, each (seeds, prompts), the same seeds and prompts.

    One resample of seeds and prompts serves the whole matrix, so it is a tournament that could have been played. The diagonal is 1/2
    without width. Strengths are NaN where some algorithms never beat the others (no finite maximum); bounds as in ``two_way_interval``.
    """
    names, stack = tuple(scores), _scores(scores)
    count, seeds, prompts = stack.shape
    rows, columns = np.triu_indices(count, 1)
    wins = outcomes(stack[rows], stack[columns], tie)
    parts = [resampled(wins, *drawn) for drawn in draws((seeds, prompts), generator, resamples)]
    both, alone = (np.concatenate([part[which] for part in parts], axis=1) for which in (0, 1))
    means, extra = wins.mean((1, 2)), seed_factor(seeds, level) - 1
    replicates = both + extra * (alone - means[:, None])
    lines = [[Interval(0.5, 0.5, 0.5, prompts)] * count for _ in names]
    for i, j, mean, each in zip(rows, columns, means, replicates, strict=True):
        lines[i][j] = bounded(float(mean), each, prompts, level)
        lines[j][i] = bounded(float(1 - mean), 1 - each, prompts, level)
    value, strong, moved = (bradley_terry(_matrix(each, count)) for each in (means[:, None], both, alone))
    strong += extra * (moved - value)
    strengths = {name: bounded(float(value[0, i]), strong[:, i], prompts, level) for i, name in enumerate(names)}
    return HeadToHead(names, lines, strengths)


def _scores(scores: Mapping[str, ArrayLike]) -> Array:
    """All scores as one array (algorithms, seeds, prompts)."""
    shapes = {name: np.shape(each) for name, each in scores.items()}
    if len(shapes) < 2 or len(set(shapes.values())) > 1:
        raise ValueError(f"scores of two or more algorithms on the same seeds and prompts are wanted; got {shapes}")
    stack = np.stack([np.asarray(each, dtype=np.float64) for each in scores.values()])
    if stack.ndim != 3 or not stack.size or not np.isfinite(stack).all():
        raise ValueError(f"finite scores (seeds, prompts) are wanted; got {shapes}")
    return stack


def outcomes(ours: Array, theirs: Array, tie: float = TIE) -> Array:
    """1 where ours is better, 0 where it is worse, 1/2 where they differ by no more than ``tie``; any shape."""
    return np.where(np.abs(ours - theirs) <= tie, 0.5, (ours > theirs).astype(np.float64))


def bradley_terry(shares: ArrayLike) -> Array:
    """Strengths (matrices, items) in nats, each row centred, of win shares (matrices, items, items) with equal numbers of comparisons.

    ``shares[m, i, j]`` is how often i beats j, the diagonal is not looked at. NaN where the items fall in two groups of which one
    never beat the other (Ford 1957): the likelihood then has no finite maximum.
    """
    matrices = np.asarray(shares, dtype=np.float64)
    if matrices.ndim != 3 or matrices.shape[1] != matrices.shape[2] or not ((matrices >= 0) & (matrices <= 1)).all():
        raise ValueError(f"shares in [0, 1] of shape (matrices, items, items) are wanted; got shape {matrices.shape}")
    known = _connected(matrices)
    strength: Array = np.log(_worths(np.where(known[:, None, None], matrices, 0.5)))
    strength -= strength.mean(1, keepdims=True)
    strength[~known] = np.nan
    return strength


def _worths(matrices: Array) -> Array:
    """e^strength by Hunter's MM iteration, (matrices, items), of mean 1."""
    off = 1.0 - np.eye(matrices.shape[1])
    wins, played = (matrices * off).sum(2), (matrices + matrices.transpose(0, 2, 1)) * off
    worth = np.ones(wins.shape)
    for _ in range(STEPS):
        moved = wins / (played / (worth[:, :, None] + worth[:, None, :])).sum(2)
        moved /= moved.mean(1, keepdims=True)
        if np.abs(moved - worth).max() < CLOSE:
            break
        worth = moved
    return worth


def _connected(shares: Array) -> NDArray[np.bool_]:
    """Whether a chain of wins leads from every item to every other, (matrices,): steps of doubling length."""
    items = shares.shape[1]
    reach = ((shares > 0) | np.eye(items, dtype=bool)).astype(np.float64)
    for _ in range(items.bit_length()):
        reach = np.minimum(reach @ reach, 1.0)
    return np.asarray(reach.all((1, 2)))


def _matrix(above: Array, count: int) -> Array:
    """Matrices of shares, (resamples, count, count), from those above the diagonal, (pairs, resamples), cut to [0, 1]."""
    matrices = np.full((above.shape[1], count, count), 0.5)
    rows, columns = np.triu_indices(count, 1)
    matrices[:, rows, columns] = above.T
    matrices[:, columns, rows] = 1 - above.T
    return np.asarray(matrices.clip(0, 1))
