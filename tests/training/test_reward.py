"""The Bradley-Terry reward model on a tiny random Llama: what it costs, where it reads its score, that it learns and says how well."""

from __future__ import annotations

import math

import pytest
import torch
from transformers import LlamaConfig, LlamaForCausalLM

from harness.models.loading import prepare
from harness.models.metered import Metered
from harness.training.ledger import Ledger
from harness.training.reward import RewardModel, fit_reward_model, fitted, heldout_quality, pair_group
from harness.types import Group, TokenPair

GOOD, EOS = 5, 2


def policy(limit: float = 1e12) -> Metered:
    config = LlamaConfig(
        vocab_size=16,
        hidden_size=16,
        intermediate_size=32,
        num_hidden_layers=2,
        num_attention_heads=2,
        initializer_range=0.2,
        pad_token_id=0,
    )
    torch.manual_seed(0)
    return Metered(prepare(LlamaForCausalLM(config)), eos=EOS, pad=0, ledger=Ledger(limit))


def toy_pairs(count: int, seed: int = 0) -> list[TokenPair]:
    """Responses of 2-5 tokens and EOS; the one with more of the token GOOD is chosen."""
    generator = torch.Generator().manual_seed(seed)
    pairs: list[TokenPair] = []
    while len(pairs) < count:
        prompt, a, b = (tuple(torch.randint(3, 9, (size,), generator=generator).tolist()) for size in (4, 2 + len(pairs) % 4, 3))
        if a.count(GOOD) != b.count(GOOD):
            chosen, rejected = sorted((a, b), key=lambda ids: -ids.count(GOOD))
            pairs.append(TokenPair(len(pairs), prompt, (*chosen, EOS), (*rejected, EOS)))
    return pairs


def fit(model: Metered, pairs: list[TokenPair], **options: object) -> RewardModel:
    generator = torch.Generator().manual_seed(1)
    return fitted(fit_reward_model(model.fork(scalar_head=True), pairs, generator=generator, **options))  # type: ignore[arg-type]


@pytest.mark.parametrize("pooling", ["sum", "last"])
def test_scores_pool_the_scalars_of_tokens(pooling: str) -> None:
    """Two responses of 2 and 1 tokens: sums are v1 + v2 and v3, last tokens v2 and v3, both less the offset."""
    model = policy().fork(scalar_head=True)
    groups = [Group((3, 4), ((5, 2), (2,)))]
    first, second, third = model.scalars(groups, at="token").values.tolist()
    expected = (first + second, third) if pooling == "sum" else (second, third)
    scores = RewardModel(model, pooling, offset=0.25).scores(groups)  # type: ignore[arg-type]
    assert scores.tolist() == pytest.approx([score - 0.25 for score in expected], abs=1e-6)


def test_learns_and_is_centred_and_calibrated() -> None:
    model, pairs, heldout = policy(), toy_pairs(256), toy_pairs(128, seed=9)
    reward = fit(model, pairs, epochs=4, learning_rate=5e-3)
    quality = heldout_quality(reward, heldout)
    assert quality["reward_accuracy"] > 0.9
    assert quality["reward_log_loss"] < 0.4 < math.log(2)
    assert quality["reward_calibration_error"] < 0.15
    assert reward.scores([pair_group(pair) for pair in pairs[:64]]).mean().item() == pytest.approx(0, abs=1e-5)


def test_calibration_of_a_coin() -> None:
    """A reward of 0 everywhere is right half the time (ties count half), says 1/2, and so is perfectly calibrated; its loss is log 2."""
    model = policy().fork(scalar_head=True)
    assert model.head is not None
    torch.nn.init.zeros_(model.head.weight)
    quality = heldout_quality(RewardModel(model, "sum"), toy_pairs(32))
    assert quality["reward_accuracy"] == quality["reward_confidence"] == 0.5
    assert quality["reward_calibration_error"] == 0
    assert quality["reward_log_loss"] == pytest.approx(math.log(2))
    assert model.ledger.spent == 0


def test_pairs_of_one_prompt_count_as_one() -> None:
    """A prompt with a pair that stands four times weighs what one with a single pair weighs: the mean of the two alone."""
    reward, pairs = fit(policy(), toy_pairs(64), learning_rate=5e-3), toy_pairs(8, seed=9)
    first, second = pairs[0], next(pair for pair in pairs if pair.prompt != pairs[0].prompt)
    alone = [heldout_quality(reward, [pair]) for pair in (first, second)]
    both = heldout_quality(reward, [first] * 4 + [second])
    for name in ("reward_accuracy", "reward_confidence", "reward_log_loss"):
        assert both[name] == pytest.approx((alone[0][name] + alone[1][name]) / 2)
    assert alone[0]["reward_log_loss"] != pytest.approx(alone[1]["reward_log_loss"], abs=1e-3)
    assert (both["reward_heldout_pairs"], both["reward_heldout_prompts"]) == (5, 2)
    (one,) = [heldout_quality(reward, [first] * 4 + [second], bins=1)]
    apart = [each["reward_accuracy"] - each["reward_confidence"] for each in alone]  # nobody says how sure annotators are
    assert apart[0] != pytest.approx(apart[1], abs=1e-3)
    assert one["reward_calibration_error"] == pytest.approx(abs(sum(apart)) / 2)
    assert "reward_heldout_prompts" not in alone[0]


def test_an_epoch_costs_three_forwards_and_the_centring_one() -> None:
    model, pairs = policy(), toy_pairs(80)
    fit(model, pairs, epochs=1, batch_pairs=32)
    shape = model.shape.scalar()
    forward = shape.scoring([pair_group(pair) for pair in pairs])
    assert model.ledger.canonical["reward"] == pytest.approx(3 * forward + shape.scoring([pair_group(pair) for pair in pairs[:64]]))
    unique = {"unique_pairs": 80, "unique_prompts": len({pair.prompt for pair in pairs})}
    assert model.ledger.counts == pytest.approx({"steps": 3, "pairs": 80, "labels": 80, "epochs": 1.0, **unique})


def test_stops_within_its_budget_and_cycles_the_data() -> None:
    model, pairs = policy(), toy_pairs(80)
    budget = 7.3 * model.shape.scalar().scoring([pair_group(pair) for pair in pairs])
    fit(model, pairs, epochs=10, budget=budget)
    assert 0 <= budget - model.ledger.canonical["reward"] <= 3.5 * model.shape.scalar().scoring([pair_group(pairs[3])])
    assert model.ledger.counts["labels"] == 80 < model.ledger.counts["pairs"]


def test_same_generator_same_model() -> None:
    groups = [pair_group(pair) for pair in toy_pairs(5, seed=3)]
    first, second = (fit(policy(), toy_pairs(64), epochs=1).scores(groups) for _ in range(2))
    assert torch.equal(first, second)


@pytest.mark.parametrize(("pooling", "at_ignorance"), [("sum", True), ("last", False)])
def test_a_summed_score_starts_at_ignorance_and_a_last_token_score_at_its_random_head(pooling: str, at_ignorance: bool) -> None:
    """A head of zeros gives every pair the gap 0, so the first loss is log 2; the head that pretrained models use does not."""
    first = next(
        fit_reward_model(policy().fork(scalar_head=True), toy_pairs(8), generator=torch.Generator().manual_seed(0), pooling=pooling)  # type: ignore[arg-type]
    )
    assert (abs(first.metrics["loss"] - math.log(2)) < 1e-6) is at_ignorance
