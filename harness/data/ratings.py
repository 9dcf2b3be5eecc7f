"""From what was said of single responses to pairs, and back: ratings, rankings, verdicts."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import replace
from itertools import combinations

from harness.data.rows import Rated, Row

ALIKE = "rated alike, so no pair of them can be made"
ALONE = "the only response to its prompt that is rated or ranked"
UNDESIRABLE = "undesirable, with nothing desirable to the same prompt (+unpaired keeps it)"
UNSAID = "neither a rating nor a verdict"
UNLABELLED = "rated, and no threshold says from which rating one is desirable"


def compared(rated: Sequence[Rated], dropped: Counter[str]) -> list[Row]:
    """The rows that responses rated one by one come down to, in the order in which their prompts appear; what is left over is counted.

    Of responses with ratings every two that differ make a pair, as every comparison of a ranking does in Ouyang et al. 2022 (arXiv
    2203.02155), with the difference of their ratings as margin. Of responses with verdicts each desirable one meets at most one
    undesirable one, and a desirable one that meets none is a reference.
    """
    prompts: dict[str, list[Rated]] = {}
    for each in rated:
        prompts.setdefault(each.prompt, []).append(each)
    rows: list[Row] = []
    for each_prompt in prompts.values():
        rows += (
            _by_rating(each_prompt, dropped) if all(each.rating is not None for each in each_prompt) else _by_verdict(each_prompt, dropped)
        )
    return rows


def _by_rating(rated: Sequence[Rated], dropped: Counter[str]) -> list[Row]:
    ordered = sorted(rated, key=lambda each: -(each.rating or 0.0))
    rows = [
        Row(a.prompt, a.response, b.response, margin=(a.rating or 0.0) - (b.rating or 0.0))
        for a, b in combinations(ordered, 2)
        if a.rating != b.rating
    ]
    if not rows:
        dropped[ALIKE if len(rated) > 1 else ALONE] += len(rated)
    return rows


def _by_verdict(rated: Sequence[Rated], dropped: Counter[str]) -> list[Row]:
    good, bad = ([each for each in rated if each.desirable is verdict] for verdict in (True, False))
    met = min(len(good), len(bad))
    dropped[UNDESIRABLE] += len(bad) - met
    dropped[UNSAID] += len(rated) - len(good) - len(bad)
    pairs = [Row(a.prompt, a.response, b.response) for a, b in zip(good[:met], bad[:met], strict=True)]
    return [*pairs, *(Row(each.prompt, reference=each.response) for each in good[met:])]


def single(rated: Iterable[Rated], dropped: Counter[str]) -> list[Row]:
    """A row for every response with a verdict, which stays what it is: a label of one response. The others are counted."""
    rows: list[Row] = []
    for each in rated:
        if each.desirable is None:
            dropped[UNSAID if each.rating is None else UNLABELLED] += 1
        else:
            rows.append(Row(each.prompt, each.response) if each.desirable else Row(each.prompt, rejected=each.response))
    return rows


def by_threshold(rated: Iterable[Rated], threshold: float) -> list[Rated]:
    """Every rated response with its verdict: desirable where the rating is at least the threshold. One without a rating stays as it is."""
    return [each if each.rating is None else replace(each, desirable=each.rating >= threshold) for each in rated]


def unpaired(rows: Iterable[Row]) -> list[Rated]:
    """Every pair's chosen response as desirable and its rejected one as undesirable, each text of a prompt once, in the rows' order.

    A response that was chosen in one pair and rejected in another keeps the first thing that was said of it.
    """
    found: dict[tuple[str, str], Rated] = {}
    for row in rows:
        for text, desirable in ((row.chosen, True), (row.rejected, False)):
            if text:
                found.setdefault((row.prompt, text), Rated(row.prompt, text, desirable))
    return list(found.values())
