"""Attention by buckets and by explicit products: equal to one padded, fused computation, and counted as it is computed."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from harness.errors import HarnessError
from harness.models import forwards, kernels, packing
from harness.models.attention import attend_explicitly, bucketed
from harness.models.loading import prepare
from harness.models.packing import pack
from harness.types import Group
from tests.models.toys import GROUPS, LAYOUTS, metered, plain_model

UNEVEN = [
    *GROUPS,
    Group(tuple(range(3, 43)), (tuple(range(5, 29)), tuple(range(9, 20)))),
    Group(tuple(range(3, 40)), (tuple(range(5, 29)),)),
]


@pytest.fixture
def onednn() -> Iterator[None]:
    kernels.use("onednn")
    yield
    kernels.use("default")


def scored(layout: str, dtype: torch.dtype) -> tuple[torch.Tensor, dict[str, torch.Tensor]]:
    """Log-probs of uneven groups and the gradients of a weighted sum of them."""
    model = metered(layout, dtype=dtype)
    seen = model.logps(UNEVEN)
    model.backward((seen * torch.linspace(-1, 1, len(seen), dtype=dtype)).sum())
    return seen.detach(), {name: p.grad for name, p in model.model.named_parameters() if p.grad is not None}


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
@pytest.mark.parametrize("cost", [0, 10**9])
def test_explicit_products_in_buckets_equal_one_fused_attention(
    layout: str, dtype: torch.dtype, cost: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """1e-10 in float64, 1e-6 relative in float32, gradients 1e-5; transformers' RMSNorm computes in float32 in either."""
    monkeypatch.setattr(packing, "BUCKET_COST", 10**9)
    plain, wanted = scored(layout, dtype)
    monkeypatch.setattr(packing, "BUCKET_COST", cost)
    monkeypatch.setattr(kernels, "explicit", lambda x: True)
    seen, found = scored(layout, dtype)
    assert (seen - plain).abs().max() <= (1e-10 if dtype == torch.float64 else 1e-6 * float(plain.abs().max()))
    for name, gradient in wanted.items():
        assert (found[name] - gradient).norm() <= 1e-5 * gradient.norm() + 1e-12, name


@pytest.mark.usefixtures("onednn")
@pytest.mark.parametrize("layout", LAYOUTS)
def test_onednn_changes_only_rounding(layout: str) -> None:
    assert kernels.explicit(torch.zeros(1)) and not kernels.explicit(torch.zeros(1, dtype=torch.bfloat16))
    seen, found = scored(layout, torch.float32)
    kernels.use("default")
    plain, wanted = scored(layout, torch.float32)
    assert (seen - plain).abs().max() <= 1e-5 * float(plain.abs().max())
    for name, gradient in wanted.items():
        assert (found[name] - gradient).norm() <= 1e-4 * gradient.norm(), name


def test_under_autocast_attention_is_explicit_and_its_scores_are_not_rounded() -> None:
    """Scores near 40 that differ by hundredths: in bfloat16, whose last bit is a quarter there, the weights would be others."""
    query = torch.full((1, 1, 4, 16), 2.0)
    key = torch.full((1, 1, 64, 16), 1.25) + torch.linspace(-1, 1, 64).view(1, 1, 64, 1) / 500
    value = torch.eye(64)[None, None, :, :16].contiguous()
    wanted = (query.double() @ key.double().transpose(2, 3)).softmax(-1) @ value.double()
    assert not kernels.explicit(query)
    with torch.autocast("cpu", torch.bfloat16):
        assert kernels.explicit(query)
        seen = attend_explicitly(query, key, value.bfloat16(), torch.zeros(1, 1, 1, 4, 64), 1.0)
    assert (seen.double() - wanted).abs().max() <= 2**-8 * wanted.max()


