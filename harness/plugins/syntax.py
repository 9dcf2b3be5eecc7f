"""What the syntax tree of a plug-in's file says, and those of the files that it takes names from: nothing is imported or run."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

ROOM = Path(__file__).parents[1] / "training"  # what algorithms share is there


def literal(path: Path, name: str) -> Any:
    """The literal that a file assigns to a top-level name, or None."""
    return dict(literals(parsed(path).body)).get(name)


def line(path: Path, name: str) -> int | None:
    """The line of a file that binds a top-level name, that of its first decorator where it has one; None where it has none."""
    try:
        body = parsed(path).body
    except (SyntaxError, UnicodeDecodeError):
        return None
    for node in body:
        targets = node.targets if isinstance(node, ast.Assign) else [node.target] if isinstance(node, ast.AnnAssign) else []
        if getattr(node, "name", None) == name or any(isinstance(each, ast.Name) and each.id == name for each in targets):
            decorators: list[ast.expr] = getattr(node, "decorator_list", [])
            return min(node.lineno, *(each.lineno for each in decorators)) if decorators else node.lineno
    return None


def binding(tree: ast.Module, name: str) -> ast.FunctionDef | ast.ClassDef | None:
    """The function or class behind a top-level name, through one ``name = Class`` or ``name = Class(...)``."""
    defined = {node.name: node for node in tree.body if isinstance(node, ast.FunctionDef | ast.ClassDef)}
    if name in defined:
        return defined[name]
    for target, value in assignments(tree.body):
        source = value.func if isinstance(value, ast.Call) else value
        if target == name and isinstance(source, ast.Name):
            return defined.get(source.id)
    return None


def assignments(body: list[ast.stmt]) -> Iterator[tuple[str, ast.expr]]:
    """Every ``name = value`` of these statements, annotated or not."""
    for node in body:
        if isinstance(node, ast.Assign) and len(node.targets) == 1 and isinstance(node.targets[0], ast.Name):
            yield node.targets[0].id, node.value
        elif isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name) and node.value is not None:
            yield node.target.id, node.value


def names(tree: ast.Module) -> set[str]:
    """The names that a file imports or assigns."""
    imported = {alias.asname or alias.name for node in tree.body if isinstance(node, ast.ImportFrom) for alias in node.names}
    return imported | {name for name, _ in assignments(tree.body)}


def literals(body: list[ast.stmt]) -> Iterator[tuple[str, Any]]:
    """Every name that is assigned a literal, with its value."""
    for name, value in assignments(body):
        try:
            yield name, ast.literal_eval(value)
        except (ValueError, TypeError):
            continue


def siblings(path: Path) -> dict[str, Path]:
    """The files of its own folder that a file takes names from (``from algorithms.ppo import PPO``), by those names."""
    found: dict[str, Path] = {}
    for node in imports(parsed(path)):
        if isinstance(node, ast.ImportFrom) and node.module and node.module.rpartition(".")[0] == path.parent.name:
            file = path.parent / f"{node.module.rpartition('.')[2]}.py"
            found |= {alias.asname or alias.name: file for alias in node.names if file.is_file()}
    return found


@cache
def words(tree: ast.Module) -> frozenset[str]:
    """Every name and attribute that is read."""
    nodes = list(ast.walk(tree))
    names = {node.id for node in nodes if isinstance(node, ast.Name)}
    return frozenset(names | {node.attr for node in nodes if isinstance(node, ast.Attribute)})


@cache
def imports(tree: ast.Module) -> tuple[ast.Import | ast.ImportFrom, ...]:
    """Every import, wherever it stands, by its line."""
    found = [node for node in ast.walk(tree) if isinstance(node, ast.Import | ast.ImportFrom)]
    return tuple(sorted(found, key=lambda node: node.lineno))


@cache
def statements(tree: ast.Module) -> tuple[ast.stmt, ...]:
    """The statements that run when the file is imported, those in branches and in attempts among them, but no function's or class's."""
    return tuple(_flat(tree.body))


def _flat(body: list[ast.stmt]) -> Iterator[ast.stmt]:
    for node in body:
        yield node
        for part in (
            ("body", "handlers", "orelse", "finalbody") if isinstance(node, ast.If | ast.Try | ast.With | ast.ExceptHandler) else ()
        ):
            yield from _flat(getattr(node, part, []))


def bound_by(node: ast.stmt) -> set[str]:
    """The names that a statement defines a class of, or assigns."""
    return {node.name} if isinstance(node, ast.ClassDef) else {name for name, _ in assignments([node])}


def parsed(path: Path) -> ast.Module:
    """The syntax tree of a file as it is now, the same object for the same text: nobody changes one."""
    return _parsed(path.read_text(encoding="utf-8"), str(path))


@cache
def _parsed(text: str, name: str) -> ast.Module:
    try:
        return ast.parse(text, filename=name)
    except ValueError as error:  # of bytes that no source may have, before Python 3.12
        raise SyntaxError(str(error), (name, None, None, None)) from error


def first_line(node: ast.Module | ast.FunctionDef | ast.ClassDef) -> str:
    """The first line of a docstring, empty where there is none."""
    return (ast.get_docstring(node) or "").strip().partition("\n")[0]
