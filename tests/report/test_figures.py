"""What figures show: nothing cut off or overprinted, no noise blown up, no marks of a policy that had not started, no stale files."""

from __future__ import annotations

import csv
import itertools
import json
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import synthetic
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.text import Text
from matplotlib.transforms import Bbox

from harness.report import drawing, figure_frontier, figure_safety, figure_training, page
from harness.report.beside import Beside
from harness.report.drawing import Drawing
from harness.report.palette import looks
from harness.report.points import load, points


def edit(study: Path, change: Callable[[dict[str, Any]], None], pattern: str = "cells/*") -> None:
    """Change the records of a study where they lie."""
    for path in study.glob(f"{pattern}/record.json"):
        record = json.loads(path.read_text())
        change(record)
        path.write_text(json.dumps(record))


def drawings(study: Path) -> Iterator[Drawing]:
    """Every figure of a study in the report's style."""
    loaded = load(study)
    with drawing.style():
        shown = page._looks(points(loaded))
        for _, drawn in page.drawings(loaded, points(loaded), shown):
            if drawn is not None:
                yield drawn
        if (linear := figure_frontier.draw(points(loaded), loaded.references, shown, loaded.frontiers, linear=True)) is not None:
            yield linear
        for make in (*page.SECTIONS, *page.TRAINING):
            section = make(loaded, points(loaded), looks([(point.algorithm, point.control) for point in points(loaded)]))
            yield from section.figures if section else ()


def safety(study: Path) -> Drawing:
    loaded = load(study)
    found = points(loaded)
    with drawing.style():
        drawn = figure_safety.draw(found, loaded.references, looks([(point.algorithm, point.control) for point in found]))
    assert drawn is not None
    return drawn


def frame(drawn: Drawing) -> tuple[Bbox, list[tuple[str, Bbox]]]:
    """The figure's box and, by text, the boxes of all titles, axis labels, tick labels and legend entries, in pixels."""
    canvas = FigureCanvasAgg(drawn.figure)
    canvas.draw()
    left_out = {id(text) for axes in drawn.figure.axes for text in (*axes.texts, *beyond(axes))}  # labels of points find their own places
    texts = [text for text in drawn.figure.findobj(Text) if text.get_visible() and text.get_text() and id(text) not in left_out]
    shown = [text for text in texts if text.axes is None or text.axes.get_visible()]
    boxes = [(text.get_text(), text.get_window_extent(canvas.get_renderer())) for text in shown]
    return drawn.figure.bbox, [(name, box) for name, box in boxes if box.width > 0]


def beyond(axes: Axes) -> Iterator[Text]:
    """Labels of ticks outside the axes' limits, which are not drawn."""
    for axis in (axes.xaxis, axes.yaxis):
        low, high = sorted(axis.get_view_interval())
        yield from (tick.label1 for tick in axis.get_major_ticks() if not low <= tick.get_loc() <= high)


def inside(box: Bbox, outer: Bbox) -> bool:
    return box.x0 >= outer.x0 and box.y0 >= outer.y0 and box.x1 <= outer.x1 and box.y1 <= outer.y1


def common(a: Bbox, b: Bbox) -> bool:
    return min(a.x1, b.x1) - max(a.x0, b.x0) > 0.5 and min(a.y1, b.y1) - max(a.y0, b.y0) > 0.5


@pytest.mark.parametrize("settings", [pytest.param(1, marks=pytest.mark.slow), 3])
def test_no_text_is_cut_off_or_overprinted(tmp_path: Path, settings: int) -> None:
    def smaller(record: dict[str, Any]) -> None:  # long tick labels are what pushes an axis label off the page
        metrics = record["checkpoints"][-1]["metrics"]
        metrics["over_refusal_mass_delta"] = synthetic.interval(-0.0006, 0.0001, 512)

    study = synthetic.study(tmp_path, settings=settings, failed=False)
    edit(study, smaller)
    for drawn in drawings(study):
        outer, texts = frame(drawn)
        assert len(texts) >= 10
        assert [name for name, box in texts if not inside(box, outer)] == [], drawn.name
        assert [(a, b) for (a, x), (b, y) in itertools.combinations(texts, 2) if common(x, y)] == [], drawn.name


@pytest.mark.parametrize(("value", "labelled"), [(-0.0006, False), (-0.03, True)])
def test_a_panel_of_changes_shows_the_margin_and_does_not_label_noise(tmp_path: Path, value: float, labelled: bool) -> None:
    study = synthetic.study(tmp_path, ("dpo",), failed=False)
    both = {key: synthetic.interval(value, 0.0001, 512) for key in figure_safety.DELTAS}
    edit(study, lambda record: record["checkpoints"][-1]["metrics"].update(both))
    for axes, worse in zip(safety(study).figure.axes, (-0.02, 0.02), strict=False):
        low, high = axes.get_ylim()
        assert low <= -0.01 and high >= 0.01 and low < worse < high
        assert any(set(line.get_ydata()) == {worse} for line in axes.lines)
        said = [text.get_text() for text in axes.texts]
        assert said == (["0.5", "0.1", "0.03"] if labelled else ["all within 0.002 of zero"])