def test_padding_gets_no_gradient_and_gives_none(monkeypatch: pytest.MonkeyPatch) -> None:
    """Token 0 stands in every padding cell: were the cells' gradients its own, they would differ from those of groups alone."""
    monkeypatch.setattr(kernels, "explicit", lambda x: True)
    whole, alone = metered(dtype=torch.float64), metered(dtype=torch.float64)
    whole.backward(whole.logps(UNEVEN).sum())
    for group in UNEVEN:
        alone.backward(alone.logps([group]).sum())
    for ours, theirs in zip(whole.parameters(), alone.parameters(), strict=True):
        assert torch.allclose(ours.grad, theirs.grad, atol=1e-6)


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("explicit", [True, False])
def test_a_row_without_padding_is_not_gathered(layout: str, explicit: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """Three groups of nine tokens, alone and beside one of another length; the sum of their gradients is the sum of the parts."""
    monkeypatch.setattr(kernels, "explicit", lambda x: explicit)
    even = [Group((1, 7, 9, 11), ((5, 6, 2), (8, 2))), Group((1, 7), ((5, 6, 8, 9, 3, 4, 2),)), Group((1, 3, 9, 4, 5, 6), ((5, 6, 2),))]
    odd = Group((1, 3), ((4, 5, 6, 7, 8, 2),))
    assert pack(even, torch.device("cpu"))._dense
    assert not pack([*even, odd], torch.device("cpu"))._dense
    dense, gathered = metered(layout, dtype=torch.float64), metered(layout, dtype=torch.float64)
    seen, expected = dense.logps(even), gathered.logps([*even, odd])[:-1]
    assert (seen - expected).abs().max() <= 1e-10
    dense.backward(seen.prod())
    gathered.backward(expected.prod())
    for ours, theirs in zip(dense.parameters(), gathered.parameters(), strict=True):
        assert torch.allclose(ours.grad, theirs.grad, rtol=1e-5, atol=1e-8 * float(theirs.grad.abs().max()))


def products(lengths: list[int], buckets: list[list[int]]) -> int:
    return sum(len(each) * max(lengths[i] for i in each) ** 2 for each in buckets)


def test_buckets_are_the_cheapest_cut_of_the_order_of_lengths() -> None:
    """Against every way to cut 7 groups into runs of the sorted order."""
    lengths = [9, 30, 31, 12, 60, 10, 29]
    order = sorted(range(7), key=lengths.__getitem__)
    costs = []
    for cuts in range(2**6):
        edges = [0, *(i + 1 for i in range(6) if cuts >> i & 1), 7]
        parts = [order[a:b] for a, b in itertools.pairwise(edges)]
        costs.append(products(lengths, parts) + 100 * len(parts))
    found = bucketed(lengths, 100)
    assert sorted(i for each in found for i in each) == list(range(7))
    assert products(lengths, found) + 100 * len(found) == min(costs)
    assert len(found) > 1


def test_groups_of_a_small_batch_share_one_bucket() -> None:
    assert bucketed([5], 10_000) == [[0]]
    assert bucketed([8, 20, 13], 10_000) == [[0, 1, 2]]


@pytest.mark.usefixtures("onednn")
@pytest.mark.parametrize("layout", LAYOUTS)
def test_rows_that_fill_shapes_up_change_nothing(layout: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Values and gradients in float64, where oneDNN has no part but shapes are rounded: token 0 fills rows up and must learn nothing."""
    packed = pack(UNEVEN, torch.device("cpu"))
    assert packed.ids.numel() == kernels.rounded(packed.ids.numel()) > sum(len(g.prompt) + sum(map(len, g.responses)) for g in UNEVEN)
    assert packed.buckets[0].rows.shape[1] % 8 == 0
    seen, found = scored(layout, torch.float64)
    kernels.use("default")
    plain, wanted = scored(layout, torch.float64)
    assert (seen - plain).abs().max() <= 1e-10
    for name, gradient in wanted.items():
        assert (found[name] - gradient).norm() <= 1e-5 * gradient.norm() + 1e-12, name


def test_rounding_makes_few_shapes_and_little_padding() -> None:
    assert [kernels.rounded(size) for size in (5, 3000)] == [5, 3000]
    kernels.use("onednn")
    try:
        sizes = [kernels.rounded(size) for size in range(1, 5000)]
    finally:
        kernels.use("default")
    assert all(size <= row <= max(size + 8, size * 1.0625) for size, row in enumerate(sizes, 1))
    assert len({row for row in sizes if 2048 <= row < 4096}) == 32


def test_executed_attention_is_what_the_products_multiply(monkeypatch: pytest.MonkeyPatch) -> None:
    """Executed FLOPs of a forward against torch's counter, which sees the padded products of every bucket."""
    monkeypatch.setattr(packing, "BUCKET_COST", 0)
    monkeypatch.setattr(kernels, "explicit", lambda x: True)
    model = metered("gpt2")
    with FlopCounterMode(display=False) as counter, model.ledger.phase("update"):
        model.logps(UNEVEN)
    assert len(pack(UNEVEN, model.device).buckets) > 1
    assert model.ledger.executed["update"] == pytest.approx(counter.get_total_flops(), rel=1e-6)
    assert model.ledger.canonical["update"] == model.shape.scoring(UNEVEN)


@pytest.mark.parametrize("seed", [2, 3])
def test_a_model_in_half_precision_is_refused_for_its_layout_and_not_for_its_rounding(seed: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Log-probs near -20 from logits that are multiples of an eighth; the wrong layout lets responses begin where they should not."""

    def model() -> Any:
        made = plain_model("llama", seed=seed, dtype=torch.bfloat16)
        made.lm_head.weight.data.mul_(4)
        return made

    prepare(model())
    plain = forwards.pack

    def shifted(*given: Any) -> packing.Packed:
        packed = plain(*given)
        return replace(packed, positions=packed.positions + 7 * (packed.positions > 2))

    monkeypatch.setattr(forwards, "pack", shifted)
    with pytest.raises(HarnessError, match="under the packed layout"):
        prepare(model())
