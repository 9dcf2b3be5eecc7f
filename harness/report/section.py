"""A section of the page as a value: what each room of the report returns, so that the page itself need not know it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from harness.report.drawing import Drawing
from harness.report.palette import Look
from harness.report.points import Loaded, Point


class Grid(NamedTuple):
    """A table of texts: headings, rows of the same width, what it shows; columns from ``numeric`` on are set as numbers."""

    headings: Sequence[str]
    rows: Sequence[Sequence[str]]
    caption: str
    numeric: int = 2


@dataclass(frozen=True)
class Section:
    """A heading with paragraphs, figures and tables under it, shown in this order; ``name`` is its anchor in the page.

    ``cautions`` join the box at the top of the page, ``alarms`` (cell, alarm) the table of alarms.
    """

    name: str
    title: str
    paragraphs: Sequence[str] = ()
    figures: Sequence[Drawing] = ()
    tables: Sequence[Grid] = ()
    cautions: Sequence[str] = ()
    alarms: Sequence[tuple[str, str]] = ()


Looks = Mapping[str, Look]
Make = Callable[[Loaded, Sequence[Point], Looks], Section | None]
