"""Intervals against known truth, against scipy as oracle, and at the edges."""

from __future__ import annotations

import numpy as np
import pytest

from harness.measure.statistics import (
    Interval,
    label,
    paired_difference,
    paired_two_way,
    prompt_interval,
    prompt_intervals,
    prompt_means,
    replicated,
    resampling,
    reweighted,
    two_way_interval,
    two_way_intervals,
)


def covers(interval: Interval, truth: float) -> bool:
    return interval.lower <= truth <= interval.upper


def test_prompt_interval_covers_the_truth_at_its_level() -> None:
    """400 data sets of 100 skewed values (mean 1): a 95 % interval covers 93-95 %; 5 standard errors below that is 87 %."""
    generator = np.random.default_rng(0)
    hits = [covers(prompt_interval(generator.exponential(size=100), generator=generator, resamples=400), 1.0) for _ in range(400)]
    assert 0.88 < np.mean(hits) < 0.985


def test_prompt_interval_agrees_with_scipy() -> None:
    from scipy.stats import bootstrap

    values = np.random.default_rng(1).normal(size=384)
    mine = prompt_interval(values, generator=np.random.default_rng(2), resamples=20000)
    theirs = bootstrap((values,), np.mean, n_resamples=20000, method="percentile", rng=np.random.default_rng(3)).confidence_interval
    assert mine.lower == pytest.approx(theirs.low, abs=0.004)
    assert mine.upper == pytest.approx(theirs.high, abs=0.004)
    assert mine.value == pytest.approx(values.mean())


def test_samples_of_one_prompt_are_clustered() -> None:
    """Ten copies of each prompt's value add nothing: the interval is that of the prompts, not the sqrt(10) narrower one."""
    values = np.random.default_rng(4).normal(size=60)
    clustered = prompt_interval(np.repeat(values, 10), clusters=np.repeat(np.arange(60), 10), generator=np.random.default_rng(5))
    single = prompt_interval(values, generator=np.random.default_rng(5))
    assert clustered.n == 60
    assert clustered == pytest.approx(single)


def test_means_of_prompts_not_of_samples() -> None:
    """A prompt with many samples weighs as much as one with a single sample: (1 + 0) / 2, not (1 + 0 + 0 + 0) / 4."""
    assert prompt_means([1.0, 0.0, 0.0, 0.0], ["a", "b", "b", "b"]).mean() == 0.5


def test_same_generator_same_interval() -> None:
    values = np.random.default_rng(6).normal(size=50)
    draws = [prompt_interval(values, generator=np.random.default_rng(seed)) for seed in (7, 7, 8)]
    assert draws[0] == draws[1] != draws[2]


def test_paired_difference_removes_what_prompts_share() -> None:
    generator = np.random.default_rng(9)
    hard = generator.normal(scale=10, size=200)
    difference = paired_difference(hard + 0.5 + generator.normal(scale=0.1, size=200), hard, generator=generator)
    assert covers(difference, 0.5)
    assert difference.upper - difference.lower < 0.1
    with pytest.raises(ValueError, match="same prompts"):
        paired_difference([1.0, 2.0], [1.0], generator=generator)


def test_ties_only_give_width_zero() -> None:
    assert prompt_interval(np.full(20, 0.5), generator=np.random.default_rng(0)) == Interval(0.5, 0.5, 0.5, 20)


def test_one_prompt_has_no_bounds() -> None:
    interval = prompt_interval([0.7], generator=np.random.default_rng(0))
    assert interval.value == 0.7
    assert np.isnan(interval.lower)
    assert np.isnan(interval.upper)


