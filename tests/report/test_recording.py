"""Recorded figures: what every format is drawn from is what matplotlib would draw itself, and it is laid out once."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from matplotlib.figure import Figure
from matplotlib.text import Text
from PIL import Image

from harness.report import drawing, letters, recording
from harness.report.beside import Beside


def figure() -> Figure:
    """Whatever a report's figures are made of: lines, markers, bars with hatches, bands, cells, legends, clips, texts at angles."""
    made = drawing.new(5, 4)
    left, right = made.subplots(1, 2)
    left.plot([0, 1, 2], [0.2, 3, 0.4], "o--", label="dashed", markerfacecolor="none")
    left.fill_between([0, 2], [0, 1], [1, 2], alpha=0.3, label="band")
    left.scatter([0.5, 1.5], [1, 2], s=[20, 60], c=["#123456", "#AA0000"])
    left.errorbar([1], [1], [[0.3], [0.5]], capsize=3)
    left.set_ylim(0.3, 2.5)  # so that the lines are clipped
    left.legend(title="a legend")
    left.set_xlabel("nats per response")
    right.bar([0, 1], [1, 2], hatch="//", edgecolor="black")
    right.pcolormesh([2, 3, 4], [0, 1, 2], np.array([[0.1, 0.9], [0.4, 0.6]]), cmap="PuOr_r", edgecolors="white")
    right.tick_params(axis="x", rotation=45)
    right.annotate("$5 here", (0.5, 0.5), xycoords="axes fraction", bbox={"boxstyle": "round"})
    made.text(0.5, 0.5, "draft", rotation=18, alpha=0.2)
    return made


def themselves(made: Figure, kind: str) -> bytes:
    buffer = io.BytesIO()
    with letters.copied():
        made.savefig(buffer, format=kind, dpi=drawing.DPI, metadata=drawing.METADATA[kind], facecolor="white")
    return buffer.getvalue()


def pixels(content: bytes) -> Any:
    return np.asarray(Image.open(io.BytesIO(content)).convert("L").reduce(4), dtype=float)


def test_an_svg_is_the_same_bytes() -> None:
    with drawing.style():
        made = figure()
        assert drawing.rendered(recording.Recorded(made), "svg") == themselves(made, "svg")


def test_pixels_are_the_same_but_for_the_grid_that_letters_lie_on() -> None:
    """At a quarter of the resolution, so that a letter that stands half a pixel further counts for little."""
    with drawing.style():
        made = figure()
        ours, theirs = pixels(drawing.rendered(recording.Recorded(made), "png")), pixels(themselves(made, "png"))
    assert ours.shape == theirs.shape == (200, 250)
    assert np.abs(ours - theirs).mean() < 1.5
    assert np.corrcoef(ours.ravel(), theirs.ravel())[0, 1] > 0.98


def test_a_pdf_has_its_size_its_fonts_and_its_letters() -> None:
    with drawing.style():
        made = figure()
        ours, theirs = drawing.rendered(recording.Recorded(made), "pdf"), themselves(made, "pdf")
    assert b"/MediaBox [ 0 0 360 288 ]" in ours
    assert ours.count(b"/FontFile2") == theirs.count(b"/FontFile2") == 1
    assert abs(len(ours) - len(theirs)) < 0.02 * len(theirs)


class Counted(Text):
    """A text that counts how often it is drawn."""

    drawn = 0

    def draw(self, renderer: Any) -> None:
        Counted.drawn += 1
        super().draw(renderer)


def test_a_figure_is_laid_out_once_for_all_its_files(tmp_path: Path) -> None:
    Counted.drawn = 0
    with drawing.style():
        made = figure()
        made.add_artist(Counted(0.1, 0.9, "once"))
        drawn = drawing.Drawing("toy", made, (), "", "", "")
        drawing.save(drawn, tmp_path / "saved")
        assert Counted.drawn == 1
        svg = drawing.start(drawn, tmp_path / "started", Beside(lambda: None))()
        assert Counted.drawn <= 2  # what another process draws is counted there
    assert made.dpi == Figure().dpi  # what is recorded leaves the figure as it was
    names = sorted(path.name for path in (tmp_path / "saved").iterdir())
    assert names == [f"toy.{kind}" for kind in ("csv", "pdf", "png", "svg")]
    assert all((tmp_path / "saved" / name).read_bytes() == (tmp_path / "started" / name).read_bytes() for name in names)
    assert svg == (tmp_path / "saved" / "toy.svg").read_text()


def test_an_image_is_refused_rather_than_blurred() -> None:
    made = drawing.new(2, 2)
    made.subplots().imshow([[0.0, 1.0], [1.0, 0.0]])
    with pytest.raises(ValueError, match="no image"):
        recording.Recorded(made)
