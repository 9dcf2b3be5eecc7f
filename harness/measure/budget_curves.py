"""Curves over compute: values between the amounts that were measured, and where two curves cross. Pure functions of arrays."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from harness.measure.statistics import Array
from harness.measure.statistics.resampling import two_way_replicates


class Curve(NamedTuple):
    """One algorithm's values along compute: rising amounts, and for each a table (seeds, prompts) of the same seeds and prompts."""

    amounts: tuple[float, ...]
    tables: Sequence[Array]


class Crossing(NamedTuple):
    """Where the first of two curves passes the second: the amount with its interval, and the share of resamples that cross within it.

    A bound of 0 or infinity says that the crossing may lie below or above everything measured. ``rises`` says that the first is behind
    before and ahead after.
    """

    value: float
    lower: float
    upper: float
    share: float
    rises: bool
    n: int


def at(curve: Curve, amount: float) -> Array | None:
    """The table at an amount, linear in its logarithm between the two measured ones around it; None outside what was measured."""
    amounts = np.asarray(curve.amounts)
    if not amounts[0] * (1 - 1e-9) <= amount <= amounts[-1] * (1 + 1e-9):
        return None
    place = np.interp(np.log(amount), np.log(amounts), np.arange(len(amounts)))
    before = min(int(place), len(amounts) - 1)
    after, weight = min(before + 1, len(amounts) - 1), float(place - before)
    table: Array = (1 - weight) * np.asarray(curve.tables[before]) + weight * np.asarray(curve.tables[after])
    return table


def crossing(
    amounts: Sequence[float],
    first: Sequence[ArrayLike],
    second: Sequence[ArrayLike],
    *,
    generator: np.random.Generator,
    resamples: int = 2000,
    level: float = 0.95,
) -> Crossing | None:
    """The first crossing of two curves measured at the same rising amounts, with the same seeds and prompts; None where they do not cross.

    Each side is a table (seeds, prompts) per amount. The means are joined by lines over the logarithm of the amount. The interval is
    the percentile interval of two-way resamples of seeds and prompts: one that is ahead at the smallest amount crosses below it, one
    that is never ahead crosses above the largest.
    """
    stack = np.asarray([np.asarray(a, dtype=np.float64) - np.asarray(b, dtype=np.float64) for a, b in zip(first, second, strict=True)])
    means, logs = stack.mean((1, 2)), np.log(np.asarray(amounts, dtype=np.float64))
    signs = np.sign(means)
    turn = next((i for i in range(1, len(signs)) if signs[i] and signs[i] == -_last(signs[:i])), None)
    if turn is None:
        return None
    way = signs[turn]
    value = float(_places(way * means[:, None], logs)[0])
    places = _places(way * two_way_replicates(stack, generator, resamples, level), logs)
    lower, upper = np.quantile(places, [(1 - level) / 2, (1 + level) / 2], method="inverted_cdf")
    share = float(np.isfinite(places).mean())
    return Crossing(float(np.exp(value)), float(np.exp(lower)), float(np.exp(upper)), share, bool(way > 0), stack.shape[2])


def _last(signs: Array) -> float:
    """The last sign that is not 0; 0 where there is none."""
    return float(next((sign for sign in signs[::-1] if sign), 0.0))


def _places(differences: Array, logs: Array) -> Array:
    """For each column of differences (amounts, columns) where it first turns from below 0 to at least 0; infinite where it does not."""
    turns = (differences[:-1] < 0) & (differences[1:] >= 0)
    step, column = turns.argmax(0), np.arange(differences.shape[1])
    before, after = differences[step, column], differences[step + 1, column]
    part = np.divide(-before, after - before, out=np.zeros_like(before), where=after != before)
    inside = logs[step] + part * (logs[step + 1] - logs[step])
    outside = np.where(differences[0] >= 0, -np.inf, np.inf)
    places: Array = np.where(turns.any(0), inside, outside)
    return places
