"""The words of an embedded world: content words by category, templates, and the vocabulary that both make, read from a table in TOML."""

from __future__ import annotations

import hashlib
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any

from harness.data import splits

SPECIAL = ("<pad>", "<bos>", "<eos>", "<sep>")
MARKS = frozenset((".", "?"))
SPLITS = (("train", 0.8), ("tuning", 0.9), ("evaluation", 1.0))
"""Upper bounds of each split's share of the hash range."""


@dataclass(frozen=True)
class Language:
    """A world's table with what is read off it: the words of each category, the category of each content word, and the vocabulary.

    ``vocabulary`` is the special tokens first, then all words sorted: the token id of a word is its place.
    """

    table: Mapping[str, Any]
    categories: Mapping[str, tuple[str, ...]]
    category_of: Mapping[str, str]
    vocabulary: tuple[str, ...]

    def skeleton(self, words: Sequence[str]) -> str:
        """Returns the text with every content word replaced by its category in braces: the template it was made from."""
        return " ".join(f"{{{self.category_of[word]}}}" if word in self.category_of else word for word in words)


def read(path: Path, *sections: str) -> Language:
    """Returns the language of a table whose ``sections`` hold templates; a category is under ``categories``.

    Raises ValueError where a content word has two categories or is also a word of a template.
    """
    table = tomllib.loads(path.read_text(encoding="utf-8"))
    owners: dict[str, str] = {}
    for category, words in table["categories"].items():
        for word in words:
            if word in owners:
                raise ValueError(
                    f"the word '{word}' is under '{owners[word]}' and again under '{category}'; a content word has one category"
                )
            owners[word] = category
    plain = {word for section in sections for text in _strings(table[section]) for word in text.split() if not word.startswith("{")}
    if shared := sorted(owners.keys() & plain):
        raise ValueError(f"the content words {shared} also occur as template words")
    categories = MappingProxyType({name: tuple(words) for name, words in table["categories"].items()})
    vocabulary = (*SPECIAL, *sorted(owners.keys() | plain))
    return Language(MappingProxyType(table), categories, MappingProxyType(owners), vocabulary)


def _strings(value: Any) -> Iterator[str]:
    """Yields every string in a nest of tables and lists."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, (list, dict)):
        for item in value.values() if isinstance(value, dict) else value:
            yield from _strings(item)


def sentences(words: Sequence[str]) -> list[list[str]]:
    """Returns the words cut after every mark; what follows the last mark is a sentence of its own without one."""
    found: list[list[str]] = []
    start = 0
    for end, word in enumerate(words, 1):
        if word in MARKS:
            found.append(list(words[start:end]))
            start = end
    return [*found, list(words[start:])] if start < len(words) else found


def repetitions(words: Sequence[str], content: Mapping[str, str]) -> int:
    """Returns how often a content word, or a bigram within a sentence and without one, has been said before among the words."""
    seen: set[str | tuple[str, str]] = set()
    count = 0
    for before, word in zip(["", *words], words, strict=False):
        if word not in content and (not before or before in MARKS or before in content):
            continue
        item = word if word in content else (before, word)
        count += item in seen
        seen.add(item)
    return count


def version(task: str, world: str, *others: str) -> str:
    """Returns 1 and the first 8 hex digits of a hash over a task's file, its world's files, what all worlds share, and ``others``."""
    here = Path(__file__).parent
    own = sorted(file for file in here.glob(f"{world}*") if file.suffix in (".py", ".toml"))
    files = [Path(task), Path(splits.__file__), Path(__file__), here / "tldr_language.py", *own, *map(Path, others)]
    return f"1-{hashlib.sha256(b''.join(file.read_bytes() for file in files)).hexdigest()[:8]}"
