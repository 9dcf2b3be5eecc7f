"""From texts to the ids that a reward model reads: in training, in a saved folder and as a judge the same, so that scores are the same."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any

from harness.judges.classifier import encoded
from harness.types import Pair, TokenPair

Ids = tuple[int, ...]


def divided(tokenizer: Any, prompt: str, responses: Sequence[str]) -> tuple[Ids, tuple[Ids, ...]]:
    """The ids of a prompt and of what each response adds, which together are those that a judge reads of the two texts.

    The prompt ends where the ids of all responses, and those of an empty one, part; so its last token may belong to the response where a
    tokenizer merges across the boundary.
    """
    rows = [tuple(encoded(tokenizer, prompt, each).ids) for each in responses]
    opening = tuple(encoded(tokenizer, prompt, "").ids)
    shared = min(_common(opening, row) for row in rows)
    shared = min(shared, *(len(row) - 1 for row in rows))
    return rows[0][:shared], tuple(row[shared:] for row in rows)


def _common(one: Ids, other: Ids) -> int:
    """How many ids at their beginning are the same."""
    return next((place for place, (a, b) in enumerate(zip(one, other, strict=False)) if a != b), min(len(one), len(other)))


def token_pairs(pairs: Sequence[Pair], tokenizer: Any, longest: int) -> tuple[list[TokenPair], list[int], Counter[str]]:
    """The pairs that fit in ``longest`` ids, the place of each in ``pairs``, and why the others were left out."""
    kept: list[TokenPair] = []
    places: list[int] = []
    dropped: Counter[str] = Counter()
    for place, pair in enumerate(pairs):
        prompt, (chosen, rejected) = divided(tokenizer, pair.prompt, (pair.chosen.text, pair.rejected.text))
        if len(prompt) + max(len(chosen), len(rejected)) > longest:
            dropped["too long"] += 1
        elif chosen == rejected:
            dropped["same ids"] += 1
        else:
            kept.append(TokenPair(len(kept), prompt, chosen, rejected, pair.agreement, pair.margin, pair.weight))
            places.append(place)
    return kept, places, dropped
