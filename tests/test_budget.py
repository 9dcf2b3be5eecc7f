"""Matched compute, for every algorithm there is: the budget is spent, and never overspent by more than 1 %."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
import torch

from harness import registry
from harness.cell import resolved_settings
from harness.data.tokenise import Tokens
from harness.models.loading import load_model, meter
from harness.training.ledger import CHARGED, Ledger
from harness.types import Array, Group, Pair, Response, Sample, Setup, Task

ALGORITHMS = [entry.name for entry in registry.describe("algorithms")]


def prepared(preset: str, pairs: int, ledger: Ledger) -> Setup:
    """A run's setup on the embedded task from an untrained model: what learning costs does not depend on what was learnt before."""
    task: Task = registry.load("tasks", "tldr").task()
    model, tokenizer = load_model(preset, dtype="float32", vocabulary=task.vocabulary, seed=0)
    tokens, policy = Tokens(tokenizer, task.max_prompt_tokens, task.max_response_tokens), meter(model, tokenizer, ledger)
    generator = np.random.default_rng(0)
    rows = task.demonstrations(generator, pairs)
    labelled = tokens.pairs([Pair(d.prompt, Response(d.responses[0]), Response(d.responses[1])) for d in rows])
    with torch.no_grad(), ledger.phase("evaluation"):
        logps = policy.logps([Group(p.prompt, (p.chosen, p.rejected)) for p in labelled]).view(-1, 2)

    def score(prompts: Sequence[tuple[int, ...]], samples: Sequence[Sample]) -> Array:
        return np.array([float(len(s.ids)) for s in samples])

    return Setup(
        policy=policy,
        reference=policy.frozen(),
        pairs=labelled,
        heldout=labelled[:8],
        reference_logps=logps,
        prompts=lambda n: tokens.prompts(task.training_prompts(generator, n)),
        score=score,
        ledger=ledger,
        settings={},
        generator=torch.Generator().manual_seed(0),
        batch_pairs=32,
        max_response_tokens=task.max_response_tokens,
    )


def two_epochs(setup: Setup) -> float:
    """What DPO costs for two epochs of the pairs: 7 F."""
    return 7 * setup.policy.shape.scoring([Group(p.prompt, (p.chosen, p.rejected)) for p in setup.pairs])


def spend(name: str, preset: str, pairs: int) -> tuple[Ledger, list[Any]]:
    ledger = Ledger(1e30)
    setup = prepared(preset, pairs, ledger)
    ledger.limit = two_epochs(setup)
    entry = registry.find("algorithms", name)
    bound = registry.load_entry(entry).algorithm
    algorithm = bound() if isinstance(bound, type) else bound
    object.__setattr__(setup, "settings", resolved_settings(entry, {}))
    return ledger, list(algorithm.updates(setup))


@pytest.mark.parametrize("name", ALGORITHMS)
@pytest.mark.parametrize(
    ("preset", "pairs"), [("tiny-64", 600), pytest.param("tiny-128", 2000, marks=pytest.mark.slow)], ids=["quick", "default"]
)
def test_every_algorithm_spends_its_budget_and_not_more(name: str, preset: str, pairs: int) -> None:
    ledger, updates = spend(name, preset, pairs)
    assert 0.98 <= ledger.share <= 1.01
    assert ledger.spent == pytest.approx(sum(ledger.canonical[phase] for phase in CHARGED))
    if any(update.phase == "reward" for update in updates):
        assert ledger.canonical["reward"] <= 0.30 * ledger.limit
        rollouts = sum("k1" in update.metrics for update in updates)
        assert rollouts >= 4
