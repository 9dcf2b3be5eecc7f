"""Bradley-Terry strengths against choix, and the head-to-head matrix on scores whose order is known."""

from __future__ import annotations

import numpy as np
import pytest

from harness.measure.statistics.strengths import bradley_terry, head_to_head, outcomes


def test_strengths_agree_with_choix() -> None:
    """Five items, 40 comparisons of every pair: the same maximum likelihood as choix on the list of single results."""
    import choix

    generator = np.random.default_rng(0)
    won = generator.integers(5, 36, size=(5, 5))
    pairs = [(i, j) for i in range(5) for j in range(5) if i < j]
    shares, results = np.full((5, 5), 0.5), []
    for i, j in pairs:
        shares[i, j], shares[j, i] = won[i, j] / 40, 1 - won[i, j] / 40
        results += [(i, j)] * int(won[i, j]) + [(j, i)] * int(40 - won[i, j])
    np.testing.assert_allclose(bradley_terry(shares[None])[0], choix.ilsr_pairwise(5, results), atol=1e-6)


def test_two_items_are_the_log_odds_apart() -> None:
    """P = e^a / (e^a + e^b) = .8, so a - b = log 4, and they are centred."""
    found = bradley_terry([[[0.5, 0.8], [0.2, 0.5]], [[0.5, 0.5], [0.5, 0.5]]])
    assert found[0] == pytest.approx([np.log(4) / 2, -np.log(4) / 2])
    assert found[1] == pytest.approx([0, 0])


def test_an_item_that_always_wins_has_no_finite_strength() -> None:
    always = np.array([[0.5, 1, 1], [0, 0.5, 0.5], [0, 0.5, 0.5]])
    circle = np.array([[0.5, 1, 0], [0, 0.5, 1], [1, 0, 0.5]])
    found = bradley_terry([always, circle])
    assert np.isnan(found[0]).all()
    assert found[1] == pytest.approx([0, 0, 0])  # a circle has a maximum, and it says nothing


def test_ties_are_half_and_a_difference_within_the_tolerance_is_a_tie() -> None:
    assert outcomes(np.array([1.0, 1, 1]), np.array([0.0, 1 + 1e-9, 2])).tolist() == [1, 0.5, 0]


def scores(shifts: dict[str, float], seeds: int = 3, prompts: int = 200) -> dict[str, np.ndarray]:
    generator = np.random.default_rng(1)
    hard = generator.normal(size=(1, prompts))
    return {name: hard + shift + generator.normal(size=(seeds, prompts)) for name, shift in shifts.items()}


def test_the_matrix_and_the_strengths_follow_the_scores() -> None:
    """Normal scores 1 apart with noise 1 each: P = Phi(1 / sqrt 2) = .760; the stronger is stronger beyond doubt."""
    found = head_to_head(scores({"a": 1.0, "b": 0.0, "c": 0.0}), generator=np.random.default_rng(2))
    assert found.names == ("a", "b", "c")
    win, lost = found.shares[0][1], found.shares[1][0]
    assert win.value == pytest.approx(0.760, abs=0.05)
    assert win.lower < 0.76 < win.upper
    assert (lost.value, lost.lower, lost.upper) == pytest.approx((1 - win.value, 1 - win.upper, 1 - win.lower))
    assert found.shares[2][2][:3] == (0.5, 0.5, 0.5)
    assert found.strengths["a"].lower > max(found.strengths["b"].value, found.strengths["c"].value)
    assert sum(each.value for each in found.strengths.values()) == pytest.approx(0)


def test_only_ties_is_one_half_everywhere() -> None:
    same = np.ones((2, 30))
    found = head_to_head({"a": same, "b": same}, generator=np.random.default_rng(0))
    assert found.shares[0][1][:3] == pytest.approx((0.5, 0.5, 0.5))
    assert found.strengths["a"][:3] == pytest.approx((0, 0, 0))


def test_one_seed_leaves_the_prompts_and_one_prompt_leaves_nothing() -> None:
    one = head_to_head(scores({"a": 0.5, "b": 0.0}, seeds=1), generator=np.random.default_rng(0))
    assert one.shares[0][1].lower < one.shares[0][1].value < one.shares[0][1].upper
    none = head_to_head(scores({"a": 0.5, "b": 0.0}, prompts=1), generator=np.random.default_rng(0))
    assert np.isnan(none.shares[0][1].lower)


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"a": np.ones((1, 2))}, "two or more"),
        ({"a": np.ones((1, 2)), "b": np.ones((1, 3))}, "same seeds and prompts"),
        ({"a": np.ones(2), "b": np.ones(2)}, "finite scores"),
        ({"a": np.full((1, 2), np.nan), "b": np.ones((1, 2))}, "finite scores"),
    ],
)
def test_scores_that_cannot_be_compared_are_refused(given: dict[str, np.ndarray], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        head_to_head(given, generator=np.random.default_rng(0))
    with pytest.raises(ValueError, match="shares in"):
        bradley_terry([[[0.5, 1.5], [-0.5, 0.5]]])
