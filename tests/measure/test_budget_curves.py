"""Values between measured amounts, and crossings whose place is known."""

from __future__ import annotations

import numpy as np
import pytest

from harness.measure.budget_curves import Curve, at, crossing


def tables(*means: float, seeds: int = 3, prompts: int = 200, noise: float = 0.1) -> list[np.ndarray]:
    generator = np.random.default_rng(0)
    return [mean + noise * generator.standard_normal((seeds, prompts)) for mean in means]


def flat(*means: float, prompts: int = 200) -> list[np.ndarray]:
    return tables(*means, noise=0.0, prompts=prompts)


def generator() -> np.random.Generator:
    return np.random.default_rng(1)


def test_a_value_between_two_amounts_is_linear_in_the_logarithm() -> None:
    curve = Curve((1.0, 4.0, 16.0), flat(0.5, 0.7, 0.8))
    assert np.mean(at(curve, 2.0)) == pytest.approx(0.6)
    assert np.mean(at(curve, 8.0)) == pytest.approx(0.75)
    assert np.mean(at(curve, 16.0)) == pytest.approx(0.8)
    assert at(curve, 0.9) is None
    assert at(curve, 17.0) is None


def test_a_crossing_is_where_the_lines_meet() -> None:
    """Differences -.1, +.1, +.3 at 1, 4, 16: the first zero is half-way in the logarithm, at 2."""
    found = crossing((1, 4, 16), flat(0.5, 0.7, 0.9), flat(0.6, 0.6, 0.6), generator=generator())
    assert found is not None
    assert found[:4] == pytest.approx((2.0, 2.0, 2.0, 1.0))
    assert found.rises
    mirrored = crossing((1, 4, 16), flat(0.6, 0.6, 0.6), flat(0.5, 0.7, 0.9), generator=generator())
    assert mirrored is not None
    assert mirrored.value == pytest.approx(2.0)
    assert not mirrored.rises


def test_the_interval_holds_the_place_and_narrows_with_prompts() -> None:
    widths = []
    for prompts in (100, 10_000):
        level = flat(0.6, 0.6, 0.6, prompts=prompts)
        found = crossing((1, 4, 16), tables(0.5, 0.7, 0.9, noise=0.1, prompts=prompts), level, generator=generator())
        assert found is not None
        assert found.lower < 2.0 < found.upper
        widths.append(np.log(found.upper / found.lower))
    assert widths[1] < widths[0]


def test_curves_that_do_not_cross_have_no_crossing() -> None:
    assert crossing((1, 4), flat(0.5, 0.7), flat(0.4, 0.6), generator=generator()) is None
    assert crossing((1, 4), flat(0.5, 0.5), flat(0.5, 0.5), generator=generator()) is None


def test_a_crossing_that_noise_may_have_made_is_bounded_by_nothing() -> None:
    """Both ends differ by far less than their noise: the crossing may lie on either side of what was measured."""
    noisy = [table - table.mean() + shift for table, shift in zip(tables(0, 0, noise=2.0), (0.499, 0.501), strict=True)]
    found = crossing((1, 4), noisy, flat(0.5, 0.5), generator=generator())
    assert found is not None
    assert found.share < 0.95
    assert found.lower == 0
    assert np.isinf(found.upper)
