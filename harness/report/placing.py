"""Where labels beside points go: the first of a few places that covers least of what is already there."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from matplotlib.axes import Axes

# offsets in points with the alignment that goes with them, in order of preference
PLACES = tuple(
    (x, y, "left" if x > 0 else "right" if x < 0 else "center", "bottom" if y > 0 else "top" if y < 0 else "center")
    for reach in (1.0, 2.2, 3.6)
    for x, y in ((4.5 * reach, -3.5 * reach), (4.5 * reach, 3.5 * reach), (-4.5 * reach, 3.5 * reach), (-4.5 * reach, -3.5 * reach),
                 (5.5 * reach, 0.0), (-5.5 * reach, 0.0), (0.0, 5.5 * reach), (0.0, -5.5 * reach))
)  # fmt: skip
WIDTH = 0.62  # of the font size: the mean advance of digits in DejaVu Sans


class Box(NamedTuple):
    """A rectangle on the canvas, in points."""

    left: float
    bottom: float
    right: float
    top: float

    def overlap(self, other: Box) -> float:
        """Shared area, square points."""
        width = min(self.right, other.right) - max(self.left, other.left)
        height = min(self.top, other.top) - max(self.bottom, other.bottom)
        return max(0.0, width) * max(0.0, height)

    @property
    def area(self) -> float:
        """Area, square points."""
        return (self.right - self.left) * (self.top - self.bottom)


class Label(NamedTuple):
    """A text that belongs to a point, in data coordinates."""

    x: float
    y: float
    text: str
    colour: str


def place(axes: Axes, labels: Sequence[Label], *, size: float = 7.0, taken: Sequence[tuple[float, float]] = ()) -> None:
    """Write each label beside its point where it hides least of the points, of ``taken`` (data coordinates) and of other labels."""
    scale = 72 / axes.figure.dpi
    window = Box(*(edge * scale for edge in axes.get_window_extent().extents))
    anchors = [(scale * x, scale * y) for x, y in axes.transData.transform([(label.x, label.y) for label in labels])] if labels else []
    others = [(scale * x, scale * y) for x, y in axes.transData.transform(list(taken))] if taken else []
    occupied = [Box(x - 3, y - 3, x + 3, y + 3) for x, y in (*anchors, *others)]
    for label, anchor in zip(labels, anchors, strict=True):
        choices = [(_box(anchor, place, label.text, size), place) for place in PLACES]
        box, (x, y, horizontal, vertical) = min(choices, key=lambda choice: _cost(choice[0], occupied, window))
        occupied.append(box)
        far = abs(x) + abs(y) > 12
        line = {"arrowstyle": "-", "color": label.colour, "linewidth": 0.4, "shrinkA": 0, "shrinkB": 2} if far else None
        where: Any = {"ha": horizontal, "va": vertical, "fontsize": size, "color": label.colour, "arrowprops": line}
        axes.annotate(label.text, (label.x, label.y), (x, y), textcoords="offset points", **where)


def _box(anchor: tuple[float, float], place: tuple[float, float, str, str], text: str, size: float) -> Box:
    x, y = anchor[0] + place[0], anchor[1] + place[1]
    width, height = WIDTH * size * len(text), size
    left = {"left": x, "right": x - width, "center": x - width / 2}[place[2]]
    bottom = {"bottom": y, "top": y - height, "center": y - height / 2}[place[3]]
    return Box(left, bottom, left + width, bottom + height)


def _cost(box: Box, occupied: Sequence[Box], window: Box) -> float:
    """Covered area, with what hangs out of the axes counted ten times."""
    return sum(box.overlap(other) for other in occupied) + 10 * (box.area - box.overlap(window))
