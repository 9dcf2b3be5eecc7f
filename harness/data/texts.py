"""Texts of one piece: in folders of classes or a zip file of them (``pos/*.txt``, ``neg/*.txt``), and what opens them."""

from __future__ import annotations

import hashlib
import zipfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

CLASSES: Mapping[str, int] = {"pos": 1, "positive": 1, "neg": 0, "negative": 0}
OPENING = (2, 8)  # words of a text that are its prompt, by its hash: Rafailov et al. 2023 (arXiv 2305.18290) give 2 to 8 tokens


def found_in(folder: Path) -> list[Path]:
    """The text files below a folder that are in folders of classes, in order of name."""
    return sorted(file for name in CLASSES for file in folder.rglob(f"{name}/*.txt"))


def of_folder(folder: Path) -> Iterator[Mapping[str, Any]]:
    """A record (text, label) for each of them; label 1 is positive."""
    for file in found_in(folder):
        yield {"text": file.read_text(encoding="utf-8-sig"), "label": CLASSES[file.parent.name]}


def of_zip(file: Path) -> Iterator[Mapping[str, Any]]:
    """The same of a zip file."""
    with zipfile.ZipFile(file) as archive:
        for name in sorted(archive.namelist()):
            place = Path(name)
            if place.suffix == ".txt" and place.parent.name in CLASSES:
                yield {"text": archive.read(name).decode("utf-8-sig"), "label": CLASSES[place.parent.name]}


def opening(whole: str) -> tuple[str, str]:
    """(prompt, rest) of a text: its first 2 to 8 words, how many by its hash, so that no order of rows changes it."""
    low, high = OPENING
    words = whole.split()
    count = low + hashlib.sha256(whole.encode()).digest()[0] % (high - low + 1)
    return " ".join(words[:count]), " ".join(words[count:])
