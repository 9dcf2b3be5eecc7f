"""What stands under a column of a record, as the type that a layout needs: text, a number, a verdict, a list."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from harness.errors import HarnessError

Record = Mapping[str, Any]


def text(record: Record, name: str) -> str:
    """The string under a column; a missing or null value counts as blank, any other type is an error."""
    value = record.get(name)
    if value is not None and not isinstance(value, str):
        raise HarnessError(f"has a {type(value).__name__} under '{name}'; expected a string")
    return value or ""


def number(record: Record, *names: str) -> float | None:
    """The number under the first of the columns that the record has, or None; text that is no number is an error, nan is none."""
    for name in names:
        value = record.get(name)
        if value is None or value == "":
            continue
        try:
            found = float(value)
        except (TypeError, ValueError):
            raise HarnessError(f"has {value!r:.40} under '{name}'; expected a number") from None
        return found if math.isfinite(found) else None
    return None


def verdict(record: Record, name: str) -> bool | None:
    """The verdict under a column: true and false, 1 and 0 or -1, yes and no, as JSON or as text; None where there is none."""
    value = record.get(name)
    words = {"true": True, "1": True, "yes": True, "false": False, "0": False, "-1": False, "no": False, "": None, "none": None}
    word = str(value).strip().lower().removesuffix(".0")
    if word not in words:
        raise HarnessError(f"has {value!r:.40} under '{name}'; expected true or false")
    return words[word]


def items(record: Record, *names: str) -> list[Any]:
    """The list under the first of the columns that holds something; anything else there is an error."""
    value = next((record[name] for name in names if record.get(name) is not None), None)
    if not isinstance(value, Sequence) or isinstance(value, str):
        raise HarnessError(f"has a {type(value).__name__} under '{names[0]}'; expected a list")
    return list(value)
