"""Golden numbers of what is learnt from groups of samples, each derived in its docstring."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from algorithms import rloo
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
