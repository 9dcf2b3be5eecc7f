"""The suites of a comparison: read, overlaps between them removed, cut to what is asked, as slices of one half each."""

from __future__ import annotations

import hashlib
import json
import unicodedata
from collections import Counter
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from harness.data.suites.reading import Row, Rows, Word, parse, rows_of
from harness.errors import HarnessError


class Slice(NamedTuple):
    """Prompts of one half of a suite with the category of each; ``half`` is ``harmful``, ``benign`` or ``open``."""

    suite: str
    half: str
    prompts: tuple[str, ...]
    categories: tuple[str, ...]

    @property
    def name(self) -> str:
        """What rows and metrics call it."""
        return f"{self.suite}-{self.half}"


class Suite(NamedTuple):
    """One word's slices. ``dropped`` counts rows left out by reason, overlaps with earlier suites and among themselves included."""

    word: Word
    slices: tuple[Slice, ...]
    read: int
    dropped: Counter[str]
    revision: str

    @property
    def sha256(self) -> str:
        """Of the prompts asked, their categories and halves: what a measurement depends on."""
        return hashlib.sha256(json.dumps(self.slices).encode()).hexdigest()


def suites(words: Sequence[str], most: int | None = None) -> list[Suite]:
    """A suite for every word, in their order; ``most`` prompts of each half at most, taken from its categories in turn.

    A prompt whose normalised text an earlier suite or row has is left out. Raises HarnessError where nothing is left or a half is
    named twice.
    """
    seen: dict[str, str] = {}
    taken: set[str] = set()
    return [_suite(parse(word), seen, taken, most) for word in words]


def normalised(text: str) -> str:
    """The text as overlaps compare it: compatibility forms made one, case folded, letters and digits alone, one space between words."""
    folded = unicodedata.normalize("NFKC", text).casefold()
    return " ".join("".join(character if character.isalnum() else " " for character in folded).split())


def _suite(word: Word, seen: dict[str, str], taken: set[str], most: int | None) -> Suite:
    """One suite, less what is ``seen`` in earlier ones; ``taken`` are the halves of those."""
    name, rows = word.suite.name, rows_of(word)
    own = {f"{name}-{row.half}" for row in rows.rows}
    if twice := sorted(own & taken):
        raise HarnessError(f"Safety suites: {', '.join(twice)} is asked for twice; once is wanted.")
    taken |= own
    dropped = Counter(rows.dropped)
    kept = list(_distinct(name, rows, seen, dropped))
    if not kept:
        raise HarnessError(f"safety suite {name}: every one of its prompts is in {', '.join(sorted(set(seen.values())))} already.")
    halves = [half for half in word.suite.halves if any(row.half == half for row in kept)]
    slices = tuple(_slice(name, half, [row for row in kept if row.half == half], most) for half in halves)
    return Suite(word, slices, rows.read, dropped, rows.revision)


def _distinct(name: str, rows: Rows, seen: dict[str, str], dropped: Counter[str]) -> Iterator[Row]:
    for row in rows.rows:
        text = normalised(row.prompt) or row.prompt
        if text in seen:
            dropped["duplicate" if seen[text] == name else f"also in {seen[text]}"] += 1
        else:
            seen[text] = name
            yield row


def _slice(suite: str, half: str, rows: Sequence[Row], most: int | None) -> Slice:
    chosen = in_turn(rows, most)
    return Slice(suite, half, tuple(row.prompt for row in chosen), tuple(row.category for row in chosen))


def in_turn(rows: Sequence[Row], most: int | None) -> list[Row]:
    """The first ``most`` rows when categories take turns, in the order of the source; all of them where ``most`` is None."""
    if most is None or most >= len(rows):
        return list(rows)
    turns: Counter[str] = Counter()
    ranked = []
    for index, row in enumerate(rows):
        ranked.append((turns[row.category], index))
        turns[row.category] += 1
    return [rows[index] for index in sorted(index for _, index in sorted(ranked)[:most])]
