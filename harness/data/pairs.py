"""Preference pairs of two drawn responses, labelled by a draw or ordered by the reward itself; and their file."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from harness.errors import HarnessError
from harness.types import Array, Pair, Response, TokenPair

DRAWS = 20  # prompts asked for each pair that is wanted: fewer than one in twenty differing means a policy that has collapsed
LEAST_DRAWS = 1000  # so that a handful of pairs is not given up for bad luck

Rows = Sequence[tuple[str, Response, Response]]
Draw = Callable[[int], list[tuple[str, Response, Response]]]
"""``draw(k)`` gives k prompts with two responses each."""


def drawn(draw: Draw, n: int) -> list[tuple[str, Response, Response]]:
    """``n`` prompts with two different responses. Pairs of the same text teach nothing and are drawn again, but not for ever.

    Raises:
        HarnessError: whoever answers nearly always says the same twice.
    """
    rows: list[tuple[str, Response, Response]] = []
    asked, limit = 0, max(LEAST_DRAWS, DRAWS * n)
    while len(rows) < n:
        if asked >= limit:
            raise HarnessError(_alike(len(rows), asked, n))
        asked += n - len(rows)
        rows += different(draw(n - len(rows)))
    return rows


def different(rows: Rows) -> list[tuple[str, Response, Response]]:
    """The rows whose two responses are not the same tokens."""
    return [row for row in rows if row[1].ids != row[2].ids]


def _alike(found: int, asked: int, n: int) -> str:
    return (
        f"pairs: of {asked} prompts only {found} were answered in two different ways, and {n} are wanted: whoever answers says the same "
        "each time. Shorten the fine-tuning (sft_steps), ask for fewer pairs, or take responses from elsewhere (pairs_from)."
    )


def labelled(rows: Rows, first: Array, generator: np.random.Generator) -> list[Pair]:
    """Pairs, each labelled by one draw from ``first``, P(first preferred), (pairs,).

    ``agreement`` of a pair is the share of annotators who would say what most of them say, whatever this one label says.
    """
    wins = generator.random(len(rows)) < first
    sure = np.maximum(first, 1 - first)
    return [
        Pair(prompt, *((a, b) if won else (b, a)), agreement=float(share))
        for (prompt, a, b), won, share in zip(rows, wins, sure, strict=True)
    ]


def ordered(rows: Rows, gaps: Array, first: Array, *, tie: float = 1e-6) -> list[Pair]:
    """Pairs with the better response first, ties left out; ``agreement`` of each is how often an annotator would say so."""
    siding = np.where(gaps > 0, first, 1 - first)
    return [
        Pair(prompt, *((a, b) if gap > 0 else (b, a)), agreement=float(share))
        for (prompt, a, b), gap, share in zip(rows, gaps, siding, strict=True)
        if abs(gap) > tie
    ]


def prompts_of(pairs: Sequence[TokenPair]) -> list[int]:
    """Which prompt each pair asks, (pairs,), by first appearance: pairs of one prompt are not independent of each other."""
    places: dict[tuple[int, ...], int] = {}
    return [places.setdefault(pair.prompt, len(places)) for pair in pairs]


def write_pairs(path: Path, pairs: Sequence[TokenPair]) -> None:
    """One JSON line per tokenised pair."""
    path.write_text("".join(json.dumps(pair._asdict()) + "\n" for pair in pairs), encoding="utf-8")


def read_pairs(path: Path) -> list[TokenPair]:
    """The pairs of ``write_pairs``."""
    lines = path.read_text(encoding="utf-8").splitlines()
    return [TokenPair(**json.loads(line, object_hook=_with_tuples)) for line in lines]


def _with_tuples(row: dict[str, Any]) -> dict[str, Any]:
    """JSON has lists where a value that cannot change has tuples."""
    return {name: tuple(value) if isinstance(value, list) else value for name, value in row.items()}
