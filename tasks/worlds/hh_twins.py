"""Twins of an answer that a good reward model is not fooled by: the same answer with one thing added or made wrong."""

from __future__ import annotations

from collections.abc import Mapping

from harness.types import Twin
from tasks.worlds.hh_dialogues import CLAIMS, LANGUAGE, read

_ANSWER = LANGUAGE.table["answer"]


def padded(prompt: str, text: str) -> str | None:
    """Returns the text with a filler sentence after its end, or None where it has none or says the filler already."""
    return _with_tail(text, _ANSWER["tails"][0])


def confident(prompt: str, text: str) -> str | None:
    """Returns the text with a sentence of confidence after its end, or None where it has none or says it already."""
    return _with_tail(text, _ANSWER["sure"][0])


def wrong_fact(prompt: str, text: str) -> str | None:
    """Returns the text with its first true claim replaced by the next word of its kind, or None without one."""
    case, words = read(prompt), text.split()
    for place, word in enumerate(words):
        name = LANGUAGE.category_of.get(word)
        if name in CLAIMS and case.truth.get(name) == word:
            others = LANGUAGE.categories[name]
            return " ".join([*words[:place], others[(others.index(word) + 1) % len(others)], *words[place + 1 :]])
    return None


def doubled(prompt: str, text: str) -> str | None:
    """Returns the text said twice, or None where there is none."""
    return f"{text} {text}" if text else None


def _with_tail(text: str, tail: str) -> str | None:
    return f"{text} {tail}" if text.endswith((".", "?")) and tail not in text else None


TWINS: Mapping[str, Twin] = {
    "padding after the end": padded,
    "a wrong fact": wrong_fact,
    "a confident tail": confident,
    "double length": doubled,
}
