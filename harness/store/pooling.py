"""Which records of a folder may not stand beside the others: of another task, version, data, judge or model they are never pooled."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Collection, Mapping
from typing import Any

SAME = {
    "task": ("task", "name"),
    "task version": ("task", "version"),
    "data": ("task", "source"),
    "judge": ("judge", "primary"),
    "model": ("model", "name"),
    "dtype": ("model", "dtype"),
    "assumptions": ("assumptions",),
    "study": ("study",),
}


def foreign(experiment: Mapping[str, Any], records: Mapping[str, Mapping[str, Any]]) -> dict[str, str]:
    """The records that must be left out, by name, with the reason.

    What a study is, the records of its experiment's key say, and where none has that key, most of the records. A record that does not
    speak of a field is not held to it, for records of before the field cannot.
    """
    study = _text(experiment.get("study")) or _most(records.values(), SAME["study"])
    own = [record for record in records.values() if _text(record.get("study")) == study]
    common = {what: _most(own or records.values(), path) for what, path in SAME.items()} | {"study": study}
    differing = {name: _differences(record, common) for name, record in records.items()}
    return {name: f"{name}: never pooled with records of {said}" for name, said in differing.items() if said}


def _differences(record: Mapping[str, Any], common: Mapping[str, str]) -> str:
    """What the record says otherwise than the rest; that the study's key differs says nothing more where the cause is named."""
    found = {what: (_text(_at(record, path)), common[what]) for what, path in SAME.items()}
    other = {what: values for what, values in found.items() if values[0] and values[1] and values[0] != values[1]}
    if len(other) > 1:
        other.pop("study", None)
    return ", ".join(f"another {what} ({expected}; this one is of {own})" for what, (own, expected) in other.items())


def _most(records: Collection[Mapping[str, Any]], path: tuple[str, ...]) -> str:
    """The text that most records have there; empty where none has any."""
    said = Counter(text for record in records if (text := _text(_at(record, path))))
    return said.most_common(1)[0][0] if said else ""


def _at(record: Mapping[str, Any], path: tuple[str, ...]) -> Any:
    value: Any = record
    for key in path:
        value = value.get(key) if isinstance(value, Mapping) else None
    return value


def _text(value: Any) -> str:
    return "" if value is None else value if isinstance(value, str) else json.dumps(value, sort_keys=True)
