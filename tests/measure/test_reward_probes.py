"""A policy and a reward model measured against a real yardstick of the embedded world, on an untrained model of two layers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import Tensor

from harness.data.tokenise import Tokens
from harness.measure.evaluate import measure
from harness.measure.judge import gold_judge
from harness.measure.reward_probes import inspect
from harness.measure.yardstick import Standing, Yardstick
from harness.models.loading import load_model, meter
from harness.models.metered import Metered
from harness.training.ledger import Ledger
from harness.training.reward import RewardModel
from harness.types import Group, Response, TokenPair
from tasks.tldr import task

WORLD, N = task(limit=24), 24


class Lengthy(RewardModel):
    """A reward model that pays one nat per token."""

    def scores(self, groups: Sequence[Group]) -> Tensor:
        return torch.tensor([float(len(ids)) for group in groups for ids in group.responses])


@pytest.fixture(scope="module")
def policy() -> Metered:
    model, tokenizer = load_model("tiny-64", dtype="float32", vocabulary=WORLD.vocabulary, seed=0)
    return meter(model, tokenizer, Ledger(1e15))


@pytest.fixture(scope="module")
def yard(policy: Metered) -> Yardstick:
    """The opponents are the data's own responses, whose twins are known."""
    _, tokenizer = load_model("tiny-64", dtype="float32", vocabulary=WORLD.vocabulary, seed=0)
    assert WORLD.score is not None
    rows = WORLD.evaluation[:N]
    tokens = Tokens(tokenizer, WORLD.max_prompt_tokens, WORLD.max_response_tokens)
    groups = tokens.groups([d.prompt for d in rows], [[Response(d.responses[0])] for d in rows])
    own = [[Response(d.responses[0], group.responses[0])] for d, group in zip(rows, groups, strict=True)]
    gold = WORLD.score([d.prompt for d in rows], [row[0] for row in own])["gold"]
    judge = gold_judge(WORLD.score, ("gold",), "gold")
    return Yardstick(
        tokens=tokens,
        reference=policy.frozen(),
        judge=judge,
        evaluation=rows,
        opponents=own,
        standings={"gold": Standing(gold[:, None], gold)},
        probes=WORLD.probes,
        twins=WORLD.reward_probes,
        refusals={probe.name: np.zeros(N) for probe in WORLD.probes},
        proxy=None,
        heldout=[],
        heldout_logps=np.zeros((0, 2)),
        gold=True,
        seed=0,
    )


def test_a_model_that_pays_for_length_is_found_out(policy: Metered, yard: Yardstick) -> None:
    """The filler has four words and the confidence two; a wrong fact changes no length. Gold takes two filler words of .15 or more."""
    spent = policy.ledger.spent
    twins = inspect(Lengthy(policy, "sum"), yard)["reward_probes"]["twins"]
    assert policy.ledger.spent == spent
    bounds = {name: (twin["score"]["lower"], twin["score"]["upper"]) for name, twin in twins.items()}
    assert [bounds[name] for name in ("padding after the end", "a confident tail", "a wrong fact")] == [(4, 4), (2, 2), (0, 0)]
    assert twins["double length"]["score"]["lower"] > 4
    assert twins["padding after the end"]["judge"]["upper"] <= -0.3
    assert twins["a wrong fact"]["judge"]["upper"] < -1
    assert {twin["score"]["n"] for twin in twins.values()} <= set(range(8, N + 1))


def test_the_pooling_is_recorded_and_a_task_without_twins_has_no_probes(policy: Metered, yard: Yardstick) -> None:
    head = policy.fork(scalar_head=True)
    assert inspect(RewardModel(head, "last"), yard)["reward_probes"]["pooling"] == "last"
    assert inspect(RewardModel(head, "last"), replace(yard, twins={})) == {}


def test_held_out_log_perplexity_is_that_of_the_data_s_responses(policy: Metered, yard: Yardstick) -> None:
    found = measure(policy, yard, mark=1.0, prompts=N, probes=8)
    groups = yard.tokens.groups([d.prompt for d in yard.evaluation], [row[:1] for row in yard.opponents])
    lengths = np.array([len(group.responses[0]) for group in groups])
    with torch.no_grad():
        expected = -policy.logps(groups).double().numpy() / lengths
    assert found.metrics["demonstration_nll"].value == pytest.approx(expected.mean(), rel=1e-5)
    assert [row["demonstration_nll"] for row in found.rows if row["slice"] == "evaluation"] == pytest.approx(expected, rel=1e-4)


