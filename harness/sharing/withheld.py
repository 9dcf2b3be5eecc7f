"""Samples without their texts: for records of data that may not be given away. Numbers, categories and which texts are equal stay."""

from __future__ import annotations

import gzip
import hashlib
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from harness.store import lines
from harness.store.files import line

TEXTS = ("prompt", "response", "reference_response", "sft_response")
DIGITS = 8  # hex digits of a text's hash: enough to tell a study's texts apart
NOTE = re.compile(rf"\[text withheld: [0-9a-f]{{{DIGITS}}}\]")


def withheld(path: Path, content: bytes) -> bytes:
    """A file of sample rows, compressed, with every text replaced by a note and its hash; HarnessError where it cannot be read."""
    rows = lines.rows(path, gzip.decompress(content))
    return gzip.compress("".join(f"{line(_without(row))}\n" for row in rows).encode(), mtime=0)


def is_note(text: object) -> bool:
    """Whether a text is such a note in place of one."""
    return isinstance(text, str) and NOTE.fullmatch(text) is not None


def _without(row: Mapping[str, Any]) -> dict[str, Any]:
    return {**row, **{name: _note(row[name]) for name in TEXTS if isinstance(row.get(name), str)}}


def _note(text: str) -> str:
    return f"[text withheld: {hashlib.sha256(text.encode()).hexdigest()[:DIGITS]}]"
