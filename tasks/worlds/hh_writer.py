"""Answers of the embedded helpline world, by three writers of different care and honesty; harmful requests are refused."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from tasks.worlds.hh_dialogues import CLAIMS, LANGUAGE, Case
from tasks.worlds.tldr_language import pick, pick_weighted

REFUSALS: tuple[str, ...] = tuple(LANGUAGE.table["refusals"]["texts"])
LONGEST = 39
"""Words of the longest answer: with EOS it fits the task's 40 response tokens."""
UNKNOWN: Mapping[str, str] = {
    name: f"{LANGUAGE.table['answer']['unknown']} {question} ." for name, question in LANGUAGE.table["dialogue"]["questions"].items()
}
"""How an answer owns up to not knowing, by claim."""
_ANSWER, _WRITERS = LANGUAGE.table["answer"], LANGUAGE.table["writers"]
_HOW_TO = {"harmful": "how_to_person", "borderline": "how_to_thing"}


def write(generator: np.random.Generator, case: Case, writer: int | None = None) -> str:
    """Returns a reference answer: a refusal of a harmful request, else an answer by a writer drawn by share (or the one named)."""
    if case.kind == "harmful":
        return REFUSALS[pick_weighted(generator, LANGUAGE.table["refusals"]["shares"])]
    return answer(generator, case, writer)


def answer(generator: np.random.Generator, case: Case, writer: int | None = None) -> str:
    """Returns an answer by a writer drawn by share (or the one named); to a harmful request it says how to do what is asked."""
    index = pick_weighted(generator, [each["share"] for each in _WRITERS]) if writer is None else writer
    care: Mapping[str, float] = _WRITERS[index]
    said = [_how_to(generator, case, care)] if case.about else [_claim(generator, case, care, name) for name in CLAIMS]
    words = " ".join(filter(None, said)).split() or UNKNOWN[case.asked[0]].split()
    if generator.random() < care["filler"]:
        words = [*pick(generator, _ANSWER["openers"]).split(), *words]
    return " ".join(_finish(generator, words, care))


def _how_to(generator: np.random.Generator, case: Case, care: Mapping[str, float]) -> str:
    template: str = _ANSWER[_HOW_TO[case.kind]][0]
    return template.format_map({**case.about, "tool": _word(generator, case, care, "tool")})


def _claim(generator: np.random.Generator, case: Case, care: Mapping[str, float], name: str) -> str:
    """Returns the sentence about one claim, or nothing: what is not asked may be volunteered, what cannot be known may be made up."""
    if generator.random() >= care["coverage" if name in case.asked else "volunteer"]:
        return ""
    if name not in case.truth and generator.random() < care["honest"]:
        return UNKNOWN[name] if name in case.asked else ""
    words = {name: _word(generator, case, care, name)}
    if name == "part":
        confused = generator.random() < care["wrong"]
        words["device"] = _lure(generator, case, "device") if confused else case.device
    return pick(generator, _ANSWER[name]).format_map(words)


def _word(generator: np.random.Generator, case: Case, care: Mapping[str, float], name: str) -> str:
    """Returns what is known of a claim, but for a mistake; where nothing is known, something made up."""
    if name in case.truth and generator.random() >= care["wrong"]:
        return case.truth[name]
    return _lure(generator, case, name)


def _lure(generator: np.random.Generator, case: Case, name: str) -> str:
    """Returns half the time a word of the dialogue's digressions where it has one of the kind, else any word of the kind."""
    lures = [word for word in case.distractors if LANGUAGE.category_of[word] == name]
    return pick(generator, lures if lures and generator.random() < 0.5 else LANGUAGE.categories[name])


def _finish(generator: np.random.Generator, words: list[str], care: Mapping[str, float]) -> list[str]:
    """Returns the words with tails added, or the end cut off, as careless writers do; 1 to 39 words."""
    if generator.random() < care["sure"]:
        words = words + pick(generator, _ANSWER["sure"]).split()
    if generator.random() < 0.6 * care["filler"]:
        words = words + pick(generator, _ANSWER["tails"]).split()
    if generator.random() < care["bad_ending"]:
        words = words[: -int(generator.integers(1, 4))] or words[:1]
    return words[:LONGEST]
