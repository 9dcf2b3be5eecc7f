"""Points of a figure that a page can speak of: which parts of the drawing belong to which point, and what is said of it."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, NamedTuple

from markupsafe import escape

if TYPE_CHECKING:
    from matplotlib.artist import Artist
    from matplotlib.axes import Axes

MARKER = "marker"  # the part of a point that stands for it: what has the focus and what the pointer is near to


class Spot(NamedTuple):
    """A point: the name that its parts begin with, its panel, whose it is, its KL in nats, and its values in words."""

    name: str
    panel: str
    algorithm: str
    kl: float
    text: str


@contextmanager
def parts(axes: Axes, name: str) -> Iterator[None]:
    """Whatever is drawn inside belongs to the point of this name; the line drawn last is its marker."""
    before = set(axes.get_children())
    yield
    drawn = [artist for artist in axes.get_children() if artist not in before]
    claim(drawn[:-1], name)
    drawn[-1].set_gid(f"{name}.{MARKER}")


def claim(drawn: Sequence[Artist], name: str, kind: str = "part") -> None:
    """Give each of these artists a name of its own under the point's."""
    for number, artist in enumerate(drawn):
        artist.set_gid(f"{name}.{kind}{number}")


def described(svg: str, prefix: str, spots: Sequence[Spot]) -> str:
    """The SVG with every part marked as its algorithm's, and every marker as an image with a name: the point in words."""
    known = {spot.name: spot for spot in spots}

    def told(found: re.Match[str]) -> str:
        spot = known[found["name"]]
        series = f'<g id="{prefix}-{found["name"]}.{found["part"]}" data-algorithm="{escape(spot.algorithm)}"'
        if found["part"] != MARKER:
            return f"{series}>"
        place = f'data-panel="{escape(spot.panel)}" data-kl="{spot.kl:.4g}"'
        return f'{series} class="spot" {place} role="img" aria-label="{escape(spot.text)}"><title>{escape(spot.text)}</title>'

    return re.sub(rf'<g id="{prefix}-(?P<name>point\.\w+\.\d+)\.(?P<part>\w+)">', told, svg)
