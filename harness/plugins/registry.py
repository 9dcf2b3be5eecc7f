"""Names to files, paths and entry points: what there is to compare, and on what.

Built-in plug-ins are the files of the packages ``algorithms`` and ``tasks``; a path on the command line is one file; a wheel announces
its own under the entry points ``harness.algorithms`` and ``harness.tasks``. Reading is by syntax tree and metadata: only ``load`` and
``check`` import.
"""

from __future__ import annotations

import hashlib
import importlib
import importlib.util
import traceback
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from importlib.metadata import EntryPoint, entry_points
from pathlib import Path
from types import ModuleType
from typing import Any

from harness.errors import HarnessError, near
from harness.plugins import bases, declaration, syntax
from harness.plugins.declaration import Declaration
from harness.plugins.importing import imported
from harness.plugins.places import BINDINGS, located

MARKER = "preference-harness"
CALLED = {"algorithms": "updates", "tasks": "__call__"}  # what is called of what is bound
WANTED = {
    "algorithms": "a function under @preference_loss or a class with updates(setup) is wanted",
    "tasks": "a function that returns a Task is wanted",
}


@dataclass(frozen=True)
class Entry:
    """One plug-in as it was found, not imported.

    ``module`` is its import name, empty for a bare file; ``problem`` says why it cannot be used, empty where it can.
    """

    kind: str
    name: str
    module: str
    path: Path | None
    sha256: str
    declaration: Declaration = field(default_factory=Declaration)
    problem: str = ""

    @property
    def defaults(self) -> Mapping[str, Any]:
        """Every declared setting at its declared value: hyperparameters and what the file says about its optimiser."""
        return {**self.declaration.optimiser, **{each.name: each.default for each in self.declaration.hyperparameters}}


def describe(kind: str) -> list[Entry]:
    """Every plug-in of a kind by name, unusable ones included with their ``problem``; imports none of them."""
    entries: dict[str, Entry] = {}
    for entry in (*_built_in(kind), *_announced(kind)):
        if entry.name in entries:
            entry = replace(entry, problem=f"the name {entry.name!r} is already taken by {entries[entry.name].path}")
            entries[f"{entry.name} ({entry.module})"] = entry
        else:
            entries[entry.name] = entry
    return [entries[name] for name in sorted(entries)]


def find(kind: str, name: str) -> Entry:
    """The plug-in that a name, an alias or a path (``./mine.py``) means; dashes equal underscores."""
    if name.endswith(".py") or "/" in name:
        return _usable(_at_path(kind, Path(name)))
    if found := _own(kind, _package(kind) / f"{canonical(name)}.py"):
        return _usable(found)
    entries = describe(kind)
    if found := _named(entries, name):
        return _usable(found)
    raise HarnessError(_unknown(kind, name, entries))


def exists(kind: str, name: str) -> bool:
    """Whether some plug-in has the name, usable or not."""
    return _named(describe(kind), name) is not None


def _named(entries: Iterable[Entry], name: str) -> Entry | None:
    return next((each for each in entries if canonical(name) in map(canonical, (each.name, *each.declaration.aliases))), None)


def load(kind: str, name: str) -> ModuleType:
    """The imported module of a plug-in; it has the attribute ``algorithm`` or ``task``."""
    return load_entry(find(kind, name))


def load_entry(entry: Entry) -> ModuleType:
    """Import what ``find`` found. Whatever its code raises becomes one line that names the file."""
    try:
        module = importlib.import_module(entry.module) if entry.module or entry.path is None else imported(entry.path, _alone(entry))
    except HarnessError:
        raise
    except (Exception, SystemExit) as error:
        raise HarnessError(f"{_place(entry, error)}: importing it failed with {type(error).__name__}: {error}") from error
    name = BINDINGS[entry.kind]
    if not hasattr(module, name):
        raise HarnessError(f"{entry.path or entry.module}: defines no {name!r}.")
    if not callable(getattr(getattr(module, name), CALLED[entry.kind], None)):
        raise HarnessError(f"{_bound_at(entry)}: {name!r} cannot be run: {WANTED[entry.kind]}.")
    return module


def check(entry: Entry) -> str:
    """Why a plug-in cannot be used, found out by importing it; an empty string where it can."""
    try:
        load_entry(_usable(entry))
    except HarnessError as error:
        return str(error)
    return ""


def yardsticks(kind: str) -> list[Entry]:
    """The built-in algorithms that a new one is shown next to, or the tasks it is tried on, first the first, as their package says."""
    return [find(kind, name) for name in syntax.literal(_package(kind) / "__init__.py", "YARDSTICKS")]


def refuse_taken(kind: str, name: str, path: Path | None) -> None:
    """HarnessError where a name is a built-in plug-in's or its alias, and ``path``, the file that wants it, is not that plug-in's own."""
    for entry in _built_in(kind):
        if name in map(canonical, (entry.name, *entry.declaration.aliases)) and (path is None or entry.path != path):
            line = path and path.is_file() and syntax.line(path, BINDINGS[kind])
            where = f"{path}{f':{line}' if line else ''}: " if path else ""
            raise HarnessError(f"{where}the name {name!r} is already that of {entry.path}; records go by it, so give the file another.")


def canonical(name: str) -> str:
    """A name as it is compared: lower case, underscores for dashes."""
    return name.strip().lower().replace("-", "_")


def _usable(entry: Entry) -> Entry:
    if entry.problem:
        raise HarnessError(f"{entry.name}: {entry.problem}")
    return entry


def _unknown(kind: str, name: str, entries: Iterable[Entry]) -> str:
    usable = [entry for entry in entries if not entry.problem]
    every = [word for entry in usable for word in (entry.name, *entry.declaration.aliases)]
    names = ", ".join(entry.name for entry in usable) or "none"
    return f"Unknown {BINDINGS[kind]} {name!r}.{near(name, every)} Known {kind}: {names}; a path such as ./mine.py works too."


