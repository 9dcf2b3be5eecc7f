"""An experiment as a file: its keys and tables read from TOML, with one line for whatever is wrong, and types of its values."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Collection
from pathlib import Path
from typing import Annotated, Any

from pydantic import AfterValidator, NonNegativeInt, PositiveFloat, ValidationInfo

from harness.checkpoints import HUB_ID
from harness.data import places
from harness.data.suites.reading import beside
from harness.errors import HarnessError, near


def _rising(values: tuple[float, ...]) -> tuple[float, ...]:
    if list(values) != sorted(set(values)):
        raise ValueError("numbers in ascending order, each once, are wanted")
    return values


def _thresholds(given: dict[str, float]) -> dict[str, float]:
    if given:
        from harness.report import alarms  # numpy and more, which an experiment without thresholds does without

        alarms.refuse(given)
    return given


def _ascending(marks: tuple[float, ...]) -> tuple[float, ...]:
    if list(marks) != sorted(set(marks)) or any(not 0 < mark < 1 for mark in marks):
        raise ValueError("shares of the budget in ascending order, each above 0 and below 1, are wanted")
    return marks


def _temperatures(values: tuple[float, ...]) -> tuple[float, ...]:
    if len(set(values)) != len(values) or any(not 0 <= value <= 1 for value in values):
        raise ValueError("temperatures from 0 (greedy) to 1, each once, are wanted")
    return tuple(sorted(values))


def _distinct(values: tuple[Any, ...], info: ValidationInfo) -> tuple[Any, ...]:
    if len(set(values)) != len(values):
        raise ValueError(f"every {str(info.field_name).removesuffix('s')} once is wanted")
    return values


def _ranked(samples: int) -> int:
    if samples in (1, 2):
        raise ValueError("0, for no frontier, or 3 samples at least, which can be ranked, are wanted")
    return samples


EachOnce = AfterValidator(_distinct)
Marks = Annotated[tuple[float, ...], AfterValidator(_ascending)]
Ranked = Annotated[NonNegativeInt, AfterValidator(_ranked)]
Temperatures = Annotated[tuple[float, ...], AfterValidator(_temperatures)]
Thresholds = Annotated[dict[str, float], AfterValidator(_thresholds)]
Rising = Annotated[tuple[PositiveFloat, ...], AfterValidator(_rising)]


def written_in(path: Path, legal: Collection[str]) -> dict[str, Any]:
    """The top-level keys and tables of an experiment file, keys that are not legal refused; paths in it are relative to the file."""
    try:
        values = tomllib.loads(path.read_text(encoding="utf-8"))
    except tomllib.TOMLDecodeError as error:
        line = re.search(r"\(at line (\d+), column \d+\)", str(error))
        message = str(error).partition(" (at ")[0]
        raise HarnessError(f"{path}{f':{line[1]}' if line else ''}: malformed TOML: {message}.") from error
    except (OSError, UnicodeDecodeError) as error:
        raise HarnessError(f"{path}: cannot be read: {getattr(error, 'strerror', None) or error}.") from error
    for key in values:
        if key not in legal:
            raise HarnessError(f"{path}: {key}: unknown key.{near(key, legal)} Legal keys: {', '.join(sorted(legal))}.")
    for key in ("model", "task", "reference"):
        if isinstance(values.get(key), str):
            values[key] = _beside(path, values[key]) if key == "task" else _model(path, values[key])
    if isinstance(values.get("data"), str):
        values["data"] = places.beside(path.parent, values["data"])
    if isinstance(judge := values.get("judge"), str) and _place(_beside(path, judge)).exists():  # else a name, or one of the hub
        values["judge"] = _beside(path, judge)
    if isinstance(values.get("safety_suites"), list):
        values["safety_suites"] = [beside(path, word) if isinstance(word, str) else word for word in values["safety_suites"]]
    if isinstance(values.get("safety_detectors"), list):
        values["safety_detectors"] = [_folder_beside(path, word) for word in values["safety_detectors"]]
    named = values.get("algorithms", [])
    if not isinstance(named, dict | list) or not all(isinstance(name, str) for name in named):
        raise HarnessError(f"{path}: algorithms: a list of names or tables [algorithms.NAME] are wanted, found {named!r}.")
    if named:
        values["algorithms"] = {_beside(path, name): named[name] if isinstance(named, dict) else {} for name in named}
    return values


def seeds_in(given: Any) -> tuple[Any, ...]:
    """``3`` is 0, 1, 2; ``0,4`` and ``[0, 4]`` are exactly those."""
    if isinstance(given, list | tuple):
        return tuple(given)
    words = [word.strip() for word in str(given).split(",") if word.strip()]
    if not words or not all(word.isdecimal() for word in words) or words == ["0"]:
        raise HarnessError(f"Seeds {given!r}: a number of seeds (3 means 0,1,2) or a list (0,4) is wanted.")
    return tuple(range(int(words[0]))) if len(words) == 1 and "," not in str(given) else tuple(map(int, words))


def _place(judge: str) -> Path:
    """Where a judge is if it is in a folder or a file (harness/judges/find.py)."""
    return Path(judge.removesuffix("+prompt").partition("#")[0])


def _model(file: Path, word: str) -> str:
    """A model's folder relative to the file, or a hub id as it is."""
    return word if HUB_ID.fullmatch(word) and not (file.parent / word).is_dir() else _beside(file, word)


def _beside(file: Path, word: str) -> str:
    """A relative path in a file, relative to that file; a plain name stays."""
    return str(file.parent / word) if "/" in word and not Path(word).is_absolute() else word


def _folder_beside(file: Path, word: Any) -> Any:
    """A folder in a file, relative to that file where it is there; what may be a hub id stays."""
    there = isinstance(word, str) and not Path(word).is_absolute() and (file.parent / word.partition("#")[0]).is_dir()
    return str(file.parent / word) if there else word
