import pytest

from harness.training.schedule import schedule


def test_warm_up_ends_at_3_percent_and_the_floor_is_a_tenth() -> None:
    assert schedule(0.015) == pytest.approx(0.5)
    assert schedule(0.03) == pytest.approx(1.0)
    assert schedule(1.0) == pytest.approx(0.1)


def test_linear_between() -> None:
    """Half way from 0.03 to 1 the factor is half way from 1 to 0.1."""
    assert schedule(0.515) == pytest.approx(0.55)


def test_overshoot_counts_as_the_end() -> None:
    assert schedule(1.01) == schedule(1.0)
    assert schedule(-0.1) == 0.0
