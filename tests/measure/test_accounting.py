"""What a cell used, and what its reward model and its pairs cost in each account."""

from __future__ import annotations

import math
from typing import Any

import pytest

from harness.measure.accounting import accounts, consumption, matched_amount, spread


def cell(
    name: str = "a", seed: int = 0, *, reward: float = 30.0, counts: dict[str, float] | None = None, **settings: Any
) -> dict[str, Any]:
    canonical = {"update": 60.0, "evaluation": 1000.0} | ({"reward": reward} if reward else {})
    return {
        "algorithm": {"name": name},
        "seed": seed,
        "settings": settings,
        "budget": {"spec": "x", "match": "pairs", "limit": 8.0},
        "compute": {"canonical": canonical, "executed": {"update": 66.0}, "counts": counts or {"pairs": 8, "unique_pairs": 5}},
    }


def test_a_fit_is_shared_by_cells_of_one_algorithm_seed_and_reward_settings() -> None:
    """Three cells of one fit: each pays 10 of 30. Another seed, rate or algorithm is another fit; without a fit nothing changes."""
    grid = [cell(reward_epochs=1, beta=beta) for beta in (1, 2, 3)]
    grid += [cell(reward_epochs=2), cell(seed=1, reward_epochs=1), cell("b", reward_epochs=1), cell("c", reward=0.0)]
    found = accounts(grid, {})
    assert [each.full for each in found] == [90.0] * 6 + [60.0]
    assert [each.amortised for each in found] == [70.0] * 3 + [90.0] * 3 + [60.0]
    assert {each.excluded for each in found} == {60.0}
    assert sum(each.amortised for each in found) == sum(each.excluded for each in found) + 4 * 30


def test_the_sampling_of_pairs_is_charged_by_the_pairs_that_were_used() -> None:
    """100 FLOPs for 20 pairs: a run that met 5 of them pays 25; an unknown price leaves the account empty."""
    drawn = {0: {"flops": 100.0, "pairs": 20}, 1: {"flops": None, "pairs": 20}}
    assert [each.with_pairs for each in accounts([cell(), cell(seed=1), cell(seed=2)], drawn)] == [115.0, None, None]


def test_consumption_knows_nothing_that_was_not_recorded() -> None:
    found = consumption(cell(), {"wall": {"update": 3.0, "evaluation": 50.0}, "peak_memory_bytes": 2e6})
    assert (found["canonical"], found["executed"], found["device_seconds"], found["memory"]) == (90.0, 66.0, 3.0, 2.0)
    assert (found["pairs"], found["unique_pairs"], found["sampled_tokens"]) == (8, 5, 0)
    old = cell(counts={"steps": 4})
    del old["budget"]["match"]
    before = consumption(old, {})
    assert before["steps"] == 4
    assert all(math.isnan(before[key]) for key in ("unique_prompts", "epochs", "device_seconds", "memory"))


@pytest.mark.parametrize(("match", "amount"), [("flops", 90.0), ("device-seconds", 3.0), ("pairs", 8.0), ("steps", 0.0)])
def test_the_matched_amount_is_in_the_budget_s_unit(match: str, amount: float) -> None:
    record = cell()
    record["budget"]["match"] = match
    assert matched_amount(record, {"wall": {"update": 3.0}}) == amount


def test_the_spread_is_relative_to_the_smallest_and_unknown_where_one_is() -> None:
    assert spread([1.0, 1.02, 1.01]) == pytest.approx(0.02)
    assert spread([]) is spread([1.0, math.nan]) is spread([1.0, 0.0]) is None


def test_what_was_declared_from_elsewhere_is_unknown_where_nothing_was_said() -> None:
    """No ledger counted it: an amount that nobody gave is not 0, and not a match for anything."""
    foreign = {**cell(), "compute": {"declared": True, "canonical": {}, "counts": {}}, "budget": {"match": "flops", "limit": 60.0}}
    assert all(math.isnan(amount) for amount in consumption(foreign, {}).values())
    given = {**foreign, "compute": {"declared": True, "canonical": {"update": 60.0}, "counts": {}}}
    assert consumption(given, {})["canonical"] == matched_amount(given, {}) == 60.0
    assert spread([60.0, matched_amount(foreign, {})]) is None
    assert math.isnan(accounts([foreign], {})[0].full)
