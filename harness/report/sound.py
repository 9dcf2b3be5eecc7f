"""Whether a cell's files can be shown: what a report must refuse about one record, said in one line instead of ending the page."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from operator import itemgetter
from typing import Any, NamedTuple

import numpy as np

from harness.errors import HarnessError
from harness.measure import lineage
from harness.store.records import STATUSES, Cell, Row

OUTCOMES = ("win_", "tie_", "eos_rate")  # metrics that are shares of outcomes, each between 0 and 1
WHERE = ("mark", "slice", "temperature", "opponent", "sample", "prompt_id")  # what tells one sample row from another


def problem(cell: Cell) -> str:
    """Why the cell is left out, opening with its name, or an empty string. Everything that a report may read of it is read here once."""
    try:
        said = _record(cell.record)
        if not said:
            cell.times, cell.metrics()
            said = _judge(cell.record) or _metrics(cell.record) or _rows(cell.samples(), texts=not imported(cell.record))
    except HarnessError as error:
        return str(error)
    return f"{cell.folder.name}: {said}" if said else ""


def _record(record: Row) -> str:
    """What is missing of the shape that a record of this schema has."""
    name = record.get("algorithm", {}).get("name") if isinstance(record.get("algorithm"), Mapping) else None
    if record.get("kind") == "cell" and not isinstance(name, str):
        return "a record without the name of its algorithm"
    if record.get("status", "finished") not in STATUSES:
        return f"status {record.get('status')!r} is none of {', '.join(STATUSES)}"
    if not isinstance(record.get("setting", {}), Mapping):
        return f"setting {record['setting']!r} is not a table"
    if not isinstance(record.get("seed", 0), int):
        return f"seed {record.get('seed')!r} is not a whole number"
    checkpoints = record.get("checkpoints", [])
    if not isinstance(checkpoints, list) or any(not _is_checkpoint(each) for each in checkpoints):
        return "a checkpoint without a mark and its metrics"
    spent = record.get("compute", {})
    if record.get("kind") == "cell" and record.get("status") == "finished" and not _is_compute(spent):
        return "a finished record that does not say what it spent"
    return ""


def _judge(record: Row) -> str:
    """Why its judge cannot judge this cell: it trained on that judge, and no one declared it."""
    judged = record.get("judge")
    lineages = judged.get("lineage") if isinstance(judged, Mapping) else None
    judge = lineage.read(lineages.get(judged["primary"])) if isinstance(judged, Mapping) and isinstance(lineages, Mapping) else None
    reward = lineage.read(record.get("reward"))
    if judge is None or reward is None or record.get("algorithm", {}).get("oracle"):
        return ""
    return lineage.error(judge, reward)


def _is_checkpoint(value: Any) -> bool:
    return isinstance(value, Mapping) and isinstance(value.get("mark"), int | float) and isinstance(value.get("metrics"), Mapping)


def _is_compute(value: Any) -> bool:
    return isinstance(value, Mapping) and isinstance(value.get("canonical"), Mapping)


def _metrics(record: Row) -> str:
    """What no metric of a checkpoint may be: anything but a value with bounds, or a share outside 0 to 1."""
    for checkpoint in record.get("checkpoints", ()):
        for name, found in checkpoint["metrics"].items():
            if found is None:
                continue
            if not isinstance(found, Mapping) or not isinstance(found.get("value"), int | float | None):
                return f"{name} at mark {checkpoint['mark']:g} is not a value with its bounds"
            if _outside(name, found.get("value")):
                return f"{name} at mark {checkpoint['mark']:g} is {found['value']:g}; an outcome lies between 0 and 1"
    return ""


def imported(record: Row) -> bool:
    """Whether the outcomes were imported: their texts may have stayed where they were made."""
    return bool(record.get("imported"))


def _rows(rows: Sequence[Row], *, texts: bool = True) -> str:
    """What no sample row may be: without its prompt, an outcome outside 0 to 1, or there twice; without ``texts``, wherever they are."""
    kinds = _kinds(rows)
    suspects = sorted({name for kind in kinds for name in kind.names if _is_outcome(name) and _suspect(kind.column(name))})  # nearly none
    for row in () if not suspects and all(_plain(kind, texts=texts) for kind in kinds) else rows:
        if not isinstance(row.get("prompt_id"), int) or not isinstance(row.get("mark", 1.0), int | float):
            return f"a sample row without its prompt: {sorted(row)[:4]}"
        if (
            texts
            and row.get("slice", "evaluation") == "evaluation"
            and not all(isinstance(row.get(key), str) for key in ("prompt", "response"))
        ):
            return f"the sample of prompt {row['prompt_id']} has no text"
        wrong = next((name for name in suspects if _outside(name, row.get(name))), None)
        if wrong:
            return f"{wrong} of prompt {row['prompt_id']} is {row[wrong]:g}; an outcome lies between 0 and 1"
    try:
        twice = "" if _all_differ(kinds) else _twice(list(zip(*([row.get(name) for row in rows] for name in WHERE), strict=True)))
    except TypeError:
        return f"a sample row whose {', '.join(WHERE[:-1])} or {WHERE[-1]} is a list or a table"
    return f"duplicated sample rows: {twice}" if twice else ""


class _Kind(NamedTuple):
    """Rows that have the same columns, which can be looked at column by column."""

    names: tuple[str, ...]
    rows: Sequence[Row]

    def column(self, name: str) -> list[Any]:
        """The rows' values of one of the columns."""
        return list(map(itemgetter(name), self.rows))

    def types(self, name: str) -> set[type]:
        """The types in a column; none where there is no such column."""
        return {*map(type, self.column(name))} if name in self.names else set()


