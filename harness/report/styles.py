"""What a figure is drawn on: the page's own sheet, or the column of a conference's paper, each as a width with its type."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

from harness.errors import HarnessError, near

PAGE_WIDTH = 6.9  # inches
STACKED = 4.5  # inches: on a narrower sheet panels stand under one another

# Widths of one column and of the text in inches, as the style files set them: neurips_2025.sty has one column, icml2025.sty and acl.sty
# two. A paper's figures are set in STIX, which comes with matplotlib and stands beside the Times of all three.
COLUMNS: Mapping[str, tuple[float, float]] = {"neurips": (5.5, 5.5), "icml": (3.25, 6.75), "acl": (3.03, 6.3)}
FACES = ("STIXGeneral", "DejaVu Sans")  # the second for what the first has no glyph of


class Sheet(NamedTuple):
    """A width in inches and the settings of matplotlib in which its type differs from the page's."""

    width: float
    type: Mapping[str, Any]

    @property
    def stacked(self) -> bool:
        """Whether panels stand under one another."""
        return self.width < STACKED


PAGE = Sheet(PAGE_WIDTH, {})


def paper(style: str, columns: int) -> Sheet:
    """The sheet of a paper's figure that spans one or two columns; HarnessError where there is no such style or number of columns."""
    if style not in COLUMNS:
        raise HarnessError(f"Unknown style {style!r}.{near(style, COLUMNS)} Legal: {', '.join(COLUMNS)}.")
    if columns not in (1, 2):
        raise HarnessError(f"--columns {columns}: a figure spans 1 or 2 columns.")
    sizes = {"font.size": 7.5, "axes.titlesize": 8.5, "axes.labelsize": 8, "xtick.labelsize": 7.5, "ytick.labelsize": 7.5}
    return Sheet(COLUMNS[style][columns - 1], {**sizes, "font.family": list(FACES), "legend.fontsize": 7})
