"""Matched compute, for every algorithm there is: the budget is spent, and never overspent by more than 1 %."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import pytest
import torch

from harness.data.tokenise import Tokens
from harness.models.loading import load_model, meter
from harness.plugins import registry
from harness.running.outset import resolved_settings
from harness.training.ledger import CHARGED, Ledger
from harness.types import Array, Group, Pair, Response, Sample, Setup, Task, Update

FEW_ROLLOUTS = 12  # of the 72 that some take by default, at the price of a sampling each
ENTRIES = [entry for entry in registry.describe("algorithms") if not entry.problem]


def case(entry: registry.Entry) -> Any:
    """Its name; what trains by another library is run where that library is asked for."""
    return pytest.param(entry.name, marks=[pytest.mark.oracle] if foreign(entry) else [])


def foreign(entry: registry.Entry) -> bool:
    return "requires" in entry.declaration.metadata


TRAINED = [entry for entry in ENTRIES if not entry.declaration.metadata.get("untrained")]  # the others take what answers cost
ALGORITHMS = [case(entry) for entry in TRAINED]
# What plans its steps before it trains refuses seconds (tests/foreign).
TIMED = [case(entry) for entry in TRAINED if not foreign(entry) or entry.declaration.metadata["family"] == "online"]


def prepared(preset: str, pairs: int, ledger: Ledger, batch_pairs: int = 32) -> Setup:
    """A run's setup on the embedded task from an untrained model: what learning costs does not depend on what was learnt before."""
    task: Task = registry.load("tasks", "tldr").task()
    model, tokenizer = load_model(preset, dtype="float32", vocabulary=task.vocabulary, seed=0)
    tokens, policy = Tokens(tokenizer, task.max_prompt_tokens, task.max_response_tokens), meter(model, tokenizer, ledger)
    generator = np.random.default_rng(0)
    rows = task.demonstrations(generator, pairs)
    labelled = tokens.pairs([Pair(d.prompt, Response(d.responses[0]), Response(d.responses[1]), margin=1.0) for d in rows])
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
        batch_pairs=batch_pairs,
        max_response_tokens=task.max_response_tokens,
    )


def two_epochs(setup: Setup) -> float:
    """What DPO costs for two epochs of the pairs: 7 F."""
    return 7 * setup.policy.shape.scoring([Group(p.prompt, (p.chosen, p.rejected)) for p in setup.pairs])


def spend(name: str, preset: str, pairs: int, batch_pairs: int = 32, rollouts: float = math.inf) -> tuple[Ledger, list[Any]]:
    ledger = Ledger(1e30)
    setup = prepared(preset, pairs, ledger, batch_pairs)
    ledger.limit = two_epochs(setup)
    return ledger, list(trained(name, setup, rollouts))


def trained(name: str, setup: Setup, rollouts: float = FEW_ROLLOUTS) -> Iterator[Update]:
    """Its updates on its own defaults, but for ``rollouts``, of which it takes no more."""
    entry = registry.find("algorithms", name)
    chosen = {"iterations": min(rollouts, entry.defaults["iterations"])} if "iterations" in entry.defaults else {}
    bound = registry.load_entry(entry).algorithm
    algorithm = bound() if isinstance(bound, type) else bound
    object.__setattr__(setup, "settings", resolved_settings(entry, chosen))
    yield from algorithm.updates(setup)


@pytest.mark.parametrize("name", ALGORITHMS)
@pytest.mark.parametrize(
    ("preset", "pairs", "batch_pairs", "rollouts"),
    [("tiny-64", 200, 8, FEW_ROLLOUTS), pytest.param("tiny-128", 2000, 32, math.inf, marks=pytest.mark.slow)],
    ids=["quick", "default"],
)
def test_every_algorithm_spends_its_budget_and_not_more(name: str, preset: str, pairs: int, batch_pairs: int, rollouts: float) -> None:
    ledger, updates = spend(name, preset, pairs, batch_pairs, rollouts)
    assert 0.98 <= ledger.share <= 1.01
    assert ledger.spent == pytest.approx(sum(ledger.canonical[phase] for phase in CHARGED))
    entry = registry.find("algorithms", name)
    if any(update.phase == "reward" for update in updates) and not entry.declaration.loss:
        assert ledger.canonical["reward"] <= 0.30 * ledger.limit
        rollouts = sum("k1" in update.metrics for update in updates)
        assert rollouts >= min(4, int(entry.defaults["iterations"]))


@pytest.mark.parametrize("name", [entry.name for entry in ENTRIES if entry not in TRAINED])
def test_what_trains_nothing_pays_for_its_answers_within_its_budget(name: str) -> None:
    ledger, _ = spend(name, "tiny-64", 300)
    assert 0 < ledger.canonical["rollout"] <= ledger.spent <= ledger.limit


@pytest.mark.parametrize(("match", "limit"), [("pairs", 64.0), ("steps", 10.0)])
@pytest.mark.parametrize("name", ALGORITHMS)
def test_counted_budgets_are_spent_to_the_last_step(name: str, match: str, limit: float) -> None:
    """Steps to the last one. Pairs but for what cannot be cut: a group of four samples is two pairs, a single response half of one."""
    ledger = Ledger(limit, match)
    updates = list(trained(name, prepared("tiny-64", 64, ledger, batch_pairs=8)))
    assert limit - (1.5 if match == "pairs" else 0) <= ledger.counts[match] <= limit
    assert ledger.counts["steps"] == sum("learning_rate" in update.metrics for update in updates)
    rates = [update.metrics["learning_rate"] for update in updates if update.phase != "reward"]
    assert 0 < rates[-1] < 0.3 * max(rates)  # the schedule runs over the matched unit


class Machine:
    """A clock that only work moves: seconds by the FLOPs that a ledger was charged, slower in some phases, none in between."""

    def __init__(self) -> None:
        self.ledger = Ledger(1.0, "device-seconds", self)

    def __call__(self) -> float:
        return sum(flops * {"rollout": 4.0, "reference": 0.5}.get(phase, 1.0) for phase, flops in self.ledger.canonical.items()) / 1e9


@pytest.mark.parametrize("name", TIMED)
def test_a_budget_of_seconds_is_overspent_by_no_more_than_a_step(name: str) -> None:
    """A step with the sampling before it, whose seconds cannot be known; evaluation takes none of them."""
    machine = Machine()
    ledger, setup = machine.ledger, prepared("tiny-64", 64, machine.ledger)
    ledger.limit = 1.5 * two_epochs(setup) / 1e9
    ends = [0.0] + [ledger.spent for _ in trained(name, setup)]
    assert ledger.wall_seconds["evaluation"] > 0
    assert 0.9 * ledger.limit < ledger.spent <= ledger.limit + max(np.diff(ends))
    assert ledger.spent == pytest.approx(sum(ledger.wall_seconds[phase] for phase in CHARGED))
