"""What the functions of a loss's file declare by their signatures: the names they ask for, the settings, and ``single``. No torch."""

from __future__ import annotations

import ast
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from harness.errors import HarnessError, near
from harness.plugins import bases, parameters, syntax
from harness.plugins.parameters import Hyperparameter
from harness.training.names import EITHER, UNPAIRED, check_names, illegal_default
from harness.training.schedule import OPTIMISER

if TYPE_CHECKING:
    from harness.plugins.declaration import Declaration

SINGLE = "single"  # the name under which a file says how it learns from responses that were labelled one by one
DECORATOR, DATACLASS = "preference_loss", "dataclass"
DEFAULT = " that is a number, a string or a bool"
LABELLED = tuple(name for name in (*UNPAIRED, *EITHER) if name != "reward")  # a reward model is fitted on pairs


def positional(node: ast.FunctionDef) -> tuple[str, ...]:
    """The names of a function's positional parameters."""
    return tuple(each.arg for each in (*node.args.posonlyargs, *node.args.args))


def refuse(found: Declaration, tree: ast.Module, node: ast.FunctionDef | ast.ClassDef, path: Path) -> None:
    """Raise HarnessError, file and line first, where a signature, a default or a setting of the optimiser is not legal."""
    if isinstance(node, ast.ClassDef):
        _refuse_defaults(found.hyperparameters, f"{path}:{node.lineno}: class '{node.name}'")
        _refuse_unmade(found, node, path)
        return
    if DECORATOR in map(_called, node.decorator_list):
        _refuse_function(node, path)
        _refuse_knobs(found, _where(node, path))
    _refuse_optimiser(found.optimiser, f"{path}:{syntax.line(path, 'optimiser')}: optimiser: ")
    if found.single:
        _refuse_single(found, next(each for each in tree.body if isinstance(each, ast.FunctionDef) and each.name == SINGLE), path)


def learns_alone(tree: ast.Module, path: Path, *, loss: bool) -> bool:
    """Whether a file says how it learns from single labelled responses: ``single``, a function of a loss's file, True of a class's.

    HarnessError where the name is bound to something else, for the loop would call it.
    """
    line = syntax.line(path, SINGLE)
    if line is None and SINGLE not in syntax.names(tree):
        return False
    values: list[Any] = [value for name, value in syntax.literals(tree.body) if name == SINGLE]
    if loss and any(isinstance(each, ast.FunctionDef) and each.name == SINGLE for each in tree.body) and not values:
        return True
    if not loss and values and isinstance(values[-1], bool):
        return values[-1]
    wanted = "a function of this file, the loss of a response that was labelled alone" if loss else "True or False"
    raise HarnessError(f"{path}{f':{line}' if line else ''}: {SINGLE} must be {wanted}; call it otherwise where it is something else.")


def _line(node: ast.FunctionDef) -> int:
    """The first line of a function, its decorators included."""
    return min([node.lineno, *(each.lineno for each in node.decorator_list)])


def _where(node: ast.FunctionDef, path: Path) -> str:
    return f"{path}:{_line(node)}: loss '{path.stem}'"


def _called(decorator: ast.expr) -> str:
    """The last part of a decorator's name."""
    return ast.unparse(decorator.func if isinstance(decorator, ast.Call) else decorator).rpartition(".")[2]


def _refuse_function(node: ast.FunctionDef, path: Path) -> None:
    """Raise HarnessError where a loss asks for a name that does not exist, or a setting has no legal default."""
    where = _where(node, path)
    try:
        check_names(positional(node), path.stem)
    except HarnessError as error:
        raise HarnessError(f"{path}:{_line(node)}: {error}") from error
    for argument, default in zip(node.args.kwonlyargs, node.args.kw_defaults, strict=True):
        if default is None:
            raise HarnessError(f"{where}: hyperparameter '{argument.arg}' needs a default{DEFAULT}.")
    _refuse_defaults(tuple(parameters.own(node)), where)


def _refuse_knobs(found: Declaration, where: str) -> None:
    """Raise HarnessError where the decorator names a setting that the loss does not have."""
    names = [each.name for each in found.hyperparameters]
    for key in (*found.metadata.get("positive", ()), *filter(None, [found.metadata.get("knob")])):
        if key not in names:
            raise HarnessError(f"{where}: {key!r} is not one of its hyperparameters.{near(key, names)}")


def _refuse_defaults(settings: Sequence[Hyperparameter], where: str) -> None:
    for each in settings:
        if each.default is not None and illegal_default(each.default):
            raise HarnessError(f"{where}: hyperparameter '{each.name}' needs a default{DEFAULT}, found {each.default!r}.")
        if isinstance(each.default, str) and each.kind in ("int", "float"):
            raise HarnessError(f"{where}: hyperparameter '{each.name}' is declared {each.annotation}, and its default is {each.default!r}.")


def _refuse_unmade(found: Declaration, node: ast.ClassDef, path: Path) -> None:
    """Raise HarnessError where a class declares settings that it would not have, for its base is a dataclass and it is none itself."""
    if found.own and DATACLASS not in map(_called, node.decorator_list):
        above = [each.node for each in bases.ancestors(node, path) if DATACLASS in map(_called, each.node.decorator_list)]
        if above:
            lost = f"does not have its own setting{'s' * (len(found.own) > 1)} {', '.join(sorted(found.own))}"
            why = f"for {above[-1].name} is a dataclass and it is none"
            raise HarnessError(f"{path}:{node.lineno}: class '{node.name}' {lost}, {why}; write @dataclass(frozen=True) before it.")


def _refuse_optimiser(found: Mapping[str, Any], where: str) -> None:
    for key, value in found.items():
        if key not in OPTIMISER:
            raise HarnessError(f"{where}unknown optimiser setting {key!r}.{near(key, list(OPTIMISER))} Legal: {', '.join(OPTIMISER)}.")
        if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value < math.inf:
            raise HarnessError(f"{where}{key}: {value!r} is not a finite number of 0 or more.")


def _refuse_single(found: Declaration, node: ast.FunctionDef, path: Path) -> None:
    """Raise HarnessError where ``single`` does not go with the loss, or asks for what data of single labelled responses do not give."""
    _refuse_function(node, path)
    where, arguments = f"{path}:{node.lineno}: {SINGLE}", positional(node)
    if set(found.arguments) & set(UNPAIRED):
        raise HarnessError(f"{where}: the loss is one per response already, which {SINGLE} would stand in for; leave one of them out.")
    for each in arguments:
        if each not in LABELLED:
            raise HarnessError(f"{where}: a response labelled alone has no {each!r}. Available: {', '.join(LABELLED)}.")
    own = {each.name: each.default for each in parameters.own(node)}
    declared = {each.name: each.default for each in found.hyperparameters}
    if own != declared:
        name = next(name for name in (*own, *declared) if name not in own or name not in declared or own[name] != declared[name])
        raise HarnessError(f"{where}: its settings must be those of the loss, with the same defaults; they differ in {name!r}.")
