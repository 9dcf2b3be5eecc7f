"""Written-out backward passes against the modules of transformers that they stand for."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor
from transformers.models.llama.modeling_llama import LlamaRMSNorm
from transformers.models.qwen2.modeling_qwen2 import Qwen2RMSNorm

from harness.models import fused, layers

PRECISION = [(torch.float64, 1e-10), (torch.float32, 1e-5)]


@pytest.fixture(autouse=True)
def _however_small(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fused, "WORTH", 0)


def draw(*shape: int, dtype: torch.dtype, seed: int = 0) -> Tensor:
    return torch.randn(*shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed)).to(dtype).requires_grad_()


def norm(kind: type, dtype: torch.dtype) -> Any:
    module = kind(12, eps=1e-5).to(dtype)
    with torch.no_grad():
        module.weight.copy_(draw(12, dtype=dtype, seed=3))
    return module


def both(ours: Callable[[], Tensor], theirs: Callable[[], Tensor], leaves: list[Tensor]) -> list[tuple[Tensor, Tensor]]:
    """Values and gradients at the leaves, of an uneven sum."""
    found = []
    for function in (ours, theirs):
        value = function()
        slope = draw(*value.shape, dtype=value.dtype, seed=7).detach()
        found.append([value.detach(), *torch.autograd.grad(value, leaves, slope)])
    return list(zip(*found, strict=True))


def close(pairs: list[tuple[Tensor, Tensor]], tolerance: float) -> bool:
    return all(float((a - b).norm()) <= tolerance * float(b.norm()) for a, b in pairs)


@pytest.mark.parametrize(("dtype", "tolerance"), PRECISION)
@pytest.mark.parametrize("kind", [LlamaRMSNorm, Qwen2RMSNorm])
def test_a_norm_gives_what_its_module_gives(kind: type, dtype: torch.dtype, tolerance: float) -> None:
    x, module = draw(9, 12, dtype=dtype), norm(kind, dtype)
    assert close(both(lambda: fused.normed(module, x), lambda: module(x), [x, module.weight]), tolerance)
    written_out = "_Normed" in type(fused.normed(module, x).grad_fn).__name__
    assert written_out == (dtype == torch.float32)  # the module computes in float32 whatever it is given


@pytest.mark.parametrize(("dtype", "tolerance"), PRECISION)
def test_a_rotation_gives_what_its_operations_give(dtype: torch.dtype, tolerance: float) -> None:
    x, cosine, sine = draw(9, 3, 8, dtype=dtype), draw(9, 1, 8, dtype=dtype, seed=1).detach(), draw(9, 1, 8, dtype=dtype, seed=2).detach()
    assert close(both(lambda: layers.turned(x, (cosine, sine)), lambda: x * cosine + x.roll(4, -1) * sine, [x]), tolerance)


def test_gradients_are_those_of_finite_differences() -> None:
    x, weight = draw(4, 6, dtype=torch.float64), draw(6, dtype=torch.float64, seed=1)
    assert torch.autograd.gradcheck(lambda a, w: fused._Normed.apply(a, w, 1e-5), (x, weight))
    turns = draw(4, 1, 6, dtype=torch.float64, seed=3).detach(), draw(4, 1, 6, dtype=torch.float64, seed=4).detach()
    assert torch.autograd.gradcheck(lambda a: fused.rotated(a, *turns), (draw(4, 2, 6, dtype=torch.float64),))


def test_a_frozen_norm_has_no_gradient_and_passes_one_on() -> None:
    x, module = draw(9, 12, dtype=torch.float32), norm(LlamaRMSNorm, torch.float32).requires_grad_(False)
    fused.normed(module, x).sum().backward()
    assert module.weight.grad is None
    assert x.grad is not None and bool(x.grad.any())


def test_where_a_module_would_round_the_module_is_called() -> None:
    x, module = draw(9, 12, dtype=torch.bfloat16), norm(LlamaRMSNorm, torch.bfloat16)
    assert torch.equal(fused.normed(module, x), module(x))
    with torch.autocast("cpu", torch.bfloat16):
        wide, module = draw(9, 12, dtype=torch.float32), norm(LlamaRMSNorm, torch.float32)
        assert torch.equal(fused.normed(module, wide), module(wide))
        assert "_Normed" not in type(fused.normed(module, wide).grad_fn).__name__


def test_small_tensors_go_through_the_modules(monkeypatch: pytest.MonkeyPatch) -> None:
    x, module = draw(9, 12, dtype=torch.float32), norm(LlamaRMSNorm, torch.float32)
    monkeypatch.setattr(fused, "WORTH", 9 * 12 + 1)
    assert torch.equal(fused.normed(module, x), module(x))
    assert "_Normed" not in type(fused.normed(module, x).grad_fn).__name__
