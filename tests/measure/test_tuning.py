"""Selection among trials, order of algorithms, tuning effort, and the expected best of k, on trials written by hand."""

from __future__ import annotations

from itertools import combinations, permutations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.measure import tuning
from harness.measure.tuning import Trial


def made(algorithm: str, index: int, score: float | None, gold: float | None, *, grid: str = "beta=1", **more: object) -> Trial:
    values = {"setting": {}, "status": "finished", "outcome": gold, "kl": 1.0, "flops": 10.0, "fingerprint": f"{algorithm}{grid}{index}"}
    return Trial(algorithm=algorithm, grid=grid, index=index, score=score, gold=gold, **{**values, **more})  # type: ignore[arg-type]


def test_each_selection_takes_its_own_and_only_of_what_finished() -> None:
    trials = [
        made("a", 0, 1.0, 2.0),
        made("a", 1, 3.0, 1.0),
        made("a", 2, 2.0, 5.0),
        made("a", 3, 9.0, 9.0, status="diverged"),
        made("a", 0, None, None, grid="beta=2", status="failed"),
    ]
    found = tuning.winners(trials)
    assert [each.index for each in found["a", "beta=1"]] == [1, 0, 2]  # type: ignore[union-attr]
    assert found["a", "beta=2"] == (None, None, None)


def test_of_equal_trials_the_default_stays_whatever_their_order() -> None:
    trials = [made("a", index, 1.0, 1.0) for index in (0, 1, 2)]
    for order in permutations(trials):
        assert tuning.winners(order)["a", "beta=1"].proxy is trials[0]


def test_the_order_of_algorithms_follows_the_selection_and_leaves_controls_out() -> None:
    """a's default is worse than b's and its proxy winner better; under gold, a's hidden best is not what the proxy took."""
    trials = [made("a", 0, 1.0, 2.0), made("a", 1, 4.0, 4.0), made("b", 0, 2.0, 3.0), made("b", 1, 1.0, 9.0)]
    trials.append(made("c", 0, 9.0, 99.0, control=True))
    chosen = tuning.winners(trials)
    assert [each.algorithm for each in tuning.order(chosen, "proxy")] == ["a", "b"]
    assert [each.algorithm for each in tuning.order(chosen, "defaults")] == ["b", "a"]
    assert [each.algorithm for each in tuning.order(chosen, "gold")] == ["b", "a"]


def test_an_algorithm_s_grid_value_is_taken_by_the_selection_s_own_criterion() -> None:
    trials = [made("a", 0, 1.0, 9.0, grid="beta=1"), made("a", 0, 2.0, 3.0, grid="beta=2")]
    chosen = tuning.winners(trials)
    assert tuning.order(chosen, "proxy")[0].grid == "beta=2"
    assert tuning.order(chosen, "gold")[0].grid == "beta=1"


def test_effort_counts_every_trial_and_its_spread_leaves_controls_out() -> None:
    trials = [made("a", 0, 1.0, 1.0), made("a", 1, None, None, status="diverged", flops=2.0), made("b", 0, 1.0, 1.0, flops=12.5)]
    trials.append(made("c", 0, 1.0, 1.0, flops=99.0, control=True))
    spent = tuning.efforts(trials)
    assert spent["a"] == (2, 1, 12.0, False)
    assert tuning.effort_spread(spent) == pytest.approx(0.5 / 12)
    assert tuning.effort_spread({"a": spent["a"], "c": spent["c"]}) is None


@given(st.lists(st.floats(-5, 5), min_size=1, max_size=7), st.integers(0, 10**6))
def test_the_expected_best_is_the_mean_over_all_subsets(scores: list[float], seed: int) -> None:
    """The definition: draw k of n without replacement, take the value of the highest score; averaged over every subset."""
    ranked = np.array(scores) + 1e-6 * np.arange(len(scores))  # no ties: which of two equal scores wins is not defined
    values = np.random.default_rng(seed).normal(size=len(scores))
    wanted = [
        np.mean([values[max(subset, key=lambda i: ranked[i])] for subset in combinations(range(len(ranked)), k)])
        for k in range(1, len(ranked) + 1)
    ]
    np.testing.assert_allclose(tuning.best_of(ranked, values), wanted, atol=1e-9)


def test_the_expected_best_by_hand() -> None:
    """Scores 1, 2, 4: one drawn 7/3; two drawn (2 + 4 + 4) / 3; three drawn 4."""
    np.testing.assert_allclose(tuning.best_of(np.array([4.0, 1.0, 2.0])), [7 / 3, 10 / 3, 4.0])


def test_bounds_hold_the_curve_and_repeat_with_their_generator() -> None:
    scores = np.random.default_rng(0).normal(size=12)
    lower, upper = tuning.best_of_bounds(scores, generator=np.random.default_rng(1))
    curve = tuning.best_of(scores)
    assert (lower[:6] < curve[:6]).all()
    assert (curve[:6] < upper[:6]).all()
    assert (np.diff(curve) >= 0).all()
    again, _ = tuning.best_of_bounds(scores, generator=np.random.default_rng(1))
    np.testing.assert_array_equal(lower, again)


def test_a_record_gives_its_trial_and_what_it_lacks_is_none() -> None:
    record = {
        "status": "finished",
        "fingerprint": "f",
        "setting": {"beta": 0.7, "clip": 1.2},
        "trial_of": {"index": 3, "grid": {"beta": 0.7}},
        "algorithm": {"name": "a", "control": False},
        "compute": {"canonical": {"update": 5.0, "reference": 1.0, "evaluation": 100.0, "tuning": 7.0}},
        "checkpoints": [{"metrics": {"tuning_score": {"value": 1.5}, "kl": {"value": None}, "win_sft": {"value": 0.6}}}],
    }
    found = tuning.trial(record)
    assert (found.grid, found.index, found.score, found.gold, found.kl, found.outcome, found.flops) == (
        "beta=0.7", 3, 1.5, None, None, 0.6, 6.0,
    )  # fmt: skip
    assert tuning.trial({}).score is None
