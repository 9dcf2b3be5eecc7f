"""Rankings found again in the comparisons that data give of them: what a list loss reads where a pair loss reads every two responses."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from itertools import pairwise
from typing import NamedTuple

from harness.types import TokenPair


class Ranking(NamedTuple):
    """K responses in order: the K - 1 comparisons of neighbours, the best first, and the rows of all others, which follow from them."""

    neighbours: tuple[TokenPair, ...]
    implied: tuple[int, ...] = ()


def rankings(pairs: Sequence[TokenPair]) -> list[Ranking]:
    """The pairs as rankings, in the order of their first pairs; each pair is in one.

    The pairs of a prompt are one ranking where they compare every two of its responses, each two once, with equal weights and without
    a cycle, as they do where data rank responses without ties. Every other pair is a ranking of two.
    """
    prompts: dict[tuple[int, ...], list[TokenPair]] = {}
    for pair in pairs:
        prompts.setdefault(pair.prompt, []).append(pair)
    whole = {prompt: found for prompt, rows in prompts.items() if len(rows) > 2 and (found := _ranked(rows))}
    first = {id(rows[0]): whole[prompt] for prompt, rows in prompts.items() if prompt in whole}
    alone = [first.get(id(pair)) or (None if pair.prompt in whole else Ranking((pair,))) for pair in pairs]
    return [found for found in alone if found]


def _ranked(rows: Sequence[TokenPair]) -> Ranking | None:
    """The ranking that these pairs of one prompt are, or None. K responses are in one order where they win K - 1 to 0 comparisons."""
    compared = {frozenset((pair.chosen, pair.rejected)) for pair in rows}
    responses = {text for two in compared for text in two}
    wins = Counter(pair.chosen for pair in rows)
    order = sorted(responses, key=lambda response: -wins[response])
    complete = len(rows) == len(compared) == len(order) * (len(order) - 1) // 2 and len({pair.weight for pair in rows}) == 1
    if not complete or [wins[response] for response in order] != list(range(len(order) - 1, -1, -1)):
        return None
    found = {(pair.chosen, pair.rejected): pair for pair in rows}
    neighbours = tuple(found.pop(two) for two in pairwise(order))
    return Ranking(neighbours, tuple(pair.row for pair in found.values()))
