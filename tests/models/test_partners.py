"""Gradients of shards from forked processes are those from threads, bit for bit, and no process is left behind."""

from __future__ import annotations

import os
import signal
import sys
import time
from collections.abc import Sequence

import pytest
import torch

from harness.errors import HarnessError
from harness.models import adapters, threads
from harness.models.metered import Metered
from harness.models.partners import partnered
from harness.types import Group
from tests.models.test_shards import MANY, gradients
from tests.models.toys import LAYOUTS, metered

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="elsewhere threads compute the shards")


def part(model: Metered, groups: Sequence[Group], total: float) -> float:
    loss = -model.token_logps(groups).values.sum() / total
    model.backward(loss)
    return float(loss.detach())


def stepped(model: Metered, forked: bool, batches: Sequence[Sequence[Group]] = (MANY, MANY[3:], MANY[:1])) -> list[list[float]]:
    """The losses of the parts of every batch, a step after each; the last batch is one group, so one shard."""
    model.optimise(learning_rate=1e-2)
    found = []
    with model.ledger.phase("update"):
        if forked:
            with partnered(model, part) as whole:
                for batch in batches:
                    found.append(whole(batch, 100))
                    model.step(0.5)
        else:
            for batch in batches:
                found.append(model.in_parts(batch, lambda each, piece, batch=batch: part(each, batch[piece], 100)))  # type: ignore[misc]
                model.step(0.5)
    return found


def weights(model: Metered) -> torch.Tensor:
    return torch.cat([weight.detach().flatten() for weight in model.parameters()])


@pytest.mark.parametrize("number", [1, 2, 3])
@pytest.mark.parametrize("layout", LAYOUTS)
def test_processes_learn_what_threads_learn_to_the_last_bit(layout: str, number: int) -> None:
    one, other = metered(layout), metered(layout)
    with threads.using(number):
        assert stepped(one, forked=True) == stepped(other, forked=False)
    assert torch.equal(weights(one), weights(other))
    assert one.ledger.canonical == other.ledger.canonical
    assert one.ledger.executed == other.ledger.executed


def test_an_adapter_learns_and_what_is_below_stays() -> None:
    one, other = metered(), metered()
    for each in (one, other):
        adapters.add(each.model, adapters.Lora(2, 4.0, "q_proj,v_proj"), 0)
        adapters.train(each.model)
    before = weights(one)
    with threads.using(2):
        assert stepped(one, forked=True) == stepped(other, forked=False)
    assert torch.equal(weights(one), weights(other)) and not torch.equal(weights(one), before)


def test_one_thread_forks_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "fork", lambda: pytest.fail("a fork"))
    model = metered()
    with threads.using(1), partnered(model, part) as whole:
        assert len(whole(MANY, 100)) == 1


def test_partners_are_gone_with_the_block_and_their_seconds_are_counted() -> None:
    here = os.getpid()

    def slow_there(model: Metered, groups: Sequence[Group], total: float) -> int:
        begun = time.process_time()
        while os.getpid() != here and time.process_time() < begun + 0.5:
            part(model, groups, total)
        return os.getpid()

    model, begun = metered(), time.process_time()
    with threads.using(2), model.ledger.phase("sft"), partnered(model, slow_there) as whole:
        _, other = whole(MANY, 100)
        os.kill(other, 0)
    assert model.ledger.cpu_seconds["sft"] > 0.4 > time.process_time() - begun
    with pytest.raises(ProcessLookupError):
        os.kill(other, 0)


@pytest.mark.parametrize("where", ["here", "there"])
def test_an_error_is_raised_as_it_was_and_the_next_batch_gets_its_own_answer(where: str) -> None:
    here = os.getpid()

    def fail(model: Metered, groups: Sequence[Group], total: float) -> float:
        if total < 0 and (os.getpid() == here) == (where == "here"):
            raise HarnessError("no demonstration fits")
        return part(model, groups, abs(total))

    model, fresh = metered(), metered()
    with threads.using(2):
        with partnered(model, fail) as whole:
            with pytest.raises(HarnessError, match=r"^no demonstration fits$"):
                whole(MANY[5:], -100)
            for weight in model.parameters():
                weight.grad = None
            losses = whole(MANY, 100)
        assert losses == fresh.in_parts(MANY, lambda each, piece: part(each, MANY[piece], 100))
    assert torch.equal(gradients(model), gradients(fresh))


def test_a_partner_that_was_killed_is_one_line() -> None:
    here = os.getpid()

    def die(model: Metered, groups: Sequence[Group], total: float) -> float:
        if os.getpid() != here:
            os.kill(os.getpid(), signal.SIGKILL)
        return part(model, groups, total)

    with threads.using(2), partnered(metered(), die) as whole:
        for _ in range(2):  # the second time it is known to be gone
            with pytest.raises(HarnessError, match="was killed"):
                whole(MANY, 100)
