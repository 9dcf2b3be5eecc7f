"""What algorithms converge to where everything can be enumerated; each target is derived, none is a number that a run once gave."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch

from harness.exact import training, truth, world
from harness.exact.world import World
from harness.models.packing import pack
from harness.plugins import registry
from harness.training.ledger import Ledger
from harness.types import Array, Group

SMALL = world.drawn(1, prompts=2, responses=3)


def algorithm(name: str) -> Any:
    return registry.load("algorithms", name).algorithm


def trained(name: str, given: World = SMALL, steps: int = 250, hidden: int = 0, **settings: Any) -> Array:
    return training.converge(algorithm(name), training.setup(given, settings, steps=steps, hidden=hidden), given)


def test_the_policy_starts_as_the_reference_and_says_nothing_but_responses() -> None:
    policy = training.policy(SMALL, Ledger(math.inf))
    groups = [Group(prompt, tuple(SMALL.responses)) for prompt in SMALL.prompts]
    assert policy.logps(groups).view(2, 3).detach().numpy() == pytest.approx(SMALL.reference, abs=1e-12)
    drawn = policy.sample(SMALL.prompts, samples=200, max_tokens=1, generator=torch.Generator().manual_seed(0))
    assert {sample.ids for row in drawn for sample in row} == set(SMALL.responses)
    share = np.mean([sample.ids == SMALL.responses[0] for sample in drawn[0]])
    assert share == pytest.approx(math.exp(SMALL.reference[0, 0]), abs=0.12)  # 3.4 standard errors of 200 draws


def test_what_a_reward_model_reads_of_a_response_knows_its_prompt() -> None:
    model = training.policy(SMALL, Ledger(math.inf)).model
    with torch.no_grad():
        model.learnt.weight.copy_(torch.arange(float(model.learnt.weight.numel())).view_as(model.learnt.weight))
    packed = pack([Group(prompt, tuple(SMALL.responses)) for prompt in SMALL.prompts], model.device)
    assert len({tuple(row) for row in model.run(packed, packed.own).tolist()}) == 6


@pytest.mark.parametrize("beta", [0.5, 2.0])
@pytest.mark.parametrize("hidden", [0, 8], ids=["table", "network"])
def test_dpo_converges_to_the_optimum(beta: float, hidden: int) -> None:
    """With exact Bradley-Terry labels DPO's minimum is ref exp(r / beta) / Z (Rafailov et al. 2023, eq. 4 and 5)."""
    optimum = truth.tilted(SMALL, SMALL.reward, beta)
    assert truth.divergence(optimum, SMALL.reference) > 1e-2  # else starting there would do
    assert truth.divergence(optimum, trained("dpo", hidden=hidden, beta=beta)) < 1e-5


@pytest.mark.parametrize("tau", [0.3, 1.0])
def test_ipo_converges_to_its_own_closed_form(tau: float) -> None:
    """ref exp(E p(y beats y') / tau) / Z, with target_gap = 1 / (2 tau): it is on the frontier of the win rate, not of the reward."""
    policy = trained("ipo", target_gap=1 / (2 * tau))
    assert truth.divergence(truth.tilted(SMALL, truth.wins(SMALL), tau), policy) < 1e-8
    place = truth.place(SMALL, policy)
    assert place.below_wins == pytest.approx(0.0, abs=1e-8)
    assert place.below_reward > 1e-6


def test_ipo_of_two_responses_one_of_which_always_wins() -> None:
    """Uniform reference, p = 1: the paper's example, sigma(1 / (2 tau)) = .622459 at tau = 1, where DPO would go to 1."""
    two = World(np.log(np.full((1, 2), 0.5)), np.array([[60.0, 0.0]]))  # p = 1 - 9e-27
    assert np.exp(trained("ipo", two, target_gap=0.5))[0, 0] == pytest.approx(0.622459, abs=1e-5)
    assert np.exp(trained("dpo", two, beta=1.0))[0, 0] > 0.99


def test_ppo_with_the_exact_reward_converges_to_the_optimum() -> None:
    settings = {"kl_coef": 1.0, "learning_rate": 0.05, "value_learning_rate": 0.15, "minibatches": 1}
    given = training.setup(SMALL, settings, steps=80, batch=64, exact=False)
    policy = training.converge(algorithm("ppo_gold"), given, SMALL)
    assert truth.divergence(truth.tilted(SMALL, SMALL.reward, 1.0), policy) < 1e-2


