"""The sign-flip test and Holm's adjustment against scipy and statsmodels, and what few seeds cannot show."""

from __future__ import annotations

import numpy as np
import pytest

from harness.measure.statistics.significance import holm, sign_flip, smallest_p, verdicts


@pytest.mark.parametrize("seeds", [2, 5, 6, 9])
def test_sign_flip_agrees_with_scipy_s_exact_permutation_test(seeds: int) -> None:
    from scipy.stats import permutation_test

    values = np.random.default_rng(seeds).normal(0.5, 1, size=seeds)
    theirs = permutation_test((values,), np.mean, permutation_type="samples", n_resamples=np.inf, alternative="two-sided")
    assert sign_flip(values) == pytest.approx(theirs.pvalue)


def test_all_seeds_of_one_sign_give_the_binomial_p() -> None:
    """The extreme pattern and its mirror, out of 2^S: what a sign test says of S wins in S, and the smallest p there is."""
    from scipy.stats import binomtest

    for seeds in range(1, 17):
        values = np.linspace(1, 2, seeds)
        assert sign_flip(values) == sign_flip(-values) == pytest.approx(binomtest(seeds, seeds).pvalue) == smallest_p(seeds, 1)


def test_no_difference_is_p_1_and_equal_sums_count_though_rounding_differs() -> None:
    assert sign_flip([0.0, 0.0, 0.0]) == 1.0
    assert sign_flip([0.1, 0.2, 0.3]) == sign_flip([0.3, 0.1, 0.2]) == 0.25
    assert sign_flip([0.1, 0.1, -0.1]) == 1.0


def test_many_seeds_are_drawn_and_close_to_the_exact_test() -> None:
    values = np.random.default_rng(0).normal(0.3, 1, size=16)
    twice = np.concatenate([values, [0.0]])  # a seventeenth seed without a difference changes no sum
    with pytest.raises(ValueError, match="generator"):
        sign_flip(twice)
    assert sign_flip(twice, generator=np.random.default_rng(1)) == pytest.approx(sign_flip(values), abs=0.005)


def test_the_test_holds_its_level_where_there_is_no_difference() -> None:
    """2000 studies of 8 seeds: p is at most .05 in 12 of 256 patterns, 4.7 %; three standard errors are 1.4 points."""
    draws = np.random.default_rng(2).normal(size=(2000, 8))
    assert np.mean([sign_flip(each) <= 0.05 for each in draws]) == pytest.approx(12 / 256, abs=0.014)


def test_holm_agrees_with_statsmodels() -> None:
    from statsmodels.stats.multitest import multipletests

    generator = np.random.default_rng(3)
    for size in (1, 2, 7, 20):
        p = generator.choice([0.001, 0.01, 0.03, 0.2, 0.9], size=size)
        np.testing.assert_allclose(holm(p), multipletests(p, method="holm")[1])


def test_a_family_that_its_seeds_cannot_decide_is_not_testable() -> None:
    """5 seeds: 2/32 = .0625 is above .05 already alone. 6 seeds: .031 alone, .0625 for two comparisons."""
    alone, two = verdicts([np.ones(6)]), verdicts([np.ones(6), np.ones(6)])
    assert (alone[0].testable, alone[0].significant) == (True, True)
    assert (two[0].testable, two[0].significant) == (False, False)
    assert two[0].smallest == pytest.approx(4 / 64)
    assert str(two[0]) == "not testable: 6 seeds and 2 comparisons allow no adjusted p below 0.062"
    assert str(verdicts([np.ones(5)])[0]) == "not testable: 5 seeds and 1 comparison allow no adjusted p below 0.062"
    assert str(alone[0]) == "p = 0.031, adjusted 0.031"


def test_what_is_testable_need_not_be_significant() -> None:
    found = verdicts([np.array([1.0, -1, 1, -1, 1, -1, 1]), np.ones(7)])
    assert [each.testable for each in found] == [True, True]
    assert [each.significant for each in found] == [False, True]
    assert found[1].adjusted == pytest.approx(2 * 2 / 2**7)


@pytest.mark.parametrize("values", [[], [np.nan, 1.0], [[1.0]]])
def test_differences_that_are_none_are_refused(values: list[float]) -> None:
    with pytest.raises(ValueError, match="finite differences"):
        sign_flip(values)


@pytest.mark.parametrize("p", [[1.2], [np.nan], [[0.1]]])
def test_p_values_that_are_none_are_refused(p: list[float]) -> None:
    with pytest.raises(ValueError, match="p values"):
        holm(p)
