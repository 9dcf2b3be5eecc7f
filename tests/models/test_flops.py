"""Canonical FLOPs against torch's own counter on the plain, unpadded path, and the ledger's arithmetic by hand."""

from __future__ import annotations

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode, sdpa_backward_flop_count, sdpa_flop_count

from harness.models.readings import shape_of
from harness.training.ledger import Ledger, Shape
from harness.types import Group
from tests.models.toys import LAYOUTS, metered, plain_model


def _forward(q: tuple[int, ...], k: tuple[int, ...], v: tuple[int, ...], *args: object, **kwargs: object) -> int:
    return int(sdpa_flop_count(q, k, v))


def _backward(grad: tuple[int, ...], q: tuple[int, ...], k: tuple[int, ...], v: tuple[int, ...], *args: object, **kwargs: object) -> int:
    return int(sdpa_backward_flop_count(grad, q, k, v))


# The stock counter knows nothing of the CPU's fused attention and counts zero for it.
CPU_ATTENTION = {
    torch.ops.aten._scaled_dot_product_flash_attention_for_cpu: _forward,
    torch.ops.aten._scaled_dot_product_flash_attention_for_cpu_backward: _backward,
}


@pytest.mark.parametrize("layout", LAYOUTS)
def test_scoring_is_within_five_percent_of_the_flop_counter(layout: str) -> None:
    """The forward is equal; the fused attention's backward recomputes its scores (5 products for 2), which is not useful work."""
    prompt, response = tuple(range(3, 43)), tuple(range(5, 29))
    model = plain_model(layout, hidden=128)
    with FlopCounterMode(display=False, custom_mapping=CPU_ATTENTION) as counter:
        hidden = model.base_model(input_ids=torch.tensor([prompt + response])).last_hidden_state
        logits = model.get_output_embeddings()(hidden[:, len(prompt) - 1 : -1])
        forward = counter.get_total_flops()
        logits.sum().backward()
    expected = shape_of(model).scoring([Group(prompt, (response,))])
    assert expected == pytest.approx(forward, rel=1e-3)
    assert 3 * expected == pytest.approx(counter.get_total_flops(), rel=0.05)


@pytest.mark.parametrize("layout", LAYOUTS)
def test_executed_flops_are_what_the_counter_sees_of_a_packed_forward_and_its_backward(layout: str) -> None:
    """Prompt tokens leave behind the last layer's attention, which the counter sees and the canonical price does not."""
    model = metered(layout)
    groups = [Group(tuple(range(3, 23)), ((5, 6, 2), (8, 9, 10, 2))), Group(tuple(range(4, 24)), ((7, 2), (4, 5, 6, 7, 2)))]
    with model.ledger.phase("update"), FlopCounterMode(display=False, custom_mapping=CPU_ATTENTION) as counter:
        loss = model.logps(groups).sum()
        assert model.ledger.executed["update"] == pytest.approx(counter.get_total_flops(), rel=1e-6)
        model.backward(loss)
    assert model.ledger.executed["update"] == pytest.approx(counter.get_total_flops(), rel=0.1)  # the fused attention computes scores again
    assert model.ledger.executed["update"] < 0.9 * model.ledger.canonical["update"]


def test_a_backward_costs_twice_its_forward_and_lands_in_the_phase_that_asked() -> None:
    model = metered()
    groups = [Group((1, 2, 3), ((4, 5), (6,)))]
    price = model.shape.scoring(groups)
    with model.ledger.phase("update"):
        model.backward(model.logps(groups).sum())
    with model.ledger.phase("reference"), torch.no_grad():
        model.logps(groups)
    with model.ledger.phase("evaluation"), torch.no_grad():
        model.logps(groups)
    assert model.ledger.canonical["update"] == pytest.approx(3 * price)
    assert model.ledger.canonical["reference"] == pytest.approx(price)
    assert model.ledger.spent == pytest.approx(4 * price)


def test_the_price_of_a_group_by_hand() -> None:
    shape = Shape(blocks=100, head=10, layers=2, width=4)
    # 3 prompt tokens and responses of 2 and 1: 6 tokens through the blocks, 3 through the head;
    # query-key products 3*3 for the prompt, (3+2)^2 - 3^2 = 16 and (3+1)^2 - 3^2 = 7 for what each response adds: 32.
    assert shape.group(3, [2, 1]) == 2 * 100 * 6 + 4 * 2 * 4 * 32 + 2 * 10 * 3
    # With a KV cache a response token attends to what precedes it and to itself: 9 + (4 + 5) + 4 = 22 in all.
    assert shape.sampling(3, [2, 1]) == 2 * 100 * 6 + 4 * 2 * 4 * 22 + 2 * 10 * 3


def test_canonical_flops_do_not_depend_on_how_a_batch_is_cut() -> None:
    model = metered()
    groups = [Group((1, 2, 3), ((4, 5), (6,))), Group((1, 9), ((7, 7, 2),))]
    with model.ledger.phase("update"), torch.no_grad():
        model.logps(groups)
    with model.ledger.phase("reference"), torch.no_grad():
        for group in groups:
            model.logps([group])
    assert model.ledger.canonical["update"] == pytest.approx(model.ledger.canonical["reference"])
    assert model.ledger.executed["update"] > model.ledger.executed["reference"]  # the padded attention of the joint pack


def test_an_inner_phase_takes_its_seconds_out_of_the_outer_one() -> None:
    import time

    ledger = Ledger(1.0)
    with ledger.phase("update"):
        time.sleep(0.02)
        with ledger.phase("evaluation"):
            time.sleep(0.05)
    assert ledger.wall_seconds["evaluation"] >= 0.05
    assert 0.015 <= ledger.wall_seconds["update"] < 0.05
