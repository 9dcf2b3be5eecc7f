"""Algorithms whose baseline is the group, end to end on a tiny random Llama: what they cost, how often they step, and that they learn."""

from __future__ import annotations

import math
import re
from dataclasses import replace
from typing import Any

import pytest
import torch

from algorithms.grpo import GRPO
from algorithms.rloo import RLOO
from harness import HarnessError
from harness.training.groups import GroupRun
from harness.types import Setup, Update
from tests.test_ppo import rollouts, setup

KINDS = {"rloo": RLOO, "grpo": GRPO}
KNOBS = {"rloo": "kl_coef", "grpo": "beta"}


def train(name: str, given: Setup) -> list[Update]:
    return list(KINDS[name]().updates(given))


@pytest.mark.parametrize("limit", [2e8, pytest.param(6e8, marks=pytest.mark.slow)])
@pytest.mark.parametrize("reward", ["model", "gold"])
@pytest.mark.parametrize("name", KINDS)
def test_spends_its_budget_and_no_more(name: str, reward: str, limit: float) -> None:
    """Overshoot 0; what is left is less than one group of four costs when every response runs to the limit."""
    given = setup(limit, reward=reward, iterations=8)
    updates = train(name, given)
    run = GroupRun(given, None, 1, 4, 0.0)
    assert 0 <= given.ledger.remaining < 2 * run.budget.expected
    assert given.ledger.canonical["reward"] <= 0.3 * limit
    assert len(rollouts(updates)) >= 8


@pytest.mark.parametrize("name", KINDS)
def test_costs_what_a_hand_count_says(name: str) -> None:
    """12 N per processed token: sample, reward and reference 2 N each, 6 N to learn; a wide model makes all else small beside N."""
    given = setup(4e10, hidden=128, iterations=2, samples_per_prompt=2)
    train(name, given)
    ledger = given.ledger
    # Sampling and scoring read a prompt once for its two responses.
    processed = ledger.counts["sampled_tokens"] + 6 * ledger.counts["prompts"]
    assert ledger.spent - ledger.canonical["reward"] == pytest.approx(processed * given.policy.shape.blocks * 12, rel=0.05)


def test_rloo_takes_one_step_per_rollout_and_its_log_probs_are_those_of_sampling() -> None:
    updates = [update for update in train("rloo", setup(4e8, iterations=6)) if update.phase == "rollout"]
    assert rollouts(updates) == updates
    assert [update.step for update in updates] == list(range(updates[0].step, updates[0].step + len(updates)))
    assert all(update.metrics["ratio"] == pytest.approx(1, abs=1e-5) for update in updates)


def test_grpo_takes_epochs_times_minibatches_steps_per_rollout() -> None:
    updates = train("grpo", setup(5e8, reward="gold", iterations=2, epochs=3, minibatches=5))
    starts = [index for index, update in enumerate(updates) if "length" in update.metrics]
    assert starts[:2] == [0, 15]
    assert updates[0].metrics["ratio"] == pytest.approx(1, abs=1e-5)
    assert all(update.metrics["ratio"] != 1 for update in updates[1:5])


@pytest.mark.slow
@pytest.mark.parametrize("name", KINDS)
@pytest.mark.parametrize("reward", ["model", "gold"])
def test_learns_the_toy_reward(name: str, reward: str) -> None:
    given = setup(4e9, reward=reward, iterations=72, learning_rate=5e-3, reward_learning_rate=1e-2, reward_epochs=9, missing_eos_penalty=0)
    given = replace(given, settings={**given.settings, KNOBS[name]: 0.01})
    scores = [update.metrics["gold"] for update in rollouts(train(name, given))]
    assert sum(scores[-3:]) / 3 > sum(scores[:3]) / 3 + 0.15


@pytest.mark.slow
def test_a_large_coefficient_keeps_the_policy_at_the_reference() -> None:
    free, held = (rollouts(train("rloo", setup(1e9, reward="gold", kl_coef=kl_coef)))[-1].metrics["kl"] for kl_coef in (0.001, 3.0))
    assert held < 0.5 * free


@pytest.mark.parametrize("name", KINDS)
def test_gold_is_only_looked_at_unless_it_is_the_reward(name: str) -> None:
    watched, blind = setup(3e8, iterations=4), setup(3e8, iterations=4)
    train(name, watched)
    assert all("gold" not in update.metrics for update in train(name, replace(blind, score=None)))
    assert watched.ledger.counts["labels"] == blind.ledger.counts["labels"] <= 128
    assert all(torch.equal(a, b) for a, b in zip(watched.policy.parameters(), blind.policy.parameters(), strict=True))
    with pytest.raises(HarnessError, match=rf"{name}\.reward = 'gold': this task has no gold score"):
        train(name, replace(setup(1e8, reward="gold"), score=None))


def test_every_gold_reward_is_a_label_paid_for() -> None:
    given = setup(3e8, reward="gold", iterations=2, samples_per_prompt=4)
    found = rollouts(train("rloo", given))
    labels = given.ledger.counts["labels"]
    assert labels >= 4 * len(found) > 0
    assert labels % 4 == 0


@pytest.mark.parametrize("name", KINDS)
@pytest.mark.parametrize(
    ("setting", "message"),
    [
        ({"iterations": 0}, "iterations = 0: must be above 0"),
        ({"learning_rate": math.nan}, "learning_rate = nan: must be above 0"),
        ({"reward_share": 1.0}, "reward_share = 1.0: must lie between 0 and 1"),
        ({"samples_per_prompt": 1}, "samples_per_prompt = 1: must be 2 at least"),
    ],
)
def test_impossible_settings_are_named(name: str, setting: dict[str, Any], message: str) -> None:
    with pytest.raises(HarnessError, match=re.escape(f"{name}.{message}")):
        train(name, setup(1e8, **setting))


@pytest.mark.parametrize("name", KINDS)
def test_the_knob_may_not_be_negative(name: str) -> None:
    with pytest.raises(HarnessError, match=rf"{name}\.{KNOBS[name]} = -0\.1: must not be negative"):
        train(name, setup(1e8, **{KNOBS[name]: -0.1}))


@pytest.mark.parametrize("name", KINDS)
def test_same_seed_same_weights(name: str) -> None:
    one, other = setup(2e8, iterations=4), setup(2e8, iterations=4)
    train(name, one)
    train(name, other)
    assert all(torch.equal(a, b) for a, b in zip(one.policy.parameters(), other.policy.parameters(), strict=True))
