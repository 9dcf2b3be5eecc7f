"""Preference Harness: compare preference-optimisation algorithms at matched compute. Public names are loaded when first used."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from harness.errors import HarnessError

if TYPE_CHECKING:
    from harness.python import compare as compare
    from harness.python import load as load
    from harness.python import report as report
    from harness.training.preference import preference_loss as preference_loss
    from harness.types import Defaults, Demonstration, Pair, Probe, Response, Scorer, Setup, Task, Update

__version__ = "0.1.0"

_ROOMS = ("compare", "report")  # modules that are called (harness/called.py)
_HOMES = {
    "load": "harness.python",
    "preference_loss": "harness.training.preference",
    **dict.fromkeys(
        ("Defaults", "Demonstration", "Pair", "Probe", "Response", "Scorer", "Setup", "Task", "Update"),
        "harness.types",
    ),
}

__all__ = [
    "Defaults",
    "Demonstration",
    "HarnessError",
    "Pair",
    "Probe",
    "Response",
    "Scorer",
    "Setup",
    "Task",
    "Update",
    "compare",
    "load",
    "preference_loss",
    "report",
]


def __getattr__(name: str) -> Any:  # PEP 562: ``import harness`` stays under 50 ms because torch and numpy wait until a name is used
    if name in _ROOMS:
        return importlib.import_module(f"harness.{name}")
    if name in _HOMES:
        return getattr(importlib.import_module(_HOMES[name]), name)
    raise AttributeError(f"module 'harness' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
