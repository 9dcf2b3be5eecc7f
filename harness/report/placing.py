"""Where labels beside points go: the first of a few places that covers least of what is already there."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from harness.measure.statistics import Array

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.text import Annotation

# offsets in points with the alignment that goes with them, in order of preference
PLACES = tuple(
    (x, y, "left" if x > 0 else "right" if x < 0 else "center", "bottom" if y > 0 else "top" if y < 0 else "center")
    for reach in (1.0, 2.2, 3.6)
    for x, y in ((4.5 * reach, -3.5 * reach), (4.5 * reach, 3.5 * reach), (-4.5 * reach, 3.5 * reach), (-4.5 * reach, -3.5 * reach),
                 (5.5 * reach, 0.0), (-5.5 * reach, 0.0), (0.0, 5.5 * reach), (0.0, -5.5 * reach))
)  # fmt: skip
OFFSETS = np.array([place[:2] for place in PLACES])
# how much of the text's own width and height lies left of and below its place
SHIFTS = np.array(
    [({"left": 0.0, "center": 0.5, "right": 1.0}[place[2]], {"bottom": 0.0, "center": 0.5, "top": 1.0}[place[3]]) for place in PLACES]
)
WIDTH = 0.62  # of the font size: the mean advance of digits in DejaVu Sans


class Label(NamedTuple):
    """A text that belongs to a point, in data coordinates."""

    x: float
    y: float
    text: str
    colour: str


def place(axes: Axes, labels: Sequence[Label], *, size: float = 7.0, taken: Sequence[tuple[float, float]] = ()) -> list[Annotation]:
    """Write each label beside its point where it hides least of the points, of ``taken`` (data coordinates) and of other labels."""
    if not labels:
        return []
    written = []
    scale = 72 / axes.figure.dpi
    window = scale * np.asarray(axes.get_window_extent().extents)
    points = scale * axes.transData.transform([*((label.x, label.y) for label in labels), *taken])
    occupied = np.hstack([points - 3, points + 3])
    for label, anchor in zip(labels, points, strict=False):
        boxes = _boxes(anchor, label.text, size)
        best = int(np.argmin(_cost(boxes, occupied, window)))
        occupied = np.vstack([occupied, boxes[best]])
        x, y, horizontal, vertical = PLACES[best]
        far = abs(x) + abs(y) > 12
        line = {"arrowstyle": "-", "color": label.colour, "linewidth": 0.4, "shrinkA": 0, "shrinkB": 2} if far else None
        where: Any = {"ha": horizontal, "va": vertical, "fontsize": size, "color": label.colour, "arrowprops": line}
        written.append(axes.annotate(label.text, (label.x, label.y), (x, y), textcoords="offset points", **where))
    return written


def _boxes(anchor: Array, text: str, size: float) -> Array:
    """The rectangle of the text at each place: left, bottom, right, top in points, (places, 4)."""
    corner = anchor + OFFSETS - SHIFTS * (extent := np.array([WIDTH * size * len(text), size]))
    return np.hstack([corner, corner + extent])


def _overlap(boxes: Array, others: Array) -> Array:
    """Shared areas, square points, (boxes, others)."""
    sides = np.minimum(boxes[:, None, 2:], others[None, :, 2:]) - np.maximum(boxes[:, None, :2], others[None, :, :2])
    areas: Array = np.maximum(sides, 0.0).prod(axis=2)
    return areas


def _cost(boxes: Array, occupied: Array, window: Array) -> Array:
    """Covered area of each box, (boxes,), with what hangs out of the axes counted ten times."""
    areas = (boxes[:, 2:] - boxes[:, :2]).prod(axis=1)
    cost: Array = _overlap(boxes, occupied).sum(axis=1) + 10 * (areas - _overlap(boxes, window[None])[:, 0])
    return cost
