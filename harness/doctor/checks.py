"""What can be wrong with preference data, counted: in texts alone, and in their tokens under a tokenizer. Nothing is dropped here."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

import numpy as np

from harness.data import alike, splits
from harness.data.rows import Row
from harness.data.sources import SPLITS
from harness.data.tokenise import Tokens
from harness.types import Group, Response

WORDS = re.compile(r"\W+")


class Count(NamedTuple):
    """How many of how many, and what that means where it is more than a few."""

    name: str
    found: int
    of: int
    meaning: str = ""

    def __str__(self) -> str:
        """``name: 3 of 17 (17.6 %)``, and what it means where anything was found."""
        share = f" ({100 * self.found / self.of:.1f} %)" if self.of else ""
        return f"{self.name}: {self.found} of {self.of}{share}" + (f"; {self.meaning}" if self.found and self.meaning else "")


def of_texts(rows: Sequence[Row]) -> list[Count]:
    """What the texts alone show of the pairs among these rows."""
    pairs = [row for row in rows if row.chosen and row.rejected]
    often = Counter(row.prompt for row in pairs)
    said = Counter((row.prompt, row.chosen, row.rejected) for row in pairs)
    against = sum(said[row.prompt, row.rejected, row.chosen] > 0 for row in pairs)
    sides: dict[tuple[str, str | None], set[str]] = {}
    for row in pairs:
        sides.setdefault((row.prompt, row.chosen), set()).add("chosen")
        sides.setdefault((row.prompt, row.rejected), set()).add("rejected")
    both = sum({"chosen", "rejected"} == sides[row.prompt, row.chosen] for row in pairs)
    longer = sum(len(row.chosen or "") > len(row.rejected or "") for row in pairs)
    return [
        Count("pairs whose prompt has other pairs", sum(n for n in often.values() if n > 1), len(pairs), "they are not independent"),
        Count("pairs that another row contradicts", against, len(pairs), "the same two responses, preferred the other way round"),
        Count("chosen responses that are rejected elsewhere", both, len(pairs), "to the same prompt"),
        Count(
            "pairs whose chosen response is the longer one",
            longer,
            len(pairs),
            "length alone may be what is learnt where this is far from half",
        ),
    ]


def of_labels(rows: Sequence[Row]) -> list[Count]:
    """What responses that were labelled one by one show; nothing where there are none."""
    single = [row for row in rows if row.single]
    labels: dict[tuple[str, str], set[bool]] = {}
    for row in single:
        labels.setdefault((row.prompt, row.chosen or row.rejected or ""), set()).add(row.chosen is not None)
    prompts, good = {row.prompt for row in single}, [row for row in single if row.chosen is not None]
    return [
        Count("labelled responses that are desirable", len(good), len(single), "both labels are dealt in turn, however many there are"),
        Count("labelled responses with both labels", sum(len(each) > 1 for each in labels.values()), len(labels), "they contradict"),
        Count("prompts without a desirable response", len(prompts - {row.prompt for row in good}), len(prompts), "never evaluated on"),
    ] * bool(single)


def leaks(rows: Sequence[Row]) -> Count:
    """Prompts that differ in case, space and marks alone and yet stand in different splits, which go by the hash of the whole text."""
    places: dict[str, set[str]] = {}
    for prompt in {row.prompt for row in rows}:
        places.setdefault(normal(prompt), set()).add(splits.split_of(prompt, SPLITS))
    found = sum(len(each) > 1 for each in places.values())
    return Count("near-equal prompts in several splits", found, len(places), "an evaluation prompt was nearly trained on")


def shared(rows: Sequence[Row], other: Sequence[Row], name: str) -> Count:
    """Prompts that another published split has as well, but for case, space and marks."""
    known = {normal(row.prompt) for row in other}
    mine = {normal(row.prompt) for row in rows}
    return Count(f"prompts that are in the split '{name}' as well", len(mine & known), len(mine), "a leak between published splits")


def normal(text: str) -> str:
    """The words of a text, in lower case, one space between them."""
    return WORDS.sub(" ", text.lower()).strip()


def collapsed(rows: Sequence[Row], dropped: Mapping[str, int]) -> Count:
    """Of what was rated, how much was rated alike: pairs with a margin of 0, and responses that made no pair for that reason."""
    margins = [row.margin for row in rows if row.margin is not None]
    dull = sum(n for reason, n in dropped.items() if reason.startswith("rated alike"))
    return Count("ratings that tell nothing apart", sum(margin == 0 for margin in margins) + dull, len(margins) + dull)


def of_tokens(rows: Sequence[Row], tokens: Tokens) -> list[Count]:
    """What a tokenizer makes of the pairs, or of responses labelled one by one.

    That is what is too long for the limits, merges at the boundary, ends early, is lost, or is the same ids.
    """
    asked = _asked(rows)
    groups, n = _groups(asked, tokens), len(asked)
    what = "labelled responses" if asked and asked[0].single else "pairs"
    long_prompts = sum(len(group.prompt) > tokens.max_prompt for group in groups)
    long_responses = sum(any(len(ids) > tokens.max_response for ids in group.responses) for group in groups)
    ends = tokens.tokenizer.eos_token
    early = sum(ends in (row.chosen or "") or ends in (row.rejected or "") for row in asked)
    empty = sum(any(ids in ((), (tokens.eos,)) for ids in group.responses) for group in groups)
    lost = sum(not all(alike.gives_back(tokens.tokenizer, text) for text in _texts(row)) for row in asked)
    same = sum(len(group.responses) == 2 and group.responses[0] == group.responses[1] for group in groups)
    both = [Count("pairs whose responses are the same tokens", same, n, "dropped")] if what == "pairs" else []
    return [
        Count(f"prompts above {tokens.max_prompt} tokens", long_prompts, n, "dropped, never cut"),
        Count(f"{what} {'with a response ' * bool(both)}above {tokens.max_response} tokens", long_responses, n, "dropped, never cut"),
        Count(f"{what} whose prompt and response merge into one token", merged(asked, tokens), n, "scored from the first id that differs"),
        Count(f"{what} with {ends!r} inside{' a response' * bool(both)}", early, n, "the model learns to stop there"),
        *both,
        Count(f"{what} {'with a response ' * bool(both)}of no tokens", empty, n, "dropped"),
        Count(f"{what} with words that the tokenizer does not give back", lost, n, "they are unknown to it, and the model never sees them"),
    ]


def _asked(rows: Iterable[Row]) -> list[Row]:
    """The pairs among rows, or where there are none, the labelled responses."""
    found = list(rows)
    return [row for row in found if row.chosen and row.rejected] or [row for row in found if row.single]


def _texts(row: Row) -> list[str]:
    return [text for text in (row.chosen, row.rejected) if text]


def _groups(rows: Sequence[Row], tokens: Tokens) -> list[Group]:
    return tokens.groups([row.prompt for row in rows], [[Response(text) for text in _texts(row)] for row in rows])


def ending(tokens: Tokens) -> str:
    """How responses end, and whether padding is the same token."""
    same = tokens.tokenizer.pad_token_id in (None, tokens.eos)
    padding = "; padding is the same token, and is told apart by length" if same else ""
    return f"every response gets {tokens.tokenizer.eos_token!r} at its end once, and it is scored{padding}"


def merged(rows: Sequence[Row], tokens: Tokens) -> int:
    """How many of the rows have a response whose joint ids do not begin with the prompt's own."""
    prompts = tokens.prompts([row.prompt for row in rows])
    found = 0
    for row, prompt in zip(rows, prompts, strict=True):
        joint = (f"{row.prompt.rstrip()} {text.strip()}" for text in _texts(row))
        found += any(tuple(tokens.tokenizer(text)["input_ids"][: len(prompt)]) != prompt for text in joint)
    return found


def lengths(rows: Iterable[Row], tokens: Tokens) -> str:
    """Median, 90th and 99th percentile of prompts and responses in tokens, EOS among them."""
    groups = _groups(_asked(rows), tokens)
    parts = {"prompts": [len(group.prompt) for group in groups], "responses": [len(ids) for group in groups for ids in group.responses]}
    said = [f"{name} {', '.join(f'{np.percentile(each, p):.0f}' for p in (50, 90, 99))}" for name, each in parts.items() if each]
    return "tokens at the 50th, 90th and 99th percentile: " + "; ".join(said)
