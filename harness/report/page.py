"""``report/``: one self-contained page, its figures as files, and table.csv. A pure function of the records: same records, same bytes."""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

from harness.report import (
    alarms,
    declared,
    drawing,
    figure_frontier,
    figure_training,
    findings,
    frontier_points,
    provenance,
    rows,
    section_calibration,
    section_comparisons,
    section_curves,
    section_exact,
    section_frontier,
    section_judges,
    section_losses,
    section_matched,
    section_monitoring,
    section_overoptimisation,
    section_passes,
    section_rejudged,
    section_reward_model,
    section_safety,
    section_sources,
    section_tuning,
    section_winrate,
    tables,
)
from harness.report.beside import Beside
from harness.report.drawing import Drawing
from harness.report.escape import source, templates, visible
from harness.report.examples import examples
from harness.report.methods import METHODS
from harness.report.overview import overview
from harness.report.palette import Look, looks
from harness.report.points import Loaded, Point, by_algorithm, load, points
from harness.report.section import Make
from harness.store.files import uncollected
from harness.store.records import write_bytes

Rooms = tuple[Sequence[Mapping[str, Any]], Sequence[Mapping[str, Any]]]  # those after Results and those after Training

# The rooms of the page after Results, in order; each returns a section or None where a study has nothing for it.
SECTIONS: tuple[Make, ...] = (
    section_comparisons.section,
    section_winrate.section,
    section_passes.section,
    section_exact.section,
    section_sources.section,
    section_frontier.section,
    section_overoptimisation.section,
    section_curves.section,
    section_safety.section,
    section_matched.section,
    section_tuning.section,
    section_judges.section,
    section_rejudged.section,
    section_calibration.section,
)
TRAINING: tuple[Make, ...] = (section_losses.section, section_monitoring.section, section_reward_model.section)  # those after Training
TABLES_ALONE: frozenset[Make] = frozenset(  # rooms that never have a figure, of which a paper wants nothing
    each.section
    for each in (
        section_sources,
        section_frontier,
        section_judges,
        section_rejudged,
        section_calibration,
        section_monitoring,
        section_reward_model,
    )
)
FIRST = (("frontier", "Win rate and gold reward against KL"), ("results", "Results"))
LAST = (("alarms", "Alarms and lost cells"), ("methods", "What the numbers mean"), ("provenance", "Provenance"))

LEFT_OUT = {
    "frontier": "Figure 1 is left out: no finished cell has a KL together with a win rate or a gold reward.",
    "logps": "The log-prob curves are left out: no run logged chosen and rejected log-probs.",
    "proxy": "Proxy against gold is left out: no run logged both a proxy and a gold reward.",
}


class Written(NamedTuple):
    """A page that was written: its path, ``study/report/index.html``, the numbers in its figures by name, as CSV, and its table's rows."""

    path: Path
    numbers: Mapping[str, str]
    table: Sequence[Mapping[str, Any]]


def write(study: Path | Loaded, **overrides: Any) -> Path:
    """Write the report of a study, or of the one in a folder, and return the page's path.

    ``overrides`` replace values of the experiment that only the report reads, such as ``safety_margin``.
    """
    return written(study, **overrides).path


def written(study: Path | Loaded, beside: Beside | None = None, **overrides: Any) -> Written:
    """``write`` the report; what it wrote. ``beside`` may have other work already, which comes before the figures."""
    return begun(study, beside, **overrides)()


@uncollected()
def begun(study: Path | Loaded, beside: Beside | None = None, **overrides: Any) -> Callable[[], Written]:
    """Begin the report: all its numbers are there, its figures are being saved; what comes back waits for them and writes the page."""
    loaded = load(study) if isinstance(study, Path) else study
    loaded = replace(loaded, experiment={**loaded.experiment, **overrides}) if overrides else loaded
    folder = loaded.folder / "report"
    found, beside = points(loaded), beside or Beside(drawing.warm)
    with drawing.style():
        mark = findings.watermark(loaded)
        figures = [figure(drawn, name, folder, mark, beside) for name, drawn in drawings(loaded, found, _looks(found))]
        again = _linear(loaded, found, figures[0], folder, beside)
        rooms = list(_rooms(SECTIONS, loaded, found, folder, beside)), list(_rooms(TRAINING, loaded, found, folder, beside))
    table = rows.rows(loaded)
    write_bytes(folder / "table.csv", drawing.table(table).encode())

    @uncollected()
    def finish() -> Written:
        every = [*figures, *(each for group in rooms for room in group for each in room["figures"])]
        with drawing.style():
            for each in [*every, *again]:
                each["svg"] = each["svg"]() if each["svg"] else ""
        page = folder / "index.html"
        write_bytes(page, render(loaded, found, [*figures, *again], rooms).encode())
        return Written(page, {each["name"]: drawing.table(each["rows"]) for each in every if not each["reason"]}, table)

    return finish


def _rooms(makers: Sequence[Make], study: Loaded, found: list[Point], folder: Path, beside: Beside) -> Iterator[dict[str, Any]]:
    """Every room that has something to say, its figures saved and ready for the template."""
    shown, mark = _looks(found), findings.watermark(study)
    for make in makers:
        section = make(study, found, shown)
        if section is not None:
            names = ("name", "title", "paragraphs", "tables", "cautions", "alarms")
            yield {name: getattr(section, name) for name in names} | {
                "figures": [figure(drawn, drawn.name, folder, mark, beside) for drawn in section.figures]
            }


