"""Hashes of what decides numbers and is not a setting: the engine's own code and the weights a run starts from."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from fnmatch import fnmatchcase
from functools import cache
from pathlib import Path
from typing import Any

from harness.checkpoints import base_of, is_adapter, place

# The rooms whose code decides a number in a record. Reports, the command line and the executors do not.
ENGINE = (
    *("training", "models", "measure", "judges", "data", "exact", "running"),
    *("types.py", "tuning/tuner.py", "planning/suites.py"),
)
END = 1 << 20  # bytes hashed at either end of a large file


@cache
def engine_hash() -> str:
    """sha256 over the source of the rooms that train and measure, in hexadecimal."""
    root, digest = Path(__file__).parents[1], hashlib.sha256()
    for name in ENGINE:
        path = root / name
        for file in sorted(path.rglob("*.py")) if path.is_dir() else [path]:
            digest.update(file.relative_to(root).as_posix().encode())
            digest.update(file.read_bytes())
    return digest.hexdigest()


DECIDING = ("*.safetensors", "*.safetensors.index.json", "*config*.json", "harness.json", "reward.json")  # weights, and what they are
TOKENISING = ("*token*", "*vocab*", "*merges*", "*.model", "*.jinja", "chat_template.json", "*.spm", "*.tiktoken", "*.codes", "emoji.json")


@cache
def weights_hash(model: str) -> str:
    """sha256 over what decides a model's function: name, size, and the first and last MiB of each file; of the name for a preset.

    That is weights, configurations, tokenizer, chat template, and what lies beside an adapter or a head; a card or a log beside them
    changes nothing. A hub id is what the cache holds of it; an adapter's hash is of its base too.
    """
    folder = place(model)
    return _hash_of(model, [path for path in _files(folder) if _decides(path.name)] if folder else [])


@cache
def folder_hash(model: str) -> str:
    """The same over every file of a model's folder, by which adapters knew their base once."""
    return _hash_of(model, _files(folder) if (folder := place(model)) else [])


def _hash_of(model: str, files: Sequence[Path]) -> str:
    folder, digest = place(model), hashlib.sha256()
    if folder is None:
        return hashlib.sha256(model.encode()).hexdigest()
    if is_adapter(folder):
        digest.update(weights_hash(str(base_of(folder))).encode())
    _read(digest, files)
    return digest.hexdigest()


def _files(folder: Path) -> list[Path]:
    return [path for path in folder.iterdir() if path.is_file()]


def _decides(name: str) -> bool:
    return any(fnmatchcase(name, pattern) for pattern in (*DECIDING, *TOKENISING))


@cache
def tensors_hash(model: str) -> str:
    """The same over the configuration and the safetensors of a whole model alone, whatever is put beside them: what an adapter is over."""
    folder, digest = place(model), hashlib.sha256()
    if folder is None:
        return hashlib.sha256(model.encode()).hexdigest()
    _read(digest, [folder / "config.json", *folder.glob("*.safetensors")])
    return digest.hexdigest()


def _read(digest: Any, files: Iterable[Path]) -> None:
    """Name, size, and the first and last MiB of each file into a hash."""
    for path in sorted(files):
        size = path.stat().st_size
        digest.update(f"{path.name}:{size}:".encode())
        with path.open("rb") as stream:
            digest.update(stream.read(END))
            stream.seek(max(0, size - END))
            digest.update(stream.read(END))
