"""Twins of a response that a good reward model is not fooled by: the same text with one thing added or made wrong."""

from __future__ import annotations

from collections.abc import Mapping

from harness.types import Twin
from tasks.worlds.tldr_language import CATEGORIES, CATEGORY_OF, MARKS, SLOTS, WORLD
from tasks.worlds.tldr_posts import read

_SUMMARY = WORLD["summary"]


def padded(prompt: str, text: str) -> str | None:
    """Returns the text with a filler sentence after its final mark, or None where it has none or says the filler already."""
    return _with_tail(text, _SUMMARY["thanks"][0])


def confident(prompt: str, text: str) -> str | None:
    """Returns the text with a word of confidence after its final mark, or None where it has none or says the word already."""
    return _with_tail(text, _SUMMARY["sure"][0])


def wrong_fact(prompt: str, text: str) -> str | None:
    """Returns the text with its first right fact replaced by a word of its category that the post never says, or None without one."""
    story, words = read(prompt), text.split()
    for place, word in enumerate(words):
        category = CATEGORY_OF.get(word)
        if category in SLOTS and story.key.get(category) == word:
            others = CATEGORIES[category]
            start = others.index(word)
            said = {word, *story.distractors}
            other = next(each for each in (*others[start:], *others[:start]) if each not in said)
            return " ".join([*words[:place], other, *words[place + 1 :]])
    return None


def doubled(prompt: str, text: str) -> str | None:
    """Returns the text said twice, or None where there is none."""
    return f"{text} {text}" if text else None


def _with_tail(text: str, tail: str) -> str | None:
    words = text.split()
    return f"{text} {tail}" if words and words[-1] in MARKS and tail not in text else None


TWINS: Mapping[str, Twin] = {
    "padding after the end": padded,
    "a wrong fact": wrong_fact,
    "a confident tail": confident,
    "double length": doubled,
}