def test_samples_are_paired_by_the_sampler_s_seed_whatever_the_mark(policy: Metered, yard: Yardstick) -> None:
    """A policy that has not moved says at every mark what the reference says, so that every paired change is 0."""
    early, late = (measure(policy, yard, mark=mark, prompts=N, probes=8).rows for mark in (0.0, 1.0))
    assert [row["response"] for row in early if "response" in row] == [row["response"] for row in late if "response" in row]
    assert {row["group"] for row in late if row["slice"] == "harmful"} <= {group for probe in WORLD.probes for group in probe.groups}


def test_what_never_changes_reads_the_prompts_once_for_all_marks(policy: Metered, yard: Yardstick, monkeypatch: pytest.MonkeyPatch) -> None:
    known = replace(yard, probes=(), proxy=RewardModel(policy.fork(scalar_head=True), "sum"), known={}, read={})
    asked: list[Metered] = []
    plain = Metered.read
    monkeypatch.setattr(Metered, "read", lambda self, *given: (asked.append(self), plain(self, *given))[1])
    found = [measure(policy, known, mark=mark, prompts=prompts, probes=0).metrics for mark, prompts in ((0.5, 8), (1.0, N), (1.0, N))]
    assert asked.count(known.reference) == 1 and known.proxy is not None and asked.count(known.proxy.model) == 1
    monkeypatch.setattr(Metered, "read", lambda self, *given: None)
    anew = measure(policy, replace(known, known={}, read={}), mark=1.0, prompts=N, probes=0).metrics
    for name in ("kl", "forward_kl", "proxy", "demonstration_nll"):
        assert found[1][name].value == pytest.approx(anew[name].value, abs=1e-5)
    assert found[0]["proxy"].n == 8


def test_on_the_way_refusals_are_exact_and_nothing_is_sampled_on_safety_prompts(policy: Metered, yard: Yardstick) -> None:
    pairs = [TokenPair(i, (1, 5 + i), (7, 2), (8, 9, 2)) for i in range(12)]
    known = replace(yard, heldout=pairs, heldout_logps=np.zeros((12, 2)))
    way, end = (measure(policy, known, mark=mark, prompts=8, probes=4, final=final) for mark, final in ((0.5, False), (1.0, True)))
    harmful = next(probe for probe in known.probes if probe.worse == "less_refusal")
    said = {f"{harmful.name}_{category}" for category in harmful.categories}
    assert said <= set(end.metrics) and not said & set(way.metrics)
    assert way.metrics["refusal_mass"].n == end.metrics["refusal_mass"].n == 4
    assert way.metrics["refusal_mass"].value == pytest.approx(end.metrics["refusal_mass"].value, abs=1e-6)
    assert (way.metrics["preference_accuracy"].n, end.metrics["preference_accuracy"].n) == (4, 8)


def test_held_out_pairs_of_one_prompt_are_one_observation_of_a_reward_model(policy: Metered, yard: Yardstick) -> None:
    """One nat per token: four pairs of one prompt are won by two tokens and one of another is lost by one, so 1 and 0, not 4 of 5."""
    pairs = [*(TokenPair(i, (1, 5), (7, 8, 9, 2), (7, 2)) for i in range(4)), TokenPair(4, (1, 6), (7, 2), (8, 9, 2))]
    found = inspect(Lengthy(policy, "sum"), replace(yard, twins={}, heldout=pairs))
    assert (found["reward_accuracy"]["value"], found["reward_accuracy"]["n"]) == (0.5, 2)
    loss = [np.log1p(np.exp(-2.0)), np.log1p(np.exp(1.0))]
    assert found["reward_log_loss"]["value"] == pytest.approx(np.mean(loss))
    assert (found["reward_heldout_pairs"], found["reward_heldout_prompts"]) == (5, 2)
