"""Attention by sequences, as on a GPU, with a kernel that says on a CPU what torch's documentation says of its own."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor

from harness.models import varlen
from harness.models.packing import pack
from harness.types import Group
from tests.models.toys import GROUPS, LAYOUTS, metered


def documented(
    q: Tensor, k: Tensor, v: Tensor, starts: Tensor, key_starts: Tensor, *_: int, scale: float, window_size: Any, enable_gqa: bool
) -> Tensor:
    """Sequence by sequence, causal from the last key back; bounds are int32 and no sequence of queries is longer than its keys."""
    assert window_size == (-1, 0) and starts.dtype == key_starts.dtype == torch.int32
    found = []
    for first, last, begin, end in zip(starts, starts[1:], key_starts, key_starts[1:], strict=False):
        keys, values = (x[begin:end].repeat_interleave(q.shape[1] // k.shape[1] if enable_gqa else 1, 1) for x in (k, v))
        scores = torch.einsum("qhd,khd->hqk", q[first:last], keys) * scale
        size, more = int(last - first), int(end - begin) - int(last - first)
        assert more >= 0
        hidden = torch.ones(size, size + more).triu(more + 1).bool()
        found.append(torch.einsum("hqk,khd->qhd", scores.masked_fill(hidden, -torch.inf).softmax(-1), values))
    return torch.cat(found)


@pytest.fixture
def sequences(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(varlen, "_kernel", lambda: documented)
    monkeypatch.setattr(varlen, "usable", lambda x: True)


def told(layout: str) -> tuple[Tensor, list[Tensor], float]:
    model = metered(layout, dtype=torch.float64)
    logps = model.logps(GROUPS)
    model.backward(logps.sin().sum())
    return logps.detach(), [p.grad for p in model.parameters() if p.grad is not None], sum(model.ledger.executed.values())


@pytest.mark.parametrize("layout", LAYOUTS)
def test_log_probs_and_gradients_are_those_of_masked_attention(layout: str, request: pytest.FixtureRequest) -> None:
    plain, gradients, _ = told(layout)
    request.getfixturevalue("sequences")
    found, others, _ = told(layout)
    assert found == pytest.approx(plain, abs=1e-10)
    for ours, theirs in zip(others, gradients, strict=True):
        assert ours == pytest.approx(theirs, abs=1e-10)


@pytest.mark.usefixtures("sequences")
def test_sampling_and_prompts_read_before_keep_their_caches() -> None:
    model = metered(dtype=torch.float64)
    past = model.read([g.prompt for g in GROUPS], 4)
    drawn = model.sample([g.prompt for g in GROUPS], max_tokens=4, generator=torch.Generator().manual_seed(0), past=past)
    groups = [Group(g.prompt, (row[0].ids,)) for g, row in zip(GROUPS, drawn, strict=True)]
    with torch.no_grad():
        assert model.logps(groups).tolist() == pytest.approx([sum(row[0].logps) for row in drawn], abs=1e-9)


def test_what_is_computed_is_counted() -> None:
    found = varlen.sequences([[0, 0, 0, 1, 1, 2], [0, 1]], torch.device("cpu"))
    assert found.products == 3 * 3 + 2 * 5 + 1 * 4 + 1 * 1 + 1 * 2
    assert found.keys.tolist() == [0, 1, 2, 0, 1, 2, 3, 4, 0, 1, 2, 5, 6, 6, 7]
    assert (found.longest_query, found.longest_key) == (3, 5)
    assert pack(GROUPS, torch.device("cpu")).attended > 0


def test_a_kernel_that_fails_or_errs_is_not_used(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO")
    for kernel, said in ((documented, ""), (lambda *a, **b: 1.1 * documented(*a, **b), "off by"), (None, "fails here")):
        monkeypatch.setattr(varlen, "_kernel", lambda kernel=kernel: kernel)
        varlen._tried.cache_clear()
        assert varlen._tried(torch.device("cpu"), torch.float32, 8) == (not said)
        assert said in caplog.text
    varlen._tried.cache_clear()
    assert not varlen.usable(torch.zeros(1, 1, 1, 8, dtype=torch.bfloat16))  # not on a CPU


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU here")
def test_on_a_gpu_the_kernel_is_right() -> None:
    assert varlen.error(torch.device("cuda"), torch.bfloat16, 64) <= varlen.EXACT
