"""Preference data from local files: csv, json and jsonl (also .gz) in three layouts, read into typed rows with a count of what was dropped.

Judged summaries (Huang 2024, "The N+ implementation details"): ``query``, ``postprocessed_response``, ``reference_responses`` and
``preferred``, which is ``ours``, ``reference`` or blank where nobody judged. Pairs: ``prompt``, ``chosen``, ``rejected``. Dialogues
(Bai et al. 2022): ``chosen`` and ``rejected``, whole transcripts that differ in the assistant's last turn. Other columns are ignored.
Texts come out without outer white space at the join: prompt and response are joined by one space, whatever the file had.
"""

from __future__ import annotations

import csv
import gzip
import hashlib
import json
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from statistics import fmean
from typing import Any, TextIO, cast

from harness.data import splits
from harness.errors import HarnessError, near
from harness.types import Demonstration, Pair, Response

SPLITS = (("judge", 0.33), ("tuner", 0.45), ("train", 0.75), ("tuning", 0.78), ("evaluation", 1.0))
"""Upper bounds of a file's splits by the hash of the prompt; an unjudged row of a judge's share goes to train.

``judge`` fits the judge of the evaluation, ``tuner`` the one that settings are chosen by.
"""
ANSWERING = "\n\nAssistant:"


@dataclass(frozen=True)
class Row:
    """One prompt with what the file says about it: a judged pair, a reference response, or both."""

    prompt: str
    chosen: str | None = None
    rejected: str | None = None
    reference: str | None = None


@dataclass(frozen=True)
class Source:
    """The rows of a file, in its order. ``read`` counts all rows, ``dropped`` those left out, by reason; ``sha256`` is the file's."""

    rows: tuple[Row, ...]
    layout: str
    read: int
    dropped: Mapping[str, int]
    sha256: str

    def counts(self) -> str:
        """Returns a line for the report: rows read, kept, and dropped by reason."""
        reasons = "".join(f", {n} dropped: {reason}" for reason, n in sorted(self.dropped.items()))
        judged = sum(row.chosen is not None for row in self.rows)
        return f"{self.read} rows read ({self.layout}), {len(self.rows)} kept, {judged} of them judged{reasons}"


def read_rows(path: str | Path, *, limit: int | None = None) -> Source:
    """Returns the rows of a file (the first ``limit`` read); HarnessError where it is missing, empty, malformed or of unknown columns."""
    file = _existing(Path(path))
    records = list(islice(_records(file), limit))
    if not records:
        raise HarnessError(f"the data file '{file}' holds no rows")
    layout = _layout(file, records[0])
    dropped: Counter[str] = Counter()
    rows = tuple(_kept(map(LAYOUTS[layout][1], _checked(file, records, LAYOUTS[layout][0])), dropped))
    return Source(rows, layout, len(records), dropped, hashlib.sha256(file.read_bytes()).hexdigest())


def _existing(file: Path) -> Path:
    if file.is_file():
        return file
    siblings = [each.name for each in file.parent.iterdir()] if file.parent.is_dir() else []
    state = "is a folder, not a file" if file.is_dir() else "does not exist"
    raise HarnessError(f"the data file '{file}' {state}.{near(file.name, siblings)}")


def _records(file: Path) -> Iterator[Mapping[str, Any]]:
    """Yields the file's records; every way in which bytes can fail to be such a file is one HarnessError."""
    suffix = Path(file.name.removesuffix(".gz")).suffix.lower()
    if suffix not in READERS:
        raise HarnessError(f"the data file '{file}' is of an unknown kind '{suffix}'; legal: {', '.join(READERS)}, each also with .gz")
    try:
        opener = gzip.open if file.suffix == ".gz" else open
        with cast(TextIO, opener(file, "rt", encoding="utf-8-sig", newline="")) as lines:
            yield from READERS[suffix](lines)
    except (OSError, EOFError, UnicodeDecodeError, csv.Error, json.JSONDecodeError) as error:
        raise HarnessError(f"the data file '{file}' cannot be read as {suffix[1:]}: {error}") from error


def _csv(lines: TextIO) -> Iterator[Mapping[str, Any]]:
    before = csv.field_size_limit(2**31 - 1)  # by default 128 KiB; the limit is the whole process's, so it goes back
    try:
        yield from csv.DictReader(lines)
    finally:
        csv.field_size_limit(before)


def _json(lines: TextIO) -> Iterator[Mapping[str, Any]]:
    text = lines.read()
    rows = json.loads(text) if text.strip() else []
    yield from rows if isinstance(rows, list) else [rows]


def _jsonl(lines: TextIO) -> Iterator[Mapping[str, Any]]:
    for line in lines:
        if line.strip():
            yield json.loads(line)


READERS: Mapping[str, Callable[[TextIO], Iterator[Mapping[str, Any]]]] = {".csv": _csv, ".json": _json, ".jsonl": _jsonl}


