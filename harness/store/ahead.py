"""Files that are read before anyone asks for them, while the rest of their archive is unpacked; whoever asks takes what is there."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

from harness.errors import HarnessError

Reader = Callable[[Path], Any]

PAUSE = 0.005  # seconds until the next look, where there is nothing to read
_found: dict[Path, Any] = {}


def follow(progress: Path, running: Callable[[], bool], name: str, reader: Reader) -> None:
    """Read files of this name as they are unpacked, for as long as something runs; what cannot be read is left to whoever asks for it.

    ``progress`` is what ``archives.unpacked`` names to its ``start``.
    """
    seen, waiting = 0, list[Path]()
    while running():
        told = progress.read_bytes().split(b"\n")[:-1] if progress.exists() else []
        waiting += [path for path in map(Path, map(json.loads, told[seen:])) if path.name == name]
        seen = len(told)
        if not waiting:
            time.sleep(PAUSE)
            continue
        path = waiting.pop(0)
        with suppress(HarnessError):
            _found[path] = reader(path)


def taken(path: Path, reader: Reader) -> Any:
    """What was read of a file, which is forgotten here; what the reader gives now where nothing was."""
    return _found.pop(path) if path in _found else reader(path)


def forget() -> None:
    """Nothing that was read before is kept any longer."""
    _found.clear()
