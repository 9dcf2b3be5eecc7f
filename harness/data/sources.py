"""Preference data from wherever they are, read into typed rows with a count of what was dropped and why.

A source is a local file or folder or a data set on the hub, or a mixture of several (``places``); its records (``files``) are in one of
the field's layouts (``layouts``), told apart by their columns. Judged summaries (Huang 2024, "The N+ implementation details") and prompts
with a chosen and a rejected response are two of them.
Texts come out without outer white space at the join: prompt and response are joined by one space, whatever the file had.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from statistics import fmean
from typing import Any, NamedTuple

from harness.data import files, hub, layouts, ratings, splits
from harness.data.adapters import Adapter, adapter_of
from harness.data.mixtures import Part, Source, after, distinct_names, mixed
from harness.data.places import Place, kept_by, parse
from harness.data.rows import Rated, Row
from harness.errors import HarnessError
from harness.types import NO_RESPONSE, Demonstration, Pair, Response

__all__ = ["Part", "Row", "Source", "by_split", "demonstrations", "estimated_tokens", "pairs", "read_alike", "read_rows"]

SPLITS = (("judge", 0.33), ("tuner", 0.45), ("train", 0.75), ("tuning", 0.78), ("evaluation", 1.0))
"""Upper bounds of a file's splits by the hash of the prompt; an unjudged row of a judge's share goes to train.

``judge`` fits the judge of the evaluation, ``tuner`` the one that settings are chosen by.
"""


def read_rows(source: str | Path, *, limit: int | None = None) -> Source:
    """Returns the rows of a source, of each part the first ``limit`` read; its hash is that of its files and of what filters them.

    Raises HarnessError where a part is missing, empty, malformed or of unknown columns.
    """
    (found,) = read_alike([source], limit=limit)
    return found


def read_alike(given: Sequence[str | Path], *, limit: int | None = None) -> list[Source]:
    """Returns several sources that are read as one kind of data, as ``read_rows`` reads one.

    All are pairs, and labels of single responses beside them are references; or, where nothing in any of them can be compared or a part
    of one is asked for unpaired, all are labels of single responses.
    """
    told = [[_told(place, limit) for place in parse(str(source))] for source in given]
    every = [each for parts in told for each in parts]
    single = any(each.place.unpaired for each in every) or _only_single([each.said for each in every])
    return [_source(parts, single=single) for parts in told]


def _source(told: Sequence[_Told], *, single: bool) -> Source:
    places = [each.place for each in told]
    found = [_part(part, single=single) for part in told]
    if len(found) == 1:
        return Source(found[0][0], (found[0][1],), _filtered(found[0][1], places[0]))
    named = distinct_names([part for _, part in found])
    rows = mixed([tuple(replace(row, source=part.name) for row in rows) for (rows, _), part in zip(found, named, strict=True)], places)
    parts = tuple(after(part, kept) for part, kept in zip(named, rows, strict=True))
    digest = hashlib.sha256(
        "".join(f"{_filtered(part, place)}:{place.share}\n" for part, place in zip(parts, places, strict=True)).encode()
    )
    return Source(tuple(row for part in rows for row in part[0]), parts, digest.hexdigest())


def read_records(source: str | Path, *, limit: int | None = None) -> list[tuple[Place, files.Read]]:
    """Returns the records of every part of a source as its files have them, for who reads other things in them than preferences."""
    return [_read(place, adapter_of(place.repository) if place.on_hub else None, limit) for place in parse(str(source))]


def _filtered(part: Part, place: Place) -> str:
    """The hash of a part's files; with filters, which leave other rows of them, another one."""
    return hashlib.sha256("+".join((part.sha256, *place.filters)).encode()).hexdigest() if place.filters else part.sha256


class _Told(NamedTuple):
    """What the records of one place say, before it is rows: those that were converted, and the others by reason."""

    place: Place
    known: Adapter | None
    read: files.Read
    said: list[Row | Rated]
    dropped: Counter[str]


