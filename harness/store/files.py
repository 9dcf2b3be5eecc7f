"""Files as records need them: canonical JSON, replaced whole and durably, compressed to the same bytes for the same text."""

from __future__ import annotations

import fcntl
import gc
import gzip
import io
import json
import math
import os
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TextIO

import numpy as np

from harness.errors import HarnessError


def plain(value: Any) -> Any:
    """The value in JSON's own types: numpy scalars and arrays as numbers and lists, NaN and infinities as null, keys as strings."""
    if value is None or isinstance(value, str | bool | int):
        return value
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, np.generic | np.ndarray):
        return plain(value.tolist())
    if isinstance(value, Mapping):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, Sequence | set | frozenset):
        return [plain(item) for item in (sorted(value) if isinstance(value, set | frozenset) else value)]
    raise HarnessError(f"A record holds numbers, text, lists and mappings; got {type(value).__name__}.")


def line(row: Mapping[str, Any]) -> str:
    """One row as canonical JSON: sorted keys, floats as ``repr`` writes them, no newline."""
    try:
        return _CANONICAL.encode(row)
    except (TypeError, ValueError):  # something that JSON has no word for: a number that is none, a key that is no text
        return _CANONICAL.encode(plain(row))


# What a row holds beyond JSON's own types is made plain where it is met; walking every row for it first costs more than writing it.
_CANONICAL = json.JSONEncoder(sort_keys=True, ensure_ascii=False, allow_nan=False, separators=(",", ":"), default=plain)


def shortened(value: Any, digits: int) -> Any:
    """What ``plain`` gives, floats inside it rounded to so many significant digits."""
    if isinstance(value, float):
        return float(f"{value:.{digits}g}")
    if isinstance(value, dict):
        return {key: shortened(item, digits) for key, item in value.items()}
    return [shortened(item, digits) for item in value] if isinstance(value, list) else value


def write_bytes(path: Path, content: bytes) -> None:
    """Replace a file atomically and durably: temp file in the same folder, fsync, rename, fsync of the folder; mode 0644."""
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(handle, "wb") as stream:
            stream.write(content)
            stream.flush()
            os.fsync(stream.fileno())
        Path(temporary).chmod(0o644)  # mkstemp makes 0600: unreadable to whoever shares the results
        os.replace(temporary, path)  # noqa: PTH105  the standard name of the atomic rename
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise
    sync_folder(path.parent)


def write_json(path: Path, value: Any) -> None:
    """Write a value as canonical, indented JSON, atomically. NaN and infinities become null."""
    text = json.dumps(plain(value), sort_keys=True, ensure_ascii=False, allow_nan=False, indent=1)
    write_bytes(path, (text + "\n").encode())


def opened_alone(path: Path) -> TextIO:
    """The file, empty and open for writing, locked until it is closed or the process ends.

    Raises:
        HarnessError: another process, or another writer in this one, has it open; its content is as it was.
    """
    stream = path.open("a", encoding="utf-8", newline="\n")
    try:
        fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        stream.close()
        raise HarnessError(f"{path.parent.name} is being run by another process; wait for it, or give another --results.") from error
    stream.truncate(0)
    return stream


def sync_folder(folder: Path) -> None:
    """Make the names in a folder durable."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def compressed(text: str) -> bytes:
    """The text as gzip with no name and no time in its header: the same text gives the same bytes."""
    buffer = io.BytesIO()
    with gzip.GzipFile(filename="", mode="wb", fileobj=buffer, mtime=0) as stream:
        stream.write(text.encode())
    return buffer.getvalue()


@contextmanager
def uncollected() -> Iterator[None]:
    """Without the search for cycles, of which rows of JSON hold none: it took a sixth of a report's time. Also a decorator."""
    before = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if before:
            gc.enable()
