"""How good a reward model is on labelled pairs: accuracy, calibration with its curve, log loss, agreement with gold. No torch.

A pair's gap is r_w - r_l in nats, and sigma(gap) the probability that the model gives the label. It is calibrated where among pairs of
which it is sure by p labels side with it in a share p (Guo et al. 2017, arXiv 1706.04599, section 2). Intervals are over prompts.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.special import expit
from scipy.stats import rankdata

from harness.measure.statistics import Interval, prompt_interval, prompt_means, replicated
from harness.measure.statistics.resampling import percentiles, weights
from harness.types import Array

Places = NDArray[np.int64]
BINS, RESAMPLES = 10, 2000
LEAST = 20  # pairs of a bin


class Bin(NamedTuple):
    """Pairs of which the model is about equally sure: its mean probability of the response that it prefers, and how often labels agree.

    Both are means over the prompts of a bin; ``pairs`` says how many pairs are in it.
    """

    sure: float
    agreed: Interval
    pairs: int


class Quality(NamedTuple):
    """``accuracy`` is how often the better response has the higher score (ties one half), ``agreed`` how often labels side with the model.

    Both differ only where pairs say how sure their annotators are: then the order is what most of them say, and ``agreed`` the share that
    says so. ``sure`` is the mean of max(p, 1 - p), ``error`` the calibration error: |agreed - sure| averaged over equally filled bins,
    which is above 0 for a calibrated model too, by the noise of a bin. ``loss`` is the mean of -log p of a label, nats; log 2 is a coin's.
    """

    accuracy: Interval
    agreed: Interval
    sure: Interval
    error: Interval
    loss: Interval
    bins: tuple[Bin, ...]
    pairs: int


class Gold(NamedTuple):
    """Against what is known to be right: how often both order a pair alike (ties one half), and Spearman's rank correlation of scores."""

    order: Interval
    correlation: Interval


def quality(gaps: Array, agreement: Array, prompts: Sequence[str]) -> Quality:
    """Of gaps and the share of annotators that chose what was chosen, (pairs,) each."""
    clusters = _clusters(prompts)
    right = np.where(gaps > 0, 1.0, np.where(gaps < 0, 0.0, 0.5))
    agreed = right * agreement + (1 - right) * (1 - agreement)
    sure = expit(np.abs(gaps))
    loss = agreement * np.logaddexp(0, -gaps) + (1 - agreement) * np.logaddexp(0, gaps)
    parts = [part for part in np.array_split(np.argsort(sure, kind="stable"), max(1, min(BINS, len(gaps) // LEAST))) if len(part)]
    bins = tuple(
        Bin(float(prompt_means(sure[part], clusters[part]).mean()), _interval(agreed[part], clusters[part]), len(part)) for part in parts
    )
    one, two, three, four = (_interval(each, clusters) for each in (right, agreed, sure, loss))
    return Quality(one, two, three, _error(agreed - sure, parts, clusters), four, bins, len(gaps))


def against_gold(scores: Array, gold: Array, prompts: Sequence[str]) -> Gold:
    """Of a model's scores and gold ones of the chosen and rejected responses, (pairs, 2) each."""
    clusters = _clusters(prompts)
    ours, theirs = (np.sign(each[:, 0] - each[:, 1]) for each in (scores, gold))
    alike = np.where(ours * theirs == 0, 0.5, (ours == theirs).astype(float))
    both = np.repeat(clusters, 2)
    x, y = (rankdata(each.reshape(-1)) / each.size for each in (scores, gold))
    tables = [[prompt_means(each, both)] for each in (x, y, x * x, y * y, x * y)]
    return Gold(_interval(alike, clusters), replicated(tables, _correlation, generator=np.random.default_rng(0)))


def _correlation(x: Array, y: Array, xx: Array, yy: Array, xy: Array) -> Array:
    """Pearson's, of means and mean products; of ranks it is Spearman's. NaN where one of them is constant."""
    with np.errstate(invalid="ignore", divide="ignore"):
        found: Array = (xy - x * y) / np.sqrt((xx - x * x) * (yy - y * y))
    return found


def _clusters(prompts: Sequence[str]) -> Places:
    """A number for every prompt, (pairs,)."""
    return np.unique(np.array(prompts), return_inverse=True)[1].reshape(-1).astype(np.int64)


def _interval(values: Array, clusters: Places) -> Interval:
    return prompt_interval(values, clusters=clusters, generator=np.random.default_rng(0))


def _error(excess: Array, parts: Sequence[Places], clusters: Places) -> Interval:
    """Over bins the sum of |what is in excess there|, as a mean over prompts of a prompt's pairs; prompts drawn anew, pairs in their bins.

    A prompt's pairs weigh as much together as the pair of a prompt that has one, as in every number beside it.
    """
    table = np.zeros((int(clusters.max()) + 1, len(parts)))
    shares = excess / np.bincount(clusters)[clusters]
    for column, part in enumerate(parts):
        np.add.at(table[:, column], clusters[part], shares[part])
    value = float(np.abs(table.sum(0)).sum() / len(table))
    if len(table) == 1:
        return Interval(value, np.nan, np.nan, 1)
    drawn = weights(len(table), np.random.default_rng(0), RESAMPLES)
    return Interval(value, *percentiles(np.abs(drawn @ table).sum(1), 0.95), len(table))
