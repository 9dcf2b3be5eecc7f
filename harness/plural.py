"""A count and its noun, which agree in number wherever a line or a page says both."""

from __future__ import annotations


def plural(number: int, one: str) -> str:
    """The number with thousands apart and its noun: ``1 record``, ``1,200 records``; of a phrase the last word is the noun."""
    return f"{number:,} {one}{'s' * (number != 1)}"
