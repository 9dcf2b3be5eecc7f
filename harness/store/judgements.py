"""What judges and detectors said later of stored samples, beside the records and never in them.

``judgements/<key>.jsonl.gz`` in a run's folder has a row for every prompt, ``<key>.json`` beside it says whose rows they are and of which
samples; it is written last. A run that is done again has other samples, and judgements of the old ones are not read. Single answers of a
judge that is asked over a network are kept for a whole study, in ``judgements/<key>.jsonl``, as they come, with what each cost in tokens.
"""

from __future__ import annotations

import fcntl
import gzip
import hashlib
import json
import zlib
from collections.abc import Iterator, Mapping, MutableMapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import NamedTuple

from harness.errors import HarnessError
from harness.store.files import compressed, line, write_bytes, write_json
from harness.store.records import SAMPLES, SCHEMA, Row

FOLDER = "judgements"


class Answer(NamedTuple):
    """What a judge answered to one question: 1, 0 or 1/2 for the first response, None where its words held no verdict.

    ``read`` and ``written`` are its tokens as it counted them itself, None where it did not; ``said`` are its words, shortened.
    """

    value: float | None
    read: int | None = None
    written: int | None = None
    said: str = ""


class Judgement(NamedTuple):
    """What one judge or detector said of one run: ``facts`` of who and how, and rows with their ``prompt_id``."""

    key: str
    facts: Row
    rows: list[Row]


def write(folder: Path, key: str, facts: Mapping[str, object], rows: Sequence[Mapping[str, object]]) -> None:
    """Write a judgement of the samples that are in a run's folder now, in place of an earlier one of the same key."""
    place = folder / FOLDER
    (place / f"{key}.json").unlink(missing_ok=True)  # no facts may stand beside rows that they are not of
    write_bytes(place / f"{key}.jsonl.gz", compressed("".join(line(row) + "\n" for row in rows)))
    write_json(place / f"{key}.json", {**facts, "schema": SCHEMA, "samples": samples_of(folder)})


def read(folder: Path) -> dict[str, Judgement]:
    """Every judgement of the samples that are in a run's folder, by key; what cannot be read or is of other samples is not there."""
    place = folder / FOLDER
    if not place.is_dir():
        return {}
    current = samples_of(folder)
    found = [_read(place, file.stem, current) for file in sorted(place.glob("*.json"))]
    return {each.key: each for each in found if each is not None}


def _read(place: Path, key: str, current: str) -> Judgement | None:
    try:
        facts = json.loads((place / f"{key}.json").read_text(encoding="utf-8"))
        if facts["schema"] != SCHEMA or facts["samples"] != current:
            return None
        rows = [json.loads(each) for each in gzip.decompress((place / f"{key}.jsonl.gz").read_bytes()).decode().splitlines()]
    except (OSError, EOFError, zlib.error, ValueError, KeyError, TypeError):
        return None
    return Judgement(key, facts, rows) if all(isinstance(row, dict) and isinstance(row.get("prompt_id"), int) for row in rows) else None


def samples_of(folder: Path) -> str:
    """sha256 of a run's samples, by which a judgement knows what it is of."""
    return hashlib.sha256((folder / SAMPLES).read_bytes()).hexdigest()


def answered(study: Path, key: str) -> dict[str, Answer]:
    """The answers of a judge that are kept in a study, by question; a torn last line and what is no answer are passed over."""
    path = study / FOLDER / f"{key}.jsonl"
    return dict(_answers(path.read_bytes())) if path.exists() else {}


def _answers(content: bytes) -> Iterator[tuple[str, Answer]]:
    for text in content.split(b"\n")[:-1]:
        try:
            row = json.loads(text)
            value = row["answer"]
            yield str(row["question"]), Answer(None if value is None else float(value), *_counted(row), str(row.get("said", "")))
        except (ValueError, KeyError, TypeError):
            continue


def _counted(row: Row) -> tuple[int | None, int | None]:
    read, written = row.get("read"), row.get("written")
    return None if read is None else int(read), None if written is None else int(written)


class Answers(MutableMapping[str, Answer]):
    """The answers of a judge in a study as a mapping; a new one is on disk when its assignment returns. Used as a context.

    One process at a time: HarnessError where another is judging the same study with the same judge.
    """

    def __init__(self, study: Path, key: str) -> None:
        """Open the file of ``answered``, made if absent, and cut a torn last line off."""
        path = study / FOLDER / f"{key}.jsonl"
        path.parent.mkdir(parents=True, exist_ok=True)
        self._stream = path.open("ab+")
        try:
            fcntl.flock(self._stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            self._stream.close()
            raise HarnessError(f"{study.name} is being judged by {key} in another process; wait for it.") from error
        content = path.read_bytes()
        self._stream.truncate(content.rfind(b"\n") + 1)
        self._known = dict(_answers(content))

    def __enter__(self) -> Answers:
        """The answers themselves."""
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        """Close the file."""
        self._stream.close()

    def __setitem__(self, question: str, answer: Answer) -> None:
        row = {"question": question, "answer": answer.value, "read": answer.read, "written": answer.written, "said": answer.said}
        self._stream.write(line(row).encode() + b"\n")
        self._stream.flush()
        self._known[question] = answer

    def __getitem__(self, question: str) -> Answer:
        return self._known[question]

    def __delitem__(self, question: str) -> None:
        raise TypeError("answers are only added")

    def __iter__(self) -> Iterator[str]:
        return iter(self._known)

    def __len__(self) -> int:
        return len(self._known)
