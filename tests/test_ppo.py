"""PPO end to end on a tiny random Llama and a toy reward: what it costs, how often it steps, and that it learns."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace
from types import SimpleNamespace
from typing import Any, Literal

import numpy as np
import pytest
import torch
from torch import Tensor
from transformers import LlamaConfig, LlamaForCausalLM

from algorithms.ppo import PPO, Run
from harness import HarnessError
from harness.models import memory
from harness.models.loading import prepare
from harness.models.metered import Metered
from harness.running.cell import _Run
from harness.training.episodes import read
from harness.training.ledger import CHARGED, Ledger
from harness.types import Array, Group, Sample, Setup, TokenPair, Update

GOOD, EOS = 5, 2


def prompts(count: int, seed: int) -> list[tuple[int, ...]]:
    generator = torch.Generator().manual_seed(seed)
    return [tuple(torch.randint(3, 9, (6,), generator=generator).tolist()) for _ in range(count)]


def toy_pairs(count: int, seed: int = 0) -> list[TokenPair]:
    """Six-token prompts; of two random responses as long as the limit the one with more of the token GOOD is chosen."""
    generator = torch.Generator().manual_seed(seed)
    rows = zip(prompts(count, seed), torch.randint(3, 9, (count, 2, 8), generator=generator).tolist(), strict=True)
    ranked = [(prompt, sorted(sides, key=lambda ids: -ids.count(GOOD))) for prompt, sides in rows]
    return [TokenPair(i, prompt, tuple(best), tuple(worst)) for i, (prompt, (best, worst)) in enumerate(ranked)]


def gold(_: Sequence[tuple[int, ...]], samples: Sequence[Sample]) -> Array:
    """How many of the tokens are GOOD, as a share of eight: at most 1."""
    return np.array([sample.ids.count(GOOD) / 8 for sample in samples])


def setup(limit: float, hidden: int = 16, **settings: Any) -> Setup:
    config = LlamaConfig(
        vocab_size=16, hidden_size=hidden, intermediate_size=2 * hidden, num_hidden_layers=2, num_attention_heads=2, initializer_range=0.2
    )
    torch.manual_seed(0)
    policy = Metered(prepare(LlamaForCausalLM(config)), eos=EOS, pad=0, ledger=Ledger(limit))
    pairs, counter = toy_pairs(128), iter(range(1000))
    return Setup(
        policy=policy,
        reference=policy.frozen(),
        pairs=pairs,
        heldout=toy_pairs(32, seed=5),
        reference_logps=torch.zeros(len(pairs), 2),
        prompts=lambda count: prompts(count, 100 + next(counter)),
        score=gold,
        ledger=policy.ledger,
        settings=settings,
        generator=torch.Generator().manual_seed(3),
        batch_pairs=16,
        max_response_tokens=8,
    )


def train(given: Setup) -> list[Update]:
    return list(PPO().updates(given))


def rollouts(updates: list[Update]) -> list[Update]:
    """The first update of every iteration."""
    return [update for update in updates if "length" in update.metrics]


@pytest.mark.parametrize("settings", [{}, {"value": "shared"}, {"value": "shared", "score_at": "after_eos"}])
def test_ratio_is_exactly_one_at_the_first_minibatch_of_every_rollout(settings: dict[str, Any]) -> None:
    updates = train(setup(4e8, iterations=3, **settings))
    assert len(rollouts(updates)) >= 3
    for update in rollouts(updates):
        assert update.metrics["ratio"] == 1
        assert update.metrics["clip_fraction"] == 0


@pytest.mark.parametrize("settings", [{}, {"value": "shared"}, {"score_at": "after_eos"}, {"epochs": 2, "minibatches": 1}])
@pytest.mark.parametrize("cut", [False, True])
def test_the_first_step_learns_from_the_forwards_that_were_read(
    settings: dict[str, Any], cut: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The same updates at the same price, fewer FLOPs executed, as when memory holds no graph; and where caches cut the minibatch."""
    if cut:
        monkeypatch.setattr(memory, "LEARNT_BYTES", 16 * 4 * 40)
    ahead = setup(3e8, iterations=3, **settings)
    found = train(ahead)
    monkeypatch.setattr(Metered, "holds", lambda self, groups, times: False)
    alone = setup(3e8, iterations=3, **settings)
    for one, other in zip(found, train(alone), strict=True):
        assert one.metrics == pytest.approx(other.metrics, rel=1e-4, abs=1e-5)
    assert ahead.ledger.canonical == pytest.approx(alone.ledger.canonical, rel=1e-9)
    first, second = (sum(ledger.executed[phase] for phase in CHARGED) for ledger in (ahead.ledger, alone.ledger))
    assert first < second


