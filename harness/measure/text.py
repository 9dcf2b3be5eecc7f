"""What can be counted in texts without a judge: length, repetition, distinct n-grams, ROUGE-L."""

from __future__ import annotations

import itertools
from collections.abc import Sequence

import numpy as np

from harness.types import Array

CONSTANT = 0.5  # a text given to more than half of the prompts is flagged


def bigrams(text: str) -> list[tuple[str, str]]:
    """Consecutive words."""
    return list(itertools.pairwise(text.split()))


def repetition(text: str) -> float:
    """Share of a text's bigrams that it has said before; 0 for fewer than two bigrams."""
    pairs = bigrams(text)
    return 1 - len(set(pairs)) / len(pairs) if len(pairs) > 1 else 0.0


def distinct_2(texts: Sequence[str], generator: np.random.Generator, resamples: int = 200) -> tuple[float, float, float]:
    """Distinct bigrams over all bigrams of the texts (Li et al. 2016, arXiv 1510.03055), with a bootstrap interval over texts.

    The count of distinct bigrams grows slower than the count of bigrams, so resamples (which repeat texts) lie below the value; the
    interval is the percentile interval shifted by that bias.
    """
    names: dict[tuple[str, str], int] = {}
    rows = [np.array([names.setdefault(b, len(names)) for b in bigrams(t)], dtype=np.int64) for t in texts]

    def ratio(chosen: Sequence[int]) -> float:
        ids = np.concatenate([rows[i] for i in chosen]) if len(chosen) else np.array([], dtype=np.int64)
        return len(np.unique(ids)) / max(1, len(ids))

    value = ratio(range(len(rows)))
    replicates = np.array([ratio(generator.integers(0, len(rows), len(rows)).tolist()) for _ in range(resamples)])
    lower, upper = np.percentile(replicates - replicates.mean(), [2.5, 97.5])
    return value, float(value + lower), float(value + upper)


def constant_output(texts: Sequence[str]) -> float:
    """Share of prompts that got the most frequent text: near 1 when a policy says one thing to everybody."""
    counts: dict[str, int] = {}
    for text in texts:
        counts[text] = counts.get(text, 0) + 1
    return max(counts.values()) / len(texts)


def rouge_l(response: str, reference: str) -> float:
    """ROUGE-L F1 (Lin 2004): longest common subsequence of lower-cased words, harmonic mean of recall and precision."""
    a, b = response.lower().split(), reference.lower().split()
    if not a or not b:
        return 0.0
    row: Array = np.zeros(len(b) + 1)
    for word in a:
        before = 0.0
        for j, other in enumerate(b, 1):
            before, row[j] = row[j], before + 1 if word == other else max(row[j], row[j - 1])
    common = float(row[-1])
    return 2 * common / (len(a) + len(b))
