"""pass@k: the unbiased estimate against enumeration, and on a policy whose chance of passing is known."""

from __future__ import annotations

import itertools
import math
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch

from harness.measure import passes
from harness.training.ledger import Ledger
from harness.types import Sample


@pytest.mark.parametrize(("samples", "passed", "k"), [(5, 0, 2), (5, 1, 2), (5, 2, 3), (5, 5, 1), (6, 4, 3), (4, 1, 4)])
def test_the_estimate_is_the_share_of_subsets_that_hold_a_pass(samples: int, passed: int, k: int) -> None:
    marks = [1] * passed + [0] * (samples - passed)
    subsets = list(itertools.combinations(marks, k))
    assert passes.at(k, np.array([passed]), samples) == pytest.approx(sum(any(s) for s in subsets) / len(subsets))
    assert passes.at(k, [passed], samples)[0] == pytest.approx(1 - math.comb(samples - passed, k) / math.comb(samples, k))


def test_it_rises_with_k_and_never_overflows() -> None:
    found = [passes.at(k, np.arange(17), 16) for k in passes.KS]
    assert all((later >= earlier).all() for earlier, later in itertools.pairwise(found))
    assert passes.at(500, [1], 1000)[0] == pytest.approx(0.5)


def policy(chance: float) -> Any:
    """Answers ``right`` with this probability, else ``wrong``."""

    def sample(prompts: Any, *, samples: int, generator: torch.Generator, **_: Any) -> list[list[Sample]]:
        drawn = torch.rand(len(prompts), samples, generator=generator) < chance
        return [[Sample((int(each), 2), (0.0, 0.0), True) for each in row] for row in drawn]

    return SimpleNamespace(sample=sample, ledger=Ledger(math.inf))


def yard(verified: str, prompts: int) -> Any:
    tokens = SimpleNamespace(max_response=4, text=lambda ids: "right" if ids[0] else "wrong")
    score = lambda texts, groups, responses: {"verified": np.array([r.text == "right" for r in responses], dtype=float)}  # noqa: E731
    rows = [SimpleNamespace(prompt=str(n)) for n in range(prompts)]
    judge = SimpleNamespace(score=score)
    return SimpleNamespace(verified=verified, prompts=[(1,)] * prompts, tokens=tokens, seed=0, evaluation=rows, judge=judge)


def test_a_known_chance_is_found_at_every_k() -> None:
    """Of independent tries 1 - (1 - p)^k; 600 prompts leave a standard error below .01."""
    found = passes.passes(policy(0.2), yard("verified", 600), 600)
    assert list(found) == ["pass_at_1", "pass_at_2", "pass_at_4", "pass_at_8", "pass_at_16"]
    for k in passes.KS:
        assert found[f"pass_at_{k}"].mean() == pytest.approx(1 - 0.8**k, abs=0.03)
    again = passes.passes(policy(0.2), yard("verified", 600), 10)
    assert again["pass_at_4"].tolist() == found["pass_at_4"][:10].tolist()


def test_a_task_that_checks_nothing_has_none() -> None:
    assert passes.passes(policy(0.2), yard("", 3), 3) == {}
