"""Where the parts of a figure stand, in inches: panels side by side or under one another, as the sheet is wide, and a legend below."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from harness.report import drawing
from harness.report.styles import STACKED

if TYPE_CHECKING:
    from matplotlib.artist import Artist
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

LEGEND: Any = {"loc": "lower center", "borderaxespad": 0.2, "labelspacing": 0.35, "columnspacing": 1.1, "handletextpad": 0.5}
LINE = 1.25  # height of a legend's line, of its type's size
BORDER = 0.4  # of a legend around its entries, of its type's size


class Margins(NamedTuple):
    """Inches around the panels, without the legend's."""

    left: float = 0.55
    right: float = 0.1
    top: float = 0.25
    bottom: float = 0.42


MARGINS = Margins()


def width() -> float:
    """The width of the sheet that is drawn on, in inches."""
    import matplotlib

    return float(matplotlib.rcParams["figure.figsize"][0])


def stacked() -> bool:
    """Whether the sheet is so narrow that panels stand under one another."""
    return width() < STACKED


def panels(
    count: int, tall: float, margins: Margins = MARGINS, *, gap: float = 0.66, low: float | None = None
) -> tuple[Figure, list[Axes]]:
    """A figure as wide as the sheet with ``count`` panels ``tall`` inches high (``low`` where they are stacked), ``gap`` inches apart."""
    if stacked() and count > 1:
        return _under(count, low or min(tall, 1.7), margins)
    figure = drawing.new(width(), tall + margins.top + margins.bottom)
    room = (width() - margins.left - margins.right - gap * (count - 1)) / count
    return figure, [box(figure, margins.left + (room + gap) * i, margins.bottom, room, tall) for i in range(count)]


def _under(count: int, tall: float, margins: Margins) -> tuple[Figure, list[Axes]]:
    step = tall + margins.top + margins.bottom
    figure = drawing.new(width(), step * count)
    room = width() - margins.left - margins.right
    return figure, [box(figure, margins.left, step * (count - 1 - i) + margins.bottom, room, tall) for i in range(count)]


def box(figure: Figure, left: float, bottom: float, wide: float, tall: float) -> Axes:
    """Axes at a place in inches from the figure's lower left corner."""
    across, up = figure.get_size_inches()
    return figure.add_axes((left / across, bottom / up, wide / across, tall / up))


def room_for(names: Sequence[str]) -> float:
    """Inches that names of ticks take at the left, at most 45 % of the sheet."""
    import matplotlib

    size = matplotlib.rcParams["ytick.labelsize"]
    widest = max(text_widths(drawing.new(1, 1), names, size), default=0.0)
    return min(0.45 * width(), float(widest) + 0.18)


def title(axes: Axes, text: str, pad: float) -> None:
    """A panel's title ``pad`` points above it, in the size of titles or, where it would be wider than the panel, as small as it must be."""
    import matplotlib

    size = float(matplotlib.rcParams["axes.titlesize"])
    room = axes.get_position().width * width()
    wide = float(text_widths(drawing.new(1, 1), [text], size)[0])
    axes.set_title(text, pad=pad, fontsize=size * min(1.0, room / max(wide, 1e-6)))


def legend_below(figure: Figure, handles: Sequence[Artist], names: Sequence[str], *, most: int = 6, handle: float = 2.0) -> None:
    """A legend under everything else, in as many columns as the sheet has room for; the figure grows by its height.

    ``most`` is the largest number of columns, ``handle`` the length of a handle in sizes of its type.
    """
    if not names:
        return
    size, columns = _size(), _columns(figure, names, most, handle)
    lines = -(-len(names) // columns)
    grow(figure, size * (lines * (LINE + LEGEND["labelspacing"]) + 2 * BORDER) / 72)
    figure.legend(handles=list(handles), labels=list(names), ncols=columns, handlelength=handle, borderpad=BORDER, **LEGEND)


def grow(figure: Figure, below: float) -> None:
    """Make the figure taller at its lower edge by this many inches; what is in it keeps its size and its distance from the top."""
    across, up = figure.get_size_inches()
    places = [(axes, axes.get_position()) for axes in figure.axes]
    figure.set_size_inches(across, up + below)
    for axes, place in places:
        axes.set_position((place.x0, (place.y0 * up + below) / (up + below), place.width, place.height * up / (up + below)))


def _columns(figure: Figure, names: Sequence[str], most: int, handle: float) -> int:
    """The largest number of columns whose entries fit side by side."""
    import matplotlib

    texts, room = text_widths(figure, names, matplotlib.rcParams["legend.fontsize"]), width()
    fixed, between = _size() * (handle + LEGEND["handletextpad"]) / 72, _size() * LEGEND["columnspacing"] / 72
    for columns in range(min(most, len(names)), 1, -1):
        parts = np.array_split(texts, columns)
        wide = sum(float(part.max()) + fixed for part in parts) + between * (columns - 1) + 2 * BORDER * _size() / 72
        if wide <= room - 0.04:
            return columns
    return 1


def text_widths(figure: Figure, texts: Sequence[str], size: float) -> Any:
    """How wide texts are at a size, in inches, (texts,)."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.font_manager import FontProperties

    canvas: Any = FigureCanvasAgg(figure)
    renderer, face = canvas.get_renderer(), FontProperties(size=size)
    return np.array([renderer.get_text_width_height_descent(text, face, False)[0] / figure.dpi for text in texts])


def _size() -> float:
    import matplotlib
    from matplotlib.font_manager import FontProperties

    return float(FontProperties(size=matplotlib.rcParams["legend.fontsize"]).get_size_in_points())
