"""Records from local files and folders: csv, json, jsonl and parquet (the first three also .gz), texts in folders of classes (also .zip),
folders saved by ``datasets``, and folders of files by split.

A record is whatever mapping the file has; what it means is the layouts' business. Every way in which bytes can fail to be such a file is
one HarnessError.
"""

from __future__ import annotations

import csv
import gzip
import hashlib
import json
import re
import zipfile
import zlib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any, TextIO, cast

from harness.data import texts
from harness.errors import HarnessError, near

Record = Any
SAVED = ("dataset_dict.json", "state.json")  # what ``save_to_disk`` leaves in a folder of several splits, and of one
SPLIT = re.compile(r"(?:^|[-_.])((?:train|training|validation|valid|val|dev|eval|test|unsupervised)(?:_[a-z]+)?)(?=$|[-_.])")
LEFT_OUT = ("dataset_infos.json", "dataset_info.json", "state.json", "package.json")  # what describes data and is none


@dataclass(frozen=True)
class Read:
    """Records in order, as lists by file, the split that they are, and the sha256 of the bytes that they came from."""

    parts: tuple[tuple[str, list[Record]], ...]
    split: str
    sha256: str

    @property
    def records(self) -> list[Record]:
        """All of them, file by file."""
        return [record for _, part in self.parts for record in part]


def read(path: Path, *, split: str = "", within: Sequence[str] = (), limit: int | None = None) -> Read:
    """The records of a file, or of a folder's split (the only one, or ``train``); the first ``limit`` of them.

    ``within`` names the folders of a folder to look in. Raises HarnessError where it is missing, empty, malformed or has no such split.
    """
    if path.is_file():
        refuse_split(path, split)
        return _of_files([path], path.parent, "", limit)
    if not path.is_dir():
        siblings = [each.name for each in path.parent.iterdir()] if path.parent.is_dir() else []
        raise HarnessError(f"the data file '{path}' does not exist.{near(path.name, siblings)}")
    if any((path / name).is_file() for name in SAVED):
        return _saved(path, split, limit)
    found = splits(path, within)
    chosen = choose(f"folder '{path}'", list(found), split)
    return _of_files(found[chosen], path, chosen, limit)


def refuse_split(path: Path, split: str) -> None:
    """HarnessError where a single file is asked for a split."""
    if split:
        raise HarnessError(f"the data file '{path}' is one file, which has no split '{split}'; leave the split out.")


def splits(path: Path, within: Sequence[str] = ()) -> dict[str, list[Path]]:
    """A folder's data files by split, in order of name; a file whose path names none belongs to the split ''."""
    roots = [path / name for name in within] or [path]
    for root in roots:
        if not root.is_dir():
            raise HarnessError(f"the folder '{path}' has no folder '{root.name}'.{near(root.name, [each.name for each in path.iterdir()])}")
    found: dict[str, list[Path]] = {}
    for file in sorted(file for root in roots for file in root.rglob("*") if readable(file.relative_to(path).as_posix())):
        found.setdefault(split_of(file.relative_to(path)), []).append(file)
    if not found and (classes := [root for root in roots if texts.found_in(root)]):
        return {split_of(root.relative_to(path)): [root] for root in classes}
    if not found:
        raise HarnessError(f"the folder '{path}' has no data file; legal: {', '.join(READERS)}, or a folder that save_to_disk wrote.")
    return found


def readable(name: str) -> bool:
    """Whether a file of this name, relative to its folder, holds data that can be read here."""
    parts = Path(name).parts
    hidden = any(part.startswith((".", "_")) for part in parts)
    return not hidden and parts[-1] not in LEFT_OUT and suffix_of(parts[-1]) in READERS


def split_of(file: Path) -> str:
    """The split that a path names: in the file's own name, else in the nearest folder that does; '' where nothing names one."""
    stem = file.name.split(".")[0] if file.suffix else file.name
    for part in (stem, *reversed(file.parts[:-1])):
        if named := SPLIT.findall(part):
            return str(named[-1])
    return ""


def suffix_of(name: str) -> str:
    """The kind of a file, in lower case, compression left out."""
    return Path(name.removesuffix(".gz")).suffix.lower()


def choose(what: str, found: Sequence[str], split: str) -> str:
    """The split that is asked for, the only one, or ``train``; HarnessError with those that there are. ``what`` names whose they are."""
    if split in found or (not split and len(found) == 1):
        return split or found[0]
    named = sorted(filter(None, found))
    if not split and "train" in found:
        return "train"
    lacks = f"has no split '{split}'" if split else "has several splits and none called train"
    raise HarnessError(f"the {what} {lacks}; there are: {', '.join(named) or 'none named'}.{near(split, named)}")


