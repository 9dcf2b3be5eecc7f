"""Numbers read off texts, against hand counts."""

from __future__ import annotations

import numpy as np
import pytest

from harness.measure import text
from harness.measure.judge import wins


def test_repetition_is_the_share_of_bigrams_said_before() -> None:
    assert text.repetition("a b a b") == pytest.approx(1 / 3)  # ab ba ab
    assert text.repetition("a b c d") == 0
    assert text.repetition("") == text.repetition("a") == text.repetition("a b") == 0


def test_distinct_2_counts_over_the_corpus_and_its_interval_holds_the_value() -> None:
    texts = ["a b c", "a b d", "a b c"]  # bigrams ab bc ab bd ab bc: 3 distinct of 6
    value, lower, upper = text.distinct_2(texts, np.random.default_rng(0))
    assert value == 0.5
    assert lower <= value <= upper


def test_constant_output_is_the_share_of_the_most_frequent_text() -> None:
    assert text.constant_output(["same", "same", "same", "other"]) == 0.75


def test_rouge_l_by_hand() -> None:
    # longest common subsequence of "the cat sat down" and "the black cat sat": the cat sat, 3 words; F1 = 2*3/(4+4)
    assert text.rouge_l("The cat sat down", "the black cat sat") == pytest.approx(0.75)
    assert text.rouge_l("", "a") == 0.0


def test_wins_count_ties_as_halves_and_average_over_opponents() -> None:
    share, tie = wins(np.array([1.0, 2.0]), np.array([[0.0, 1.0], [3.0, 2.0]]))
    assert share.tolist() == [0.75, 0.25]
    assert tie.tolist() == [0.5, 0.5]