def _built_in(kind: str) -> Iterator[Entry]:
    """Files of our own package that bind the kind's name; files that bind none are parts of others and are passed over."""
    return filter(None, (_own(kind, path) for path in sorted(_package(kind).glob("*.py"))))


def _own(kind: str, path: Path) -> Entry | None:
    """The plug-in in a file of our own package, if it is there and one."""
    if path.stem.startswith("_") or not path.is_file():
        return None
    entry = _from_file(kind, path.stem, f"{kind}.{path.stem}", path, _built_in_digest(path))
    return entry if entry.problem or entry.declaration.bound else None


def _package(kind: str) -> Path:
    """The folder of ``algorithms`` or ``tasks`` as an import would find it, with proof that it is ours: such names are easily taken."""
    spec = importlib.util.find_spec(kind)
    origin = Path(spec.origin) if spec and spec.origin else None
    if origin is None or syntax.literal(origin, "MARKER") != MARKER:
        where = origin.parent if origin else (list(spec.submodule_search_locations or ()) if spec else "nowhere")
        raise HarnessError(
            f"The package {kind!r} found at {where} is not the one of {MARKER}: another distribution or folder hides it. "
            f"Reinstall with: pip install --force-reinstall --no-deps {MARKER}"
        )
    return origin.parent


def _announced(kind: str) -> Iterator[Entry]:
    """Plug-ins of other wheels. One that cannot even be located is listed with its problem."""
    for point in sorted(entry_points(group=f"harness.{kind}"), key=lambda point: (point.name, point.value)):
        path = located(point.module)
        name = canonical(point.name)
        if path is None:
            yield Entry(
                kind, name, point.module, None, "", problem=f"entry point {point.value!r}: the module {point.module!r} does not exist"
            )
        else:
            yield _from_file(kind, name, point.module, path, _wheel_digest(point) or _digest(path))


def _at_path(kind: str, path: Path) -> Entry:
    if not path.is_file():
        raise HarnessError(f"{path}: no such file; {kind} are names or paths of Python files.")
    entry = _from_file(kind, canonical(path.stem), "", path.resolve(), _digest(path))
    if not entry.problem and not entry.declaration.bound:
        raise HarnessError(f"{path}: defines no {BINDINGS[kind]!r}; a file is one of the {kind} if it binds that name.")
    refuse_taken(kind, entry.name, path.resolve())
    return entry


def _from_file(kind: str, name: str, module: str, path: Path, sha256: str) -> Entry:
    try:
        found = declaration.read(path, BINDINGS[kind])
    except HarnessError as error:
        return Entry(kind, name, module, path, sha256, problem=str(error))
    return Entry(kind, name, module, path, sha256, found, _lacks(found))


def _lacks(found: Declaration) -> str:
    """What is said of a file whose ``requires`` names a package that is not installed; empty where it is, or none is named."""
    package = found.metadata.get("requires")
    if package is None or importlib.util.find_spec(str(package)) is not None:
        return ""
    return f"needs the package {package}, which is not installed; pip install 'preference-harness[{package}]'"


def _digest(path: Path) -> str:
    """sha256 of the file, and of those whose code is its own too: an edit of any reruns its cells."""
    return _together(path, bases.own_files)


def _built_in_digest(path: Path) -> str:
    """sha256 of the file, and of the files beside it whose names it uses."""
    return _together(path, lambda each: sorted(set(syntax.siblings(each).values())))


def _together(path: Path, others: Callable[[Path], list[Path]]) -> str:
    try:
        files = others(path)
    except (HarnessError, SyntaxError, ValueError, OSError):  # which reading the file says again, in a line
        files = []
    return hashlib.sha256(b"".join(each.read_bytes() for each in (path, *files))).hexdigest()


def _wheel_digest(point: EntryPoint) -> str:
    """sha256 over the recorded hashes of a wheel's own files; empty for an editable install, which records none of its code."""
    files = (point.dist.files or []) if point.dist else []
    hashes = sorted(f"{file} {file.hash.value}" for file in files if file.hash and not file.parts[0].endswith(("..", ".dist-info", ".pth")))
    code = [line for line in hashes if ".py " in line]
    return hashlib.sha256("\n".join(hashes).encode()).hexdigest() if code else ""


def _alone(entry: Entry) -> str:
    """The name under which a bare file is imported: it ends in the file's stem and cannot be that of an installed module."""
    return f"harness_plugin_{entry.sha256[:12]}.{entry.name}"


def _bound_at(entry: Entry) -> str:
    """The plug-in's file, and the line that binds its name where it is bound there."""
    line = entry.path and syntax.line(entry.path, BINDINGS[entry.kind])
    return f"{entry.path or entry.module}{f':{line}' if line else ''}"


def _place(entry: Entry, error: BaseException) -> str:
    """The plug-in's file, and the last line of it that the error went through."""
    found = _line(entry.path, error) or (getattr(error, "lineno", None) if isinstance(error, SyntaxError) else None)
    return f"{entry.path or entry.module}{f':{found}' if found else ''}"


def _line(path: Path | None, error: BaseException) -> int | None:
    """The last line of a file that an error went through."""
    lines = [frame.lineno for frame in traceback.extract_tb(error.__traceback__) if path and Path(frame.filename) == path]
    return lines[-1] if lines else None


def raised(path: str | Path | None, error: Exception) -> str:
    """An error that came out of a run, by its type; with a plug-in's file and line where it went through them and does not say so."""
    line = None if path is None or isinstance(error, HarnessError) else _line(Path(path), error)
    return f"{f'{path}:{line}: ' if line else ''}{type(error).__name__}: {error}"
