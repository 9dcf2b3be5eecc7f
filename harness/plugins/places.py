"""Where the files of modules are, found without importing anything."""

from __future__ import annotations

import importlib.util
import sys
from importlib.machinery import PathFinder
from pathlib import Path

ENGINE = Path(__file__).parents[1]
BINDINGS = {"algorithms": "algorithm", "tasks": "task"}  # packages of the built-in plug-ins, and what a file of each binds


def file_of(module: str, level: int, path: Path) -> Path | None:
    """The Python file of the module that an import in the file ``path`` names, ``level`` dots before it.

    As Python finds it, and failing that beside the file itself, where a bare file's imports look last. None for Python's own modules and
    for one that is nowhere.
    """
    top, _, rest = module.partition(".")
    if level:
        return beside(module, path.parents[level - 1])
    if rest and top == path.parent.name and (found := beside(rest, path.parent)):
        return found
    if top in sys.stdlib_module_names:
        return None
    found = located(module)
    return (found if found.suffix == ".py" else None) if found else beside(module, path.parent)


def beside(module: str, folder: Path) -> Path | None:
    """The file of a module, dotted or not, that lies in a folder; of the folder as a package where the module has no name."""
    file = folder.joinpath(*module.split(".")) if module else folder
    choices = (file / "__init__.py", *([file.with_name(f"{file.name}.py")] if module else []))
    return next((each for each in choices if each.is_file()), None)


def located(module: str) -> Path | None:
    """The file of a module without importing its parents, which ``importlib.util.find_spec`` would do for a dotted name."""
    known = module, tuple(sys.path)
    if known not in _located and (found := _find(module)) is not None:
        _located[known] = found
    return _located.get(known)


_located: dict[tuple[str, tuple[str, ...]], Path] = {}  # what was found stays where it is; what was not may come


def _find(module: str) -> Path | None:
    top, *rest = module.split(".")
    try:
        spec = importlib.util.find_spec(top)
    except (ImportError, ValueError):
        return None
    name = top
    for part in rest:
        name = f"{name}.{part}"
        spec = PathFinder.find_spec(name, spec.submodule_search_locations) if spec else None
    return Path(spec.origin) if spec and spec.origin else None
