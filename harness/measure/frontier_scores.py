"""Scores of an algorithm's points against KL: the envelope and its area, efficiency, dominance, and the compute that a value takes.

Every function takes means over seeds and prompts with a last axis of bootstrap resamples, so that a whole bootstrap is one call, and
returns (resamples,). Points are (points, resamples); KL in nats per response; nothing is extrapolated.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from harness.measure.statistics import Array


class Half(NamedTuple):
    """One half of the prompts: KL and value of every point, (points, resamples), and the reference's own value, (resamples,)."""

    kl: Array
    value: Array
    start: Array


class Steps(NamedTuple):
    """An envelope: ``value[j]`` holds from ``kl[j]`` to the next, both (points + 1, resamples); the first step is the reference at 0."""

    kl: Array
    value: Array


def envelope(chooser: Half, scorer: Half) -> Steps:
    """E(k) = the value of the best point with KL <= k, chosen on one half of the prompts and scored on the other.

    A maximum of noisy numbers is too high (the winner's curse); the other half's noise knows nothing of the choice. The reference with
    KL 0 is always among the points, so E(0) is its value.
    """
    none = np.zeros_like(chooser.start)[None]
    kl, chosen, scored = (
        np.concatenate([first, rest])
        for first, rest in ((none, chooser.kl), (chooser.start[None], chooser.value), (scorer.start[None], scorer.value))
    )
    order = np.concatenate([np.zeros((1, kl.shape[1]), dtype=int), 1 + np.argsort(chooser.kl, axis=0, kind="stable")])
    kl, chosen, scored = (np.take_along_axis(each, order, 0) for each in (kl, chosen, scored))
    best = np.zeros(kl.shape, dtype=int)
    for step in range(1, len(kl)):
        better = chosen[step] > np.take_along_axis(chosen, best[step - 1][None], 0)[0]
        best[step] = np.where(better, step, best[step - 1])
    return Steps(kl, np.take_along_axis(scored, best, 0))


def mean_value(steps: Steps, top: float) -> Array:
    """The envelope's mean over [0, top]: its area over the range, in units of the value; flat beyond its last point."""
    edges = np.minimum(np.concatenate([steps.kl, np.full((1, steps.kl.shape[1]), np.inf)]), top)
    area: Array = (steps.value * np.diff(edges, axis=0)).sum(0) / top
    return area


def value_at(steps: Steps, kl: float) -> Array:
    """E(kl). Whether the algorithm reaches this KL at all is for the caller to ask: beyond its last point the envelope is flat."""
    last = (steps.kl <= kl).sum(0) - 1
    found: Array = np.take_along_axis(steps.value, last[None], 0)[0]
    return found


def dominated(chooser: Half, scorer: Half, rivals_chooser: Half, rivals_scorer: Half) -> Array:
    """The share of the points that a rival's point beats: no more KL and no less value, one of the two strictly.

    The rival of each point is the best of those with no more KL, chosen on one half of the prompts; whether it beats the point is
    asked of the other half, for among many rivals some look better by chance.
    """
    if not len(rivals_chooser.kl):
        return np.zeros_like(chooser.start)
    below = rivals_chooser.kl[None] <= chooser.kl[:, None]
    best = np.where(below, rivals_chooser.value[None], -np.inf).argmax(1)
    kl, value = (np.take_along_axis(each, best, 0) for each in (rivals_chooser.kl, rivals_scorer.value))
    strictly = (value > scorer.value) | (kl < chooser.kl)
    share: Array = (below.any(1) & (value >= scorer.value) & strictly).mean(0)
    return share


def optimal_gain(line_kl: Array, line_value: Array, kl: Array) -> Array:
    """The optimal frontier's gain over its own start at ``kl`` (resamples,), linear between tilts; NaN beyond the line's end or at no gain.

    ``line_kl`` and ``line_value`` are (tilts, resamples) in order of growing KL.
    """
    tilts = len(line_kl)
    after = np.clip((line_kl < kl[None]).sum(0), 1, tilts - 1)[None]
    (x0, x1), (y0, y1) = ([np.take_along_axis(line, index, 0)[0] for index in (after - 1, after)] for line in (line_kl, line_value))
    width = np.where(x1 > x0, x1 - x0, 1.0)
    gain = y0 + (y1 - y0) * np.clip((kl - x0) / width, 0, 1) - line_value[0]
    return np.where((kl <= line_kl[-1]) & (gain > 0), gain, np.nan)


def reached(compute: Array, value: Array, level: float) -> Array:
    """The least ``compute`` (points,) at which ``value`` (points, resamples) is ``level`` or more; infinite where it never is."""
    least: Array = np.where(value >= level, compute[:, None], np.inf).min(0)
    return least
