"""Held-out responses that were labelled alone, held against the implicit reward."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any, cast

import numpy as np
import torch

from harness.measure import evaluate
from harness.types import TokenPair


def yard(*pairs: TokenPair) -> Any:
    return SimpleNamespace(heldout=list(pairs), heldout_logps=np.array([[-4.0, np.nan], [np.nan, -4.0], [-4.0, np.nan], [np.nan, -4.0]]))


def test_the_sign_of_an_implicit_reward_is_held_against_the_label() -> None:
    """Log-ratios +1, +1, -1 and 0 of a desirable, an undesirable, a desirable and an undesirable response: right, wrong, wrong, a tie."""
    pairs = [TokenPair(0, (1,), (2,), ()), TokenPair(1, (1,), (), (2,)), TokenPair(2, (3,), (2,), ()), TokenPair(3, (3,), (), (2,))]
    policy = SimpleNamespace(logps=lambda groups: torch.tensor([-3.0, -3.0, -5.0, -4.0], dtype=torch.float64))
    found = evaluate._labels(cast(Any, policy), yard(*pairs), 4)
    assert found["heldout_label_accuracy"].tolist() == [1.0, 0.0, 0.0, 0.5]