def test_optimiser_steps_are_epochs_times_minibatches() -> None:
    given = setup(5e8, iterations=2, epochs=3, minibatches=5, reward="gold")
    updates = train(given)
    starts = [index for index, update in enumerate(updates) if "length" in update.metrics]
    assert starts[:2] == [0, 15]
    assert given.ledger.counts["steps"] == len(updates)
    assert [update.step for update in updates] == list(range(1, len(updates) + 1))


@pytest.mark.parametrize("limit", [2e8, pytest.param(6e8, marks=pytest.mark.slow)])
@pytest.mark.parametrize(
    "settings",
    [{"reward": "model"}, {"reward": "gold"}, {"value": "shared"}, {"score_at": "after_eos"}, {"value": "shared", "score_at": "after_eos"}],
)
def test_spends_its_budget_and_no_more(limit: float, settings: dict[str, Any]) -> None:
    """Overshoot 0; what is left is less than one group of four costs when every response runs to the limit."""
    given = setup(limit, **settings)
    updates = train(given)
    run = Run(PPO(**settings), given, None, PPO(**settings)._critic(given, None))
    assert 0 <= given.ledger.remaining < 2 * run.budget.expected
    assert given.ledger.canonical["reward"] <= 0.3 * limit
    assert len(rollouts(updates)) >= 4


def test_costs_what_a_hand_count_says() -> None:
    """Per processed token 10 N + 12 N K: sample, old log-prob, value, reward and reference 2 N each, both models 6 N per epoch.

    A wide model makes attention and the vocabulary head small beside N, as in the models that the rule is made for.
    """
    given = setup(4e10, hidden=128, epochs=2, iterations=2, samples_per_prompt=1)
    train(given)
    blocks, ledger = given.policy.shape.blocks, given.ledger
    processed = ledger.counts["sampled_tokens"] + 6 * ledger.counts["prompts"]
    spent = ledger.spent - ledger.canonical["reward"]
    assert spent == pytest.approx(processed * blocks * (10 + 12 * 2), rel=0.05)
    epochs = ledger.counts["epochs"]
    pair = 6 + 8 + 8
    assert ledger.canonical["reward"] == pytest.approx(2 * blocks * pair * (3 * 128 * epochs + 64), rel=0.05)


def test_shared_costs_what_a_hand_count_says() -> None:
    """Per processed token 8 N + 6 N K: sample, old log-prob with value, reward and reference 2 N each, one model 6 N per epoch."""
    given = setup(4e10, hidden=128, epochs=2, iterations=2, samples_per_prompt=1, value="shared")
    train(given)
    ledger = given.ledger
    processed = ledger.counts["sampled_tokens"] + 6 * ledger.counts["prompts"]
    spent = ledger.spent - ledger.canonical["reward"]
    assert spent == pytest.approx(processed * given.policy.shape.blocks * (8 + 6 * 2), rel=0.05)


def test_one_forward_gives_log_probs_entropies_and_values() -> None:
    """The same numbers as apart, and the price of one forward and a head of one output: 2 N T + 2 (V + d) R and the attention."""
    policy = setup(1e9).policy
    groups = [Group(prompt, ((5, 6, EOS), (7,))) for prompt in prompts(3, 0)]
    policy.attach_head()
    read = policy.token_readings(groups)
    charged = policy.ledger.canonical["idle"]
    assert charged == policy.shape.scoring(groups) + 2 * 16 * 12
    logps, entropies = policy.token_logps_and_entropies(groups)
    torch.testing.assert_close(read.logps.values, logps.values)
    torch.testing.assert_close(read.entropies.values, entropies.values)
    torch.testing.assert_close(read.values.values, policy.scalars(groups, at="state").values)
    policy.backward(read.logps.values.sum() + read.values.values.sum())
    assert policy.head is not None and policy.head.weight.grad is not None


