"""The classes that a plug-in's class inherits from, and the files whose code is its own too: found and read, never imported or run.

A base may stand in the file itself, beside it, on the shelf or in any package, and be named by itself, through its module
(``grpo.GRPO``) or by a file that passes it on.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from math import inf
from pathlib import Path
from typing import NamedTuple

from harness.errors import HarnessError
from harness.plugins import syntax
from harness.plugins.places import BINDINGS, ENGINE, file_of, located


class Base(NamedTuple):
    """A class that another inherits from, and its file."""

    file: Path
    node: ast.ClassDef


def ancestors(node: ast.ClassDef, path: Path, below: frozenset[tuple[Path, str]] = frozenset()) -> Iterator[Base]:
    """Every class that one inherits from, the farthest first: fields of a later one replace those of an earlier one, as in Python.

    ``below`` are the classes that it was reached from, with their files. HarnessError with file and line where a base is known only when
    something is run. Python's own classes have no settings, and of a module that does not exist the import will speak.
    """
    below |= {(path, node.name)}
    for written in reversed(node.bases):
        found = _class(written.value if isinstance(written, ast.Subscript) else written, path, node.lineno, frozenset())
        if found is not None and (found.file, found.node.name) not in below:
            yield from ancestors(found.node, found.file, below)
            yield found


def lent(tree: ast.Module, name: str, path: Path) -> ast.ClassDef | None:
    """A class of another file that this one binds to a name as it is, or one instance of it: as a class that adds nothing to it."""
    value = next((value for target, value in syntax.assignments(tree.body) if target == name), None)
    line = max((each.line for each in _imports(tree, path) if each.name == name), default=0) + 1 if value is None else value.lineno
    written = value.func if isinstance(value, ast.Call) else value or ast.Name(name, lineno=line)
    if not isinstance(written, ast.Name | ast.Attribute) or (found := _plain(written, path, line)) is None:
        return None
    return ast.ClassDef(name, [written], [], [], [], lineno=line) if found.file != path else None


def _plain(written: ast.expr, path: Path, line: int) -> Base | None:
    try:
        return _class(written, path, line, frozenset())
    except HarnessError:  # nobody inherits from it
        return None


def own_files(path: Path) -> list[Path]:
    """The files whose code is the plug-in's too: those of its folder and of the shelf that it takes names from, and these from others.

    So are those of the classes that its own inherits from. The engine's are not: a study's key holds their hash.
    """
    tree, rooms = syntax.parsed(path), {path.parent, *_shelf()}
    bound = next(filter(None, (syntax.binding(tree, name) for name in BINDINGS.values())), None)
    found = {base.file for base in ancestors(bound, path)} if isinstance(bound, ast.ClassDef) else set()
    ahead = [path, *(each for each in found if each.parent in rooms)]
    while ahead:
        file = ahead.pop()
        taken = {each.module or each.file for each in _imports(syntax.parsed(file), file)}
        fresh = {each for each in taken if each is not None and each.parent in rooms} - found - {path}
        found |= fresh
        ahead += fresh
    return sorted(each for each in found if each != path and not each.is_relative_to(ENGINE))


def uses(path: Path) -> frozenset[str]:
    """Every name and attribute that is read in the file and in those whose code is its own too."""
    return frozenset[str]().union(*(syntax.words(syntax.parsed(each)) for each in (path, *own_files(path))))


class _Lent(NamedTuple):
    """What an import in the file ``path`` binds in a line: a name, what it is called in the module that it is asked of, and that module.

    Nothing is called anything in ``import module``. Where the modules are is looked up for whoever asks: most names are nobody's base.
    """

    line: int
    name: str
    called: str
    source: str
    level: int
    path: Path

    @property
    def file(self) -> Path | None:
        """The file that the name is asked of."""
        return file_of(self.source, self.level, self.path) if self.called else None

    @property
    def module(self) -> Path | None:
        """The file of the name as a module."""
        return None if self.called == "*" else file_of(".".join(filter(None, [self.source, self.called])), self.level, self.path)


def _shelf() -> set[Path]:
    return {found.parent for package in BINDINGS if (found := located(package)) is not None}


def _class(named: ast.expr, path: Path, before: float, reached: frozenset[tuple[Path, str]]) -> Base | None:
    """The class that an expression of the file means in the lines before one."""
    if isinstance(named, ast.Name):
        return _bound(path, named.id, before, reached)
    if not isinstance(named, ast.Attribute):
        said = "is known only when the file is run, so the settings of a class that inherits from it cannot be read"
        raise HarnessError(f"{path}:{named.lineno}: {ast.unparse(named)} {said}; inherit from a class that a file defines by name.")
    module = ast.unparse(named.value)
    files = [each.module for each in _imports(syntax.parsed(path), path) if each.name == module and each.line < before and each.module]
    return _bound(files[-1], named.attr, inf, reached) if files and files[-1] else None


def _bound(file: Path, name: str, before: float, reached: frozenset[tuple[Path, str]]) -> Base | None:
    """The class that the file has bound to a name before a line: by defining it, by importing it, or by giving it another name."""
    if (file, name) in reached:
        return None
    tree, reached = syntax.parsed(file), reached | {(file, name)}
    lent = [each for each in _imports(tree, file) if each.name == name and each.line < before]
    here = [each for each in syntax.statements(tree) if name in syntax.bound_by(each) and each.lineno < before]
    if here and here[-1].lineno >= max((each.line for each in lent), default=0):
        last = here[-1]
        if isinstance(last, ast.ClassDef):
            return Base(file, last)
        value = getattr(last, "value", None)
        return None if value is None else _class(value, file, last.lineno, reached - {(file, name)})
    if lent:
        return _bound(asked, lent[-1].called, inf, reached) if (asked := lent[-1].file) else None
    stars = [asked for each in _imports(tree, file) if each.name == "*" and (asked := each.file)]
    return next((found for each in stars if (found := _bound(each, name, inf, reached)) is not None), None)


def _imports(tree: ast.Module, path: Path) -> Iterator[_Lent]:
    """Every name that the file imports, in the order of lines."""
    for node in syntax.imports(tree):
        for alias in node.names:
            name = alias.asname or alias.name
            if isinstance(node, ast.Import):
                yield _Lent(node.lineno, name, "", alias.name, 0, path)
            else:
                yield _Lent(node.lineno, name, alias.name, node.module or "", node.level, path)
