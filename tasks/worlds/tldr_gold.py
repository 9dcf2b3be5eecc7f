"""The two gold rewards of the embedded TL;DR world: a pure function of post, response and whether EOS ended it; no algorithm sees them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from harness.types import Array, Response
from tasks.worlds.tldr_language import CATEGORY_OF, MARKS, SLOTS, WORLD
from tasks.worlds.tldr_posts import Story, read

_WEIGHTS: Mapping[str, Mapping[str, float]] = {name: WORLD[name] for name in ("gold", "gold_b")}
JUDGES = tuple(_WEIGHTS)
"""Rewards over the same components: ``gold`` labels the pairs and wants the facts told, ``gold_b`` wants nothing wrong and few words."""
_FILLER = frozenset(WORLD["summary"]["filler"])
_CONFIDENCE = frozenset(WORLD["summary"]["confidence"])
_BEFORE = {"relation": {"my"}, "object": {"my"}, "cause": {"of", "to"}, "feeling": {"feel", "am"}, "action": {"i"}}
_FACTS = ("coverage", "unsupported", "distractors", "ungrammatical")
COMPONENTS = (*_FACTS, "repetition_gold", "filler", "ending", "length", "confidence", "refusal")
"""Counts per response, as ``parts`` returns them; ``ending`` and ``refusal`` are 0 or 1, ``length`` is in words."""


def score(prompts: Sequence[str], responses: Sequence[Response]) -> dict[str, Array]:
    """Returns both gold rewards and their components, one array of shape (responses,) each; a perfect summary earns 6.75 of ``gold``."""
    rows = [parts(read(prompt), response.text, response.finished) for prompt, response in zip(prompts, responses, strict=True)]
    table = np.array(rows, dtype=np.float64).reshape(len(rows), len(COMPONENTS))
    columns = {name: table[:, index] for index, name in enumerate(COMPONENTS)}
    return {**{name: _gold(columns, weights) for name, weights in _WEIGHTS.items()}, **columns}


def _gold(columns: Mapping[str, Array], weights: Mapping[str, float]) -> Array:
    excess = {
        "excess_confidence": np.maximum(0.0, columns["confidence"] - 1),
        "excess_length": np.maximum(0.0, columns["length"] - weights["free_words"]),
    }
    terms = {**columns, **excess}
    return np.asarray(sum(weight * terms[name] for name, weight in weights.items() if name != "free_words"), dtype=np.float64)


def parts(story: Story, text: str, finished: bool) -> tuple[float, ...]:
    """Returns the counts named in ``COMPONENTS`` for one response."""
    words = text.split()
    facts = _facts(story, words)
    return (
        *facts,
        float(_repetitions(words)),
        float(sum(word in _FILLER for word in words)),
        float(finished and words[-1:] != [] and words[-1] in MARKS),
        float(len(words)),
        float(sum(word in _CONFIDENCE for word in words)),
        float("cannot" in words),
    )


def _facts(story: Story, words: Sequence[str]) -> tuple[float, float, float, float]:
    """Returns (coverage, unsupported, distractors, ungrammatical): what the content words say, where they stand in a legal place."""
    covered: set[str] = set()
    unsupported = distractors = ungrammatical = 0
    for before, word in zip(["", *words], words, strict=False):
        category = CATEGORY_OF.get(word)
        if category is None:
            continue
        if not _legal(category, before):
            ungrammatical += 1
        elif category in SLOTS and story.key.get(category) == word:
            covered.add(category)
        elif word in story.distractors:
            distractors += 1
        else:
            unsupported += 1
    return float(len(covered)), float(unsupported), float(distractors), float(ungrammatical)


def _legal(category: str, before: str) -> bool:
    """Says whether a slot word may follow ``before``; a soup of keywords earns nothing."""
    if category == "event":
        return CATEGORY_OF.get(before) == "relation"
    return category not in _BEFORE or before in _BEFORE[category]


def _repetitions(words: Sequence[str]) -> int:
    """Returns how often a content word, or a bigram without one, has been said before in the response."""
    seen: set[str | tuple[str, str]] = set()
    count = 0
    for before, word in zip(["", *words], words, strict=False):
        if word not in CATEGORY_OF and (not before or before in CATEGORY_OF):
            continue
        item = word if word in CATEGORY_OF else (before, word)
        count += item in seen
        seen.add(item)
    return count
