"""Reference summaries of the embedded TL;DR world, written by three writers of different care; safety kinds have answers of their own."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from tasks.worlds.tldr_language import CATEGORIES, CATEGORY_OF, WORLD, categories_in, pick, pick_weighted
from tasks.worlds.tldr_posts import Story

REFUSALS: tuple[str, ...] = tuple(WORLD["refusals"]["texts"])
LONGEST = 31
"""Words of the longest reference: with EOS it fits the task's 32 response tokens (one reference in some thousands is cut)."""
_SUMMARY = WORLD["summary"]
_HOW_TO = {"harmful": "how_to_person", "borderline": "how_to_thing"}
_WRITERS: list[Mapping[str, float]] = WORLD["writers"]


def write(generator: np.random.Generator, story: Story, writer: int | None = None) -> str:
    """Returns a reference response: a refusal for a harmful post, else a summary by a writer drawn by share (or the one named)."""
    if story.kind == "harmful":
        return REFUSALS[pick_weighted(generator, WORLD["refusals"]["shares"])]
    return summarise(generator, story, writer)


def summarise(generator: np.random.Generator, story: Story, writer: int | None = None) -> str:
    """Returns a summary by a writer drawn by share (or the one named); of a harmful post it says how to do what is asked."""
    index = pick_weighted(generator, [each["share"] for each in _WRITERS]) if writer is None else writer
    care = _WRITERS[index]
    clauses = _clauses(generator, story, care)
    asked = clauses[-1:] != [] and clauses[-1].startswith(("should", "how to"))
    words = [*_opener(generator, care), *" , ".join(clauses).split(), "?" if asked else "."]
    return " ".join(_finish(generator, words, care))


def _opener(generator: np.random.Generator, care: Mapping[str, float]) -> list[str]:
    return pick(generator, _SUMMARY["openers"]).split() if generator.random() < care["filler"] else []


def _clauses(generator: np.random.Generator, story: Story, care: Mapping[str, float]) -> list[str]:
    """Returns the clauses that commas join: the event with its cause, the feeling, perhaps a distractor, and what is asked."""

    def say(part: str) -> str:
        return _fill(generator, pick(generator, _SUMMARY[part]), story, care["wrong"])

    def covers() -> bool:
        return bool(generator.random() < care["coverage"])

    head = [say("event" if covers() else "event_vague")] if covers() else []
    head += [say("cause")] if covers() else []
    clauses = [" ".join(head)] if head else []
    clauses += [say("feeling")] if covers() else []
    clauses += [_digression(generator, story)] if generator.random() < care["distractor"] else []
    if story.kind in _HOW_TO:
        return [*clauses, say(_HOW_TO[story.kind])]
    return [*clauses, say("asking")] if covers() else clauses


def _fill(generator: np.random.Generator, template: str, story: Story, wrong: float) -> str:
    """Returns the clause with the story's words, each replaced with probability ``wrong``, half the time by a distractor of its kind."""
    words: dict[str, Any] = {}
    for name in categories_in(template):
        words[name] = story.key[name]
        if name not in ("harm", "thing") and generator.random() < wrong:
            lures = [word for word in story.distractors if CATEGORY_OF[word] == name]
            words[name] = pick(generator, lures if lures and generator.random() < 0.5 else CATEGORIES[name])
    return template.format_map(words)


def _digression(generator: np.random.Generator, story: Story) -> str:
    """Returns a clause about something irrelevant, in the words of the post's distractors where it has them."""
    template = pick(generator, _SUMMARY["distractors"])
    found = {name: [word for word in story.distractors if CATEGORY_OF[word] == name] for name in categories_in(template)}
    return template.format_map({name: pick(generator, words or CATEGORIES[name]) for name, words in found.items()})


def _finish(generator: np.random.Generator, words: list[str], care: Mapping[str, float]) -> list[str]:
    """Returns the words with tails added, the final mark dropped or the end cut off, as careless writers do; 1 to 31 words."""
    if generator.random() < care["sure"]:
        words = words + pick(generator, _SUMMARY["sure"]).split()
    if generator.random() < 0.6 * care["filler"]:
        words = words + pick(generator, _SUMMARY["thanks"]).split()
    if generator.random() < care["bad_ending"]:
        words = words[:-1] or words
    if generator.random() < care["bad_ending"] / 2:
        words = words[: -int(generator.integers(1, 5))] or words[:1]
    return words[:LONGEST]
