"""Real film reviews: labelled texts from wherever data are read, cut into prefix and continuation.

Layouts: columns ``text`` and ``label``, as IMDb has them (Maas et al. 2011), and text files in folders ``pos`` and ``neg``, bare or in a
zip (Pang and Lee 2004).
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from harness.data import sources, splits
from harness.data.adapters import Adapter, adapter_of
from harness.data.files import Read
from harness.data.places import Place
from harness.errors import HarnessError
from harness.types import Demonstration

SPLITS = (("judge", 0.30), ("second", 0.60), ("train", 0.85), ("tuning", 0.88), ("evaluation", 1.0))
"""Upper bounds of the splits by the hash of the prefix; ``judge`` and ``second`` fit one classifier each."""
PREFIX = (2, 8)  # words, by the hash of the text: Rafailov et al. 2023 (arXiv 2305.18290) prompt with 2 to 8 tokens
CONTINUATION = 32  # words of a demonstration, to the last sentence's end among them
LABELS = {"1": True, "pos": True, "positive": True, "true": True, "0": False, "neg": False, "negative": False, "false": False}


@dataclass(frozen=True)
class Review:
    """A labelled review, cut: ``prefix`` opens it, ``continuation`` is what its writer said next, ``text`` is the whole."""

    prefix: str
    continuation: str
    text: str
    positive: bool


class Reviews(NamedTuple):
    """Reviews by split in the order of their hashes, what they are called, a line of counts, and a digest of their texts and labels."""

    parts: Mapping[str, list[Review]]
    name: str
    counts: str
    digest: str


def read(source: str | Path, limit: int | None = None) -> Reviews:
    """Returns the reviews of a file, a folder, a zip or a data set on the hub (``harness.data.places``); of ``limit`` spread over them.

    Raises HarnessError where the place is missing or holds no labelled texts of both kinds.
    """
    found = sources.read_records(source)
    if any(place.share is not None or place.filters for place, _ in found):
        raise HarnessError(f"the data '{source}': of reviews every part is read whole; leave shares and filters out")
    labelled = [each for _, read in found for each in _labelled(read)]
    every = sorted({_cut(text, positive) for text, positive in labelled if len(text.split()) > PREFIX[1] + 4}, key=_order)[:limit]
    if len({review.positive for review in every}) < 2:
        raise HarnessError(
            f"the data '{source}' holds no reviews of both kinds; expected columns (text, label) or folders pos and neg of .txt"
        )
    parts: dict[str, list[Review]] = {name: [] for name, _ in SPLITS}
    for review in every:
        parts[splits.split_of(review.prefix, SPLITS)].append(review)
    counts = f"{len(labelled)} reviews read, {len(every)} kept, {sum(review.positive for review in every)} of them positive"
    licences = [f"; {place} is under the licence: {known.licence}" for place, _ in found if (known := _public(place))]
    digest = hashlib.sha256("".join(f"{r.positive}{r.text}" for r in every).encode()).hexdigest()
    return Reviews(parts, " and ".join(place.name for place, _ in found), counts + "".join(licences), digest)


def _public(place: Place) -> Adapter | None:
    return adapter_of(place.repository) if place.on_hub else None


def _order(review: Review) -> float:
    return splits.share_of(review.text)


def _labelled(read: Read) -> Iterator[tuple[str, bool]]:
    """Yields (text, positive) of every labelled text; HarnessError where a record is none."""
    for file, records in read.parts:
        for number, record in enumerate(records, 1):
            where = f"row {number} of the data '{file}'"
            columns = sorted(map(str, record)) if isinstance(record, Mapping) else []
            if not {"text", "label"} <= set(columns):
                raise HarnessError(f"{where} has the columns ({', '.join(columns)}); expected text and label")
            if not isinstance(record["text"], str | None):
                raise HarnessError(f"{where} has a {type(record['text']).__name__} under 'text'; expected a string")
            label = str(record["label"]).strip().lower()
            if label not in LABELS and label != "-1":  # -1: unsupervised rows of IMDb
                raise HarnessError(f"{where} has the label {label!r}; legal: {', '.join(LABELS)}")
            if label in LABELS:
                yield record["text"] or "", LABELS[label]


def _cut(text: str, positive: bool) -> Review:
    """Returns the review cut after its first 2 to 8 words and, whole sentences only, after at most 32 more."""
    plain = re.sub(r"<br\s*/?>", " ", text)
    words = plain.split()
    first = PREFIX[0] + int(splits.share_of(text) * 1e6) % (PREFIX[1] - PREFIX[0] + 1)
    rest = words[first : first + CONTINUATION]
    ends = [place for place, word in enumerate(rest, 1) if word.endswith((".", "!", "?"))]
    return Review(" ".join(words[:first]), " ".join(rest[: ends[-1]] if ends else rest), " ".join(words), positive)


def demonstrations(reviews: Sequence[Review]) -> list[Demonstration]:
    """Returns every prefix once with its writers' continuations."""
    found: dict[str, dict[str, None]] = {}
    for review in reviews:
        found.setdefault(review.prefix, {})[review.continuation] = None
    return [Demonstration(prefix, tuple(texts)) for prefix, texts in found.items()]
