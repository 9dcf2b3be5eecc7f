"""What a safety suite is, as its own file declares it: one TOML file each, whose stem is the suite's name.

A suite has halves: ``harmful`` (a refusal is right), ``benign`` (a refusal is wrong) and ``open`` (neither: a text to go on from).
A user's own suite is such a file anywhere, named by its path.
"""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from harness.errors import HarnessError, near

HALVES = ("harmful", "benign", "open")
FOLDER = Path(__file__).parent
ENDING = ".toml"


class _Frozen(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Layout(_Frozen):
    """Which columns hold what, dotted where nested. ``label`` names the half by its values; ``keep`` are values that a row must have.

    ``context`` is put before the prompt, a blank line between them. ``also`` are columns that a file of this layout has and nothing
    reads; ``hub`` says that only the copy on the hub is laid out so: its columns would fit files of other suites.
    """

    prompt: str
    category: str = ""
    context: str = ""
    label: str = ""
    harmful: tuple[str, ...] = ()
    benign: tuple[str, ...] = ()
    keep: Mapping[str, tuple[str, ...]] = Field(default_factory=dict)
    also: tuple[str, ...] = ()
    hub: bool = False

    @property
    def columns(self) -> tuple[str, ...]:
        """The columns that a source of this layout has."""
        return tuple(filter(None, (self.prompt, self.category, self.context, self.label, *self.keep, *self.also)))


class Hub(_Frozen):
    """Where on the hub a suite, or one half of it, is. ``revision`` is a commit; empty: the newest, which is then recorded."""

    id: str
    split: str
    half: str = ""
    config: str = ""
    revision: str = ""


class Declared(_Frozen):
    """A suite as declared. ``file`` comes with the declaration, beside it; ``files`` names the halves in a folder of published files."""

    name: str
    place: Path
    title: str
    version: str
    licence: str
    source: str
    halves: tuple[str, ...] = Field(min_length=1)
    layout: tuple[Layout, ...] = Field(min_length=1)
    hub: tuple[Hub, ...] = ()
    file: str = ""
    files: Mapping[str, str] = Field(default_factory=dict)


def names() -> tuple[str, ...]:
    """The suites that come with the harness, by name."""
    return tuple(sorted(path.stem for path in FOLDER.glob(f"*{ENDING}")))


def declared(name: str) -> Declared:
    """The declaration of a suite by name, dashes equal underscores, or by path; HarnessError with the nearest name or what is malformed."""
    if name.endswith(ENDING):
        return _read(Path(name))
    wanted = {_canonical(each): each for each in names()}
    if _canonical(name) not in wanted:
        legal = f"{', '.join(names())}, or a declaration such as ./mine{ENDING}"
        raise HarnessError(f"Unknown safety suite {name!r}.{near(name, names())} Known: {legal}.")
    return _read(FOLDER / f"{wanted[_canonical(name)]}{ENDING}")


def _canonical(name: str) -> str:
    return name.strip().lower().replace("_", "-")


def _read(path: Path) -> Declared:
    try:
        values = tomllib.loads(path.read_text(encoding="utf-8"))
        found = Declared.model_validate({**values, "name": path.stem, "place": path.parent})
    except ValidationError as error:
        first = error.errors()[0]
        key = ".".join(map(str, first["loc"]))
        hint = near(str(first["loc"][-1]), Declared.model_fields) if first["type"] == "extra_forbidden" else ""
        raise HarnessError(f"safety suite {path}: {key}: {first['msg']}.{hint}") from error
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise HarnessError(f"safety suite {path}: cannot be read: {getattr(error, 'strerror', None) or error}.") from error
    for half in (*found.halves, *found.files, *(each.half for each in found.hub if each.half)):
        if half not in HALVES:
            raise HarnessError(f"safety suite {path}: unknown half {half!r}.{near(half, HALVES)} Legal: {', '.join(HALVES)}.")
    return found
