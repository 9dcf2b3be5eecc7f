"""``reward`` of a loss: scores of a model that the run fits, computed and charged only where they are named, each pair once."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch import Tensor

from harness import preference_loss
from harness.planning import settings
from harness.plugins import registry
from harness.training.preference import PreferenceLoss
from harness.types import Group, Setup, Update
from tests.training.toy import toy_pairs, toy_setup

PAIRS = toy_pairs(24)


@preference_loss
def seen(chosen: Tensor, rejected: Tensor, reward: Tensor, *, beta: float = 0.1) -> Tensor:
    """A loss that notes the rewards that it is given."""
    SEEN.append(reward)
    return reward[:, 0] * 0 + beta * (rejected - chosen)


@preference_loss
def alone(logps: Tensor, desirable: Tensor, reward: Tensor, *, beta: float = 0.1) -> Tensor:
    """A loss on single responses that notes the same."""
    SEEN.append(torch.stack([desirable.to(reward), reward], 1))
    return -beta * logps


SEEN: list[Tensor] = []


def run(loss: PreferenceLoss, given: Setup) -> list[Update]:
    SEEN.clear()
    return list(loss.updates(given))


def shape(given: Setup) -> float:
    """FLOPs of one reward forward over every pair."""
    return given.policy.shape.scalar().scoring([Group(p.prompt, (p.chosen, p.rejected)) for p in given.pairs])


def test_the_model_is_fitted_first_and_every_pair_is_scored_once() -> None:
    """A pass over 24 pairs costs three forwards to fit, a forward to centre and, in two epochs of use, one more to score."""
    given = toy_setup(pairs=PAIRS, limit=3e9, batch_pairs=8, reward_share=0.5, reward_learning_rate=3e-2)
    models = []
    updates = run(seen, replace(given, inspect=models.append))
    fitted = [update for update in updates if update.phase == "reward"]
    assert updates[: len(fitted)] == fitted
    assert sum(update.phase == "update" for update in updates) > 6
    assert given.ledger.canonical["reward"] == pytest.approx(5 * shape(given), rel=1e-6)
    assert 0 <= given.ledger.remaining < 0.05 * given.ledger.limit
    wanted = models[0].scores([Group(p.prompt, (p.chosen, p.rejected)) for p in PAIRS]).view(-1, 2)
    assert all(any(torch.allclose(row, each, atol=1e-4) for each in wanted) for rows in SEEN for row in rows)
    assert float((wanted[:, 0] - wanted[:, 1]).std()) > 1e-2


def test_the_schedule_runs_over_what_the_fit_has_left() -> None:
    """Else a policy would start in the middle of its annealing: the first step of a run of many is in the warm-up, the last at a tenth."""
    given = toy_setup(pairs=PAIRS, limit=3e9, batch_pairs=8, reward_share=0.5, reward_learning_rate=3e-2, learning_rate=1e-3)
    rates = [update.metrics["learning_rate"] for update in run(seen, given) if update.phase == "update"]
    assert rates[0] == max(rates)
    assert rates[-1] == pytest.approx(1e-4, rel=0.2)
    assert rates[0] > 0.9e-3


def test_a_loss_on_single_responses_gets_the_score_of_its_own() -> None:
    given = toy_setup(pairs=PAIRS, limit=3e9, batch_pairs=8, reward_share=0.5, reward_learning_rate=3e-2)
    models = []
    run(alone, replace(given, inspect=models.append))
    wanted = models[0].scores([Group(p.prompt, (p.chosen, p.rejected)) for p in PAIRS]).view(-1, 2)
    for desirable, reward in torch.cat(SEEN):
        assert float((wanted[:, 0 if desirable else 1] - reward).abs().min()) < 1e-4


def test_what_does_not_name_it_pays_for_none() -> None:
    given = toy_setup(pairs=PAIRS, limit=3e8)
    updates = run(registry.load("algorithms", "dpo").algorithm, given)
    assert {update.phase for update in updates} == {"update"}
    assert given.ledger.canonical["reward"] == 0


def test_its_settings_are_legal_where_it_is_named_and_nowhere_else() -> None:
    named, other = (settings.legal(registry.find("algorithms", name)) for name in ("distilled_dpo", "dpo"))
    assert {"reward_share", "reward_epochs", "reward_pooling", "reward_learning_rate", "reward_batch"} == named.keys() - other.keys()
    assert named["reward_share"].default == 0.3
    assert named["reward_pooling"].choices == ("sum", "last")
