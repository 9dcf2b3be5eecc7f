"""How far two judges agree about the same comparisons. Pure functions on tables (seeds, prompts), no torch.

Cohen's kappa (Cohen 1960, doi 10.1177/001316446002000104) is the agreement beyond what two judges would reach that answer at random,
each as often one way and the other as it does: ``(p_o - p_e) / (1 - p_e)``, of three answers without an order: win, tie, loss.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from harness.measure.statistics import Array, Interval, replicated_all

ANSWERS = (1.0, 0.5, 0.0)  # win, tie, loss


class Agreement(NamedTuple):
    """The share of comparisons that both judges decide alike, and Cohen's kappa; ``comparisons`` counts them, ``n`` the prompts.

    Kappa is None where both judges give one and the same answer always: nothing is then left to agree about beyond chance.
    """

    share: Interval
    kappa: Interval | None
    comparisons: int


def agreement(first: Array, second: Array, *, generator: np.random.Generator, decided: Array | None = None) -> Agreement:
    """Of two judges' outcomes, (policies, seeds, prompts) each with answers 1, 1/2 or 0, with two-way intervals over seeds and prompts.

    The policies of a seed answer the same prompts, so their comparisons are averaged by seed and prompt first. ``decided`` says which
    comparisons both judges decided, at least one; the others are left out. None: all of them.

    Raises:
        ValueError: tables of different shapes, or an outcome that is none of the three answers.
    """
    if decided is not None and not decided.all():
        return _of_decided(first, second, decided, generator)
    if first.shape != second.shape or first.ndim != 3:
        raise ValueError(f"two tables (policies, seeds, prompts) of one shape are wanted; got {first.shape} and {second.shape}")
    if not (np.isin(first, ANSWERS).all() and np.isin(second, ANSWERS).all()):
        raise ValueError("outcomes of 1, 1/2 and 0 are wanted")
    shares = [(table == answer).mean(0) for table in (first, second) for answer in ANSWERS]
    share, kappa = replicated_all([(first == second).mean(0), *shares], _statistics, generator=generator)
    return Agreement(share, kappa if np.isfinite(kappa.value) else None, first.size)


def _of_decided(first: Array, second: Array, decided: Array, generator: np.random.Generator) -> Agreement:
    """The same of some comparisons: means over these are ratios of means over all."""
    if not all(np.isin(table[decided], ANSWERS).all() for table in (first, second)):
        raise ValueError("outcomes of 1, 1/2 and 0 are wanted")
    shares = [((table == answer) & decided).mean(0) for table in (first, second) for answer in ANSWERS]
    tables = [decided.mean(0), ((first == second) & decided).mean(0), *shares]
    found = replicated_all(tables, lambda whole, *parts: _statistics(*(part / whole for part in parts)), generator=generator)
    share, kappa = (each._replace(n=int(decided.any((0, 1)).sum())) for each in found)
    return Agreement(share, kappa if np.isfinite(kappa.value) else None, int(decided.sum()))


def _statistics(observed: Array, *shares: Array) -> Array:
    """Agreement and kappa from the means of agreement and of each judge's answers; kappa is NaN where chance agrees always."""
    expected = np.sum([a * b for a, b in zip(shares[:3], shares[3:], strict=True)], axis=0)
    with np.errstate(divide="ignore", invalid="ignore"):
        kappa = np.where(expected < 1 - 1e-12, (observed - expected) / (1 - expected), np.nan)
    return np.stack([observed, kappa])
