"""The grid of every algorithm: what its own file proposes, replaced by the task's, the experiment file's and the flags' settings."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict

from harness.errors import HarnessError, near
from harness.planning import settings
from harness.plugins import registry
from harness.plugins.legal import Range
from harness.plugins.registry import Entry
from harness.types import Defaults, Setting


class Frozen(BaseModel):
    """A value that cannot change and takes no unknown keys."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


class AlgorithmPlan(Frozen):
    """One algorithm and its grid cells. ``settings`` hold what differs from the file's declared defaults; ``sha256`` is of its code.

    ``search`` says where the settings that the grid leaves alone are searched when the comparison is tuned; ``tuning`` says of each of the
    ``settings`` where tuning found it, and is empty before.
    """

    name: str
    path: str | None = None
    sha256: str
    knob: str | None = None
    settings: tuple[dict[str, Setting], ...]
    search: dict[str, Range] = {}
    tuning: tuple[dict[str, Any], ...] = ()


def plans(flags: Mapping[str, Any], written: Mapping[str, Any], defaults: Defaults, *, quick: bool, origin: str) -> list[AlgorithmPlan]:
    """One plan for every algorithm named by the flags, else by the file, else by the task. ``origin`` opens errors about the file."""
    tables = written.get("algorithms", {})
    names: Sequence[str] = flags.get("algorithms") or list(tables) or defaults.algorithms
    entries = {name: registry.find("algorithms", name) for name in names}
    by_name = {entry.name: name for name, entry in entries.items()}
    if len(by_name) < len(names):
        raise HarnessError(f"Algorithms {','.join(names)}: one of them is named twice.")
    asked = _asked(flags.get("set", ()), entries)
    return [
        _plan(entry, [(_proposed(defaults, entry), "task: "), (_table(tables, entry, origin), origin), (asked[name], "--set ")], quick)
        for name, entry in entries.items()
    ]


def baseline_of(word: Any, names: Sequence[str]) -> str | None:
    """The algorithm that a baseline names, or None where none is named; HarnessError where it is not among those compared."""
    if word is None:
        return None
    entry = registry.find("algorithms", str(word))
    if entry.name not in names:
        raise HarnessError(f"baseline {word!r} is not among the algorithms compared ({', '.join(names)}).{near(str(word), names)}")
    return entry.name


def _proposed(defaults: Defaults, entry: Entry) -> Mapping[str, Setting]:
    """The task's settings for an algorithm; those under ``*`` hold for every algorithm that takes them."""
    known = settings.legal(entry)
    common = {name: value for name, value in defaults.settings.get("*", {}).items() if name in known}
    return {**common, **defaults.settings.get(entry.name, {})}


def _asked(flags: Sequence[str], entries: Mapping[str, Entry]) -> dict[str, dict[str, Any]]:
    """``--set`` by algorithm; a later one of the same setting wins."""
    asked: dict[str, dict[str, Any]] = {name: {} for name in entries}
    for text in flags:
        algorithm, setting, values = settings.parse_flag(text)
        name = next((name for name, entry in entries.items() if _means(algorithm, name, entry)), None)
        if name is None:
            names = [entry.name for entry in entries.values()]
            raise HarnessError(
                f"--set {text}: {algorithm!r} is not among the algorithms compared ({', '.join(names)}).{near(algorithm, names)}"
            )
        asked[name][setting] = values
    return asked


def _means(word: str, name: str, entry: Entry) -> bool:
    return registry.canonical(word) in map(registry.canonical, (name, entry.name, *entry.declaration.aliases))


def _table(tables: Mapping[str, Any], entry: Entry, origin: str) -> Mapping[str, Any]:
    for name, table in tables.items():
        if _means(name, entry.name, entry) or Path(name).stem == entry.name:
            if not isinstance(table, dict):
                raise HarnessError(f"{origin}{name}: a table of settings is wanted, found {table!r}.")
            return table
    return {}


def _plan(entry: Entry, layers: Sequence[tuple[Mapping[str, Any], str]], quick: bool) -> AlgorithmPlan:
    """The grid of the algorithm's file, each setting of a later layer replacing it, spread into cells."""
    grid = settings.legal_grid(entry)
    chosen = settings.middle(grid) if quick else dict(grid)
    for asked, where in layers:
        chosen |= settings.choices(entry, asked, where)
    path = str(entry.path) if entry.path and not entry.module else None
    defaults = settings.choices(entry, *layers[0])
    asked_for = {name.replace("-", "_") for asked, _ in layers[1:] for name in asked}
    fixed = {*entry.declaration.grid, *asked_for, *(name for name, values in defaults.items() if len(values) > 1)}
    return AlgorithmPlan(
        name=entry.name,
        path=path,
        sha256=entry.sha256,
        knob=entry.declaration.knob,
        settings=settings.spread(chosen),
        search=settings.search(entry, fixed, {name: values[0] for name, values in defaults.items()}),
    )
