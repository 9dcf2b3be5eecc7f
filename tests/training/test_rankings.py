"""Rankings of more than two: found again in their comparisons, read once each by a list loss, and charged for what is read."""

from __future__ import annotations

from itertools import combinations, islice

import pytest
import torch
from torch import Tensor

from harness import preference_loss
from harness.models.metered import Metered
from harness.plugins import registry
from harness.training.preference import PreferenceLoss
from harness.training.rankings import rankings
from harness.types import Group, Setup, TokenPair
from tests.training.test_offline import OneByOne, weights
from tests.training.toy import toy_setup

SEEN: list[Tensor] = []
A, B, C, D = ((letter, letter + 1, 2) for letter in (5, 10, 15, 20))


@preference_loss
def noted(ranked: Tensor, ref_ranked: Tensor, *, beta: float = 0.1) -> Tensor:
    """DPO's likelihood of the best of a list, which notes what it is given."""
    SEEN.append(torch.stack([ranked.detach(), ref_ranked], 2))
    return -(beta * (ranked - ref_ranked)).log_softmax(1)[:, 0]


def every_two(lists: list[list[tuple[int, ...]]], start: int = 0) -> list[TokenPair]:
    """The comparisons of rankings, best first, as the loaders make them: a prompt each."""
    couples = [((1, 4 + start + number, 3), better, worse) for number, each in enumerate(lists) for better, worse in combinations(each, 2)]
    return [TokenPair(row, *couple) for row, couple in enumerate(couples)]


def drawn(lengths: list[int]) -> list[TokenPair]:
    """Rankings of these lengths of made-up responses, earlier ones of lower words."""
    generator = torch.Generator().manual_seed(0)
    lists = [
        [(*(4 + 5 * place + torch.randint(0, 4, (2 + place,), generator=generator)).tolist(), 2) for place in range(length)]
        for length in lengths
    ]
    return every_two(lists)


def plackett_luce() -> PreferenceLoss:
    found = registry.load("algorithms", "plackett_luce").algorithm
    assert isinstance(found, PreferenceLoss)
    return found


def test_all_comparisons_of_a_prompt_are_one_ranking() -> None:
    pairs = every_two([[B, D, A, C], [A, C]])
    found, two = rankings([pairs[i] for i in (5, 0, 3, 1, 6, 2, 4)])
    assert [found.neighbours[0].chosen, *(pair.rejected for pair in found.neighbours)] == [B, D, A, C]
    assert sorted([*(pair.row for pair in found.neighbours), *found.implied]) == [0, 1, 2, 3, 4, 5]
    assert (two.neighbours, two.implied) == ((pairs[6],), ())


CYCLE = [TokenPair(row, (1, 3), better, worse) for row, (better, worse) in enumerate([(A, B), (B, C), (C, A)])]
WHOLE = every_two([[A, B, C]])


@pytest.mark.parametrize(
    "pairs",
    [
        CYCLE,
        every_two([[A, B, C, D]])[1:],
        [*WHOLE, WHOLE[0]._replace(row=3)],
        [*WHOLE, TokenPair(3, WHOLE[0].prompt, B, A)],
        [WHOLE[0]._replace(weight=2.0), *WHOLE[1:]],
    ],
    ids=["cycle", "one comparison missing", "one said twice", "one said both ways", "unequal weights"],
)
def test_other_comparisons_stay_lists_of_two(pairs: list[TokenPair]) -> None:
    assert [(each.neighbours, each.implied) for each in rankings(pairs)] == [((pair,), ()) for pair in pairs]


def test_a_loss_reads_every_list_whole_and_best_first() -> None:
    """Both models' log-probs of each place, in batches of eight comparisons or a few more."""
    SEEN.clear()
    pairs = drawn([4, 3, 2, 4, 2])
    given = toy_setup(pairs=pairs, limit=1e10)
    list(islice(noted.updates(given), 2))
    groups = {4: pairs[0:6], 3: pairs[6:9]}
    assert {rows.shape[1] for rows in SEEN} == {2, 3, 4}
    for length, rows in groups.items():
        first = [rows[0].chosen, *(pair.rejected for pair in rows[: length - 1])]
        with torch.no_grad():
            wanted = given.reference.logps([Group(rows[0].prompt, tuple(first))])
        read = torch.cat([each for each in SEEN if each.shape[1] == length])
        assert any(torch.allclose(each[:, 1], wanted, atol=1e-4) for each in read)
    torch.testing.assert_close(SEEN[0][..., 0], SEEN[0][..., 1], rtol=0, atol=1e-4)  # the policy starts as the reference


