"""Going on from prompts that were read before: the same samples, log-probs and divergences as reading them again, at fewer tokens."""

from __future__ import annotations

import pytest
import torch

from harness.models import kernels, memory, threads
from harness.models.packing import pack
from harness.training.reward import Pooling, RewardModel
from harness.types import Group
from tests.models.toys import LAYOUTS, metered

PROMPTS = [(3, 4, 5, 6), (7,), (8, 9, 3), (4, 4, 4, 4, 4, 5)]
RESPONSES = [((5, 6, 2), (7,)), ((2,), (3, 3, 3, 3, 2)), ((6, 6),), ((9, 2), (5, 5, 5), (2,))]
GROUPS = [Group(prompt, responses) for prompt, responses in zip(PROMPTS, RESPONSES, strict=True)]


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float64, 1e-10), (torch.float32, 1e-5)])
def test_what_goes_on_from_a_past_is_what_reads_anew(layout: str, dtype: torch.dtype, tolerance: float) -> None:
    model, other = metered(layout, dtype=dtype), metered(layout, dtype=dtype, seed=1)
    past = model.read(PROMPTS, 8)
    assert past is not None
    with torch.no_grad():
        assert model.logps(GROUPS, past) == pytest.approx(model.logps(GROUPS), abs=tolerance)
    theirs, anew = other.read(PROMPTS, 8), model.divergence(other, GROUPS)
    for again in (model.divergence(other, GROUPS, past), model.divergence(other, GROUPS, past, theirs)):
        for column, expected in zip(again, anew, strict=True):
            assert column == pytest.approx(expected, abs=tolerance)
    drawn = [model.sample(PROMPTS, max_tokens=8, generator=torch.Generator().manual_seed(0), past=each) for each in (past, None)]
    assert [[s.ids for s in row] for row in drawn[0]] == [[s.ids for s in row] for row in drawn[1]]


def test_a_past_serves_more_than_once_and_costs_what_reading_costs() -> None:
    model = metered(dtype=torch.float64)
    past = model.read(PROMPTS, 8)
    assert not sum(model.ledger.executed.values())
    first = model.sample(PROMPTS, samples=1, max_tokens=8, generator=torch.Generator().manual_seed(0), past=past)
    assert first == model.sample(PROMPTS, samples=1, max_tokens=8, generator=torch.Generator().manual_seed(0), past=past)
    spent = []
    for each in (past, None):
        before = sum(model.ledger.canonical.values()), sum(model.ledger.executed.values())
        with torch.no_grad():
            model.logps(GROUPS, each)
        after = sum(model.ledger.canonical.values()), sum(model.ledger.executed.values())
        spent.append((after[0] - before[0], after[1] - before[1]))
    assert spent[0][0] == spent[1][0] and spent[0][1] < spent[1][1]
    assert pack(GROUPS, model.device, past).ids.numel() == sum(1 + sum(map(len, g.responses)) for g in GROUPS)


@pytest.mark.parametrize("pooling", ["sum", "last"])
def test_a_reward_model_scores_what_it_has_read_the_prompts_of(pooling: Pooling) -> None:
    reward = RewardModel(metered(dtype=torch.float64).fork(scalar_head=True), pooling)
    past = reward.model.read(PROMPTS, 8)
    assert past is not None
    for n in (len(PROMPTS), 2):
        assert reward.scores(GROUPS[:n], past.first(n)) == pytest.approx(reward.scores(GROUPS[:n]), abs=1e-10)


def test_a_prompt_may_be_gone_on_from_in_several_groups() -> None:
    model = metered(dtype=torch.float64)
    past, split = model.read(PROMPTS[:1], 8), [Group(PROMPTS[0], (response,)) for response in ((5, 6, 2), (7,), (4, 4))]
    assert past is not None
    with torch.no_grad():
        assert model.logps(split, past.repeated(3)) == pytest.approx(model.logps(split), abs=1e-10)


def test_with_explicit_attention_too() -> None:
    if not hasattr(torch.backends.mkldnn, "matmul"):
        pytest.skip("this torch has no switch for oneDNN")
    model = metered()
    kernels.use("onednn")
    try:
        past = model.read(PROMPTS, 8)
        with torch.no_grad():
            assert model.logps(GROUPS, past) == pytest.approx(model.logps(GROUPS), abs=1e-5)
    finally:
        kernels.use("default")


def test_there_is_no_past_where_it_does_not_fit_or_threads_share_the_work(monkeypatch: pytest.MonkeyPatch) -> None:
    model = metered(dtype=torch.float64)
    assert model.read([], 8) is None
    with threads.using(2):
        assert model.read(PROMPTS, 8) is None
    monkeypatch.setattr(memory, "SAMPLING_BYTES", 100)
    assert model.read(PROMPTS, 8) is None
