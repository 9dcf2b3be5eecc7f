"""The area under the ROC curve of scores against single labels: by hand, against an analytic variance, and its coverage."""

from __future__ import annotations

from statistics import NormalDist

import numpy as np
import pytest

from harness.measure.statistics.ordering import auc


def made() -> np.random.Generator:
    return np.random.default_rng(0)


def test_it_is_the_share_of_couples_in_order() -> None:
    """Desirable 3, 1 and undesirable 2, 1, 0: of six couples 3>2, 3>1, 3>0 and 1>0 are in order, 1=1 is a tie, 1<2 is wrong: 4.5 / 6."""
    found = auc([3, 1, 2, 1, 0], [True, True, False, False, False], range(5), generator=made())
    assert found is not None and (found.value, found.n) == (0.75, 5)
    assert auc([3, 1], [True, True], [0, 1], generator=made()) is None
    alone = auc([3, 1], [True, False], [0, 0], generator=made())
    assert alone is not None and alone.value == 1 and np.isnan(alone.lower)


def test_perfect_order_is_as_sure_as_its_independent_couples() -> None:
    """Nine prompts of one label and twelve of the other make nine couples without a common prompt: at 1, .025^(1 / 9) = .6637."""
    scores, good = np.array([5, 4, 3, 2, 1, 0, -1] * 3), np.array([True, True, True, False, False, False, False] * 3)
    found = auc(scores, good, range(21), generator=made())
    assert found == (1.0, pytest.approx(0.6637, abs=1e-4), 1.0, 21)
    assert auc(-scores, good, range(21), generator=made()) == (0.0, 0.0, pytest.approx(0.3363, abs=1e-4), 21)
    both = auc(scores, good, [0, 1, 2, 0, 1, 2, 2] * 3, generator=made())  # of three prompts two make one couple
    assert both == (1.0, pytest.approx(0.025), 1.0, 3)


def data(generator: np.random.Generator, prompts: int, each: int, apart: float, sway: float) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Scores, labels and prompts: all responses of a prompt have its label, and share what it does to the score."""
    place, label = np.repeat(np.arange(prompts), each), np.arange(prompts) % 2 == 0
    scores = apart * label[place] + sway * generator.normal(size=prompts)[place] + generator.normal(size=len(place))
    return scores, label[place], place


def obuchowski(scores: np.ndarray, good: np.ndarray, place: np.ndarray) -> float:
    """The standard error of a clustered AUC by structural components, Obuchowski 1997 (Biometrics 53, 567-578), equation 4 and below."""
    psi = np.greater.outer(scores[good], scores[~good]) + 0.5 * np.equal.outer(scores[good], scores[~good])
    theta, sides = psi.mean(), ((place[good], psi.mean(1)), (place[~good], psi.mean(0)))
    size = place.max() + 1
    (first, m), (second, n) = ((np.bincount(where, part - theta, size), len(part)) for where, part in sides)
    i10, i01 = (len(np.unique(where)) for where, _ in sides)
    s10, s01 = i10 / ((i10 - 1) * m) * (first**2).sum(), i01 / ((i01 - 1) * n) * (second**2).sum()
    s11 = size / (size - 1) * (first * second).sum()
    return float(np.sqrt(s10 / m + s01 / n + 2 * s11 / (m * n)))


@pytest.mark.parametrize(("each", "sway"), [(1, 0.0), (4, 1.0)])
def test_its_width_is_that_of_the_analytic_standard_error(each: int, sway: float) -> None:
    scores, good, place = data(np.random.default_rng(3), 300, each, 1.0, sway)
    found = auc(scores, good, place, generator=made())
    assert found is not None and found.n == 300
    assert (found.upper - found.lower) / (2 * 1.96) == pytest.approx(obuchowski(scores, good, place), rel=0.06)


def test_a_response_said_four_times_is_no_more_evidence_than_said_once() -> None:
    scores, good, place = data(np.random.default_rng(1), 40, 1, 1.0, 0.0)
    once = auc(scores, good, place, generator=made())
    often = auc(np.repeat(scores, 4), np.repeat(good, 4), np.repeat(place, 4), generator=made())
    assert once is not None and often is not None
    assert often == pytest.approx(once)
    apart = auc(np.repeat(scores, 4), np.repeat(good, 4), range(160), generator=made())
    assert apart is not None
    assert (apart.upper - apart.lower) / (often.upper - often.lower) == pytest.approx(0.5, abs=0.06)


def test_the_interval_covers_where_a_prompt_sways_all_its_responses() -> None:
    """Of 40 prompts with four responses, N(1, 1 + 1) against N(0, 1 + 1): the AUC is Phi(1 / 2). 300 draws."""
    generator, truth = np.random.default_rng(0), NormalDist().cdf(0.5)
    covered = {"prompts": 0, "responses": 0}
    for _ in range(300):
        scores, good, place = data(generator, 40, 4, 1.0, 1.0)
        for name, clusters in (("prompts", place), ("responses", np.arange(160))):
            found = auc(scores, good, clusters, generator=made(), resamples=400)
            covered[name] += found is not None and found.lower <= truth <= found.upper
    assert covered["prompts"] / 300 > 0.9 > 0.85 > covered["responses"] / 300
