"""The rows of a safety suite: from the file that comes with it, a local file or folder in the published layout, or the hub."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from harness.data import files
from harness.data.suites.declared import ENDING, Declared, Hub, Layout, declared
from harness.errors import HarnessError, near

WORD = re.compile(r"(?P<name>[^#:@]+)(?:#(?P<half>[^:@]*))?(?::(?P<place>.+)|@(?P<revision>[0-9A-Za-z._/-]+))?")
COMMIT = re.compile(r"[0-9a-f]{40}")


class Word(NamedTuple):
    """What was asked for: ``NAME[#HALF]``, ``NAME[#HALF]:FILE`` or ``NAME[#HALF]@REVISION``; empty where nothing was said."""

    suite: Declared
    half: str
    place: str
    revision: str


class Row(NamedTuple):
    """A prompt, what it is about and which half of its suite it is in."""

    prompt: str
    category: str
    half: str


class Rows(NamedTuple):
    """Usable rows in the order of their source, how many were read, those dropped by reason, and the commit that they are of."""

    rows: Sequence[Row]
    read: int
    dropped: Counter[str]
    revision: str = ""


def parse(text: str) -> Word:
    """A word of ``safety_suites`` as a value; HarnessError for a form, a suite or a half that does not exist."""
    found = WORD.fullmatch(text.strip())
    if found is None:
        raise HarnessError(f"safety suite {text!r} is not NAME, NAME:FILE or NAME@REVISION; an example: xstest:xstest_prompts.csv.")
    suite, half = declared(found["name"]), found["half"] or ""
    if half and half not in suite.halves:
        raise HarnessError(f"safety suite {suite.name} has no half {half!r}.{near(half, suite.halves)} It has: {', '.join(suite.halves)}.")
    return Word(suite, half, found["place"] or "", found["revision"] or "")


def beside(file: Path, text: str) -> str:
    """A word of a file of its own, its relative path made relative to that file; a plain name stays."""
    head, colon, place = text.partition(":")
    named = place if colon else head
    if not ("/" in named and (colon or named.endswith(ENDING))) or Path(named).is_absolute() or "@" in head:
        return text
    return f"{head}:{file.parent / place}" if colon else str(file.parent / head)


def parts_of(word: Word) -> tuple[Hub, ...]:
    """Where on the hub the rows of a word are; nothing where they come from a file."""
    suite = word.suite
    if word.place or (suite.file and not word.revision):
        return ()
    return tuple(each for each in suite.hub if each.half in ("", word.half) or not word.half)


def rows_of(word: Word) -> Rows:
    """The rows that a word means; HarnessError in one line where there are none or they cannot be had."""
    suite = word.suite
    if word.place or (suite.file and not word.revision):
        place = Path(word.place) if word.place else suite.place / suite.file
        found = _folder(suite, place, word.half) if place.is_dir() else _of_file(suite, place, word.half)
    else:
        found = _hub(word)
    if word.half:
        found = found._replace(rows=[row for row in found.rows if row.half == word.half])
    if not found.rows:
        reasons = ", ".join(f"{count} dropped: {reason}" for reason, count in sorted(found.dropped.items()))
        raise HarnessError(f"safety suite {suite.name}: no usable prompt in {found.read} rows{f' ({reasons})' if reasons else ''}.")
    return found


def _folder(suite: Declared, folder: Path, half: str) -> Rows:
    """The published files of a folder, one for each half."""
    there = {each: folder / name for each, name in suite.files.items() if (folder / name).is_file() and half in ("", each)}
    if not there:
        wanted = ", ".join(suite.files.values()) or "a file, not a folder"
        raise HarnessError(f"safety suite {suite.name}: '{folder}' is a folder without its files; wanted: {wanted}.")
    return _together(_of_file(suite, path, each) for each, path in there.items())


def _of_file(suite: Declared, path: Path, half: str) -> Rows:
    return _of_records(suite, str(path), files.read(Path(path)).records, half)


def _together(parts: Iterable[Rows]) -> Rows:
    """Several sources as one."""
    found = list(parts)
    dropped = sum((part.dropped for part in found), Counter[str]())
    commits = dict.fromkeys(part.revision for part in found if part.revision)
    return Rows([row for part in found for row in part.rows], sum(part.read for part in found), dropped, " ".join(commits))


def _hub(word: Word) -> Rows:
    """A suite from the hub, at the revision asked for, else the declared one."""
    suite, wanted = word.suite, parts_of(word)
    if not wanted:
        raise HarnessError(f"safety suite {suite.name} is not on the hub; name its file: {suite.name}:FILE.")
    return _together(_downloaded(suite, each, word) for each in wanted)


def _downloaded(suite: Declared, hub: Hub, word: Word) -> Rows:
    """One part of a suite from the hub or its cache. ``datasets`` runs no code of it."""
    from datasets import load_dataset

    try:
        loaded = load_dataset(hub.id, hub.config or None, split=hub.split, revision=word.revision or hub.revision or None)
    except Exception as error:  # whatever a network, a gate and a parser raise: one line, with the way round
        said = (str(error).splitlines() or [type(error).__name__])[0].rstrip(".")
        way = (
            f"Run 'harness fetch' where there is a network, or put its file on this machine and name it, {suite.name}:FILE, "
            f"with the columns {_columns(_layouts(suite))}"
        )
        raise HarnessError(f"safety suite {suite.name}: {hub.id} cannot be had from the hub: {said}. {way}.") from error
    found = _of_records(suite, hub.id, [dict(row) for row in loaded], hub.half or word.half, hub=True)
    return found._replace(revision=_commit(loaded) or word.revision or hub.revision)


def _commit(loaded: Any) -> str:
    """The commit that a data set is of, as its cache names it; empty where it does not."""
    named = [*(loaded.info.download_checksums or {}), *(str(each.get("filename", "")) for each in loaded.cache_files)]
    return next((found[0] for text in named if (found := COMMIT.search(text))), "")


def _of_records(suite: Declared, place: str, records: Sequence[Any], half: str, *, hub: bool = False) -> Rows:
    """Records as rows, the unusable ones counted by reason."""
    if not records:
        raise HarnessError(f"safety suite {suite.name}: '{place}' holds no rows.")
    layout = _layout(suite, place, records[0], _layouts(suite, hub=hub))
    own = half or _only(suite, layout, place)
    dropped: Counter[str] = Counter()
    return Rows(list(_usable(layout, records, own, dropped)), len(records), dropped)


def _only(suite: Declared, layout: Layout, place: str) -> str:
    """The half that every row is in where no column says it: the file's by its published name, or the only one there is."""
    if layout.label:
        return ""
    named = [half for half, name in suite.files.items() if Path(place).name == name] or suite.halves
    if len(named) == 1:
        return str(named[0])
    ways = " or ".join(f"{suite.name}#{half}:FILE" for half in suite.halves)
    raise HarnessError(f"safety suite {suite.name}: no column of '{place}' says which half it is; name it: {ways}.")


def _layouts(suite: Declared, *, hub: bool = False) -> list[Layout]:
    return [layout for layout in suite.layout if hub or not layout.hub]


def _columns(layouts: Sequence[Layout]) -> str:
    return " or ".join(f"({', '.join(layout.columns)})" for layout in layouts)


def _layout(suite: Declared, place: str, record: Any, layouts: Sequence[Layout]) -> Layout:
    """The first layout whose columns are all there."""
    found = sorted(map(str, filter(None, record))) if isinstance(record, Mapping) else []
    for layout in layouts:
        if all(_at(record, column) is not None or column in found for column in layout.columns):
            return layout
    missing = next(column for column in layouts[0].columns if column not in found)
    said = f"safety suite {suite.name}: '{place}' has the columns ({', '.join(found)}); expected {_columns(layouts)}"
    raise HarnessError(f"{said}.{near(missing, found)}")


def _usable(layout: Layout, records: Iterable[Any], half: str, dropped: Counter[str]) -> Iterator[Row]:
    for record in records:
        row = _row(layout, record, half)
        if isinstance(row, str):
            dropped[row] += 1
        else:
            yield row


def _row(layout: Layout, record: Any, half: str) -> Row | str:
    """A record as a row, or the reason for dropping it."""
    prompt = _at(record, layout.prompt)
    if not isinstance(prompt, str) or not prompt.strip():
        return "empty prompt"
    for column, values in layout.keep.items():
        if (value := _plain(_at(record, column))) not in map(str.lower, values):
            return f"{column} is {value or 'empty'}"
    if layout.label and not (found := _half_of(layout, _plain(_at(record, layout.label)))):
        return f"unknown {layout.label}"
    context = _at(record, layout.context) if layout.context else None
    text = f"{context.strip()}\n\n{prompt.strip()}" if isinstance(context, str) and context.strip() else prompt.strip()
    return Row(text, str(_at(record, layout.category) or "").strip() if layout.category else "", found if layout.label else half)


def _half_of(layout: Layout, value: str) -> str:
    if value in map(str.lower, layout.harmful):
        return "harmful"
    return "benign" if value in map(str.lower, layout.benign) else ""


def _at(record: Any, column: str) -> Any:
    """The value in a column, dotted where nested; None where it is absent."""
    for part in column.split("."):
        record = record.get(part) if isinstance(record, Mapping) else None
    return record


def _plain(value: Any) -> str:
    return "" if value is None else str(value).strip().lower()