def _told(place: Place, limit: int | None) -> _Told:
    known = adapter_of(place.repository) if place.on_hub else None
    place, read = _read(place, known, limit)
    dropped: Counter[str] = Counter()
    said = list(_converted(read.parts, known, dropped))
    if place.threshold is not None:
        said = [_labelled(each, place.threshold) if isinstance(each, Rated) else each for each in said]
    if place.unpaired and any(isinstance(each, Rated) and each.rating is not None for each in said):
        raise HarnessError(f"--data {str(place)!r}: responses are rated; say from which rating one is desirable, such as +threshold=4.")
    return _Told(place, known, read, said, dropped)


def _labelled(rated: Rated, threshold: float) -> Rated:
    return replace(ratings.by_threshold([rated], threshold)[0], rating=None)


def _only_single(parts: Sequence[Sequence[Row | Rated]]) -> bool:
    """Whether single responses were given both labels, and no two responses of one part to one prompt can be compared."""
    verdicts = {each.desirable for said in parts for each in said if isinstance(each, Rated)}
    return {True, False} <= verdicts and not any(map(_comparable, parts))


def _comparable(said: Sequence[Row | Rated]) -> bool:
    rows = [each for each in said if isinstance(each, Row)]
    return any(row.judged for row in [*rows, *ratings.compared([each for each in said if isinstance(each, Rated)], Counter())])


def _part(told: _Told, *, single: bool) -> tuple[tuple[Row, ...], Part]:
    """The rows of one place, and what is to be said of it; ``single`` says that every label stays one of a single response."""
    place, known, read, _, dropped = told
    given, rated = [each for each in told.said if isinstance(each, Row)], [each for each in told.said if isinstance(each, Rated)]
    if single:
        references = dict.fromkeys(Row(row.prompt, reference=row.reference) for row in given if row.reference)
        candidates = [*references, *ratings.single([*ratings.unpaired(given), *rated], dropped)]
    else:
        candidates = given + ratings.compared(rated, dropped)
    rows = tuple(row for row in _kept(candidates, dropped) if _passes(place, row, dropped))
    layout = layouts.of(layouts.typical(read.parts[0][1]), read.parts[0][0]) if known is None else known.layout
    verdicts = frozenset(each.desirable for each in rated if each.desirable is not None)
    if len(verdicts) == 1:
        layout += f", every label {'desirable' if True in verdicts else 'undesirable'}"
    judged = sum(row.judged for row in rows)
    where, licence = str(replace(place, share=None)), known.licence if known else ""
    return rows, Part(place.name, where, layout, licence, len(read.records), len(rows), judged, dropped, read.sha256, single, verdicts)


def _read(place: Place, known: Adapter | None, limit: int | None) -> tuple[Place, files.Read]:
    """The records of one place, and the place with its commit and split."""
    if not place.on_hub:
        read = files.read(Path(place.where).expanduser(), split=place.split, limit=limit)
        return replace(place, split=read.split), read
    place = replace(place, revision=hub.commit_of(place.repository, place.revision or (known.revision if known else "")))
    within = (place.folder,) if place.folder else (known.folders if known else ())
    folder, split = hub.split_folder(place.repository, place.revision, place.split or (known.split if known else ""), within)
    read = files.read(folder, split=split, within=within, limit=limit)
    return replace(place, split=read.split), read


def _converted(parts: Sequence[tuple[str, list[Any]]], known: Adapter | None, dropped: Counter[str]) -> Iterator[Row | Rated]:
    """Yields what the records say, file by file, each in the layout of its own first record; the rest is counted by reason."""
    for file, records in parts:
        where, first = f"the data file '{file}'", layouts.typical(records)
        layout = layouts.LAYOUTS[layouts.of(first, where) if known is None else _expected(known, first, where)]
        for number, record in enumerate(records, 1):
            found = _convert(layout, record, f"row {number} of {where}")
            if isinstance(found, str):
                dropped[found] += 1
            else:
                yield from found if isinstance(found, list) else [found]


def _expected(known: Adapter, record: Any, where: str) -> str:
    """The adapter's layout; HarnessError where the data set no longer has its columns."""
    found = layouts.of(record, where)
    if found != known.layout:
        raise HarnessError(f"{where} is in the layout '{found}', and {known.repository} was '{known.layout}' at {known.revision}.")
    return found


