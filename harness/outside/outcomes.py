"""Per-prompt outcomes made by any system, read from a CSV file: one line says what is wrong with it, and where. Standard library only."""

from __future__ import annotations

import csv
import math
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from harness.errors import HarnessError, near

REQUIRED = ("algorithm", "seed", "prompt", "outcome")
NUMBERS = ("kl", "length", "opponent_length", "flops")
OPTIONAL = ("setting", "category", "response", *NUMBERS)
SHOWN = 8  # line numbers that an error lists


class Outcome(NamedTuple):
    """One prompt answered by one run. ``outcome`` is in [0, 1]; ``numbers`` hold what else is known: kl in nats, lengths in tokens, flops.

    ``line`` is where it stands in the file.
    """

    algorithm: str
    setting: str
    seed: int
    prompt: str
    outcome: float
    category: str
    response: str
    numbers: Mapping[str, float]
    line: int

    @property
    def run(self) -> tuple[str, str, int]:
        """Which run it belongs to: algorithm, setting and seed."""
        return self.algorithm, self.setting, self.seed


class Table(NamedTuple):
    """The outcomes of a file in its order, and the columns that nothing here reads."""

    outcomes: list[Outcome]
    unused: list[str]


def read(path: Path) -> Table:
    """The outcomes in a CSV file with a header.

    Raises:
        HarnessError: it cannot be read, lacks a column, holds a value that cannot be, or has an outcome twice; with the lines.
    """
    try:
        with path.open(encoding="utf-8-sig", newline="") as stream:
            reader = csv.DictReader(stream, strict=True)
            columns = [name.strip() for name in reader.fieldnames or ()]
            _refuse_columns(path, columns)
            reader.fieldnames = columns
            rows = [(reader.line_num, row) for row in reader]
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise HarnessError(f"{path}: cannot be read as CSV: {getattr(error, 'strerror', None) or error}.") from error
    if not rows:
        raise HarnessError(f"{path}: no outcomes below its header.")
    _refuse(path, list(_wrong(rows)))
    found = [_outcome(line, row) for line, row in rows]
    _refuse_twice(path, found)
    _refuse_prices(path, found)
    return Table(found, [name for name in columns if name not in (*REQUIRED, *OPTIONAL)])


def _refuse_columns(path: Path, columns: Sequence[str]) -> None:
    missing = [name for name in REQUIRED if name not in columns]
    if missing:
        hints = "".join(near(name, [each for each in columns if each not in REQUIRED]) for name in missing)
        legal = f"{', '.join(REQUIRED)}; optional: {', '.join(OPTIONAL)}"
        raise HarnessError(f"{path}: no column {', '.join(missing)}.{hints} Found: {', '.join(columns) or 'none'}. Wanted: {legal}.")
    if twice := sorted({name for name in columns if columns.count(name) > 1}):
        raise HarnessError(f"{path}: column {', '.join(twice)} is there twice.")


def _wrong(rows: Sequence[tuple[int, Mapping[str, str | None]]]) -> Iterator[tuple[str, int]]:
    """What is wrong with a value, and its line."""
    for line, row in rows:
        if None in row or any(value is None for value in row.values()):
            yield "another number of fields than the header", line
            continue
        for name in ("algorithm", "prompt"):
            if not _text(row, name):
                yield f"no {name}", line
        if not _text(row, "seed").removeprefix("+").isdecimal():
            yield f"seed {_text(row, 'seed')!r} is not a whole number from 0", line
        if not 0 <= _number(_text(row, "outcome")) <= 1:
            yield f"outcome {_text(row, 'outcome')!r} is not a number from 0 to 1", line
        for name in NUMBERS:
            value = _text(row, name)
            if value and not (math.isfinite(_number(value)) and (name == "kl" or _number(value) >= 0)):
                yield f"{name} {value!r} is not a finite number{'' if name == 'kl' else ' from 0'}", line


def _refuse(path: Path, wrong: Sequence[tuple[str, int]]) -> None:
    """One line about the first thing that is wrong, with the lines of whatever else is."""
    if not wrong:
        return
    said, line = wrong[0]
    others = sorted({each for _, each in wrong if each != line})
    more = f" {len(others)} more {'line is' if len(others) == 1 else 'lines are'} wrong: {_listed(others)}." if others else ""
    raise HarnessError(f"{path}, line {line}: {said}.{more} Nothing was imported.")


def _refuse_twice(path: Path, found: Sequence[Outcome]) -> None:
    first: dict[tuple[object, ...], int] = {}
    twice = [(first[key], each) for each in found if first.setdefault(key := (*each.run, each.prompt), each.line) != each.line]
    if twice:
        line, each = twice[0]
        which = f"{each.algorithm} {each.setting}".strip()
        more = f" {len(twice) - 1} more are: lines {_listed([other.line for _, other in twice[1:]])}." if len(twice) > 1 else ""
        same = f"the same outcome as line {line} ({which}, seed {each.seed}, prompt {each.prompt[:40]!r})"
        raise HarnessError(f"{path}, line {each.line}: {same}.{more} One outcome for each prompt of a run is wanted. Nothing was imported.")


def _refuse_prices(path: Path, found: Sequence[Outcome]) -> None:
    """A run has one price: ``flops`` is the run's, repeated on each of its rows."""
    known: dict[tuple[str, str, int], tuple[float, int]] = {}
    for each in found:
        if "flops" in each.numbers:
            price, line = known.setdefault(each.run, (each.numbers["flops"], each.line))
            if price != each.numbers["flops"]:
                said = f"flops {each.numbers['flops']:g}, and {price:g} on line {line} of the same run"
                raise HarnessError(f"{path}, line {each.line}: {said}; a run has one price. Nothing was imported.")


def _outcome(line: int, row: Mapping[str, str | None]) -> Outcome:
    numbers = {name: _number(_text(row, name)) for name in NUMBERS if _text(row, name)}
    names = (_text(row, "algorithm"), _text(row, "setting"), int(_text(row, "seed")), _text(row, "prompt"))
    return Outcome(*names, _number(_text(row, "outcome")), _text(row, "category"), row.get("response") or "", numbers, line)


def _text(row: Mapping[str, str | None], name: str) -> str:
    return (row.get(name) or "").strip()


def _number(text: str) -> float:
    """The number in a text, NaN where it is none; digits only as people write them."""
    try:
        return float(text) if "_" not in text else math.nan
    except ValueError:
        return math.nan


def _listed(lines: Sequence[int]) -> str:
    return ", ".join(map(str, lines[:SHOWN])) + (", ..." if len(lines) > SHOWN else "")
