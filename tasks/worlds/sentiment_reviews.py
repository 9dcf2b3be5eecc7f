"""Reviews of the embedded sentiment world: drawing a prefix, reading the film back from it, and continuing it as one of its writers."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np

from harness.data import splits
from tasks.worlds import language
from tasks.worlds.tldr_language import categories_in, pick, pick_weighted

LANGUAGE = language.read(Path(__file__).with_name("sentiment.toml"), "prefix", "review")
LONGEST = 31
"""Words of the longest continuation: with EOS it fits the task's 32 response tokens."""
FAVOURABLE = ("rave", "praise", "works", "liked", "urge")
TONES = ("rave", "praise", "blame", "pan")
_PREFIX, _REVIEW = LANGUAGE.table["prefix"], LANGUAGE.table["review"]
_OPPOSITE = {"rave": "pan", "praise": "blame", "blame": "praise", "pan": "rave"}
_SIDES = {"outcome": ("works", "fails"), "reaction": ("liked", "disliked"), "verdict": ("urge", "warn")}


@dataclass(frozen=True)
class Film:
    """What a prefix says: the film's genre, who came along, the aspects judged or about to be, and the tones already used."""

    genre: str
    companion: str
    aspects: tuple[str, ...]
    tones: tuple[str, ...]


def split_of(prefix: str) -> str:
    """Returns the split that a prefix belongs to, decided by the hash of its text: no stream, whatever its seed, can leak."""
    return splits.split_of(prefix, language.SPLITS)


@lru_cache(maxsize=8192)
def read(prefix: str) -> Film:
    """Returns the film of a prefix, recovered from its text alone; raises ValueError where it is no prefix of this world."""
    *said, cut = language.sentences(prefix.split()) or [[]]
    skeletons = [LANGUAGE.skeleton(sentence) for sentence in said]
    facts = [word for sentence, form in zip(said, skeletons, strict=True) if form in _PREFIX["opening"] for word in sentence]
    found = {LANGUAGE.category_of[word]: word for word in facts if word in LANGUAGE.category_of}
    if set(found) != {"genre", "companion"} or LANGUAGE.skeleton(cut) not in _PREFIX["cut"]:
        raise ValueError(f"not a prefix of the embedded review world: {prefix[:80]!r}")
    words = [word for sentence in (*said, cut) for word in sentence]
    aspects = tuple(word for word in words if LANGUAGE.category_of.get(word) == "aspect")
    return Film(found["genre"], found["companion"], aspects, tuple(word for word in words if LANGUAGE.category_of.get(word) in TONES))


def draw(generator: np.random.Generator, split: str) -> str:
    """Returns a fresh prefix whose text falls into the split: an opening, 1-2 digressions, perhaps a judgement, a sentence cut short."""
    while True:
        prefix = _prefix(generator)
        if split_of(prefix) == split:
            return prefix


def _prefix(generator: np.random.Generator) -> str:
    key = {name: pick(generator, LANGUAGE.categories[name]) for name in ("genre", "companion")}
    sentences = [pick(generator, _PREFIX["opening"]).format_map(key)]
    for index in generator.permutation(len(_PREFIX["digressions"]))[: generator.integers(1, 3)]:
        template = _PREFIX["digressions"][index]
        others = ((name, [word for word in LANGUAGE.categories[name] if word != key.get(name)]) for name in categories_in(template))
        sentences.insert(int(generator.integers(len(sentences) + 1)), template.format_map({n: pick(generator, w) for n, w in others}))
    first, second = (LANGUAGE.categories["aspect"][index] for index in generator.permutation(len(LANGUAGE.categories["aspect"]))[:2])
    if generator.random() < 0.5:
        tone = pick(generator, LANGUAGE.categories[pick(generator, TONES)])
        sentences.append(pick(generator, _PREFIX["judgement"]).format_map({"aspect": first, "tone": tone}))
    return " ".join((*sentences, pick(generator, _PREFIX["cut"]).format_map({"aspect": second})))


def write(generator: np.random.Generator, prefix: str) -> str:
    """Returns a continuation by a writer of random attitude and care; a tone in the prefix makes its own side three times as likely."""
    table, film = LANGUAGE.table, read(prefix)
    leaning = sum(1 if LANGUAGE.category_of[tone] in FAVOURABLE else -1 for tone in film.tones)
    shares = [each["share"] * (3 if (each["favourable"] - 0.5) * leaning > 0 else 1) for each in table["attitudes"]]
    attitude = table["attitudes"][pick_weighted(generator, shares)]
    care = table["writers"][pick_weighted(generator, [each["share"] for each in table["writers"]])]
    return " ".join(_finish(generator, Writer(generator, film, attitude, care).words(), care))


@dataclass
class Writer:
    """A writer at work on one film: ``attitude`` decides what is favourable, ``care`` how often facts are confused."""

    generator: np.random.Generator
    film: Film
    attitude: Mapping[str, float]
    care: Mapping[str, float]

    def __post_init__(self) -> None:
        self.said = {*self.film.aspects, *self.film.tones}

    def words(self) -> list[str]:
        """Returns the rest of the sentence cut short, and one to three statements in an order of their own."""
        order = self.generator.permutation(4)[: self.generator.integers(1, 4)]
        parts = [("judgement", "genre", "companion", "verdict")[index] for index in sorted(order)]
        return " ".join(self._say(part) for part in ("completion", *parts)).split()

    def _say(self, part: str) -> str:
        template = pick(self.generator, _REVIEW[part])
        side = self.generator.random() < self.attitude["favourable"]
        return " ".join(self._word(word, side) for word in template.split())

    def _word(self, word: str, side: bool) -> str:
        name = word[1:-1] if word.startswith("{") else ""
        if name in ("tone", "opposite"):
            strong = self.generator.random() < self.attitude["strong"]
            tone = ("rave" if strong else "praise") if side else ("pan" if strong else "blame")
            return self._unsaid(_OPPOSITE[tone] if name == "opposite" else tone)
        if name in _SIDES:
            return pick(self.generator, LANGUAGE.categories[_SIDES[name][0 if side else 1]])
        return self._fact(name) if name else word

    def _fact(self, name: str) -> str:
        if name == "adverb":
            return pick(self.generator, _REVIEW["adverbs"])
        if name == "aspect":
            return self._unsaid(name)
        confused = self.generator.random() < self.care["confused"]
        return pick(self.generator, LANGUAGE.categories[name]) if confused else str(getattr(self.film, name))

    def _unsaid(self, category: str) -> str:
        """Returns a word of the category that neither the prefix nor this review has said."""
        word = pick(self.generator, [each for each in LANGUAGE.categories[category] if each not in self.said])
        self.said.add(word)
        return word


def _finish(generator: np.random.Generator, words: list[str], care: Mapping[str, Any]) -> list[str]:
    """Returns the words with a tail of filler added, or the end cut off, as careless writers do; 1 to 31 words."""
    if generator.random() < care["filler"]:
        words = words + pick(generator, _REVIEW["tails"]).split()
    if generator.random() < care["bad_ending"]:
        words = words[: -int(generator.integers(1, 4))] or words[:1]
    return words[:LONGEST]
