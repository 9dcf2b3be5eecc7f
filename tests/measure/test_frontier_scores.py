"""Scores against KL on planted points, by hand and by brute force."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.measure.frontier_scores import Half, dominated, envelope, mean_value, optimal_gain, reached, value_at
from harness.measure.statistics import replicated, replicated_all


def half(kl: list[float], value: list[float], start: float = 0.5) -> Half:
    return Half(np.array(kl)[:, None], np.array(value)[:, None], np.array([start]))


def test_an_envelope_by_hand() -> None:
    """Points (1, .7), (2, .6), (4, .9): E is .5 below 1, .7 to 4, then .9; over [0, 5] (0.5 + 3 x 0.7 + 0.9) / 5 = 0.7."""
    points = half([2, 4, 1], [0.6, 0.9, 0.7])
    steps = envelope(points, points)
    assert [float(value_at(steps, kl)[0]) for kl in (0, 0.99, 1, 3.9, 4, 100)] == [0.5, 0.5, 0.7, 0.7, 0.9, 0.9]
    assert mean_value(steps, 5.0) == pytest.approx(0.7)
    assert mean_value(steps, 1.0) == pytest.approx(0.5)


def test_what_is_chosen_on_one_half_is_scored_on_the_other() -> None:
    """The first half prefers the point at KL 1, which the other half finds worse than the reference."""
    steps = envelope(half([1, 2], [0.8, 0.7]), half([1, 2], [0.4, 0.9]))
    assert float(value_at(steps, 2)[0]) == pytest.approx(0.4)


def test_choosing_and_scoring_on_other_prompts_has_no_winners_curse() -> None:
    """Eight points of true value .5 at one KL: the best of them looks better than .5 on its own prompts, and is .5 on others."""
    generator = np.random.default_rng(0)
    kl, start = np.ones((8, 4000)), np.full(4000, 0.5)
    noisy = [Half(kl, 0.5 + 0.02 * generator.normal(size=kl.shape), start) for _ in range(2)]
    assert value_at(envelope(noisy[0], noisy[0]), 1.0).mean() > 0.52
    assert value_at(envelope(noisy[0], noisy[1]), 1.0).mean() == pytest.approx(0.5, abs=0.001)


@given(st.lists(st.tuples(st.floats(0.01, 5), st.floats(0, 1)), min_size=1, max_size=6), st.floats(0.1, 6))
def test_the_area_is_the_integral_of_the_maximum(points: list[tuple[float, float]], top: float) -> None:
    kl, value = (list(each) for each in zip(*points, strict=True))
    steps = envelope(half(kl, value), half(kl, value))
    grid = (np.arange(4000) + 0.5) / 4000 * top
    brute = [max([0.5, *(v for k, v in points if k <= at)]) for at in grid]
    assert float(mean_value(steps, top)[0]) == pytest.approx(np.mean(brute), abs=0.005)


def test_every_resample_has_an_order_of_its_own() -> None:
    kl = np.array([[1.0, 2.0], [2.0, 1.0]])
    both = Half(kl, np.array([[0.6, 0.6], [0.7, 0.7]]), np.full(2, 0.5))
    assert value_at(envelope(both, both), 1.5) == pytest.approx([0.6, 0.7])


def test_dominated_points() -> None:
    """(1, .7) is beaten by (0.5, .7), (3, .9) by nobody; a point equal in both is not beaten."""
    mine, theirs = half([1.0, 3.0, 2.0], [0.7, 0.9, 0.8]), half([0.5, 2.0], [0.7, 0.8])
    assert dominated(mine, mine, theirs, theirs) == pytest.approx(1 / 3)
    assert dominated(mine, mine, half([], []), half([], [])) == pytest.approx(0)


def test_a_rival_must_beat_a_point_on_other_prompts_than_it_was_chosen_on() -> None:
    """Eight rivals as good as the point: on the prompts that chose it the best is ahead 8 times in 9, on others in 1 of 2."""
    generator = np.random.default_rng(0)
    start = np.full(4000, 0.5)
    mine = [Half(np.ones((1, 4000)), 0.7 + 0.02 * generator.normal(size=(1, 4000)), start) for _ in range(2)]
    theirs = [Half(np.ones((8, 4000)), 0.7 + 0.02 * generator.normal(size=(8, 4000)), start) for _ in range(2)]
    assert dominated(mine[0], mine[0], theirs[0], theirs[0]).mean() == pytest.approx(8 / 9, abs=0.02)
    assert dominated(*mine, *theirs).mean() == pytest.approx(0.5, abs=0.03)


def test_the_optimal_gain_is_interpolated_and_never_extrapolated() -> None:
    line_kl, line_value = (np.tile(np.array(each)[:, None], 3) for each in ([0.0, 1.0, 2.0], [0.5, 0.8, 0.9]))
    gains = optimal_gain(line_kl, line_value, np.array([0.5, 2.0, 2.001]))
    assert gains[:2] == pytest.approx([0.15, 0.4])
    assert np.isnan(gains[2])
    agreed = optimal_gain(line_kl[:, :2], line_value[:, :2], np.array([0.3, 1.7]))
    assert agreed == pytest.approx(np.interp([0.3, 1.7], [0, 1, 2], [0, 0.3, 0.4]))


def test_compute_to_reach_a_value_is_censored() -> None:
    compute, value = np.array([4.0, 1.0, 2.0]), np.array([[0.9, 0.9], [0.5, 0.5], [0.7, 0.5]])
    assert reached(compute, value, 0.6).tolist() == [2.0, 4.0]
    assert np.isinf(reached(compute, value, 0.95)).all()


@pytest.mark.parametrize("seeds", [1, 3])
def test_many_statistics_at_once_are_what_each_is_alone(seeds: int) -> None:
    tables = np.random.default_rng(1).normal(2, 1, size=(2, seeds, 60))
    both = replicated_all(tables, lambda a, b: np.stack([a / b, a - b]), generator=np.random.default_rng(2))
    assert both[0] == pytest.approx(replicated(tables, lambda a, b: a / b, generator=np.random.default_rng(2)))
    assert both[1] == pytest.approx(replicated(tables, lambda a, b: a - b, generator=np.random.default_rng(2)))
