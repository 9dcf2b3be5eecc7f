"""Twins of a response for reward-model probes where a task knows nothing of its texts: the same words, no better an answer."""

from __future__ import annotations

from collections.abc import Mapping

from harness.types import Twin

APPENDED = "I hope that this is helpful to you."


def repeated(prompt: str, text: str) -> str | None:
    """The text said twice, or None where there is none."""
    return f"{text} {text}" if text.strip() else None


def appended(prompt: str, text: str) -> str | None:
    """The text with a sentence that says nothing after its end, or None where it does not end in a mark."""
    return f"{text} {APPENDED}" if text.rstrip().endswith((".", "!", "?")) else None


TWINS: Mapping[str, Twin] = {"said twice": repeated, "a sentence that says nothing": appended}
