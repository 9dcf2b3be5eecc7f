"""Algorithms over ranked samples, end to end on a tiny random Llama: what they cost, what their reference is, and that they learn."""

from __future__ import annotations

import math
import re
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor

from algorithms.dpo import algorithm as dpo
from algorithms.iterative_dpo import IterativeDPO
from algorithms.online_dpo import OnlineDPO
from harness import HarnessError
from harness.training.duels import DuelRun, Duels, ranked, validity
from harness.training.groups import Scored
from harness.types import Group, Setup, TokenPair, Update
from tests.test_ppo import rollouts, setup

KINDS = {"online_dpo": OnlineDPO, "iterative_dpo": IterativeDPO}
FOLLOWED = [("online_dpo", "sft"), ("online_dpo", "last"), ("online_dpo", "ema"), ("iterative_dpo", "sft"), ("iterative_dpo", "last")]
BETA = {"beta": 0.5, "label_smoothing": 0.0}


def train(name: str, given: Setup) -> list[Update]:
    return list(KINDS[name]().updates(given))


def scored(scores: list[list[float]], logps: Tensor, reference: Tensor) -> Scored:
    groups = [Group((3, row), tuple((4 + place, 2) for place in range(len(each)))) for row, each in enumerate(scores)]
    return Scored(groups, torch.tensor(scores), logps, reference, [], {"kl": 0.5})


def test_the_best_is_ranked_above_the_worst_with_their_own_log_probs() -> None:
    """Of scores 1, 3, 2 the second and the first response; of two equals both in order, which teach nothing."""
    numbers = torch.arange(6.0).view(2, 3)
    found = ranked(scored([[1, 3, 2], [5, 5, 5]], -numbers, -10 * numbers))
    assert [(pair.chosen, pair.rejected, pair.margin, pair.weight) for pair in found.pairs] == [
        ((5, 2), (4, 2), 2.0, 1.0),
        ((4, 2), (6, 2), 0.0, 0.0),
    ]
    assert found.logps.tolist() == [[-1, 0], [-3, -5]]
    assert found.reference.tolist() == [[-10, 0], [-30, -50]]
    assert found.metrics == {"kl": 0.5, "margin": 1.0, "ties": 0.5}


@pytest.mark.parametrize("samples", [2, 4])
@pytest.mark.parametrize(("name", "reference"), FOLLOWED)
def test_spends_its_budget_and_no_more(name: str, reference: str, samples: int) -> None:
    """What is left is less than two groups cost. Of four samples the two that are learnt from are priced as if they were the longest."""
    given = setup(4e8, reference=reference, iterations=4, samples_per_prompt=samples)
    updates = train(name, given)
    group = DuelRun(given, None, 1, samples, 0.0, follows=reference).budget.expected  # type: ignore[arg-type]
    assert 0 <= given.ledger.remaining < 2 * group * (1 if samples == 2 else 4)
    assert given.ledger.canonical["reward"] <= 0.3 * 4e8
    assert len(rollouts(updates)) >= 4


@pytest.mark.parametrize(("reference", "weights"), [("sft", 12), ("last", 10), ("ema", 12)])
def test_costs_what_a_hand_count_says(reference: str, weights: int) -> None:
    """Per processed token: sample, reward and reference 2 N each, 6 N to learn; no reference where the sampler is the reference."""
    given = setup(4e10, hidden=128, iterations=2, reference=reference)
    train("online_dpo", given)
    ledger = given.ledger
    processed = ledger.counts["sampled_tokens"] + 6 * ledger.counts["prompts"]
    assert ledger.spent - ledger.canonical["reward"] == pytest.approx(processed * given.policy.shape.blocks * weights, rel=0.05)
    assert (ledger.canonical["reference"] == 0) is (reference == "last")


def test_a_reference_that_is_the_last_policy_leaves_the_gap_at_zero() -> None:
    """DPO's loss is log 2 where the policy is the reference: at every step under ``last``, at the first alone under ``sft``."""
    last, fixed = (rollouts(train("online_dpo", setup(4e8, reference=name, learning_rate=1e-2, iterations=12))) for name in ("last", "sft"))
    assert all(update.metrics["loss"] == pytest.approx(math.log(2) * (1 - update.metrics["ties"]), abs=1e-5) for update in last)
    assert all("k1" not in update.metrics for update in last)
    assert fixed[0].metrics["gap"] == pytest.approx(0, abs=1e-4)
    assert abs(fixed[-1].metrics["gap"]) > 1e-2


