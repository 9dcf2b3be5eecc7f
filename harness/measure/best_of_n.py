"""Best-of-n: the best of n reference samples by some score, estimated for every n from the M samples that there are, without bias."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike

from harness.measure.frontier import TIE
from harness.measure.statistics import Array


def kl_bound(n: int) -> float:
    """Log n - (n - 1)/n nats: best-of-n is at most this far from the reference (Beirami et al. 2024, arXiv 2401.01879: a bound)."""
    return math.log(n) - (n - 1) / n


def best_of_n(by: ArrayLike, values: ArrayLike, sizes: Sequence[int]) -> Array:
    """The expected value of the best of n samples by the score ``by`` for every n of ``sizes``, (sizes, prompts); tables are (prompts, M).

    Averaged over all subsets of n of the M samples: the sample of rank i (1 the lowest) is the best of C(i - 1, n - 1) of C(M, n)
    subsets. Unbiased for every n up to M. Samples with equal scores rank in the order drawn, which is a fair draw among them.

    Raises:
        ValueError: a size outside 1 to M.
    """
    table = np.asarray(by, dtype=np.float64)
    order, shares = np.argsort(table, axis=1, kind="stable"), _shares(sizes, table.shape[1])
    found: Array = shares @ np.take_along_axis(np.asarray(values, dtype=np.float64), order, 1).T
    return found


def best_win(by: ArrayLike, gold: ArrayLike, sizes: Sequence[int]) -> Array:
    """The probability that the best of n by ``by`` beats a fresh sample of the reference on ``gold``, ties one half, (sizes, prompts).

    The opponent must be none of the n: against all M the losers of its own subset would count as beaten. For the sample of rank i the
    opponents are all above it, and of the i - 1 below it the i - n that its subset left out, each as likely as the other. Unbiased for
    n up to M - 1; without ties and by gold itself it is n / (n + 1).

    Raises:
        ValueError: a size outside 1 to M - 1.
    """
    scores, judged = np.asarray(by, dtype=np.float64), np.asarray(gold, dtype=np.float64)
    samples = scores.shape[1]
    shares = _shares(sizes, samples)
    if samples in sizes:
        raise ValueError(f"a win of the best of all {samples} samples has no opponent left; n is at most {samples - 1}")
    above, below = _beaten(np.take_along_axis(judged, np.argsort(scores, axis=1, kind="stable"), 1))
    rank, n = np.arange(1, samples + 1), np.asarray(sizes)[:, None]
    left_out = np.where(rank > 1, np.maximum(rank - n, 0) / np.maximum(rank - 1, 1), 0.0)
    found: Array = (shares @ above.T + (shares * left_out) @ below.T) / (samples - n)
    return found


def _beaten(table: Array) -> tuple[Array, Array]:
    """How many of the samples that rank above and below each it beats, ties one half, both (prompts, M); columns in order of rank."""
    gaps = table[:, :, None] - table[:, None, :]
    beaten, above = (gaps > TIE) + 0.5 * (np.abs(gaps) <= TIE), np.triu(np.ones(gaps.shape[1:]), 1)
    return np.einsum("pij,ij->pi", beaten, above), np.einsum("pij,ij->pi", beaten, above.T)


def _shares(sizes: Sequence[int], samples: int) -> Array:
    """The share of the subsets of each size whose best has each rank, (sizes, M)."""
    if wrong := [n for n in sizes if not 1 <= n <= samples]:
        raise ValueError(f"the best of {wrong[0]} needs 1 to {samples} samples")
    ranks = range(1, samples + 1)
    return np.array([[math.comb(rank - 1, n - 1) / math.comb(samples, n) for rank in ranks] for n in sizes])
