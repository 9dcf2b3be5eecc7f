"""Length control: equal to statsmodels' GLM, blind to what is only longer, and silent where equal lengths were never seen."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.special import expit

from harness.measure.length_control import Matches, controlled, fit, rates

PROMPTS, OPPONENTS = 384, 4
Random = np.random.Generator


def planted(generator: Random, *, merit: float, longer: float, bias: float, hard: float = 1.0, prompts: int = PROMPTS) -> Matches:
    """A policy whose responses are ``longer`` standard deviations longer; its judge adds ``bias`` nats for length to its ``merit``."""
    lengths = np.round(generator.normal(longer * 5, 5, (prompts, OPPONENTS)))
    odds = merit + bias * np.tanh(lengths / lengths.std()) + generator.normal(0, hard, (prompts, 1))
    return Matches((generator.random(odds.shape) < expit(odds)).astype(float), lengths)


def test_the_fit_without_prompts_is_that_of_statsmodels() -> None:
    """A prior so narrow that psi is 0 leaves a binomial GLM with two coefficients; ties are outcomes of one half."""
    import statsmodels.api as sm

    generator = np.random.default_rng(0)
    match = planted(generator, merit=0.4, longer=0.5, bias=1.5)
    match.wins[generator.random(match.wins.shape) < 0.1] = 0.5
    found = fit([match], penalty=1e9)
    oracle = sm.GLM(match.wins.ravel(), sm.add_constant(match.terms.ravel()), family=sm.families.Binomial()).fit()
    assert found.policies[0] == pytest.approx(oracle.params, abs=2e-4)
    assert rates(match, [0, 0], np.zeros(PROMPTS), np.ones((1, PROMPTS)))[0] == pytest.approx(expit(oracle.params[0]), abs=1e-4)


def test_the_fit_with_prompts_is_that_of_statsmodels() -> None:
    """Without a prior: a dummy for every prompt, two policies, few prompts that were each won and lost."""
    import statsmodels.api as sm

    generator = np.random.default_rng(1)
    pair = [planted(generator, merit=m, longer=d, bias=1.0, prompts=30) for m, d in ((0.2, 0.5), (-0.3, -0.5))]
    mixed = np.stack([m.wins for m in pair]).mean((0, 2))
    kept = (mixed > 0) & (mixed < 1)
    pair = [Matches(m.wins[kept], m.lengths[kept]) for m in pair]
    prompts = int(kept.sum())
    policy, prompt, _ = (each.ravel() for each in np.indices((2, prompts, OPPONENTS)))
    terms = np.stack([m.terms for m in pair]).ravel()
    dummies = [prompt == x for x in range(1, prompts)]
    design = np.column_stack([policy == 0, policy == 1, terms * (policy == 0), terms * (policy == 1), *dummies])
    oracle = sm.GLM(np.stack([m.wins for m in pair]).ravel(), design.astype(float), family=sm.families.Binomial()).fit()
    found = fit(pair, penalty=0.0)
    assert found.policies[:, 1] == pytest.approx(oracle.params[2:4], abs=0.01)
    assert found.policies[0, 0] - found.policies[1, 0] == pytest.approx(oracle.params[0] - oracle.params[1], abs=0.01)


def test_newton_finds_the_optimum_of_the_joint_fit() -> None:
    generator = np.random.default_rng(2)
    match = planted(generator, merit=0.5, longer=0.3, bias=1.0)
    found = fit([match])
    expected = expit(found.policies[0, 0] + found.prompts).mean()
    assert rates(match, [0, 0], found.prompts, np.ones((1, PROMPTS)))[0] == pytest.approx(expected, abs=1e-4)


@pytest.mark.parametrize("seed", range(3))
def test_a_policy_that_is_only_longer_comes_back_to_one_half(seed: int) -> None:
    """Under a judge that likes length: raw about .66, controlled .5 within its interval and 4 points."""
    generator = np.random.default_rng(seed)
    match = planted(generator, merit=0.0, longer=1.0, bias=1.5)
    found = controlled([match], [fit([match])], 0, generator=generator).rate
    assert match.wins.mean() > 0.62
    assert found is not None
    assert found.value == pytest.approx(0.5, abs=0.05)
    assert found.lower < 0.5 < found.upper
    assert found.n == PROMPTS


def test_a_policy_that_is_better_and_no_longer_keeps_its_win_rate() -> None:
    generator = np.random.default_rng(3)
    match = planted(generator, merit=1.0, longer=0.0, bias=1.5)
    found = controlled([match], [fit([match])], 0, generator=generator).rate
    assert found is not None
    assert found.value == pytest.approx(match.wins.mean(), abs=0.02)
    assert found.lower > 0.6


def test_the_interval_covers_the_rate_it_is_of() -> None:
    """40 data sets with a known controlled rate: about 38 of their intervals should hold it; fewer than 33 would be a defect."""
    generator = np.random.default_rng(4)
    truth = expit(0.5 + np.random.default_rng(5).normal(0, 1, 100_000)).mean()
    held = 0
    for _ in range(40):
        match = planted(generator, merit=0.5, longer=0.5, bias=1.0, prompts=200)
        found = controlled([match], [fit([match])], 0, generator=generator).rate
        assert found is not None
        held += found.lower <= truth <= found.upper
    assert held >= 33


def test_seeds_widen_the_interval() -> None:
    generator = np.random.default_rng(6)
    seeds = [planted(generator, merit=m, longer=0.5, bias=1.0) for m in (0.0, 0.5, 1.0)]
    fits = [fit([match]) for match in seeds]
    both = controlled(seeds, fits, 0, generator=np.random.default_rng(0)).rate
    alone = [controlled([m], [f], 0, generator=np.random.default_rng(0)).rate for m, f in zip(seeds, fits, strict=True)]
    assert both is not None
    assert both.value == pytest.approx(np.mean([each.value for each in alone if each]), abs=1e-6)
    assert both.upper - both.lower > 2 * max(each.upper - each.lower for each in alone if each)


def test_lengths_that_were_never_equal_give_a_reason_and_no_number() -> None:
    generator = np.random.default_rng(7)
    match = planted(generator, merit=0.0, longer=4.0, bias=1.0)
    found = controlled([match], [fit([match])], 0, generator=generator)
    assert found.rate is None
    assert found.reason.startswith("longer in ")
    same = Matches(match.wins, np.zeros_like(match.lengths))
    level = controlled([same], [fit([same])], 0, generator=generator).rate
    assert level is not None
    assert level.value == pytest.approx(match.wins.mean(), abs=1e-3)


def test_a_policy_that_wins_always_stays_finite() -> None:
    match = planted(np.random.default_rng(8), merit=0.0, longer=0.0, bias=1.0)
    sure = Matches(np.ones_like(match.wins), match.lengths)
    found = controlled([sure], [fit([sure])], 0, generator=np.random.default_rng(0)).rate
    assert found is not None
    assert found.value > 0.99


def test_foreign_tables_are_refused() -> None:
    match = planted(np.random.default_rng(9), merit=0.0, longer=0.0, bias=1.0, prompts=10)
    with pytest.raises(ValueError, match="same opponents"):
        fit([match, Matches(match.wins[:5], match.lengths[:5])])
    with pytest.raises(ValueError, match=r"outcomes in \[0, 1\]"):
        fit([Matches(match.wins * 2, match.lengths)])
