"""Real film reviews: labelled texts from a file, folder or zip, cut into prefix and continuation.

Layouts: columns ``text`` and ``label`` in csv, json or jsonl (also .gz), as IMDb has them (Maas et al. 2011), and text files in folders
``pos`` and ``neg``, bare or in a zip (Pang and Lee 2004).
"""

from __future__ import annotations

import csv
import gzip
import hashlib
import json
import re
import zipfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import TextIO, cast

from harness.data import splits
from harness.errors import HarnessError, near
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


def read(path: Path, limit: int | None = None) -> tuple[dict[str, list[Review]], str, str]:
    """Returns the reviews by split in the order of their hashes (of ``limit`` spread over the file), a line of counts, and a digest.

    Raises HarnessError where the path is missing or holds no labelled texts of both kinds.
    """
    if not path.exists():
        siblings = [each.name for each in path.parent.iterdir()] if path.parent.is_dir() else []
        raise HarnessError(f"the data '{path}' does not exist.{near(path.name, siblings)}")
    found = list(_labelled(path))
    every = sorted({_cut(text, positive) for text, positive in found if len(text.split()) > PREFIX[1] + 4}, key=_order)[:limit]
    if len({review.positive for review in every}) < 2:
        raise HarnessError(
            f"the data '{path}' holds no reviews of both kinds; expected columns (text, label) or folders pos and neg of .txt"
        )
    parts: dict[str, list[Review]] = {name: [] for name, _ in SPLITS}
    for review in every:
        parts[splits.split_of(review.prefix, SPLITS)].append(review)
    counts = f"{len(found)} reviews read, {len(every)} kept, {sum(review.positive for review in every)} of them positive"
    return parts, counts, hashlib.sha256("".join(f"{r.positive}{r.text}" for r in every).encode()).hexdigest()


def _order(review: Review) -> float:
    return splits.share_of(review.text)


def _labelled(path: Path) -> Iterator[tuple[str, bool]]:
    """Yields (text, positive) of every labelled text; what cannot be read is one HarnessError."""
    try:
        if path.is_dir():
            files = (each for each in sorted(path.rglob("*.txt")) if each.parent.name in ("pos", "neg"))
            yield from ((each.read_text(encoding="utf-8"), each.parent.name == "pos") for each in files)
        elif path.suffix == ".zip":
            yield from _zipped(path)
        else:
            yield from _rows(path)
    except (OSError, EOFError, UnicodeDecodeError, csv.Error, json.JSONDecodeError, zipfile.BadZipFile) as error:
        raise HarnessError(f"the data '{path}' cannot be read: {error}") from error


def _zipped(path: Path) -> Iterator[tuple[str, bool]]:
    with zipfile.ZipFile(path) as archive:
        for name in sorted(archive.namelist()):
            kind = PurePosixPath(name).parent.name
            if name.endswith(".txt") and kind in ("pos", "neg"):
                yield archive.read(name).decode("utf-8"), kind == "pos"


def _rows(path: Path) -> Iterator[tuple[str, bool]]:
    suffix = Path(path.name.removesuffix(".gz")).suffix
    if suffix not in (".csv", ".json", ".jsonl"):
        raise HarnessError(
            f"the data '{path}' is of an unknown kind '{suffix}'; legal: .csv, .json, .jsonl, each also with .gz, .zip, a folder"
        )
    with cast(TextIO, (gzip.open if path.suffix == ".gz" else open)(path, "rt", encoding="utf-8-sig", newline="")) as lines:
        records = csv.DictReader(lines) if suffix == ".csv" else _json(lines, suffix)
        for number, record in enumerate(records, 1):
            columns = sorted(map(str, record)) if isinstance(record, Mapping) else []
            if not {"text", "label"} <= set(columns) or not isinstance(record["text"], str):
                raise HarnessError(f"row {number} of the data '{path}' has the columns ({', '.join(columns)}); expected text and label")
            label = str(record["label"]).strip().lower()
            if label not in LABELS and label != "-1":  # -1: unsupervised rows of IMDb
                raise HarnessError(f"row {number} of the data '{path}' has the label {label!r}; legal: {', '.join(LABELS)}")
            if label in LABELS:
                yield record["text"], LABELS[label]


def _json(lines: TextIO, suffix: str) -> Iterator[Mapping[str, object]]:
    yield from json.loads(lines.read() or "[]") if suffix == ".json" else (json.loads(line) for line in lines if line.strip())


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
