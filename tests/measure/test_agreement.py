"""Agreement of two judges: kappa by hand and by statsmodels, what chance gives, and intervals that hold it."""

from __future__ import annotations

import numpy as np
import pytest

from harness.measure.agreement import agreement

GENERATOR = np.random.default_rng


def table(values: list[float]) -> np.ndarray:
    return np.array(values).reshape(1, 1, -1)


def test_kappa_by_hand() -> None:
    """Wins and losses in a 2 x 2 table of 20, 5, 10, 15: p_o = .7, p_e = .5 * .6 + .5 * .4 = .5, so kappa = .4 (Cohen 1960)."""
    first = table([1.0] * 25 + [0.0] * 25)
    second = table([1.0] * 20 + [0.0] * 5 + [1.0] * 10 + [0.0] * 15)
    found = agreement(first, second, generator=GENERATOR(0))
    assert found.share.value == pytest.approx(0.7)
    assert found.kappa is not None
    assert found.kappa.value == pytest.approx(0.4)
    assert found.kappa.lower < 0.4 < found.kappa.upper
    assert (found.comparisons, found.share.n) == (50, 50)


def test_kappa_is_that_of_statsmodels() -> None:
    inter_rater = pytest.importorskip("statsmodels.stats.inter_rater")
    generator = GENERATOR(1)
    first = generator.choice([0.0, 0.5, 1.0], size=(3, 2, 60), p=(0.3, 0.1, 0.6))
    second = np.where(generator.random(first.shape) < 0.6, first, generator.choice([0.0, 0.5, 1.0], size=first.shape))
    counts = np.array([[((first == a) & (second == b)).sum() for b in (0, 0.5, 1)] for a in (0, 0.5, 1)])
    found = agreement(first, second, generator=generator)
    assert found.kappa is not None
    assert found.kappa.value == pytest.approx(inter_rater.cohens_kappa(counts).kappa)
    assert found.comparisons == 360


def test_judges_that_answer_at_random_agree_by_chance_only() -> None:
    generator = GENERATOR(2)
    first, second = (generator.choice([0.0, 1.0], size=(4, 3, 400), p=(0.2, 0.8)) for _ in range(2))
    found = agreement(first, second, generator=generator)
    assert found.kappa is not None
    assert found.share.value > 0.6
    assert found.kappa.lower < 0 < found.kappa.upper


def test_a_judge_agrees_with_itself_and_one_answer_alone_has_no_kappa() -> None:
    mixed = table([1.0, 0.0, 0.5, 1.0] * 10)
    same = agreement(mixed, mixed, generator=GENERATOR(0))
    assert (same.share.value, same.kappa and same.kappa.value) == (1.0, 1.0)
    constant = agreement(np.ones((1, 2, 9)), np.ones((1, 2, 9)), generator=GENERATOR(0))
    assert (constant.share.value, constant.kappa) == (1.0, None)


@pytest.mark.parametrize("second", [np.full((1, 1, 4), 0.3), np.ones((1, 4, 1))])
def test_what_is_no_answer_is_refused(second: np.ndarray) -> None:
    with pytest.raises(ValueError, match=r"outcomes of 1, 1/2 and 0|one shape"):
        agreement(np.ones((1, 1, 4)), second, generator=GENERATOR(0))