def test_marks_before_the_policy_started_are_not_drawn(tmp_path: Path) -> None:
    study = synthetic.study(tmp_path, ("dpo", "ppo"), settings=1, failed=False)
    synthetic.text(study)
    rows = list(csv.DictReader((study / "report" / "figures" / "frontier.csv").read_text().splitlines()))
    marks = Counter(row["algorithm"] for row in rows if row["kind"] == "mark" and row["panel"] == "gold")
    assert marks == {"dpo": 3, "ppo": 2}  # marks at 0.25, 0.5 and 0.75; the first of PPO's falls into its reward model
    unmoved = min(float(row["kl"]) for row in rows if row["algorithm"] == "ppo")
    assert unmoved == pytest.approx(0.5 * synthetic.KL["ppo"][0])


def test_a_figure_that_can_no_longer_be_drawn_leaves_no_file(tmp_path: Path) -> None:
    study = synthetic.study(tmp_path, ("dpo", "ppo"), settings=1, failed=False)
    page.write(study)
    figures = study / "report" / "figures"
    (figures / "mine.png").write_bytes(b"a reader's own")
    before = {path.name for path in figures.iterdir()}
    for cell in study.glob("cells/ppo*"):
        (cell / "record.json").unlink()
    page.write(study)
    gone = {f"proxy.{kind}" for kind in ("svg", "pdf", "png", "csv")}
    assert gone < before
    assert {path.name for path in figures.iterdir()} == before - gone
    assert "figures/proxy" not in (study / "report" / "index.html").read_text()


def test_the_linear_frontier_goes_with_the_first(tmp_path: Path) -> None:
    study = load(synthetic.study(tmp_path, ("dpo",), settings=1, failed=False))
    stale = tmp_path / "figures" / "frontier-linear.svg"
    stale.parent.mkdir()
    stale.write_text("<svg/>")
    beside = Beside(drawing.warm)
    assert page._linear(study, [], page.figure(None, "frontier", tmp_path, "", beside), tmp_path, beside) == []
    assert not stale.exists()


def test_the_caption_says_where_the_frontier_ends_and_what_was_set(tmp_path: Path) -> None:
    study = synthetic.study(tmp_path, ("dpo", "ipo"), failed=False)
    synthetic.reference(study, 0, points=True)
    edit(study, lambda record: record["settings"].update({"normalize": "mean"}) if record["algorithm"]["name"] == "ipo" else None)
    edit(study, lambda record: record["frontier"][-1].update({"ended": True, "ess": 9.5}), "references/*")
    loaded = load(study)
    found = points(loaded)
    with drawing.style():
        drawn = figure_frontier.draw(found, loaded.references, looks([(point.algorithm, False) for point in found]))
    assert drawn is not None
    assert "drawn to KL 3.12 (effective sample size 9.5): beyond, the weights leave an effective sample size below 8" in drawn.caption
    assert "linear to 1, then logarithmic" in drawn.caption
    assert (
        "dpo beta 0.5, 0.1, 0.03 (reduction sum); ipo gap 1, 5, 20 (gap nats per sequence, normalize mean, reduction sum)." in drawn.caption
    )


@pytest.mark.parametrize(
    ("diagnostics", "expected"),
    [
        ({"reward_accuracy": synthetic.interval(0.74, 0.05, 256)}, "0.74 [0.69, 0.79], n=256 (ppo kl=0.5)."),
        # Wilson: (0.5 + 1.92 / 100 +- 1.96 sqrt(0.25 / 100 + 0.96 / 10000)) / (1 + 3.84 / 100)
        ({"reward_accuracy": 0.5, "reward_heldout_pairs": 100.0}, "0.50 [0.40, 0.60], n=100 (ppo kl=0.5)."),
        ({"reward_accuracy": 0.0, "reward_heldout_pairs": 10.0}, "0.00 [0.00, 0.28], n=10 (ppo kl=0.5)."),
        ({}, "The two rewards have different scales."),
    ],
)
def test_the_reward_models_accuracy_stands_by_the_proxy(tmp_path: Path, diagnostics: dict[str, Any], expected: str) -> None:
    study = synthetic.study(tmp_path, ("ppo",), settings=1, failed=False)
    edit(study, lambda record: record.update({"diagnostics": diagnostics}))
    found = points(load(study))
    with drawing.style():
        drawn = figure_training.draw_proxy(figure_training.training_rows(found), looks([("ppo", False)]))
    assert drawn is not None and drawn.caption.endswith(expected)
