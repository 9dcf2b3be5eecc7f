"""What a plug-in's file declares, read from its syntax tree: nothing is imported, so listing costs no torch and runs no code.

A file declares itself by binding the top-level name of its kind (``algorithm`` or ``task``): a function whose keyword-only
parameters are the hyperparameters, or a class whose annotated fields with defaults are. Literals beside it say the rest.
"""

from __future__ import annotations

import ast
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from harness.errors import HarnessError
from harness.plugins import bases, legal, parameters, signatures, syntax
from harness.plugins.legal import Range
from harness.plugins.parameters import Hyperparameter

ALGORITHM = "algorithm"


@dataclass(frozen=True)
class Declaration:
    """Everything literal that a file says about the object it binds; ``bound`` is False where it binds none, ``loss`` says a function.

    ``arguments`` are the positional parameters of a function; ``uses`` are the names and attributes that a class's file and those whose
    code is its own too read; ``own`` are the settings that the function or class declares itself, and no class that it inherits from.
    """

    bound: bool = False
    loss: bool = False
    summary: str = ""
    arguments: tuple[str, ...] = ()
    uses: frozenset[str] = frozenset()
    hyperparameters: tuple[Hyperparameter, ...] = ()
    own: frozenset[str] = frozenset()
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
    """The declaration of the object that the file binds to ``name``; HarnessError where it, or one it takes a class of, is not Python."""
    try:
        return _read(path, name)
    except (SyntaxError, UnicodeDecodeError) as error:
        where = getattr(error, "filename", None) or path
        line = getattr(error, "lineno", None)
        raise HarnessError(f"{where}{f':{line}' if line else ''}: not a Python file: {getattr(error, 'msg', error)}") from error
    except OSError as error:
        raise HarnessError(f"{path}: cannot be read: {error.strerror}") from error


def _read(path: Path, name: str) -> Declaration:
    tree = syntax.parsed(path)
    node = syntax.binding(tree, name) or bases.lent(tree, name, path)
    if node is None:
        return Declaration(bound=name in syntax.names(tree), summary=syntax.first_line(tree))
    declared = {each.name: each for each in (*parameters.inherited(node, path), *parameters.own(node))}
    found = Declaration(
        bound=True,
        loss=isinstance(node, ast.FunctionDef),
        summary=syntax.first_line(tree) or syntax.first_line(node),
        hyperparameters=parameters.given(tree, name, tuple(declared.values()), path),
        own=frozenset(each.name for each in parameters.own(node)),
    )
    if name != ALGORITHM:
        return replace(found, aliases=legal.several(legal.declared(tree.body, path, ("ALIASES",)).get("ALIASES", ())))
    found = _algorithm(found, tree, node, path)
    signatures.refuse(found, tree, node, path)
    return found


def _algorithm(found: Declaration, tree: ast.Module, node: ast.FunctionDef | ast.ClassDef, path: Path) -> Declaration:
    """What a file says beside the algorithm that it binds; HarnessError in one line, with the line, for what is not legal."""
    said = {**_inherited(node, path), **legal.declared(tree.body, path, {*legal.OF_FILE, *legal.METADATA})}
    own = legal.keywords(node, path) if isinstance(node, ast.FunctionDef) else legal.declared(parameters.beside(node), path, legal.METADATA)
    return replace(
        found,
        arguments=signatures.positional(node) if isinstance(node, ast.FunctionDef) else (),
        uses=bases.uses(path) if isinstance(node, ast.ClassDef) else frozenset(),
        grid={knob: legal.several(values) for knob, values in said.get("grid", {}).items()},
        search=legal.ranges(said.get("search", {}), str(path)),
        optimiser=said.get("optimiser", {}),
        aliases=legal.several(said.get("ALIASES", ())),
        single=signatures.learns_alone(tree, path, loss=found.loss),
        metadata={**{name: value for name, value in said.items() if name in legal.METADATA}, **own},
    )


def _inherited(node: ast.FunctionDef | ast.ClassDef, path: Path) -> dict[str, Any]:
    """What holds of a class because it holds of an algorithm that it inherits from, as that one's file says it: the grid too."""
    found: dict[str, Any] = {}
    for base in bases.ancestors(node, path) if isinstance(node, ast.ClassDef) else ():
        tree = syntax.parsed(base.file)
        if syntax.binding(tree, ALGORITHM) is base.node and base.file != path:
            found |= legal.declared([*tree.body, *parameters.beside(base.node)], base.file, legal.INHERITED)
    return found
