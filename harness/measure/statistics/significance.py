"""Tests whose unit is the training seed: the sign-flip test of paired differences, Holm's adjustment, and what so few seeds can show."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from harness.measure.statistics.resampling import Array

LEVEL = 0.05
EXACT = 16  # seeds up to which all sign patterns are tried: 65,536
DRAWN = 100_000  # patterns drawn beyond that


class Verdict(NamedTuple):
    """A test's p, adjusted over its family, and the smallest adjusted p that its seeds could have given."""

    p: float
    adjusted: float
    smallest: float
    seeds: int
    family: int

    @property
    def testable(self) -> bool:
        """Whether the test could have been significant at all."""
        return self.smallest <= LEVEL

    @property
    def significant(self) -> bool:
        """Whether it is; never where it could not have been."""
        return self.testable and self.adjusted <= LEVEL

    def __str__(self) -> str:
        """``p = 0.031, adjusted 0.062`` or ``not testable: ...``."""
        if self.testable:
            return f"p = {self.p:.2g}, adjusted {self.adjusted:.2g}"
        each = "comparison" if self.family == 1 else "comparisons"
        return f"not testable: {self.seeds} seeds and {self.family} {each} allow no adjusted p below {self.smallest:.2g}"


def sign_flip(differences: ArrayLike, *, generator: np.random.Generator | None = None) -> float:
    """The two-sided p of the seeds' mean differences (seeds,): the share of sign patterns whose mean is at least as far from 0.

    Under the hypothesis that neither algorithm is better, a seed's difference is as likely as its negative (Fisher's randomisation
    test). All 2^S patterns up to 16 seeds, so the p is exact; beyond, 100,000 drawn ones, the observed counted among them. Without
    any difference p is 1. Seeds whose difference is 0 stay in and flip to themselves.
    """
    values = np.asarray(differences, dtype=np.float64)
    if values.ndim != 1 or not len(values) or not np.isfinite(values).all():
        raise ValueError(f"finite differences (seeds,) are wanted; got {values.tolist()}")
    seen = abs(values.sum()) * (1 - 1e-12)  # equal sums in another order are equal
    if len(values) <= EXACT:
        return float(np.mean(np.abs(_patterns(len(values)) @ values) >= seen))
    if generator is None:
        raise ValueError(f"{len(values)} seeds have too many sign patterns to try all; a generator is wanted to draw some")
    signs = generator.integers(0, 2, size=(DRAWN, len(values)), dtype=np.int8) * 2.0 - 1
    return float((1 + (np.abs(signs @ values) >= seen).sum()) / (DRAWN + 1))


def _patterns(seeds: int) -> Array:
    """Every pattern of signs, (2^seeds, seeds)."""
    bits = np.arange(2**seeds)[:, None] >> np.arange(seeds)
    return np.asarray(1.0 - 2.0 * (bits & 1), dtype=np.float64)


def holm(p: ArrayLike) -> Array:
    """Holm's adjusted p of a family (tests,), in the order given: the k-th smallest times the tests left, never below the one before."""
    values = np.asarray(p, dtype=np.float64)
    if values.ndim != 1 or not ((values >= 0) & (values <= 1)).all():
        raise ValueError(f"p values in [0, 1] are wanted; got {values.tolist()}")
    order = np.argsort(values, kind="stable")
    stepped = np.maximum.accumulate(values[order] * np.arange(len(values), 0, -1))
    adjusted = np.empty_like(values)
    adjusted[order] = np.minimum(stepped, 1.0)
    return adjusted


def smallest_p(seeds: int, family: int) -> float:
    """The smallest adjusted p that a family of two-sided sign-flip tests can give: 2 / 2^S for all seeds of one sign, times the family."""
    return min(1.0, max(1, family) * 0.5 ** (seeds - 1))


def verdicts(differences: Sequence[ArrayLike], *, lost: int = 0, generator: np.random.Generator | None = None) -> list[Verdict]:
    """One verdict per comparison of a declared family, each a row of mean differences (seeds,), which may differ in their seeds.

    ``lost`` comparisons of the family have no result; they count as p = 1.
    """
    family = len(differences) + lost
    raw = [sign_flip(each, generator=generator) for each in differences]
    adjusted = holm([*raw, *[1.0] * lost])[: len(raw)]
    return [
        Verdict(p, float(each), smallest_p(np.size(row), family), int(np.size(row)), family)
        for p, each, row in zip(raw, adjusted, differences, strict=True)
    ]
