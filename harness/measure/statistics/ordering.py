"""How well scores order two labels: the area under the ROC curve, with an interval over prompts. Pure functions on arrays."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

from harness.measure.statistics.intervals import Interval, bounded
from harness.measure.statistics.resampling import Array, weights


def auc(
    scores: ArrayLike,
    desirable: ArrayLike,
    prompts: ArrayLike,
    *,
    generator: np.random.Generator,
    resamples: int = 2000,
    level: float = 0.95,
) -> Interval | None:
    """The share of couples of both labels in which the desirable response scores higher, ties one half; None where a label is missing.

    ``scores``, ``desirable`` and ``prompts`` are (responses,). This is the Mann-Whitney statistic over its largest value (Hanley and
    McNeil 1982). Every response is in many couples and shares its prompt with others, so neither couples nor responses are independent:
    the interval is the percentile bootstrap that draws whole prompts (Rutter 2000, "Bootstrap estimation of diagnostic accuracy with
    patient-clustered data"), n counts prompts. No bounds (NaN) where over 1 in 20 resamples lack a label. Where all couples are
    in order, or none is, no resample differs; the bound is then Clopper and Pearson's of as many couples as have no prompt in common.
    """
    values, good = np.asarray(scores, dtype=np.float64), np.asarray(desirable, dtype=bool)
    names, place = np.unique(np.asarray(prompts), return_inverse=True)
    if good.all() or not good.any():
        return None
    gaps = values[good][:, None] - values[~good]
    right = (gaps > 0) + 0.5 * (gaps == 0)
    if len(names) == 1:
        return Interval(float(right.mean()), np.nan, np.nan, 1)
    if right.min() == right.max() != 0.5:
        return _unanimous(float(right.mean()), len(np.unique(place[good])), len(np.unique(place[~good])), len(names), level)
    often = np.rint(weights(len(names), generator, resamples) * len(names))[:, place]  # whole numbers, so that equal shares stay equal
    found = _weighted(right, often[:, good], often[:, ~good])
    return bounded(float(right.mean()), found, len(names), level)


def _unanimous(value: float, good: int, bad: int, prompts: int, level: float) -> Interval:
    """The interval of 1, or of 0, from couples that are independent: disjoint prompts, one with either label."""
    room = ((1 - level) / 2) ** (1 / min(good, bad, prompts // 2))
    return Interval(value, room, 1.0, prompts) if value == 1 else Interval(value, 0.0, 1 - room, prompts)


def _weighted(right: Array, good: Array, bad: Array) -> Array:
    """The share of each resample, (resamples,), whose responses count as often as their prompts were drawn; NaN without a label."""
    couples = good.sum(1) * bad.sum(1)
    with np.errstate(divide="ignore", invalid="ignore"):
        found: Array = ((good @ right) * bad).sum(1) / np.where(couples > 0, couples, np.nan)
    return found
