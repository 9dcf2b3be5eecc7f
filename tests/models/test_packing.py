"""Packing changes nothing: log-probs and gradients equal those of one plain forward for every prompt and response."""

from __future__ import annotations

import pytest
import torch

from harness.types import Group
from tests.models.toys import GROUPS, LAYOUTS, metered, plain_model


def plain_logps(model: torch.nn.Module, groups: list[Group]) -> torch.Tensor:
    """Log-probs of each response by concatenation, one sequence at a time, transformers' own attention."""
    sums = []
    for group in groups:
        for response in group.responses:
            ids = torch.tensor([group.prompt + response])
            log_probs = model(input_ids=ids).logits[0, len(group.prompt) - 1 : -1].log_softmax(-1)
            sums.append(log_probs.gather(1, torch.tensor(response).unsqueeze(1)).sum())
    return torch.stack(sums)


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float64, 1e-10), (torch.float32, 1e-5)])
def test_packed_log_probs_and_gradients_equal_plain_ones(layout: str, dtype: torch.dtype, tolerance: float) -> None:
    """1e-10 absolute in float64, 1e-5 relative in float32.

    transformers' RMSNorm (Llama, Qwen2) computes in float32 whatever the model's dtype, so there float64 gradients agree to 1e-6 only.
    """
    gradient_tolerance = 1e-6 if dtype == torch.float64 and layout in ("llama", "qwen2") else tolerance
    plain, packed = plain_model(layout, dtype=dtype), metered(layout, dtype=dtype)
    expected, seen = plain_logps(plain, GROUPS), packed.logps(GROUPS)
    scale = 1.0 if dtype == torch.float64 else float(expected.detach().abs().max())
    assert (seen - expected).abs().max() <= tolerance * scale
    weights = torch.linspace(-1, 1, len(expected), dtype=dtype)
    (expected * weights).sum().backward()
    packed.backward((seen * weights).sum())
    ours = dict(packed.model.named_parameters())
    for name, parameter in plain.named_parameters():
        if parameter.grad is not None and parameter.grad.abs().max() > 0:
            found, wanted = ours[name].grad, parameter.grad
            assert (found - wanted).norm() <= gradient_tolerance * wanted.norm(), name


def test_a_response_does_not_see_its_neighbours() -> None:
    model = metered()
    alone = model.logps([Group((1, 7, 9, 11), ((8, 2),))])[0]
    crowd = model.logps([Group((1, 7, 9, 11), ((5, 6, 2), (8, 2)))])[1]
    other = model.logps([Group((1, 7, 9, 11), ((50, 51, 52, 2), (8, 2)))])[1]
    assert torch.allclose(alone, crowd, atol=1e-5)
    assert torch.allclose(crowd, other, atol=1e-5)


def test_token_values_sum_and_pad_by_length() -> None:
    values = metered().token_logps(GROUPS)
    padded, mask = values.padded()
    assert values.lengths.tolist() == [3, 2, 5, 6, 2, 3]
    assert mask.sum(1).tolist() == values.lengths.tolist()
    assert torch.allclose(padded.sum(1), values.sums(), atol=1e-6)
    assert bool((padded[~mask] == 0).all())


def test_a_distinct_pad_token_is_outside_the_distribution_and_the_rest_is_renormalised() -> None:
    free, masked = metered(pad=2), metered(pad=0)
    ids = [Group((1, 7), tuple((token,) for token in range(60)))]
    probabilities = masked.logps(ids).exp().detach()
    assert float(probabilities[0]) == 0.0
    assert torch.isclose(probabilities.sum(), torch.tensor(1.0), atol=1e-5)
    expected = free.logps(ids).exp().detach()
    assert torch.allclose(probabilities[1:], expected[1:] / (1 - expected[0]), atol=1e-6)


def test_micro_slices_cover_the_batch_in_order_and_respect_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    model = metered()
    assert model.micro(GROUPS) == [slice(0, 3)]
    monkeypatch.setattr("harness.models.memory.ACTIVATION_BYTES", 0)  # the limit falls to its floor of 64 tokens
    slices = model.micro(GROUPS * 10)
    assert len(slices) > 1
    assert [i for s in slices for i in range(s.start, s.stop)] == list(range(30))
    with torch.no_grad():
        cut = model.logps(GROUPS * 10)
    monkeypatch.undo()
    with torch.no_grad():
        assert torch.allclose(cut, model.logps(GROUPS * 10), atol=1e-5)


def test_a_cpu_is_given_what_its_caches_hold_unless_told_otherwise(monkeypatch: pytest.MonkeyPatch) -> None:
    model, many = metered(dtype=torch.float64), GROUPS * 10
    monkeypatch.setattr("harness.models.memory.LEARNT_BYTES", 32 * 4 * 30)
    monkeypatch.setattr("harness.models.memory.SCORED_BYTES", 32 * 4 * 60)
    learnt, whole = model.micro(many), model.micro(many, whole=True)
    with torch.no_grad():
        scored = model.micro(many)
        cut = model.logps(many)
    monkeypatch.undo()
    tokens = sum(len(g.prompt) + sum(map(len, g.responses)) for g in many)
    assert (len(learnt), len(scored), len(whole)) == (-(-tokens // 30), -(-tokens // 60), 1)
    for slices in (learnt, scored):
        assert [i for s in slices for i in range(s.start, s.stop)] == list(range(30))
    with torch.no_grad():
        torch.testing.assert_close(cut, model.logps(many), rtol=0, atol=1e-12)
