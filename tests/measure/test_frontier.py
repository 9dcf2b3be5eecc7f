"""The optimal frontiers against exact enumeration, against closed forms, and against each other."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.optimize import brentq
from scipy.stats import norm

from harness.measure.frontier import Line, frontier, mixture_ratios, tilted, win_scores

SCORES = (8.0, 4.0, 2.0, 1.0)
PROBABILITY = np.array([0.5, 0.3, 0.15, 0.05])
REWARD = np.array([0.0, 1.0, 2.0, 4.0])


def wins(probability: np.ndarray, reward: np.ndarray) -> np.ndarray:
    """W of every outcome of a finite set: the probability of beating a draw, ties one half."""
    gaps = reward[:, None] - reward[None, :]
    return np.asarray(((gaps > 0) + 0.5 * (gaps == 0)) @ probability)


def exact(probability: np.ndarray, score: np.ndarray, tilt: float) -> tuple[float, float]:
    """KL and mean score of the tilted distribution over a finite set."""
    policy = probability * np.exp((score - score.max()) / tilt)
    policy /= policy.sum()
    return float(policy @ np.log(np.maximum(policy, 1e-300) / probability)), float(policy @ score)


def exact_line(probability: np.ndarray, score: np.ndarray) -> np.ndarray:
    """The exact frontier, (tilts, 2) of KL and mean score."""
    return np.array([exact(probability, score, tilt) for tilt in np.geomspace(20, 0.03, 400) * score.std()])


def at(line: Line, kl: float) -> float:
    return float(np.interp(kl, line.kl.mean(1), line.value.mean(1)))


@pytest.mark.parametrize("tilt", SCORES)
def test_many_samples_agree_with_enumeration(tilt: float) -> None:
    samples = np.random.default_rng(0).choice(REWARD, p=PROBABILITY, size=(40, 20000))
    kl, mean, _ = tilted(samples, tilt)
    assert (kl.mean(), mean.mean()) == pytest.approx(exact(PROBABILITY, REWARD, tilt), abs=0.01)


@pytest.mark.parametrize("tilt", SCORES)
def test_gaussian_rewards_have_a_closed_form(tilt: float) -> None:
    """Tilting N(m, s^2) by exp(r / b) gives N(m + s^2 / b, s^2): mean m + s^2 / b, KL s^2 / (2 b^2)."""
    kl, mean, _ = tilted(np.random.default_rng(1).normal(2.0, 1.5, size=(20, 40000)), tilt)
    assert mean.mean() == pytest.approx(2 + 2.25 / tilt, abs=0.03)
    assert kl.mean() == pytest.approx(2.25 / (2 * tilt**2), abs=0.03)


@pytest.mark.parametrize("ties", [False, True])
@pytest.mark.parametrize("samples", [16, 32])
def test_the_win_frontier_of_few_samples_is_that_of_enumeration(samples: int, ties: bool) -> None:
    """Ranks of 16 samples give the exact gain within 1 %; uncorrected leave-one-out ranks would be 6 % too high (4 % with ties)."""
    probability, reward = (PROBABILITY, REWARD) if ties else (np.full(2000, 1 / 2000), np.arange(2000.0))
    drawn = np.random.default_rng(2).choice(reward, p=probability, size=(4000, samples))
    line = frontier(win_scores(drawn))
    truth = exact_line(probability, wins(probability, reward))
    for kl in (0.1, 0.3, line.kl.mean(1)[-1]):
        assert at(line, kl) - 0.5 == pytest.approx(np.interp(kl, *truth.T) - 0.5, rel=0.01)


def test_each_axis_has_its_own_optimum() -> None:
    """A rare jackpot: the reward tilt pays KL for it, the win tilt does not, as one safe win is as good; each is best on its own axis."""
    probability, reward = np.array([0.6, 0.38, 0.02]), np.array([0.0, 1.0, 10.0])
    chances = wins(probability, reward)
    by_reward, by_win = ([], [])
    for score, found in ((reward, by_reward), (chances, by_win)):
        for tilt in np.geomspace(100, 0.02, 2000) * score.std():
            policy = probability * np.exp((score - score.max()) / tilt)
            policy /= policy.sum()
            found.append((exact(probability, score, tilt)[0], policy @ chances, policy @ reward))
    reward_tilt, win_tilt = (np.array(each).T for each in (by_reward, by_win))
    at_half = [[np.interp(0.5, each[0], each[axis]) for axis in (1, 2)] for each in (reward_tilt, win_tilt)]
    assert at_half[1][0] > at_half[0][0] + 0.05  # win rate: the win tilt
    assert at_half[0][1] > at_half[1][1] + 1.0  # reward: the reward tilt


def test_the_highest_win_rate_at_one_nat_depends_on_no_reward() -> None:
    """W of a continuous reward is uniform under the reference, so every such task has one win frontier: .86 at KL 1.

    Tilting it by exp(l u) gives Z = (e^l - 1) / l, mean 1 / (1 - e^-l) - 1 / l and KL = l mean - log Z. The reward tilt of a Gaussian
    reward moves it by sqrt(2) deviations at KL 1 and wins only Phi(1) = .841 of its games.
    """

    def mean(sharpness: float) -> float:
        return 1 / (1 - np.exp(-sharpness)) - 1 / sharpness

    sharpness = brentq(lambda x: x * mean(x) - np.log(np.expm1(x) / x) - 1, 1, 50)
    line = frontier(win_scores(np.random.default_rng(6).gumbel(size=(4000, 32))))
    assert line.kl.mean(1)[-1] > 0.9
    assert at(line, 0.9) == pytest.approx(mean(brentq(lambda x: x * mean(x) - np.log(np.expm1(x) / x) - 0.9, 1, 50)), abs=0.003)
    assert mean(sharpness) == pytest.approx(0.8646, abs=1e-4) and mean(sharpness) > norm.cdf(1) + 0.02


def test_a_mixture_of_proposals_reaches_further_and_stays_exact() -> None:
    """Gaussian gold, policies that are themselves tilts: log ratios are mu r - mu^2 / 2, the gold frontier is sqrt(2 KL)."""
    generator, policies, each = np.random.default_rng(3), (1.0, 2.0, 3.0), 6
    gold = generator.normal(size=(2000, 32))
    others = np.hstack([generator.normal(mean, 1, size=(2000, each)) for mean in policies])
    pooled = np.hstack([gold, others])
    ratios = mixture_ratios(np.array([mean * pooled - mean**2 / 2 for mean in policies]), [32, each, each, each])
    alone, mixed = frontier(gold), frontier(pooled, ratios)
    assert alone.kl.mean(1)[-1] < 1.1 and mixed.kl.mean(1)[-1] > 4
    assert mixed.ess.mean(1).min() >= 8 and mixed.ended
    for kl in (0.5, 1.0, 2.0, 4.0):
        assert at(mixed, kl) == pytest.approx(np.sqrt(2 * kl), rel=0.01)
    uniform = exact_line(np.full(2000, 1 / 2000), wins(np.full(2000, 1 / 2000), np.arange(2000.0)))
    best = frontier(win_scores(gold, others), ratios)
    for kl in (0.5, 1.0, 2.0, 2.9):
        assert at(best, kl) - 0.5 == pytest.approx(np.interp(kl, *uniform.T) - 0.5, rel=0.015)


def test_no_ratio_exceeds_one_over_the_references_share() -> None:
    logs = np.random.default_rng(4).normal(scale=30, size=(2, 5, 40))
    ratios = mixture_ratios(logs, [32, 4, 4])
    assert (ratios > 0).all() and ratios.max() <= 40 / 32 + 1e-9
    assert mixture_ratios(np.zeros((2, 5, 40)), [32, 4, 4]) == pytest.approx(np.ones((5, 40)))
    assert np.isfinite(mixture_ratios(np.full((1, 1, 2), 1e6), [1, 1])).all()


def test_the_line_grows_and_stops_where_samples_run_out() -> None:
    line = frontier(np.random.default_rng(5).normal(size=(64, 32)))
    kl, value = line.kl.mean(1), line.value.mean(1)
    assert kl[0] == pytest.approx(0, abs=1e-9)
    assert (np.diff(kl) > 0).all() and (np.diff(value) > 0).all() and (line.kl >= 0).all()
    assert line.ess.mean(1).min() >= 8 and line.ended
    assert frontier(np.random.default_rng(5).normal(size=(64, 32)), smallest_ess=16).kl.mean(1)[-1] < kl[-1]


def test_equal_scores_leave_the_reference_where_it_is() -> None:
    line = frontier(np.full((5, 16), 3.0))
    assert line.kl == pytest.approx(0, abs=1e-9)
    assert line.value == pytest.approx(3)
    assert line.ess == pytest.approx(16)
    assert not line.ended
    assert win_scores(np.full((5, 16), 3.0)) == pytest.approx(0.5)


def test_a_large_score_does_not_overflow() -> None:
    assert np.isfinite(tilted([[0.0, 5000.0, 1.0]], 0.1)[0]).all()


@pytest.mark.parametrize(("scores", "tilt"), [([[1.0, np.nan]], 1.0), ([1.0, 2.0], 1.0), ([[1.0]], 0.0)])
def test_bad_input_is_refused(scores: list[list[float]], tilt: float) -> None:
    with pytest.raises(ValueError, match="finite table"):
        tilted(scores, tilt)


def test_ranks_need_samples() -> None:
    with pytest.raises(ValueError, match="at least 3 samples"):
        win_scores([[1.0, 2.0]])
