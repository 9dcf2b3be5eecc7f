"""Figures as files: one style, no clock and no random names in them, so that the same numbers give the same bytes."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import cache, lru_cache, partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from harness.report import letters
from harness.report.beside import Beside
from harness.report.palette import INK
from harness.report.spots import Spot, described
from harness.report.styles import PAGE, Sheet
from harness.store.records import write_bytes

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

DPI = 200
KL_SCALE, KL_LINEAR = "The KL axis is linear to 1, then logarithmic.", "The KL axis is linear."

STYLE: Any = {  # its type in matplotlib's stubs is a list of every key
    "font.family": "DejaVu Sans",  # comes with matplotlib: the same glyphs everywhere
    "font.size": 7.5,
    "axes.titlesize": 9,
    "axes.titlelocation": "left",
    "axes.titley": 1.0,  # where it would be found to belong, without measuring every tick for it
    "axes.labelsize": 8,
    "axes.edgecolor": "#555555",
    "axes.labelcolor": INK,
    "axes.linewidth": 0.6,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": "#E6E6E6",
    "grid.linewidth": 0.6,
    "text.color": INK,
    "xtick.labelsize": 7,
    "ytick.labelsize": 7,
    "xtick.color": "#444444",
    "ytick.color": "#444444",
    "legend.fontsize": 7.5,
    "legend.frameon": False,
    "lines.linewidth": 1.2,
    "hatch.linewidth": 0.5,
    "text.parse_math": False,  # a dollar sign in a name is a dollar sign
    "svg.fonttype": "path",
    "svg.hashsalt": "harness",
    "pdf.fonttype": 42,
}
# Where in an SVG a coordinate of six decimals stands; a hundredth of a point is a page's finest, and half of its bytes are digits.
DIGITS, LONG = re.compile(r' (?:d|x|y)="[^"]*\.[^"]*"'), re.compile(r"(\.\d\d)\d+")
# comments, indents, and names that nothing refers to
SPARE = re.compile(r"<!--.*?-->|(?<=\n) +|(?<=<g) id=\"[\w-]*-[a-z0-9.]+_\d+\"", re.DOTALL)
METADATA: dict[str, dict[str, None]] = {
    "svg": {"Date": None, "Creator": None},
    "pdf": {"CreationDate": None, "Creator": None, "Producer": None},
    "png": {"Software": None},
}


class Drawing(NamedTuple):
    """A figure with the numbers in it and what a page says about it: its name, caption, alternative text, and points to speak of."""

    name: str
    figure: Figure
    rows: Sequence[Mapping[str, Any]]
    title: str
    caption: str
    alternative: str
    spots: Sequence[Spot] = ()


@contextmanager
def style(sheet: Sheet = PAGE) -> Iterator[None]:
    """The style of every figure, for making and for saving them; the process's own settings come back afterwards."""
    import matplotlib

    settings: Any = {**STYLE, **sheet.type, "figure.figsize": (sheet.width, sheet.width)}
    with matplotlib.rc_context(settings):
        yield


def new(width: float, height: float) -> Figure:
    """An empty figure of this size in inches, outside pyplot's global state."""
    from matplotlib.figure import Figure

    return Figure(figsize=(width, height))


def save(drawing: Drawing, folder: Path) -> str:
    """Write NAME.svg, NAME.pdf, NAME.png and NAME.csv; the text of the SVG comes back, to be put into a page."""
    write_bytes(folder / f"{drawing.name}.csv", table(drawing.rows).encode())
    write(drawing, folder)
    return (folder / f"{drawing.name}.svg").read_text(encoding="utf-8")


def start(drawing: Drawing, folder: Path, beside: Beside) -> Callable[[], str]:
    """Begin to ``save`` a figure beside everything else, a file at a time; what comes back waits for them and gives the SVG's text."""
    write_bytes(folder / f"{drawing.name}.csv", table(drawing.rows).encode())
    laid_out = cache(partial(_laid_out, drawing.figure))
    waits = [beside.start(lambda kind=kind: _file(drawing.name, folder, laid_out(), kind)) for kind in METADATA]  # type: ignore[misc]

    def text() -> str:
        for wait in waits:
            wait()
        return (folder / f"{drawing.name}.svg").read_text(encoding="utf-8")

    return text


