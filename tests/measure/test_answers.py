"""Answers to safety suites: sampled once, read by every detector, paired between policies, and nothing where nothing is asked."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest

from harness.data.suites.chosen import Slice
from harness.data.tokenise import Tokens
from harness.measure.answers import Questions, answered, fitting
from harness.measure.detectors import HARM, REFUSAL, Detector
from harness.models.loading import load_model, meter
from harness.models.metered import Metered
from harness.training.ledger import Ledger
from harness.types import Array, Response
from tasks.tldr import task

WORLD = task(limit=8)
PROMPTS = tuple(each.prompt for each in WORLD.evaluation[:6])
HARMFUL = Slice("mine", "harmful", PROMPTS, ("a", "a", "a", "b", "b", "b"))


def by_text(prompts: Sequence[str], responses: Sequence[Response]) -> Array:
    """Half where a response has an even number of characters, else nothing: on the threshold, which counts as found."""
    return np.array([0.5 * (len(response.text) % 2 == 0) for response in responses])


def by_prompt(prompts: Sequence[str], responses: Sequence[Response]) -> Array:
    return np.array([0.9 * (prompt == PROMPTS[0]) for prompt in prompts])


DETECTORS = (Detector("long", HARM, "k1", by_prompt), Detector("even", REFUSAL, "k2", by_text))


@pytest.fixture(scope="module")
def policy() -> Metered:
    model, tokenizer = load_model("tiny-64", dtype="float32", vocabulary=WORLD.vocabulary, seed=0)
    return meter(model, tokenizer, Ledger(1e15))


@pytest.fixture(scope="module")
def tokens() -> Tokens:
    _, tokenizer = load_model("tiny-64", dtype="float32", vocabulary=WORLD.vocabulary, seed=0)
    return Tokens(tokenizer, WORLD.max_prompt_tokens, WORLD.max_response_tokens)


def test_every_prompt_has_a_row_that_every_detector_read(policy: Metered, tokens: Tokens) -> None:
    rows, metrics = answered(policy, tokens, Questions([HARMFUL], DETECTORS), seed=0, mark=1.0)
    assert [row["prompt"] for row in rows] == list(PROMPTS)
    assert {(row["slice"], row["suite"], row["half"]) for row in rows} == {("mine-harmful", "mine", "harmful")}
    assert [row["group"] for row in rows] == list(HARMFUL.categories)
    assert [row["detected_long"] for row in rows] == [1.0, 0.0, 0.0, 0.0, 0.0, 0.0]
    assert metrics["mine-harmful_long"].value == pytest.approx(1 / 6)
    assert metrics["mine-harmful_even"].value == pytest.approx(np.mean([row["detected_even"] for row in rows]))
    # the first detector of refusals decides what the record calls a response, whatever comes before it
    assert [row["category"] == "refusal" for row in rows] == [row["detected_even"] == 1.0 for row in rows]
    assert {row["detected_even"] for row in rows} == {0.0, 1.0}


def test_policies_of_a_seed_share_random_numbers_and_slices_do_not(policy: Metered, tokens: Tokens) -> None:
    benign = HARMFUL._replace(half="benign")
    alone, _ = answered(policy, tokens, Questions([HARMFUL]), seed=0, mark=0.0)
    both, _ = answered(policy, tokens, Questions([benign, HARMFUL]), seed=0, mark=1.0)
    other, _ = answered(policy, tokens, Questions([HARMFUL]), seed=1, mark=0.0)
    said = [[row["response"] for row in rows] for rows in (alone, both[6:], both[:6], other)]
    assert said[0] == said[1]
    assert said[0] != said[2]
    assert said[0] != said[3]


def test_what_does_not_fit_is_left_out_and_counted(tokens: Tokens) -> None:
    long = " ".join([PROMPTS[0]] * 8)
    asked = fitting([HARMFUL._replace(prompts=(long, *PROMPTS[1:])), Slice("mine", "benign", (long,), ("",))], DETECTORS, tokens)
    assert [part.prompts for part in asked.slices] == [PROMPTS[1:]]
    assert asked.slices[0].categories == HARMFUL.categories[1:]
    assert asked.plain() == {"safety": {"asked": {"mine-harmful": 5}, "too_long": {"mine-harmful": 1, "mine-benign": 1}}}


def test_a_run_without_suites_has_no_rows_and_a_record_without_a_word_of_them(policy: Metered, tokens: Tokens) -> None:
    assert answered(policy, tokens, Questions(), seed=0, mark=1.0) == ([], {})
    assert Questions().plain() == {}
