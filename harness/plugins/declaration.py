"""What a plug-in's file declares, read from its syntax tree: nothing is imported, so listing costs no torch and runs no code.

A file declares itself by binding the top-level name of its kind (``algorithm`` or ``task``): a function whose keyword-only
parameters are the hyperparameters, or a class whose annotated fields with defaults are. Literals beside it say the rest.
"""

from __future__ import annotations

import ast
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

from harness.errors import HarnessError, near
from harness.plugins import syntax

SCALES = ("linear", "log")
METADATA = ("family", "source", "control", "oracle", "conventions", "optimum", "init", "cost", "untrained", "bounded", "requires", "needs")
OPTIMA = ("reward-tilt", "win-tilt", "none known")  # where infinitely many pairs lead: the reference tilted by what


@dataclass(frozen=True)
class Hyperparameter:
    """One knob: its name, its annotation as written, its default (None where the file gives none) and its legal values if few."""

    name: str
    annotation: str
    default: Any
    choices: tuple[Any, ...] = ()


class Range(NamedTuple):
    """Where a setting is searched when algorithms are tuned: its bounds, ``linear`` or ``log`` between them, and where that comes from."""

    low: float
    high: float
    scale: str
    source: str


@dataclass(frozen=True)
class Declaration:
    """Everything literal that a file says about the object it binds; ``bound`` is False where it binds none, ``loss`` says a function.

    ``arguments`` are the positional parameters of a function; ``uses`` are the names and attributes that a class's file and those beside
    it read.
    """

    bound: bool = False
    loss: bool = False
    summary: str = ""
    arguments: tuple[str, ...] = ()
    uses: frozenset[str] = frozenset()
    hyperparameters: tuple[Hyperparameter, ...] = ()
    grid: Mapping[str, tuple[Any, ...]] = field(default_factory=dict)
    search: Mapping[str, Range] = field(default_factory=dict)
    optimiser: Mapping[str, Any] = field(default_factory=dict)
    aliases: tuple[str, ...] = ()
    single: bool = False  # whether the file binds ``single``: how it learns from single labelled responses
    metadata: Mapping[str, Any] = field(default_factory=dict)

    @property
    def knob(self) -> str | None:
        """The setting that moves the algorithm along KL: the one it declares, else the first of its grid."""
        return self.metadata.get("knob") or next(iter(self.grid), None)


def read(path: Path, name: str) -> Declaration:
    """The declaration of the object that the file binds to ``name``; HarnessError where the file is not Python."""
    try:
        tree = syntax.parsed(path)
    except (SyntaxError, UnicodeDecodeError, ValueError) as error:
        line = getattr(error, "lineno", None)
        raise HarnessError(f"{path}{f':{line}' if line else ''}: not a Python file: {getattr(error, 'msg', error)}") from error
    except OSError as error:
        raise HarnessError(f"{path}: cannot be read: {error.strerror}") from error
    literals = dict(syntax.literals(tree.body))
    if (optimum := str(literals.get("optimum", OPTIMA[0]))) not in OPTIMA:
        raise HarnessError(f"{path}: optimum: {optimum!r} is not one of {', '.join(OPTIMA)}.{near(optimum, OPTIMA)}")
    node = syntax.binding(tree, name)
    if node is None:
        return Declaration(bound=name in syntax.names(tree), summary=syntax.first_line(tree))
    return Declaration(
        bound=True,
        loss=isinstance(node, ast.FunctionDef),
        summary=syntax.first_line(tree) or syntax.first_line(node),
        arguments=tuple(each.arg for each in (*node.args.posonlyargs, *node.args.args)) if isinstance(node, ast.FunctionDef) else (),
        uses=syntax.uses(tree, path) if isinstance(node, ast.ClassDef) else frozenset(),
        hyperparameters=tuple({each.name: each for each in (*_inherited(tree, node, path), *_hyperparameters(node))}.values()),
        grid={knob: _as_tuple(values) for knob, values in _mapping(literals, "grid", path).items()},
        search={name: _range(name, value, path) for name, value in _mapping(literals, "search", path).items()},
        optimiser=_mapping(literals, "optimiser", path),
        aliases=_as_tuple(literals.get("ALIASES", ())),
        single="single" in {*literals, *(each.name for each in tree.body if isinstance(each, ast.FunctionDef))},
        metadata={**{key: literals[key] for key in METADATA if key in literals}, **_keywords(node)},
    )


