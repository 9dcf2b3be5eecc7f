"""The search for a KL, played against known curves: monotone, with a minimum, out of reach, and with runs that diverge."""

from __future__ import annotations

import math
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.measure import targets


def searched(curve: Callable[[float], float], target: float, grid: tuple[float, ...]) -> tuple[targets.Seen, int]:
    """What was seen at the end of a search, and how many trials it added to the scan."""
    seen: dict[float, float | None] = {knob: curve(knob) for knob in grid}
    spent = 0
    while (knob := targets.next_knob(seen, target, spent)) is not None:
        assert knob not in seen
        seen[knob], spent = curve(knob), spent + 1
    return seen, spent


@given(st.floats(0.3, 2.0), st.floats(0.2, 6.0), st.booleans())
def test_a_monotone_knob_reaches_any_target_near_its_grid(slope: float, target: float, rising: bool) -> None:
    power = slope if rising else -slope
    seen, spent = searched(lambda knob: 1.5 * knob**power, target, (0.2, 0.7, 5.0))
    found = targets.nearest(seen, target)
    assert found is not None
    within = 1.5 * min(0.2**power, 5.0**power) <= target <= 1.5 * max(0.2**power, 5.0**power)
    assert found.reached or not within
    assert spent <= (2 if within else targets.MOST)  # a power law is a line in both logs: found at once but for rounding and tolerance


def test_a_knob_whose_kl_rises_again_is_said_to_have_a_lowest_kl() -> None:
    """KL falls to 1.2 at beta 2 and rises beyond: .5 is out of reach, 2 is reached on the near side by the narrowest bracket."""

    def curve(beta: float) -> float:
        return 1.2 + 0.4 * math.log(beta / 2) ** 2

    seen, spent = searched(curve, 0.5, (2.0, 0.5, 0.1))
    found = targets.nearest(seen, 0.5)
    assert found is not None
    assert not found.reached
    assert spent <= targets.MOST
    assert found.words("beta", seen) == "not reached: lowest KL 1.20 at beta 2"
    seen, _ = searched(curve, 2.0, (2.0, 0.5, 0.1))
    assert targets.nearest(seen, 2.0).reached  # type: ignore[union-attr]


def test_a_target_above_all_that_is_reached_is_named_so() -> None:
    seen, spent = searched(lambda knob: 2.1 * math.exp(-knob), 4.0, (2.0, 0.3, 0.03))
    found = targets.nearest(seen, 4.0)
    assert found is not None
    assert spent == targets.MOST
    assert found.words("penalty", seen).startswith("not reached: highest KL 2.10 at penalty")


def test_a_jump_across_the_target_ends_with_the_nearest() -> None:
    seen, spent = searched(lambda knob: 0.3 if knob > 1 else 5.0, 1.0, (4.0, 0.5))
    found = targets.nearest(seen, 1.0)
    assert found is not None
    assert not found.reached
    assert spent == targets.MOST
    assert "nearest KL 0.30" in found.words("beta", seen)


def test_a_grid_that_is_near_enough_needs_no_trial() -> None:
    assert searched(lambda knob: 1.05, 1.0, (1.0,))[1] == 0
    assert targets.nearest({1.0: 1.05}, 1.0).words("beta", {1.0: 1.05}) == "reached: KL 1.05 at beta 1"  # type: ignore[union-attr]


def test_a_knob_that_diverged_is_not_tried_again_and_a_scan_that_all_diverged_ends() -> None:
    assert targets.next_knob({1.0: None, 2.0: None}, 1.0, 0) is None
    assert targets.nearest({1.0: None, 2.0: 0.0}, 1.0) is None
    assert targets.next_knob({1.0: 2.0, 0.25: None}, 4.0, 1) is None


def test_a_run_without_a_kl_is_no_lowest_kl() -> None:
    seen: dict[float, float | None] = {8.0: None, 2.0: 1.2, 0.5: 3.0}
    assert targets.nearest(seen, 0.5).words("beta", seen) == "not reached: lowest KL 1.20 at beta 2"  # type: ignore[union-attr]


@pytest.mark.parametrize("spent", [targets.MOST, targets.MOST + 3])
def test_no_more_trials_than_declared(spent: int) -> None:
    assert targets.next_knob({1.0: 2.0, 2.0: 1.0}, 1.4, spent) is None
