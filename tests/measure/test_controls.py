"""False positives and planted differences on outcomes whose truth is known."""

from __future__ import annotations

import numpy as np
import pytest

from harness.measure.statistics.controls import false_positives, plant, planted, rate


def runs(generator: np.random.Generator, count: int, mean: float = 0.6, seeds: int = 6, prompts: int = 200) -> list[np.ndarray]:
    """Wins of runs that differ by chance alone: a shared difficulty of prompts, a share of outcomes drawn anew."""
    common = generator.random((1, prompts))
    number = lambda: np.where(generator.random((seeds, prompts)) < 0.6, common, generator.random((seeds, prompts)))  # noqa: E731
    return [(number() < mean).astype(float) for _ in range(count)]


def test_a_rate_has_the_exact_binomial_interval() -> None:
    from scipy.stats import binomtest

    for hits, n in ((0, 20), (1, 20), (20, 20), (137, 500)):
        theirs = binomtest(hits, n).proportion_ci(0.95, method="exact")
        found = rate(hits, n)
        assert (found.value, found.lower, found.upper) == pytest.approx((hits / n, theirs.low, theirs.high))
    with pytest.raises(ValueError, match="trials"):
        rate(1, 0)


def test_runs_of_one_algorithm_are_seldom_told_apart_and_other_algorithms_are() -> None:
    generator = np.random.default_rng(0)
    same = false_positives(runs(generator, 20), runs(generator, 20), generator=generator)
    assert same.interval.value <= 0.15
    assert same.covered.value == pytest.approx(1 - same.interval.value)
    assert same.interval.n == 20
    other = false_positives(runs(generator, 10, 0.9), runs(generator, 10, 0.4), generator=generator)
    assert other.interval.value == 1.0
    assert other.sign_flip.value == 1.0


def test_a_planted_difference_has_its_size_and_stays_an_outcome() -> None:
    generator = np.random.default_rng(1)
    before = np.full((6, 20000), 0.25)
    after = plant(before, 0.1, generator)
    assert set(np.unique(after)) == {0.25, 1.0}
    assert after.mean() - before.mean() == pytest.approx(0.1, abs=0.004)


def test_the_stated_power_is_found_for_what_was_planted() -> None:
    """The interval is wide where seeds agree, and the detectable difference counts on that: .8 within the noise of 15 comparisons."""
    generator = np.random.default_rng(2)
    found = planted(runs(generator, 15), runs(generator, 15), generator=generator, plantings=8)
    assert found is not None
    assert 0.01 < found.shift < 0.2
    assert found.plantings == 120
    assert found.found.n == 15
    assert 0.6 < found.found.value <= 1.0


def test_nothing_is_planted_where_there_is_no_room_or_no_spread() -> None:
    generator = np.random.default_rng(3)
    full = [np.ones((6, 50))] * 3
    assert planted(full, full, generator=generator) is None
    with pytest.raises(ValueError, match="outcomes must lie"):
        false_positives([np.full((2, 3), 1.5)], [np.ones((2, 3))], generator=generator)