def _of_files(files: Sequence[Path], root: Path, split: str, limit: int | None) -> Read:
    parts, left, digest = [], limit, hashlib.sha256()
    for file in files:
        records = list(islice(_records(file), left))
        parts.append((str(file), records))
        left = None if left is None else left - len(records)
        if len(files) > 1:
            digest.update(file.relative_to(root).as_posix().encode())
        digest.update(_bytes_of(file))
    if not any(records for _, records in parts):
        where = f"data file '{files[0]}'" if len(files) == 1 else f"split '{split}' of the folder '{root}'"
        raise HarnessError(f"the {where} holds no rows")
    return Read(tuple(part for part in parts if part[1]), split, digest.hexdigest())


def _bytes_of(file: Path) -> bytes:
    """What a file's hash is made of: its bytes, or for a folder of texts those of all its files."""
    return file.read_bytes() if file.is_file() else b"".join(each.read_bytes() for each in texts.found_in(file))


def _saved(path: Path, split: str, limit: int | None) -> Read:
    """A split of a folder that ``save_to_disk`` of the library ``datasets`` wrote."""
    folder, chosen = path, ""
    if (path / SAVED[0]).is_file():
        chosen = choose(f"folder '{path}'", [each.name for each in sorted(path.iterdir()) if (each / SAVED[1]).is_file()], split)
        folder = path / chosen
    else:
        refuse_split(path, split)
    from datasets import load_from_disk

    try:
        table = load_from_disk(str(folder))
    except Exception as error:  # pyarrow raises its own kinds, which differ from version to version
        raise HarnessError(f"the folder '{folder}' cannot be read as a saved dataset: {_line(error)}") from error
    records = [dict(row) for row in table.select(range(min(len(table), len(table) if limit is None else limit)))]
    if not records:
        raise HarnessError(f"the folder '{folder}' holds no rows")
    digest = hashlib.sha256(b"".join(each.read_bytes() for each in sorted(folder.glob("*.arrow"))))
    return Read(((str(folder), records),), chosen, digest.hexdigest())


def _records(file: Path) -> Iterator[Record]:
    """The records of one file or folder of texts."""
    if file.is_dir():
        yield from texts.of_folder(file)
        return
    suffix = suffix_of(file.name)
    if suffix not in READERS:
        raise HarnessError(f"the data file '{file}' is of an unknown kind '{suffix}'; legal: {', '.join(READERS)}, text ones also with .gz")
    try:
        yield from READERS[suffix](file)
    except UnicodeDecodeError as error:
        raise HarnessError(f"the data file '{file}' cannot be read as {suffix[1:]}: {_not_utf8(error)}") from error
    except (OSError, EOFError, csv.Error, ValueError, zlib.error, zipfile.BadZipFile) as error:
        raise HarnessError(f"the data file '{file}' cannot be read as {suffix[1:]}: {_line(error)}") from error


def _not_utf8(error: UnicodeDecodeError) -> str:
    utf16 = error.start == 0 and error.object[:2] in (b"\xff\xfe", b"\xfe\xff")
    kind = "UTF-16" if utf16 else "LATIN1"
    return f"byte {error.start} is not UTF-8; where it is {kind}, 'iconv -f {kind} -t UTF-8' makes it so."


def _line(error: Exception) -> str:
    return str(error).splitlines()[0] if str(error) else type(error).__name__


def _lines(file: Path) -> TextIO:
    opener = gzip.open if file.suffix == ".gz" else open
    return cast(TextIO, opener(file, "rt", encoding="utf-8-sig", newline=""))


def _csv(file: Path) -> Iterator[Record]:
    before = csv.field_size_limit(2**31 - 1)  # by default 128 KiB; the limit is the whole process's, so it goes back
    try:
        with _lines(file) as lines:
            yield from csv.DictReader(lines)
    finally:
        csv.field_size_limit(before)


def _json(file: Path) -> Iterator[Record]:
    """One value, an array of them, or a value on each line, which some data sets on the hub call .json too."""
    with _lines(file) as lines:
        text = lines.read()
    try:
        rows = json.loads(text) if text.strip() else []
    except json.JSONDecodeError as error:
        if error.msg != "Extra data":
            raise
        rows = _by_line(text.split("\n"))
    yield from rows if isinstance(rows, list) else [rows]


def _jsonl(file: Path) -> Iterator[Record]:
    with _lines(file) as lines:
        for number, line in enumerate(lines, 1):
            yield from _by_line([line], number)


def _by_line(lines: Iterable[str], first: int = 1) -> list[Record]:
    found = []
    for number, line in enumerate(lines, first):
        try:
            found += [json.loads(line)] if line.strip() else []
        except json.JSONDecodeError as error:
            raise ValueError(f"line {number}: {error.msg} at column {error.colno}") from error
    return found


def _parquet(file: Path) -> Iterator[Record]:
    import pyarrow.parquet

    with pyarrow.parquet.ParquetFile(file) as table:
        for batch in table.iter_batches():
            yield from batch.to_pylist()


READERS: Mapping[str, Callable[[Path], Iterator[Record]]] = {
    ".csv": _csv,
    ".json": _json,
    ".jsonl": _jsonl,
    ".parquet": _parquet,
    ".zip": texts.of_zip,
}
