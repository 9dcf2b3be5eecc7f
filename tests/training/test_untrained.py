"""Policies that nobody trained, on a tiny random Llama: what they say, what it costs, and how far it may be from the reference."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import pytest
import torch

from algorithms.best_of_n import BestOfN
from algorithms.prompted import Prompted
from harness import HarnessError
from harness.models.metered import Metered
from harness.types import Group, Setup, TokenPair, Update
from tests.test_ppo import GOOD, gold, prompts, setup


def served(algorithm: Any, given: Setup) -> tuple[list[Update], Metered]:
    """The updates and what is measured afterwards."""
    found: list[Metered] = []
    updates = list(algorithm().updates(replace(given, serve=found.append)))
    assert len(found) == 1
    return updates, found[0]


def mean_gold(policy: Metered, count: int = 150) -> float:
    with policy.ledger.phase("evaluation"):
        rows = policy.sample(prompts(count, 9), max_tokens=8, generator=torch.Generator().manual_seed(1))
    return float(gold([], [row[0] for row in rows]).mean())


def test_the_best_by_gold_is_what_order_statistics_say() -> None:
    """The mean of the best of four of the very samples that the model draws, group by group; a label for every sample of the pilot."""
    given = setup(1e9, by="gold", n=4, answered=8)
    updates, policy = served(BestOfN, given)
    drawn = given.policy.sample(prompts(30, 9), samples=4, max_tokens=8, generator=torch.Generator().manual_seed(1))
    best = [max(sample.ids.count(GOOD) for sample in row) / 8 for row in drawn]
    assert mean_gold(policy, 30) == pytest.approx(sum(best) / 30)
    assert given.ledger.counts["labels"] == 4 * 8
    assert [update.phase for update in updates] == ["rollout"]
    assert policy.kl_bound == pytest.approx(math.log(4) - 0.75)


def test_an_answer_is_charged_for_its_samples_and_their_scores() -> None:
    """By gold n samples of the prompt read once; by a reward model as many scored beside; nothing of it once the pilot is over."""
    spent = {}
    for by in ("gold", "model"):
        given = setup(3e9, by=by, n=4, answered=100, reward_share=0.2)
        updates, policy = served(BestOfN, given)
        spent[by] = updates[-1].metrics["answer_flops"]
        assert spent[by] == pytest.approx(given.ledger.canonical["rollout"] / 100)
        before = given.ledger.spent
        mean_gold(policy, 10)
        assert given.ledger.spent == before
    plain = setup(1e9)
    with plain.ledger.phase("rollout"):
        plain.policy.sample(prompts(200, 9), max_tokens=8, samples=4, generator=torch.Generator().manual_seed(1))
    assert spent["gold"] == pytest.approx(plain.ledger.spent / 200, rel=0.05)
    assert 1.6 < spent["model"] / spent["gold"] < 2.2


def own_pairs(given: Setup) -> Setup:
    """The same over pairs of the policy's own samples, those of another gold, the better one chosen."""
    with given.ledger.phase("evaluation"), torch.no_grad():
        rows = given.policy.sample(prompts(700, 8), samples=2, max_tokens=8, generator=torch.Generator().manual_seed(2))
        ranked = [sorted((sample.ids for sample in row), key=lambda ids: -ids.count(GOOD)) for row in rows]
        told = [(p, *two) for p, two in zip(prompts(700, 8), ranked, strict=True) if two[0].count(GOOD) > two[1].count(GOOD)]
        pairs = [TokenPair(i, *each) for i, each in enumerate(told)]
        known = given.reference.logps([Group(pair.prompt, (pair.chosen, pair.rejected)) for pair in pairs]).view(-1, 2)
    return replace(given, pairs=pairs, reference_logps=known)


@pytest.mark.parametrize("by", ["model", "implicit"])
def test_reranking_by_what_was_learnt_from_pairs_raises_gold(by: str) -> None:
    given = own_pairs(setup(3e9, by=by, n=8, answered=4, reward_learning_rate=1e-2, reward_epochs=9, learning_rate=1e-2))
    before = [p.detach().clone() for p in given.policy.parameters()]
    updates, policy = served(BestOfN, given)
    assert {update.phase for update in updates[:-1]} == {"reward"}
    assert all(torch.equal(a, b) for a, b in zip(before, given.policy.parameters(), strict=True))
    assert mean_gold(policy) > 2 * mean_gold(given.policy)
    assert given.ledger.remaining >= 0


def test_a_bound_to_another_reference_is_refused() -> None:
    given = setup(1e9, by="gold")
    with torch.no_grad():
        for parameter in given.policy.parameters():
            parameter.mul_(2)
    with pytest.raises(HarnessError, match=r"best_of_n: samples come from a model at KL .* let it start from the reference"):
        served(BestOfN, given)


@pytest.mark.parametrize(("setting", "message"), [({"n": 1}, "n must be 2 at least"), ({"by": "gold"}, "this task has no gold score")])
def test_impossible_settings_of_best_of_n(setting: dict[str, Any], message: str) -> None:
    with pytest.raises(HarnessError, match=message):
        served(BestOfN, replace(setup(1e9, **setting), score=None))


def test_a_budget_that_pays_for_no_answer_says_so() -> None:
    with pytest.raises(HarnessError, match="pays for no answer of about"):
        served(BestOfN, setup(1e4, by="gold"))


def test_prompting_asks_the_same_weights_after_whole_examples() -> None:
    """Log-probs are those of the prompt with the examples before it; KL is against the reference without them, and k1 agrees with it."""
    given = setup(1e9, shots=2, answered=8)
    policy = served(Prompted, given)[1]
    ids = {pair.prompt + pair.chosen for pair in given.pairs}
    examples = policy.examples  # type: ignore[attr-defined]
    assert {examples[:14], examples[14:]} <= ids
    groups = [Group(prompt, ((5, 6, 2), (7, 2))) for prompt in prompts(20, 4)]
    longer = [Group(examples + group.prompt, group.responses) for group in groups]
    with torch.no_grad():
        asked, whole = policy.logps(groups), given.policy.logps(longer)
        bare = given.reference.logps(groups)
    assert torch.allclose(asked, whole, atol=1e-5)
    assert not torch.allclose(asked, bare, atol=1e-2)
    found = policy.divergence(given.reference, groups)
    assert torch.allclose(found.log_ratio, asked - bare, atol=1e-4)
    assert float(found.kl.mean()) > 1e-3
    assert given.ledger.counts["labels"] == 2


def test_an_answer_is_charged_for_the_examples_that_it_reads() -> None:
    """A prompt of 6 tokens becomes one of 6 + 14 shots, read for every answer; what an answer of the mean length costs."""
    given = setup(4e10, hidden=128, shots=4, answered=64)
    updates = served(Prompted, given)[0]
    length = round(updates[-1].metrics["length"])
    expected = given.policy.shape.sampling(6 + 14 * 4, [length])
    assert updates[-1].metrics["answer_flops"] == pytest.approx(expected, rel=0.02)
    assert expected > 3 * given.policy.shape.sampling(6, [length])


def test_examples_beyond_the_context_are_refused() -> None:
    given = setup(1e9, shots=40)
    given.policy.model.config.max_position_embeddings = 256
    with pytest.raises(HarnessError, match=r"560 tokens of examples and 14 of prompt and response do not fit the model's context of 256"):
        served(Prompted, given)