@pytest.mark.parametrize(("values", "words"), [([], "empty"), ([0.1, np.nan], "not finite"), ([[1.0]], "one-dimensional")])
def test_bad_values_are_refused(values: list[float], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        prompt_interval(values, generator=np.random.default_rng(0))
    with pytest.raises(ValueError, match="clusters"):
        prompt_interval([1.0, 2.0], clusters=["a"], generator=np.random.default_rng(0))


def test_blocks_do_not_change_the_interval_much(monkeypatch: pytest.MonkeyPatch) -> None:
    values = np.random.default_rng(1).normal(size=300)
    whole = prompt_interval(values, generator=np.random.default_rng(2))
    monkeypatch.setattr("harness.measure.statistics.resampling.BLOCK", 1000)
    assert prompt_interval(values, generator=np.random.default_rng(2)) == pytest.approx(whole)


def test_one_seed_is_a_prompt_interval() -> None:
    """The same interval in law: one is resampled by weights that a report draws once, the other by places."""
    values = np.random.default_rng(8).normal(size=100)
    both = two_way_interval(values[None], generator=np.random.default_rng(9), resamples=20000)
    single = prompt_interval(values, generator=np.random.default_rng(10), resamples=20000)
    assert both.value == pytest.approx(single.value, abs=1e-12)
    assert both[1:3] == pytest.approx(single[1:3], abs=0.01)
    assert both.n == single.n == 100
    assert label(1) == "95 % prompt bootstrap, seed not included"
    assert "3 seeds" in label(3)


def test_seeds_that_agree_still_leave_the_prompts_uncertain() -> None:
    row = np.random.default_rng(5).normal(size=200)
    both = two_way_interval(np.stack([row] * 4), generator=np.random.default_rng(6))
    alone = prompt_interval(row, generator=np.random.default_rng(6))
    assert both.upper - both.lower == pytest.approx(alone.upper - alone.lower, rel=0.1)


def simulated(generator: np.random.Generator, seeds: int, prompts: int, spread: tuple[float, float, float]) -> np.ndarray:
    seed, prompt, rest = spread
    return (
        generator.normal(scale=seed, size=(seeds, 1))
        + generator.normal(scale=prompt, size=(1, prompts))
        + generator.normal(scale=rest, size=(seeds, prompts))
    )


@pytest.mark.slow
@pytest.mark.parametrize("seeds", [2, 3, 6])
@pytest.mark.parametrize("spread", [(0.05, 0.3, 0.4), (0.0, 0.3, 0.4), (0.2, 0.1, 0.4)], ids=["both", "prompts only", "mostly seeds"])
def test_two_way_interval_covers_the_truth(seeds: int, spread: tuple[float, float, float]) -> None:
    """Truth 0, 400 tables of 100 prompts: at least 89 % covered (95 % less the bias of few seeds and 4 standard errors of 1 point)."""
    generator = np.random.default_rng(10)
    tables = (simulated(generator, seeds, 100, spread) for _ in range(400))
    hits = [covers(two_way_interval(table, generator=generator, resamples=500), 0.0) for table in tables]
    assert np.mean(hits) > 0.89


def test_a_mean_replicated_is_the_two_way_interval_and_one_resample_weighs_all_tables() -> None:
    """A mean is linear, so both ways to its replicates agree; a table less itself has no width, as paired tables must not."""
    generator = np.random.default_rng(11)
    table = simulated(generator, 3, 60, (0.1, 0.3, 0.4))
    draw = lambda: np.random.default_rng(12)  # noqa: E731
    assert replicated([table], lambda m: m, generator=draw()) == pytest.approx(two_way_interval(table, generator=draw()))
    assert replicated([table, table], lambda a, b: a - b, generator=draw())[:3] == pytest.approx((0, 0, 0))
    assert two_way_intervals([table, 2 * table], generator=draw())[0] == pytest.approx(two_way_interval(table, generator=draw()))
    other = simulated(generator, 3, 60, (0.1, 0.3, 0.4))
    both = replicated([table, other], lambda a, b: a - b, generator=draw())
    assert both == pytest.approx(paired_two_way(table, other, generator=draw()))


def test_a_reweighted_mean_is_the_two_way_interval() -> None:
    table = simulated(np.random.default_rng(13), 4, 50, (0.1, 0.3, 0.4))
    mean = two_way_interval(table, generator=np.random.default_rng(14), resamples=300)
    fitted = reweighted(lambda w: (w * table).sum((1, 2)) / w.sum((1, 2)), table.shape, generator=np.random.default_rng(14), resamples=300)
    assert fitted == pytest.approx(mean)


def test_a_ratio_s_interval_is_that_of_the_delta_method() -> None:
    """One seed, 400 prompts, y = 2x + noise of sd .5, x of mean 3: the ratio is 2 with standard error .5 / (3 sqrt 400) = .0083."""
    generator = np.random.default_rng(15)
    x = generator.normal(3, 1, size=(1, 400))
    y = 2 * x + generator.normal(0, 0.5, size=(1, 400))
    ratio = replicated([y, x], lambda a, b: a / b, generator=generator)
    assert ratio.value == pytest.approx(y.mean() / x.mean())
    assert (ratio.upper - ratio.lower) / (2 * 1.96) == pytest.approx(0.5 / (3 * 20), rel=0.12)


def test_what_cannot_be_bounded_has_no_bounds() -> None:
    """A single prompt, and a ratio over a mean that many resamples make 0."""
    one = two_way_interval([[0.2], [0.4], [0.6]], generator=np.random.default_rng(0))
    assert one.value == pytest.approx(0.4)
    assert np.isnan([one.lower, one.upper]).all()
    rare = np.array([[1.0, 0, 0, 0]])
    with np.errstate(divide="ignore"):
        assert np.isnan(replicated([np.ones((1, 4)), rare], lambda a, b: a / b, generator=np.random.default_rng(0)).lower)


@pytest.mark.parametrize(
    ("a", "b", "words"),
    [([[1.0, 2]], [[1.0]], "same seeds and prompts"), ([[1.0]], [[np.nan]], "1 of 1 values not finite"), ([1.0], [1.0], "seeds, prompts")],
)
def test_unpaired_or_broken_tables_are_refused(a: list[float], b: list[float], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        paired_two_way(a, b, generator=np.random.default_rng(0))
    with pytest.raises(ValueError, match=f"{words}|same seeds|finite"):
        replicated([a, b], lambda x, y: x - y, generator=np.random.default_rng(0))


def test_columns_of_the_same_prompts_have_the_intervals_that_each_has_alone() -> None:
    """From one draw of prompts for all: the same means, bounds within what 2000 resamples leave, equal values without width."""
    generator = np.random.default_rng(3)
    columns = [generator.normal(2.0, 1.0, 200), generator.exponential(1.0, 200), np.full(200, 0.1)]
    found = prompt_intervals(columns, generator=np.random.default_rng(0))
    for column, interval in zip(columns, found, strict=True):
        alone = prompt_interval(column, generator=np.random.default_rng(1))
        assert interval.value == pytest.approx(alone.value) and interval.n == 200
        assert (interval.lower, interval.upper) == pytest.approx((alone.lower, alone.upper), abs=0.015)
    assert found[2].lower == found[2].value == found[2].upper
    assert found[0] == prompt_intervals(columns[:1], generator=np.random.default_rng(0))[0]
    assert [np.isnan(one.lower) for one in prompt_intervals([[1.0], [2.0]], generator=np.random.default_rng(0))] == [True, True]
    with pytest.raises(ValueError, match="not finite"):
        prompt_intervals([columns[0], np.full(200, np.nan)], generator=np.random.default_rng(0))


@pytest.mark.parametrize("seeds", [2, 3, 5, 8])
@pytest.mark.parametrize("prompts", [53, 384])
def test_a_table_has_the_same_interval_to_the_bit_whatever_stands_beside_it(seeds: int, prompts: int) -> None:
    tables = np.random.default_rng(5).normal(size=(7, seeds, prompts))
    alone = [two_way_interval(table, generator=np.random.default_rng(0), resamples=400) for table in tables]
    for count in (1, 2, 3, 7):
        assert two_way_intervals(tables[:count], generator=np.random.default_rng(0), resamples=400) == alone[:count]


def test_weights_beyond_what_is_kept_are_drawn_again_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    first = resampling.weights(50, np.random.default_rng(0), 100).copy()
    monkeypatch.setattr(resampling, "KEPT", 50_000)
    for size in (40, 41, 42):
        resampling.weights(size, np.random.default_rng(0), 100)
    assert sum(each.nbytes for each, _ in resampling._kept.values()) <= 50_000
    assert (resampling.weights(50, np.random.default_rng(0), 100) == first).all()