def test_a_head_attached_in_place_is_the_head_of_a_fork() -> None:
    policy = setup(1e9).policy
    twin = policy.fork(scalar_head=True)
    policy.attach_head()
    assert policy.head is not None and twin.head is not None
    assert torch.equal(policy.head.weight, twin.head.weight)
    policy.optimise(learning_rate=1e-3, head_learning_rate=3e-3)
    policy.backward(policy.token_readings([Group((3,), ((5,),))]).values.values.sum())
    before = twin.head.weight.clone()
    policy.step(0.5, plan=lambda _: 1.0)
    torch.testing.assert_close((policy.head.weight - before).abs(), torch.full_like(before, 3e-3), rtol=1e-3, atol=0)


def test_evaluation_does_not_see_the_head_of_a_shared_trunk() -> None:
    """Samples, log-probs, divergence and price of a policy are those of the same weights without a head."""
    given = setup(3e8, value="shared")
    train(given)
    policy = given.policy
    assert policy.head is not None and policy.head.weight.abs().sum() > 0
    bare = Metered(policy.model, eos=EOS, pad=0, ledger=Ledger(1))
    some = prompts(8, 1)
    mine, theirs = (m.sample(some, max_tokens=8, generator=torch.Generator().manual_seed(0)) for m in (policy.frozen(), bare))
    assert mine == theirs
    groups = [Group(prompt, tuple(s.ids for s in row)) for prompt, row in zip(some, mine, strict=True)]
    assert torch.equal(policy.logps(groups), bare.logps(groups))
    assert all(
        torch.equal(a, b) for a, b in zip(policy.divergence(given.reference, groups), bare.divergence(given.reference, groups), strict=True)
    )
    assert policy.shape == bare.shape


def test_value_coef_plays_no_role_with_separate_models_and_one_with_a_shared_trunk() -> None:
    def weights(**settings: Any) -> Tensor:
        given = setup(2e8, reward="gold", **settings)
        train(given)
        return torch.cat([p.detach().flatten() for p in given.policy.model.parameters()])

    assert torch.equal(weights(value_coef=0.1), weights(value_coef=10.0))
    assert not torch.equal(weights(value_coef=0.1, value="shared"), weights(value_coef=10.0, value="shared"))


@pytest.mark.parametrize("kind", ["separate", "shared"])
def test_after_eos_reads_one_more_value_where_a_response_ended_early(kind: Literal["separate", "shared"]) -> None:
    """Responses of 3, 1 and 4 tokens under a limit of 4 have 4, 2 and 4 steps; the last value of the first is that of its EOS's state."""
    given = setup(1e9, value=kind)
    plain, late = (PPO(value=kind, score_at=place)._critic(given, None) for place in ("eos", "after_eos"))
    late = replace(late, limit=4)  # type: ignore[type-var]
    given.policy.attach_head()
    groups = [Group((3, 4), ((5, 6, EOS), (EOS,))), Group((8,), ((5, 6, 7, 8),))]
    before, after = (read(critic, groups, 2).whole for critic in (plain, late))
    assert before.values.lengths.tolist() == [3, 1, 4]
    assert after.values.lengths.tolist() == [4, 2, 4]
    torch.testing.assert_close(before.logps, after.logps)
    torch.testing.assert_close(before.values.values, after.values.values[torch.tensor([0, 1, 2, 4, 6, 7, 8, 9])])
    model = given.policy if kind == "shared" else late.value  # type: ignore[attr-defined]
    torch.testing.assert_close(after.values.values[3], model.scalars(groups, at="token").values[2])


def test_the_live_divergence_is_there_and_free() -> None:
    """KL is at least 0 (rounding aside), 0 while the policy is the reference, and k1 of the same samples agrees within noise."""
    given = setup(1e9, reward="gold", kl_coef=0.01, learning_rate=5e-3)
    rows = rollouts(train(given))
    assert rows[0].metrics["kl"] == pytest.approx(0, abs=1e-5)
    assert all(row.metrics["kl"] > -1e-5 for row in rows)
    assert rows[-1].metrics["kl"] == pytest.approx(rows[-1].metrics["k1"], rel=0.3)
    assert rows[-1].metrics["kl"] > 0.05
    ledger = given.ledger
    assert ledger.canonical["evaluation"] > 0
    assert ledger.spent == sum(ledger.canonical[name] for name in ("rollout", "reference", "update"))


