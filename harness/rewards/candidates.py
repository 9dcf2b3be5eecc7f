"""Prompts with responses to be scored or ranked, read from a local file: a response a row, or a list of them."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from harness.data import files
from harness.errors import HarnessError
from harness.store.records import write_bytes

ONE, SEVERAL, PAIR = ("response", "completion"), ("responses", "completions", "candidates"), ("chosen", "rejected")


class Candidates(NamedTuple):
    """A prompt and the responses to it, in the order of the file."""

    prompt: str
    responses: tuple[str, ...]


def read(path: Path, limit: int | None = None) -> list[Candidates]:
    """The prompts of a file in order of appearance, each with all its responses; the first ``limit`` prompts.

    A row has a prompt, and one response, a list of them, or a chosen and a rejected one. HarnessError names the first row that has not.
    """
    found: dict[str, list[str]] = {}
    for number, record in enumerate(files.read(path).records, 1):
        prompt, responses = _row(record, f"row {number} of '{path}'")
        found.setdefault(prompt, []).extend(responses)
    return [Candidates(prompt, tuple(responses)) for prompt, responses in found.items()][:limit]


def _row(record: Any, where: str) -> tuple[str, list[str]]:
    columns = record if isinstance(record, Mapping) else {}
    prompt = columns.get("prompt")
    one = next((columns[name] for name in ONE if columns.get(name) is not None), None)
    several = next((columns[name] for name in SEVERAL if columns.get(name) is not None), None)
    given = [one] if one is not None else several
    if given is None and all(columns.get(name) is not None for name in PAIR):
        given = [columns[name] for name in PAIR]
    if not isinstance(prompt, str) or not prompt.strip():
        raise HarnessError(f"{where} has no prompt; expected a string under 'prompt'.")
    if not isinstance(given, list | tuple) or not given or not all(isinstance(each, str) for each in given):
        wanted = f"a string under {' or '.join(ONE)}, a list of strings under {', '.join(SEVERAL)}, or {' and '.join(PAIR)}"
        raise HarnessError(f"{where} has no response; expected {wanted}, found {', '.join(map(str, columns)) or 'no object'}.")
    return prompt, list(given)


def write(path: Path, rows: Iterable[Mapping[str, Any]]) -> None:
    """One JSON line per row, the file whole or not at all."""
    write_bytes(path, "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows).encode())
