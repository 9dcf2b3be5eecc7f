"""Rooms that are also the first thing one asks of them: ``harness.compare(...)`` and ``harness.report(...)`` call their module.

A submodule takes its name in the package when it is imported, so a function of the same name would be there only until then.
"""

from __future__ import annotations

import importlib
import sys
from types import ModuleType
from typing import Any


class _Called(ModuleType):
    """A module whose call is that of the function of its name in ``harness.python``."""

    def __call__(self, *arguments: Any, **named: Any) -> Any:
        function = getattr(importlib.import_module("harness.python"), self.__name__.rpartition(".")[2])
        return function(*arguments, **named)


def answers(module: str) -> None:
    """Let this module answer calls (Python data model, "Customizing module attribute access")."""
    sys.modules[module].__class__ = _Called