def _looks(found: Sequence[Point]) -> Mapping[str, Look]:
    """The look of every algorithm of these points."""
    return looks([(point.algorithm, point.control) for point in found], {point.algorithm for point in found if point.hollow})


def figure(drawn: Drawing | None, name: str, folder: Path, mark: str, beside: Beside) -> dict[str, Any]:
    """Begin to save one figure; what the page says of it, its ``svg`` to be called for. One that cannot be drawn gives the reason."""
    if drawn is None:
        drawing.remove(name, folder / "figures")
        return {"name": name, "reason": LEFT_OUT[name], "svg": None, "rows": (), "live": False}
    drawing.watermark(drawn.figure, mark)
    saved, alternative = drawing.start(drawn, folder / "figures", beside), visible(drawn.alternative)
    text = {"title": drawn.title, "caption": drawn.caption, "name": name, "reason": ""}
    said = alternative, drawn.spots
    made = {"svg": lambda: drawing.inline(saved(), name, *said), "rows": drawn.rows, "live": bool(drawn.spots), "said": said}
    return {key: visible(each) for key, each in text.items()} | made


def _linear(study: Loaded, found: Sequence[Point], first: Mapping[str, Any], folder: Path, beside: Beside) -> list[dict[str, Any]]:
    """The first figure with a linear KL axis, for the page alone, drawn beside everything else; none without the first."""
    shown, name = _looks(found), "frontier-linear"
    if first["reason"]:
        drawing.remove(name, folder / "figures")
        return []

    def draw() -> Drawing:
        made = figure_frontier.draw(found, study.references, shown, study.frontiers, linear=True)
        assert made is not None  # the first one was drawn from the same points
        drawing.watermark(made.figure, findings.watermark(study))
        return made

    saved = beside.begin(lambda: drawing.write(draw(), folder / "figures", ("svg",)), folder / "figures" / f"{name}.svg")
    return [{**first, "name": name, "svg": lambda: drawing.inline(saved(), name, *first["said"])}]


def render(study: Loaded, found: list[Point], figures: Sequence[dict[str, Any]], rooms: Rooms = ((), ())) -> str:
    """The page's HTML. Everything but the figures' SVG and the page's own script is escaped by the template."""
    drawn = {each["name"]: each for each in [*figures, *(each for group in rooms for room in group for each in room["figures"])]}
    script, (sections, training) = source("page.js"), rooms
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()  # the one script that a browser will run on this page
    context = _context(study, found, rooms) | {"script": script, "script_hash": digest, "figures": drawn}
    numbers = frontier_points.as_tables(drawn["frontier"]["rows"])
    return templates().get_template("page.html").render(**context, frontier_tables=numbers, sections=sections, training=training)


def drawings(study: Loaded, found: Sequence[Point], shown: Mapping[str, Look]) -> Iterator[tuple[str, Drawing | None]]:
    """The figures of no section by name, drawn one at a time; None where there is nothing to draw."""
    logged = figure_training.training_rows(found)
    yield "frontier", figure_frontier.draw(found, study.references, shown, study.frontiers)
    yield "logps", figure_training.draw_logps(logged, shown)
    yield "proxy", figure_training.draw_proxy(logged, shown)


def _context(study: Loaded, found: list[Point], rooms: Rooms) -> dict[str, Any]:
    main, components = tables.columns(study, tables.MAIN), tables.components(study)
    has_gold, every = any(column.key == "gold" for column in components), [*rooms[0], *rooms[1]]
    raised = alarms.of_study(study)
    head = study.cells[0].record if study.cells else {}
    return {
        "title": f"Preference optimisation on {head.get('task', {}).get('name', study.experiment.get('task', 'an unnamed task'))}",
        "watermark": findings.watermark(study),
        "overview": overview(study, found),
        "notes": provenance.notes(study),
        "what": provenance.what(study),
        "cautions": [
            *findings.cautions(study),
            *(said for section in every for said in section["cautions"]),
            *alarms.caution(study, raised),
        ],
        "kl_caveat": findings.KL_CAVEAT,
        "kl_source": findings.KL_SOURCE,
        "contents": _contents(rooms),
        "names": list(by_algorithm(found)),
        "interval": findings.interval_line(found),
        "main": tables.measured(study, main, costs=True),
        "components": tables.measured(study, components) if has_gold else None,
        "examples": examples(found),
        "compared": declared.how(found),
        "raised": list(alarms.rows(study, raised)),
        "ringing_caption": alarms.CAPTION,
        "meanings": alarms.meanings(raised),
        "alarms": [*alarms.words(study, raised), *(alarm for section in every for alarm in section["alarms"])],
        "losses": findings.losses(study),
        "diagnostics": provenance.diagnostics(study, found),
        "methods": METHODS,
        "algorithms": provenance.algorithms(found),
        "provenance": provenance.records(study),
        "experiment": json.dumps(study.experiment, indent=1, sort_keys=True, ensure_ascii=False),
    }


def _contents(rooms: Rooms) -> list[tuple[str, str]]:
    """(anchor, title) of every heading, in order."""
    sections, training = ([(each["name"], each["title"]) for each in group] for group in rooms)
    return [*FIRST, *sections, ("samples", "Samples"), ("training", "Training"), *training, *LAST]