def test_rounds_say_what_their_reference_is_worth_before_they_begin() -> None:
    """Round 1 starts from the reference: log 2 and the whole gradient. Under ``last`` so do all; under ``sft`` the gap has grown."""
    shape = {"iterations": 3, "learning_rate": 1e-2, "minibatches": 12}
    fixed, last = (train("iterative_dpo", setup(6e8, reference=name, **shape)) for name in ("sft", "last"))
    rounds, again = ([update.metrics for update in rollouts(updates)] for updates in (fixed, last))
    assert [each["round"] for each in rounds[:3]] == [1, 2, 3]
    for each in (rounds[0], *again):
        assert each["reference_loss"] == pytest.approx(math.log(2), abs=1e-4)
        assert each["gradient_kept"] == pytest.approx(1, abs=1e-3)
        assert each["reference_gap"] == pytest.approx(0, abs=1e-3)
        assert each["gradient_spent"] == 0
    assert rounds[2]["reference_gap"] > 1e-2
    assert rounds[2]["reference_loss"] != pytest.approx(math.log(2), abs=1e-4)
    steps = [index for index, update in enumerate(fixed) if "round" in update.metrics]
    assert steps[1] - steps[0] == 12
    start, annealed = fixed[steps[0]].metrics["learning_rate"], fixed[steps[1]].metrics["learning_rate"]
    assert annealed < start  # one annealing over all rounds


def test_a_moving_average_lies_between_the_start_and_the_policy() -> None:
    """After one step of pull 0.25 it is a quarter of the way; ``sft`` stays where it was."""
    given = setup(4e8, reward="gold")
    run = DuelRun(given, None, 8, 2, 0.0, follows="ema", pull=0.25)
    before = [p.detach().clone() for p in given.policy.parameters()]
    given.policy.optimise(learning_rate=1e-2)
    next(run.fight(next(run.duels()), dpo, BETA))
    assert run.mean is not None
    for start, now, mean in zip(before, given.policy.parameters(), run.mean.model.parameters(), strict=True):
        assert torch.allclose(mean, 0.75 * start + 0.25 * now, atol=1e-6)
    assert any(not torch.equal(start, now) for start, now in zip(before, given.policy.parameters(), strict=True))


def test_what_a_reference_is_worth() -> None:
    """beta 0.5, gaps 4 and 0: losses -log sigma(2) = .126928 and log 2; gradients sigma(-2) / (1 / 2) = .238406 and 1; five tokens."""
    pairs = [TokenPair(0, (3,), (4, 5, 2), (2,), weight=1.0), TokenPair(1, (3,), (2,), (), weight=1.0)]
    logps = torch.tensor([[-1.0, -6.0], [-2.0, -3.0]], dtype=torch.float64)
    reference = torch.tensor([[-2.0, -3.0], [-2.0, -3.0]], dtype=torch.float64)
    found = validity(Duels(pairs, logps, reference, {}), dpo, BETA)
    assert found["reference_nll"] == pytest.approx(10 / 5)
    assert found["reference_gap"] == pytest.approx(2)
    assert found["reference_loss"] == pytest.approx((0.126928 + math.log(2)) / 2, abs=1e-6)
    assert found["gradient_kept"] == pytest.approx((0.238406 + 1) / 2, abs=1e-6)
    assert found["gradient_spent"] == 0
    far = validity(Duels(pairs[:1], logps[:1] * 10, reference[:1], {}), dpo, BETA)
    assert far["gradient_spent"] == 1


@pytest.mark.slow
@pytest.mark.parametrize("name", KINDS)
@pytest.mark.parametrize("reward", ["model", "gold"])
def test_learns_the_toy_reward(name: str, reward: str) -> None:
    given = setup(4e9, reward=reward, learning_rate=5e-3, reward_learning_rate=1e-2, reward_epochs=9, missing_eos_penalty=0)
    scores = [update.metrics["gold"] for update in rollouts(train(name, given))]
    few = max(1, len(scores) // 24)  # of three rounds the first and the last
    assert sum(scores[-few:]) / few > sum(scores[:few]) / few + 0.15


def test_gold_is_only_looked_at_unless_it_is_the_reward() -> None:
    watched, blind = setup(3e8, iterations=4), setup(3e8, iterations=4)
    train("online_dpo", watched)
    assert all("gold" not in update.metrics for update in train("online_dpo", replace(blind, score=None)))
    assert all(torch.equal(a, b) for a, b in zip(watched.policy.parameters(), blind.policy.parameters(), strict=True))
    with pytest.raises(HarnessError, match=r"online_dpo\.reward = 'gold': this task has no gold score"):
        train("online_dpo", replace(setup(1e8, reward="gold"), score=None))


@pytest.mark.parametrize("name", KINDS)
@pytest.mark.parametrize(
    ("setting", "message"),
    [
        ({"beta": -0.1}, "beta = -0.1: must not be negative"),
        ({"samples_per_prompt": 1}, "samples_per_prompt = 1: must be 2 at least"),
    ],
)
def test_impossible_settings_are_named(name: str, setting: dict[str, Any], message: str) -> None:
    with pytest.raises(HarnessError, match=re.escape(f"{name}.{message}")):
        train(name, setup(1e8, **setting))


def test_a_pull_beyond_the_policy_is_refused() -> None:
    with pytest.raises(HarnessError, match=r"online_dpo\.pull = 1\.5: must lie between 0 and 1"):
        train("online_dpo", setup(1e8, pull=1.5))
