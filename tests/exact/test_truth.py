"""Exact truth in worlds small enough to work out by hand, and laws of optima and frontiers."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from harness.exact import truth, world
from harness.exact.world import World

# Two responses, uniform reference, rewards 1 and 0.
TWO = World(np.log(np.full((1, 2), 0.5)), np.array([[1.0, 0.0]]))
P = 1 / (1 + math.exp(-1))  # .731059, of the better one to be preferred


def test_the_optimum_of_two_responses() -> None:
    """ref exp(r / beta) / Z is sigma(1 / beta) on the better one: .880797 at beta = .5."""
    assert np.exp(truth.tilted(TWO, TWO.reward, 0.5))[0, 0] == pytest.approx(0.880797, abs=1e-6)


def test_win_rates_of_two_responses() -> None:
    """The better one beats a reference sample with (1/2 + p) / 2 = .615529, the worse one with .384471; the reference wins one half."""
    assert truth.wins(TWO)[0] == pytest.approx([(0.5 + P) / 2, 1 - (0.5 + P) / 2], abs=1e-12)
    assert truth.expected(TWO.reference, truth.wins(TWO)) == pytest.approx(0.5, abs=1e-12)


def test_the_place_of_a_policy_that_always_answers_with_the_better_one() -> None:
    """KL log 2, reward 1, win rate (1/2 + p) / 2; nobody has more."""
    found = truth.place(TWO, np.log(np.array([[1 - 1e-15, 1e-15]])))
    assert found == pytest.approx((math.log(2), 1.0, (0.5 + P) / 2, 0.0, 0.0), abs=1e-9)


def test_the_place_of_a_policy_below_the_frontier() -> None:
    """Always the worse one: KL log 2 again, reward 0, and the frontier at that KL has 1."""
    found = truth.place(TWO, np.log(np.array([[1e-15, 1 - 1e-15]])))
    assert found.below_reward == pytest.approx(1.0, abs=1e-9)
    assert found.below_wins == pytest.approx(P - 0.5, abs=1e-9)


@settings(max_examples=20, deadline=None, derandomize=True)
@given(seed=st.integers(0, 1000), temperature=st.floats(0.2, 20.0))
def test_tilted_references_are_the_frontier(seed: int, temperature: float) -> None:
    small = world.drawn(seed, prompts=3, responses=4)
    tilt = truth.place(small, truth.tilted(small, small.reward, temperature))
    assert tilt.below_reward == pytest.approx(0.0, abs=1e-8)
    assert truth.place(small, truth.tilted(small, truth.wins(small), temperature)).below_wins == pytest.approx(0.0, abs=1e-8)


@settings(max_examples=20, deadline=None, derandomize=True)
@given(seed=st.integers(0, 1000))
def test_no_policy_is_above_a_frontier(seed: int) -> None:
    small = world.drawn(seed, prompts=3, responses=4)
    other = world.drawn(seed + 1, prompts=3, responses=4).reference
    found = truth.place(small, other)
    assert found.below_reward > -1e-9
    assert found.below_wins > -1e-9


def test_the_nearest_tilt_of_a_tilt_is_itself() -> None:
    small = world.drawn(3)
    found = truth.nearest(small, truth.tilted(small, small.reward, 0.7), small.reward)
    assert found.temperature == pytest.approx(0.7, rel=1e-4)
    assert found.distance == pytest.approx(0.0, abs=1e-9)


def test_a_population_weighs_every_ordered_pair() -> None:
    """Two responses: the pair (0, 1) has weight 1/4 p, the pair (1, 0) 1/4 (1 - p)."""
    first, second = world.population(TWO)
    assert (first.weight, second.weight) == pytest.approx((P / 4, (1 - P) / 4))
    assert (first.chosen, first.rejected, first.margin) == ((4,), (5,), 1.0)
    assert (second.chosen, second.agreement) == ((5,), pytest.approx(1 - P))


def _shares(labels: str, coverage: float = 1.0, pairs: int = 4000) -> tuple[float, set[int]]:
    small = World(np.log(np.full((1, 4), 0.25)), np.array([[1.0, 0.0, -1.0, -2.0]]))
    found = world.sampled(small, pairs, np.random.default_rng(0), labels=labels, coverage=coverage)
    seen = {small.column(ids) for pair in found for ids in (pair.chosen, pair.rejected)}
    return float(np.mean([pair.margin is not None and pair.margin > 0 for pair in found])), seen


def test_labels_side_with_the_better_response_as_often_as_they_say() -> None:
    """bt: of the six pairs three differ by 1, two by 2, one by 3: (3 sigma(1) + 2 sigma(2) + sigma(3)) / 6 = .8179; se .006."""
    assert _shares("bt")[0] == pytest.approx(0.8179, abs=0.02)
    assert _shares("deterministic")[0] == 1.0
    assert _shares("noisy")[0] == pytest.approx(0.8, abs=0.02)


def test_partial_coverage_leaves_responses_out() -> None:
    assert _shares("bt", 0.5, 200)[1] == {0, 1}
    assert _shares("bt", 1.0, 200)[1] == {0, 1, 2, 3}
