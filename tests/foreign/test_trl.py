"""TRL's trainers on our batches: weights after many steps are those of our own loop, and so is what is charged."""

from __future__ import annotations

import pytest
import torch

from harness.errors import HarnessError
from harness.plugins import registry
from harness.types import Setup
from tests.test_ppo import setup as sampling
from tests.training.toy import toy_pairs, toy_setup

pytest.importorskip("trl")
pytestmark = [pytest.mark.oracle, pytest.mark.slow]

PARTNERS = [("dpo", "trl_dpo", {"beta": 0.5}), ("kto", "trl_kto", {"beta": 0.5, "undesirable_weight": 1.2})]


def run(name: str, setup: Setup) -> list[dict[str, float]]:
    algorithm = registry.load("algorithms", name).algorithm
    made = algorithm() if isinstance(algorithm, type) else algorithm
    return [dict(update.metrics) for update in made.updates(setup)]


def weights(setup: Setup) -> torch.Tensor:
    return torch.cat([parameter.detach().flatten() for parameter in setup.policy.parameters()])


@pytest.mark.parametrize(("ours", "theirs", "settings"), PARTNERS)
def test_after_many_steps_the_weights_and_the_ledger_are_the_same(ours: str, theirs: str, settings: dict[str, float]) -> None:
    """Forty steps over shuffled epochs with the last batch shrunk: the way from the start differs by float32 rounding alone."""
    setups = [toy_setup(pairs=toy_pairs(40), limit=4e9, learning_rate=1e-3, **settings) for _ in range(2)]
    start = weights(setups[0])
    one, other = run(ours, setups[0]), run(theirs, setups[1])
    assert len(one) == len(other) > 20
    moved, apart = (weights(setups[0]) - start).norm(), (weights(setups[0]) - weights(setups[1])).norm()
    assert apart < 1e-3 * moved
    for key in ("loss", "gradient_norm", "learning_rate", "progress", "tokens", "epoch"):
        assert [row[key] for row in other] == pytest.approx([row[key] for row in one], rel=2e-3, abs=2e-4), key
    for page in ("canonical", "counts"):
        assert dict(getattr(setups[1].ledger, page)) == pytest.approx(dict(getattr(setups[0].ledger, page)))


@pytest.mark.parametrize("epochs", [1, 2])
def test_on_the_same_rollouts_the_weights_and_the_ledger_are_the_same(epochs: int) -> None:
    """A reward model, rollouts of two minibatches each and, with a second pass, ratios that are clipped; samples hang on the weights."""
    settings = {"iterations": 3, "minibatches": 2, "epochs": epochs, "beta": 0.2, "ratio_clip": 0.01}
    setups = [sampling(6e8, **settings) for _ in range(2)]
    start = weights(setups[0])
    one, other = run("grpo", setups[0]), run("trl_grpo", setups[1])
    assert len(one) == len(other) > 6
    moved, apart = (weights(setups[0]) - start).norm(), (weights(setups[0]) - weights(setups[1])).norm()
    assert apart < 1e-3 * moved
    for key in ("loss", "gradient_norm", "learning_rate"):
        assert [row[key] for row in other] == pytest.approx([row[key] for row in one], rel=2e-3, abs=2e-4), key
    for page in ("canonical", "counts"):
        assert dict(getattr(setups[1].ledger, page)) == pytest.approx(dict(getattr(setups[0].ledger, page)))


def test_a_run_that_is_left_early_leaves_no_thread_behind() -> None:
    import threading

    before = threading.active_count()
    running = registry.load("algorithms", "trl_dpo").algorithm().updates(toy_setup(limit=4e9))
    next(running)
    running.close()
    assert threading.active_count() == before


def test_a_budget_in_seconds_is_refused() -> None:
    setup = toy_setup(limit=10.0)
    setup.ledger.match = "device-seconds"
    with pytest.raises(HarnessError, match="planned before it trains"):
        run("trl_dpo", setup)
