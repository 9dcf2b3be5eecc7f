"""What the syntax tree of a plug-in's file says, and those of the files that it takes names from: nothing is imported or run."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

TRAINING, ROOM = "harness.training.", Path(__file__).parents[1] / "training"  # what algorithms share is there


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
    for node in _imports(parsed(path)):
        if node.module and node.module.rpartition(".")[0] == path.parent.name:
            file = path.parent / f"{node.module.rpartition('.')[2]}.py"
            found |= {alias.asname or alias.name: file for alias in node.names if file.is_file()}
    return found


def shared(tree: ast.Module) -> dict[str, Path]:
    """The files of the room of training that a file takes names from, by those names."""
    taken = [node for node in tree.body if isinstance(node, ast.ImportFrom) and str(node.module).startswith(TRAINING)]
    files = {alias.asname or alias.name: ROOM / f"{str(node.module)[len(TRAINING) :]}.py" for node in taken for alias in node.names}
    return {name: file for name, file in files.items() if file.is_file()}


def uses(tree: ast.Module, path: Path) -> frozenset[str]:
    """Every name and attribute that is read in the file and in those beside it that it takes names from."""
    return frozenset[str]().union(*map(_words, [tree, *map(parsed, set(siblings(path).values()))]))


@cache
def _words(tree: ast.Module) -> frozenset[str]:
    nodes = list(ast.walk(tree))
    names = {node.id for node in nodes if isinstance(node, ast.Name)}
    return frozenset(names | {node.attr for node in nodes if isinstance(node, ast.Attribute)})


@cache
def _imports(tree: ast.Module) -> tuple[ast.ImportFrom, ...]:
    return tuple(node for node in ast.walk(tree) if isinstance(node, ast.ImportFrom))


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
