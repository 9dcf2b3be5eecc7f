"""Dialogues of the embedded helpline world: drawing them, reading the case back from the text, and the split a text belongs to."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from itertools import combinations
from pathlib import Path
from types import MappingProxyType

import numpy as np

from harness.data import splits
from tasks.worlds import language
from tasks.worlds.tldr_language import categories_in, pick

LANGUAGE = language.read(Path(__file__).with_name("hh.toml"), "dialogue", "answer", "refusals")
KINDS = ("normal", "harmful", "borderline")
CLAIMS = ("part", "tool", "price", "duration")
"""What can be asked for, in the order of questions and answers."""
_DIALOGUE, _KNOWLEDGE = LANGUAGE.table["dialogue"], LANGUAGE.table["knowledge"]
_STATED = {template: name for name, templates in _DIALOGUE["stated"].items() for template in templates}
_ASKED_OF = {"harmful": ("harm", "relation"), "borderline": ("harm", "thing")}
_KIND_OF = {template: kind for kind in _ASKED_OF for template in _DIALOGUE["asking"][kind]}
_SAID = 0.3  # how often the human says what a part costs, and as often how long a repair takes
_SETS = tuple(each for n in (2, 3) for each in combinations(CLAIMS, n))


@dataclass(frozen=True)
class Case:
    """What a dialogue is about.

    ``asked`` names the claims that its last turn asks for, ``truth`` maps a claim to what is known of it: parts and tools by expertise,
    price and duration where the human ``stated`` them. ``about`` holds the words of a safety request, ``distractors`` the content words
    of irrelevant sentences.
    """

    kind: str
    device: str
    asked: tuple[str, ...]
    truth: Mapping[str, str]
    stated: tuple[str, ...]
    about: Mapping[str, str]
    distractors: tuple[str, ...]


def _list_of(asked: tuple[str, ...]) -> str:
    """Returns the questions joined by commas and a last ``and``."""
    *first, last = (_DIALOGUE["questions"][name] for name in asked)
    return str(_DIALOGUE["list"].format(first=" , ".join(first), last=last))


_QUESTIONS = {template.format(list=_list_of(asked)): asked for template in _DIALOGUE["asking"]["normal"] for asked in _SETS}


@lru_cache(maxsize=8192)
def read(dialogue: str) -> Case:
    """Returns the case of a dialogue, recovered from its text alone; raises ValueError where a sentence is none of this world's."""
    turns = dialogue.replace(_DIALOGUE["assistant"], _DIALOGUE["human"]).split(_DIALOGUE["human"])
    key: dict[str, str] = {}
    about: dict[str, str] = {}
    distractors: set[str] = set()
    kind = ""
    asked: tuple[str, ...] = ()
    for sentence in (each for turn in turns[1::2] for each in language.sentences(turn.split())):
        text, form = " ".join(sentence), LANGUAGE.skeleton(sentence)
        content = {LANGUAGE.category_of[word]: word for word in sentence if word in LANGUAGE.category_of}
        if form in _DIALOGUE["opening"] or form in _STATED:
            key |= content
        elif text in _QUESTIONS:
            kind, asked = "normal", _QUESTIONS[text]
        elif form in _KIND_OF:
            kind, about = _KIND_OF[form], content
        elif form in _DIALOGUE["digressions"]:
            distractors |= set(content.values())
        else:
            raise ValueError(f"not a sentence of the embedded helpline world: {text!r}")
    if not kind or "device" not in key:
        raise ValueError(f"not a dialogue of the embedded helpline world, nothing is asked: {dialogue[:80]!r}")
    stated = tuple(name for name in ("price", "duration") if name in key)
    return Case(kind, key["device"], asked or ("tool",), _truth(key, about), stated, about, tuple(sorted(distractors)))


def _truth(key: Mapping[str, str], about: Mapping[str, str]) -> Mapping[str, str]:
    """Returns what is known of each claim; of a safety request only the tool for what is no person."""
    if about:
        return MappingProxyType({"tool": _KNOWLEDGE["thing"][about["thing"]]} if "thing" in about else {})
    part = _KNOWLEDGE["part"][key["symptom"]]
    said = {name: key[name] for name in ("price", "duration") if name in key}
    return MappingProxyType({"part": part, "tool": _KNOWLEDGE["tool"][part], **said})


def split_of(dialogue: str) -> str:
    """Returns the split that a dialogue belongs to, decided by the hash of its text: no stream, whatever its seed, can leak."""
    return splits.split_of(dialogue, language.SPLITS)


def draw(generator: np.random.Generator, kind: str, split: str) -> str:
    """Returns a fresh dialogue of the kind whose text falls into the split."""
    while True:
        dialogue = _dialogue(generator, kind)
        if split_of(dialogue) == split:
            return dialogue


def _dialogue(generator: np.random.Generator, kind: str) -> str:
    """Returns two or three turns of a human, each but the last acknowledged: a problem, what is known, digressions, and a request."""
    key = {name: pick(generator, LANGUAGE.categories[name]) for name in ("device", "symptom", "price", "duration")}
    middle = [pick(generator, _DIALOGUE["stated"][name]).format_map(key) for name in ("price", "duration") if generator.random() < _SAID]
    for index in generator.permutation(len(_DIALOGUE["digressions"]))[: generator.integers(1, 3)]:
        middle.insert(int(generator.integers(len(middle) + 1)), _digression(generator, _DIALOGUE["digressions"][index], key))
    sentences = [pick(generator, _DIALOGUE["opening"]).format_map(key), *middle]
    cuts = sorted({1 + int(generator.integers(len(sentences))) for _ in range(generator.integers(1, 3))})
    turns = [sentences[start:end] for start, end in zip([0, *cuts], [*cuts, None], strict=True)]
    turns[-1] = [*turns[-1], _request(generator, kind)]
    heard = [f"{_DIALOGUE['assistant']} {pick(generator, _DIALOGUE['acknowledgements'])}" for _ in turns[:-1]]
    said = [f"{_DIALOGUE['human']} {' '.join(turn)} {reply}" for turn, reply in zip(turns, [*heard, _DIALOGUE["assistant"]], strict=True)]
    return " ".join(said)


def _request(generator: np.random.Generator, kind: str) -> str:
    template = pick(generator, _DIALOGUE["asking"][kind])
    if kind == "normal":
        return str(template.format(list=_list_of(_SETS[int(generator.random() * len(_SETS))])))
    return str(template.format_map({name: pick(generator, LANGUAGE.categories[name]) for name in _ASKED_OF[kind]}))


def _digression(generator: np.random.Generator, template: str, key: Mapping[str, str]) -> str:
    """Returns the sentence filled with words other than the case's own: a model must bind by context, not by category."""
    others = ((name, [word for word in LANGUAGE.categories[name] if word != key.get(name)]) for name in categories_in(template))
    return template.format_map({name: pick(generator, words) for name, words in others})
