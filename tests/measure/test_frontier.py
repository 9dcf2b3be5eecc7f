"""The optimal frontier against exact enumeration and against the closed form for Gaussian rewards."""

from __future__ import annotations

import numpy as np
import pytest

from harness.measure.frontier import reference_tilt, tilted

TILTS = (8.0, 4.0, 2.0, 1.0)


def exact(probability: np.ndarray, reward: np.ndarray, tilt: float) -> tuple[float, float]:
    """Mean reward and KL of the tilted distribution over a finite set."""
    policy = probability * np.exp(reward / tilt)
    policy /= policy.sum()
    return float(policy @ reward), float(policy @ np.log(policy / probability))


@pytest.mark.parametrize("tilt", TILTS)
def test_many_samples_agree_with_enumeration(tilt: float) -> None:
    generator = np.random.default_rng(0)
    probability, reward = np.array([0.5, 0.3, 0.15, 0.05]), np.array([0.0, 1.0, 2.0, 4.0])
    samples = generator.choice(reward, p=probability, size=(40, 20000))
    gold, kl = exact(probability, reward, tilt)
    estimate = tilted(samples, tilt)
    assert estimate.gold.mean() == pytest.approx(gold, abs=0.01)
    assert estimate.kl.mean() == pytest.approx(kl, abs=0.01)


@pytest.mark.parametrize("tilt", TILTS)
def test_gaussian_rewards_have_a_closed_form(tilt: float) -> None:
    """Tilting N(m, s^2) by exp(r / b) gives N(m + s^2 / b, s^2): gold m + s^2 / b, KL s^2 / (2 b^2)."""
    samples = np.random.default_rng(1).normal(2.0, 1.5, size=(20, 40000))
    estimate = tilted(samples, tilt)
    assert estimate.gold.mean() == pytest.approx(2 + 2.25 / tilt, abs=0.03)
    assert estimate.kl.mean() == pytest.approx(2.25 / (2 * tilt**2), abs=0.03)


def test_the_line_grows_and_stops_where_samples_run_out() -> None:
    samples = np.random.default_rng(2).normal(size=(64, 32))
    points = reference_tilt(samples, [0.05, 4.0, 1.0, 2.0, 0.5], generator=np.random.default_rng(3))
    kl, gold = ([point[key]["value"] for point in points] for key in ("kl", "gold"))
    assert kl == sorted(kl)
    assert gold == sorted(gold)
    assert all(value >= 0 for value in kl)
    assert all(point["ess"] >= 8 and point["samples"] == 32 for point in points)
    assert [point["ended"] for point in points] == [False] * (len(points) - 1) + [True]
    assert min(point["tilt"] for point in points) > 0.05


def test_equal_rewards_leave_the_reference_where_it_is() -> None:
    points = reference_tilt(np.full((5, 16), 3.0), [1.0], generator=np.random.default_rng(0))
    assert points[0]["kl"]["value"] == pytest.approx(0, abs=1e-12)
    assert points[0]["gold"]["value"] == pytest.approx(3)
    assert points[0]["ess"] == pytest.approx(16)
    assert points[0]["ended"] is False


def test_a_large_reward_does_not_overflow() -> None:
    assert np.isfinite(tilted([[0.0, 5000.0, 1.0]], 0.1).kl).all()


@pytest.mark.parametrize(("gold", "tilt"), [([[1.0, np.nan]], 1.0), ([1.0, 2.0], 1.0), ([[1.0]], 0.0)])
def test_bad_input_is_refused(gold: list[list[float]], tilt: float) -> None:
    with pytest.raises(ValueError, match="finite table"):
        tilted(gold, tilt)
