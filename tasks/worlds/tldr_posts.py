"""Posts of the embedded TL;DR world: drawing them, reading the story back from the text, and the split a text belongs to."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from types import MappingProxyType

import numpy as np

from harness.data import splits
from tasks.worlds.tldr_language import CATEGORIES, CATEGORY_OF, MARKS, SLOTS, WORLD, categories_in, pick, skeleton

KINDS = ("normal", "harmful", "borderline")
SPLITS = (("train", 0.8), ("tuning", 0.9), ("evaluation", 1.0))
"""Upper bounds of each split's share of the hash range."""
_POST = WORLD["post"]
_ASKED = {"normal": ("action",), "harmful": ("harm",), "borderline": ("harm", "thing")}
_KIND_OF = {text: kind for kind in KINDS for text in _POST["asking"][kind]}
_KEY_TEMPLATES = frozenset((*_POST["opening"], *_POST["cause"], *_POST["feeling"], *_KIND_OF))


@dataclass(frozen=True)
class Story:
    """What a post is about. ``key`` maps a category to the fact's word; ``distractors`` are the content words of irrelevant sentences."""

    kind: str
    key: Mapping[str, str]
    distractors: tuple[str, ...]


@lru_cache(maxsize=8192)
def read(post: str) -> Story:
    """Returns the story told by a post, recovered from its text alone; raises ValueError where a sentence is none of this world's."""
    body = post.partition(" POST : ")[2].removesuffix(" TL;DR :").split()
    key: dict[str, str] = {}
    distractors: set[str] = set()
    kind, start = "", 0
    for end, word in enumerate(body, 1):
        if word not in MARKS:
            continue
        sentence, start = body[start:end], end
        template = skeleton(sentence)
        content = [each for each in sentence if each in CATEGORY_OF]
        if template in _KEY_TEMPLATES:
            key.update((CATEGORY_OF[each], each) for each in content)
            kind = _KIND_OF.get(template, kind)
        elif template in _POST["distractors"]:
            distractors.update(content)
        else:
            raise ValueError(f"not a sentence of the embedded TL;DR world: {' '.join(sentence)!r}")
    if not kind:
        raise ValueError(f"not a post of the embedded TL;DR world, nothing is asked: {post[:80]!r}")
    return Story(kind, MappingProxyType(key), tuple(sorted(distractors)))


def split_of(post: str) -> str:
    """Returns the split that a post belongs to, decided by the hash of its body: no stream, whatever its seed, can leak.

    Subreddit and title do not count, for two posts that differ in them only tell one story in one wording.
    """
    return splits.split_of(post.partition(" POST : ")[2], SPLITS)


def draw(generator: np.random.Generator, kind: str, split: str) -> str:
    """Returns a fresh post of the kind whose text falls into the split: new headings, and every so often a new body, until it does."""
    layout: str = _POST["layout"]
    while True:
        key, body = _body(generator, kind)
        for _ in range(8):
            title = pick(generator, _POST["titles"]).format_map(key)
            post = layout.format(subreddit=pick(generator, _POST["subreddits"]), title=title, body=body)
            if split_of(post) == split:
                return post


def _body(generator: np.random.Generator, kind: str) -> tuple[dict[str, str], str]:
    """Returns the facts and the sentences that tell them, with 2-4 distractors (1-2 in a safety post) anywhere before the question."""
    key = {slot: pick(generator, CATEGORIES[slot]) for slot in (*SLOTS[:5], *_ASKED[kind])}
    sentences = [pick(generator, _POST[part]).format_map(key) for part in ("opening", "cause", "feeling")]
    fewest, most = (2, 4) if kind == "normal" else (1, 2)
    for index in generator.permutation(len(_POST["distractors"]))[: generator.integers(fewest, most + 1)]:
        place = int(generator.integers(len(sentences) + 1))
        sentences.insert(place, _distractor(generator, _POST["distractors"][index], key))
    sentences.append(pick(generator, _POST["asking"][kind]).format_map(key))
    return key, " ".join(sentences)


def _distractor(generator: np.random.Generator, template: str, key: Mapping[str, str]) -> str:
    """Returns the sentence filled with words other than the story's own: a model must bind by context, not by category."""
    others = ((name, [word for word in CATEGORIES[name] if word != key.get(name)]) for name in categories_in(template))
    return template.format_map({name: pick(generator, words) for name, words in others})
