"""Golden numbers of what is learnt from groups of samples, each derived in its docstring."""

from __future__ import annotations

from math import log

import pytest
import torch
from torch import Tensor

from algorithms import grpo, rloo
from harness.training.groups import Tokens


def column(*values: float) -> Tensor:
    return torch.tensor(values, dtype=torch.float64, requires_grad=True)


def test_leave_one_out() -> None:
    """Of 1, 2, 6 the means of the others are 4, 3.5, 1.5; of two samples each is less the other; a group of equals asks for nothing."""
    three = rloo.leave_one_out(torch.tensor([[1.0, 2.0, 6.0], [5.0, 5.0, 5.0]], dtype=torch.float64))
    assert three.tolist() == [pytest.approx([-3, -1.5, 4.5]), [0, 0, 0]]
    assert rloo.leave_one_out(torch.tensor([[3.0, 1.0]])).tolist() == [[2, -2]]


def test_reinforce() -> None:
    """Responses of two and one tokens with advantages 2 and -2: -2 (-1 - 3) + 2 (-0.5) = 7; slopes -A whatever the lengths."""
    logps = column(-1, -3, -0.5)
    tokens = Tokens(logps.detach() - 1, logps.detach() + 1, column(2, 2, -2), column(2, 2, 1))
    value = rloo.reinforce(logps, tokens).sum()
    assert value.item() == pytest.approx(7)
    assert torch.autograd.grad(value, logps)[0].tolist() == [-2, -2, 2]


def test_group_z_scores() -> None:
    """1, 2, 6: mean 3, unbiased variance (4 + 1 + 9) / 2 = 7; a group of equals asks for nothing."""
    found = grpo.standardised(torch.tensor([[1.0, 2.0, 6.0], [5.0, 5.0, 5.0]], dtype=torch.float64))
    scale = 7**0.5 + 1e-4
    assert found.tolist() == [pytest.approx([-2 / scale, -1 / scale, 3 / scale]), [0, 0, 0]]


def test_clipped_loss_with_k3() -> None:
    """Four tokens, beta = 0.5, clip 0.2; the first two are of a response of two tokens, the others of one token each.

    1. rho = 1, A = 2, ref = pi: -2 / 2 = -1, slope -2 / 2. 2. rho = 1.5 > 1.2, A = 2: -2.4 / 2 and no slope, u = 2:
    0.5 (2 - log 2 - 1) / 2, slope 0.5 (1 - 2) / 2. 3. rho = 1.5, A = -2: not clipped, 3, slope 3. 4. rho = 0.5 < 0.8, A = -2:
    clipped to 1.6, no slope; u = 1/2: 0.5 (1/2 + log 2 - 1), slope 0.5 (1 - 1/2).
    """
    logps = column(-1, -2, -3, -4)
    old = logps.detach() - torch.tensor([1, 1.5, 1.5, 0.5], dtype=torch.float64).log()
    reference = logps.detach() + torch.tensor([1, 2, 1, 0.5], dtype=torch.float64).log()
    tokens = Tokens(old, reference, column(2, 2, -2, -2).detach(), column(2, 2, 1, 1).detach())
    value = grpo.clipped(logps, tokens, ratio_clip=0.2, beta=0.5)
    assert value.tolist() == pytest.approx([-1, -1.2 + (1 - log(2)) / 4, 3, 1.6 + (log(2) - 0.5) / 2])
    assert torch.autograd.grad(value.sum(), logps)[0].tolist() == pytest.approx([-1, -0.25, 3, 0.25])


def test_the_gradient_of_k3_under_the_policy_is_that_of_the_other_divergence() -> None:
    """Of pi = (3/4, 1/4) and ref = (1/2, 1/2), E_pi grad k3 = -E_ref grad log pi, which is grad KL(ref || pi), in the logits pi - ref."""
    logits = column(log(3), 0)
    logps, reference = logits.log_softmax(0), torch.full((2,), 0.5, dtype=torch.float64).log()
    tokens = Tokens(logps.detach(), reference, torch.zeros(2), torch.ones(2))
    value = (logps.detach().exp() * grpo.clipped(logps, tokens, ratio_clip=0.2, beta=1.0)).sum()
    assert torch.autograd.grad(value, logits)[0].tolist() == pytest.approx([0.25, -0.25])
