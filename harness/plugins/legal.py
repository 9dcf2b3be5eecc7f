"""What a plug-in's file may say beside the object that it binds, each by its name, refused in one line with file and line. No torch."""

from __future__ import annotations

import ast
import math
from collections.abc import Callable, Collection, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from harness.errors import HarnessError, near
from harness.plugins import syntax

SCALES = ("linear", "log")
OPTIMA = ("reward-tilt", "win-tilt", "none known")  # where infinitely many pairs lead: the reference tilted by what
STARTS = ("sft", "base")  # what a run begins with: the SFT model, or the one before SFT
# What an algorithm may take beside pairs, as ``harness list`` says it.
NEEDS = ("reference", "reward model", "sampling", "single responses", "gold labels", "margins", "agreements")


class Range(NamedTuple):
    """Where a setting is searched when algorithms are tuned: its bounds, ``linear`` or ``log`` between them, and where that comes from."""

    low: float
    high: float
    scale: str
    source: str


class Rule(NamedTuple):
    """What is legal, and in words what is wanted."""

    holds: Callable[[Any], bool]
    wanted: str


def _text(value: Any) -> bool:
    return isinstance(value, str)


def _truth(value: Any) -> bool:
    return isinstance(value, bool)


def _table(value: Any) -> bool:
    return isinstance(value, dict) and all(map(_text, value))


def _names(value: Any) -> bool:
    return isinstance(value, list | tuple) and all(map(_text, value))


TEXT, TRUTH = Rule(_text, "a text"), Rule(_truth, "True or False")
OF_FILE: Mapping[str, Rule] = {
    **dict.fromkeys(("grid", "search", "optimiser"), Rule(_table, "a literal dictionary with names as keys")),
    "ALIASES": Rule(lambda value: _text(value) or _names(value), "a name or several"),
}
# Of a file, of a class in it or of a loss's decorator.
METADATA: Mapping[str, Rule] = {
    **dict.fromkeys(("family", "source", "cost", "optimum", "init"), TEXT),
    **dict.fromkeys(("control", "untrained", "bounded"), TRUTH),
    "requires": Rule(lambda value: _text(value) and value.isidentifier(), "the name that a package is imported by"),
    "oracle": Rule(lambda value: _truth(value) or _table(value), "True, False, or a dictionary of a setting and its value"),
    "conventions": Rule(lambda value: _table(value) and all(map(_text, value.values())), "a dictionary of texts"),
    "needs": Rule(_names, "several texts, such as ('reference',)"),
}
OF_LOSS: Mapping[str, Rule] = {
    "knob": TEXT,
    "positive": Rule(_names, "several names, such as ('beta',)"),
    **dict.fromkeys(("uses_batch_statistics", "has_nll", "raises_chosen", "stops_gradient"), TRUTH),
}
# What a class that inherits from an algorithm need not say again; its source, cost and optimum are its own.
INHERITED = ("grid", "family", "init", "untrained", "bounded", "requires", "oracle", "needs")
RULES: Mapping[str, Rule] = {**OF_FILE, **METADATA, **OF_LOSS}
WORDS: Mapping[str, Collection[str]] = {"optimum": OPTIMA, "init": STARTS, "needs": NEEDS}


def declared(body: list[ast.stmt], path: Path, names: Collection[str]) -> dict[str, Any]:
    """The literals that these statements assign to ``names`` of ``RULES``; HarnessError for one that is no literal or not legal."""
    return {name: _legal(name, value, path) for name, value in syntax.assignments(body) if name in names}


def keywords(node: ast.FunctionDef, path: Path) -> dict[str, Any]:
    """Literal keywords of every decorator of a function, those of ``RULES`` checked. Others are for who runs the decorator to refuse."""
    calls = [decorator for decorator in node.decorator_list if isinstance(decorator, ast.Call)]
    found = {str(each.arg): each.value for call in calls for each in call.keywords if each.arg}
    return {name: _legal(name, value, path) for name, value in found.items() if name in RULES}


def _legal(name: str, node: ast.expr, path: Path) -> Any:
    where = f"{path}:{node.lineno}: {name}"
    try:
        value = ast.literal_eval(node)
    except (ValueError, TypeError):
        said = "files are read without being run"
        raise HarnessError(f"{where} must be a literal, for {said}; found {ast.unparse(node)}.") from None
    rule = RULES[name]
    if not rule.holds(value):
        raise HarnessError(f"{where} must be {rule.wanted}, found {value!r}.")
    words = WORDS.get(name, ())
    for word in (value,) if isinstance(value, str) else value if words else ():
        if words and word not in words:
            raise HarnessError(f"{where}: {word!r} is not one of {', '.join(words)}.{near(word, words)}")
    return value


def several(value: Any) -> tuple[Any, ...]:
    """A value as those of a list: a single one counts as a list of one."""
    return tuple(value) if isinstance(value, list | tuple) else (value,)


def ranges(search: Mapping[str, Any], where: str) -> dict[str, Range]:
    """The declared ranges of the search; HarnessError that says what of one is not legal. ``where`` opens it."""
    return {name: _range(value, f"{where}: search: {name}: ") for name, value in search.items()}


def _range(value: Any, where: str) -> Range:
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
