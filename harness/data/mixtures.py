"""A source in its parts, and what a mixture takes of each: shares, rows that two parts have in common, names that tell parts apart."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from harness.data import splits
from harness.data.places import Place
from harness.data.rows import Row

ELSEWHERE = "duplicate of a row in another part"
SURPLUS = "left out for the shares"


@dataclass(frozen=True)
class Part:
    """One place of a source: what it is called, where it is with revision and split, its layout, licence, and its rows in numbers.

    ``single`` says that responses were labelled one by one, and not compared; ``verdicts`` are the labels that single responses have.
    """

    name: str
    place: str
    layout: str
    licence: str
    read: int
    kept: int
    judged: int
    dropped: Mapping[str, int]
    sha256: str
    single: bool = False
    verdicts: frozenset[bool] = frozenset()

    def counts(self) -> str:
        """Returns a line for the report: rows read, kept, and dropped by reason."""
        reasons = "".join(f", {n} dropped: {reason}" for reason, n in sorted(self.dropped.items()) if n)
        alone = " one by one, each counted where pairs are" if self.single else ""
        return f"{self.read} rows read ({self.layout}), {self.kept} kept, {self.judged} of them judged{alone}{reasons}"


@dataclass(frozen=True)
class Source:
    """The rows of a data set or mixture, part by part and in their order. ``sha256`` is of the bytes of all of it and of the shares."""

    rows: tuple[Row, ...]
    parts: tuple[Part, ...]
    sha256: str

    @property
    def name(self) -> str:
        """What results call it."""
        return " and ".join(part.name for part in self.parts)

    @property
    def layout(self) -> str:
        """The layout of its rows; of a mixture all of its parts'."""
        return " and ".join(dict.fromkeys(part.layout for part in self.parts))

    @property
    def read(self) -> int:
        """How many records were read."""
        return sum(part.read for part in self.parts)

    @property
    def dropped(self) -> dict[str, int]:
        """How many were left out, by reason."""
        return dict(sum((Counter(part.dropped) for part in self.parts), Counter()))

    def provenance(self) -> tuple[str, ...]:
        """Returns a line for each part that is a public data set: where it is, at which commit, and its licence."""
        return tuple(f"{part.name} is {part.place}; licence: {part.licence}" for part in self.parts if part.licence)

    def counts(self) -> str:
        """Returns a line for the report: rows read, kept, and dropped by reason, of each part."""
        if len(self.parts) == 1:
            return self.parts[0].counts()
        return "; ".join(f"{part.name}: {part.counts()}" for part in self.parts)


def lacking(parts: Sequence[Part]) -> str:
    """What to say where these parts made too few pairs, of labels of single responses in them; '' where there is nothing to say."""
    found = frozenset[bool]().union(*(part.verdicts for part in parts))
    if not found or any(part.single for part in parts):
        return ""
    if len(found) == 1:
        said = "desirable" if True in found else "undesirable"
        return f"labels of single responses are needed of both kinds, and every one of these is {said}"
    return "responses are labelled one by one here, and +unpaired behind --data keeps each with its label"


def distinct_names(parts: Sequence[Part]) -> list[Part]:
    """The parts with names that tell them apart: where two files are called the same, their paths."""
    often = Counter(part.name for part in parts)
    return [part if often[part.name] == 1 else replace(part, name=part.place) for part in parts]


def mixed(parts: Sequence[tuple[Row, ...]], places: Sequence[Place]) -> list[tuple[tuple[Row, ...], Counter[str]]]:
    """The rows of each part that the mixture takes, and what it leaves out by reason.

    A row that an earlier part has is left out. With shares the mixture is as large as the scarcest part allows without repeating a row;
    which rows of the others are taken is decided by the hash of their prompts, so every run takes the same.
    """
    seen: set[Row] = set()
    kept: list[tuple[tuple[Row, ...], Counter[str]]] = []
    for rows in parts:
        fresh = tuple(row for row in rows if replace(row, source="") not in seen)
        seen |= {replace(row, source="") for row in fresh}
        kept.append((fresh, Counter({ELSEWHERE: len(rows) - len(fresh)})))
    if places[0].share is None:
        return kept
    total = min(len(rows) / (place.share or 1.0) for (rows, _), place in zip(kept, places, strict=True))
    wanted = [int(total * (place.share or 1.0) + 1e-9) for place in places]
    return [(_sample(rows, n), dropped + Counter({SURPLUS: len(rows) - n})) for (rows, dropped), n in zip(kept, wanted, strict=True)]


def _sample(rows: tuple[Row, ...], n: int) -> tuple[Row, ...]:
    """``n`` of the rows in their own order: those whose prompts, salted, hash lowest, so that the choice has nothing to do with splits."""
    chosen = sorted(range(len(rows)), key=lambda i: (splits.share_of(f"mixture\n{rows[i].prompt}"), i))[:n]
    return tuple(rows[i] for i in sorted(chosen))


def after(part: Part, kept: tuple[tuple[Row, ...], Counter[str]]) -> Part:
    """The part with its rows in numbers as the mixture has them."""
    rows, dropped = kept
    judged = sum(row.judged for row in rows)
    return replace(part, kept=len(rows), judged=judged, dropped=Counter(part.dropped) + dropped)
