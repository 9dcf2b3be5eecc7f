"""Settings of algorithms: what was asked for, checked against what the algorithm's file declares, and spread into grid cells."""

from __future__ import annotations

import itertools
import math
from collections.abc import Collection, Mapping, Sequence
from typing import Any

from harness.errors import HarnessError, near
from harness.plugins import syntax
from harness.plugins.legal import STARTS, Range
from harness.plugins.parameters import Hyperparameter, settings_of
from harness.plugins.registry import Entry, canonical
from harness.training.schedule import OPTIMISER
from harness.types import Setting

# The shared loop understands these for every loss, whether its file mentions them or not.
SHARED = (
    Hyperparameter("learning_rate", "float", None),
    Hyperparameter("clip", "float", None),
    Hyperparameter("weight_decay", "float", None),
    Hyperparameter("batch_pairs", "int", None),
)
# Every algorithm understands this one: another run of the same training, its random draws alone being others. For controls.
REPLICATE = Hyperparameter("replicate", "int", None)
# So is what the policy starts from, which a file declares as its paper has it: ``init = "base"``, or the keyword of its decorator.
INIT = Hyperparameter("init", "str", None, STARTS)
SEARCHED = ("learning_rate", "clip")  # searched for every algorithm that takes them, whatever its file declares
AROUND = 4.0  # a default that declares no range of its own is searched from a quarter of it to four times it
POSITIVE = frozenset({"beta", "tau", "learning_rate", "clip", "batch_pairs"})
TRUTH = {"true": True, "false": False}

Choices = Mapping[str, Sequence[Setting]]


def legal(entry: Entry) -> dict[str, Hyperparameter]:
    """Every setting that a plug-in takes, by name: an algorithm's own, its optimiser's scalars and the shared ones, or a task's own."""
    if entry.kind == "tasks":  # what has no default is asked for in another way, such as its data
        return {each.name: each for each in entry.declaration.hyperparameters if each.default is not None}
    optimiser = {
        name: Hyperparameter(name, type(value).__name__, value)
        for name, value in entry.declaration.optimiser.items()
        if isinstance(value, bool | int | float | str)
    }
    shared = {each.name: each for each in SHARED} if entry.declaration.loss else {}
    if entry.declaration.loss and "reward" in entry.declaration.arguments:  # of a reward model that the loop fits for it
        shared |= {each.name: each for each in settings_of("sampled", "RewardFit")}
    return {
        REPLICATE.name: REPLICATE,
        INIT.name: INIT,
        **shared,
        **optimiser,
        **{each.name: each for each in entry.declaration.hyperparameters},
    }


def oracle(entry: Entry, chosen: Mapping[str, Any]) -> bool:
    """Whether a run with these settings trains on what judges it, as its file declares: ``oracle = True``, or ``{setting: value}``.

    Such a run buys labels that others do not have; it is shown and never ranked with them.
    """
    rule = entry.declaration.metadata.get("oracle", False)
    return any(chosen.get(name) == value for name, value in rule.items()) if isinstance(rule, dict) else bool(rule)


def init(entry: Entry, chosen: Mapping[str, Any]) -> str:
    """What a run with these settings starts from: ``sft`` or ``base``, as set, else as the algorithm's file declares, else ``sft``."""
    own = any(each.name == INIT.name for each in entry.declaration.hyperparameters)  # something else that is called so
    return str((not own and chosen.get(INIT.name)) or entry.declaration.metadata.get(INIT.name) or STARTS[0])


def parse_flag(text: str) -> tuple[str, str, list[str]]:
    """(algorithm, setting, values as written) of one ``--set dpo.beta=0.05,0.1``."""
    left, equals, right = text.partition("=")
    algorithm, _, setting = left.strip().rpartition(".")
    values = [value.strip() for value in right.split(",")]
    if not (equals and algorithm and setting and all(values)):
        raise HarnessError(f"--set {text!r} is not ALGORITHM.SETTING=VALUE[,VALUE...]; an example: --set dpo.beta=0.05,0.1")
    return algorithm, setting, values