def _kinds(rows: Sequence[Row]) -> list[_Kind]:
    """The rows by the columns that they have: a handful of kinds in thousands of rows."""
    found: dict[tuple[str, ...], list[Row]] = {}
    last: tuple[str, ...] | None = None
    group: list[Row] = []
    for row in rows:
        if (names := tuple(row)) != last:  # to compare is quicker than to look up: most rows are of the kind of the row before
            last, group = names, found.setdefault(names, [])
        group.append(row)
    return [_Kind(*each) for each in found.items()]


def _plain(kind: _Kind, *, texts: bool) -> bool:
    """Whether every row has its prompt, its mark and, where it was evaluated, its texts; where not, one by one says which."""
    if kind.types("prompt_id") != {int} or not kind.types("mark") <= {int, float}:
        return False
    evaluated = "slice" not in kind.names or "evaluation" in kind.column("slice")
    return not (texts and evaluated) or all(kind.types(name) == {str} for name in ("prompt", "response"))


def _all_differ(kinds: Sequence[_Kind]) -> bool:
    """Whether no sample is there twice; TypeError where what tells samples apart is a list or a table."""
    keys = [key for kind in kinds for key in zip(*(_told(kind, name) for name in WHERE), strict=True)]
    return len(set(keys)) == len(keys)


def _told(kind: _Kind, name: str) -> list[Any]:
    return kind.column(name) if name in kind.names else [None] * len(kind.rows)


def _suspect(values: Sequence[Any]) -> bool:
    """Whether some value of an outcome may lie outside 0 to 1; what is not a number is only missing."""
    known = values if {*map(type, values)} <= {int, float} else [value for value in values if isinstance(value, int | float)]
    table = np.asarray(known, dtype=np.float64)
    return bool(((table < 0) | (table > 1)).any())


def _twice(keys: Sequence[tuple[Any, ...]]) -> str:
    """The first sample that occurs more often than once, and how many do."""
    repeated = {key: count for key, count in Counter(keys).items() if count > 1}
    key, count = next(iter(repeated.items()))
    where = ", ".join(f"{name} {value}" for name, value in zip(WHERE, key, strict=True) if value is not None)
    return f"{where} occurs {count} times" + (f", and {len(repeated) - 1} more like it" if len(repeated) > 1 else "")


def _outside(name: str, value: Any) -> bool:
    """Whether an outcome is outside 0 to 1; one that is not a number is only missing."""
    known = isinstance(value, int | float) and not math.isnan(value)
    return known and _is_outcome(name) and not 0 <= value <= 1


def _is_outcome(name: str) -> bool:
    return name.startswith(OUTCOMES) and not name.endswith("_delta")
