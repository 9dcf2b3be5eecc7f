"""Training on responses that were labelled one by one: who is dealt what, what it counts, and what is the same as on pairs."""

from __future__ import annotations

from dataclasses import replace
from itertools import islice

import pytest
import torch
from toy import toy_pairs, toy_setup

from harness.plugins import registry
from harness.plugins.declaration import Declaration
from harness.plugins.effort import learns_from_single
from harness.running.pairing import by_side
from harness.training.batches import Example, largest, pairs_in, passes, rows
from harness.training.loss_inputs import batch_statistics
from harness.training.reward import balanced, sided
from harness.types import Setup, TokenPair, Update

KTO, BCO, LIKELIHOOD = (registry.load("algorithms", name).algorithm for name in ("kto", "bco", "sft_chosen"))


def halves(pairs: list[TokenPair]) -> list[TokenPair]:
    """Both responses of every pair as responses of their own."""
    apart = [side for pair in pairs for side in (pair._replace(rejected=()), pair._replace(chosen=()))]
    return [each._replace(row=row, margin=None, agreement=None) for row, each in enumerate(apart)]


def single_setup(pairs: list[TokenPair]) -> Setup:
    setup = toy_setup(pairs=toy_pairs(2))
    with torch.no_grad():
        logps = by_side(pairs, setup.reference.logps([pair.group for pair in pairs]))
    setup.ledger.canonical.clear()
    return replace(setup, pairs=pairs, reference_logps=logps)


def trained(algorithm: object, pairs: list[TokenPair]) -> tuple[list[Update], Setup]:
    setup = single_setup(pairs)
    return list(algorithm.updates(setup)), setup  # type: ignore[attr-defined]


def test_uneven_labels_are_dealt_in_turn_and_the_scarcer_come_round() -> None:
    """Of 9 desirable and 3 undesirable responses 18 rows hold each of the former once and each of the latter three times."""
    data = [*halves(toy_pairs(9))[::2], *halves(toy_pairs(3))[1::2]]
    data = [pair._replace(row=row) for row, pair in enumerate(data)]
    dealt = list(islice(rows(data, KTO.signature, torch.Generator().manual_seed(0)), 18))
    assert [e.sides for e in dealt] == [(0,), (1,)] * 9
    assert sorted(e.pair.row for e in dealt) == [*range(9), *(row for row in (9, 10, 11) for _ in range(3))]
    assert all(len(e.group().responses) == 1 and e.group().responses[0] for e in dealt)
    assert largest(data, KTO.signature) == 12


def test_a_loss_of_chosen_responses_reads_the_desirable_alone() -> None:
    data = halves(toy_pairs(5))
    dealt = list(islice(rows(data, LIKELIHOOD.signature, torch.Generator().manual_seed(0)), 5))
    assert sorted(e.pair.row for e in dealt) == [0, 2, 4, 6, 8]
    assert largest(data, LIKELIHOOD.signature) == 5
    assert pairs_in(dealt, LIKELIHOOD.signature) == 2.5


def test_an_epoch_is_every_response_once_and_two_of_them_a_pair() -> None:
    pairs = toy_pairs(6)
    assert passes(6, pairs) == passes(6, halves(pairs)) == 1


def test_bco_of_single_responses_is_bco_of_their_pairs() -> None:
    """The same four pairs twice: the losses of a pair's two responses add up to the pair's, the state being the same after each step."""
    pairs = toy_pairs(4)
    single = BCO.over(halves(pairs))
    assert BCO.over(pairs) is BCO
    generator = torch.Generator().manual_seed(0)
    together, apart = {}, {}
    for _ in range(2):
        logps, reference = (-20 * torch.rand(4, 2, generator=generator, dtype=torch.float64) for _ in range(2))
        sides = [Example(pair, (0, 1)) for pair in pairs]
        alone = [Example(pair, pair.sides) for pair in halves(pairs)]
        every = by_side([e.pair for e in alone], reference.flatten())
        whole = batch_statistics(sides, logps, reference, BCO.signature)
        parts = batch_statistics(alone, logps.view(-1, 1), every, single.signature)
        assert float(parts.chosen_ratio) == pytest.approx(float(whole.chosen_ratio), abs=1e-12)
        assert (parts.pairs, float(parts.chosen_length)) == (whole.pairs, float(whole.chosen_length))
        ratios = logps - reference
        couples = ratios[:, 0][:, None] - ratios[:, 1]
        assert float(parts.gap_std) == pytest.approx(float(couples.std(correction=0)), abs=1e-12)
        of_pairs = BCO.loss(*logps.T, *reference.T, whole, together)
        desirable = torch.tensor([True, False] * 4)
        of_each = single.loss(logps.flatten(), reference.flatten(), desirable, parts, apart)
        assert of_each.view(-1, 2).sum(1).tolist() == pytest.approx(of_pairs.tolist(), abs=1e-10)
    assert together.keys() == apart.keys() == {"pairs", "delta"}


@pytest.mark.parametrize("algorithm", [KTO, BCO, LIKELIHOOD], ids=lambda each: each.name)
def test_training_on_labels_alone_spends_its_budget_and_tells_the_labels_apart(algorithm: object) -> None:
    """Nothing of the missing sides reaches a loss: every number is finite, and the desirable rise above the undesirable."""
    updates, setup = trained(algorithm, halves(toy_pairs(12)))
    assert 0.95 < setup.ledger.share <= 1.01
    last = updates[-1].metrics
    assert all(torch.isfinite(torch.tensor(value)) for value in last.values())
    assert last["chosen_change"] > 0
    assert last.get("gap", 1.0) > 0
    assert setup.ledger.counts["epochs"] == pytest.approx(setup.ledger.counts["pairs"] / 12)


def test_a_reward_model_s_rows_are_signed_and_both_labels_weigh_alike() -> None:
    data = [*halves(toy_pairs(3))[::2], halves(toy_pairs(1))[1]]
    assert sided(torch.tensor([1.0, 2.0, 3.0, 4.0]), data).tolist() == [1.0, 2.0, 3.0, -4.0]
    assert [pair.weight for pair in balanced(data)] == pytest.approx([4 / 6] * 3 + [4 / 2])
    assert balanced(toy_pairs(2)) == toy_pairs(2)


def test_who_learns_from_labels_alone() -> None:
    able = {entry.name for entry in registry.describe("algorithms") if learns_from_single(entry.declaration)}
    assert able == {"bco", "kto", "prompted", "sft_chosen", "trl_kto"}
    scored = Declaration(bound=True, loss=True, arguments=("logps", "desirable", "reward"))
    assert not learns_from_single(scored)  # its reward model is fitted on pairs