def choices(entry: Entry, asked: Mapping[str, Any], where: str) -> dict[str, tuple[Setting, ...]]:
    """The checked values of every setting asked for; a single value counts as a list of one. ``where`` opens each error."""
    known = legal(entry)
    positive = POSITIVE | set(entry.declaration.metadata.get("positive", ()))
    found = {}
    for name, raw in asked.items():
        key = name.replace("-", "_")
        if key not in known:
            raise HarnessError(
                f"{where}{entry.name}.{name}: unknown setting.{near(name, known)} {entry.name} takes: {', '.join(sorted(known))}."
            )
        values = raw if isinstance(raw, list | tuple) else [raw]
        if not values:
            raise HarnessError(f"{where}{entry.name}.{name}: an empty list; at least one value is wanted.")
        path = f"{where}{entry.name}.{name}"
        found[key] = tuple(dict.fromkeys(value(known[key], each, path, positive=key in positive) for each in values))
    return found


def of_task(entry: Entry, written: Mapping[str, Any], flags: Sequence[str], origin: str) -> tuple[dict[str, Setting], list[str]]:
    """The task's own settings where they differ from what its file declares, flags over the file's, and the flags about algorithms."""
    names = {canonical(each) for each in (entry.name, *entry.declaration.aliases)}
    parsed = [(text, *parse_flag(text)) for text in flags]
    asked = {setting: values for _, name, setting, values in parsed if canonical(name) in names}
    chosen = {**choices(entry, written, f"{origin}task_options: "), **choices(entry, asked, "--set ")}
    for name, values in chosen.items():
        if len(values) > 1:
            raise HarnessError(f"{entry.name}.{name}: one value is wanted, found {len(values)}; --vary runs one study for each.")
    declared = legal(entry)
    departing = {name: values[0] for name, values in chosen.items() if values[0] != declared[name].default}
    return departing, [text for text, name, *_ in parsed if canonical(name) not in names]


def value(parameter: Hyperparameter, raw: Any, where: str, *, positive: bool) -> Setting:
    """One setting's value in its declared type, finite, and above 0 where ``positive``."""
    parsed = _converted(parameter, raw, where)
    if parameter.choices and parsed not in parameter.choices:
        options = ", ".join(map(str, parameter.choices))
        raise HarnessError(f"{where}: {raw!r} is not one of {options}.{near(str(raw), map(str, parameter.choices))}")
    if isinstance(parsed, float) and not math.isfinite(parsed):
        raise HarnessError(f"{where}: {raw!r} is not a finite number.")
    if parameter is REPLICATE and (isinstance(parsed, str) or parsed < 0):
        raise HarnessError(f"{where}: {parsed} is negative; replicates are numbered from 0.")
    if positive and not isinstance(parsed, str) and parsed <= 0:
        raise HarnessError(f"{where}: {parsed:g} is not positive; {parameter.name} must be above 0.")
    return parsed


def spread(chosen: Choices) -> tuple[dict[str, Setting], ...]:
    """The Cartesian product of the values of several settings, one dictionary per grid cell; one empty cell for no setting."""
    names = list(chosen)
    return tuple(dict(zip(names, values, strict=True)) for values in itertools.product(*chosen.values()))


def legal_grid(entry: Entry) -> dict[str, tuple[Setting, ...]]:
    """The grid that an algorithm's file declares, checked, or the one around its default; HarnessError with file and line."""
    line = entry.path and syntax.line(entry.path, "grid")
    return choices(entry, entry.declaration.grid or around_default(entry), f"{entry.path}{f':{line}' if line else ''}: grid: ")


def around_default(entry: Entry) -> dict[str, tuple[Setting, ...]]:
    """The grid of a file that declares none: its first number times 4, itself and a quarter; no grid where it has no positive number.

    What a class inherits comes after what it declares itself. A control has no knob, so it is left alone.
    """
    declared = entry.declaration
    if declared.metadata.get("control"):
        return {}
    for each in sorted(declared.hyperparameters, key=lambda each: each.name not in declared.own):
        if isinstance(each.default, float) and each.default > 0:
            return {each.name: (each.default * 4, each.default, each.default / 4)}
    return {}


