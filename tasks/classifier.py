"""A sentiment classifier fitted on labelled reviews: the gold reward of real text where no other scorer is at hand."""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Mapping, Sequence

import numpy as np

from harness.types import Array
from tasks.reviews import Review

RARE = 3  # reviews of the fit that a word must occur in
_WORD = re.compile(r"[a-z']+")


def fitted(reviews: Sequence[Review]) -> Mapping[str, float]:
    """Returns the log-odds of positive that each word adds, nats: naive Bayes on whether a word occurs, add-one smoothed.

    Saying a word twice adds nothing (binarised counts; Pang, Lee and Vaithyanathan 2002, Wang and Manning 2012).
    """
    counts = {
        side: Counter(word for review in reviews if review.positive is side for word in words_of(review.text)) for side in (True, False)
    }
    size = {side: sum(review.positive is side for review in reviews) for side in (True, False)}
    known = sorted(word for word in counts[True] | counts[False] if counts[True][word] + counts[False][word] >= RARE)

    def rate(side: bool, word: str) -> float:
        return math.log((counts[side][word] + 1) / (size[side] + 2))

    return {word: rate(True, word) - rate(False, word) for word in known}


def words_of(text: str) -> set[str]:
    """Returns the words that a text has, in lower case."""
    return set(_WORD.findall(text.lower()))


def log_odds(weights: Mapping[str, float], texts: Sequence[str]) -> Array:
    """Returns the log-odds of positive that the words of each text add up to, (texts,), nats; 0 for a text of unknown words."""
    return np.array([math.fsum(weights.get(word, 0.0) for word in sorted(words_of(text))) for text in texts], dtype=np.float64)


def accuracy(weights: Mapping[str, float], reviews: Sequence[Review]) -> float:
    """Returns the share of continuations whose log-odds have the sign of the review's label."""
    odds = log_odds(weights, [review.continuation for review in reviews])
    return float(np.mean((odds > 0) == np.array([review.positive for review in reviews])))
