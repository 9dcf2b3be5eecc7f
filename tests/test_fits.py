"""A reward model that another run of the seed has fitted: nothing that a run is charged, logs or learns may tell the difference."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from algorithms.ppo import PPO
from harness.models.tiny import SPECIAL, tiny_tokenizer
from harness.running.fits import once, reusing
from harness.training import reward
from harness.types import Setup, Update
from tests.test_ppo import setup

LIMIT, SETTINGS = 2e9, {"iterations": 2, "minibatches": 1, "reward_batch": 16}


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("HARNESS_CACHE", str(tmp_path))
    return tmp_path / "fit"


def run(*, shared: bool = True, checkpointing: bool = False, below: Path | None = None, **settings: Any) -> tuple[Setup, list[Update]]:
    given = setup(LIMIT, **SETTINGS, **settings)
    if shared:
        tokens = SimpleNamespace(tokenizer=tiny_tokenizer((*SPECIAL, *(f"w{index}" for index in range(len(SPECIAL), 16)))))
        stages: Any = SimpleNamespace(pair_folder=Path("pairs"), tokens=tokens, pairs=given.pairs, below=below, mode="copy", lora=None)
        given = replace(given, reuse=reusing(stages, given.ledger, given.generator, checkpointing=checkpointing))
    return given, list(PPO().updates(given))


def told(given: Setup, updates: list[Update]) -> tuple[Any, ...]:
    ledger = given.ledger
    books = dict(ledger.canonical), dict(ledger.executed), dict(ledger.counts), {name: set(met) for name, met in ledger.met.items()}
    return books, [(update.phase, update.step, dict(update.metrics)) for update in updates]


def no_step(*_: Any, **__: Any) -> None:
    raise AssertionError("fitted again")


def test_a_fit_is_made_once_and_nobody_can_tell(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    alone, first = run(shared=False), run()
    monkeypatch.setattr(reward, "_step", no_step)
    second = run()
    assert len(list(cache.iterdir())) == 1
    assert told(*alone) == told(*first) == told(*second)
    weights = [[p.detach() for p in given.policy.parameters()] for given, _ in (alone, first, second)]
    assert all(torch.equal(a, b) and torch.equal(a, c) for a, b, c in zip(*weights, strict=True))
    assert second[0].ledger.wall_seconds["reward"] == pytest.approx(first[0].ledger.wall_seconds["reward"])
    assert any(update.phase == "rollout" for update in second[1])


def test_what_only_later_stages_read_does_not_make_another_fit(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run(kl_coef=1.0)
    monkeypatch.setattr(reward, "_step", no_step)
    run(kl_coef=0.1)
    with pytest.raises(AssertionError, match="fitted again"):
        run(reward_learning_rate=1e-3)
    with pytest.raises(AssertionError, match="fitted again"):
        run(checkpointing=True)
    with pytest.raises(AssertionError, match="fitted again"):
        run(below=Path("sft"))
    assert len(list(cache.iterdir())) == 1


def test_a_budget_in_seconds_buys_its_own_fit() -> None:
    given = setup(LIMIT)
    given.ledger.match = "device-seconds"
    stages: Any = SimpleNamespace(pair_folder=Path("pairs"))
    fit: Any = iter(())
    assert reusing(stages, given.ledger, given.generator)({}, fit) is fit


def test_what_was_seen_of_a_reward_model_is_kept_for_the_very_same_one(cache: Path) -> None:
    from harness.training.reward import RewardModel

    policy = setup(LIMIT).policy
    model, looks = RewardModel(policy.fork(scalar_head=True), "sum"), []

    def look() -> dict[str, Any]:
        looks.append(1)
        return {"accuracy": {"value": 0.5}}

    for fitted, key, n in ((model, {}, 1), (model, {}, 1), (replace(model, offset=0.1), {}, 2), (model, {"seed": 1}, 3)):
        assert once(fitted, key, look) == {"accuracy": {"value": 0.5}} and len(looks) == n
    with torch.no_grad():
        next(iter(model.model.parameters())).add_(1.0)
    once(model, {}, look)
    assert len(looks) == 4
