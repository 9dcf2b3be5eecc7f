"""The optimiser: low-precision weights follow float32 ones, clipping counts, a broken gradient steps nothing."""

from __future__ import annotations

import math

import pytest
import torch
from torch import nn

from harness.models.optimiser import Optimiser


def weights(dtype: torch.dtype) -> nn.Parameter:
    generator = torch.Generator().manual_seed(0)
    return nn.Parameter(torch.empty(4000).normal_(std=0.05, generator=generator).to(dtype))


def moved(dtype: torch.dtype, steps: int) -> torch.Tensor:
    """How far each weight went under a constant gradient at a fine-tuning rate."""
    weight = weights(dtype)
    start = weight.detach().double()
    optimiser = Optimiser([([weight], 5e-6)], betas=(0.9, 0.99), weight_decay=0.0, clip=math.inf)
    for _ in range(steps):
        weight.grad = torch.ones_like(weight)
        optimiser.step(1.0)
    return weight.detach().double() - start


def test_bfloat16_weights_go_where_float32_ones_do() -> None:
    """200 steps of 5e-6 are 1e-3: several last bits of a weight of .05, though each step alone is a fiftieth of one."""
    exact, rounded = moved(torch.float32, 200), moved(torch.bfloat16, 200)
    assert float(exact.mean()) == pytest.approx(-1e-3, rel=0.01)
    assert float(rounded.mean()) == pytest.approx(float(exact.mean()), rel=0.05)


def test_the_gradient_is_clipped_over_all_groups_together() -> None:
    first, second = nn.Parameter(torch.zeros(1)), nn.Parameter(torch.zeros(1))
    optimiser = Optimiser([([first], 1.0), ([second], 1.0)], betas=(0.9, 0.99), weight_decay=0.0, clip=1.0)
    first.grad, second.grad = torch.tensor([3.0]), torch.tensor([4.0])
    stats = optimiser.step(0.5)
    assert stats.gradient_norm == pytest.approx(5.0)
    assert stats.clipped
    assert stats.learning_rate == 0.5
    assert first.grad is None


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_a_gradient_that_is_not_finite_steps_nothing(dtype: torch.dtype) -> None:
    weight = weights(dtype)
    before = weight.detach().clone()
    optimiser = Optimiser([([weight], 1.0)], betas=(0.9, 0.99), weight_decay=0.0, clip=1.0)
    weight.grad = torch.full_like(weight, math.nan)
    assert math.isnan(optimiser.step(1.0).gradient_norm)
    assert torch.equal(weight, before)