def test_gold_is_only_looked_at_unless_it_is_the_reward() -> None:
    """Gold labels are counted where they are the reward; a task without a score trains the same policy on the reward model."""
    watched, blind = setup(3e8), setup(3e8)
    train(watched)
    assert all("gold" not in update.metrics for update in train(replace(blind, score=None)))
    assert watched.ledger.counts["labels"] == blind.ledger.counts["labels"] <= 128
    assert all(torch.equal(a, b) for a, b in zip(watched.policy.parameters(), blind.policy.parameters(), strict=True))
    bought = setup(3e8, reward="gold")
    train(bought)
    assert 0.9 < bought.ledger.counts["labels"] / (4 * bought.ledger.counts["prompts"]) <= 1


@pytest.mark.parametrize(
    "settings",
    [{"reward": "model"}, {"reward": "gold"}, pytest.param({"reward": "gold", "score_at": "after_eos"}, marks=pytest.mark.slow)],
)
def test_learns_the_toy_reward(settings: dict[str, Any]) -> None:
    given = setup(4e9, **settings, kl_coef=0.01, learning_rate=5e-3, reward_learning_rate=1e-2, reward_epochs=9, missing_eos_penalty=0)
    scores = [update.metrics["gold"] for update in rollouts(train(given))]
    assert scores[-1] > scores[0] + 0.15


def test_learns_with_a_shared_trunk() -> None:
    """Slower than with separate models at the same rate: value gradients take their part of the one norm that is clipped."""
    settings = {"value": "shared", "value_coef": 0.01}  # a tenth of the default leaves the policy more of the clipped norm
    given = setup(4e9, **settings, kl_coef=0.01, learning_rate=5e-3, reward_learning_rate=1e-2, reward_epochs=9, missing_eos_penalty=0)
    rows = [update.metrics for update in rollouts(train(given))]
    assert rows[-1]["proxy"] > rows[0]["proxy"] + 4
    assert rows[-1]["gold"] > rows[0]["gold"] + 0.05


def test_a_large_coefficient_keeps_the_policy_at_the_reference() -> None:
    free, held = (rollouts(train(setup(1e9, reward="gold", kl_coef=coefficient)))[-1].metrics["k1"] for coefficient in (0.001, 3.0))
    assert held < 0.5 * free


def test_an_adaptive_coefficient_falls_while_the_policy_is_near() -> None:
    coefficients = [update.metrics["kl_coef"] for update in rollouts(train(setup(4e8, target_kl=50.0, iterations=3)))]
    assert coefficients[:3] == pytest.approx([0.3, 0.3 * 0.8, 0.3 * 0.8 * 0.8])


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        ({"kl_coef": -0.1}, "ppo.kl_coef = -0.1: must not be negative"),
        ({"minibatches": 0}, "ppo.minibatches = 0: must be above 0"),
        ({"value_coef": 0.0}, "ppo.value_coef = 0.0: must be above 0"),
        ({"reward_share": 1.0}, "ppo.reward_share = 1.0: must lie between 0 and 1"),
    ],
)
def test_impossible_settings_are_named(setting: dict[str, Any], message: str) -> None:
    with pytest.raises(HarnessError, match=re.escape(message)):
        train(setup(1e8, **setting))


def test_gold_needs_a_score() -> None:
    with pytest.raises(HarnessError, match="no gold score"):
        train(replace(setup(1e8, reward="gold"), score=None))


def test_same_seed_same_weights() -> None:
    first, second = setup(3e8), setup(3e8)
    assert train(first) == train(second)
    assert all(torch.equal(a, b) for a, b in zip(first.policy.parameters(), second.policy.parameters(), strict=True))


@pytest.mark.parametrize(("limit", "settings"), [(1.0, {}), (2e8, {"reward_share": 1e-6}), (1.0, {"reward": "gold"})])
def test_a_budget_that_pays_for_nothing_is_an_error(limit: float, settings: dict[str, Any]) -> None:
    """The reward model says so itself; of an algorithm that takes no step its cell does, whatever it bought beside."""
    given = setup(limit, **settings)
    with pytest.raises(HarnessError, match=r"a budget of .* canonical FLOPs pays for no step"):
        run_of(given).train()
    assert given.ledger.counts["steps"] == 0


def run_of(given: Setup) -> _Run:
    """A cell of PPO as it stands before its first step, but for what measures it."""
    run = object.__new__(_Run)
    run.experiment = SimpleNamespace(marks=())  # type: ignore[assignment]
    run.plan = SimpleNamespace(cell=SimpleNamespace(algorithm=SimpleNamespace(name="ppo")))  # type: ignore[assignment]
    run.algorithm, run.setup, run.ledger, run.started = PPO(), given, given.ledger, False
    return run
