"""Best-of-n: the best of n reference samples by some score, estimated for every n from the M samples that there are, without bias."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import ArrayLike, NDArray

from harness.measure.frontier import TIE
from harness.measure.statistics import Array


def kl_bound(n: int) -> float:
    """Log n - (n - 1)/n nats: best-of-n is at most this far from the reference (Beirami et al. 2024, arXiv 2401.01879: a bound)."""
    return math.log(n) - (n - 1) / n


def best_of_n(by: ArrayLike, values: ArrayLike, n: int) -> Array:
    """The expected value of the best of n samples by the score ``by``, per prompt, (prompts,); both tables are (prompts, M).

    Averaged over all subsets of n of the M samples: the sample of rank i (1 the lowest) is the best of C(i - 1, n - 1) of C(M, n)
    subsets. Unbiased for every n up to M. Samples with equal scores rank in the order drawn, which is a fair draw among them.

    Raises:
        ValueError: n outside 1 to M.
    """
    order, shares = _ranked(by, n)
    found: Array = (np.take_along_axis(np.asarray(values, dtype=np.float64), order, 1) * shares).sum(1)
    return found


def best_win(by: ArrayLike, gold: ArrayLike, n: int) -> Array:
    """The probability that the best of n by ``by`` beats a fresh sample of the reference on ``gold``, ties one half, (prompts,).

    The opponent must be none of the n: against all M the losers of its own subset would count as beaten. For the sample of rank i the
    opponents are all above it, and of the i - 1 below it the i - n that its subset left out, each as likely as the other. Unbiased for
    n up to M - 1; without ties and by gold itself it is n / (n + 1).
    """
    order, shares = _ranked(by, n)
    table = np.take_along_axis(np.asarray(gold, dtype=np.float64), order, 1)
    samples = table.shape[1]
    if n == samples:
        raise ValueError(f"a win of the best of all {n} samples has no opponent left; n is at most {n - 1}")
    gaps = table[:, :, None] - table[:, None, :]
    beaten = (gaps > TIE) + 0.5 * (np.abs(gaps) <= TIE)
    rank = np.arange(1, samples + 1)
    left_out = np.where(rank > 1, np.maximum(rank - n, 0) / np.maximum(rank - 1, 1), 0.0)
    above, below = np.triu(np.ones((samples, samples)), 1), np.tril(np.ones((samples, samples)), -1)
    chance = ((beaten * above).sum(2) + left_out * (beaten * below).sum(2)) / (samples - n)
    found: Array = (chance * shares).sum(1)
    return found


def _ranked(by: ArrayLike, n: int) -> tuple[NDArray[np.intp], Array]:
    """Places of the samples in order of rising score, (prompts, M), and the share of subsets of n whose best each rank is, (M,)."""
    table = np.asarray(by, dtype=np.float64)
    samples = table.shape[1]
    if not 1 <= n <= samples:
        raise ValueError(f"the best of {n} needs 1 to {samples} samples")
    shares: Array = np.array([math.comb(rank - 1, n - 1) / math.comb(samples, n) for rank in range(1, samples + 1)])
    return np.argsort(table, axis=1, kind="stable"), shares
