"""Best-of-n against closed forms, against all subsets, and against fresh draws."""

from __future__ import annotations

from itertools import combinations

import numpy as np
import pytest

from harness.measure.best_of_n import best_of_n, best_win, kl_bound


def test_every_subset_counts_once() -> None:
    generator = np.random.default_rng(0)
    by, values = generator.normal(size=(3, 7)), generator.normal(size=(3, 7))
    for n in (1, 3, 7):
        brute = [
            np.mean([row[max(s, key=lambda i, row=row, score=score: score[i])] for s in combinations(range(7), n)])
            for row, score in zip(values, by, strict=True)
        ]
        assert best_of_n(by, values, [n])[0] == pytest.approx(brute)


def test_wins_count_opponents_outside_the_subset_alone() -> None:
    """Enumerates every subset of 6 samples with ties: its best by the proxy against each sample that is not in it."""
    generator = np.random.default_rng(1)
    by, gold = generator.normal(size=(2, 6)), generator.integers(0, 3, size=(2, 6)).astype(float)
    for n in (1, 2, 5):
        brute = []
        for score, row in zip(by, gold, strict=True):
            games = []
            for subset in combinations(range(6), n):
                best = max(subset, key=lambda i, score=score: score[i])
                games += [float(row[best] > row[j]) + 0.5 * float(row[best] == row[j]) for j in range(6) if j not in subset]
            brute.append(np.mean(games))
        assert best_win(by, gold, [n])[0] == pytest.approx(brute)


@pytest.mark.parametrize("n", [1, 2, 4, 16, 31])
def test_the_best_by_gold_wins_n_of_n_plus_one_games(n: int) -> None:
    gold = np.random.default_rng(2).normal(size=(5, 32))
    assert best_win(gold, gold, [n])[0] == pytest.approx(n / (n + 1))


def test_uniform_gold_has_the_mean_of_its_order_statistic() -> None:
    gold = np.random.default_rng(3).uniform(size=(4000, 16))
    for n in (1, 4, 16):
        assert best_of_n(gold, gold, [n]).mean() == pytest.approx(n / (n + 1), abs=0.005)


def test_a_proxy_without_information_gains_nothing() -> None:
    generator = np.random.default_rng(4)
    by, gold = generator.normal(size=(4000, 16)), generator.normal(size=(4000, 16))
    assert best_of_n(by, gold, [8]).mean() == pytest.approx(0, abs=0.02)
    assert best_win(by, gold, [8]).mean() == pytest.approx(0.5, abs=0.01)


def test_the_bound() -> None:
    assert kl_bound(1) == 0
    assert kl_bound(32) == pytest.approx(2.497, abs=1e-3)


def test_n_is_held_to_the_samples_there_are() -> None:
    table = np.zeros((2, 4))
    with pytest.raises(ValueError, match="1 to 4 samples"):
        best_of_n(table, table, [1, 5])
    with pytest.raises(ValueError, match="no opponent left"):
        best_win(table, table, [2, 4])
