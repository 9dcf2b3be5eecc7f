"""The stage cache: folders named by the hash of what went into them, written whole or not at all, shared by processes.

A stage is computed once: whoever comes second waits on the lock and finds the folder. Inside are safetensors and JSON, never a pickle.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any


def cache_root() -> Path:
    """``HARNESS_CACHE``, else ``preference-harness`` in the user's cache folder."""
    named = os.environ.get("HARNESS_CACHE")
    base = Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache"))
    return Path(named) if named else base / "preference-harness"


def key_of(value: Mapping[str, Any]) -> str:
    """sha256 of the value as canonical JSON, in hexadecimal."""
    return hashlib.sha256(json.dumps(value, sort_keys=True, separators=(",", ":")).encode()).hexdigest()


@contextmanager
def locked(path: Path) -> Iterator[None]:
    """Hold an exclusive lock on ``path`` (made if absent); other processes wait. Released by the system if the process dies."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w") as handle:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield


def stage(name: str, key: Mapping[str, Any], build: Callable[[Path], None]) -> Path:
    """The folder of stage ``name`` with this key, built now unless it exists; ``build`` fills an empty folder."""
    folder = cache_root() / name / key_of(key)[:32]
    if folder.exists():
        return folder
    with locked(folder.with_suffix(".lock")):
        if folder.exists():
            return folder
        scratch = Path(tempfile.mkdtemp(prefix=f".{name}-", dir=folder.parent))
        try:
            build(scratch)
            (scratch / "key.json").write_text(json.dumps(key, sort_keys=True, indent=1))
            scratch.chmod(0o755)
            scratch.rename(folder)
        except BaseException:
            shutil.rmtree(scratch, ignore_errors=True)
            raise
    return folder
