"""A figure laid out once and written in every format: what it draws is recorded, and each format is drawn from the recording.

To lay out ticks, texts and legends takes most of the time in which matplotlib saves a figure, and it does so for every format again.
Renderers are matplotlib's own interface for further formats; the recorder is one that writes nothing.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, cast

import numpy as np
from matplotlib.backend_bases import GraphicsContextBase, RendererBase
from matplotlib.figure import Figure
from matplotlib.textpath import TextToPath
from matplotlib.transforms import Affine2D, TransformedBbox, TransformedPath

DPI = 72.0  # of what is recorded: a pixel is a point, as in SVG and PDF

Call = Callable[["Target"], None]


class Target:
    """A renderer that a recording is played to, and how many of its pixels a point has."""

    def __init__(self, renderer: Any, height: float, scale: float) -> None:
        self.renderer, self.height, self.scale = renderer, height, scale
        self._larger = Affine2D().scale(scale)

    def at(self, transform: Any) -> Any:
        """A transform to points as one to the renderer's pixels."""
        return transform if self.scale == 1 else transform + self._larger

    def place(self, x: float, y: float) -> tuple[float, float]:
        """A place in points from the lower left corner, where the renderer has it."""
        return x * self.scale, self.height * self.scale - y * self.scale if self.renderer.flipy() else y * self.scale

    def context(self, kept: GraphicsContextBase) -> Any:
        """The colours, lines and clips that were kept, as the renderer has them."""
        made = self.renderer.new_gc()
        made.copy_properties(kept)
        if self.scale != 1:
            box, clip = kept.get_clip_rectangle(), cast("tuple[Any, Any]", kept.get_clip_path())
            made.set_clip_rectangle(box and TransformedBbox(box, self._larger))
            made.set_clip_path(None if clip[0] is None else TransformedPath(clip[0], clip[1] + self._larger))
        return made


class Recorder(RendererBase):
    """A renderer that keeps what it is told to draw. Texts are as wide as their outlines are, which no screen's grid has rounded."""

    def __init__(self, width: float, height: float) -> None:
        """Of a canvas so many points wide and high."""
        super().__init__()
        self.calls: list[Call] = []
        self._size, self._outlines = (width, height), TextToPath()
        self._clips: dict[int, tuple[Any, Any]] = {}  # what a figure clips by, and what that was while it was recorded

    def flipy(self) -> bool:
        """Places are from the lower left corner."""
        return False

    def get_canvas_width_height(self) -> tuple[float, float]:
        """In points."""
        return self._size

    def get_text_width_height_descent(self, s: str, prop: Any, ismath: Any) -> tuple[float, float, float]:
        """In points."""
        found: tuple[float, float, float] = self._outlines.get_text_width_height_descent(s, prop, ismath)
        return found

    def open_group(self, s: str, gid: str | None = None) -> None:
        """Keep where a group begins."""
        self.calls.append(lambda to: to.renderer.open_group(s, gid))

    def close_group(self, s: str) -> None:
        """Keep where it ends."""
        self.calls.append(lambda to: to.renderer.close_group(s))

    def draw_path(self, gc: GraphicsContextBase, path: Any, transform: Any, rgbFace: Any = None) -> None:
        """Keep a path."""
        fixed = transform.frozen()
        self._keep(gc, lambda to, context: to.renderer.draw_path(context, path, to.at(fixed), rgbFace))

    def draw_markers(
        self, gc: GraphicsContextBase, marker_path: Any, marker_trans: Any, path: Any, trans: Any, rgbFace: Any = None
    ) -> None:
        """Keep a marker and where it is put."""
        marker, places = marker_trans.frozen(), trans.frozen()
        self._keep(gc, lambda to, context: to.renderer.draw_markers(context, marker_path, to.at(marker), path, to.at(places), rgbFace))

    def draw_path_collection(
        self,
        gc: GraphicsContextBase,
        master_transform: Any,
        paths: Any,
        all_transforms: Any,
        offsets: Any,
        offset_trans: Any,
        *rest: Any,
        **more: Any,
    ) -> None:
        """Keep paths with their offsets."""
        master, places = master_transform.frozen(), offset_trans.frozen()
        each = all_transforms if len(all_transforms) else np.empty((0, 3, 3))
        self._keep(
            gc,
            lambda to, context: to.renderer.draw_path_collection(
                context, to.at(master), paths, each, offsets, to.at(places), *rest, **more
            ),
        )

    def draw_text(
        self, gc: GraphicsContextBase, x: float, y: float, s: str, prop: Any, angle: float, ismath: Any = False, mtext: Any = None
    ) -> None:
        """Keep a line of text."""
        self._keep(gc, lambda to, context: to.renderer.draw_text(context, *to.place(x, y), s, prop, angle, ismath, mtext))

    def draw_image(self, gc: GraphicsContextBase, x: float, y: float, im: Any, transform: Any = None) -> None:
        """An image has the pixels of one resolution alone, so a report's figures have none."""
        raise ValueError("a recorded figure holds no image")

    def _keep(self, gc: GraphicsContextBase, call: Callable[[Target, Any], None]) -> None:
        kept = GraphicsContextBase()
        kept.copy_properties(gc)
        kept.set_clip_rectangle(self._fixed(gc.get_clip_rectangle(), lambda box: box.frozen()))
        clip: Any = gc.get_clip_path()
        if clip[0] is not None:
            kept.set_clip_path(self._fixed(clip[0], lambda path: TransformedPath(path, clip[1].frozen())))

        def again(to: Target) -> None:
            context = to.context(kept)
            call(to, context)
            context.restore()

        self.calls.append(again)

    def _fixed(self, clip: Any, fix: Callable[[Any], Any]) -> Any:
        """What axes clip by, at the size at which they are recorded; the same object for all that one clips."""
        return clip and self._clips.setdefault(id(clip), (clip, fix(clip)))[1]


class Recorded(Figure):
    """A figure that draws what another one drew."""

    def __init__(self, figure: Figure) -> None:
        """The figure is laid out here, on a canvas whose pixels are points."""
        width, height = figure.get_size_inches()
        super().__init__(figsize=(width, height))
        self._recorder, self._height = Recorder(width * DPI, height * DPI), height * DPI
        before, figure.dpi = figure.dpi, DPI
        try:
            figure.draw(self._recorder)
        finally:
            figure.dpi = before

    def draw(self, renderer: Any) -> None:
        """Play the recording to a renderer."""
        to = Target(renderer, self._height, self.dpi / DPI)
        for call in self._recorder.calls:
            call(to)
