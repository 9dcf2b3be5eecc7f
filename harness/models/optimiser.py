"""The one optimiser: AdamW with clipping and a rate that a schedule sets; low-precision weights step through float32 masters.

A bfloat16 weight has 8 bits: at a rate of 5e-6 most updates are smaller than half its last bit and would be lost to rounding.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor, nn


class StepStats(NamedTuple):
    """What one optimiser step did: gradient norm before clipping, learning rate used, whether the norm was clipped."""

    gradient_norm: float
    learning_rate: float
    clipped: bool


class Optimiser:
    """AdamW over groups of (weights, peak learning rate); ``clip`` is the gradient norm allowed over all of them."""

    def __init__(
        self, groups: Sequence[tuple[list[nn.Parameter], float]], *, betas: tuple[float, float], weight_decay: float, clip: float
    ) -> None:
        self.weights = [weight for weights, _ in groups for weight in weights]
        self.masters: list[Tensor] = [w if w.dtype.itemsize >= 4 else w.detach().float().requires_grad_() for w in self.weights]
        masters = iter(self.masters)
        layers = [{"params": [next(masters) for _ in weights], "lr": rate, "peak": rate} for weights, rate in groups]
        self.adam = torch.optim.AdamW(layers, betas=betas, weight_decay=weight_decay, fused=True)
        self.clip = clip

    def step(self, share: float) -> StepStats:
        """Clip, step at ``share`` of the peak rates, forget the gradients; a norm that is not finite steps nothing."""
        for weight, master in zip(self.weights, self.masters, strict=True):
            if master is not weight:
                master.grad = None if weight.grad is None else weight.grad.float()
        norm = float(nn.utils.clip_grad_norm_(self.masters, self.clip))
        for group in self.adam.param_groups:
            group["lr"] = group["peak"] * share
        if math.isfinite(norm):
            self.adam.step()
            self._publish()
        self.adam.zero_grad()
        for weight in self.weights:
            weight.grad = None
        return StepStats(norm, float(self.adam.param_groups[0]["lr"]), norm > self.clip)

    @torch.no_grad()
    def _publish(self) -> None:
        for weight, master in zip(self.weights, self.masters, strict=True):
            if master is not weight:
                weight.copy_(master)
