from itertools import islice

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from toy import toy_pairs

from harness.plugins import registry
from harness.training.batches import affordable, cycle, derangement, rows
from harness.training.ledger import Ledger, Shape

SHAPE = Shape(blocks=1000, head=100, layers=2, width=16)
KTO, DPO = (registry.load("algorithms", name).algorithm.signature for name in ("kto", "dpo"))


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def test_epochs_hold_everything_once_and_differ() -> None:
    first, second = (list(islice(stream, 10)) for stream in [cycle(10, generator())] * 2)
    assert sorted(first) == sorted(second) == list(range(10))
    assert first != second


def test_single_responses_alternate_and_cover_both_sides_of_every_pair_in_an_epoch() -> None:
    found = list(islice(rows(toy_pairs(12), KTO, generator()), 24))
    assert {(e.pair.row, e.sides[0]) for e in found} == {(i, side) for i in range(12) for side in (0, 1)}
    assert [e.sides[0] for e in found] == [0, 1] * 12
    assert any(a.pair.row != b.pair.row for a, b in zip(found[::2], found[1::2], strict=True))


@given(st.lists(st.integers(0, 4), min_size=2, max_size=14), st.integers(0, 1000))
def test_nobody_borrows_a_response_to_their_own_prompt(owners: list[int], seed: int) -> None:
    """Wherever no prompt holds more than half the rows; else still nobody keeps their own row, and it stays a permutation."""
    prompts, keys = [(owner,) for owner in owners], [(i, 0) for i in range(len(owners))]
    borrowed = derangement(prompts, keys, generator(seed))
    assert sorted(borrowed) == list(range(len(owners)))
    assert all(row != other for row, other in enumerate(borrowed))
    if 2 * max(map(owners.count, owners)) <= len(owners):
        assert all(owners[row] != owners[other] for row, other in enumerate(borrowed))


@given(st.permutations(range(8)), st.integers(0, 1000))
def test_partners_belong_to_examples_and_not_to_places_in_the_batch(order: list[int], seed: int) -> None:
    prompts, keys = [(i // 2,) for i in range(8)], [(i // 2, i % 2) for i in range(8)]
    plain = derangement(prompts, keys, generator(seed))
    turned = derangement([prompts[i] for i in order], [keys[i] for i in order], generator(seed))
    assert {keys[order[row]]: keys[order[other]] for row, other in enumerate(turned)} == {keys[r]: keys[o] for r, o in enumerate(plain)}


def test_partners_change_from_step_to_step() -> None:
    prompts, keys, source = [(i,) for i in range(8)], [(i, 0) for i in range(8)], generator()
    assert len({tuple(derangement(prompts, keys, source)) for _ in range(20)}) > 10


@pytest.mark.parametrize("signature", [DPO, KTO], ids=["dpo", "kto"])
def test_a_batch_shrinks_to_the_longest_prefix_that_is_paid_for(signature: object) -> None:
    examples = list(islice(rows(toy_pairs(12), signature, generator()), 8))  # type: ignore[arg-type]
    whole = affordable(examples, signature, SHAPE, set(), Ledger(float("inf")), generator())  # type: ignore[arg-type]
    assert whole is not None
    assert whole.examples == examples
    less = affordable(examples, signature, SHAPE, set(), Ledger(0.6 * whole.price), generator())  # type: ignore[arg-type]
    assert less is not None
    assert less.examples == examples[: len(less.examples)]
    assert 0.4 * whole.price < less.price <= 0.6 * whole.price


def test_an_unpaired_batch_never_shrinks_to_one_label() -> None:
    """The price of two rows minus one FLOP buys nothing, although it would pay for one row."""
    examples = list(islice(rows(toy_pairs(12), KTO, generator()), 8))
    two = affordable(examples[:2], KTO, SHAPE, set(), Ledger(float("inf")), generator())
    assert two is not None
    assert affordable(examples, KTO, SHAPE, set(), Ledger(two.price - 1), generator()) is None


def test_a_reference_forward_is_due_once_per_pair() -> None:
    examples = list(islice(rows(toy_pairs(4), DPO, generator()), 4))
    first = affordable(examples, DPO, SHAPE, set(), Ledger(float("inf")), generator())
    assert first is not None
    assert len(first.due) == 4
    again = affordable(examples, DPO, SHAPE, set(first.due), Ledger(float("inf")), generator())
    assert again is not None
    assert not again.due
    assert first.price / again.price == pytest.approx(4 / 3)
