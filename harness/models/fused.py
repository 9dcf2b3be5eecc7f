"""Norms and rotations with their backward passes written out, where a model's own modules would record one step per operation.

In a model of few, narrow layers what lies between the matrix products takes as long as they do, and most of it is autograd's: six steps
of a norm become a dozen passes over memory backwards. Here each is one node that keeps what its gradient needs and no more, in float32 and
float64 outside of autocast. Everything else goes through the modules themselves, whose rounding is theirs: norms in float64, for one, which
they compute in float32. A gate written out in the same way gained nothing.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

NORMS = ("LlamaRMSNorm", "Qwen2RMSNorm")
EXACT = (torch.float32, torch.float64)
WORTH = 1 << 15  # numbers in a tensor below which a node in Python costs more than the operations it stands for


def normed(module: Any, x: Tensor) -> Tensor:
    """What a norm module gives of (N, hidden): x / rms(x) times its weight (Zhang & Sennrich 2019, arXiv 1910.07467, eq. 4)."""
    if type(module).__name__ not in NORMS or x.dtype != torch.float32 or not written_out(x, module.weight):
        return module(x)  # type: ignore[no-any-return]
    return _Normed.apply(x, module.weight, module.variance_epsilon)  # type: ignore[no-any-return, no-untyped-call]


def rotated(x: Tensor, cosine: Tensor, sine: Tensor) -> Tensor:
    """(N, heads, d) with its halves turned as pairs: x cos + roll(x) sin, with ``sine`` negative in its first half."""
    return _Rotated.apply(x, cosine, sine)  # type: ignore[no-any-return, no-untyped-call]


def written_out(*tensors: Tensor) -> bool:
    """Whether these are all of one type that no module would widen, outside of autocast, and the first large enough to be worth it."""
    first = tensors[0]
    same = first.dtype in EXACT and all(each.dtype == first.dtype for each in tensors)
    return same and first.numel() >= WORTH and not torch.is_autocast_enabled(first.device.type)


class _Normed(torch.autograd.Function):
    """y = h w with h = x r, r = (mean(x^2) + eps)^(-1/2); dx = r (g w - h mean(g w h)), dw = sum over tokens of g h."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, epsilon: float) -> Tensor:
        inverse = torch.linalg.vector_norm(x, dim=-1, keepdim=True).square_().div_(x.shape[-1]).add_(epsilon).rsqrt_()
        ctx.save_for_backward(x, weight, inverse)
        return (x * inverse).mul_(weight)  # type: ignore[no-any-return]

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, Tensor | None, None]:
        x, weight, inverse = ctx.saved_tensors
        h, scaled = x * inverse, gradient * weight
        to_weight = (gradient * h).sum(0) if ctx.needs_input_grad[1] else None  # not under an adapter
        along = torch.linalg.vecdot(scaled, h).div_(x.shape[-1]).unsqueeze(-1)
        return scaled.addcmul_(h, along, value=-1).mul_(inverse), to_weight, None


class _Rotated(torch.autograd.Function):
    """A rotation's transpose is the rotation back: halves change places, so what multiplied them does too."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, cosine: Tensor, sine: Tensor) -> Tensor:
        ctx.save_for_backward(cosine, sine)
        half = x.shape[-1] // 2
        return _turned(x, cosine, sine[..., :half], sine[..., half:])

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None, None]:
        cosine, sine = ctx.saved_tensors
        half = gradient.shape[-1] // 2
        return _turned(gradient, cosine, sine[..., half:], sine[..., :half]), None, None


def _turned(x: Tensor, cosine: Tensor, first: Tensor, second: Tensor) -> Tensor:
    half, out = x.shape[-1] // 2, x * cosine
    out[..., :half].addcmul_(x[..., half:], first)
    out[..., half:].addcmul_(x[..., :half], second)
    return out
