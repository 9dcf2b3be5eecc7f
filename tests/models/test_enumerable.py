"""A policy that is a table: a transformers model like any other, saved and read back, with the price that was told before it was made."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pytest
import torch

from harness.data.shapes import folder_shape, shape
from harness.errors import HarnessError
from harness.models import storage
from harness.models.loading import load_model, meter
from harness.models.metered import Metered
from harness.models.tiny import ENUMERABLE, SPECIAL
from harness.training.ledger import Ledger
from harness.types import Group

WORDS = (*SPECIAL, "x0", "x1", "x2", "a", "b", "c", "d")
RESPONSES = tuple((token,) for token in range(7, 11))
GROUPS = [Group((1, prompt), RESPONSES) for prompt in range(4, 7)]


def made(name: str) -> tuple[Metered, Any]:
    """A preset whose weights are random and not those that it starts with."""
    model, tokenizer = load_model(name, dtype="float32", vocabulary=WORDS, seed=0, responses=4)
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for weight in model.parameters():
            weight.copy_(torch.randn(weight.shape, generator=generator))
    return meter(model, tokenizer, Ledger(math.inf)), tokenizer


@pytest.mark.parametrize("name", ENUMERABLE)
def test_all_probability_is_on_responses(name: str) -> None:
    policy, _ = made(name)
    logps = policy.logps(GROUPS).view(3, 4).detach()
    assert logps.exp().sum(1).tolist() == pytest.approx([1.0] * 3, abs=1e-6)
    assert len({tuple(row) for row in logps.tolist()}) == 3


@pytest.mark.parametrize("name", ENUMERABLE)
def test_a_preset_starts_uniform_over_responses(name: str) -> None:
    model, tokenizer = load_model(name, dtype="float32", vocabulary=WORDS, seed=0, responses=4)
    logps = meter(model, tokenizer, Ledger(math.inf)).logps(GROUPS).detach()
    assert logps.tolist() == pytest.approx([-math.log(4)] * 12, abs=1e-6)


@pytest.mark.parametrize("name", ENUMERABLE)
def test_other_tools_see_the_same_log_probs(name: str) -> None:
    policy, _ = made(name)
    logits = policy.model(input_ids=torch.tensor([group.prompt for group in GROUPS])).logits[:, -1]
    assert logits.log_softmax(-1)[:, 7:].flatten().tolist() == pytest.approx(policy.logps(GROUPS).tolist(), abs=1e-6)


@pytest.mark.parametrize("name", ENUMERABLE)
def test_it_is_saved_and_read_back(name: str, tmp_path: Path) -> None:
    policy, tokenizer = made(name)
    storage.save_model(tmp_path, policy.model, tokenizer)
    again, _ = storage.load_model(tmp_path, Ledger(math.inf))
    assert again.logps(GROUPS).tolist() == policy.logps(GROUPS).tolist()
    assert folder_shape(tmp_path) == again.shape


@pytest.mark.parametrize("name", ENUMERABLE)
def test_the_price_is_known_before_the_model_is_made(name: str) -> None:
    assert made(name)[0].shape == shape(name, len(WORDS))


def test_a_reward_head_that_starts_at_zero_can_learn_from_what_it_reads() -> None:
    """A response's state is features of its own for every prompt: of zeros neither head nor table would ever get a gradient."""
    model, tokenizer = load_model("table", dtype="float32", vocabulary=WORDS, seed=0, responses=4)
    reward = meter(model, tokenizer, Ledger(math.inf)).fork(scalar_head=True)
    assert reward.head is not None
    torch.nn.init.zeros_(reward.head.weight)
    scores = reward.scalars(GROUPS, at="token").sums()
    (scores * torch.arange(12.0)).sum().backward()  # type: ignore[no-untyped-call]
    assert reward.head.weight.grad is not None
    assert float(reward.head.weight.grad.norm()) > 1.0
    with torch.no_grad():
        reward.head.weight.fill_(1.0)
    assert len(set(reward.scalars(GROUPS, at="token").sums().tolist())) == 12


def test_a_vocabulary_without_responses_is_refused() -> None:
    with pytest.raises(HarnessError, match="model 'table': is of tasks whose responses are single words"):
        load_model("table", dtype="float32", vocabulary=WORDS, seed=0)