@lru_cache(1)
def warm() -> None:
    """Draw a letter in every format, so that what is imported and read of fonts for it is there."""
    figure = new(1, 1)
    figure.text(0.5, 0.5, "a")
    figure.text(0.5, 0.5, "a", weight="bold")
    for kind in METADATA:
        rendered(figure, kind)


def write(drawing: Drawing, folder: Path, kinds: Sequence[str] = tuple(METADATA)) -> None:
    """Write the figure in these formats, each as NAME.FORMAT."""
    figure = _laid_out(drawing.figure) if len(kinds) > 1 else drawing.figure
    for kind in kinds:
        _file(drawing.name, folder, figure, kind)


def _laid_out(figure: Figure) -> Figure:
    from harness.report.recording import Recorded  # late, as all of matplotlib

    return Recorded(figure)


def _file(name: str, folder: Path, figure: Figure, kind: str) -> None:
    write_bytes(folder / f"{name}.{kind}", rendered(figure, kind))


def remove(name: str, folder: Path) -> None:
    """Remove the files of a figure that an earlier report wrote and this one cannot draw; nothing else in the folder is touched."""
    for kind in (*METADATA, "csv"):
        (folder / f"{name}.{kind}").unlink(missing_ok=True)


def rendered(figure: Figure, kind: str) -> bytes:
    """The figure's file of a kind of ``METADATA``, without a clock in it."""
    buffer = io.BytesIO()
    options: Any = {"pil_kwargs": {"compress_level": 3}} if kind == "png" else {}  # half the time of the default for 4 % more bytes
    with letters.copied():
        figure.savefig(buffer, format=kind, dpi=DPI, metadata=METADATA[kind], facecolor="white", **options)
    return buffer.getvalue()


def inline(svg: str, name: str, alternative: str, spots: Sequence[Spot] = ()) -> str:
    """The SVG element alone, its ids prefixed with the figure's name (several share a page), with a role and a label.

    With spots it is a group of images: an image has nothing inside that could take the focus.
    """
    from markupsafe import escape

    body = svg[svg.index("<svg") :]
    body = re.sub(r'(\bid="|url\(#|href="#)', rf"\g<1>{name}-", body)
    body = re.sub(r'\s(?:width|height)="[\d.]+pt"', "", body, count=2)
    body = DIGITS.sub(lambda path: LONG.sub(r"\1", path[0]), SPARE.sub("", body))
    role = "group" if spots else "img"
    return described(body, name, spots).replace("<svg", f'<svg role="{role}" aria-label="{escape(alternative)}"', 1)


def table(rows: Sequence[Mapping[str, Any]]) -> str:
    """Rows as CSV with a header of every key in order of appearance; an undefined value is an empty field."""
    names = list(dict.fromkeys(key for row in rows for key in row))
    buffer = io.StringIO()
    writer = csv.DictWriter(buffer, names, lineterminator="\n")
    writer.writeheader()
    writer.writerows({key: "" if value is None or value != value else value for key, value in row.items()} for row in rows)
    return buffer.getvalue()


def watermark(figure: Figure, text: str) -> None:
    """Write a text across the figure, pale enough to read through."""
    if text:
        figure.text(0.5, 0.5, text, ha="center", va="center", rotation=18, fontsize=26, color="#B00020", alpha=0.2, zorder=10)


def kl_axis(axes: Axes, largest: float, *, linear: bool = False) -> None:
    """An axis of KL in nats that starts at 0: linear to 1, logarithmic beyond, with a little room left of 0 for the reference.

    ``linear`` makes it linear throughout.
    """
    top = max(1.0, largest) * (1.04 if linear else 1.15)
    axes.set_xlim(-0.07 * (top / 4 if linear else 1), top)
    if not linear:
        axes.set_xscale("symlog", linthresh=1.0, linscale=0.8)
        ticks = [tick for tick in (0, 0.25, 0.5, 0.75, 1, 2, 4, 8, 16, 32, 64, 128, 256, 512) if tick <= top]
        axes.set_xticks(ticks, [f"{tick:g}" for tick in ticks])
        axes.set_xticks([], minor=True)
    room = axes.get_window_extent().width / axes.figure.dpi
    axes.set_xlabel("KL(policy || SFT reference), nats per response" if room > 2.4 else "KL(policy || SFT), nats per response")
