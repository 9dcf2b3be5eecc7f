"""One comparison under several assumptions: the experiment as given, and a study of its own for each other value of each of them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from harness.errors import HarnessError, near
from harness.planning.assumptions import NAMES

KEY = "vary"  # of an experiment file: a table of lists
ONE_BY_ONE = tuple(name for name in NAMES if name not in ("judge", "task_options"))  # every judge is recorded in every study anyway


def asked(flags: Sequence[str], written: Mapping[str, Any]) -> dict[str, list[Any]]:
    """The values of every assumption that is to vary, flags (``labels=bt,flip``) over the file's table; HarnessError for what is none."""
    found: dict[str, list[Any]] = {}
    for name, values in written.items():
        found[_known(str(name), f"{KEY}: ")] = list(values) if isinstance(values, list) else [values]
    for text in flags:
        name, equals, values = text.partition("=")
        words = [word.strip() for word in values.split(",") if word.strip()]
        if not (equals and words):
            raise HarnessError(f"--vary {text!r} is not NAME=VALUE[,VALUE...]; an example: --vary labels=bt,flip")
        found[_known(name.strip(), "--vary ")] = list(words)
    return found


def variations(flags: Mapping[str, Any], varied: Mapping[str, Sequence[Any]]) -> Iterator[dict[str, Any]]:
    """The flags of every study: those given, then one change at a time, so that a difference has one cause."""
    yield dict(flags)
    for name, values in varied.items():
        for value in values:
            if "." in name:
                yield {**flags, "set": [*flags.get("set", ()), f"{name}={value}"]}
            else:
                yield {**flags, name: value}


def _known(name: str, where: str) -> str:
    """The assumption that a name means; dashes equal underscores, TASK.OPTION is a task's own setting."""
    found = name if "." in name else name.replace("-", "_")
    if "." not in found and found not in ONE_BY_ONE:
        legal = (*ONE_BY_ONE, "TASK.OPTION")
        raise HarnessError(f"{where}{name}: not an assumption that can vary.{near(name, legal)} Legal: {', '.join(legal)}.")
    return found