def _judged(record: Mapping[str, Any]) -> Row | str:
    """Returns the row of a judged summary, or the reason for dropping it; a blank preference is an unjudged row, not a dropped one."""
    prompt, ours, reference = record["query"].rstrip(), record["postprocessed_response"].strip(), record["reference_responses"].strip()
    preferred = record["preferred"].strip()
    if preferred not in ("ours", "reference", ""):
        return "unknown preference"
    if not ours or not reference:
        return "empty response"
    if not preferred:
        return Row(prompt, reference=reference)
    chosen, rejected = (ours, reference) if preferred == "ours" else (reference, ours)
    return Row(prompt, chosen, rejected, reference)


def _paired(record: Mapping[str, Any]) -> Row | str:
    """Returns the row of a prompt with a chosen and a rejected response, or the reason for dropping it."""
    chosen, rejected = record["chosen"].strip(), record["rejected"].strip()
    return Row(record["prompt"].rstrip(), chosen, rejected) if chosen and rejected else "empty response"


def _dialogue(record: Mapping[str, Any]) -> Row | str:
    """Returns the row of two transcripts that differ in the assistant's last turn, or the reason for dropping it."""
    (before, chosen), (other, rejected) = (_last_turn(record[name]) for name in ("chosen", "rejected"))
    if before != other:
        return "chosen and rejected have different prompts"
    return Row(before, chosen, rejected) if chosen and rejected else "empty response"


def _last_turn(transcript: str) -> tuple[str, str]:
    """Returns what comes before the assistant's last words, its name included, and those words."""
    before, name, words = transcript.rpartition(ANSWERING)
    return f"{before}{name}", words.strip()


LAYOUTS: Mapping[str, tuple[tuple[str, ...], Callable[[Mapping[str, Any]], Row | str]]] = {
    "judged summaries": (("query", "postprocessed_response", "reference_responses", "preferred"), _judged),
    "chosen and rejected": (("prompt", "chosen", "rejected"), _paired),
    "dialogues": (("chosen", "rejected"), _dialogue),
}
"""Columns that a layout needs, and what turns a record into a row."""


def _layout(file: Path, record: Any) -> str:
    found = sorted(filter(None, record)) if isinstance(record, Mapping) else []
    for name, (columns, _) in LAYOUTS.items():
        if set(columns) <= set(found):
            return name
    expected = " or ".join(f"({', '.join(columns)})" for columns, _ in LAYOUTS.values())
    raise HarnessError(f"the data file '{file}' has the columns ({', '.join(found)}); expected {expected}")


def _checked(file: Path, records: Iterable[Any], columns: tuple[str, ...]) -> Iterator[Mapping[str, str]]:
    """Yields the needed columns as strings; a missing or null value counts as blank, any other type is an error with its row number."""
    for number, record in enumerate(records, 1):
        if not isinstance(record, Mapping):
            raise HarnessError(f"row {number} of the data file '{file}' is a {type(record).__name__}; expected an object with {columns}")
        values = {name: "" if record.get(name) is None else record[name] for name in columns}
        for name, value in values.items():
            if not isinstance(value, str):
                raise HarnessError(f"row {number} of the data file '{file}' has a {type(value).__name__} under '{name}'; expected a string")
        yield values


def _kept(rows: Iterable[Row | str], dropped: Counter[str]) -> Iterator[Row]:
    """Yields the usable rows, counting the others by reason."""
    seen: set[Row] = set()
    for row in rows:
        reason = row if isinstance(row, str) else _fault(row, seen)
        if isinstance(row, str) or reason:
            dropped[reason] += 1
        else:
            seen.add(row)
            yield row


def _fault(row: Row, seen: set[Row]) -> str:
    if not row.prompt.strip():
        return "empty prompt"
    if row.chosen is not None and row.chosen == row.rejected:
        return "identical responses"
    return "duplicate" if row in seen else ""


def by_split(rows: Sequence[Row]) -> dict[str, list[Row]]:
    """Returns the rows by split, disjoint by prompt, each in the order of its prompts' hashes, whatever the file's order was."""
    parts: dict[str, list[Row]] = {name: [] for name, _ in SPLITS}
    judged = {row.prompt for row in rows if row.chosen is not None}
    for row in sorted(rows, key=lambda row: splits.share_of(row.prompt)):
        name = splits.split_of(row.prompt, SPLITS)
        parts["train" if name in ("judge", "tuner") and row.prompt not in judged else name].append(row)
    return parts


def pairs(rows: Sequence[Row]) -> list[Pair]:
    """Returns the judged rows as pairs."""
    return [Pair(row.prompt, Response(row.chosen), Response(row.rejected)) for row in rows if row.chosen and row.rejected]


def demonstrations(rows: Sequence[Row]) -> list[Demonstration]:
    """Returns every prompt once with its references: the file's own, or the chosen responses where it has none."""
    found: dict[str, dict[str, None]] = {}
    for row in rows:
        found.setdefault(row.prompt, {})[row.reference or row.chosen or ""] = None
    return [Demonstration(prompt, tuple(references)) for prompt, references in found.items()]


def estimated_tokens(rows: Sequence[Demonstration]) -> tuple[float, float]:
    """Returns (prompt, response) tokens at four characters each, with BOS and EOS: a price before any tokenizer is loaded."""
    prompts, responses = [len(row.prompt) for row in rows], [len(text) for row in rows for text in row.responses]
    return fmean(prompts) / 4 + 1, fmean(responses) / 4 + 1
