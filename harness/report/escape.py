r"""Model output and data are untrusted text: what would act on a reader's terminal or browser is made visible instead.

Control characters (ANSI sequences begin with one) and the bidirectional controls that reorder text on the screen are written as
escapes such as ``\x1b`` and ``\u202e``. HTML's own characters are jinja2's business (``autoescape``); this comes before it.
"""

from __future__ import annotations

import unicodedata
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from jinja2 import Environment

KEPT = "\n\t"


def visible(text: object, *, lines: bool = True) -> str:
    r"""The text with control, format-control, surrogate and unassigned line-breaking characters as escapes.

    ``lines`` keeps newlines and tabs, as a page wants them; without it they are escaped too, as a table in a terminal wants them.
    """
    said = str(text)
    if said.isprintable():  # then nothing in it belongs to a category that is escaped
        return said
    return "".join(character if _harmless(character, lines) else _escaped(character) for character in said)


def deeply(value: Any) -> Any:
    """A value of JSON's types with every text in it, keys included, made visible."""
    if isinstance(value, str):
        return visible(value)
    if isinstance(value, dict):  # not any mapping: to ask that of every number took longer than all the rest
        return {visible(key): deeply(item) for key, item in value.items()}
    return [deeply(item) for item in value] if isinstance(value, list) else value


def _harmless(character: str, lines: bool) -> bool:
    if character in KEPT:
        return lines
    # Cc: control; Cf: format (bidirectional controls, zero-width); Cs: surrogates; Zl, Zp: separators that break lines
    return unicodedata.category(character) not in ("Cc", "Cf", "Cs", "Zl", "Zp")


def _escaped(character: str) -> str:
    return character.encode("unicode_escape").decode("ascii")


def templates() -> Environment:
    """The report's templates, in which everything is escaped, nothing may be undefined, and ``visible`` is a filter."""
    from jinja2 import Environment, PackageLoader, StrictUndefined

    from harness.report.typeset import cell, headline, numeric, opening

    loader = PackageLoader("harness.report", "templates")
    environment = Environment(loader=loader, autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    environment.filters |= {each.__name__: each for each in (visible, cell, headline, numeric, opening)}
    return environment


def source(name: str) -> str:
    """The text of a file among the templates that is no template itself: the page's script."""
    return (Path(__file__).parent / "templates" / name).read_text(encoding="utf-8")
