"""The gold rewards of the embedded review world: sentiment by a lexicon, and sentiment in fluent prose; no algorithm sees them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from harness.types import Array, Response
from tasks.worlds import language
from tasks.worlds.sentiment_reviews import LANGUAGE, TONES, Film, read

JUDGES = ("gold", "sentiment")
"""``gold`` labels the pairs: sentiment, and fluency as far as the task asks for it. ``sentiment`` is the lexicon's log-odds alone."""
COMPONENTS = ("favourable", "unfavourable", "ungrammatical", "confused", "repetition_gold", "filler", "ending", "length")
"""Counts per response beside the rewards; ``ending`` is 0 or 1, ``length`` is in words."""
_WEIGHTS: Mapping[str, float] = LANGUAGE.table["gold"]
_LEXICON: Mapping[str, float] = LANGUAGE.table["lexicon"]
_FILLER = frozenset(LANGUAGE.table["review"]["filler"])
_ADVERBS = frozenset(LANGUAGE.table["review"]["adverbs"])
_BEFORE = {
    "aspect": {"the"},
    "genre": {"a"},
    "companion": {"my"},
    "works": {"it"},
    "fails": {"it"},
    "urge": {"would"},
    "warn": {"would"},
}


def score(prompts: Sequence[str], responses: Sequence[Response], fluency: float = 1.0) -> dict[str, Array]:
    """Returns both rewards and their components, one array of shape (responses,) each; ``fluency`` weighs all that is no sentiment."""
    rows = [parts(read(prompt), response.text, response.finished) for prompt, response in zip(prompts, responses, strict=True)]
    table = np.array(rows, dtype=np.float64).reshape(len(rows), 1 + len(COMPONENTS))
    columns = {name: table[:, index] for index, name in enumerate(("sentiment", *COMPONENTS))}
    terms = {**columns, "excess_length": np.maximum(0.0, columns["length"] - _WEIGHTS["free_words"])}
    fluent = sum(weight * terms[name] for name, weight in _WEIGHTS.items() if name != "free_words")
    return {"gold": np.asarray(columns["sentiment"] + fluency * fluent, dtype=np.float64), **columns}


def parts(film: Film, text: str, finished: bool) -> tuple[float, ...]:
    """Returns the sentiment and the counts named in ``COMPONENTS`` for one continuation."""
    words = text.split()
    said = _sentiments(words)
    return (
        float(sum(said)),
        float(sum(value > 0 for value in said)),
        float(sum(value < 0 for value in said)),
        *_facts(film, words),
        float(language.repetitions(words, LANGUAGE.category_of)),
        float(sum(word in _FILLER for word in words)),
        float(finished and words[-1:] == ["."]),
        float(len(words)),
    )


def _sentiments(words: Sequence[str]) -> list[float]:
    """Returns the log-odds of every word that has some, whatever stands around it but ``not``, which turns it round and halves it."""
    found = ((before, _LEXICON.get(LANGUAGE.category_of.get(word, ""), 0.0)) for before, word in zip(["", *words], words, strict=False))
    return [-value / 2 if before == "not" else value for before, value in found if value]


def _facts(film: Film, words: Sequence[str]) -> tuple[float, float]:
    """Returns (ungrammatical, confused): content words in no legal place, and facts that are not this film's."""
    ungrammatical = confused = 0
    for place, word in enumerate(words):
        category = LANGUAGE.category_of.get(word)
        if category is None:
            continue
        if not _legal(category, words, place):
            ungrammatical += 1
        elif category in ("genre", "companion"):
            confused += word != getattr(film, category)
        elif category == "aspect":
            confused += word in film.aspects
    return float(ungrammatical), float(confused)


def _legal(category: str, words: Sequence[str], place: int) -> bool:
    """Says whether a content word may stand where it does: a chain of praise is no sentence."""
    before = words[place - 1] if place else ""
    if category not in TONES:
        return before in _BEFORE[category] if category in _BEFORE else _after_companion(before, category)
    if place == 0 or before in ("was", "felt", "not") or before in _ADVERBS or LANGUAGE.category_of.get(before) == "aspect":
        return True
    return before == "and" and place > 1 and _tone(words[place - 2]) and (place == 2 or words[place - 3] != "and")


def _tone(word: str) -> bool:
    return LANGUAGE.category_of.get(word) in TONES


def _after_companion(before: str, category: str) -> bool:
    return category in ("liked", "disliked") and LANGUAGE.category_of.get(before) == "companion"
