"""Sample texts side by side: the same prompts for everybody, chosen by position and never by outcome, against the reference's words."""

from __future__ import annotations

import re
from collections.abc import Sequence
from difflib import SequenceMatcher
from typing import Literal, NamedTuple

from harness.report.declared import settings
from harness.report.escape import visible
from harness.report.points import Point
from harness.store.records import Row

PROMPTS = 3
LONG = 1000  # words beyond which two responses are not compared: the time grows with the product of their lengths

Kind = Literal["same", "added", "gone"]
Parts = list[tuple[Kind, str]]


class Text(NamedTuple):
    """A response with who wrote it and what it scored; ``parts`` are its words and those that it lacks of the reference's.

    ``algorithm`` is empty for the texts that all share; ``against`` says that the others are compared with this one.
    """

    source: str
    parts: Parts
    note: str
    algorithm: str = ""
    against: bool = False


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
    first = set(settings(points).values())
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
    texts = (
        [Text("SFT reference", _alone(row["sft_response"]), "what the others are held against", against=True)]
        if row.get("sft_response") is not None
        else []
    )
    own = row.get("reference_response")
    return texts + ([Text("data set's response", _alone(own), "")] if own is not None else [])


def _text(point: Point, row: Row) -> Text:
    notes = [
        f"{name} {row[key]:.2f}"
        for key, name in (("gold", "gold"), ("proxy", "proxy"), ("kl", "KL"))
        if isinstance(row.get(key), int | float)
    ]
    ended = [] if row.get("finished", True) else ["cut off: no EOS"]
    base = row.get("sft_response")
    parts = _alone(row["response"]) if base is None else changes(visible(base), visible(row["response"]))
    return Text(f"{point.algorithm} {point.setting}", parts, ", ".join(notes + ended), point.algorithm)


def _alone(text: object) -> Parts:
    return [("same", visible(text))]


def changes(before: str, after: str) -> Parts:
    """``after`` word by word against ``before``: what both have, what is added, and, where it stood, what is gone.

    Without the parts that are gone the text is ``after`` to the letter.
    """
    old, new = _words(before), _words(after)
    if max(len(old), len(new)) > LONG:
        return [("same", after)]
    found: Parts = []
    for tag, i, j, k, m in SequenceMatcher(None, [each.strip() for each in old], [each.strip() for each in new], False).get_opcodes():
        if tag == "equal":
            found.append(("same", "".join(new[k:m])))
            continue
        found += [("gone", "".join(old[i:j]))] if j > i else []
        found += [("added", "".join(new[k:m]))] if m > k else []
    return found


def _words(text: str) -> list[str]:
    """The words of a text, each with the white space after it."""
    return re.findall(r"\S*\s+|\S+", text)
