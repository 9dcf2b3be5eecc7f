"""Planted curves are found again, with scipy as oracle; what cannot be fitted says why."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.optimize import curve_fit, minimize_scalar

from harness.measure.overoptimisation import distinct, drops, gao_fit, interpolated

FORMS = {"reranking": lambda d, a, b: d * (a - b * d), "rl": lambda d, a, b: d * (a - b * np.log(d))}


@pytest.mark.parametrize("form", ["reranking", "rl"])
def test_planted_parameters_are_recovered_as_scipy_does(form: str) -> None:
    kl = np.linspace(0.15, 20, 14)
    planted = FORMS[form](np.sqrt(kl), 1.4, 0.3)
    noisy = planted + np.random.default_rng(0).normal(scale=0.05, size=kl.shape)
    exact, found = gao_fit(kl, planted, form), gao_fit(kl, noisy, form)  # type: ignore[arg-type]
    assert (exact.a, exact.b, exact.rms) == pytest.approx((1.4, 0.3, 0.0), abs=1e-9)
    expected, _ = curve_fit(FORMS[form], np.sqrt(kl), noisy, p0=(1, 1))
    assert (found.a, found.b) == pytest.approx(tuple(expected), rel=1e-5)
    assert found.rms == pytest.approx(np.sqrt((found.residuals**2).mean()))
    top = minimize_scalar(lambda x: -FORMS[form](np.sqrt(x), 1.4, 0.3), bounds=(0.01, 2000), method="bounded").x
    assert exact.peak == pytest.approx(top, rel=1e-3)


def test_too_few_or_too_near_points_are_not_fitted() -> None:
    with pytest.raises(ValueError, match="7 distinct KL values"):
        gao_fit([0.01, 0.02, *range(1, 8)], np.ones(9), "rl")
    assert distinct([1, 1.001, 2, 2.01, 0.05]) == 2
    assert distinct([]) == 0
    assert np.isnan(gao_fit(np.arange(1.0, 10), np.arange(1.0, 10), "reranking").peak)  # rises without end


def test_a_drop_is_read_where_its_peak_was_not_chosen() -> None:
    """By hand: seed 0 peaks at the first point, seed 1 at the second; each reads the other's peak, against the last point in KL (2.0)."""
    kl, seen = np.array([0.5, 1.0, 2.0]), np.ones((3, 2, 2))
    gold = np.array([[[0.9, 0.7], [0.1, 0.3]], [[0.2, 0.4], [0.8, 0.6]], [[0.0, 0.1], [0.2, 0.3]]])
    found, both = drops(kl, gold, seen)
    assert found == pytest.approx(np.array([[0.2, 0.3], [-0.1, 0.0]]))
    assert both.all()
    alone, _ = drops(kl, gold[:, :1] + np.array([[[0.0, 0.0]], [[1.0, 0.0]], [[0.0, 0.0]]]), seen[:, :1])
    assert alone == pytest.approx(np.array([[0.9, 0.3]]))  # the odd prompt chose the first point, the even one the second


def test_a_drop_uses_the_prompts_that_peak_and_end_both_saw() -> None:
    gold, seen = np.ones((2, 1, 6)), np.ones((2, 1, 6))
    gold[0] = 3.0
    seen[0, 0, 4:] = 0  # a mark that saw the first four prompts alone
    found, both = drops([1.0, 2.0], gold * seen, seen)
    assert found.sum() / both.sum() == pytest.approx(2.0) and both.sum() == 4


@pytest.mark.parametrize("seeds", [1, 2, 5])
def test_a_flat_curve_has_no_drop_on_average_whatever_its_seeds_do(seeds: int) -> None:
    """Noise of the seeds is common to both halves of the prompts: halves alone would let every seed profit from its own luck."""
    generator = np.random.default_rng(1)
    kl, found, naive = np.arange(1.0, 7), [], []
    for _ in range(400):
        noise = generator.normal(size=(6, seeds, 1)) * (seeds > 1) + 0.3 * generator.normal(size=(6, seeds, 8))
        drop, both = drops(kl, noise, np.ones_like(noise))
        found.append(drop.sum() / both.sum())
        naive.append(noise.mean((1, 2)).max() - noise.mean((1, 2))[-1])
    assert np.mean(naive) > 0.1
    assert abs(np.mean(found)) < 3.5 * np.std(found) / np.sqrt(len(found))


def test_curves_are_interpolated_inside_their_points_alone() -> None:
    kl, values = np.array([[3.0], [1.0]]), np.array([[30.0], [10.0]])
    assert interpolated(kl, values, 2.0) == pytest.approx(20.0)
    assert np.isnan(interpolated(kl, values, 0.5)) and np.isnan(interpolated(kl, values, 3.1))
