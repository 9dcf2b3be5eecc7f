"""Sample texts side by side: the same prompts for everybody, chosen by position and never by outcome."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from harness.report.escape import visible
from harness.report.findings import middle
from harness.report.points import Point
from harness.store.records import Row

PROMPTS = 3


class Text(NamedTuple):
    """A response with who wrote it and what it scored."""

    source: str
    response: str
    note: str


class Example(NamedTuple):
    """A prompt with the data set's response, the SFT reference's, one response per algorithm, and those of the other settings."""

    prompt: str
    texts: list[Text]
    others: list[Text]


def examples(points: Sequence[Point]) -> list[Example]:
    """Three prompts, evenly spaced over those that every point answered at the end; empty where there are none."""
    answers = {point: _answers(point) for point in points}
    common = sorted(set.intersection(*(set(each) for each in answers.values()))) if answers else []
    if not common:
        return []
    chosen = sorted({common[(2 * part + 1) * len(common) // (2 * PROMPTS)] for part in range(PROMPTS)})
    first = set(middle(points).values())
    found = []
    for prompt in chosen:
        texts = [_text(point, each[prompt]) for point, each in answers.items() if point in first]
        others = [_text(point, each[prompt]) for point, each in answers.items() if point not in first]
        row = next(iter(answers.values()))[prompt]
        found.append(Example(visible(row["prompt"]), _shared(row) + texts, others))
    return found


def _answers(point: Point) -> dict[int, Row]:
    """The first sample of each evaluation prompt at the end of the first seed's run."""
    mark = float(point.cells[0].record["checkpoints"][-1]["mark"])
    found: dict[int, Row] = {}
    for row in point.rows[0].get((mark, "evaluation"), ()):
        if "response" in row:  # imported outcomes may come without
            found.setdefault(int(row["prompt_id"]), row)
    return found


def _shared(row: Row) -> list[Text]:
    texts = [Text("data set's reference", visible(row["reference_response"]), "")] if row.get("reference_response") is not None else []
    return texts + ([Text("SFT sample", visible(row["sft_response"]), "")] if row.get("sft_response") is not None else [])


def _text(point: Point, row: Row) -> Text:
    notes = [
        f"{name} {row[key]:.2f}"
        for key, name in (("gold", "gold"), ("proxy", "proxy"), ("kl", "KL"))
        if isinstance(row.get(key), int | float)
    ]
    ended = [] if row.get("finished", True) else ["cut off: no EOS"]
    return Text(f"{point.algorithm} {point.setting}", visible(row["response"]), ", ".join(notes + ended))
