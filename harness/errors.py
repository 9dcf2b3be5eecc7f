"""The one exception that a user should ever see, and the hint that goes with a misspelt name. Standard library only."""

from __future__ import annotations

import difflib
from collections.abc import Iterable


class HarnessError(Exception):
    """What was wrong, what is legal and the nearest match, in one line; the command line prints it and exits with 2."""


def near(name: str, names: Iterable[str]) -> str:
    """``" Did you mean 'x'?"`` for the closest of ``names`` (dashes equal underscores, case is ignored), else an empty string."""
    legal = {_plain(each): each for each in names}
    found = difflib.get_close_matches(_plain(name), list(legal), n=1, cutoff=0.6)
    return f" Did you mean {legal[found[0]]!r}?" if found else ""


def _plain(name: str) -> str:
    return name.strip().lower().replace("-", "_")
