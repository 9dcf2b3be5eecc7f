"""What a page and a paper both need of a study is computed once: kept on the first of the things that it is of, and no longer than they."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence
from functools import wraps
from typing import Any, Concatenate, ParamSpec, TypeVar

Thing = TypeVar("Thing")
Rest = ParamSpec("Rest")
Found = TypeVar("Found")

PLACE = "_computed"  # beside the values of cached properties, in the thing's own dictionary


def once(
    function: Callable[Concatenate[Sequence[Thing], Rest], Found],
) -> Callable[Concatenate[Sequence[Thing], Rest], Found]:
    """The function, which is called once for the same things and arguments; things are cells or points, which are equal by identity.

    What it gives is shared by all that ask for it and may not be changed. Of no things nothing is kept.
    """

    @wraps(function)
    def known(things: Sequence[Thing], /, *args: Rest.args, **kwargs: Rest.kwargs) -> Found:
        if not things:
            return function(things, *args, **kwargs)
        kept: dict[Hashable, Any] = vars(things[0]).setdefault(PLACE, {})
        key = (function, tuple(things), args, tuple(sorted(kwargs.items())))
        if key not in kept:
            kept[key] = function(things, *args, **kwargs)
        found: Found = kept[key]
        return found

    return known
