"""Hub ids pinned to commits: what a lock file says, else what the revision is now, so that a grid reads the same rows to its end."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from harness.data.adapters import adapter_of
from harness.data.places import Place, parse, written
from harness.data.suites.reading import parse as parse_suite
from harness.data.suites.reading import parts_of
from harness.errors import HarnessError

VERSION = 1


def pinned(data: str, *, split: str = "", revision: str = "", lock: Path | None = None) -> str:
    """``data`` with its split and revision in it, and a commit in the place of every revision of the hub; local paths as they are."""
    found = parse(data, split=split, revision=revision)
    if all(not place.on_hub for place in found) and not split:
        return data
    return written(_pinned(place, lock) for place in found)


def _pinned(place: Place, lock: Path | None) -> Place:
    if not place.on_hub or place.pinned:
        return place
    known = adapter_of(place.repository)
    asked = place.revision or (known.revision if known else "main")
    locked = read(lock).get(key("dataset", place.repository, asked)) if lock is not None and lock.is_file() else None
    if locked is not None:
        return replace(place, revision=str(locked["commit"]))
    from harness.data.hub import commit_of

    return replace(place, revision=commit_of(place.repository, asked))


def pinned_suites(words: Sequence[Any], lock: Path) -> list[Any]:
    """Words of safety suites with the commit that the lock file has of each; others as they are."""
    entries = read(lock)
    return [_pinned_suite(word, entries) if isinstance(word, str) else word for word in words]


def _pinned_suite(text: str, entries: Mapping[str, Any]) -> str:
    word = parse_suite(text)
    known = [entries.get(key("dataset", part.id, word.revision or part.revision)) for part in parts_of(word)]
    commits = {str(entry["commit"]) for entry in known if entry is not None}
    if len(commits) != 1 or None in known:
        return text
    return f"{text.strip().partition('@')[0]}@{commits.pop()}"


def lock_of(experiment: Path) -> Path:
    """Where the lock file of an experiment file is: beside it."""
    return experiment.with_suffix(".lock.json")


def key(kind: str, repository: str, revision: str) -> str:
    """What an entry of a lock file is known by."""
    return f"{kind} {repository}@{revision or 'main'}"


def read(lock: Path) -> Mapping[str, Any]:
    """The entries of a lock file; HarnessError where it is none that is understood."""
    try:
        found = json.loads(lock.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise HarnessError(f"{lock}: cannot be read: {error}.") from error
    if not isinstance(found, dict) or found.get("version") != VERSION or not isinstance(found.get("entries"), dict):
        raise HarnessError(f"{lock}: is no lock file of version {VERSION}; 'harness fetch' writes one anew.")
    entries: Mapping[str, Any] = found["entries"]
    return entries
