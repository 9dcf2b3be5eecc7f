"""What ``--data`` says: one place that rows come from, or several with their shares, as a value and as the text of it.

``WHERE[@REVISION][#SPLIT][+FILTER][:SHARE]``, several of them with commas between. WHERE is a file, a folder, or a data set's id on the hub
(``owner/name``, or ``owner/name/folder`` for a folder of it). A text that is a path which exists is that path, whatever is in it.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from harness.data.conversations import turns_in
from harness.data.files import READERS, suffix_of
from harness.data.rows import Row
from harness.errors import HarnessError, near

ID = re.compile(r"[\w-][\w.-]*/[\w.-]+(/[\w./-]+)?")
SHARE = re.compile(r":(\d*\.?\d+)$")
COMMIT = re.compile(r"[0-9a-f]{40}")
FILTERS = ("single-turn", "unpaired", "threshold=N")
THRESHOLD = re.compile(r"threshold=(-?\d*\.?\d+)")


@dataclass(frozen=True)
class Place:
    """One place of rows. ``share`` is its part of a mixture, None where nobody gave one."""

    where: str
    revision: str = ""
    split: str = ""
    filters: tuple[str, ...] = ()
    share: float | None = None

    @property
    def on_hub(self) -> bool:
        """Whether this is an id on the hub: nothing of that name is here, and it does not look like a file or a path."""
        path = Path(self.where)
        local = self.where.startswith((".", "/", "~")) or suffix_of(path.name) in READERS
        return not path.exists() and not local and ID.fullmatch(self.where) is not None

    @property
    def repository(self) -> str:
        """The id on the hub, ``owner/name``, without the folder."""
        return "/".join(self.where.split("/")[:2])

    @property
    def folder(self) -> str:
        """The folder of the repository that is meant, '' for all of it."""
        return "/".join(self.where.split("/")[2:])

    @property
    def pinned(self) -> bool:
        """Whether the revision is a commit, which cannot move."""
        return COMMIT.fullmatch(self.revision) is not None

    @property
    def threshold(self) -> float | None:
        """The rating from which a response is desirable, where a filter says so: the last of several."""
        return next((float(found[1]) for each in reversed(self.filters) if (found := THRESHOLD.fullmatch(each))), None)

    @property
    def unpaired(self) -> bool:
        """Whether responses stay single, each with its label, where pairs could be made of them."""
        return "unpaired" in self.filters

    @property
    def name(self) -> str:
        """What results call it: the file's name, or the id, with the split where one is named."""
        base = self.where if self.on_hub else Path(self.where).name
        return f"{base}#{self.split}" if self.split else base

    def __str__(self) -> str:
        """The text that ``parse`` reads."""
        revision, split = f"@{self.revision}" * bool(self.revision), f"#{self.split}" * bool(self.split)
        share = "" if self.share is None else f":{self.share:g}"
        return f"{self.where}{revision}{split}{''.join(f'+{each}' for each in self.filters)}{share}"


def parse(text: str, *, split: str = "", revision: str = "") -> tuple[Place, ...]:
    """The places that a text names; ``split`` and ``revision`` hold for those that name none. HarnessError where shares make no sense."""
    if Path(text).exists():
        return (_completed(Place(text), split, revision),)
    found = tuple(_completed(_place(part), split, revision) for part in text.split(",") if part.strip())
    if not found:
        raise HarnessError("--data names nothing; a file, a folder or an id on the hub is wanted.")
    shares = [place.share for place in found if place.share is not None]
    if shares and len(shares) < len(found):
        raise HarnessError(f"--data {text!r}: every part of a mixture needs a share or none does, such as a.jsonl:.7,b.jsonl:.3.")
    if shares and not math.isclose(sum(shares), 1, abs_tol=1e-6):
        raise HarnessError(f"--data {text!r}: the shares add up to {sum(shares):g}, not to 1.")
    if len({str(replace(place, share=None)) for place in found}) < len(found):
        raise HarnessError(f"--data {text!r}: one part is named twice.")
    return found


def written(places: Iterable[Place]) -> str:
    """The text that names these places."""
    return ",".join(map(str, places))


def beside(folder: Path, text: str) -> str:
    """The places of an experiment file's text, relative paths in it relative to the file's folder; what only the hub can have stays."""
    if (folder / text).exists():
        return str(folder / text)
    found = parse(text)
    return written(replace(each, where=str(folder / each.where)) if _in(folder, each) else each for each in found)


def above(start: Path, text: str) -> str | None:
    """The places of a text as they are from here, or in the nearest folder at or above ``start`` that has all that is not here.

    None where no folder has, and it is not the hub's. A study holds what was typed where it was run, and is often read from elsewhere.
    """
    if Path(text).exists():
        return text
    for folder in (Path(), *(start.resolve(), *start.resolve().parents)):
        if (folder / text).exists():
            return str(folder / text)
        found = [replace(each, where=str(folder / each.where)) if _absent(each) else each for each in parse(text)]
        if not any(map(_absent, found)):
            return written(found)
    return text if all(each.on_hub for each in parse(text) if _absent(each)) else None


def _absent(place: Place) -> bool:
    """Whether a part is a path where nothing is; what has a revision is an id on the hub."""
    return not place.revision and not Path(place.where).expanduser().exists()


def _in(folder: Path, place: Place) -> bool:
    return "/" in place.where and not Path(place.where).is_absolute() and ((folder / place.where).exists() or not place.on_hub)


def _place(part: str) -> Place:
    part = part.strip()
    if Path(part).exists():
        return Place(part)
    share = SHARE.search(part)
    rest = SHARE.sub("", part)
    where, filters = _filters(rest)
    split = revision = ""
    if not Path(where).exists():
        where, _, split = where.partition("#")
    if not Path(where).exists():
        where, _, revision = where.partition("@")
    if share and not 0 < float(share[1]) <= 1:
        raise HarnessError(f"--data {part!r}: the share {share[1]} is not above 0 and at most 1.")
    return Place(where, revision, split, filters, float(share[1]) if share else None)


def _filters(text: str) -> tuple[str, tuple[str, ...]]:
    """Text without the filters at its end, and them; a plus sign before anything else is part of a path."""
    found: list[str] = []
    while "+" in text and not Path(text).exists():
        rest, _, word = text.rpartition("+")
        if word not in FILTERS[:2] and not THRESHOLD.fullmatch(word):
            if hint := near(word, FILTERS):
                raise HarnessError(f"--data: unknown filter {word!r}.{hint} Legal: {', '.join(FILTERS)}.")
            break
        text, found = rest, [word, *found]
    return text, tuple(found)


def _completed(place: Place, split: str, revision: str) -> Place:
    revision = place.revision or (revision if place.on_hub else "")
    if place.revision and not place.on_hub:
        raise HarnessError(f"--data {str(place)!r}: '{place.where}' is no id on the hub, so it has no revision.")
    return replace(place, split=place.split or split, revision=revision)


def kept_by(filters: Sequence[str], row: Row) -> bool:
    """Whether a row passes: ``single-turn`` keeps prompts in which the human speaks once; the others drop no row."""
    return "single-turn" not in filters or turns_in(row.prompt) == 1
