"""A batch in shards learns what the whole learns: the same loss, gradients and FLOPs, the same bits on every run."""

from __future__ import annotations

import time

import pytest
import torch

from harness.models import memory, threads
from harness.models.metered import Metered
from harness.models.shards import balanced
from harness.types import Group
from tests.models.toys import GROUPS, LAYOUTS, metered

MANY = [Group((1, *range(3, 4 + i % 7)), ((5 + i % 9, 6, 2), tuple(range(7, 9 + i % 5)))) for i in range(13)]


def learn(model: Metered, groups: list[Group] = MANY, late: bool = False) -> list[float]:
    """Add the gradients of the mean log-prob; ``late`` lets the first shard end last."""

    def part(each: Metered, piece: slice) -> float:
        if late and piece.start == 0:
            time.sleep(0.05)
        loss = -each.token_logps(groups[piece]).values.sum() / 100
        each.backward(loss)
        return float(loss.detach())

    with model.ledger.phase("update"):
        return model.in_parts(groups, part)


def gradients(model: Metered) -> torch.Tensor:
    return torch.cat([p.grad.flatten() for p in model.parameters() if p.grad is not None])


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float64, 1e-10), (torch.float32, 1e-6)])
@pytest.mark.parametrize("number", [2, 3])
def test_shards_learn_what_the_whole_batch_learns(layout: str, dtype: torch.dtype, tolerance: float, number: int) -> None:
    whole, cut = (metered(layout, dtype=dtype) for _ in range(2))
    (loss,) = learn(whole)
    with threads.using(number):
        parts = learn(cut)
    assert len(parts) == number and sum(parts) == pytest.approx(loss, rel=tolerance)
    rough = 1e-6 if layout in ("llama", "qwen2") else tolerance  # transformers' RMSNorm computes in float32 whatever the dtype
    assert (gradients(cut) - gradients(whole)).norm() <= 10 * max(rough, tolerance) * gradients(whole).norm()
    assert cut.ledger.canonical == whole.ledger.canonical
    assert cut.ledger.executed["update"] == pytest.approx(whole.ledger.executed["update"], rel=0.3)  # padding differs


def test_the_order_in_which_shards_end_changes_no_bit() -> None:
    first, second = metered(), metered()
    with threads.using(2):
        assert learn(first) == learn(second, late=True)
    assert torch.equal(gradients(first), gradients(second))


def test_one_thread_takes_the_plain_path_and_makes_no_twin(monkeypatch: pytest.MonkeyPatch) -> None:
    model = metered()
    monkeypatch.setattr(Metered, "twin", lambda self: pytest.fail("a twin"))
    with threads.using(1):
        assert len(learn(model)) == 1
    plain = metered()
    plain.backward(-plain.token_logps(MANY).values.sum() / 100)
    assert torch.equal(gradients(model), gradients(plain))


def test_training_in_shards_moves_the_one_set_of_weights() -> None:
    """Three steps with a scalar head beside: twins read what the last step wrote, and are told nothing of it."""
    trained = []
    for number in (1, 2):
        model = metered(dtype=torch.float64).fork(scalar_head=True)
        model.optimise(learning_rate=1e-2)

        def part(each: Metered, piece: slice) -> None:
            each.backward(each.scalars(MANY[piece], at="token").values.square().sum() / 10)

        with threads.using(number):
            for _ in range(3):
                model.in_parts(MANY, part)
                model.step(0.5)
        trained.append(torch.cat([p.detach().flatten() for p in model.parameters()]))
        assert all(p.grad is None for each in (model, *model.twins) for p in each.parameters())
        assert len(model.twins) == number - 1
    assert (trained[0] - trained[1]).abs().max() < 1e-6


def test_a_twin_shares_every_weight_and_nothing_else() -> None:
    model = metered().fork(scalar_head=True)
    twin = model.twin()
    pairs = list(zip(model.parameters(), twin.parameters(), strict=True))
    assert len(pairs) > 10 and all(a is not b and a.data_ptr() == b.data_ptr() for a, b in pairs)
    assert twin.model.get_output_embeddings().weight.data_ptr() == model.model.get_output_embeddings().weight.data_ptr()


def test_a_step_that_failed_leaves_nothing_to_the_next_one() -> None:
    def fail(each: Metered, piece: slice) -> None:
        each.backward(each.token_logps(MANY[piece]).values.sum())
        if piece.start == 0:
            raise ValueError("no")

    model, fresh = metered(), metered()
    with threads.using(2):
        with pytest.raises(ValueError, match="no"):
            model.in_parts(MANY, fail)
        for weight in model.parameters():
            weight.grad = None
        learn(model)
        learn(fresh)
    assert torch.equal(gradients(model), gradients(fresh))


def test_weights_that_move_elsewhere_get_new_twins() -> None:
    model = metered()
    with threads.using(2):
        learn(model)
        model.model.to(torch.float64)
        for weight in model.parameters():
            weight.grad = None
        learn(model)
    assert len(model.twins) == 1 and model.twins[0].parameters()[0].dtype == torch.float64


def test_shards_are_about_equal_in_tokens_and_none_is_empty() -> None:
    def tokens(part: slice) -> int:
        return sum(len(g.prompt) + sum(map(len, g.responses)) for g in MANY[part])

    for number in (1, 2, 3, 5, 40):
        parts = balanced(MANY, number)
        assert [i for part in parts for i in range(part.start, part.stop)] == list(range(len(MANY)))
        assert len(parts) == min(number, len(parts)) and all(part.stop > part.start for part in parts)
        assert max(map(tokens, parts)) <= tokens(slice(0, 13)) / number + max(tokens(slice(i, i + 1)) for i in range(13))
    assert balanced([], 2) == [slice(0, 0)] and balanced(GROUPS[:1], 2) == [slice(0, 1)]


def test_memory_is_shared_by_the_threads(monkeypatch: pytest.MonkeyPatch) -> None:
    """What one forward may hold is halved where two run at a time, and every part has its place in the whole batch."""
    model = metered()
    monkeypatch.setattr(memory, "ACTIVATION_BYTES", 2 * 32 * 34 * 4 * 160)  # 160 tokens
    alone = len(model.micro(MANY))
    with threads.using(2):
        assert len(model.micro(MANY)) > alone
        assert len(learn(model)) > 2
    whole = metered()
    monkeypatch.undo()
    learn(whole)
    assert torch.allclose(gradients(model), gradients(whole), atol=1e-6)


@pytest.mark.parametrize("layout", LAYOUTS)
def test_scoring_in_threads_gives_the_same_values_in_the_same_order(layout: str) -> None:
    model = metered(layout, pad=0).fork(scalar_head=True)
    other = metered(layout, pad=0, seed=1)

    def scores() -> list[torch.Tensor]:
        with torch.no_grad():
            readings = model.token_readings(MANY)
            return [readings.logps.values, readings.entropies.values, readings.values.values, *model.divergence(other, MANY)]

    alone, spent = scores(), (dict(model.ledger.canonical), dict(other.ledger.canonical))
    model.ledger.canonical.clear()
    other.ledger.canonical.clear()
    with threads.using(2):
        threaded = scores()
    assert all(torch.allclose(a, b, atol=1e-5) for a, b in zip(alone, threaded, strict=True))
    assert dict(model.ledger.canonical) == spent[0] and other.ledger.canonical.keys() == spent[1].keys()
