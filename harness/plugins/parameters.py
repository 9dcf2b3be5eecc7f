"""The settings that a plug-in's syntax tree declares: keyword-only parameters of a function, annotated fields of a class and its bases."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from harness.errors import HarnessError
from harness.plugins import bases, syntax
from harness.plugins.legal import several


@dataclass(frozen=True)
class Hyperparameter:
    """One knob: its name, its annotation as written, its default (None where the file gives none) and its legal values if few."""

    name: str
    annotation: str
    default: Any
    choices: tuple[Any, ...] = ()

    @property
    def kind(self) -> str:
        """The annotation's scalar type; where it names none, that of the default; float failing both."""
        words = re.findall(r"\w+", self.annotation)
        for kind in ("bool", "float", "int", "str"):
            if kind in words:
                return kind
        if self.choices or self.default is not None:
            return type((self.choices or (self.default,))[0]).__name__
        return "float"


def settings_of(room: str, name: str) -> tuple[Hyperparameter, ...]:
    """The settings that a dataclass of the room of training declares, by the stem of its file."""
    tree = syntax.parsed(syntax.ROOM / f"{room}.py")
    return tuple(own(next(node for node in tree.body if isinstance(node, ast.ClassDef) and node.name == name)))


def own(node: ast.FunctionDef | ast.ClassDef) -> Iterator[Hyperparameter]:
    """The keyword-only parameters of a function, or the annotated fields with defaults of a class."""
    if isinstance(node, ast.FunctionDef):
        for argument, default in zip(node.args.kwonlyargs, node.args.kw_defaults, strict=True):
            yield _hyperparameter(argument.arg, argument.annotation, default)
        return
    for name, annotation, value in _fields(node):
        yield _hyperparameter(name, annotation, value)


def _fields(node: ast.ClassDef) -> Iterator[tuple[str, ast.expr, ast.expr]]:
    """Names, annotations and defaults of a class's settings."""
    for each in node.body:
        if isinstance(each, ast.AnnAssign) and isinstance(each.target, ast.Name) and each.value is not None:
            name = each.target.id
            if name != "name" and not name.startswith("_") and "ClassVar" not in ast.unparse(each.annotation):
                yield name, each.annotation, each.value


def beside(node: ast.ClassDef) -> list[ast.stmt]:
    """The statements of a class without those that declare its settings, which may be called as metadata are."""
    settings = {name for name, *_ in _fields(node)}
    return [each for each in node.body if not (isinstance(each, ast.AnnAssign) and ast.unparse(each.target) in settings)]


def inherited(node: ast.FunctionDef | ast.ClassDef, path: Path) -> Iterator[Hyperparameter]:
    """The settings of the classes that a class inherits from, wherever these stand; of a later one where two have the same."""
    for base in bases.ancestors(node, path) if isinstance(node, ast.ClassDef) else ():
        yield from own(base.node)


def given(tree: ast.Module, name: str, settings: Sequence[Hyperparameter], path: Path) -> tuple[Hyperparameter, ...]:
    """The settings with the defaults that ``name = Class(setting=value)`` gives them; HarnessError for one that is no literal by name."""
    made = next((value for target, value in syntax.assignments(tree.body) if target == name and isinstance(value, ast.Call)), None)
    if made is None:
        return tuple(settings)
    try:
        values = {each.arg: ast.literal_eval(each.value) for each in made.keywords}
    except (ValueError, TypeError):
        values = {None: None}
    if made.args or None in values:  # which is also how ``**settings`` is called
        said = f"{name} = {ast.unparse(made)}: settings are given by name and as literals, for files are read without being run."
        raise HarnessError(f"{path}:{made.lineno}: {said}")
    return tuple(replace(each, default=values.get(each.name, each.default)) for each in settings)


def _hyperparameter(name: str, annotation: ast.expr | None, default: ast.expr | None) -> Hyperparameter:
    try:
        value = ast.literal_eval(default) if default is not None else None
    except (ValueError, TypeError):
        value = None
    return Hyperparameter(name, ast.unparse(annotation) if annotation else "", value, _choices(annotation))


def _choices(annotation: ast.expr | None) -> tuple[Any, ...]:
    """The values of a ``Literal[...]`` annotation, or nothing."""
    if isinstance(annotation, ast.Subscript) and ast.unparse(annotation.value).endswith("Literal"):
        try:
            return several(ast.literal_eval(annotation.slice))
        except (ValueError, TypeError):
            return ()
    return ()