def test_a_list_is_charged_for_its_responses_and_counts_as_its_comparisons() -> None:
    """An epoch of a list of four is 3 forwards of the policy and 1 of the reference over 4 responses; of pairs, over 12."""
    pairs = drawn([4, 4])
    spent: list[float] = []
    for name in ("plackett_luce", "dpo"):
        given = toy_setup(pairs=pairs, limit=1e10, batch_pairs=12)
        update = next(registry.load("algorithms", name).algorithm.updates(given))
        counts = given.ledger.counts
        assert (update.metrics["epoch"], counts["pairs"], counts["labels"], counts["unique_pairs"]) == (1.0, 12, 12, 12)
        spent.append(given.ledger.spent)
    shape = toy_setup(pairs=pairs).policy.shape
    lists = [Group(rows[0].prompt, (rows[0].chosen, *(pair.rejected for pair in rows[:3]))) for rows in (pairs[:6], pairs[6:])]
    assert spent[0] == pytest.approx(shape.learning(lists) + shape.scoring(lists))
    both = [Group(pair.prompt, (pair.chosen, pair.rejected)) for pair in pairs]
    assert spent[1] == pytest.approx(shape.learning(both) + shape.scoring(both))


def test_metrics_are_those_of_the_comparisons() -> None:
    """Before a step has moved the policy, lists and pairs of the same rankings log the same means."""
    pairs = drawn([4, 3, 2])
    found = []
    for name in ("plackett_luce", "dpo"):
        given = toy_setup(pairs=pairs, limit=1e10, batch_pairs=10)
        lengths = torch.tensor([[len(pair.chosen), len(pair.rejected)] for pair in pairs])
        given.reference_logps.copy_(given.reference_logps - lengths)  # so that the changes are lengths, which differ by place
        found.append(next(registry.load("algorithms", name).algorithm.updates(given)).metrics)
    for key in ("chosen", "rejected", "chosen_change", "rejected_change", "gap", "accuracy"):
        assert found[0][key] == pytest.approx(found[1][key], abs=1e-4)
    assert found[0]["gap"] == pytest.approx(-1.5, abs=1e-4)  # of lengths 3 to 6: -(10 + 4 + 1) over 10 comparisons
    assert found[0]["accuracy"] == 0.0


def test_memory_cuts_of_uneven_lists_change_nothing() -> None:
    pairs = drawn([4, 3, 2, 4, 3, 2, 2])
    whole, cut = (toy_setup(pairs=pairs, dtype="float64", batch_pairs=20, policy=policy) for policy in (Metered, OneByOne))
    steps = [list(islice(plackett_luce().updates(given), 3)) for given in (whole, cut)]
    for one, other in zip(*steps, strict=True):
        assert other.metrics == pytest.approx(one.metrics, rel=1e-6, abs=1e-6)
    torch.testing.assert_close(weights(cut), weights(whole), rtol=0, atol=1e-6)


def order_of(given: Setup) -> float:
    """The share of comparisons whose better response gained more against the reference."""
    with torch.no_grad():
        logps = given.policy.logps([Group(p.prompt, (p.chosen, p.rejected)) for p in given.pairs]).view(-1, 2)
    change = logps - given.reference_logps
    return float((change[:, 0] > change[:, 1]).float().mean())


def test_a_policy_learns_the_order_of_all_places() -> None:
    given = toy_setup(pairs=drawn([4] * 12), limit=4e9, batch_pairs=24, beta=0.5)
    *_, last = plackett_luce().updates(given)
    assert last.metrics["accuracy"] > 0.9
    assert order_of(given) > 0.9
    assert 0 <= given.ledger.remaining < 0.1 * given.ledger.limit
