"""Planted curves are found again, with scipy as oracle; what cannot be fitted says why."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.optimize import curve_fit, minimize_scalar

from harness.measure.overoptimisation import distinct, gao_fit, interpolated, peak

FORMS = {"best-of-n": lambda d, a, b: d * (a - b * d), "rl": lambda d, a, b: d * (a - b * np.log(d))}


@pytest.mark.parametrize("form", ["best-of-n", "rl"])
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
    assert np.isnan(gao_fit(np.arange(1.0, 10), np.arange(1.0, 10), "best-of-n").peak)  # rises without end


def test_a_peak_is_found_on_one_half_and_its_drop_read_on_the_other() -> None:
    kl = np.array([[1.0], [4.0], [2.0]])
    where, drop = peak(kl, np.array([[0.1], [0.3], [0.9]]), np.array([[0.2], [0.5], [0.6]]))
    assert (where[0], drop[0]) == pytest.approx((2.0, 0.1))
    where, drop = peak(kl, np.array([[0.1], [0.9], [0.3]]), np.array([[0.2], [0.5], [0.6]]))
    assert (where[0], drop[0]) == (4.0, 0.0)


def test_a_flat_curve_has_no_drop_on_average() -> None:
    noise = np.random.default_rng(1).normal(size=(2, 6, 4000))
    kl = np.repeat(np.arange(1.0, 7)[:, None], 4000, 1)
    assert peak(kl, noise[0], noise[0])[1].mean() > 1  # chosen and read on the same prompts: the winner's curse
    assert peak(kl, noise[0], noise[1])[1].mean() == pytest.approx(0, abs=0.05)


def test_curves_are_interpolated_inside_their_points_alone() -> None:
    kl, values = np.array([[3.0], [1.0]]), np.array([[30.0], [10.0]])
    assert interpolated(kl, values, 2.0) == pytest.approx(20.0)
    assert np.isnan(interpolated(kl, values, 0.5)) and np.isnan(interpolated(kl, values, 3.1))
