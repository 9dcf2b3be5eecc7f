"""Whether the statistics keep their word on real outcomes: false positives where there is no difference, power where one was planted."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from harness.measure.statistics.checks import shares
from harness.measure.statistics.intervals import Interval, prompt_interval, two_way_intervals
from harness.measure.statistics.power import Components, components, minimum_detectable
from harness.measure.statistics.resampling import Array
from harness.measure.statistics.significance import LEVEL, sign_flip

PLANTINGS = 25  # of the known difference in every comparison of an algorithm with itself


class FalsePositives(NamedTuple):
    """Shares of the comparisons of an algorithm with itself; n counts comparisons. ``covered`` is one minus ``interval``."""

    interval: Interval
    covered: Interval
    sign_flip: Interval


class Planted(NamedTuple):
    """The shift that was planted, which is the minimum detectable difference stated, and the share of plantings that were found."""

    shift: float
    found: Interval
    plantings: int


def rate(hits: int, n: int, level: float = 0.95) -> Interval:
    """Hits / n with the exact interval of Clopper and Pearson 1934."""
    from scipy.special import betaincinv

    if not 0 <= hits <= n or n < 1:
        raise ValueError(f"hits out of a positive number of trials are wanted; got {hits} of {n}")
    tail = (1 - level) / 2
    lower = 0.0 if hits == 0 else float(betaincinv(hits, n - hits + 1, tail))
    upper = 1.0 if hits == n else float(betaincinv(hits + 1, n - hits, 1 - tail))
    return Interval(hits / n, lower, upper, n)


def false_positives(first: Sequence[Array], second: Sequence[Array], *, generator: np.random.Generator) -> FalsePositives:
    """How often the 95 % interval and the sign-flip test tell runs from others of the same algorithm, each table (seeds, prompts)."""
    tables = [shares(a) - shares(b) for a, b in zip(first, second, strict=True)]
    outside = sum(not each.lower <= 0 <= each.upper for each in two_way_intervals(tables, generator=generator))
    flipped = sum(sign_flip(table.mean(1), generator=generator) <= LEVEL for table in tables)
    n = len(tables)
    return FalsePositives(rate(outside, n), rate(n - outside, n), rate(flipped, n))


def planted(
    first: Sequence[Array], second: Sequence[Array], *, generator: np.random.Generator, plantings: int = PLANTINGS
) -> Planted | None:
    """How often the interval finds a difference that was planted in comparisons which have none.

    The shift is the minimum detectable difference of the comparisons' mean variance components, so 80 % should be found. It is planted
    by turning a random share of ``first``'s outcomes into wins; the interval of the share found takes plantings in one comparison
    together. None where the outcomes leave no room for such a shift, or show no spread.
    """
    tables = [shares(a) - shares(b) for a, b in zip(first, second, strict=True)]
    mean = Components(*np.mean([components(table) for table in tables], axis=0))
    shift = minimum_detectable(mean, *tables[0].shape)
    if not 0 < shift < min(1 - float(np.mean(each)) for each in first):
        return None
    found, names = [], []
    for index, (a, b) in enumerate(zip(first, second, strict=True)):
        moved = [plant(a, shift, generator) - b for _ in range(plantings)]
        found += [each.lower > 0 for each in two_way_intervals(moved, generator=generator)]
        names += [index] * plantings
    return Planted(shift, prompt_interval(np.array(found, dtype=float), clusters=names, generator=generator), len(found))


def plant(outcomes: Array, shift: float, generator: np.random.Generator) -> Array:
    """The outcomes with each a win at the chance shift / (1 - mean), so that their mean is expected to grow by ``shift``."""
    chance = shift / (1 - float(np.mean(outcomes)))
    return np.where(generator.random(outcomes.shape) < chance, 1.0, outcomes)
