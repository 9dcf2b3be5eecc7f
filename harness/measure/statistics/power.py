"""How small a difference a study could have seen: variance components of paired outcomes and the minimum detectable difference.

The components are those of a crossed design without replication (Searle, Casella and McCulloch 1992, ch. 4), estimated from mean
squares; a negative estimate counts as 0.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from harness.measure.statistics.resampling import few_seeds

POWER = 0.8


class Components(NamedTuple):
    """Variances of one outcome: between seeds, between prompts, and the rest, in squared units of the outcome."""

    seed: float
    prompt: float
    rest: float


def components(values: ArrayLike) -> Components:
    """The variance components of a table (seeds, prompts), at least 2 by 2; for a comparison, of the paired differences."""
    table = np.asarray(values, dtype=np.float64)
    if table.ndim != 2 or min(table.shape) < 2 or not np.isfinite(table).all():
        raise ValueError(f"a finite table of at least 2 seeds and 2 prompts is wanted; got shape {table.shape}")
    seeds, prompts = table.shape
    by_seed, by_prompt = table.mean(1), table.mean(0)
    residual = table - by_seed[:, None] - by_prompt[None, :] + table.mean()
    rest = float((residual**2).sum() / ((seeds - 1) * (prompts - 1)))
    return Components(max(0.0, by_seed.var(ddof=1) - rest / prompts), max(0.0, by_prompt.var(ddof=1) - rest / seeds), rest)


def minimum_detectable(found: Components, seeds: int, prompts: int, *, power: float = POWER, level: float = 0.95) -> float:
    """The true difference that the two-way interval tells from 0 with this power, in the outcome's units.

    Half the expected width of the interval plus z(power) standard errors of the mean. The interval is wider than the standard error
    says: it counts the rest up to three times (Owen 2007) and carries the factor of few seeds. NaN for one seed.
    """
    from scipy.special import ndtri

    if seeds < 2:
        return float("nan")
    rest = found.rest / (seeds * prompts)
    between, within = found.seed / seeds + rest, found.prompt / prompts + rest
    half = ndtri(0.5 + level / 2) * np.sqrt(few_seeds(seeds, level) ** 2 * between + within + rest)
    return float(half + ndtri(power) * np.sqrt(found.seed / seeds + found.prompt / prompts + rest))


def prompts_needed(difference: float, deviation: float, *, power: float = POWER, level: float = 0.95) -> float:
    """Prompts at which a prompt interval of one trained model sees a difference with this power: (z + z)^2 sd^2 / difference^2.

    ``deviation`` is the standard deviation of one prompt's (paired) difference; seeds are left out, so this is a lower bound.
    """
    from scipy.special import ndtri

    if not (difference > 0 and deviation >= 0):
        raise ValueError(f"a positive difference and a standard deviation are wanted; got {difference:g} and {deviation:g}")
    return float((ndtri(0.5 + level / 2) + ndtri(power)) ** 2 * deviation**2 / difference**2)
