"""Cross-fitting: labels that follow a direction are predicted, coin flips are not, and no pair's own label helps it."""

from __future__ import annotations

import numpy as np
import pytest

from harness.doctor import crossfit

N, FEATURES = 2000, 6


def made(flip: float, seed: int = 0, n: int = N) -> tuple[np.ndarray, list[str]]:
    """Differences whose first feature decides the label, but for a share ``flip`` of labels the wrong way round."""
    generator = np.random.default_rng(seed)
    differences = generator.normal(size=(n, FEATURES))
    better = np.sign(differences[:, 0]) * np.where(generator.random(n) < flip, -1, 1)
    return differences * better[:, None], [f"prompt {i}" for i in range(n)]


@pytest.mark.parametrize(("flip", "expected"), [(0.0, 0.99), (0.2, 0.79), (0.5, 0.5)])
def test_accuracy_is_how_often_labels_follow_the_features(flip: float, expected: float) -> None:
    """A head that finds the direction sides with 1 - flip of the labels; 2000 pairs know that to sd .011, and the direction well."""
    differences, prompts = made(flip)
    found = crossfit.agreement(crossfit.right(differences, prompts), prompts)
    assert found.value == pytest.approx(expected, abs=0.03)
    assert found.lower < found.value < found.upper and found.n == N


def test_more_features_than_pairs_do_not_predict_coin_flips() -> None:
    """In-sample such a head is perfect, so a leak of a pair's own label would show as 1."""
    generator = np.random.default_rng(1)
    differences = generator.normal(size=(120, 300))
    assert np.mean(crossfit.right(differences, [f"p{i}" for i in range(120)])) == pytest.approx(0.5, abs=0.12)


def test_pairs_of_one_prompt_are_judged_together() -> None:
    """The same row many times under one prompt: a head that saw a copy would be sure of it."""
    generator = np.random.default_rng(2)
    rows = generator.normal(size=(40, 80))
    differences, prompts = np.repeat(rows, 6, axis=0), [f"p{i}" for i in range(40) for _ in range(6)]
    assert len(set(zip(prompts, crossfit.folds(prompts, 5, "outer").tolist(), strict=True))) == 40
    assert np.mean(crossfit.right(differences, prompts)) == pytest.approx(0.5, abs=0.2)


def test_the_head_is_where_the_gradient_of_the_penalised_loss_vanishes() -> None:
    differences, _ = made(0.2, n=400)
    weights = crossfit.fitted(differences, 3.0)
    gradient = 3.0 * weights - differences.T @ (1 / (1 + np.exp(differences @ weights)))
    assert np.abs(gradient).max() < 1e-2
    assert np.linalg.norm(crossfit.fitted(differences, 300.0)) < np.linalg.norm(weights)