def settings_of(room: str, name: str) -> tuple[Hyperparameter, ...]:
    """The settings that a dataclass of the room of training declares, by the stem of its file."""
    tree = syntax.parsed(syntax.ROOM / f"{room}.py")
    return tuple(_hyperparameters(next(node for node in tree.body if isinstance(node, ast.ClassDef) and node.name == name)))


def _mapping(literals: Mapping[str, Any], name: str, path: Path) -> Mapping[str, Any]:
    value = literals.get(name, {})
    if not isinstance(value, dict):
        raise HarnessError(f"{path}: {name} must be a literal dictionary, found {type(value).__name__}.")
    return value


def _range(name: str, value: Any, path: Path) -> Range:
    """One declared range of the search; HarnessError that says what of it is not legal."""
    where = f"{path}: search: {name}: "
    if not isinstance(value, tuple | list) or len(value) != 4:
        raise HarnessError(f"{where}(low, high, 'linear' or 'log', source) is wanted, found {value!r}.")
    low, high, scale, source = value
    if any(isinstance(bound, bool) or not isinstance(bound, int | float) for bound in (low, high)) or not low < high < math.inf:
        raise HarnessError(f"{where}two numbers, the lower first, are wanted, found {low!r} and {high!r}.")
    if scale not in SCALES:
        raise HarnessError(f"{where}{scale!r} is not one of {', '.join(SCALES)}.{near(str(scale), SCALES)}")
    if scale == "log" and low <= 0:
        raise HarnessError(f"{where}a log range must lie above 0, found {low!r}.")
    if not isinstance(source, str) or not source.strip():
        raise HarnessError(f"{where}the fourth entry says where the range comes from, found {source!r}.")
    return Range(float(low), float(high), scale, source.strip())


def _hyperparameters(node: ast.FunctionDef | ast.ClassDef) -> Iterator[Hyperparameter]:
    if isinstance(node, ast.FunctionDef):
        for argument, default in zip(node.args.kwonlyargs, node.args.kw_defaults, strict=True):
            yield _hyperparameter(argument.arg, argument.annotation, default)
        return
    for field_ in node.body:
        if isinstance(field_, ast.AnnAssign) and isinstance(field_.target, ast.Name) and field_.value is not None:
            name = field_.target.id
            if name != "name" and not name.startswith("_") and "ClassVar" not in ast.unparse(field_.annotation):
                yield _hyperparameter(name, field_.annotation, field_.value)


def _inherited(tree: ast.Module, node: ast.FunctionDef | ast.ClassDef, path: Path) -> Iterator[Hyperparameter]:
    """The hyperparameters of a class's bases, which stand in the file itself, in one beside it, or in the room of training."""
    for base in (base for base in getattr(node, "bases", ()) if isinstance(base, ast.Name)):
        file = syntax.siblings(path).get(base.id) or syntax.shared(tree).get(base.id)
        holder = syntax.parsed(file) if file else tree
        for defined in holder.body:
            if isinstance(defined, ast.ClassDef) and defined.name == base.id:
                yield from _inherited(holder, defined, file or path)
                yield from _hyperparameters(defined)


def _hyperparameter(name: str, annotation: ast.expr | None, default: ast.expr | None) -> Hyperparameter:
    try:
        value = ast.literal_eval(default) if default is not None else None
    except ValueError:
        value = None
    return Hyperparameter(name, ast.unparse(annotation) if annotation else "", value, _choices(annotation))


def _choices(annotation: ast.expr | None) -> tuple[Any, ...]:
    """The values of a ``Literal[...]`` annotation, or nothing."""
    if isinstance(annotation, ast.Subscript) and ast.unparse(annotation.value).endswith("Literal"):
        try:
            return _as_tuple(ast.literal_eval(annotation.slice))
        except ValueError:
            return ()
    return ()


def _keywords(node: ast.FunctionDef | ast.ClassDef) -> dict[str, Any]:
    """Literal keywords of every decorator of a function, or literal class attributes that are metadata."""
    if isinstance(node, ast.ClassDef):
        return {name: value for name, value in syntax.literals(node.body) if name in METADATA}
    calls = [decorator for decorator in node.decorator_list if isinstance(decorator, ast.Call)]
    found: dict[str, Any] = {}
    for keyword in (keyword for call in calls for keyword in call.keywords if keyword.arg):
        try:
            found[str(keyword.arg)] = ast.literal_eval(keyword.value)
        except ValueError:
            continue
    return found


def _as_tuple(value: Any) -> tuple[Any, ...]:
    return tuple(value) if isinstance(value, list | tuple) else (value,)