def search(entry: Entry, taken: Collection[str], proposed: Mapping[str, Setting]) -> dict[str, Range]:
    """Where an algorithm's settings are searched: its file's ranges, and around the defaults of rate and clip where it gives none.

    ``taken`` names what the grid or the user has set, which is not searched; ``proposed`` are defaults that a task moves, and the ranges
    with them. Raises HarnessError for a range of no legal setting.
    """
    known, declared = legal(entry), entry.declaration.search
    positive = POSITIVE | set(entry.declaration.metadata.get("positive", ()))
    for name, found in declared.items():
        where = f"{entry.path}: search: {name}"
        if name not in known or known[name].kind not in ("int", "float"):
            numbers = sorted(each for each, parameter in known.items() if parameter.kind in ("int", "float"))
            raise HarnessError(f"{where}: not a number among the settings.{near(name, numbers)} {entry.name} takes: {', '.join(numbers)}.")
        if name in entry.declaration.grid:
            raise HarnessError(f"{where}: the grid moves it already; a setting is in one of the two.")
        if name in positive and found.low <= 0:
            raise HarnessError(f"{where}: {found.low:g} is not positive; {name} must be above 0.")
    defaults = {**(OPTIMISER if entry.declaration.loss else {}), **entry.defaults}
    every = {**_around(defaults), **declared}
    return {name: _recentred(each, defaults.get(name), proposed.get(name)) for name, each in every.items() if name not in taken}


def _around(defaults: Mapping[str, Any]) -> dict[str, Range]:
    """Ranges of what is always searched, around the defaults; an algorithm that has no such setting has no such range."""
    found = {name: float(defaults[name]) for name in SEARCHED if isinstance(defaults.get(name), float | int) and defaults[name] > 0}
    return {name: Range(value / AROUND, value * AROUND, "log", f"a factor {AROUND:g} around the default") for name, value in found.items()}


def _recentred(found: Range, default: Any, proposed: Setting | None) -> Range:
    """A log range moved as far as a task moves the default: what is searched lies around what the task proposes. Others stay."""
    if found.scale != "log" or not (isinstance(default, float) and isinstance(proposed, float) and default > 0 and proposed > 0):
        return found
    ratio, moved = proposed / default, f"{found.source}; moved with the default that the task proposes, {proposed:g}"
    return Range(found.low * ratio, found.high * ratio, found.scale, moved)


def drawn(parameter: Hyperparameter, share: float, found: Range) -> Setting:
    """The setting at ``share`` in [0, 1] of a range, to three significant digits, whole where the setting is."""
    low, high = (math.log(bound) if found.scale == "log" else bound for bound in (found.low, found.high))
    value = low + share * (high - low)
    number = float(f"{math.exp(value) if found.scale == 'log' else value:.3g}")
    return round(number) if parameter.kind == "int" else number


def middle(grid: Choices) -> dict[str, tuple[Setting, ...]]:
    """The grid with only the middle one of every knob's values."""
    return {knob: (values[len(values) // 2],) for knob, values in grid.items()}


def _converted(parameter: Hyperparameter, raw: Any, where: str) -> Setting:
    kind = parameter.kind
    text = str(raw).strip().lower() if isinstance(raw, bool) else str(raw).strip()
    try:
        if kind == "bool":
            return TRUTH[text.lower()]
        if kind == "str":
            return text
        if isinstance(raw, bool):
            raise ValueError
        number = float(text)
        if kind == "int" and number != int(number):
            raise ValueError
        return int(number) if kind == "int" else number
    except (KeyError, ValueError, OverflowError):
        wanted = {"bool": "true or false", "int": "a whole number", "float": "a number"}[kind]
        raise HarnessError(f"{where}: {raw!r} is not {wanted}.") from None