@pytest.mark.parametrize(("kl_coef", "steps"), [(1.0, 80), (0.5, 160)])
def test_rloo_with_the_exact_reward_converges_to_the_optimum(kl_coef: float, steps: int) -> None:
    """Its gradient is unbiased for E[r] - kl_coef KL, whose maximum is the tilted reference."""
    given = training.setup(SMALL, {"reward": "gold", "kl_coef": kl_coef, "learning_rate": 0.05}, steps=steps, batch=64)
    policy = training.converge(algorithm("rloo"), given, SMALL)
    optimum = truth.tilted(SMALL, SMALL.reward, kl_coef)
    assert truth.divergence(optimum, SMALL.reference) > 0.1  # else starting there would do
    assert truth.divergence(optimum, policy) < 1e-2


def test_grpo_with_the_exact_reward_gains_and_stays_below_the_frontier() -> None:
    """Dividing by each group's deviation weighs prompts anew, and k3's gradient is that of KL(ref || pi): its optimum is another."""
    settings = {"reward": "gold", "beta": 1.0, "learning_rate": 0.05, "minibatches": 1}
    given = training.setup(SMALL, settings, steps=80, batch=64)
    place = truth.place(SMALL, training.converge(algorithm("grpo"), given, SMALL))
    assert place.reward > truth.expected(SMALL.reference, SMALL.reward) + 0.1
    assert place.below_reward > 1e-4


@pytest.mark.parametrize("name", ["online_dpo", "iterative_dpo"])
def test_duels_by_the_exact_reward_gain_and_stay_below_the_frontier(name: str) -> None:
    """Labels are the sign of a difference, which no finite reward explains, so the optimum is not the tilted reference."""
    settings = {"reward": "gold", "beta": 1.0, "learning_rate": 0.05, "iterations": 4 if name == "iterative_dpo" else 80}
    given = training.setup(SMALL, settings, steps=80, batch=64)
    place = truth.place(SMALL, training.converge(algorithm(name), given, SMALL))
    assert place.reward > truth.expected(SMALL.reference, SMALL.reward) + 0.1
    assert place.below_reward > 1e-4


@pytest.mark.parametrize("beta", [0.5, 2.0])
def test_distilled_dpo_converges_to_the_optimum_of_the_reward_that_it_fits(beta: float) -> None:
    """The reference tilted by the fitted reward; that is near the true one, but for the decay of its weights."""
    # A head that starts at zero, as that of sums does, would meet a table of zeros: neither has a gradient.
    fit = {"reward_pooling": "last", "reward_share": 0.5, "reward_epochs": 1000, "reward_learning_rate": 0.1, "reward_batch": 1000}
    models: list[Any] = []
    given = replace(training.setup(SMALL, {"beta": beta, **fit}, steps=600, exact=False), inspect=models.append)
    policy = training.converge(algorithm("distilled_dpo"), given, SMALL)
    groups = [Group(prompt, tuple(SMALL.responses)) for prompt in SMALL.prompts]
    fitted = models[0].scores(groups).view(2, 3).double().numpy()
    optimum = truth.tilted(SMALL, fitted, beta)
    assert truth.divergence(optimum, SMALL.reference) > 1e-2  # else starting there would do
    assert truth.divergence(optimum, policy) < 1e-5
    assert truth.divergence(truth.tilted(SMALL, SMALL.reward, beta), policy) < 0.02


@pytest.mark.parametrize(("name", "settings"), [("kto", {"beta": 1.0}), ("dpop", {"beta": 1.0})])
def test_others_go_elsewhere_and_below_the_frontier(name: str, settings: dict[str, float]) -> None:
    place = truth.place(SMALL, trained(name, **settings))
    assert place.below_reward > 1e-4
    assert place.kl > 0


def test_finite_deterministic_labels_take_dpo_further_than_the_optimum() -> None:
    """Labels without noise have no finite Bradley-Terry reward, so the gap grows for as long as training lasts; ipo's does not."""
    data = world.sampled(SMALL, 60, np.random.default_rng(0), labels="deterministic")
    optimum = truth.tilted(SMALL, SMALL.reward, 1.0)

    def kl(name: str, **settings: float) -> float:
        given = training.setup(SMALL, settings, pairs=data, steps=200)
        return truth.divergence(training.converge(algorithm(name), given, SMALL), SMALL.reference)

    assert kl("dpo", beta=1.0) > 3 * truth.divergence(optimum, SMALL.reference)
    assert kl("ipo", target_gap=0.5) < 2 * truth.divergence(optimum, SMALL.reference)


def test_a_loss_that_is_no_number_ends_the_run() -> None:
    class Broken:
        def updates(self, setup: Any) -> Any:
            from harness.types import Update

            yield Update("update", 1, {"loss": math.nan})

    with pytest.raises(training.Diverged, match="the loss is nan at step 1"):
        training.converge(Broken(), training.setup(SMALL, {}, steps=1), SMALL)
