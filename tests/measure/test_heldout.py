"""Held-out pairs and labels under a policy: how they are ranked, and that pairs of one prompt are one observation."""

from __future__ import annotations

import math
from collections.abc import Sequence
from types import SimpleNamespace
from typing import Any, cast

import numpy as np
import pytest
import torch

from harness.measure.chance import intervals
from harness.measure.heldout import heldout, labelled
from harness.report.numbers import by_mark, by_prompt
from harness.report.sound import _rows as unsound
from harness.types import TokenPair


def yard(pairs: Sequence[TokenPair], logps: Sequence[Sequence[float]]) -> Any:
    return SimpleNamespace(heldout=list(pairs), heldout_logps=np.array(logps))


def policy(*logps: float) -> Any:
    """Says these log-probs of whatever it is asked, in order."""
    return SimpleNamespace(kl_bound=None, logps=lambda groups: torch.tensor(logps, dtype=torch.float64))


def asked(*gaps: float, prompts: Sequence[int]) -> tuple[Any, Any]:
    """A policy and pairs of these prompts, where log pi - log ref of chosen less rejected is each of the gaps."""
    pairs = [TokenPair(row, (1, prompt), (2,), (3,)) for row, prompt in enumerate(prompts)]
    return policy(*(value for gap in gaps for value in (gap - 4, -4.0))), yard(pairs, [[-4.0, -4.0]] * len(pairs))


def test_the_sign_of_an_implicit_reward_is_held_against_the_label() -> None:
    """Log-ratios +1, +1, -1 and 0 of a desirable, an undesirable, a desirable and an undesirable response: right, wrong, wrong, a tie."""
    pairs = [TokenPair(0, (1,), (2,), ()), TokenPair(1, (1,), (), (2,)), TokenPair(2, (3,), (2,), ()), TokenPair(3, (3,), (), (2,))]
    known = yard(pairs, [[-4.0, np.nan], [np.nan, -4.0], [-4.0, np.nan], [np.nan, -4.0]])
    said = policy(-3.0, -3.0, -5.0, -4.0)
    assert labelled(said, known, range(4))["heldout_label_accuracy"].tolist() == [1.0, 0.0, 0.0, 0.5]
    _, metrics = heldout(said, known, None, 1.0)
    found = metrics["heldout_label_accuracy"]
    assert (found.value, found.n) == ((0.5 + 0.25) / 2, 2)  # two prompts with two labels each


def test_pairs_of_one_prompt_are_averaged_before_prompts_are() -> None:
    """Three prompts: three pairs right; one wrong; one right and one wrong. (1 + 0 + 1/2) / 3, where four of six pairs are right."""
    rows, metrics = heldout(*asked(2, 2, -1, 2, 1, -1, prompts=(7, 7, 5, 7, 9, 9)), None, 1.0)
    assert (metrics["preference_accuracy"].value, metrics["preference_accuracy"].n) == (pytest.approx(0.5), 3)
    assert metrics["heldout_gap"].value == pytest.approx((2 - 1 + 0) / 3)
    assert [(row["prompt_id"], row["sample"]) for row in rows] == [(0, 0), (0, 1), (1, 0), (0, 2), (2, 0), (2, 1)]
    assert unsound(rows) == ""  # no row is taken for another's twin
    prompts, means = by_prompt(by_mark(rows), "preference_accuracy", 1.0)  # what a report makes of them
    assert (list(prompts), means.tolist()) == ([0, 1, 2], [1.0, 0.0, 0.5])


def test_the_first_prompts_bring_all_their_pairs() -> None:
    """Of prompts 7 and 5, which come first, the pairs that come late count too, and none of prompt 9."""
    known = asked(*[0.0] * 6, prompts=(7, 5, 9, 7, 9, 5))[1]
    wanted: list[tuple[int, ...]] = []
    said = SimpleNamespace(
        kl_bound=None, logps=lambda groups: (wanted.extend(g.prompt for g in groups), torch.zeros(2 * len(groups), dtype=torch.float64))[1]
    )
    rows, metrics = heldout(cast(Any, said), known, 2, 0.5)
    assert wanted == [(1, 7), (1, 5), (1, 7), (1, 5)]
    assert ([row["prompt_id"] for row in rows], metrics["heldout_gap"].n) == ([0, 1, 0, 1], 2)


def test_where_each_prompt_has_one_pair_nothing_is_told_apart() -> None:
    rows, metrics = heldout(*asked(1, -1, 1, prompts=(3, 4, 5)), None, 1.0)
    assert [row["prompt_id"] for row in rows] == [0, 1, 2] and not any("sample" in row for row in rows)
    assert metrics == intervals({name: np.array([row[name] for row in rows]) for name in metrics})


def test_a_pair_said_four_times_is_no_more_evidence_than_said_once() -> None:
    """The interval of 16 prompts with four equal pairs each is that of 16 pairs; over pairs it would be half as wide, sqrt(16 / 64)."""
    gaps = [1.0 if index % 4 else -1.0 for index in range(16)]
    once = heldout(*asked(*gaps, prompts=range(16)), None, 1.0)[1]["preference_accuracy"]
    often = heldout(*asked(*np.repeat(gaps, 4), prompts=np.repeat(range(16), 4).tolist()), None, 1.0)[1]["preference_accuracy"]
    assert often == once
    pairs = intervals({"accuracy": np.repeat([float(gap > 0) for gap in gaps], 4)})["accuracy"]
    assert (pairs.upper - pairs.lower) / (often.upper - often.lower) == pytest.approx(0.5, abs=0.1)


def test_intervals_cover_where_a_prompt_sways_all_its_pairs() -> None:
    """Six pairs of each of 16 prompts, as a ranking of four gives; log-odds of a right pair N(0.5, 1.5^2) by prompt, over 300 draws.

    The truth is E[sigma(N(0.5, 1.5^2))]. Percentile intervals of 16 prompts cover a little under .95; over 96 pairs, as if independent,
    far less.
    """
    generator = np.random.default_rng(0)
    nodes, weights = np.polynomial.hermite_e.hermegauss(40)
    truth = float((weights / (1 + np.exp(-(0.5 + 1.5 * nodes)))).sum() / math.sqrt(2 * math.pi))
    covered, narrow = 0, 0
    for _ in range(300):
        share = 1 / (1 + np.exp(-generator.normal(0.5, 1.5, 16)))
        right = generator.random((16, 6)) < share[:, None]
        found = heldout(*asked(*np.where(right, 1.0, -1.0).ravel(), prompts=np.repeat(range(16), 6).tolist()), None, 1.0)[1]
        pairs = intervals({"accuracy": right.ravel().astype(float)})["accuracy"]
        covered += found["preference_accuracy"].lower <= truth <= found["preference_accuracy"].upper
        narrow += pairs.lower <= truth <= pairs.upper
    assert covered / 300 > 0.88 > 0.8 > narrow / 300