def _convert(layout: layouts.Layout, record: Any, where: str) -> layouts.Found:
    if not isinstance(record, Mapping):
        kind = "null" if record is None else f"a {type(record).__name__}"
        raise HarnessError(f"{where} is {kind}; expected an object with {', '.join(layout.columns)}")
    try:
        return layout.convert(record)
    except HarnessError as error:
        raise HarnessError(f"{where} {error}") from None
    except KeyError as error:
        raise HarnessError(f"{where} has no {error}; expected {', '.join(layout.columns)}") from None


def _kept(rows: Iterable[Row], dropped: Counter[str]) -> Iterator[Row]:
    """Yields the usable rows, counting the others by reason."""
    seen: set[Row] = set()
    for row in rows:
        if reason := _fault(row, seen):
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


def _passes(place: Place, row: Row, dropped: Counter[str]) -> bool:
    passed = kept_by(place.filters, row)
    dropped[f"not {', '.join(place.filters)}"] += not passed
    return passed


def by_split(rows: Sequence[Row]) -> dict[str, list[Row]]:
    """Returns the rows by split, disjoint by prompt, each in the order of its prompts' hashes, whatever the file's order was."""
    parts: dict[str, list[Row]] = {name: [] for name, _ in SPLITS}
    judged = {row.prompt for row in rows if row.judged}
    for row in sorted(rows, key=lambda row: splits.share_of(row.prompt)):
        name = splits.split_of(row.prompt, SPLITS)
        parts["train" if name in ("judge", "tuner") and row.prompt not in judged else name].append(row)
    refuse_one_label(parts)
    return parts


def refuse_one_label(parts: Mapping[str, Sequence[Row]]) -> None:
    """Raises HarnessError where labels of single responses leave a split without those that it is for."""
    alone = {name: [row for row in part if row.single] for name, part in parts.items() if not any(map(_compared, part))}
    every = [row for part in alone.values() for row in part]
    for what, desirable in (("desirable", True), ("undesirable", False)):
        if every and not any((row.chosen is not None) is desirable for row in every):
            raise HarnessError(
                f"none of {len(every)} labelled responses is {what}; responses that were labelled one by one need both labels."
            )
        for name in ("train", "judge", "evaluation"):
            found = alone.get(name, ())
            if found and not any((row.chosen is not None) is desirable for row in found):
                said = f"none of the {len(found)} labelled responses of the split '{name}' is {what}"
                raise HarnessError(f"too few labelled responses: {said}; splits go by the hash of the prompt.")


def _compared(row: Row) -> bool:
    return row.judged and not row.single


def pairs(rows: Sequence[Row]) -> list[Pair]:
    """Returns the rows in which two responses were compared as pairs; where none were, each single labelled response as half of one."""
    compared = [
        Pair(row.prompt, Response(row.chosen), Response(row.rejected), agreement=row.agreement, margin=row.margin)
        for row in rows
        if row.chosen and row.rejected
    ]
    return compared or [_half(row) for row in rows if row.single]


def _half(row: Row) -> Pair:
    if row.chosen:
        return Pair(row.prompt, Response(row.chosen), NO_RESPONSE)
    return Pair(row.prompt, NO_RESPONSE, Response(row.rejected or ""))


def demonstrations(rows: Sequence[Row]) -> list[Demonstration]:
    """Returns every prompt once with its references: the file's own, or the chosen responses where it has none.

    A prompt to which only undesirable responses are known has none, and is left out.
    """
    found: dict[str, dict[str, None]] = {}
    origins: dict[str, str] = {}
    for row in rows:
        if row.single and not row.chosen:
            continue
        found.setdefault(row.prompt, {})[row.reference or row.chosen or ""] = None
        origins.setdefault(row.prompt, row.source)
    return [Demonstration(prompt, tuple(references), origins[prompt]) for prompt, references in found.items()]


def estimated_tokens(rows: Sequence[Demonstration]) -> tuple[float, float]:
    """Returns (prompt, response) tokens at four characters each, with BOS and EOS: a price before any tokenizer is loaded."""
    prompts, responses = [len(row.prompt) for row in rows], [len(text) for row in rows for text in row.responses]
    return fmean(prompts) / 4 + 1, fmean(responses) / 4 + 1
